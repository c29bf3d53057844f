/* view.c - what atoms of one type are evaluated with, packed for the kernels: tables, folds, empty slots, nets */
#include "model.h"
#include "scalar.h"

#include <math.h>
#include <stdlib.h>

static int real_type(const struct dpc_term *term)
{
    return term->dtype == DPC_F32 ? DPC_ONNX_F32 : DPC_ONNX_F64;
}

/* Rows of a table in the file, from node `first` on. */
static const void *node_at(const struct dpc_term *term, const struct dpc_tensor *nodes, size_t first)
{
    return (const char *)nodes->data + first * 3 * (size_t)nodes->shape[2] * dpc_dtype_size(term->dtype);
}

static dpc_status check_nodes(const struct dpc_term *term, const struct dpc_tensor *nodes, size_t first, size_t count,
                              const char *what, dpc_error *err)
{
    const struct dpc_tensor part = {.type = nodes->type, .rank = 1, .data = node_at(term, nodes, first),
                                    .shape = {(int64_t)(count * 3 * (size_t)nodes->shape[2])}};
    DPC_CHECK(dpc_finite(&part), "%s holds something that is no number", what);
    return DPC_OK;
}

/* The numbers that variant v multiplies its table's channels by, or NULL. */
static const void *scale_of(const struct dpc_term *term, const struct dpc_member *m, int32_t v)
{
    return m->scale == NULL ? NULL
                            : (const char *)m->scale->data + (size_t)v * m->width * dpc_dtype_size(term->dtype);
}

/* Variant v with all its channels, packed once for all views. */
static dpc_status pack_variant(const struct dpc_term *term, struct dpc_member *m, int32_t v,
                               const struct dpc_table **table, dpc_error *err)
{
    const size_t base = dpc_base(m, v), first = m->first_node[base];
    if (m->packed[v].node == NULL) {
        DPC_TRY(check_nodes(term, m->nodes_of_all, first, m->first_node[base + 1] - first, "a table", err));
        DPC_TRY(dpc_table_fill(&m->packed[v], term->dtype, m->width, &m->grid[base],
                               node_at(term, m->nodes_of_all, first), scale_of(term, m, v), err));
    }
    *table = &m->packed[v];
    return DPC_OK;
}

/* The place of variant v among those of a fold. */
static size_t find_variant(const struct dpc_channels *view, int32_t v)
{
    size_t k = 0;
    while (k < view->variants && view->variant[k] != v)
        k++;
    return k;
}

static dpc_status pack_folded(const struct dpc_term *term, const struct dpc_member *m, struct dpc_channels *view,
                              int32_t v, const struct dpc_table **table, dpc_error *err)
{
    const size_t k = find_variant(view, v);
    struct dpc_grid grid = m->grid[dpc_base(m, v)];
    if (view->folded[k].node == NULL) {
        grid.rows1 = 0; /* the first part alone */
        grid.max = grid.upper;
        grid.coarse_from = INFINITY;
        DPC_TRY(dpc_table_fill(&view->folded[k], term->dtype, view->width, &grid,
                               node_at(term, view->nodes, view->first_node[k]), NULL, err));
    }
    *table = &view->folded[k];
    return DPC_OK;
}

/* env ⊗ g(x) of variant v in a view, one component after the other, as real numbers. */
static dpc_status constant_slot(const struct dpc_term *term, const struct dpc_member *m,
                                const struct dpc_channels *view, int32_t v, double x, const double *env,
                                size_t components, void *out, dpc_error *err)
{
    const struct dpc_grid *grid = &m->grid[dpc_base(m, v)];
    const void *scale = view->nodes == NULL ? scale_of(term, m, v) : NULL;
    size_t first = m->first_node[dpc_base(m, v)];
    double basis[6], slope[6];
    dpc_double_place at;
    dpc_double_locate(grid, &x, &at);
    dpc_double_hermite(&at, basis, slope);
    const size_t row = (size_t)at.row;
    if (view->nodes != NULL) {
        DPC_CHECK(row + 1 < dpc_grid_first(grid), "an empty slot lies outside the fold");
        first = view->first_node[find_variant(view, v)];
    }
    const struct dpc_tensor *nodes = view->nodes != NULL ? view->nodes : m->nodes_of_all;
    DPC_TRY(check_nodes(term, nodes, first + row, 2, "a table", err));
    for (size_t k = 0; k < view->width; k++) {
        double value = 0;
        for (size_t p = 0; p < 6; p++)
            value += basis[p] * dpc_real_at(nodes, ((first + row) * 3 + p) * view->width + k);
        if (scale != NULL)
            value *= dpc_get(scale, term->dtype, k);
        for (size_t c = 0; c < components; c++)
            dpc_put(out, term->dtype, c * view->stride + k, env[c] * value);
    }
    return DPC_OK;
}

/* What empty slots and excluded neighbours of a centre of `type` add. */
static dpc_status make_constants(struct dpc_term *term, const struct dpc_member *m, size_t type,
                                 struct dpc_channels *view, dpc_error *err)
{
    const size_t components = dpc_components(m), size = dpc_dtype_size(term->dtype), row = view->stride * size;
    static const double one = 1;
    DPC_TRY(dpc_pool_alloc(&term->pool, m->sections * components, row, &view->pad, err));
    for (size_t k = 0; k < m->sections; k++) {
        const double *env = m->pad_env[type * m->sections + k];
        const int32_t v = m->pad_net[type * m->sections + k];
        if (v >= 0)
            DPC_TRY(constant_slot(term, m, view, v, env[0], components == 4 ? env : &one, components,
                                  (char *)view->pad + k * components * row, err));
    }
    if (m->mask_net == NULL)
        return DPC_OK;
    DPC_TRY(dpc_pool_alloc(&term->pool, term->types, row, &view->mask, err));
    for (size_t t = 0; t < term->types; t++) {
        const int32_t v = m->mask_net[type * term->types + t];
        if (v >= 0)
            DPC_TRY(constant_slot(term, m, view, v, 0, &one, 1, (char *)view->mask + t * row, err));
    }
    return DPC_OK;
}

static dpc_status make_channels(struct dpc_term *term, struct dpc_member *m, size_t type, int symmetric,
                                struct dpc_channels *view, dpc_error *err)
{
    view->width = m->width;
    view->stride = dpc_round_up(m->width, DPC_ALIGN / dpc_dtype_size(term->dtype));
    view->symmetric = symmetric && m->kind == DPC_TWO_BODY;
    if (m->kind == DPC_THREE_BODY) {
        view->table = m->pair;
        view->gate = m->pair_gate;
        return DPC_OK;
    }
    DPC_TRY(dpc_pool_alloc(&term->pool, term->types, sizeof(*view->table), &view->table, err));
    DPC_TRY(dpc_pool_alloc(&term->pool, term->types, sizeof(*view->gate), &view->gate, err));
    return make_constants(term, m, type, view, err);
}

static void add_variants(struct dpc_channels *view, const int32_t *row, size_t n)
{
    for (size_t i = 0; row != NULL && i < n; i++)
        if (row[i] >= 0 && find_variant(view, row[i]) == view->variants)
            view->variant[view->variants++] = row[i];
}

/* The folded form of the first parts of what atoms of `type` need: of their neighbours, then gated, then of
 * empty slots, each variant once. */
static dpc_status make_fold(struct dpc_term *term, struct dpc_member *m, size_t type, struct dpc_channels *view,
                            dpc_error *err)
{
    const size_t rank = (size_t)m->fold_rank[type], types = term->types, size = dpc_dtype_size(term->dtype);
    const struct dpc_tensor *axis;
    DPC_TRY(dpc_find(&term->params, &view->nodes, err, real_type(term), DPC_SHAPE(-1, 3, (int64_t)rank),
                     "%sfold.%zu.table", m->prefix, type));
    DPC_TRY(dpc_find(&term->params, &axis, err, real_type(term), DPC_SHAPE((int64_t)rank, (int64_t)m->axis),
                     "%sfold.%zu.axis", m->prefix, type));
    DPC_CHECK(dpc_finite(view->nodes) && dpc_finite(axis), "the fold of type %zu holds something that is no number",
              type);
    view->width = rank;
    view->stride = dpc_round_up(rank, DPC_ALIGN / size);
    DPC_TRY(dpc_pool_alloc(&term->pool, rank * m->axis, size, &view->axis, err));
    memcpy(view->axis, axis->data, rank * m->axis * size);
    const size_t most = 2 * types + m->sections;
    DPC_TRY(dpc_pool_alloc(&term->pool, most, sizeof(*view->variant), &view->variant, err));
    DPC_TRY(dpc_pool_alloc(&term->pool, most, sizeof(*view->first_node), &view->first_node, err));
    DPC_TRY(dpc_pool_alloc(&term->pool, most, sizeof(*view->folded), &view->folded, err));
    DPC_TRY(dpc_pool_alloc(&term->pool, types, sizeof(*view->table), &view->table, err));
    DPC_TRY(dpc_pool_alloc(&term->pool, types, sizeof(*view->gate), &view->gate, err));
    add_variants(view, m->net + type * types, types);
    add_variants(view, m->gate_net != NULL ? m->gate_net + type * types : NULL, types);
    add_variants(view, m->pad_net + type * m->sections, m->sections);
    int64_t at = 0;
    for (size_t k = 0; k < view->variants; k++) {
        const struct dpc_grid *grid = &m->grid[dpc_base(m, view->variant[k])];
        const int64_t nodes = (int64_t)dpc_grid_first(grid);
        DPC_CHECK(nodes <= view->nodes->shape[0] - at, "the fold of type %zu has too few nodes", type);
        view->first_node[k] = (size_t)at;
        at += nodes;
    }
    DPC_CHECK(at == view->nodes->shape[0], "the fold of type %zu has %lld nodes, not %lld", type,
              (long long)view->nodes->shape[0], (long long)at);
    return make_constants(term, m, type, view, err);
}

/* Rows of the first layer's weight as the view's features need them: those of features (k, a) and (a, k),
 * k < a, added up where they are one. */
static dpc_status merge_symmetric(const struct dpc_term *term, const struct dpc_view *view,
                                  const struct dpc_tensor *weight, struct dpc_tensor *merged, dpc_error *err)
{
    const size_t out = (size_t)weight->shape[1], rest = (size_t)weight->shape[0] - term->features;
    size_t from = 0, to = 0;
    void *sums;
    *merged = *weight;
    merged->shape[0] = (int64_t)(view->features + rest);
    DPC_TRY(dpc_alloc((view->features + rest) * out, dpc_dtype_size(term->dtype), &sums, err));
    merged->data = sums;
    for (size_t i = 0; i <= term->members; i++) {
        const struct dpc_member *m = &term->member[i];
        const size_t rows = i < term->members ? m->features : rest;
        if (i == term->members || !view->member[i].symmetric) {
            for (size_t k = 0; k < rows * out; k++)
                dpc_put(sums, term->dtype, to * out + k, dpc_real_at(weight, from * out + k));
            to += rows;
        } else {
            for (size_t k = 0; k < m->width; k++)
                for (size_t a = dpc_first_axis(&view->member[i], m->axis, k); a < m->axis; a++, to++)
                    for (size_t n = 0; n < out; n++) {
                        double sum = dpc_real_at(weight, (from + k * m->axis + a) * out + n);
                        if (k < a)
                            sum += dpc_real_at(weight, (from + a * m->axis + k) * out + n);
                        dpc_put(sums, term->dtype, to * out + n, sum);
                    }
        }
        from += rows;
    }
    return DPC_OK;
}

/* Numbers the features of the view's members one after the other. */
static void place_features(const struct dpc_term *term, struct dpc_view *view)
{
    view->features = 0;
    for (size_t i = 0; i < term->members; i++) {
        struct dpc_channels *channels = &view->member[i];
        channels->first_feature = view->features;
        view->features += term->member[i].kind == DPC_TWO_BODY
                              ? dpc_feature(channels, term->member[i].axis, channels->width)
                              : channels->width;
    }
}

static dpc_status make_full(struct dpc_term *term, size_t type, dpc_error *err)
{
    struct dpc_fitting *f = &term->fitting;
    struct dpc_view *view = &term->full[type];
    const int32_t net = f->net[type];
    if (view->ready)
        return DPC_OK;
    /* a first layer with a skip connection needs its inputs as they are */
    const int symmetric = net >= 0 && f->layers > 1 && f->residual[(size_t)net * f->layers] == 0;
    DPC_TRY(dpc_pool_alloc(&term->pool, term->members, sizeof(*view->member), &view->member, err));
    for (size_t i = 0; i < term->members; i++)
        DPC_TRY(make_channels(term, &term->member[i], type, symmetric, &view->member[i], err));
    place_features(term, view);
    if (net >= 0 && f->packed[net] == NULL) {
        const struct dpc_tensor *weight;
        struct dpc_tensor merged;
        DPC_TRY(dpc_find(&term->params, &weight, err, real_type(term), DPC_SHAPE(-1, -1), "fit.%d.0.weight", (int)net));
        DPC_TRY(merge_symmetric(term, view, weight, &merged, err));
        const dpc_status status = dpc_fitting_net(term, (size_t)net, &merged, &f->packed[net], err);
        free((void *)merged.data);
        DPC_TRY(status);
    }
    view->net = net >= 0 ? f->packed[net] : NULL;
    view->ready = 1;
    return DPC_OK;
}

static dpc_status make_folded(struct dpc_term *term, size_t type, dpc_error *err)
{
    struct dpc_fitting *f = &term->fitting;
    struct dpc_view *view = &term->fold[type];
    const struct dpc_tensor *weight;
    int any = 0;
    for (size_t i = 0; i < term->members; i++)
        any |= term->member[i].fold_rank != NULL && term->member[i].fold_rank[type] > 0;
    if (view->ready || !any || f->net[type] < 0)
        return DPC_OK;
    DPC_TRY(dpc_pool_alloc(&term->pool, term->members, sizeof(*view->member), &view->member, err));
    for (size_t i = 0; i < term->members; i++) {
        struct dpc_member *m = &term->member[i];
        if (m->fold_rank != NULL && m->fold_rank[type] > 0) {
            DPC_TRY(make_fold(term, m, type, &view->member[i], err));
        } else { /* shares the arrays of the whole one */
            view->member[i] = term->full[type].member[i];
            view->member[i].symmetric = 0;
        }
    }
    place_features(term, view);
    const size_t inputs = view->features + f->constants + f->fparams + f->aparams;
    DPC_TRY(dpc_find(&term->params, &weight, err, real_type(term), DPC_SHAPE((int64_t)inputs, -1), "fold.%zu.weight",
                     type));
    DPC_TRY(dpc_fitting_net(term, (size_t)f->net[type], weight, &view->own, err));
    view->net = view->own;
    view->ready = 1;
    return DPC_OK;
}

/* The tables that a centre of `type` needs for neighbours of type t. */
static dpc_status pack_tables(struct dpc_term *term, struct dpc_view *view, size_t type, size_t t, dpc_error *err)
{
    for (size_t i = 0; i < term->members; i++) {
        struct dpc_member *m = &term->member[i];
        struct dpc_channels *channels = &view->member[i];
        const size_t pair = type * term->types + t, place = m->kind == DPC_THREE_BODY ? pair : t;
        for (int gated = 0; gated < 2; gated++) {
            const int32_t *net = gated ? m->gate_net : m->net;
            const struct dpc_table **table = &(gated ? channels->gate : channels->table)[place];
            if (net == NULL || net[pair] < 0 || *table != NULL) /* others may be reading what is there */
                continue;
            if (channels->nodes != NULL)
                DPC_TRY(pack_folded(term, m, channels, net[pair], table, err));
            else
                DPC_TRY(pack_variant(term, m, net[pair], table, err));
        }
    }
    return DPC_OK;
}

dpc_status dpc_term_pack(struct dpc_term *term, const unsigned char *wanted, dpc_error *err)
{
    for (size_t type = 0; type < term->types; type++) {
        if (!wanted[type])
            continue;
        DPC_TRY(make_full(term, type, err));
        DPC_TRY(make_folded(term, type, err));
        for (size_t t = 0; t < term->types; t++) {
            if (!wanted[t])
                continue;
            DPC_TRY(pack_tables(term, &term->full[type], type, t, err));
            if (term->fold[type].ready)
                DPC_TRY(pack_tables(term, &term->fold[type], type, t, err));
        }
    }
    return DPC_OK;
}

void dpc_view_release(struct dpc_view *view, const struct dpc_term *term)
{
    for (size_t i = 0; view->member != NULL && i < term->members; i++)
        for (size_t k = 0; view->member[i].folded != NULL && k < view->member[i].variants; k++)
            dpc_table_release(&view->member[i].folded[k]);
    dpc_net_free(view->own);
}
