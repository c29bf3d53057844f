/*
 * dpc_cuda.h - libdpc_cuda: evaluation of arrays that are on a CUDA device already, on the caller's stream
 *
 * Workspaces are dpc.h's: dpc_workspace_create_on(model, "cuda:0", &workspace, &err), and so are errors, structures and
 * shapes; dpc_model_compute takes arrays of the host in such a workspace. Here they are on the workspace's device.
 */
#ifndef DPC_CUDA_H
#define DPC_CUDA_H

#include "dpc.h"

#ifdef __cplusplus
extern "C" {
#endif

#ifndef DPC_CUDA_API
#  define DPC_CUDA_API __attribute__((visibility("default")))
#endif

/*
 * dpc_model_compute on arrays of the device. `stream` is a cudaStream_t. Lists are in form (b), neighbours->cell alone is
 * on the host, and entries are trusted to be atoms; result->stage must be NULL. Models with spin or a mask are not
 * supported.
 *
 * With the serial number of the call before nothing waits and nothing is allocated, so that a stream that is captured
 * takes it into its graph, with this cell; else the types are read, which waits for the stream. Results are complete when the stream
 * has come that far. What is wrong with positions is not known then: ask dpc_cuda_check.
 */
DPC_CUDA_API dpc_status dpc_cuda_compute(const dpc_model *model, dpc_workspace *workspace, const dpc_atoms *atoms,
                                         const dpc_neighbours *neighbours, const dpc_result *result, void *stream,
                                         dpc_error *err);

/* Waits for the device; whether the results of the last dpc_cuda_compute are numbers, and no atoms in one place. */
DPC_CUDA_API dpc_status dpc_cuda_check(dpc_workspace *workspace, dpc_error *err);

/* ---- neighbour lists ------------------------------------------------------------ */

typedef struct dpc_cuda_list dpc_cuda_list;

/* On the calling thread's device. */
DPC_CUDA_API dpc_status dpc_cuda_list_create(dpc_cuda_list **list, dpc_error *err);
DPC_CUDA_API void dpc_cuda_list_free(dpc_cuda_list *list);
/* dpc_list_build's list, in its order: position is on the device, cell on the host. Waits for the stream to learn how
 * many pairs there are, in open systems also where the atoms are. */
DPC_CUDA_API dpc_status dpc_cuda_list_build(dpc_cuda_list *list, size_t atoms, const double *position,
                                            const double *cell, double cutoff, void *stream, dpc_error *err);
/* Form (b), arrays of the device, but for the cell; valid until the next build. */
DPC_CUDA_API void dpc_cuda_list_view(const dpc_cuda_list *list, dpc_neighbours *view);

/* ---- ops ------------------------------------------------------------------------- */

/* dpc_quintic_eval; table->coef, x, value and slope are on the device. An x that is no number gives none. */
DPC_CUDA_API dpc_status dpc_cuda_quintic_eval(const dpc_quintic *table, size_t n, const void *x, void *value,
                                              void *slope, void *stream, dpc_error *err);

/* Copies of a table and of a net on the calling thread's device. */
typedef struct dpc_cuda_table dpc_cuda_table;
typedef struct dpc_cuda_net dpc_cuda_net;
DPC_CUDA_API dpc_status dpc_cuda_table_create(const dpc_table *from, dpc_cuda_table **table, dpc_error *err);
DPC_CUDA_API void dpc_cuda_table_free(dpc_cuda_table *table);
DPC_CUDA_API dpc_status dpc_cuda_net_create(const dpc_net *from, dpc_cuda_net **net, dpc_error *err);
DPC_CUDA_API void dpc_cuda_net_free(dpc_cuda_net *net);

/* dpc_contract_forward and _backward; arrays, those that `in` names too, are on the device and are not checked. */
DPC_CUDA_API dpc_status dpc_cuda_contract_forward(const dpc_cuda_table *table, const dpc_pairs *in, void *out,
                                                  void *stream, dpc_error *err);
DPC_CUDA_API dpc_status dpc_cuda_contract_backward(const dpc_cuda_table *table, const dpc_pairs *in, const void *grad,
                                                   void *grad_s, void *grad_env, void *stream, dpc_error *err);

/* dpc_net_eval; `scratch` is memory of the device, dpc_cuda_net_scratch(net, n) bytes of it. */
DPC_CUDA_API size_t dpc_cuda_net_scratch(const dpc_cuda_net *net, size_t n);
DPC_CUDA_API dpc_status dpc_cuda_net_eval(const dpc_cuda_net *net, size_t n, const void *x, void *value, void *grad,
                                          void *scratch, void *stream, dpc_error *err);

#ifdef __cplusplus
}
#endif
#endif
