/* model.h - a model in memory: what its file says, and what is packed of it in the form that the kernels read */
#ifndef DPC_MODEL_H
#define DPC_MODEL_H

#include "bytes.h"
#include "params.h"

/* A table's geometry: nodes at lower + k step0 (k <= rows0), then upper + k step1; or intervals
 * between breaks, two nodes to each. */
struct dpc_grid {
    double lower, upper, max, step0, step1;
    double inverse0, inverse1; /* of the steps */
    double coarse_from; /* upper; infinity where there is no second part */
    int32_t rows0, rows1;
    const double *breaks; /* [rows0 + rows1 + 1], or NULL */
};

/* The interval between breaks that x lies in; the first where x is not a number. */
DPC_HD static inline int32_t dpc_grid_interval(const struct dpc_grid *grid, double x)
{
    int32_t k = 0, beyond = grid->rows0 + grid->rows1;
    while (beyond - k > 1) {
        const int32_t middle = k + (beyond - k) / 2;
        if (x >= grid->breaks[middle])
            k = middle;
        else
            beyond = middle;
    }
    return k;
}

/* Nodes of the first part, and of all. */
DPC_HD static inline size_t dpc_grid_first(const struct dpc_grid *grid)
{
    return grid->breaks != NULL ? 2 * (size_t)grid->rows0 : (size_t)grid->rows0 + 1;
}

DPC_HD static inline size_t dpc_grid_nodes(const struct dpc_grid *grid)
{
    const size_t rows = (size_t)grid->rows0 + (size_t)grid->rows1;
    return grid->breaks != NULL ? 2 * rows : rows + 1;
}

struct dpc_table {
    dpc_dtype dtype;
    size_t width, stride; /* channels; the same padded to DPC_ALIGN bytes with zeros */
    struct dpc_grid grid;
    void *node; /* [dpc_grid_nodes][3][stride]: value, slope, curvature */
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
    size_t layers; /* packed ones: all, or with one output all but the last */
    struct dpc_packed_layer *layer;
    size_t in, outputs, widest, slopes; /* widest: rows of the widest packed layer, slopes: of all, padded */
    void *last;        /* of one output: [width of the last hidden layer]; else NULL */
    double last_bias;
};

struct dpc_switch {
    double smooth, cutoff, width, protection;
    double surrogate; /* the factor of s in a gate that stands for sw */
    double inverse, slope; /* of the width; of sw by the distance, as math.inc has it */
};

static inline struct dpc_switch dpc_switch_make(double smooth, double cutoff, double width, double protection)
{
    const struct dpc_switch sw = {smooth, cutoff, width, protection, 0, 1 / width, -30.0 / width};
    return sw;
}

/* D = Xᵀ X[:, :axis] of X = sum of env ⊗ g; D = sum of g; D = sum over pairs of neighbours of t g(t). */
enum dpc_kind { DPC_TWO_BODY, DPC_RADIAL, DPC_THREE_BODY };

/* What scales the second table of a pair: nothing, there is none; sw; clip(1 - (1 - surrogate s)³, 0, 1). */
enum dpc_gate { DPC_UNGATED, DPC_GATE_SWITCH, DPC_GATE_SURROGATE };

/* One descriptor, as docs/format.md has it: what is checked and read when a model is loaded. */
struct dpc_member {
    enum dpc_kind kind;
    enum dpc_gate gate;
    char prefix[24];          /* of its parameters' names */
    struct dpc_switch sw;
    size_t sections;          /* types, or 1 for slots that all types share */
    int32_t *sel;             /* [sections] */
    int64_t total;            /* of all neighbours the nearest `total` may take a slot; 0: all */
    double per_count;         /* 1 / N */
    double (*mean)[4], (*per_std)[4]; /* [types] */
    int32_t *ignored;         /* [types][types] neighbours whose slots are emptied; or NULL: none */
    /* variants of tables, -1 for none */
    int32_t *net, *gate_net;  /* [types][types]; gate_net NULL: none */
    int32_t *pad_net;         /* [types][sections]; NULL for three bodies */
    int32_t *mask_net;        /* [types][types], or NULL */
    double (*pad_env)[4];     /* [types][sections] */
    double *weight;           /* [types][types] three bodies */
    int32_t *masked;          /* [types][types] three bodies */
    size_t variants;
    int32_t *base;            /* [variants] table of each, or NULL: table v */
    size_t tables, first_table; /* its own; those of the members before it */
    struct dpc_grid *grid;    /* [tables] */
    size_t *first_node;       /* [tables + 1] in the parameter `table` */
    size_t nodes;             /* of the largest table */
    size_t width, axis, features; /* channels; 0 for all but two bodies; width · axis or width */
    size_t first_row, first_axis; /* two bodies: channels and axes of the members before it */
    const struct dpc_tensor *nodes_of_all, *scale; /* `table` and `scale`, whose data the file keeps */
    int32_t *fold_rank;       /* [types], or NULL: nothing is folded */
    struct dpc_table *packed; /* [variants]; no nodes: not packed yet */
    const struct dpc_table **pair, **pair_gate; /* [types][types] three bodies: every centre's */
};

static inline size_t dpc_components(const struct dpc_member *m)
{
    return m->kind == DPC_TWO_BODY ? 4 : 1;
}

/* Whether neighbours of (centre, neighbour) contribute anything beyond the slots that they take. */
static inline int dpc_has_pairs(const struct dpc_member *m, size_t pair)
{
    return m->kind == DPC_THREE_BODY ? !m->masked[pair]
                                     : m->net[pair] >= 0 || (m->gate_net != NULL && m->gate_net[pair] >= 0);
}

static inline size_t dpc_base(const struct dpc_member *m, int32_t variant)
{
    return (size_t)(m->base != NULL ? m->base[variant] : variant);
}

/* What a descriptor evaluates atoms of one type with: all channels of the tables, or their first
 * parts folded to their numerical rank (docs/math.md). */
struct dpc_channels {
    size_t width, stride;  /* channels; the same as the tables pad them */
    size_t first_feature;  /* its features follow those of the members before it */
    const struct dpc_table **table, **gate; /* [types], three bodies [types][types]; NULL: nothing, or nobody met */
    void *pad;             /* real [sections][components][stride]: what an empty slot adds to X */
    void *mask;            /* real [types][stride]: what an excluded neighbour adds; or NULL */
    void *axis;            /* [width][axis]: second factor = axisᵀ X; NULL: X[:axis] */
    int symmetric;         /* features (k, a) and (a, k) are one, the net's weights their sum */
    /* of a fold: the variants that it has, once each, where their nodes begin, and its own tables */
    size_t variants;
    int32_t *variant;         /* [variants] */
    size_t *first_node;       /* [variants] */
    const struct dpc_tensor *nodes;
    struct dpc_table *folded; /* [variants] */
};

/* Feature (k, a) of two bodies is number dpc_feature(view, axis, k) + a, for a from
 * dpc_first_axis(view, axis, k) on. */
DPC_HD static inline size_t dpc_first_axis(const struct dpc_channels *view, size_t axis, size_t k)
{
    return view->symmetric && k < axis ? k : 0;
}

DPC_HD static inline size_t dpc_feature(const struct dpc_channels *view, size_t axis, size_t k)
{
    const size_t triangle = k < axis ? k : axis;
    return k * axis - (view->symmetric ? triangle * (triangle - 1) / 2 + dpc_first_axis(view, axis, k) : 0);
}

/* What the atoms of one type are evaluated with. */
struct dpc_view {
    int ready;
    struct dpc_channels *member; /* [members] */
    size_t features;             /* of all members; then come constants and parameters */
    const dpc_net *net;          /* NULL: none, nothing but the bias */
    dpc_net *own;                /* a fold's, which no other view shares */
};

enum dpc_head { DPC_ENERGY, DPC_DIPOLE, DPC_POLAR, DPC_DOS, DPC_PROPERTY };

struct dpc_fitting {
    enum dpc_head head;
    int intensive;
    size_t outputs, biases;     /* numbers per atom; columns of `bias` */
    double *bias;               /* [types][biases] */
    size_t nets, layers, net_outputs;
    int32_t *net;               /* [types], -1: none */
    int32_t *activation, *residual; /* [nets][layers] */
    size_t constants, fparams, aparams; /* inputs after the descriptors' */
    double *constant;           /* [types][constants] */
    double *fparam, *aparam;    /* [2][number]: mean and inverse deviation */
    size_t widest, slopes;      /* rows of a net's activations and derivatives, at most */
    dpc_net **packed;           /* [nets] */
};

/* A potential of pairs that takes the fitted energy's place where atoms are near. */
struct dpc_pair {
    struct dpc_member list;   /* cutoff, sections, sel, total and ignored of its neighbours; nothing else */
    double start, step, alpha, inner, outer;
    size_t intervals;
    double *table, *bias;     /* [types][types][intervals][4]; [types] */
};

/* What of the atoms' surroundings a term has in common with the one before it: nothing; which neighbours they have
 * and where; the environment, too. */
enum dpc_common { DPC_APART, DPC_SAME_NEIGHBOURS, DPC_SAME_ENVIRONMENT };

/* A node of the file: descriptors and what is fitted to them. */
struct dpc_term {
    size_t model;         /* of an ensemble, its number, which is that of its output */
    enum dpc_common common;
    struct dpc_pool pool; /* owns every array that has no other owner */
    struct dpc_params params;
    dpc_dtype dtype;      /* of tables and nets */
    size_t types, members, tables, first_table;
    struct dpc_member *member;
    size_t features;      /* of all members */
    size_t rotations, axes; /* channels and axes of all two-body members */
    struct dpc_fitting fitting;
    struct dpc_pair *pair; /* or NULL */
    struct dpc_view *full, *fold; /* [types]; a fold without net: not folded */
};

/* How models of one head give their results. */
struct dpc_shape {
    const char *name;
    size_t slopes; /* outputs that are differentiated; of polar, the upper triangle */
};
extern const struct dpc_shape dpc_shapes[];

struct dpc_model {
    dpc_precision precision;
    size_t types, tables, terms, members; /* types: with those of virtual atoms; members: of a term, at most */
    double cutoff;                        /* the largest */
    size_t real_types;                    /* with spin half of them */
    double *spin_scale;                   /* [real_types] Å per unit of spin, the first term's; or NULL: no spin */
    int64_t frequency;                    /* what the file says of it */
    int masked;                           /* the only aparam says whether an atom is there */
    enum dpc_head head;
    int intensive;
    size_t outputs, fparams, aparams;     /* outputs: of all models */
    size_t models;                        /* of an ensemble of energies; else 1 */
    struct dpc_term *term;
    char **type_names;           /* [real_types] */
    struct dpc_bytes *bytes;     /* [files] what the tensors lie in, if the model owns it */
    size_t files;
    struct dpc_packing *packing; /* what is made already */
};

/* Which of the differentiated outputs is output o: a matrix is symmetric. */
static inline size_t dpc_slope_of(const struct dpc_model *m, size_t o)
{
    static const unsigned char triangle[9] = {0, 1, 2, 1, 3, 4, 2, 4, 5};
    return m->head == DPC_POLAR ? triangle[o] : o;
}

/* A node's `layout` and the tensors that this names, in its order (names in `tensor` are not read). */
struct dpc_node {
    const char *layout;
    size_t count;
    const struct dpc_tensor *tensor;
};

/* The sum of `terms` nodes, or of an ensemble's nodes the sum of each model's. Data of float32 and float64 tensors
 * is read when atoms that need it come, so that it must outlive the model: onnxruntime's initialisers do, since the
 * session owns them. */
dpc_status dpc_model_create(size_t terms, const struct dpc_node *node, dpc_model **model, dpc_error *err);
/* What the graph around the node knows: `names` are copied. */
dpc_status dpc_model_name_types(dpc_model *model, size_t count, const char *const *names, dpc_error *err);

/* Steps of loading: a descriptor, then the fitting, then the pair potential. */
dpc_status dpc_member_read(struct dpc_term *term, struct dpc_member *m, const char *word, dpc_error *err);
dpc_status dpc_fitting_read(struct dpc_term *term, dpc_error *err);
dpc_status dpc_pair_read(struct dpc_term *term, dpc_error *err);
/* What two terms of equally many types have in common. */
enum dpc_common dpc_term_compare(const struct dpc_term *term, const struct dpc_term *other);
/* Net k of a term, with `first` in place of its first layer's weight unless that is NULL. */
dpc_status dpc_fitting_net(const struct dpc_term *term, size_t k, const struct dpc_tensor *first, dpc_net **net,
                           dpc_error *err);

/* Views are made when atoms that need them come, and only then; several threads may ask at once. */
dpc_status dpc_packing_create(size_t types, struct dpc_packing **packing, dpc_error *err);
void dpc_packing_free(struct dpc_packing *packing);
/* All that atoms of types t with present[t] need of each other. */
dpc_status dpc_model_pack(const dpc_model *model, const unsigned char *present, dpc_error *err);
dpc_status dpc_term_pack(struct dpc_term *term, const unsigned char *wanted, dpc_error *err);
void dpc_view_release(struct dpc_view *view, const struct dpc_term *term); /* what it owns, not itself */

void dpc_table_release(struct dpc_table *table); /* what it owns, not itself */
/* With `breaks`, which stay the caller's, the steps do not matter. */
dpc_status dpc_grid_fill(struct dpc_grid *grid, double lower, double step0, double step1, size_t rows0, size_t rows1,
                         const double *breaks, dpc_error *err);
/* Packs node [dpc_grid_nodes(grid)][3][width]; `scale` [width], unless it is NULL, multiplies the channels. */
dpc_status dpc_table_fill(struct dpc_table *table, dpc_dtype dtype, size_t width, const struct dpc_grid *grid,
                          const void *node, const void *scale, dpc_error *err);
dpc_status dpc_net_check(size_t layers, const dpc_layer *layer, dpc_error *err);
/* dpc_net_create for any number of outputs. */
dpc_status dpc_net_pack(dpc_dtype dtype, size_t layers, const dpc_layer *layer, dpc_net **net, dpc_error *err);

#endif
