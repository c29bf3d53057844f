/* member.c - one descriptor of a model: every count, shape and index of its parameters checked, once */
#include "model.h"

#include <math.h>
#include <stdio.h>

/* Where this descriptor's parameters are. */
struct place {
    struct dpc_term *term;
    struct dpc_member *m;
    const struct dpc_params *from;
    int64_t types;
};

/* Finds parameter `name` of this descriptor; needs `at` and `err` in scope. */
#define FIND(tensor, type, shape, name) \
    DPC_TRY(dpc_find(at->from, &(tensor), err, type, shape, "%s" name, at->m->prefix))
#define LOOKUP(name) dpc_lookup(at->from, "%s" name, at->m->prefix)

static dpc_status read_kind(const struct place *at, const char *word, dpc_error *err)
{
    static const struct {
        const char *word;
        int bodies;
    } known[] = {{"se_e2_a", 2}, {"se_e2_r", 2}, {"se_atten", 2}, {"se_atten_v2", 2}, {"dpa1", 2},
                 {"se_a_tebd_v2", 2}, {"se_a_ebd_v2", 2}, {"se_a_mask", 2}, {"se_e3", 3}, {"se_e3_tebd", 3}};
    size_t k = 0;
    while (k < sizeof(known) / sizeof(*known) && strcmp(word, known[k].word) != 0)
        k++;
    if (k == sizeof(known) / sizeof(*known))
        return dpc_fail(err, DPC_UNSUPPORTED, "descriptor %.60s is not supported by this version", word);
    at->m->kind = known[k].bodies == 3 ? DPC_THREE_BODY : DPC_TWO_BODY;
    if (known[k].bodies == 3)
        return DPC_OK;
    const struct dpc_tensor *axis, *count;
    FIND(axis, DPC_ONNX_I64, DPC_SCALAR, "axis");
    FIND(count, DPC_ONNX_F64, DPC_SCALAR, "count");
    DPC_CHECK(dpc_int_at(axis, 0) >= 0 && dpc_int_at(axis, 0) < (1 << 20), "axis must not be negative");
    DPC_CHECK(dpc_real_at(count, 0) > 0 && isfinite(dpc_real_at(count, 0)), "count must be positive");
    at->m->axis = (size_t)dpc_int_at(axis, 0);
    at->m->per_count = 1 / dpc_real_at(count, 0);
    if (at->m->axis == 0)
        at->m->kind = DPC_RADIAL;
    return DPC_OK;
}

static dpc_status read_slots(const struct place *at, dpc_error *err)
{
    struct dpc_member *m = at->m;
    const struct dpc_tensor *sw, *sel, *total, *ignored = LOOKUP("ignored");
    FIND(sw, DPC_ONNX_F64, DPC_SHAPE(4), "switch");
    m->sw = dpc_switch_make(dpc_real_at(sw, 0), dpc_real_at(sw, 1), dpc_real_at(sw, 2), dpc_real_at(sw, 3));
    DPC_CHECK(dpc_finite(sw) && m->sw.cutoff > 0 && m->sw.width > 0 && m->sw.protection >= 0,
              "the switching function from %g to %g is impossible", m->sw.smooth, m->sw.cutoff);
    FIND(sel, DPC_ONNX_I64, DPC_SHAPE(-1), "sel");
    m->sections = (size_t)sel->shape[0];
    DPC_CHECK(m->sections == 1 || m->sections == (size_t)at->types, "sel has %zu sections for %lld types", m->sections,
              (long long)at->types);
    DPC_TRY(dpc_read_codes(&at->term->pool, sel, "sel", 0, 1 << 24, &m->sel, err));
    FIND(total, DPC_ONNX_I64, DPC_SCALAR, "total");
    m->total = dpc_int_at(total, 0);
    DPC_CHECK(m->total >= 0, "total %lld is impossible", (long long)m->total);
    if (ignored != NULL) {
        FIND(ignored, DPC_ONNX_I64, DPC_SHAPE(at->types, at->types), "ignored");
        DPC_TRY(dpc_read_codes(&at->term->pool, ignored, "ignored", 0, 1, &m->ignored, err));
    }
    return DPC_OK;
}

static dpc_status read_statistics(const struct place *at, dpc_error *err)
{
    const struct dpc_tensor *mean, *std;
    struct dpc_member *m = at->m;
    FIND(mean, DPC_ONNX_F64, DPC_SHAPE(at->types, 4), "env_mean");
    FIND(std, DPC_ONNX_F64, DPC_SHAPE(at->types, 4), "env_std");
    DPC_TRY(dpc_pool_alloc(&at->term->pool, (size_t)at->types, sizeof(*m->mean), &m->mean, err));
    DPC_TRY(dpc_pool_alloc(&at->term->pool, (size_t)at->types, sizeof(*m->per_std), &m->per_std, err));
    for (size_t i = 0; i < 4 * (size_t)at->types; i++) {
        DPC_CHECK(isfinite(dpc_real_at(mean, i)) && dpc_real_at(std, i) > 0,
                  "the environment's statistics are impossible");
        DPC_CHECK(m->kind != DPC_THREE_BODY || i % 4 == 0 || dpc_real_at(mean, i) == 0,
                  "three bodies need an environment whose directions have no mean");
        m->mean[i / 4][i % 4] = dpc_real_at(mean, i);
        m->per_std[i / 4][i % 4] = 1 / dpc_real_at(std, i);
    }
    return DPC_OK;
}

/* Where intervals of any width lie, if any table has such: [first[t], first[t + 1]) of breaks. */
static dpc_status read_breaks(const struct place *at, const double **breaks, const struct dpc_tensor **first,
                              dpc_error *err)
{
    const struct dpc_tensor *all = LOOKUP("breaks");
    *breaks = NULL;
    if (all == NULL)
        return DPC_OK;
    double *copy;
    FIND(all, DPC_ONNX_F64, DPC_SHAPE(-1), "breaks");
    FIND(*first, DPC_ONNX_I64, DPC_SHAPE((int64_t)at->m->tables + 1), "breaks_first");
    DPC_TRY(dpc_read_doubles(&at->term->pool, all, "breaks", &copy, err));
    *breaks = copy;
    for (size_t t = 0; t < at->m->tables; t++)
        DPC_CHECK(dpc_int_at(*first, t) >= 0 && dpc_int_at(*first, t) <= dpc_int_at(*first, t + 1) &&
                      dpc_int_at(*first, t + 1) <= all->shape[0],
                  "breaks_first of table %zu is impossible", t);
    return DPC_OK;
}

static dpc_status read_tables(const struct place *at, dpc_error *err)
{
    struct dpc_member *m = at->m;
    const struct dpc_tensor *grid, *rows, *base, *first = NULL;
    const double *breaks;
    const int real = at->term->dtype == DPC_F32 ? DPC_ONNX_F32 : DPC_ONNX_F64;
    FIND(grid, DPC_ONNX_F64, DPC_SHAPE(-1, 3), "grid");
    m->tables = m->variants = (size_t)grid->shape[0];
    DPC_CHECK(m->tables > 0 && m->tables < (1 << 24), "a descriptor cannot have %zu tables", m->tables);
    FIND(rows, DPC_ONNX_I64, DPC_SHAPE((int64_t)m->tables, 2), "rows");
    FIND(m->nodes_of_all, real, DPC_SHAPE(-1, 3, -1), "table");
    m->width = (size_t)m->nodes_of_all->shape[2];
    DPC_CHECK(m->width > 0 && m->width < (1u << 20), "a table cannot have %zu channels", m->width);
    DPC_CHECK(m->axis <= m->width, "axis %zu is more than the %zu channels", m->axis, m->width);
    m->features = m->width * (m->axis > 0 ? m->axis : 1);
    DPC_TRY(dpc_pool_alloc(&at->term->pool, m->tables, sizeof(*m->grid), &m->grid, err));
    DPC_TRY(dpc_pool_alloc(&at->term->pool, m->tables + 1, sizeof(*m->first_node), &m->first_node, err));
    DPC_TRY(read_breaks(at, &breaks, &first, err));
    const size_t all = (size_t)m->nodes_of_all->shape[0];
    for (size_t t = 0; t < m->tables; t++) {
        const int64_t rows0 = dpc_int_at(rows, 2 * t), rows1 = dpc_int_at(rows, 2 * t + 1);
        const int64_t left = (int64_t)(all - m->first_node[t]);
        DPC_CHECK(rows0 > 0 && rows1 >= 0 && rows0 < left && rows1 < left - rows0, "table %zu has impossible rows", t);
        const int64_t own = breaks != NULL ? dpc_int_at(first, t + 1) - dpc_int_at(first, t) : 0;
        DPC_CHECK(own == 0 || own == rows0 + rows1 + 1, "table %zu has %lld breaks for %lld rows", t, (long long)own,
                  (long long)(rows0 + rows1));
        DPC_TRY(dpc_grid_fill(&m->grid[t], dpc_real_at(grid, 3 * t), dpc_real_at(grid, 3 * t + 1),
                              dpc_real_at(grid, 3 * t + 2), (size_t)rows0, (size_t)rows1,
                              own > 0 ? breaks + dpc_int_at(first, t) : NULL, err));
        const size_t nodes = dpc_grid_nodes(&m->grid[t]);
        DPC_CHECK((int64_t)nodes <= left, "table %zu has impossible rows", t);
        m->first_node[t + 1] = m->first_node[t] + nodes;
        m->nodes = nodes > m->nodes ? nodes : m->nodes;
    }
    DPC_CHECK(m->first_node[m->tables] == all, "the tables have %zu nodes, not %zu", all, m->first_node[m->tables]);
    m->scale = LOOKUP("scale");
    if (m->scale != NULL) {
        FIND(m->scale, real, DPC_SHAPE(-1, (int64_t)m->width), "scale");
        m->variants = (size_t)m->scale->shape[0];
        DPC_CHECK(m->variants > 0 && m->variants < (1 << 28), "scale has %zu variants", m->variants);
        FIND(base, DPC_ONNX_I64, DPC_SHAPE((int64_t)m->variants), "base");
        DPC_TRY(dpc_read_codes(&at->term->pool, base, "base", 0, (int64_t)m->tables - 1, &m->base, err));
    }
    return dpc_pool_alloc(&at->term->pool, m->variants, sizeof(*m->packed), &m->packed, err);
}

/* Variants by types: `net` and its like. */
static dpc_status read_variants(const struct place *at, const struct dpc_tensor *t, const char *name, int32_t **codes,
                                dpc_error *err)
{
    return dpc_read_codes(&at->term->pool, t, name, -1, (int64_t)at->m->variants - 1, codes, err);
}

static dpc_status read_gate(const struct place *at, dpc_error *err)
{
    struct dpc_member *m = at->m;
    const struct dpc_tensor *gate = LOOKUP("gate"), *net, *smooth;
    if (gate == NULL)
        return DPC_OK;
    FIND(gate, DPC_ONNX_I64, DPC_SCALAR, "gate");
    const int64_t code = dpc_int_at(gate, 0);
    DPC_CHECK(code >= DPC_UNGATED && code <= DPC_GATE_SURROGATE, "gate %lld is not known", (long long)code);
    m->gate = (enum dpc_gate)code;
    if (m->gate == DPC_UNGATED)
        return DPC_OK;
    FIND(smooth, DPC_ONNX_F64, DPC_SCALAR, "gate_smooth");
    m->sw.surrogate = dpc_real_at(smooth, 0);
    DPC_CHECK(isfinite(m->sw.surrogate), "gate_smooth is no number");
    FIND(net, DPC_ONNX_I64, DPC_SHAPE(at->types, at->types), "gate_net");
    DPC_TRY(read_variants(at, net, "gate_net", &m->gate_net, err));
    for (size_t i = 0; i < (size_t)(at->types * at->types); i++) /* both are evaluated at one place of one grid */
        DPC_CHECK(m->net[i] < 0 || m->gate_net[i] < 0 || dpc_base(m, m->net[i]) == dpc_base(m, m->gate_net[i]),
                  "net and gate_net of pair %zu are of different tables", i);
    return DPC_OK;
}

static dpc_status read_two(const struct place *at, dpc_error *err)
{
    struct dpc_member *m = at->m;
    const struct dpc_tensor *pad, *env, *mask = LOOKUP("mask_net");
    FIND(pad, DPC_ONNX_I64, DPC_SHAPE(at->types, (int64_t)m->sections), "pad_net");
    DPC_TRY(read_variants(at, pad, "pad_net", &m->pad_net, err));
    FIND(env, DPC_ONNX_F64, DPC_SHAPE(at->types, (int64_t)m->sections, 4), "pad_env");
    DPC_TRY(dpc_read_doubles(&at->term->pool, env, "pad_env", (double **)&m->pad_env, err));
    if (mask == NULL)
        return DPC_OK;
    DPC_CHECK(m->kind == DPC_RADIAL, "mask_net belongs to descriptors with axis 0");
    FIND(mask, DPC_ONNX_I64, DPC_SHAPE(at->types, at->types), "mask_net");
    return read_variants(at, mask, "mask_net", &m->mask_net, err);
}

static dpc_status read_three(const struct place *at, dpc_error *err)
{
    struct dpc_member *m = at->m;
    const struct dpc_tensor *weight, *masked;
    const size_t pairs = (size_t)(at->types * at->types);
    DPC_TRY(dpc_pool_alloc(&at->term->pool, pairs, sizeof(*m->pair), &m->pair, err));
    DPC_TRY(dpc_pool_alloc(&at->term->pool, pairs, sizeof(*m->pair_gate), &m->pair_gate, err));
    FIND(weight, DPC_ONNX_F64, DPC_SHAPE(at->types, at->types), "weight");
    DPC_TRY(dpc_read_doubles(&at->term->pool, weight, "weight", &m->weight, err));
    FIND(masked, DPC_ONNX_I64, DPC_SHAPE(at->types, at->types), "masked");
    return dpc_read_codes(&at->term->pool, masked, "masked", 0, 1, &m->masked, err);
}

static dpc_status read_folds(const struct place *at, dpc_error *err)
{
    struct dpc_member *m = at->m;
    const struct dpc_tensor *rank = LOOKUP("fold_rank");
    if (rank == NULL)
        return DPC_OK;
    DPC_CHECK(m->kind == DPC_TWO_BODY, "only descriptors with an axis can be folded");
    FIND(rank, DPC_ONNX_I64, DPC_SHAPE(at->types), "fold_rank");
    return dpc_read_codes(&at->term->pool, rank, "fold_rank", 0, (int64_t)m->width - 1, &m->fold_rank, err);
}

dpc_status dpc_member_read(struct dpc_term *term, struct dpc_member *m, const char *word, dpc_error *err)
{
    const struct place place = {term, m, &term->params, (int64_t)term->types}, *at = &place;
    const struct dpc_tensor *net;
    DPC_TRY(read_kind(at, word, err));
    DPC_TRY(read_slots(at, err));
    DPC_TRY(read_statistics(at, err));
    DPC_TRY(read_tables(at, err));
    FIND(net, DPC_ONNX_I64, DPC_SHAPE(at->types, at->types), "net");
    DPC_TRY(read_variants(at, net, "net", &m->net, err));
    DPC_TRY(read_gate(at, err));
    DPC_TRY(m->kind == DPC_THREE_BODY ? read_three(at, err) : read_two(at, err));
    return read_folds(at, err);
}
