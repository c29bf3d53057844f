/* model.c - from named tensors to a model: every count, shape and index checked here, once */
#include "model.h"
#include "json.h"
#include "scalar.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { F32 = 1, I64 = 7, F64 = 11 };

/* Where parameters are looked up. */
struct source {
    const struct dpc_strings *name;
    const struct dpc_tensor *tensor;
};

static const struct dpc_tensor *lookup(const struct source *from, const char *name)
{
    for (size_t i = 0; i < from->name->count; i++)
        if (strcmp(from->name->item[i], name) == 0 && from->tensor[i].data != NULL)
            return &from->tensor[i];
    return NULL;
}

/* Parameter `name` of the given type and shape; -1 in `shape` matches any length. */
static dpc_status find(const struct source *from, const char *name, int type, size_t rank, const int64_t *shape,
                       const struct dpc_tensor **tensor, dpc_error *err)
{
    const struct dpc_tensor *t = lookup(from, name);
    if (t == NULL)
        return dpc_fail(err, DPC_FORMAT, "parameter %s is missing", name);
    if (t->type != type)
        return dpc_fail(err, DPC_FORMAT, "parameter %s has element type %d, not %d", name, t->type, type);
    int matches = t->rank == rank || (rank == 0 && t->rank == 1 && t->shape[0] == 1);
    for (size_t i = 0; matches && i < rank; i++)
        matches = shape[i] < 0 || shape[i] == t->shape[i];
    if (!matches)
        return dpc_fail(err, DPC_FORMAT, "parameter %s has the wrong shape", name);
    *tensor = t;
    return DPC_OK;
}

#define FIND(tensor, name, type, ...)                                                                         \
    DPC_TRY(find(from, name, type, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[]){__VA_ARGS__}, \
                 &(tensor), err))
#define FIND_SCALAR(tensor, name, type) DPC_TRY(find(from, name, type, 0, NULL, &(tensor), err))
#define CHECK(cond, ...)                                        \
    do {                                                        \
        if (!(cond))                                            \
            return dpc_fail(err, DPC_FORMAT, __VA_ARGS__);      \
    } while (0)

static double real_at(const struct dpc_tensor *t, size_t i)
{
    return dpc_get(t->data, t->type == F32 ? DPC_F32 : DPC_F64, i);
}

static int64_t int_at(const struct dpc_tensor *t, size_t i)
{
    return ((const int64_t *)t->data)[i];
}

static int all_finite(const struct dpc_tensor *t)
{
    size_t n = 1;
    for (size_t i = 0; i < t->rank; i++)
        n *= (size_t)t->shape[i];
    for (size_t i = 0; i < n; i++)
        if (!isfinite(real_at(t, i)))
            return 0;
    return 1;
}

static dpc_status read_scalars(dpc_model *m, const struct source *from, dpc_error *err)
{
    const struct dpc_tensor *sw, *sel, *total_first, *count, *axis;
    FIND(sw, "switch", F64, 4);
    m->sw = (struct dpc_switch){real_at(sw, 0), real_at(sw, 1), real_at(sw, 2), real_at(sw, 3)};
    CHECK(all_finite(sw) && m->sw.cutoff > 0 && m->sw.width > 0 && m->sw.protection >= 0,
          "the switching function from %g to %g is impossible", m->sw.smooth, m->sw.cutoff);
    FIND(sel, "sel", I64, -1);
    m->types = (size_t)sel->shape[0];
    CHECK(m->types > 0 && m->types < 4096, "a model cannot have %zu types", m->types);
    DPC_TRY(dpc_alloc(m->types, sizeof(*m->sel), &m->sel, err));
    for (size_t t = 0; t < m->types; t++) {
        m->sel[t] = int_at(sel, t);
        CHECK(m->sel[t] >= 0 && m->sel[t] < (1 << 24), "sel %lld is impossible", (long long)m->sel[t]);
        m->slots += m->sel[t];
    }
    FIND_SCALAR(total_first, "total_first", I64);
    FIND_SCALAR(count, "count", F64);
    FIND_SCALAR(axis, "axis", I64);
    m->total_first = int_at(total_first, 0) != 0;
    CHECK(real_at(count, 0) > 0 && isfinite(real_at(count, 0)), "count must be positive");
    m->per_count = 1 / real_at(count, 0);
    CHECK(int_at(axis, 0) > 0 && int_at(axis, 0) < (1 << 20), "axis must be positive");
    m->axis = (size_t)int_at(axis, 0);
    return DPC_OK;
}

static dpc_status read_tables(dpc_model *m, const struct source *from, dpc_error *err)
{
    const struct dpc_tensor *grid, *rows, *table;
    FIND(grid, "grid", F64, -1, 3);
    m->tables = (size_t)grid->shape[0];
    CHECK(m->tables > 0, "the model has no tables");
    FIND(rows, "rows", I64, (int64_t)m->tables, 2);
    FIND(table, "table", m->dtype == DPC_F32 ? F32 : F64, -1, 3, -1);
    CHECK(all_finite(table), "a table holds something that is no number");
    m->width = (size_t)table->shape[2];
    CHECK(m->axis <= m->width, "axis %zu is more than the %zu channels", m->axis, m->width);
    DPC_TRY(dpc_alloc(m->tables, sizeof(*m->table), &m->table, err));
    int64_t at = 0;
    for (size_t t = 0; t < m->tables; t++) {
        const int64_t rows0 = int_at(rows, 2 * t), rows1 = int_at(rows, 2 * t + 1), left = table->shape[0] - at;
        CHECK(rows0 > 0 && rows1 >= 0 && rows0 < left && rows1 < left - rows0, "table %zu has impossible rows", t);
        const size_t nodes = (size_t)(rows0 + rows1) + 1;
        const dpc_table_spec spec = {
            .dtype = m->dtype, .rows0 = (size_t)rows0, .rows1 = (size_t)rows1, .width = m->width,
            .lower = real_at(grid, 3 * t), .step0 = real_at(grid, 3 * t + 1), .step1 = real_at(grid, 3 * t + 2),
            .node = (const char *)table->data + (size_t)at * 3 * m->width * dpc_dtype_size(m->dtype)};
        DPC_TRY(dpc_table_fill(&m->table[t], &spec, err));
        m->nodes = nodes > m->nodes ? nodes : m->nodes;
        at += (int64_t)nodes;
    }
    CHECK(at == table->shape[0], "the tables have %lld nodes, not %lld", (long long)table->shape[0], (long long)at);
    return DPC_OK;
}

/* The weights of an empty slot: what dpc_collect's neighbours would get, computed once in double. */
static void place_empty(const dpc_model *m, size_t centre, const struct dpc_table *table, struct dpc_empty_slot *slot)
{
    const double x = -m->mean[centre][0] * m->per_std[centre][0];
    double slope[6];
    dpc_double_place at;
    dpc_double_locate(&table->grid, &x, &at);
    dpc_double_hermite(&at, slot->basis, slope);
    slot->row = (int32_t)at.row;
    for (int c = 0; c < 4; c++)
        slot->env[c] = -m->mean[centre][c] * m->per_std[centre][c];
}

static dpc_status read_rules(dpc_model *m, const struct source *from, dpc_error *err)
{
    const int64_t types = (int64_t)m->types;
    const struct dpc_tensor *mean, *std, *net, *pad;
    FIND(mean, "env_mean", F64, types, 4);
    FIND(std, "env_std", F64, types, 4);
    FIND(net, "net", I64, types, types);
    FIND(pad, "pad_net", I64, types, types);
    DPC_TRY(dpc_alloc(m->types, sizeof(*m->mean), &m->mean, err));
    DPC_TRY(dpc_alloc(m->types, sizeof(*m->per_std), &m->per_std, err));
    DPC_TRY(dpc_alloc(m->types * m->types, sizeof(*m->rule), &m->rule, err));
    DPC_TRY(dpc_alloc(m->types * m->types, sizeof(*m->empty), &m->empty, err));
    for (size_t i = 0; i < 4 * m->types; i++) {
        CHECK(isfinite(real_at(mean, i)) && real_at(std, i) > 0, "the environment's statistics are impossible");
        m->mean[i / 4][i % 4] = real_at(mean, i);
        m->per_std[i / 4][i % 4] = 1 / real_at(std, i);
    }
    for (size_t i = 0; i < m->types * m->types; i++) {
        const int64_t a = int_at(net, i), b = int_at(pad, i), either = a >= 0 ? a : b;
        CHECK(a < (int64_t)m->tables && b < (int64_t)m->tables && (a < 0 || b < 0 || a == b),
              "types %zu and %zu point to tables %lld and %lld", i / m->types, i % m->types, (long long)a, (long long)b);
        m->rule[i] = (struct dpc_block_rule){either < 0 ? -1 : (int32_t)either, a >= 0, b >= 0};
        if (b >= 0)
            place_empty(m, i / m->types, &m->table[b], &m->empty[i]);
    }
    return DPC_OK;
}

/* Layers of fitting net `type`; `first`, if not NULL, takes the place of the first one's weight. */
static dpc_status read_net(dpc_model *m, const struct source *from, size_t type, const struct dpc_tensor *first,
                           dpc_net **net, dpc_error *err)
{
    const int real = m->dtype == DPC_F32 ? F32 : F64;
    const struct dpc_tensor *activation, *residual;
    FIND(activation, "fit_activation", I64, (int64_t)m->types, -1);
    FIND(residual, "fit_residual", I64, (int64_t)m->types, activation->shape[1]);
    const size_t layers = (size_t)activation->shape[1];
    dpc_layer layer[64] = {{0}};
    CHECK(layers > 0 && layers <= 64, "a fitting net cannot have %zu layers", layers);
    for (size_t l = 0; l < layers; l++) {
        const struct dpc_tensor *weight = first, *bias;
        char name[64];
        snprintf(name, sizeof(name), "fit.%zu.%zu.weight", type, l);
        if (l > 0 || first == NULL)
            FIND(weight, name, real, -1, -1);
        snprintf(name, sizeof(name), "fit.%zu.%zu.bias", type, l);
        FIND(bias, name, real, weight->shape[1]);
        snprintf(name, sizeof(name), "fit.%zu.%zu.idt", type, l);
        const struct dpc_tensor *idt = lookup(from, name);
        if (idt != NULL)
            FIND(idt, name, real, weight->shape[1]);
        CHECK(all_finite(weight) && all_finite(bias) && (idt == NULL || all_finite(idt)),
              "layer %zu of fitting net %zu holds something that is no number", l, type);
        layer[l] = (dpc_layer){.in = (size_t)weight->shape[0], .out = (size_t)weight->shape[1],
                               .weight = weight->data, .bias = bias->data, .idt = idt ? idt->data : NULL,
                               .activation = (dpc_activation)int_at(activation, type * layers + l),
                               .residual = (int)int_at(residual, type * layers + l)};
    }
    DPC_TRY(dpc_net_create(m->dtype, layers, layer, net, err));
    m->widest = (*net)->widest > m->widest ? (*net)->widest : m->widest;
    m->slopes = (*net)->slopes > m->slopes ? (*net)->slopes : m->slopes;
    return DPC_OK;
}

/* The rows of features (k, a) and (a, k), k < a, added up: what the symmetric descriptor needs. */
static dpc_status merge_symmetric(const dpc_model *m, const struct dpc_view *view, const struct dpc_tensor *weight,
                                  void **sums, int64_t *rows, dpc_error *err)
{
    const size_t axis = m->axis, out = (size_t)weight->shape[1];
    *rows = (int64_t)dpc_feature(view, axis, view->width);
    DPC_TRY(dpc_alloc((size_t)*rows * out, dpc_dtype_size(m->dtype), sums, err));
    for (size_t k = 0; k < view->width; k++)
        for (size_t a = dpc_first_axis(view, axis, k); a < axis; a++)
            for (size_t n = 0; n < out; n++) {
                double sum = real_at(weight, (k * axis + a) * out + n);
                if (k < a)
                    sum += real_at(weight, (a * axis + k) * out + n);
                dpc_put(*sums, m->dtype, (dpc_feature(view, axis, k) + a) * out + n, sum);
            }
    return DPC_OK;
}

static dpc_status read_full(dpc_model *m, const struct source *from, size_t type, dpc_error *err)
{
    struct dpc_view *view = &m->full[type];
    view->width = m->width;
    view->stride = m->table[0].stride;
    DPC_TRY(dpc_alloc(m->types, sizeof(*view->table), &view->table, err));
    for (size_t t = 0; t < m->types; t++) {
        const int32_t table = m->rule[type * m->types + t].table;
        view->table[t] = table >= 0 ? &m->table[table] : NULL;
    }
    const struct dpc_tensor *weight, *residual;
    char name[64];
    snprintf(name, sizeof(name), "fit.%zu.0.weight", type);
    FIND(weight, name, m->dtype == DPC_F32 ? F32 : F64, -1, -1);
    FIND(residual, "fit_residual", I64, (int64_t)m->types, -1);
    CHECK(weight->shape[0] == (int64_t)(m->width * m->axis), "fitting net %zu takes %lld inputs, the descriptor has %zu",
          type, (long long)weight->shape[0], m->width * m->axis);
    /* a first layer with a skip connection needs its inputs as they are */
    view->symmetric = residual->shape[1] > 1 && int_at(residual, type * (size_t)residual->shape[1]) == 0;
    if (!view->symmetric)
        return read_net(m, from, type, NULL, &view->net, err);
    struct dpc_tensor merged = *weight;
    void *sums = NULL;
    DPC_TRY(merge_symmetric(m, view, weight, &sums, &merged.shape[0], err));
    merged.data = sums;
    const dpc_status status = read_net(m, from, type, &merged, &view->net, err);
    free(sums);
    return status;
}

/* The folded form of the first parts of what atoms of `type` need. */
static dpc_status read_fold(dpc_model *m, const struct source *from, size_t type, size_t rank, dpc_error *err)
{
    const int real = m->dtype == DPC_F32 ? F32 : F64;
    struct dpc_view *view = &m->fold[type];
    const struct dpc_tensor *table, *axis, *weight;
    char name[64];
    CHECK(rank < m->width, "a fold to rank %zu of %zu channels is none", rank, m->width);
    snprintf(name, sizeof(name), "fold.%zu.table", type);
    FIND(table, name, real, -1, 3, (int64_t)rank);
    snprintf(name, sizeof(name), "fold.%zu.axis", type);
    FIND(axis, name, real, (int64_t)rank, (int64_t)m->axis);
    snprintf(name, sizeof(name), "fold.%zu.weight", type);
    FIND(weight, name, real, (int64_t)(rank * m->axis), -1);
    CHECK(all_finite(table) && all_finite(axis), "the fold of type %zu holds something that is no number", type);
    const size_t size = dpc_dtype_size(m->dtype);
    view->width = rank;
    DPC_TRY(dpc_alloc(m->types, sizeof(*view->table), &view->table, err));
    DPC_TRY(dpc_alloc(m->types, sizeof(*view->folded), &view->folded, err));
    DPC_TRY(dpc_alloc(rank * m->axis, size, &view->axis, err));
    memcpy(view->axis, axis->data, rank * m->axis * size);
    int64_t at = 0;
    for (size_t t = 0; t < m->types; t++) {
        const struct dpc_table *whole = m->full[type].table[t];
        if (whole == NULL)
            continue;
        const struct dpc_grid *grid = &whole->grid;
        CHECK(grid->rows0 < table->shape[0] - at, "the fold of type %zu has too few nodes", type);
        CHECK(!m->rule[type * m->types + t].empties || m->empty[type * m->types + t].row < grid->rows0,
              "empty slots of types %zu and %zu lie outside the fold", type, t);
        const dpc_table_spec spec = {.dtype = m->dtype, .rows0 = (size_t)grid->rows0, .width = rank,
                                     .lower = grid->lower, .step0 = grid->step0, .step1 = grid->step1,
                                     .node = (const char *)table->data + (size_t)at * 3 * rank * size};
        DPC_TRY(dpc_table_fill(&view->folded[t], &spec, err));
        view->table[t] = &view->folded[t];
        view->stride = view->folded[t].stride;
        at += grid->rows0 + 1;
    }
    CHECK(at == table->shape[0], "the fold of type %zu has %lld nodes, not %lld", type, (long long)table->shape[0],
          (long long)at);
    DPC_TRY(read_net(m, from, type, weight, &view->net, err));
    return DPC_OK;
}

static dpc_status read_views(dpc_model *m, const struct source *from, dpc_error *err)
{
    const int64_t types = (int64_t)m->types;
    const struct dpc_tensor *bias, *rank = lookup(from, "fold_rank");
    FIND(bias, "energy_bias", F64, types);
    CHECK(all_finite(bias), "energy_bias holds something that is no number");
    if (rank != NULL)
        FIND(rank, "fold_rank", I64, types);
    DPC_TRY(dpc_alloc(m->types, sizeof(*m->full), &m->full, err));
    DPC_TRY(dpc_alloc(m->types, sizeof(*m->fold), &m->fold, err));
    DPC_TRY(dpc_alloc(m->types, sizeof(*m->bias), &m->bias, err));
    for (size_t t = 0; t < m->types; t++) {
        m->bias[t] = real_at(bias, t);
        DPC_TRY(read_full(m, from, t, err));
        if (rank != NULL && int_at(rank, t) > 0)
            DPC_TRY(read_fold(m, from, t, (size_t)int_at(rank, t), err));
    }
    return DPC_OK;
}

/* Member `key` of the layout must be one of the words in `known`, ended by NULL. */
static dpc_status read_word(const char *layout, const char *key, const char *const *known, size_t *which,
                            dpc_error *err)
{
    struct dpc_strings word;
    dpc_status status = dpc_json_strings(layout, key, &word, err);
    if (status == DPC_OK && word.count != 1)
        status = dpc_fail(err, DPC_FORMAT, "%s is missing", key);
    for (*which = 0; status == DPC_OK && known[*which] != NULL; ++*which)
        if (strcmp(word.item[0], known[*which]) == 0)
            break;
    if (status == DPC_OK && known[*which] == NULL)
        status = dpc_fail(err, DPC_UNSUPPORTED, "%s %.60s is not supported by this version", key, word.item[0]);
    dpc_strings_free(&word);
    return status;
}

static dpc_status read_parts(dpc_model *m, const char *layout, const struct source *from, dpc_error *err)
{
    static const char *const descriptors[] = {"se_e2_a", NULL}, *const fittings[] = {"ener", NULL};
    static const char *const precisions[] = {"float32", "float64", "mixed", NULL};
    size_t which;
    DPC_TRY(read_word(layout, "descriptor", descriptors, &which, err));
    DPC_TRY(read_word(layout, "fitting", fittings, &which, err));
    DPC_TRY(read_word(layout, "precision", precisions, &which, err));
    m->precision = (dpc_precision)(which + 1);
    m->dtype = m->precision == DPC_FLOAT64 ? DPC_F64 : DPC_F32;
    DPC_TRY(read_scalars(m, from, err));
    DPC_TRY(read_tables(m, from, err));
    DPC_TRY(read_rules(m, from, err));
    return read_views(m, from, err);
}

dpc_status dpc_model_create(const char *layout, size_t count, const struct dpc_tensor *tensor, dpc_model **model,
                            dpc_error *err)
{
    DPC_REQUIRE(layout != NULL && model != NULL && (tensor != NULL || count == 0), "an argument is NULL");
    struct dpc_strings name;
    dpc_model *m = NULL;
    *model = NULL;
    dpc_status status = dpc_json_strings(layout, "parameters", &name, err);
    if (status == DPC_OK && name.count != count)
        status = dpc_fail(err, DPC_FORMAT, "the layout names %zu parameters, the node has %zu", name.count, count);
    if (status == DPC_OK)
        status = dpc_alloc(1, sizeof(*m), &m, err);
    if (status == DPC_OK)
        status = read_parts(m, layout, &(struct source){&name, tensor}, err);
    dpc_strings_free(&name);
    if (status == DPC_OK)
        *model = m;
    else
        dpc_model_free(m);
    return status;
}

dpc_status dpc_model_name_types(dpc_model *m, size_t count, const char *const *names, dpc_error *err)
{
    CHECK(count == m->types, "the type map has %zu names, the model %zu types", count, m->types);
    DPC_TRY(dpc_alloc(count, sizeof(*m->type_names), &m->type_names, err));
    for (size_t t = 0; t < count; t++) {
        DPC_TRY(dpc_alloc(strlen(names[t]) + 1, 1, &m->type_names[t], err));
        strcpy(m->type_names[t], names[t]);
    }
    return DPC_OK;
}

static void release_view(struct dpc_view *view, size_t types)
{
    for (size_t t = 0; view->folded != NULL && t < types; t++)
        dpc_table_release(&view->folded[t]);
    free(view->folded);
    free(view->table);
    free(view->axis);
    dpc_net_free(view->net);
}

void dpc_model_free(dpc_model *m)
{
    if (m == NULL)
        return;
    for (size_t t = 0; t < m->types; t++) {
        if (m->full != NULL)
            release_view(&m->full[t], m->types);
        if (m->fold != NULL)
            release_view(&m->fold[t], m->types);
        if (m->type_names != NULL)
            free(m->type_names[t]);
    }
    for (size_t t = 0; m->table != NULL && t < m->tables; t++)
        dpc_table_release(&m->table[t]);
    free(m->full);
    free(m->fold);
    free(m->type_names);
    free(m->table);
    free(m->sel);
    free(m->mean);
    free(m->per_std);
    free(m->rule);
    free(m->empty);
    free(m->bias);
    free(m);
}

void dpc_model_describe(const dpc_model *m, dpc_model_info *info)
{
    *info = (dpc_model_info){m->precision, m->sw.cutoff, m->types, m->tables, (const char *const *)m->type_names};
}
