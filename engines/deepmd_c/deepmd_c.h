/*
 * deepmd_c.h - the part of DeePMD-kit's C interface that our libdeepmd_c.so evaluates
 *
 * Programs compiled against DeePMD-kit's own c_api.h or deepmd.hpp, up to the version below, run with our library as
 * they are; this header is for those that do without. True of every function below:
 *   - what fails leaves its reason with the handle: *CheckOK returns it, or "" when the last call was fine. New* always
 *     returns a handle; the caller gives it to the matching Delete*;
 *   - every returned text is the caller's, for DP_DeleteChar;
 *   - arrays are C-contiguous, shapes are in [brackets], outermost first, and outputs may be NULL;
 *   - a handle is used by one thread at a time.
 * Lengths are in angstrom, energies in eV.
 */
#ifndef DPC_DEEPMD_C_H
#define DPC_DEEPMD_C_H

#include <stdbool.h>

#define DP_C_API_VERSION 30

#ifdef __cplusplus
extern "C" {
#endif

/* ---- neighbour lists: the caller's own, borrowed --------------------------------- */

typedef struct DP_Nlist DP_Nlist;

/* centre [centres] are local atoms, count [local] and list [local][count] go by atom: as LAMMPS has them. */
DP_Nlist *DP_NewNlist(int centres, int *centre, int *count, int **list);
/* The communication of LAMMPS' ghost atoms, which our models do without, is not looked at. */
DP_Nlist *DP_NewNlist_comm(int centres, int *centre, int *count, int **list, int swaps, int *sent, int *received,
                           int *first_received, int **sent_atoms, int *to, int *from, void *world, int ranks);
void DP_NlistSetMask(DP_Nlist *nlist, int mask); /* entries of `list` are masked with it */
void DP_NlistSetMapping(DP_Nlist *nlist, int *mapping); /* not looked at */
const char *DP_NlistCheckOK(DP_Nlist *nlist);
void DP_DeleteNlist(DP_Nlist *nlist);

/* ---- models ---------------------------------------------------------------------- */

typedef struct DP_DeepPot DP_DeepPot;                     /* one model */
typedef struct DP_DeepPotModelDevi DP_DeepPotModelDevi;   /* several models of the same types */
typedef struct DP_DeepBaseModel DP_DeepBaseModel;         /* a DP_DeepPot, for queries */
typedef struct DP_DeepBaseModelDevi DP_DeepBaseModelDevi; /* a DP_DeepPotModelDevi, for queries */

DP_DeepPot *DP_NewDeepPot(const char *path);
/* `content`, if its size is not 0, is the file's bytes, and `path` says where its external data are. No GPU is used. */
DP_DeepPot *DP_NewDeepPotWithParam(const char *path, int gpu, const char *content);
DP_DeepPot *DP_NewDeepPotWithParam2(const char *path, int gpu, const char *content, int size);
void DP_DeleteDeepPot(DP_DeepPot *model);
void DP_DeleteDeepBaseModel(DP_DeepBaseModel *model);

DP_DeepPotModelDevi *DP_NewDeepPotModelDevi(const char **paths, int models);
DP_DeepPotModelDevi *DP_NewDeepPotModelDeviWithParam(const char **paths, int models, int gpu, const char **contents,
                                                     int content_count, const int *sizes);
void DP_DeleteDeepPotModelDevi(DP_DeepPotModelDevi *model);
void DP_DeleteDeepBaseModelDevi(DP_DeepBaseModelDevi *model);

#define DP_DECLARE_QUERIES(MODEL)                            \
    const char *DP_##MODEL##CheckOK(DP_##MODEL *model);      \
    double DP_##MODEL##GetCutoff(DP_##MODEL *model);         \
    int DP_##MODEL##GetNumbTypes(DP_##MODEL *model);         \
    int DP_##MODEL##GetNumbTypesSpin(DP_##MODEL *model);     \
    int DP_##MODEL##GetDimFParam(DP_##MODEL *model);         \
    int DP_##MODEL##GetDimAParam(DP_##MODEL *model);         \
    bool DP_##MODEL##IsAParamNAll(DP_##MODEL *model);        \
    bool DP_##MODEL##HasDefaultFParam(DP_##MODEL *model);

DP_DECLARE_QUERIES(DeepPot)
DP_DECLARE_QUERIES(DeepPotModelDevi)
DP_DECLARE_QUERIES(DeepBaseModel)
DP_DECLARE_QUERIES(DeepBaseModelDevi)

/* The names of the types in their order, separated by spaces. */
const char *DP_DeepPotGetTypeMap(DP_DeepPot *model);
const char *DP_DeepBaseModelGetTypeMap(DP_DeepBaseModel *model);

/* What models conditioned on charge and spin take; ours take none. */
int DP_DeepPotGetDimChgSpin(DP_DeepPot *model);
int DP_DeepPotModelDeviGetDimChgSpin(DP_DeepPotModelDevi *model);
void DP_DeepPotSetChargeSpin(DP_DeepPot *model, const double *charge_spin, int count);
void DP_DeepPotModelDeviSetChargeSpin(DP_DeepPotModelDevi *model, const double *charge_spin, int count);

/*
 * Evaluations. REAL is double, or float in the functions with an f; what is inside is the model's own precision.
 *   position [frames][atoms][3], type [atoms] (one that the model has not: no atom), cell [frames][3][3], rows are
 *   lattice vectors, or NULL: no periodicity; fparam [frames][dim_fparam], aparam [frames][local][dim_aparam];
 *   energy [frames], force [frames][atoms][3], virial [frames][3][3], atom_energy [frames][atoms],
 *   atom_virial [frames][atoms][3][3].
 * NList: `ghosts` of the atoms, the last ones, are copies of others; their forces are not added to these, nor has the
 *   list to be new: `ago` is not looked at, nor is the cell.
 * ModelDevi: one frame, and [models] instead of [frames] in the results.
 * Without a number: one frame, no parameters. 2: all of this. 3: with charge_spin, which is not looked at.
 */
#define DP_FRAMES(REAL) const REAL *position, const int *type, const REAL *cell
#define DP_LIST int ghosts, const DP_Nlist *nlist, int ago
#define DP_PARAMETERS(REAL) const REAL *fparam, const REAL *aparam
#define DP_RESULTS(REAL) double *energy, REAL *force, REAL *virial, REAL *atom_energy, REAL *atom_virial

#define DP_DECLARE_EVALUATIONS(MODEL, F, REAL)                                                                      \
    void DP_##MODEL##Compute##F(DP_##MODEL *model, int atoms, DP_FRAMES(REAL), DP_RESULTS(REAL));                   \
    void DP_##MODEL##Compute##F##2(DP_##MODEL *model, int frames, int atoms, DP_FRAMES(REAL), DP_PARAMETERS(REAL),  \
                                   DP_RESULTS(REAL));                                                               \
    void DP_##MODEL##Compute##F##3(DP_##MODEL *model, int frames, int atoms, DP_FRAMES(REAL), DP_PARAMETERS(REAL),  \
                                   const REAL *charge_spin, DP_RESULTS(REAL));                                      \
    void DP_##MODEL##ComputeNList##F(DP_##MODEL *model, int atoms, DP_FRAMES(REAL), DP_LIST, DP_RESULTS(REAL));     \
    void DP_##MODEL##ComputeNList##F##2(DP_##MODEL *model, int frames, int atoms, DP_FRAMES(REAL), DP_LIST,         \
                                        DP_PARAMETERS(REAL), DP_RESULTS(REAL));                                     \
    void DP_##MODEL##ComputeNList##F##3(DP_##MODEL *model, int frames, int atoms, DP_FRAMES(REAL), DP_LIST,         \
                                        DP_PARAMETERS(REAL), const REAL *charge_spin, DP_RESULTS(REAL));

DP_DECLARE_EVALUATIONS(DeepPot, , double)
DP_DECLARE_EVALUATIONS(DeepPot, f, float)
DP_DECLARE_EVALUATIONS(DeepPotModelDevi, , double)
DP_DECLARE_EVALUATIONS(DeepPotModelDevi, f, float)

/* type is [frames][atoms]. */
void DP_DeepPotComputeMixedType(DP_DeepPot *model, int frames, int atoms, DP_FRAMES(double), DP_PARAMETERS(double),
                                DP_RESULTS(double));
void DP_DeepPotComputeMixedTypef(DP_DeepPot *model, int frames, int atoms, DP_FRAMES(float), DP_PARAMETERS(float),
                                 DP_RESULTS(float));

/* ---- helpers --------------------------------------------------------------------- */

void DP_PrintSummary(const char *before_each_line);
/* The file's bytes and a zero; if it cannot be read, the reason, and minus its length as size. */
const char *DP_ReadFileToChar2(const char *path, int *size);
const char *DP_ReadFileToChar(const char *path); /* "" if it cannot be read */
void DP_DeleteChar(const char *text);
/* Atoms of the selected types, renumbered: forward [atoms] gives the new number or -1, backward [selected] the old one;
 * the last `ghosts` of the atoms are ghosts, `selected_ghosts` of the selected ones. */
void DP_SelectByType(int atoms, const int *type, int ghosts, int selected_types, const int *selected_type, int *forward,
                     int *selected, int *backward, int *selected_ghosts);
/* out [selected][stride] from in [atoms][stride]. */
void DP_SelectMapInt(const int *in, const int *forward, int stride, int atoms, int selected, int *out);

#ifdef __cplusplus
}
#endif
#endif
