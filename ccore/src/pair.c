/* pair.c - a pair potential that takes the place of what is fitted where atoms are near (docs/format.md) */
#include "kernels.h"
#include "mixture.h"

#define FIND(tensor, type, shape, name) DPC_TRY(dpc_find(&term->params, &(tensor), err, type, shape, name))

/* Which neighbours have slots. */
static dpc_status read_slots(struct dpc_term *term, struct dpc_member *list, dpc_error *err)
{
    const struct dpc_tensor *sel, *total, *ignored = dpc_lookup(&term->params, "pair_ignored");
    FIND(sel, DPC_ONNX_I64, DPC_SHAPE(-1), "pair_sel");
    list->sections = (size_t)sel->shape[0];
    DPC_CHECK(list->sections == 1 || list->sections == term->types, "pair_sel has %zu sections for %zu types",
              list->sections, term->types);
    DPC_TRY(dpc_read_codes(&term->pool, sel, "pair_sel", 0, 1 << 24, &list->sel, err));
    FIND(total, DPC_ONNX_I64, DPC_SCALAR, "pair_total");
    list->total = dpc_int_at(total, 0);
    DPC_CHECK(list->total >= 0, "pair_total %lld is impossible", (long long)list->total);
    if (ignored == NULL)
        return DPC_OK;
    FIND(ignored, DPC_ONNX_I64, DPC_SHAPE((int64_t)term->types, (int64_t)term->types), "pair_ignored");
    return dpc_read_codes(&term->pool, ignored, "pair_ignored", 0, 1, &list->ignored, err);
}

dpc_status dpc_pair_read(struct dpc_term *term, dpc_error *err)
{
    const struct dpc_tensor *table = dpc_lookup(&term->params, "pair_table"), *range, *mix, *bias;
    const int64_t types = (int64_t)term->types;
    struct dpc_pair *p;
    if (table == NULL)
        return DPC_OK;
    DPC_CHECK(term->fitting.head == DPC_ENERGY, "only energies have a pair potential");
    DPC_TRY(dpc_pool_alloc(&term->pool, 1, sizeof(*p), &p, err));
    FIND(range, DPC_ONNX_F64, DPC_SHAPE(3), "pair_range");
    FIND(mix, DPC_ONNX_F64, DPC_SHAPE(3), "pair_mix");
    FIND(table, DPC_ONNX_F64, DPC_SHAPE(types, types, -1, 4), "pair_table");
    FIND(bias, DPC_ONNX_F64, DPC_SHAPE(types), "pair_bias");
    p->start = dpc_real_at(range, 0);
    p->list.sw.cutoff = dpc_real_at(range, 1);
    p->step = dpc_real_at(range, 2);
    p->alpha = dpc_real_at(mix, 0);
    p->inner = dpc_real_at(mix, 1);
    p->outer = dpc_real_at(mix, 2);
    p->intervals = (size_t)table->shape[2];
    DPC_CHECK(dpc_finite(range) && dpc_finite(mix) && p->list.sw.cutoff > 0 && p->step > 0 && p->alpha > 0 &&
                  p->inner < p->outer && p->intervals > 0,
              "the distances of the pair potential are impossible");
    DPC_TRY(read_slots(term, &p->list, err));
    DPC_TRY(dpc_read_doubles(&term->pool, table, "pair_table", &p->table, err));
    DPC_TRY(dpc_read_doubles(&term->pool, bias, "pair_bias", &p->bias, err));
    term->pair = p;
    return DPC_OK;
}

/* One neighbour's part of the gradient. */
static void push(const double *d, double by_r, double r, double *from, double *to, double *virial, double *atom_virial)
{
    double g[3];
    for (int a = 0; a < 3; a++) {
        g[a] = by_r * d[a] / r;
        from[a] += g[a];
        to[a] -= g[a];
    }
    for (int a = 0; a < 3; a++)
        for (int b = 0; b < 3; b++) {
            virial[3 * a + b] -= g[a] * d[b];
            if (atom_virial != NULL)
                atom_virial[3 * a + b] -= g[a] * d[b];
        }
}

/* Of the neighbours that dpc_collect found. */
static struct dpc_mixture mix(const struct dpc_pair *p, size_t types, const struct dpc_scratch *s, int32_t type)
{
    struct dpc_mixture m = {.energy = p->bias[type]};
    for (size_t t = 0; t < types; t++)
        for (int32_t i = 0; i < s->near_count[t]; i++) {
            const double *d = s->near_d + 3 * t * s->cap + i, x = d[0], y = d[s->cap], z = d[2 * s->cap];
            dpc_mixture_add(&m, p, (size_t)type * types + t, sqrt(x * x + y * y + z * z));
        }
    dpc_mixture_finish(&m, p);
    return m;
}

double dpc_pair_mix(const struct dpc_job *job, const struct dpc_term *term, struct dpc_scratch *s, int32_t type,
                    size_t k, const struct dpc_partial *out, double *fitted)
{
    const struct dpc_pair *p = term->pair;
    const size_t types = term->types, centre = dpc_centre(job->neighbours, k);
    struct dpc_tally uncounted = {.coincide = {-1, -1}}; /* the descriptors' is */
    dpc_collect(job, &p->list, s, &uncounted, k);
    const struct dpc_mixture m = mix(p, types, s, type);
    if (m.share == 0)
        return 1;
    const struct dpc_forces to = job->slopes > 0 ? dpc_forces_of(job, out, term->model) : (struct dpc_forces){0};
    for (size_t t = 0; job->slopes > 0 && t < types; t++)
        for (int32_t i = 0; i < s->near_count[t]; i++) {
            const double *at = s->near_d + 3 * t * s->cap + i, d[3] = {at[0], at[s->cap], at[2 * s->cap]};
            const double r = sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
            const double by_r = dpc_mixture_slope(&m, p, (size_t)type * types + t, r, *fitted);
            const size_t j = (size_t)s->near_j[t * s->cap + (size_t)i];
            push(d, by_r, r, to.force + 3 * centre, to.force + 3 * j, to.virial,
                 to.atom_virial != NULL ? to.atom_virial + 9 * j : NULL);
        }
    *fitted = (1 - m.share) * *fitted + m.share * m.energy;
    return 1 - m.share;
}
