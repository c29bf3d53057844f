/* mixture.h - the arithmetic of a pair potential that takes the place of what is fitted where atoms are near */
#ifndef DPC_MIXTURE_H
#define DPC_MIXTURE_H

#include "model.h"

#include <math.h>

/* What the sum of weights counts as that is smaller. */
#define DPC_PAIR_LEAST 1e-20

/* V and dV/dr at distance r. */
DPC_HD static inline double dpc_pair_potential(const struct dpc_pair *p, size_t pair, double r, double *slope)
{
    *slope = 0;
    const double x = (r - p->start) / p->step;
    if (x >= (double)p->intervals || r >= p->list.sw.cutoff)
        return 0;
    const size_t k = x > 0 ? (size_t)x : 0;
    const double *a = p->table + 4 * (pair * p->intervals + k), u = x - (double)k;
    *slope = ((3 * a[0] * u + 2 * a[1]) * u + a[2]) / p->step;
    return ((a[0] * u + a[1]) * u + a[2]) * u + a[3];
}

/* What neighbours make of an atom's energies. */
struct dpc_mixture {
    double energy, weights, distances; /* of the pair potential; sums of weights, and of them times distances */
    double mean, share, by_mean;       /* distance; share of the pair potential, and its derivative */
};

/* Adds a neighbour at distance r. */
DPC_HD static inline void dpc_mixture_add(struct dpc_mixture *m, const struct dpc_pair *p, size_t pair, double r)
{
    double slope;
    const double weight = exp(-r / p->alpha);
    m->energy += dpc_pair_potential(p, pair, r, &slope) / 2;
    m->weights += weight;
    m->distances += weight * r;
}

/* The shares, of all neighbours. */
DPC_HD static inline void dpc_mixture_finish(struct dpc_mixture *m, const struct dpc_pair *p)
{
    m->mean = m->distances / (m->weights > DPC_PAIR_LEAST ? m->weights : DPC_PAIR_LEAST);
    const double u = (m->mean - p->inner) / (p->outer - p->inner);
    m->share = m->by_mean = 0;
    if (m->mean <= 0 || u >= 1)
        return;
    m->share = u <= 0 ? 1 : u * u * u * ((-6 * u + 15) * u - 10) + 1;
    m->by_mean = u <= 0 ? 0 : -30 * u * u * (1 - u) * (1 - u) / (p->outer - p->inner);
}

/* The mixed energy's derivative by a neighbour's distance, beside what the fitted one's is. */
DPC_HD static inline double dpc_mixture_slope(const struct dpc_mixture *m, const struct dpc_pair *p, size_t pair,
                                              double r, double fitted)
{
    const int many = m->weights > DPC_PAIR_LEAST;
    const double weight = exp(-r / p->alpha) / (many ? m->weights : DPC_PAIR_LEAST), back = many ? m->mean : 0;
    double slope;
    dpc_pair_potential(p, pair, r, &slope);
    return m->share * slope / 2 + (m->energy - fitted) * m->by_mean * weight * (1 - (r - back) / p->alpha);
}

#endif
