/*
 * unserved.cpp - the rest of DeePMD-kit's C interface: spins, tensors, dipole charges, GPUs
 *
 * So that every program finds the symbols that it was linked to. A handle of a kind that is not served has its error
 * from the start, and asking or evaluating it changes nothing. Arguments that are not looked at are not declared: the
 * C calling conventions leave them to the caller.
 */
#include "handles.h"

#include <iostream>

using namespace dpc_deepmd_c;

struct DP_DeepSpin : DP_DeepBaseModel {};
struct DP_DeepSpinModelDevi : DP_DeepBaseModelDevi {};
struct DP_DeepTensor : Handle {};
struct DP_DipoleChargeModifier : Handle {};

namespace {

template <typename Model>
Model *refused(const char *kind)
{
    Model *model = new Model;
    model->error = std::string(kind) + " are not served by this libdeepmd_c.so, compress-onnx's";
    return model;
}

void refuse_gpu(Handle &handle)
{
    if (!handle.potentials.empty())
        handle.error = "this libdeepmd_c.so, compress-onnx's, does not evaluate graphs on a GPU";
}

} // namespace

extern "C" {

#define NEW(MODEL, FUNCTION, KIND) \
    DP_##MODEL *DP_New##FUNCTION() { return refused<DP_##MODEL>(KIND); }
#define DELETE_AND_CHECK(MODEL)                           \
    void DP_Delete##MODEL(DP_##MODEL *model) { delete model; } \
    const char *DP_##MODEL##CheckOK(DP_##MODEL *model) { return copied(model->error); }
#define NOTHING(FUNCTION) \
    void DP_##FUNCTION() {}
#define ZERO(TYPE, FUNCTION) \
    TYPE DP_##FUNCTION() { return 0; }
#define NO_TYPES(FUNCTION) \
    const char *DP_##FUNCTION() { return copied(""); }
#define BOTH_PRECISIONS(FUNCTION, VERSION) NOTHING(FUNCTION##VERSION) NOTHING(FUNCTION##f##VERSION)

/* ---- spins ----------------------------------------------------------------------- */

NEW(DeepSpin, DeepSpin, "models with spins")
NEW(DeepSpin, DeepSpinWithParam2, "models with spins")
NEW(DeepSpinModelDevi, DeepSpinModelDevi, "models with spins")
NEW(DeepSpinModelDevi, DeepSpinModelDeviWithParam, "models with spins")
NO_TYPES(DeepSpinGetTypeMap)
ZERO(bool, DeepSpinUsesCanonicalGraphInference)
ZERO(bool, DeepSpinUsesNativeSpinScheme)
NOTHING(DeepSpinComputeCanonicalGraphGPU)

#define SPIN_MODEL(MODEL)                       \
    DELETE_AND_CHECK(MODEL)                     \
    BOTH_PRECISIONS(MODEL##Compute, 2)          \
    BOTH_PRECISIONS(MODEL##Compute, 3)          \
    BOTH_PRECISIONS(MODEL##ComputeNList, 2)     \
    BOTH_PRECISIONS(MODEL##ComputeNList, 3)     \
    NOTHING(MODEL##SetChargeSpin)               \
    ZERO(double, MODEL##GetCutoff)              \
    ZERO(int, MODEL##GetNumbTypes)              \
    ZERO(int, MODEL##GetNumbTypesSpin)          \
    ZERO(int, MODEL##GetDimFParam)              \
    ZERO(int, MODEL##GetDimAParam)              \
    ZERO(int, MODEL##GetDimChgSpin)             \
    ZERO(bool, MODEL##IsAParamNAll)             \
    ZERO(bool, MODEL##HasDefaultFParam)

SPIN_MODEL(DeepSpin)
SPIN_MODEL(DeepSpinModelDevi)

/* ---- tensors --------------------------------------------------------------------- */

NEW(DeepTensor, DeepTensor, "models of tensors")
NEW(DeepTensor, DeepTensorWithParam, "models of tensors")
DELETE_AND_CHECK(DeepTensor)
BOTH_PRECISIONS(DeepTensorCompute, )
BOTH_PRECISIONS(DeepTensorComputeNList, )
BOTH_PRECISIONS(DeepTensorComputeTensor, )
BOTH_PRECISIONS(DeepTensorComputeTensorNList, )
NO_TYPES(DeepTensorGetTypeMap)
ZERO(double, DeepTensorGetCutoff)
ZERO(int, DeepTensorGetNumbTypes)
ZERO(int, DeepTensorGetOutputDim)
ZERO(int, DeepTensorGetNumbSelTypes)
ZERO(int *, DeepTensorGetSelTypes)

/* ---- charges that follow from dipoles -------------------------------------------- */

NEW(DipoleChargeModifier, DipoleChargeModifier, "charges from dipoles (DPLR)")
NEW(DipoleChargeModifier, DipoleChargeModifierWithParam, "charges from dipoles (DPLR)")
DELETE_AND_CHECK(DipoleChargeModifier)
BOTH_PRECISIONS(DipoleChargeModifierComputeNList, )
ZERO(double, DipoleChargeModifierGetCutoff)
ZERO(int, DipoleChargeModifierGetNumbTypes)
ZERO(int, DipoleChargeModifierGetNumbSelTypes)
ZERO(int *, DipoleChargeModifierGetSelTypes)

/* ---- graphs of edges on a GPU ---------------------------------------------------- */

ZERO(bool, DeepPotSupportsDeviceEdgeInference)
ZERO(bool, DeepPotUsesFP32EdgeVectors)
ZERO(bool, DeepPotUsesCanonicalGraphInference)

void DP_DeepPotComputeEdgesGPU(DP_DeepPot *model)
{
    refuse_gpu(*model);
}

void DP_DeepPotComputeEdgesGPUFloat32(DP_DeepPot *model)
{
    refuse_gpu(*model);
}

void DP_DeepPotComputeCanonicalGraphGPU(DP_DeepPot *model)
{
    refuse_gpu(*model);
}

/* ---- TensorFlow's text format; it has no handle to leave an error with ----------- */

void DP_ConvertPbtxtToPb()
{
    std::cerr << "this libdeepmd_c.so, compress-onnx's, does not convert .pbtxt to .pb: dp convert-from pbtxt does\n";
}

} // extern "C"

