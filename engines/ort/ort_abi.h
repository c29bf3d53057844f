/*
 * ort_abi.h - the slots of onnxruntime's C interface that we call, declared by us: nothing to vendor
 *
 * OrtApi is a table of function pointers that only ever grows, OrtCustomOp a struct whose `version`
 * says how many of its members the runtime may read. Enumerations travel as int; element types are
 * ONNX's TensorProto numbers; what returns OrtStatus * returns NULL on success.
 */
#ifndef DPC_ORT_ABI_H
#define DPC_ORT_ABI_H

#include <stddef.h>
#include <stdint.h>

#define ORT_API_VERSION 17 /* the first that has every slot below */

enum { ORT_FAIL = 1, ORT_INVALID_ARGUMENT = 2, ORT_NOT_IMPLEMENTED = 9 };
enum { ORT_ANY_TYPE = 0, ORT_FLOAT = 1, ORT_INT32 = 6, ORT_INT64 = 7, ORT_DOUBLE = 11 };
enum { ORT_REQUIRED = 0, ORT_OPTIONAL = 1, ORT_VARIADIC = 2 };
enum { ORT_DEFAULT_MEMORY = 0, ORT_CPU_INPUT = -2 };

typedef struct OrtStatus OrtStatus;
typedef struct OrtValue OrtValue;
typedef struct OrtShape OrtShape;
typedef struct OrtKernelInfo OrtKernelInfo;
typedef struct OrtKernelContext OrtKernelContext;
typedef struct OrtCustomOpDomain OrtCustomOpDomain;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtEnv OrtEnv;
typedef struct OrtSession OrtSession;
typedef struct OrtRunOptions OrtRunOptions;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtApi OrtApi;
typedef struct OrtCustomOp OrtCustomOp;
typedef void (*ort_slot)(void);

typedef struct OrtApiBase {
    const OrtApi *(*GetApi)(uint32_t version);
    const char *(*GetVersionString)(void);
} OrtApiBase;

struct OrtApi {
    OrtStatus *(*CreateStatus)(int code, const char *message);
    ort_slot gap1[1];
    const char *(*GetErrorMessage)(const OrtStatus *status);
    OrtStatus *(*CreateEnv)(int severity, const char *name, OrtEnv **env);
    ort_slot gap4[3];
    OrtStatus *(*CreateSession)(const OrtEnv *env, const char *path, const OrtSessionOptions *options,
                                OrtSession **session);
    ort_slot gap8[1];
    OrtStatus *(*Run)(OrtSession *session, const OrtRunOptions *options, const char *const *input_name,
                      const OrtValue *const *input, size_t inputs, const char *const *output_name, size_t outputs,
                      OrtValue **output); /* made where it is NULL */
    OrtStatus *(*CreateSessionOptions)(OrtSessionOptions **options);
    ort_slot gap11[15];
    OrtStatus *(*CreateCustomOpDomain)(const char *name, OrtCustomOpDomain **domain);
    OrtStatus *(*CustomOpDomain_Add)(OrtCustomOpDomain *domain, const OrtCustomOp *op);
    OrtStatus *(*AddCustomOpDomain)(OrtSessionOptions *options, OrtCustomOpDomain *domain);
    ort_slot gap29[20];
    OrtStatus *(*CreateTensorWithDataAsOrtValue)(const OrtMemoryInfo *memory, void *data, size_t bytes,
                                                 const int64_t *dim, size_t rank, int type, OrtValue **value);
    ort_slot gap50[1];
    OrtStatus *(*GetTensorMutableData)(const OrtValue *value, void **data);
    ort_slot gap52[8];
    OrtStatus *(*GetTensorElementType)(const OrtShape *shape, int *type);
    OrtStatus *(*GetDimensionsCount)(const OrtShape *shape, size_t *rank);
    OrtStatus *(*GetDimensions)(const OrtShape *shape, int64_t *dim, size_t rank);
    ort_slot gap63[2];
    OrtStatus *(*GetTensorTypeAndShape)(const OrtValue *value, OrtShape **shape);
    ort_slot gap66[3];
    OrtStatus *(*CreateCpuMemoryInfo)(int allocator, int memory, OrtMemoryInfo **info);
    ort_slot gap70[17];
    OrtStatus *(*KernelInfoGetAttribute_string)(const OrtKernelInfo *info, const char *name, char *text, size_t *size);
    ort_slot gap88[2];
    OrtStatus *(*KernelContext_GetInput)(const OrtKernelContext *context, size_t index, const OrtValue **value);
    OrtStatus *(*KernelContext_GetOutput)(OrtKernelContext *context, size_t index, const int64_t *dim, size_t rank,
                                          OrtValue **value); /* *value is NULL where nobody uses the output */
    void (*ReleaseEnv)(OrtEnv *env);
    void (*ReleaseStatus)(OrtStatus *status);
    void (*ReleaseMemoryInfo)(OrtMemoryInfo *info);
    void (*ReleaseSession)(OrtSession *session);
    void (*ReleaseValue)(OrtValue *value);
    ort_slot gap97[2];
    void (*ReleaseTensorTypeAndShapeInfo)(OrtShape *shape);
    void (*ReleaseSessionOptions)(OrtSessionOptions *options);
    void (*ReleaseCustomOpDomain)(OrtCustomOpDomain *domain);
    ort_slot gap102[23];
    OrtStatus *(*GetAvailableProviders)(char ***names, int *count);
    OrtStatus *(*ReleaseAvailableProviders)(char **names, int count);
    ort_slot gap127[66];
    OrtStatus *(*KernelContext_GetGPUComputeStream)(const OrtKernelContext *context, void **stream);
    ort_slot gap194[34];
    OrtStatus *(*RegisterCustomOpsLibrary_V2)(OrtSessionOptions *options, const char *path);
    ort_slot gap229[1];
    OrtStatus *(*KernelInfo_GetInputCount)(const OrtKernelInfo *info, size_t *count);
    ort_slot gap231[18];
    OrtStatus *(*KernelInfoGetConstantInput_tensor)(const OrtKernelInfo *info, size_t index, int *constant,
                                                    const OrtValue **value);
    ort_slot gap250[24];
    OrtStatus *(*KernelContext_ParallelFor)(const OrtKernelContext *context, void (*task)(void *, size_t), size_t total,
                                            size_t batches, void *data); /* batches 0: one index after the other */
};

struct OrtCustomOp {
    uint32_t version;
    void *(*CreateKernel)(const OrtCustomOp *op, const OrtApi *api, const OrtKernelInfo *info);
    const char *(*GetName)(const OrtCustomOp *op);
    const char *(*GetExecutionProviderType)(const OrtCustomOp *op); /* NULL: CPU */
    int (*GetInputType)(const OrtCustomOp *op, size_t index);
    size_t (*GetInputTypeCount)(const OrtCustomOp *op);
    int (*GetOutputType)(const OrtCustomOp *op, size_t index);
    size_t (*GetOutputTypeCount)(const OrtCustomOp *op);
    void (*KernelCompute)(void *kernel, OrtKernelContext *context);
    void (*KernelDestroy)(void *kernel);
    int (*GetInputCharacteristic)(const OrtCustomOp *op, size_t index);
    int (*GetOutputCharacteristic)(const OrtCustomOp *op, size_t index);
    int (*GetInputMemoryType)(const OrtCustomOp *op, size_t index);
    int (*GetVariadicInputMinArity)(const OrtCustomOp *op);
    int (*GetVariadicInputHomogeneity)(const OrtCustomOp *op);
    int (*GetVariadicOutputMinArity)(const OrtCustomOp *op);
    int (*GetVariadicOutputHomogeneity)(const OrtCustomOp *op);
    OrtStatus *(*CreateKernelV2)(const OrtCustomOp *op, const OrtApi *api, const OrtKernelInfo *info, void **kernel);
    OrtStatus *(*KernelComputeV2)(void *kernel, OrtKernelContext *context);
    OrtStatus *(*InferOutputShapeFn)(const OrtCustomOp *op, void *context);
    int (*GetStartVersion)(const OrtCustomOp *op);
    int (*GetEndVersion)(const OrtCustomOp *op);
    ort_slot later[4]; /* not read at our version */
};

#define ORT_ASSERT_SLOT(type, member, slot) \
    _Static_assert(offsetof(type, member) == (slot) * sizeof(ort_slot), #member " is slot " #slot)
ORT_ASSERT_SLOT(OrtApi, CreateCustomOpDomain, 26);
ORT_ASSERT_SLOT(OrtApi, GetTensorMutableData, 51);
ORT_ASSERT_SLOT(OrtApi, GetTensorElementType, 60);
ORT_ASSERT_SLOT(OrtApi, GetTensorTypeAndShape, 65);
ORT_ASSERT_SLOT(OrtApi, KernelInfoGetAttribute_string, 87);
ORT_ASSERT_SLOT(OrtApi, KernelContext_GetInput, 90);
ORT_ASSERT_SLOT(OrtApi, ReleaseStatus, 93);
ORT_ASSERT_SLOT(OrtApi, ReleaseTensorTypeAndShapeInfo, 99);
ORT_ASSERT_SLOT(OrtApi, ReleaseCustomOpDomain, 101);
ORT_ASSERT_SLOT(OrtApi, GetAvailableProviders, 125);
ORT_ASSERT_SLOT(OrtApi, KernelContext_GetGPUComputeStream, 193);
ORT_ASSERT_SLOT(OrtApi, KernelInfo_GetInputCount, 230);
ORT_ASSERT_SLOT(OrtApi, KernelInfoGetConstantInput_tensor, 249);
ORT_ASSERT_SLOT(OrtApi, KernelContext_ParallelFor, 274);
ORT_ASSERT_SLOT(OrtCustomOp, CreateKernelV2, 17);
ORT_ASSERT_SLOT(OrtCustomOp, GetEndVersion, 21);

#endif
