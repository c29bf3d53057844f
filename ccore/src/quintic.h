/* quintic.h - DeePMD-kit's form of a table at one input, for the C core and for CUDA */
#ifndef DPC_QUINTIC_H
#define DPC_QUINTIC_H

#include "common.h"

dpc_status dpc_quintic_check(const dpc_quintic *table, size_t n, const void *x, const void *value, dpc_error *err);

/* The row of x, its offset from that row's node, and what it lies beyond the table. */
DPC_HD static inline size_t dpc_quintic_find(const dpc_quintic *t, double x, double *u, double *beyond)
{
    const double upper = t->lower + (double)t->rows0 * t->step0, max = upper + (double)t->rows1 * t->step1;
    const double inside = x < t->lower ? t->lower : x >= max ? max : x;
    const int coarse = t->rows1 > 0 && inside >= upper;
    const double origin = coarse ? upper : t->lower, step = coarse ? t->step1 : t->step0;
    const size_t last = (coarse ? t->rows1 : t->rows0) - 1;
    size_t k = inside > origin ? (size_t)((inside - origin) / step) : 0;
    k = k < last ? k : last;
    *u = inside - (origin + (double)k * step);
    *beyond = x - inside;
    return (coarse ? t->rows0 : 0) + k;
}

/* Channel m of a row: its value, and its slope. */
DPC_HD static inline double dpc_quintic_at(const dpc_quintic *t, size_t row, size_t m, double u, double beyond,
                                           double *slope)
{
    double value = 0;
    *slope = 0;
    for (size_t p = 6; p-- > 0;) {
        *slope = *slope * u + value;
        value = value * u + dpc_get(t->coef, t->dtype, (row * t->width + m) * 6 + p);
    }
    return value + *slope * beyond;
}

#endif
