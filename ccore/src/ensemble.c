/* ensemble.c - several models in one: what their terms have in common, and the mean of their results */
#include "model.h"

/* Whether n elements of two arrays are the same, or there are none. */
static int equal(const void *a, const void *b, size_t n, size_t size)
{
    return a == b || (a != NULL && b != NULL && memcmp(a, b, n * size) == 0);
}

/* Whether two descriptors see the same neighbours, and lay them out alike. */
static int same_neighbours(const struct dpc_member *m, const struct dpc_member *other, size_t types)
{
    int same = m->sw.cutoff == other->sw.cutoff && m->sw.protection == other->sw.protection &&
               m->sections == other->sections && m->total == other->total &&
               equal(m->sel, other->sel, m->sections, sizeof(*m->sel)) &&
               equal(m->ignored, other->ignored, types * types, sizeof(*m->ignored));
    for (size_t pair = 0; same && pair < types * types; pair++)
        same = dpc_has_pairs(m, pair) == dpc_has_pairs(other, pair);
    return same;
}

static int same_environment(const struct dpc_member *m, const struct dpc_member *other, size_t types)
{
    return m->kind == other->kind && m->gate == other->gate && equal(&m->sw, &other->sw, 1, sizeof(m->sw)) &&
           equal(m->mean, other->mean, types, sizeof(*m->mean)) &&
           equal(m->per_std, other->per_std, types, sizeof(*m->per_std));
}

enum dpc_common dpc_term_compare(const struct dpc_term *term, const struct dpc_term *other)
{
    enum dpc_common common = term->members == other->members ? DPC_SAME_ENVIRONMENT : DPC_APART;
    for (size_t i = 0; common != DPC_APART && i < term->members; i++) {
        if (!same_neighbours(&term->member[i], &other->member[i], term->types))
            common = DPC_APART;
        else if (!same_environment(&term->member[i], &other->member[i], term->types))
            common = DPC_SAME_NEIGHBOURS;
    }
    return common;
}

/* Means over the models, which are `apart` numbers from each other, of n numbers `step` from each other. */
static void average(size_t models, size_t n, size_t apart, size_t step, const double *each, double *mean)
{
    for (size_t i = 0; mean != NULL && i < n; i++) {
        double sum = 0;
        for (size_t k = 0; k < models; k++)
            sum += each[k * apart + i * step];
        mean[i] = sum / (double)models;
    }
}

void dpc_model_average(const dpc_model *m, const dpc_atoms *atoms, const dpc_result *each, const dpc_result *mean)
{
    const size_t all = atoms->local + atoms->ghost;
    average(m->outputs, 1, 1, 1, each->energy, mean->energy);
    average(m->outputs, 3 * all, 3 * all, 1, each->force, mean->force);
    average(m->outputs, 9, 9, 1, each->virial, mean->virial);
    average(m->outputs, atoms->local, 1, m->outputs, each->atom_energy, mean->atom_energy);
    average(m->outputs, 9 * all, 9 * all, 1, each->atom_virial, mean->atom_virial);
    average(m->outputs, 3 * all, 3 * all, 1, each->force_mag, mean->force_mag);
}
