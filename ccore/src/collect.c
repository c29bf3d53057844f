/* collect.c - one atom's neighbours: within the cutoff, by type, no more than the model has slots for */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

/* Squared, in Å²: what lies closer counts as the same place, where float32 would overflow. */
static const double SAME_PLACE = 1e-12;

/* Distance and place of a neighbour, for the rare list that is too long. */
struct rank {
    double r2;
    int32_t type, place;
};

static int nearer(const void *a, const void *b)
{
    const struct rank *p = a, *q = b;
    if (p->r2 != q->r2)
        return p->r2 < q->r2 ? -1 : 1;
    return p->type != q->type ? (p->type < q->type ? -1 : 1) : (p->place > q->place) - (p->place < q->place);
}

/* Keep what the model's slots hold, nearest first; the order of what stays is unchanged. */
static void truncate(const dpc_model *m, struct dpc_scratch *s, struct dpc_tally *tally, size_t total)
{
    struct rank *rank = s->basis; /* free here, and as long: 12 reals against 16 bytes a neighbour */
    size_t n = 0;
    for (size_t t = 0; t < m->types; t++)
        for (int32_t p = 0; p < s->near_count[t]; p++) {
            const double *d = s->near_d + 3 * t * s->cap + p;
            rank[n++] = (struct rank){d[0] * d[0] + d[s->cap] * d[s->cap] + d[2 * s->cap] * d[2 * s->cap],
                                      (int32_t)t, p};
        }
    qsort(rank, n, sizeof(*rank), nearer);
    size_t left = m->total_first && (int64_t)total > m->slots ? (size_t)m->slots : total;
    memset(s->near_count, 0, m->types * sizeof(int32_t));
    for (size_t i = 0; i < n; i++) {
        const size_t t = (size_t)rank[i].type;
        if (i < left && s->near_count[t] < m->sel[t])
            s->near_count[t]++;
        else
            s->near_j[t * s->cap + (size_t)rank[i].place] = -1;
    }
    for (size_t t = 0; t < m->types; t++) {
        double *d = s->near_d + 3 * t * s->cap;
        int32_t *j = s->near_j + t * s->cap;
        for (size_t p = 0, kept = 0; kept < (size_t)s->near_count[t]; p++)
            if (j[p] >= 0) {
                j[kept] = j[p];
                for (size_t a = 0; a < 3; a++)
                    d[a * s->cap + kept] = d[a * s->cap + p];
                kept++;
                total--;
            }
    }
    tally->dropped += (int64_t)total;
}

/* Vectors [cap] to, and numbers of, those of centre k's list that are within the cutoff: into
 * s->found_*; how many. Branch-free, since whether one is within is a coin toss. */
static size_t find_near(const struct dpc_job *job, struct dpc_scratch *s, size_t k)
{
    const dpc_neighbours *list = job->neighbours;
    const size_t centre = dpc_centre(list, k), cap = s->cap;
    const size_t n = list->first != NULL ? (size_t)(list->first[k + 1] - list->first[k]) : (size_t)list->count[centre];
    if (n == 0)
        return 0; /* there may be no arrays */
    const double *position = job->atoms->position, *here = position + 3 * centre;
    const double cutoff2 = job->model->sw.cutoff * job->model->sw.cutoff;
    const int32_t *index = list->first != NULL ? list->index + list->first[k] : list->list[centre];
    const int32_t *shift = list->first != NULL && list->shift != NULL ? list->shift + 3 * list->first[k] : NULL;
    const int32_t bits = list->first != NULL ? -1 : list->mask;
    double *x = s->found_d, *y = x + cap, *z = y + cap;
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        const int32_t j = index[i] & bits;
        const double *there = position + 3 * (size_t)j;
        double d[3] = {there[0] - here[0], there[1] - here[1], there[2] - here[2]};
        if (shift != NULL) {
            const double c[3] = {shift[3 * i], shift[3 * i + 1], shift[3 * i + 2]};
            for (int a = 0; a < 3; a++)
                d[a] += c[0] * list->cell[a] + c[1] * list->cell[3 + a] + c[2] * list->cell[6 + a];
        }
        x[found] = d[0];
        y[found] = d[1];
        z[found] = d[2];
        s->found_j[found] = j;
        found += d[0] * d[0] + d[1] * d[1] + d[2] * d[2] < cutoff2;
    }
    return found;
}

void dpc_collect(const struct dpc_job *job, struct dpc_scratch *s, struct dpc_tally *tally, size_t k)
{
    const dpc_model *m = job->model;
    const size_t cap = s->cap, found = find_near(job, s, k);
    const double *from = s->found_d;
    size_t total = 0;
    int full = 0;

    memset(s->near_count, 0, m->types * sizeof(int32_t));
    for (size_t i = 0; i < found; i++) {
        const int32_t j = s->found_j[i], t = job->atoms->type[j];
        const double x = from[i], y = from[cap + i], z = from[2 * cap + i];
        if (t < 0)
            continue;
        if (x * x + y * y + z * z < SAME_PLACE) {
            const int64_t centre = (int64_t)dpc_centre(job->neighbours, k);
            if (tally->coincide[0] < 0 || centre < tally->coincide[0]) { /* whatever the order of the blocks */
                tally->coincide[0] = centre;
                tally->coincide[1] = j;
            }
            continue;
        }
        const size_t p = (size_t)s->near_count[t]++;
        double *d = s->near_d + 3 * (size_t)t * cap + p;
        d[0] = x;
        d[cap] = y;
        d[2 * cap] = z;
        s->near_j[(size_t)t * cap + p] = j;
        full |= (int64_t)p >= m->sel[t];
        total++;
    }
    if (full || (m->total_first && (int64_t)total > m->slots))
        truncate(m, s, tally, total);
}
