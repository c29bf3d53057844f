/* list.c - neighbour lists by linked cells: any triclinic cell, any number of its images */
#include "bins.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3") /* vectorise the loop over candidates, as clang does by itself */
#endif

#include <stdlib.h>
#include <string.h>

struct dpc_list {
    size_t atoms;
    struct dpc_bins bins;
    double cutoff2;
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

/* Bins of the atoms' cell, or of a box around them. */
static dpc_status set_bins(dpc_list *l, const double *position, const double *cell, double cutoff, dpc_error *err)
{
    double low[3] = {INFINITY, INFINITY, INFINITY}, high[3] = {-INFINITY, -INFINITY, -INFINITY};
    for (size_t i = 0; i < 3 * l->atoms; i++) {
        low[i % 3] = fmin(low[i % 3], position[i]);
        high[i % 3] = fmax(high[i % 3], position[i]);
    }
    return dpc_bins_set(&l->bins, l->atoms, cell, low, high, cutoff, err);
}

/* Atoms, wrapped into the cell, sorted by bin. */
static dpc_status fill_bins(dpc_list *l, const double *position, dpc_error *err)
{
    const size_t n = l->atoms, bins = dpc_bins_all(&l->bins);
    DPC_TRY(dpc_reserve(&l->where, n, 3 * sizeof(int32_t), err));
    DPC_TRY(dpc_reserve(&l->wrapped, n, 3 * sizeof(int32_t), err));
    DPC_TRY(dpc_reserve(&l->order, n, sizeof(int32_t), err));
    DPC_TRY(dpc_reserve(&l->start, bins + 2, sizeof(int32_t), err));
    int32_t *where = l->where.data, *wrapped = l->wrapped.data, *order = l->order.data, *start = l->start.data;
    memset(start, 0, (bins + 2) * sizeof(*start));
    for (size_t i = 0; i < n; i++) {
        DPC_REQUIRE(dpc_bins_find(&l->bins, position + 3 * i, where + 3 * i, wrapped + 3 * i),
                    "atom %zu is more than 1e9 cells away", i);
        start[2 + dpc_bins_number(&l->bins, where + 3 * i)]++;
    }
    for (size_t b = 2; b < bins + 2; b++)
        start[b] += start[b - 1];
    DPC_TRY(dpc_reserve(&l->place, n, 3 * sizeof(double), err));
    double *place = l->place.data;
    for (size_t i = 0; i < n; i++) {
        const size_t k = (size_t)start[1 + dpc_bins_number(&l->bins, where + 3 * i)]++;
        order[k] = (int32_t)i;
        for (int a = 0; a < 3; a++)
            place[(size_t)a * n + k] = dpc_bins_place(&l->bins, position + 3 * i, wrapped + 3 * i, a);
    }
    return DPC_OK;
}

struct search_job {
    const dpc_list *list;
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

/* The atoms of a run of bins, in their order. */
static void search_run(const struct search_job *job, struct seeker *s, const struct dpc_stretch *run)
{
    enum { CHUNK = 256 };
    const dpc_list *l = job->list;
    const double *x = l->place.data, *y = x + l->atoms, *z = y + l->atoms, cutoff2 = l->cutoff2;
    const int32_t *order = l->order.data, *wrapped = l->wrapped.data, *start = l->start.data, *image = run->image;
    const size_t begin = (size_t)start[run->first], end = (size_t)start[run->first + (size_t)run->count];
    double from[3];
    dpc_stretch_seen(&l->bins, run, s->here, from);
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
    const double *place = l->place.data;
    const size_t n = l->atoms;
    struct seeker s = {(size_t)((const int32_t *)l->order.data)[k], {place[k], place[n + k], place[2 * n + k]}, 0};
    const int32_t *own = (const int32_t *)l->where.data + 3 * s.atom;
    struct dpc_stretch run;
    dpc_stretch_begin(&l->bins, own, &run);
    while (dpc_stretch_next(&l->bins, own, &run))
        search_run(job, &s, &run);
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
    DPC_TRY(dpc_reserve(&l->first, atoms + 1, sizeof(int64_t), err));
    int64_t *first = l->first.data;
    first[0] = 0;
    l->atoms = atoms;
    l->cutoff2 = cutoff * cutoff;
    dpc_status status = set_bins(l, position, cell, cutoff, err);
    if (status == DPC_OK)
        status = fill_bins(l, position, err);
    struct search_job job = {l, dpc_tasks(exec), first, NULL, NULL};
    if (status == DPC_OK) {
        dpc_run(exec, job.tasks, search_task, &job);
        for (size_t i = 0; i < atoms; i++)
            first[i + 1] += first[i];
        if (first[atoms] > DPC_MOST_PAIRS)
            status = dpc_fail(err, DPC_INVALID,
                              "%lld pairs are more than one list can take: is the cutoff in angstrom?",
                              (long long)first[atoms]);
    }
    if (status == DPC_OK)
        status = dpc_reserve(&l->index, (size_t)first[atoms], sizeof(int32_t), err);
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
                             .shift = l->bins.periodic ? l->shift.data : NULL, .cell = l->bins.cell};
}
