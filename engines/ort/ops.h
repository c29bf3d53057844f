/* ops.h - how an op comes to life, runs and goes: one set of these for each op that register.c announces */
#ifndef DPC_OPS_H
#define DPC_OPS_H

#include "ort_abi.h"

#define DECLARE_OP(op)                                                                                          \
    OrtStatus *op##_create(const OrtCustomOp *self, const OrtApi *api, const OrtKernelInfo *info, void **kernel); \
    OrtStatus *op##_compute(void *kernel, OrtKernelContext *context);                                           \
    void op##_free(void *kernel)

DECLARE_OP(neighbor_list);
DECLARE_OP(energy_force);
DECLARE_OP(atomic_tensor);
DECLARE_OP(quintic);

#endif
