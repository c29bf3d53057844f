/* bins.h - bins of atoms in a cell, or in a box of open space: which one an atom is in, which are near it */
#ifndef DPC_BINS_H
#define DPC_BINS_H

#include "common.h"

#include <math.h>

enum { DPC_MOST_PAIRS = 1 << 30 }; /* of a list: 16 GiB */

struct dpc_bins {
    int periodic;
    int32_t count[3], reach[3]; /* bins; neighbouring ones in each direction, images included */
    double cell[9], inverse[9], origin[3];
};

/* Bins about half a cutoff wide, no more than two an atom. Cell NULL or all zeros: the box from low [3] to high [3]. */
dpc_status dpc_bins_set(struct dpc_bins *bins, size_t atoms, const double *cell, const double *low, const double *high,
                        double cutoff, dpc_error *err);

static inline size_t dpc_bins_all(const struct dpc_bins *bins)
{
    return (size_t)bins->count[0] * (size_t)bins->count[1] * (size_t)bins->count[2];
}

/* Bin `own` of an atom, and which image of it is wrapped into the cell; 0: it is too far away for that. */
DPC_HD static inline int dpc_bins_find(const struct dpc_bins *b, const double *position, int32_t *own, int32_t *wrapped)
{
    const double x = position[0] - b->origin[0], y = position[1] - b->origin[1], z = position[2] - b->origin[2];
    for (int a = 0; a < 3; a++) {
        double f = x * b->inverse[a] + y * b->inverse[3 + a] + z * b->inverse[6 + a], whole = 0;
        if (!(fabs(f) < 1e9))
            return 0;
        if (b->periodic) {
            whole = floor(f);
            f -= whole;
        }
        wrapped[a] = (int32_t)whole;
        own[a] = (int32_t)fmin(floor(fmax(f, 0.0) * b->count[a]), b->count[a] - 1.0);
    }
    return 1;
}

/* The bin's number. */
DPC_HD static inline size_t dpc_bins_number(const struct dpc_bins *b, const int32_t *bin)
{
    return ((size_t)bin[0] * (size_t)b->count[1] + (size_t)bin[1]) * (size_t)b->count[2] + (size_t)bin[2];
}

/* Component a of where an atom is inside the cell. */
DPC_HD static inline double dpc_bins_place(const struct dpc_bins *b, const double *position, const int32_t *wrapped,
                                           int a)
{
    double place = position[a];
    for (int c = 0; b->periodic && c < 3; c++)
        place -= wrapped[c] * b->cell[3 * c + a];
    return place;
}

/* Near bins whose numbers follow each other, in one image of the cell. */
struct dpc_stretch {
    int32_t image[3], count;
    size_t first;
    int32_t at[3]; /* of the run after it: bins, images counted in */
};

DPC_HD static inline void dpc_stretch_begin(const struct dpc_bins *b, const int32_t *own, struct dpc_stretch *run)
{
    for (int a = 0; a < 3; a++)
        run->at[a] = own[a] - b->reach[a];
}

/* The next run near bin `own`; 0: that was all. */
DPC_HD static inline int dpc_stretch_next(const struct dpc_bins *b, const int32_t *own, struct dpc_stretch *run)
{
    for (;;) {
        int32_t bin[3];
        int within = 1;
        for (int a = 2; a > 0 && run->at[a] > own[a] + b->reach[a]; a--) {
            run->at[a] = own[a] - b->reach[a];
            run->at[a - 1]++;
        }
        if (run->at[0] > own[0] + b->reach[0])
            return 0;
        for (int a = 0; a < 3; a++) {
            const int32_t k = run->at[a], n = b->count[a];
            run->image[a] = k >= 0 ? k / n : -((n - 1 - k) / n);
            bin[a] = k - run->image[a] * n;
            within &= b->periodic || run->image[a] == 0;
        }
        const int32_t room = b->count[2] - bin[2], left = own[2] + b->reach[2] - run->at[2] + 1;
        run->count = room < left ? room : left; /* up to the end of the cell */
        run->first = dpc_bins_number(b, bin);
        run->at[2] += run->count;
        if (within)
            return 1;
    }
}

/* Where the atom at `place` is, seen from atoms of an image. */
DPC_HD static inline void dpc_stretch_seen(const struct dpc_bins *b, const struct dpc_stretch *run, const double *place,
                                       double *seen)
{
    for (int a = 0; a < 3; a++)
        seen[a] = place[a] - run->image[0] * b->cell[a] - run->image[1] * b->cell[3 + a] -
                  run->image[2] * b->cell[6 + a];
}

#endif
