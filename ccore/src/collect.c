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

/* The slots that neighbours of type t take. */
static size_t section(const struct dpc_member *m, size_t t)
{
    return m->sections == 1 ? 0 : t;
}

/* Keep what the slots hold, nearest first; the order of what stays is unchanged. */
static void truncate(const struct dpc_member *m, struct dpc_scratch *s, struct dpc_tally *tally, size_t types,
                     size_t total)
{
    struct rank *rank = s->basis; /* free here, and as long: 12 reals against 16 bytes a neighbour */
    size_t n = 0;
    for (size_t t = 0; t < types; t++)
        for (int32_t p = 0; p < s->near_count[t]; p++) {
            const double *d = s->near_d + 3 * t * s->cap + p;
            rank[n++] = (struct rank){d[0] * d[0] + d[s->cap] * d[s->cap] + d[2 * s->cap] * d[2 * s->cap],
                                      (int32_t)t, p};
        }
    qsort(rank, n, sizeof(*rank), nearer);
    size_t left = m->total > 0 && (int64_t)total > m->total ? (size_t)m->total : total;
    memset(s->near_count, 0, types * sizeof(int32_t));
    memset(s->taken, 0, m->sections * sizeof(int32_t));
    for (size_t i = 0; i < n; i++) {
        const size_t t = (size_t)rank[i].type, k = section(m, t);
        if (i < left && s->taken[k] < m->sel[k]) {
            s->near_count[t]++;
            s->taken[k]++;
        } else
            s->near_j[t * s->cap + (size_t)rank[i].place] = -1;
    }
    for (size_t t = 0; t < types; t++) {
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
static size_t find_near(const struct dpc_job *job, double cutoff, struct dpc_scratch *s, size_t k)
{
    const dpc_neighbours *list = job->neighbours;
    const size_t centre = dpc_centre(list, k), cap = s->cap;
    const size_t n = list->first != NULL ? (size_t)(list->first[k + 1] - list->first[k]) : (size_t)list->count[centre];
    if (n == 0)
        return 0; /* there may be no arrays */
    const double *position = job->atoms->position, *here = position + 3 * centre;
    const double cutoff2 = cutoff * cutoff;
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

/* Neighbours that the centre does not see leave the slots that they took empty. */
static void ignore(const struct dpc_member *m, struct dpc_scratch *s, const int32_t *ignored, size_t types)
{
    for (size_t t = 0; t < types; t++)
        if (ignored[t]) {
            s->taken[section(m, t)] -= s->near_count[t];
            s->near_count[t] = 0;
        }
}

void dpc_collect(const struct dpc_job *job, const struct dpc_member *m, struct dpc_scratch *s,
                 struct dpc_tally *tally, size_t k)
{
    const size_t types = job->model->types, cap = s->cap, found = find_near(job, m->sw.cutoff, s, k);
    const size_t centre = dpc_centre(job->neighbours, k);
    const int32_t *type = job->atoms->type;
    const int32_t *ignored = m->ignored != NULL ? m->ignored + (size_t)type[centre] * types : NULL;
    const double *from = s->found_d;
    size_t total = 0;
    int full = 0;

    memset(s->near_count, 0, types * sizeof(int32_t));
    memset(s->taken, 0, m->sections * sizeof(int32_t));
    for (size_t i = 0; i < found; i++) {
        const int32_t j = s->found_j[i], t = type[j];
        const double x = from[i], y = from[cap + i], z = from[2 * cap + i];
        if (t < 0 || (ignored != NULL && ignored[t] && m->total == 0 && m->sel[section(m, (size_t)t)] == 0))
            continue; /* no atom, or one that there is no place for */
        if (x * x + y * y + z * z < SAME_PLACE && m->sw.protection == 0 && (ignored == NULL || !ignored[t])) {
            if (tally->coincide[0] < 0 || (int64_t)centre < tally->coincide[0]) { /* whatever the order of the blocks */
                tally->coincide[0] = (int64_t)centre;
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
    }
    for (size_t t = 0; t < types; t++) {
        s->taken[section(m, t)] += s->near_count[t];
        total += (size_t)s->near_count[t];
    }
    for (size_t slots = 0; slots < m->sections; slots++)
        full |= s->taken[slots] > m->sel[slots];
    if (full || (m->total > 0 && (int64_t)total > m->total))
        truncate(m, s, tally, types, total);
    if (ignored != NULL)
        ignore(m, s, ignored, types);
}
