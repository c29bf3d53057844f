/* model.h - a model in memory: its parameters in the form that the kernels read */
#ifndef DPC_MODEL_H
#define DPC_MODEL_H

#include "common.h"

/* A table's geometry: nodes at lower + k step0 (k <= rows0), then upper + k step1. */
struct dpc_grid {
    double lower, upper, max, step0, step1;
    double coarse_from; /* upper; infinity where there is no second part */
    int32_t rows0, rows1;
};

struct dpc_table {
    dpc_dtype dtype;
    size_t width, stride; /* channels; the same padded to DPC_ALIGN bytes with zeros */
    struct dpc_grid grid;
    void *node; /* [rows0 + rows1 + 1][3][stride]: value, slope, curvature */
};

/* A layer, its weights cut into panels of DPC_PANEL outputs: forward runs down a panel, backward
 * across the panels; both read the same numbers. */
struct dpc_packed_layer {
    size_t in, out, in_padded, out_padded; /* padded to DPC_PANEL */
    void *weight;                          /* [out_padded / PANEL][in_padded][PANEL] */
    void *bias, *idt;                      /* [out_padded]; idt may be NULL */
    dpc_activation activation;
    int residual;
};

struct dpc_net {
    dpc_dtype dtype;
    size_t layers; /* hidden ones */
    struct dpc_packed_layer *layer;
    size_t in, widest, slopes; /* inputs; rows of the widest hidden layer, and of all, padded */
    void *last;        /* [width of the last hidden layer]: the one output's weights */
    double last_bias;
};

struct dpc_switch {
    double smooth, cutoff, width, protection;
};

/* What the atoms of one type are evaluated with: all channels of the tables, or their first
 * parts folded to their numerical rank (docs/math.md). */
struct dpc_view {
    size_t width, stride;            /* channels; the same as the tables pad them */
    const struct dpc_table **table;  /* [types] by neighbour type; NULL where nothing contributes */
    struct dpc_table *folded;        /* [types] the view's own tables, if it is folded */
    void *axis;                      /* [width][axis]: second factor = axisᵀ X; NULL: X[:axis] */
    int symmetric;                   /* features (k, a) and (a, k) are one, the net's weights their sum */
    dpc_net *net;
};

/* Feature (k, a) of the descriptor is number dpc_feature(view, axis, k) + a, for a from
 * dpc_first_axis(view, axis, k) on. */
static inline size_t dpc_first_axis(const struct dpc_view *view, size_t axis, size_t k)
{
    return view->symmetric && k < axis ? k : 0;
}

static inline size_t dpc_feature(const struct dpc_view *view, size_t axis, size_t k)
{
    const size_t triangle = k < axis ? k : axis;
    return k * axis - (view->symmetric ? triangle * (triangle - 1) / 2 + dpc_first_axis(view, axis, k) : 0);
}

/* One (centre, neighbour) pair of types. */
struct dpc_block_rule {
    int32_t table;           /* -1: neither neighbours nor empty slots contribute */
    int32_t pairs, empties; /* whether neighbours do; whether empty slots do */
};

/* An empty slot of a (centre, neighbour) pair of types: its normalised environment, and where
 * that lies in the table. */
struct dpc_empty_slot {
    int32_t row;
    double basis[6], env[4];
};

struct dpc_model {
    dpc_precision precision;
    dpc_dtype dtype; /* of tables and nets */
    size_t types, tables, width, axis;
    struct dpc_switch sw;
    int64_t *sel; /* [types] */
    int64_t slots; /* their sum */
    int total_first;
    double per_count;                  /* 1 / N */
    double (*mean)[4], (*per_std)[4];  /* [types] */
    struct dpc_block_rule *rule;       /* [types][types] */
    struct dpc_empty_slot *empty;      /* [types][types] */
    struct dpc_table *table;           /* [tables] */
    size_t nodes;                      /* of the largest table */
    struct dpc_view *full, *fold;      /* [types]; a fold without net: not folded */
    size_t widest, slopes;             /* rows of a net's activations and derivatives, at most */
    double *bias;                      /* [types] */
    char **type_names;                 /* [types] */
};

/* A named tensor of the file: data stays the caller's, in native byte order, 8-aligned. */
struct dpc_tensor {
    const char *name;
    int type; /* ONNX's numbers: 1 float32, 6 int32, 7 int64, 11 float64 */
    size_t rank;
    int64_t shape[4];
    const void *data;
};

/* From an EnergyForce node: its `layout` and the tensors that this names, in its order (names
 * in `tensor` are not read). Everything is copied. */
dpc_status dpc_model_create(const char *layout, size_t count, const struct dpc_tensor *tensor,
                            dpc_model **model, dpc_error *err);
/* What the graph around the node knows: `names` are copied. */
dpc_status dpc_model_name_types(dpc_model *model, size_t count, const char *const *names, dpc_error *err);

void dpc_table_release(struct dpc_table *table); /* what it owns, not itself */
dpc_status dpc_table_fill(struct dpc_table *table, const dpc_table_spec *spec, dpc_error *err);

#endif
