/* list.c - neighbour lists by linked cells: any triclinic cell, any number of its images */
#include "common.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3") /* vectorise the loop over candidates, as clang does by itself */
#endif

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct dpc_list {
    size_t atoms, bins[3];
    int periodic, reach[3]; /* reach: neighbouring bins in each direction, images included */
    double cell[9], inverse[9], cutoff2, origin[3];
    struct dpc_buffer where, order, start, wrapped, place, first, index, shift;
};

dpc_status dpc_list_create(dpc_list **list, dpc_error *err)
{
    DPC_REQUIRE(list != NULL, "list must not be NULL");
    return dpc_alloc(1, sizeof(**list), list, err);
}

void dpc_list_free(dpc_list *l)
{
    if (l == NULL)
        return;
    struct dpc_buffer *const all[] = {&l->where, &l->order, &l->start,  &l->wrapped, &l->place,
                                      &l->first, &l->index, &l->shift};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        free(all[i]->data);
    free(l);
}

static void cross(const double *a, const double *b, double *c)
{
    c[0] = a[1] * b[2] - a[2] * b[1];
    c[1] = a[2] * b[0] - a[0] * b[2];
    c[2] = a[0] * b[1] - a[1] * b[0];
}

static double length(const double *a)
{
    return sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2]);
}

/* Box of an open system: a cell that holds all atoms, never crossed by an image. */
static void enclose(dpc_list *l, size_t atoms, const double *position)
{
    memset(l->cell, 0, sizeof(l->cell));
    memset(l->inverse, 0, sizeof(l->inverse));
    for (int a = 0; a < 3; a++) {
        double low = INFINITY, high = -INFINITY;
        for (size_t i = 0; i < atoms; i++) {
            low = fmin(low, position[3 * i + a]);
            high = fmax(high, position[3 * i + a]);
        }
        l->origin[a] = atoms > 0 ? low : 0;
        l->cell[4 * a] = atoms > 0 ? fmax(high - low, 1e-3) * (1 + 1e-9) : 1;
        l->inverse[4 * a] = 1 / l->cell[4 * a];
    }
}

static dpc_status set_cell(dpc_list *l, size_t atoms, const double *position, const double *cell, dpc_error *err)
{
    l->periodic = 0;
    for (int i = 0; cell != NULL && i < 9; i++) {
        DPC_REQUIRE(isfinite(cell[i]), "the cell is not finite");
        l->periodic |= cell[i] != 0;
    }
    if (!l->periodic) {
        enclose(l, atoms, position);
        return DPC_OK;
    }
    double volume = 0, size = 1;
    memcpy(l->cell, cell, sizeof(l->cell));
    for (int a = 0; a < 3; a++) {
        l->origin[a] = 0;
        size *= length(cell + 3 * a);
    }
    for (int a = 0; a < 3; a++) { /* columns of the inverse: reciprocal vectors */
        double column[3];
        cross(cell + 3 * ((a + 1) % 3), cell + 3 * ((a + 2) % 3), column);
        volume = column[0] * cell[3 * a] + column[1] * cell[3 * a + 1] + column[2] * cell[3 * a + 2];
        DPC_REQUIRE(fabs(volume) > 1e-10 * size, "the cell is singular: its vectors span no volume");
        for (int b = 0; b < 3; b++)
            l->inverse[3 * b + a] = column[b] / volume;
    }
    return DPC_OK;
}

/* Bins about half a cutoff wide, no more than there are atoms. */
static dpc_status set_bins(dpc_list *l, double cutoff, dpc_error *err)
{
    double height[3], most = 2 * (double)l->atoms + 1;
    for (int a = 0; a < 3; a++) {
        const double column[3] = {l->inverse[a], l->inverse[3 + a], l->inverse[6 + a]};
        height[a] = 1 / length(column);
        l->bins[a] = (size_t)fmin(fmax(2 * height[a] / cutoff, 1), most);
    }
    while ((double)l->bins[0] * (double)l->bins[1] * (double)l->bins[2] > most) {
        const int a = l->bins[0] >= l->bins[1] ? (l->bins[0] >= l->bins[2] ? 0 : 2) : (l->bins[1] >= l->bins[2] ? 1 : 2);
        l->bins[a] = (l->bins[a] + 1) / 2;
    }
    double visits = 1;
    for (int a = 0; a < 3; a++) {
        double reach = ceil(cutoff / (height[a] / (double)l->bins[a]) * (1 + 1e-12));
        if (!l->periodic)
            reach = fmin(reach, (double)l->bins[a] - 1);
        DPC_REQUIRE(reach < 1e4, "the cell is too thin for the cutoff %g", cutoff);
        l->reach[a] = (int)reach;
        visits *= 2 * reach + 1;
    }
    DPC_REQUIRE(visits < 1e8, "the cell is too small for the cutoff %g", cutoff);
    return DPC_OK;
}

/* Fractional coordinates, wrapped into the cell; atoms sorted by bin. */
static dpc_status fill_bins(dpc_list *l, const double *position, dpc_error *err)
{
    const size_t n = l->atoms, bins = l->bins[0] * l->bins[1] * l->bins[2];
    DPC_TRY(dpc_reserve(&l->where, n, 3 * sizeof(int32_t), err));
    DPC_TRY(dpc_reserve(&l->wrapped, n, 3 * sizeof(int32_t), err));
    DPC_TRY(dpc_reserve(&l->order, n, sizeof(int32_t), err));
    DPC_TRY(dpc_reserve(&l->start, bins + 2, sizeof(int32_t), err));
    int32_t *where = l->where.data, *wrapped = l->wrapped.data, *order = l->order.data, *start = l->start.data;
    memset(start, 0, (bins + 2) * sizeof(*start));
    for (size_t i = 0; i < n; i++) {
        const double *p = position + 3 * i;
        const double d[3] = {p[0] - l->origin[0], p[1] - l->origin[1], p[2] - l->origin[2]};
        for (int a = 0; a < 3; a++) {
            double f = d[0] * l->inverse[a] + d[1] * l->inverse[3 + a] + d[2] * l->inverse[6 + a], whole = 0;
            DPC_REQUIRE(isfinite(f), "position of atom %zu is not finite", i);
            DPC_REQUIRE(fabs(f) < 1e9, "atom %zu is more than 1e9 cells away", i);
            if (l->periodic) {
                whole = floor(f);
                f -= whole;
            }
            const double bin = floor(fmax(f, 0) * (double)l->bins[a]);
            wrapped[3 * i + a] = (int32_t)whole;
            where[3 * i + a] = (int32_t)fmin(bin, (double)l->bins[a] - 1);
        }
        start[2 + (where[3 * i] * l->bins[1] + where[3 * i + 1]) * l->bins[2] + where[3 * i + 2]]++;
    }
    for (size_t b = 2; b < bins + 2; b++)
        start[b] += start[b - 1];
    DPC_TRY(dpc_reserve(&l->place, n, 3 * sizeof(double), err));
    double *place = l->place.data;
    for (size_t i = 0; i < n; i++) {
        const size_t bin = (where[3 * i] * l->bins[1] + where[3 * i + 1]) * l->bins[2] + where[3 * i + 2];
        const size_t k = (size_t)start[1 + bin]++;
        order[k] = (int32_t)i;
        for (size_t a = 0; a < 3; a++) {
            place[a * n + k] = position[3 * i + a];
            for (size_t c = 0; l->periodic && c < 3; c++)
                place[a * n + k] -= wrapped[3 * i + c] * l->cell[3 * c + a];
        }
    }
    return DPC_OK;
}

struct search_job {
    const dpc_list *list;
    const double *position;
    size_t tasks;
    int64_t *first;         /* counts into first[i + 1], or places from first[i] on */
    int32_t *index, *shift; /* NULL while counting */
};

/* An atom whose neighbours are searched. */
struct seeker {
    size_t atom;
    double here[3]; /* inside the cell */
    size_t found;   /* neighbours, the atom itself included */
};

/* Bin number k along a, any integer: the bin and the image it belongs to; 0 if there is none. */
static int place_of(const dpc_list *l, int a, int32_t k, size_t *bin, int32_t *image)
{
    const int32_t n = (int32_t)l->bins[a];
    *image = k >= 0 ? k / n : -((n - 1 - k) / n);
    *bin = (size_t)(k - *image * n);
    return l->periodic || *image == 0;
}

/* Candidates begin to end, in the order of the bins, in one image of the cell. */
static void search_span(const struct search_job *job, struct seeker *s, size_t begin, size_t end,
                        const int32_t *image)
{
    enum { CHUNK = 256 };
    const dpc_list *l = job->list;
    const double *x = l->place.data, *y = x + l->atoms, *z = y + l->atoms, cutoff2 = l->cutoff2;
    const int32_t *order = l->order.data, *wrapped = l->wrapped.data;
    double from[3];
    for (int a = 0; a < 3; a++)
        from[a] = s->here[a] - image[0] * l->cell[a] - image[1] * l->cell[3 + a] - image[2] * l->cell[6 + a];
    for (size_t k0 = begin; k0 < end; k0 += CHUNK) {
        const size_t n = end - k0 < CHUNK ? end - k0 : CHUNK;
        if (job->index == NULL) {
            int64_t count = 0;
            for (size_t k = k0; k < k0 + n; k++) {
                const double dx = x[k] - from[0], dy = y[k] - from[1], dz = z[k] - from[2];
                count += dx * dx + dy * dy + dz * dz < cutoff2;
            }
            s->found += (size_t)count;
            continue;
        }
        uint32_t hit[CHUNK + 1]; /* branch-free: one more is written than counts */
        size_t hits = 0;
        for (size_t k = k0; k < k0 + n; k++) {
            const double dx = x[k] - from[0], dy = y[k] - from[1], dz = z[k] - from[2];
            hit[hits] = (uint32_t)k;
            hits += dx * dx + dy * dy + dz * dz < cutoff2;
        }
        for (size_t h = 0; h < hits; h++) {
            const size_t j = (size_t)order[hit[h]], at = (size_t)job->first[s->atom] + s->found;
            if (j == s->atom && (image[0] | image[1] | image[2]) == 0)
                continue;
            job->index[at] = (int32_t)j;
            for (size_t a = 0; a < 3; a++)
                job->shift[3 * at + a] = image[a] + wrapped[3 * s->atom + a] - wrapped[3 * j + a];
            s->found++;
        }
    }
}

/* Neighbours of the k-th atom in the order of the bins. */
static size_t search_atom(const struct search_job *job, size_t k)
{
    const dpc_list *l = job->list;
    const int32_t *start = l->start.data;
    const double *place = l->place.data;
    struct seeker s = {(size_t)((const int32_t *)l->order.data)[k], {place[k], place[l->atoms + k], place[2 * l->atoms + k]}, 0};
    const int32_t *own = (const int32_t *)l->where.data + 3 * s.atom;
    size_t bin[3];
    int32_t image[3];
    for (int32_t a = own[0] - l->reach[0]; a <= own[0] + l->reach[0]; a++)
        for (int32_t b = own[1] - l->reach[1]; b <= own[1] + l->reach[1]; b++) {
            if (!place_of(l, 0, a, &bin[0], &image[0]) || !place_of(l, 1, b, &bin[1], &image[1]))
                continue;
            const size_t row = (bin[0] * l->bins[1] + bin[1]) * l->bins[2];
            /* bins along the last direction follow each other, up to the end of the cell */
            for (int32_t c = own[2] - l->reach[2]; c <= own[2] + l->reach[2];) {
                const int within = place_of(l, 2, c, &bin[2], &image[2]);
                const int32_t room = (int32_t)(l->bins[2] - bin[2]), left = own[2] + l->reach[2] - c + 1;
                const int32_t span = room < left ? room : left;
                if (within)
                    search_span(job, &s, (size_t)start[row + bin[2]], (size_t)start[row + bin[2] + (size_t)span], image);
                c += span;
            }
        }
    return s.found;
}

static void search_task(void *arg, size_t begin, size_t end)
{
    const struct search_job *job = arg;
    const size_t n = job->list->atoms;
    const int32_t *order = job->list->order.data;
    for (size_t k = n * begin / job->tasks; k < n * end / job->tasks; k++) {
        const size_t found = search_atom(job, k);
        if (job->index == NULL)
            job->first[order[k] + 1] = found > 0 ? (int64_t)found - 1 : 0; /* not the atom itself */
    }
}

dpc_status dpc_list_build(dpc_list *l, size_t atoms, const double *position, const double *cell, double cutoff,
                          const dpc_exec *exec, dpc_error *err)
{
    DPC_REQUIRE(l != NULL && (position != NULL || atoms == 0), "list and position must not be NULL");
    DPC_REQUIRE(cutoff > 0 && isfinite(cutoff), "the cutoff must be positive, got %g", cutoff);
    DPC_REQUIRE(atoms < INT32_MAX / 4, "%zu atoms are more than one list can take", atoms);
    for (size_t i = 0; i < 3 * atoms; i++)
        DPC_REQUIRE(isfinite(position[i]), "position of atom %zu is not finite", i / 3);
    l->atoms = 0; /* until all is done */
    DPC_TRY(set_cell(l, atoms, position, cell, err));
    DPC_TRY(dpc_reserve(&l->first, atoms + 1, sizeof(int64_t), err));
    int64_t *first = l->first.data;
    first[0] = 0;
    l->atoms = atoms;
    l->cutoff2 = cutoff * cutoff;
    dpc_status status = set_bins(l, cutoff, err);
    if (status == DPC_OK)
        status = fill_bins(l, position, err);
    struct search_job job = {l, position, dpc_tasks(exec), first, NULL, NULL};
    if (status == DPC_OK) {
        dpc_run(exec, job.tasks, search_task, &job);
        for (size_t i = 0; i < atoms; i++)
            first[i + 1] += first[i];
        status = dpc_reserve(&l->index, (size_t)first[atoms], sizeof(int32_t), err);
    }
    if (status == DPC_OK)
        status = dpc_reserve(&l->shift, (size_t)first[atoms], 3 * sizeof(int32_t), err);
    if (status != DPC_OK) {
        l->atoms = 0;
        return status;
    }
    job.index = l->index.data;
    job.shift = l->shift.data;
    if (first[atoms] > 0)
        dpc_run(exec, job.tasks, search_task, &job);
    return DPC_OK;
}

void dpc_list_view(const dpc_list *l, dpc_neighbours *view)
{
    *view = (dpc_neighbours){.centres = l->atoms, .first = l->first.data, .index = l->index.data,
                             .shift = l->periodic ? l->shift.data : NULL, .cell = l->cell};
}
