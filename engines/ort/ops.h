/* ops.h - how the kernels of ops come to life, run and go, on the host and on a device alike */
#ifndef DPC_OPS_H
#define DPC_OPS_H

#include "ort_abi.h"

#define DECLARE_KERNEL(name)                                                                                      \
    OrtStatus *name##_create(const OrtCustomOp *op, const OrtApi *api, const OrtKernelInfo *info, void **kernel); \
    void name##_free(void *kernel)
#define DECLARE_COMPUTE(name) OrtStatus *name##_compute(void *kernel, OrtKernelContext *context)

DECLARE_KERNEL(neighbor_list);
DECLARE_COMPUTE(neighbor_list);
DECLARE_KERNEL(evaluation);
DECLARE_COMPUTE(energy_force);
DECLARE_COMPUTE(atomic_tensor);
DECLARE_KERNEL(quintic);
DECLARE_COMPUTE(quintic);

#endif
