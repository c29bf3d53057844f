/*
 * ort_on_device.c - libdpc_ort in an onnxruntime that says it has a CUDA provider, and has none
 *
 * The library is named by DPC_ORT_LIBRARY. With DPC_ORT_ON_DEVICE its ops for the CUDA provider are announced to the
 * CPU provider, and no others: with a libdpc_cuda that runs on the host, the CPU provider's tensors are on its device.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ort_abi.h"

/* An op, and the one that it stands for. */
struct stand_in {
    OrtCustomOp callbacks;
    const OrtCustomOp *real;
};

static const OrtApi *real_api;
static OrtApi api;

#define REAL(op) (((const struct stand_in *)(op))->real)
#define FORWARD(type, member)                          \
    static type forward_##member(const OrtCustomOp *op) \
    {                                                  \
        return REAL(op)->member(REAL(op));             \
    }
#define FORWARD_INDEX(member)                                        \
    static int forward_##member(const OrtCustomOp *op, size_t index) \
    {                                                                \
        return REAL(op)->member(REAL(op), index);                    \
    }
FORWARD(const char *, GetName)
FORWARD(size_t, GetInputTypeCount)
FORWARD(size_t, GetOutputTypeCount)
FORWARD(int, GetVariadicInputMinArity)
FORWARD(int, GetVariadicInputHomogeneity)
FORWARD(int, GetVariadicOutputMinArity)
FORWARD(int, GetVariadicOutputHomogeneity)
FORWARD(int, GetStartVersion)
FORWARD(int, GetEndVersion)
FORWARD_INDEX(GetInputType)
FORWARD_INDEX(GetOutputType)
FORWARD_INDEX(GetInputCharacteristic)
FORWARD_INDEX(GetOutputCharacteristic)
FORWARD_INDEX(GetInputMemoryType)

static const char *get_provider(const OrtCustomOp *op)
{
    (void)op;
    return NULL;
}

static OrtStatus *create(const OrtCustomOp *op, const OrtApi *given, const OrtKernelInfo *info, void **kernel)
{
    return REAL(op)->CreateKernelV2(REAL(op), given, info, kernel);
}

static OrtStatus *stand_in(OrtCustomOpDomain *domain, const OrtCustomOp *op)
{
    if (op->GetExecutionProviderType(op) == NULL)
        return NULL;
    struct stand_in *made = calloc(1, sizeof *made); /* as long as sessions, that is for ever */
    made->real = op;
    made->callbacks = *op;
    made->callbacks.GetName = forward_GetName;
    made->callbacks.GetExecutionProviderType = get_provider;
    made->callbacks.GetInputType = forward_GetInputType;
    made->callbacks.GetInputTypeCount = forward_GetInputTypeCount;
    made->callbacks.GetOutputType = forward_GetOutputType;
    made->callbacks.GetOutputTypeCount = forward_GetOutputTypeCount;
    made->callbacks.GetInputCharacteristic = forward_GetInputCharacteristic;
    made->callbacks.GetOutputCharacteristic = forward_GetOutputCharacteristic;
    made->callbacks.GetInputMemoryType = forward_GetInputMemoryType;
    made->callbacks.GetVariadicInputMinArity = forward_GetVariadicInputMinArity;
    made->callbacks.GetVariadicInputHomogeneity = forward_GetVariadicInputHomogeneity;
    made->callbacks.GetVariadicOutputMinArity = forward_GetVariadicOutputMinArity;
    made->callbacks.GetVariadicOutputHomogeneity = forward_GetVariadicOutputHomogeneity;
    made->callbacks.CreateKernelV2 = create;
    made->callbacks.GetStartVersion = forward_GetStartVersion;
    made->callbacks.GetEndVersion = forward_GetEndVersion;
    return real_api->CustomOpDomain_Add(domain, &made->callbacks);
}

static OrtStatus *get_providers(char ***names, int *count)
{
    static char *with_cuda[] = {"CUDAExecutionProvider", "CPUExecutionProvider"};
    *names = with_cuda;
    *count = 2;
    return NULL;
}

static OrtStatus *release_providers(char **names, int count)
{
    (void)names, (void)count;
    return NULL;
}

static const OrtApi *get_api(uint32_t version)
{
    (void)version;
    return &api;
}

__attribute__((visibility("default"))) OrtStatus *RegisterCustomOps(OrtSessionOptions *options, const OrtApiBase *base)
{
    OrtStatus *(*announce)(OrtSessionOptions *, const OrtApiBase *);
    void *library = dlopen(getenv("DPC_ORT_LIBRARY"), RTLD_NOW | RTLD_LOCAL);
    void *symbol = library != NULL ? dlsym(library, "RegisterCustomOps") : NULL;
    const OrtApiBase mine = {get_api, base->GetVersionString};
    real_api = base->GetApi(ORT_API_VERSION);
    if (symbol == NULL)
        return real_api->CreateStatus(ORT_FAIL, "DPC_ORT_LIBRARY is no operator library");
    memcpy(&announce, &symbol, sizeof announce);
    api = *real_api;
    if (getenv("DPC_ORT_ON_DEVICE") != NULL)
        api.CustomOpDomain_Add = stand_in;
    api.GetAvailableProviders = get_providers;
    api.ReleaseAvailableProviders = release_providers;
    return announce(options, &mine);
}
