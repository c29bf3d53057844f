/*
 * dpc.h - evaluate compressed Deep Potential models
 *
 * True of every function below:
 *   - a call that can fail returns a dpc_status; on failure *err, if not NULL, says
 *     what was wrong, and outputs are unspecified;
 *   - there is no global state. A model or net is immutable once created: share it.
 *     A workspace or list is scratch: one per thread that evaluates;
 *   - the caller owns every buffer; the library owns what a *_create or *_load returned,
 *     until the matching *_free (which accepts NULL);
 *   - arrays are C-contiguous, shapes are in [brackets], outermost first.
 * Lengths are in angstrom, energies in eV.
 */
#ifndef DPC_H
#define DPC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DPC_VERSION 100 /* major * 10000 + minor * 100 + patch */

#ifndef DPC_API
#  define DPC_API
#endif

typedef enum dpc_status {
    DPC_OK = 0,
    DPC_INVALID = 1,     /* an argument is out of its documented range */
    DPC_NO_MEMORY = 2,
    DPC_UNSUPPORTED = 3, /* valid, but not in this build or on this machine */
    DPC_IO = 4,          /* a file cannot be read */
    DPC_FORMAT = 5,      /* a file is not what it should be */
    DPC_DEVICE = 6,      /* the GPU reported an error */
    DPC_INTERNAL = 255   /* a bug in libdpc */
} dpc_status;

typedef struct dpc_error { /* lives on the caller's stack */
    dpc_status status;
    char message[252];
} dpc_error;

/* Arithmetic inside: mixed has environment and sums in double, the rest in float. */
typedef enum dpc_precision { DPC_FLOAT32 = 1, DPC_FLOAT64 = 2, DPC_MIXED = 3 } dpc_precision;
typedef enum dpc_isa { DPC_ISA_AUTO = 0, DPC_ISA_BASE, DPC_ISA_AVX2, DPC_ISA_AVX512 } dpc_isa;

/* ---- execution --------------------------------------------------------------- */

typedef void (*dpc_task)(void *job, size_t begin, size_t end);

/* Run task(job, b, e) over disjoint ranges that cover [0, n), in any order, on any
 * threads; return when all have finished. */
typedef void (*dpc_parallel_for)(void *pool, size_t n, dpc_task task, void *job);

typedef struct dpc_exec { /* NULL, or all zero: this thread alone, best instruction set */
    dpc_parallel_for parallel_for;
    void *pool;
    size_t workers; /* into how many tasks work is cut; results do not depend on it */
    dpc_isa isa;
} dpc_exec;

/* A dpc_parallel_for; `threads` points to an int, NULL or 0: as many as OpenMP likes. Not for a process that was
 * forked from one that has called it: GNU's OpenMP waits there without end. */
DPC_API void dpc_parallel_openmp(void *threads, size_t n, dpc_task task, void *job);

/* ---- models ------------------------------------------------------------------- */

typedef struct dpc_model dpc_model;
typedef struct dpc_workspace dpc_workspace;

typedef struct dpc_model_info {
    dpc_precision precision;
    double cutoff;
    size_t types, tables;
    const char *const *type_names; /* [types], valid as long as the model */
    const char *kind;              /* ener, dipole, polar, dos or property */
    size_t outputs;                /* numbers per atom: 1, or an ensemble's models; 3; 9 row by row; any number */
    int differentiable;            /* whether there are forces and virials: not of dos and property */
    size_t fparams, aparams;       /* how many parameters of a frame, and of each atom, it takes */
    const double *spin_scale;      /* [types] Å per unit of spin that an atom's virtual one is away; NULL: no spin */
    int64_t frequency;             /* evaluations between looks at `range` that its maker asked for; -1: none */
    int masked;                    /* its aparam says whether an atom is there; periodic images count for nothing */
} dpc_model_info;

typedef struct dpc_atoms {
    size_t local, ghost;    /* in every per-atom array, ghosts follow local atoms */
    const double *position; /* [local + ghost][3] */
    const int32_t *type;    /* [local + ghost], index of type_names; negative: no atom */
    const double *fparam;   /* [fparams]; may be NULL where the model takes none */
    const double *aparam;   /* [local][aparams]; the same */
    const double *spin;     /* [local + ghost][3], of models with spin */
} dpc_atoms;

/* A full list in one of two forms, either may reach beyond the cutoff, and with spin must by the longest spin
 * times spin_scale. Each centre is a local atom and occurs once; atoms that are no centre have no energy.
 * (a) as LAMMPS hands them out, so that nothing is copied: centre, count, list, mask; entries
 *     are trusted to be atoms;
 * (b) one after the other: first and index, centre k being atom k. */
typedef struct dpc_neighbours {
    size_t centres;
    const int32_t *centre;      /* (a) [centres] */
    const int32_t *count;       /* (a) [local], by atom */
    const int32_t *const *list; /* (a) [local][count], by atom; entries are masked with `mask` */
    int32_t mask;               /* (a) */
    const int64_t *first;       /* (b) [centres + 1] */
    const int32_t *index;       /* (b) [first[centres]] */
    const int32_t *shift;       /* (b) [first[centres]][3], or NULL: the neighbour's image */
    const double *cell;         /* (b) [3][3], rows are lattice vectors; with shift */
    uint64_t serial;            /* not 0: as long as it is that of the workspace's last call, nothing has changed in
                                 * numbers of atoms, types, centres and list: what was found out then holds */
} dpc_neighbours;

/* What the time of a dpc_model_compute goes into. */
enum {
    DPC_STAGE_NEIGHBOURS = 0, /* lists searched for what is within the cutoff, environment */
    DPC_STAGE_CONTRACTION,    /* tables, forward */
    DPC_STAGE_DESCRIPTOR,     /* forward and backward */
    DPC_STAGE_NET,            /* fitting net, forward and backward */
    DPC_STAGE_FORCES,         /* tables backward, forces, virial */
    DPC_STAGES
};

/* Each may be NULL; none may overlap. Of one output, as energies are, [outputs] is [1]; of an ensemble of energies each
 * model's energy is one. What is said of an energy goes for each output, in its own unit; without derivatives force and
 * virials must be NULL. */
typedef struct dpc_result {
    double *energy;        /* [outputs], the sum over the atoms, or their mean where that is the property */
    double *force;         /* [outputs][local + ghost][3] */
    double *virial;        /* [outputs][3][3], -sum of (dE/dd)_a d_b over pair vectors d */
    double *atom_energy;   /* [local][outputs] */
    double *atom_virial;   /* [outputs][local + ghost][3][3], a pair's term is the neighbour's */
    int64_t *range;        /* [tables][4] inputs below the table, in its first part, in its second, beyond */
    double *range_worst;   /* [tables][3] the input furthest outside: value, centre, distance; or zeros */
    int64_t *dropped;      /* [1] neighbours within the cutoff that sel had no slot for; counted once for models that
                            * have the same */
    double *stage;         /* [DPC_STAGES] seconds, of all workers together */
    double *force_mag;     /* [outputs][local + ghost][3] -dE/dspin, of models with spin */
} dpc_result;

/* Read a compressed .onnx; a file that is damaged, or changed by another program, is refused: its digest, and those
 * of its external data, are checked. `memory` is such a file's bytes, its external data in `folder` (or NULL);
 * checked 0: they are taken as they are, digests or not. */
DPC_API dpc_status dpc_model_load(const char *path, dpc_model **model, dpc_error *err);
DPC_API dpc_status dpc_model_load_memory(const void *memory, size_t size, const char *folder,
                                         int checked, dpc_model **model, dpc_error *err);
DPC_API void dpc_model_free(dpc_model *model);
DPC_API void dpc_model_describe(const dpc_model *model, dpc_model_info *info);
DPC_API dpc_status dpc_workspace_create(const dpc_model *model, dpc_workspace **workspace,
                                        dpc_error *err);
/* The same on "cpu", or on the CUDA device "cuda:0", "cuda:1", ...: by libdpc_cuda, which is looked for beside this
 * library and where the loader looks, unless DPC_CUDA_LIBRARY in the environment names its file; DPC_UNSUPPORTED where
 * there is none, or no such device. Arrays stay on the host (cuda/dpc_cuda.h: not even they); dpc_exec does not matter. */
DPC_API dpc_status dpc_workspace_create_on(const dpc_model *model, const char *device,
                                           dpc_workspace **workspace, dpc_error *err);
DPC_API void dpc_workspace_free(dpc_workspace *workspace);
DPC_API dpc_status dpc_model_compute(const dpc_model *model, dpc_workspace *workspace,
                                     const dpc_atoms *atoms, const dpc_neighbours *neighbours,
                                     const dpc_result *result, const dpc_exec *exec,
                                     dpc_error *err);

/* Of energies, results that dpc_model_compute gave -> their means over the models, each [1] in place of [outputs]: all
 * that `mean` has room for, which may be the memory of `each`. Of a single model the same numbers. */
DPC_API void dpc_model_average(const dpc_model *model, const dpc_atoms *atoms, const dpc_result *each,
                               const dpc_result *mean);

/* ---- neighbour lists, for callers that have none -------------------------------- */

typedef struct dpc_list dpc_list;

DPC_API dpc_status dpc_list_create(dpc_list **list, dpc_error *err);
DPC_API void dpc_list_free(dpc_list *list);
/* All pairs and images within `cutoff`; cell NULL or all zeros: no periodicity. Any triclinic
 * cell, also one smaller than the cutoff; positions need not lie inside it. The order is the
 * same for any number of workers. More than 2^30 pairs are refused. */
DPC_API dpc_status dpc_list_build(dpc_list *list, size_t atoms, const double *position,
                                  const double *cell, double cutoff, const dpc_exec *exec,
                                  dpc_error *err);
/* Form (b); valid until the next build. The cell is the list's own copy. */
DPC_API void dpc_list_view(const dpc_list *list, dpc_neighbours *view);

/* ---- ops: what an ONNX node or a test needs ------------------------------------- */

typedef enum dpc_dtype { DPC_F32 = 1, DPC_F64 = 2 } dpc_dtype;

/* DeePMD-kit's table form: rows of step0 from lower on, then of step1, each a polynomial of
 * degree 5 in x - node. value and slope are [n][width], of dtype, as x and coef; slope may be
 * NULL. Outside, the tangent of the nearest end. */
typedef struct dpc_quintic {
    dpc_dtype dtype;
    size_t rows0, rows1, width;
    double lower, step0, step1;
    const void *coef; /* [rows0 + rows1][width][6], constant term first */
} dpc_quintic;
DPC_API dpc_status dpc_quintic_eval(const dpc_quintic *table, size_t n, const void *x, void *value,
                                    void *slope, const dpc_exec *exec, dpc_error *err);

/* Nodal tables: quintic Hermite interpolants of value and two derivatives. */
typedef struct dpc_table dpc_table;

typedef struct dpc_table_spec {
    dpc_dtype dtype;
    size_t rows0, rows1, width;
    double lower, step0, step1;
    const void *node; /* [rows0 + rows1 + 1][3][width]; copied */
} dpc_table_spec;

/* The neighbours of atom a are pairs first[a] to first[a + 1] - 1. Buffers are of the table's dtype. */
typedef struct dpc_pairs {
    size_t atoms;
    const int64_t *first; /* [atoms + 1], not decreasing, first[0] == 0 */
    const void *s;        /* [pairs] the table's input */
    const void *env;      /* [pairs][4] */
} dpc_pairs;

DPC_API dpc_status dpc_table_create(const dpc_table_spec *spec, dpc_table **table, dpc_error *err);
DPC_API void dpc_table_free(dpc_table *table);
/* out [atoms][4][width] = sum over an atom's pairs of env ⊗ g(s), in node space (docs/math.md). */
DPC_API dpc_status dpc_contract_forward(const dpc_table *table, const dpc_pairs *in, void *out,
                                        const dpc_exec *exec, dpc_error *err);
/* grad [atoms][4][width] of out -> grad_s [pairs], grad_env [pairs][4] */
DPC_API dpc_status dpc_contract_backward(const dpc_table *table, const dpc_pairs *in,
                                         const void *grad, void *grad_s, void *grad_env,
                                         const dpc_exec *exec, dpc_error *err);

/* Fitting nets, packed for the kernels. */
typedef struct dpc_net dpc_net;

typedef enum dpc_activation {
    DPC_LINEAR = 0, DPC_TANH, DPC_GELU, DPC_RELU, DPC_RELU6, DPC_SOFTPLUS, DPC_SIGMOID, DPC_SILU,
    DPC_GELU_TF, /* gelu whose constant 0.044715 is rounded to float */
    DPC_SILUT    /* silu below 3, then tanh(s (x - 3)) + c with silu's slope s and value c at 3 */
} dpc_activation;

/* h = activation(x·weight + bias) * idt; then h, x + h or [x, x] + h for residual 0, 1, 2. */
typedef struct dpc_layer {
    size_t in, out;
    const void *weight;     /* [in][out], of the net's dtype */
    const void *bias, *idt; /* [out], or NULL */
    dpc_activation activation;
    int residual;
} dpc_layer;

DPC_API dpc_status dpc_net_create(dpc_dtype dtype, size_t layers, const dpc_layer *layer,
                                  dpc_net **net, dpc_error *err);
DPC_API void dpc_net_free(dpc_net *net);
/* value [n] of a net with one output at x [n][in], and its gradient grad [n][in] (or NULL). */
DPC_API dpc_status dpc_net_eval(const dpc_net *net, size_t n, const void *x, void *value,
                                void *grad, const dpc_exec *exec, dpc_error *err);

/* ---- introspection --------------------------------------------------------------- */

DPC_API int dpc_version(void);
DPC_API const char *dpc_status_name(dpc_status status);
DPC_API int dpc_devices(void); /* CUDA devices that libdpc_cuda can use; 0 without it */
DPC_API const char *dpc_isa_name(dpc_isa isa); /* what it resolves to here; NULL: cannot run */

#ifdef __cplusplus
}
#endif
#endif
