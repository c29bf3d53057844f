/*
 * register.c - RegisterCustomOps, the one function onnxruntime calls by name, and what it announces
 *
 * The runtime keeps pointers to descriptors and domains for as long as a session lives, and unloads a library with the
 * last session: descriptors are static, domains are kept, and the library is linked with -z nodelete.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "node.h"
#include "ops.h"

static const char CUDA_PROVIDER[] = "CUDAExecutionProvider";

struct schema {
    const char *name;
    size_t inputs, outputs;
    size_t optional;          /* outputs from this one on need not be used */
    int input[10], output[8]; /* element types; a last input of any type stands for one or more of them */
};

struct op {
    OrtCustomOp callbacks; /* first: the runtime hands it to each of them */
    const struct schema *schema;
    const char *provider; /* NULL: the CPU */
    unsigned on_host;     /* a bit for each input that stays there, of a device's ops */
};

static const struct op *of(const OrtCustomOp *callbacks)
{
    return (const struct op *)callbacks;
}

static const char *get_name(const OrtCustomOp *op)
{
    return of(op)->schema->name;
}

static const char *get_provider(const OrtCustomOp *op)
{
    return of(op)->provider;
}

static int get_input_type(const OrtCustomOp *op, size_t index)
{
    return of(op)->schema->input[index];
}

static size_t get_input_count(const OrtCustomOp *op)
{
    return of(op)->schema->inputs;
}

static int get_output_type(const OrtCustomOp *op, size_t index)
{
    return of(op)->schema->output[index];
}

static size_t get_output_count(const OrtCustomOp *op)
{
    return of(op)->schema->outputs;
}

static int get_input_characteristic(const OrtCustomOp *op, size_t index)
{
    return of(op)->schema->input[index] == ORT_ANY_TYPE ? ORT_VARIADIC : ORT_REQUIRED;
}

static int get_output_characteristic(const OrtCustomOp *op, size_t index)
{
    return index < of(op)->schema->optional ? ORT_REQUIRED : ORT_OPTIONAL;
}

static int get_memory_type(const OrtCustomOp *op, size_t index)
{
    return of(op)->on_host >> index & 1 ? ORT_CPU_INPUT : ORT_DEFAULT_MEMORY;
}

static int get_one(const OrtCustomOp *op)
{
    (void)op;
    return 1;
}

static int get_no(const OrtCustomOp *op)
{
    (void)op;
    return 0;
}

static int get_last_version(const OrtCustomOp *op)
{
    (void)op;
    return INT32_MAX;
}

#define CALLBACKS(kernel, op)                                \
    {                                                        \
        .version = ORT_API_VERSION,                          \
        .GetName = get_name,                                 \
        .GetExecutionProviderType = get_provider,            \
        .GetInputType = get_input_type,                      \
        .GetInputTypeCount = get_input_count,                \
        .GetOutputType = get_output_type,                    \
        .GetOutputTypeCount = get_output_count,              \
        .KernelDestroy = kernel##_free,                      \
        .GetInputCharacteristic = get_input_characteristic,  \
        .GetOutputCharacteristic = get_output_characteristic, \
        .GetInputMemoryType = get_memory_type,               \
        .GetVariadicInputMinArity = get_one,                 \
        .GetVariadicInputHomogeneity = get_no,               \
        .GetVariadicOutputMinArity = get_one,                \
        .GetVariadicOutputHomogeneity = get_no,              \
        .CreateKernelV2 = kernel##_create,                   \
        .KernelComputeV2 = op##_compute,                     \
        .GetStartVersion = get_one,                          \
        .GetEndVersion = get_last_version,                   \
    }

static const struct schema lists = {
    "NeighborList", 3, 3, 3, {ORT_DOUBLE, ORT_DOUBLE, ORT_DOUBLE}, {ORT_INT64, ORT_INT32, ORT_INT32}};
static const struct schema energies = {
    "EnergyForce", 10, 8, 0,
    {ORT_DOUBLE, ORT_INT32, ORT_DOUBLE, ORT_INT64, ORT_INT32, ORT_INT32, ORT_DOUBLE, ORT_DOUBLE, ORT_DOUBLE,
     ORT_ANY_TYPE},
    {ORT_DOUBLE, ORT_DOUBLE, ORT_DOUBLE, ORT_DOUBLE, ORT_DOUBLE, ORT_DOUBLE, ORT_INT64, ORT_DOUBLE}};
static const struct schema tensors = {
    "AtomicTensor", 10, 7, 0,
    {ORT_DOUBLE, ORT_INT32, ORT_DOUBLE, ORT_INT64, ORT_INT32, ORT_INT32, ORT_DOUBLE, ORT_DOUBLE, ORT_DOUBLE,
     ORT_ANY_TYPE},
    {ORT_DOUBLE, ORT_DOUBLE, ORT_DOUBLE, ORT_DOUBLE, ORT_DOUBLE, ORT_INT64, ORT_DOUBLE}};
static const struct schema floats = {
    "Quintic", 4, 2, 1, {ORT_FLOAT, ORT_FLOAT, ORT_DOUBLE, ORT_INT64}, {ORT_FLOAT, ORT_FLOAT}};
static const struct schema doubles = {
    "Quintic", 4, 2, 1, {ORT_DOUBLE, ORT_DOUBLE, ORT_DOUBLE, ORT_INT64}, {ORT_DOUBLE, ORT_DOUBLE}};

static const struct op ops[] = {
    {CALLBACKS(neighbor_list, neighbor_list), &lists, NULL, 0},
    {CALLBACKS(evaluation, energy_force), &energies, NULL, 0},
    {CALLBACKS(evaluation, atomic_tensor), &tensors, NULL, 0},
    {CALLBACKS(quintic, quintic), &floats, NULL, 0},
    {CALLBACKS(quintic, quintic), &doubles, NULL, 0},
};

/* Cells, cutoffs, grids and the first of the parameters are read on the host. */
static const struct op cuda_ops[] = {
    {CALLBACKS(neighbor_list, neighbor_list), &lists, CUDA_PROVIDER, 1 << 1 | 1 << 2},
    {CALLBACKS(evaluation, energy_force), &energies, CUDA_PROVIDER, 1 << 2 | 1 << 9},
    {CALLBACKS(evaluation, atomic_tensor), &tensors, CUDA_PROVIDER, 1 << 2 | 1 << 9},
    {CALLBACKS(quintic, quintic), &floats, CUDA_PROVIDER, 1 << 2 | 1 << 3},
    {CALLBACKS(quintic, quintic), &doubles, CUDA_PROVIDER, 1 << 2 | 1 << 3},
};

/* Whether the runtime has a CUDA provider, and we a library and a device for it. Nothing is loaded where it has none. */
static bool has_cuda(const OrtApi *api)
{
    char **names;
    int count;
    bool provided = false;
    OrtStatus *failed = api->GetAvailableProviders(&names, &count);
    for (int i = 0; !failed && i < count; i++)
        provided |= strcmp(names[i], CUDA_PROVIDER) == 0;
    if (!failed)
        failed = api->ReleaseAvailableProviders(names, count);
    if (failed)
        api->ReleaseStatus(failed);
    const struct dpc_device_library *library;
    return provided && dpc_device_find(&library, NULL) == DPC_OK && library->tools->devices() > 0;
}

/* One domain for each copy of onnxruntime in the process; two threads that race make two, which is harmless. */
struct registry {
    struct registry *next;
    const OrtApi *api;
    OrtCustomOpDomain *domain;
};
static _Atomic(struct registry *) registries;

static OrtStatus *create_registry(const OrtApi *api, struct registry **made)
{
    struct registry *registry = malloc(sizeof *registry);
    if (!registry)
        return node_fail(api, ORT_FAIL, "libdpc_ort: out of memory");
    registry->api = api;
    OrtStatus *failed = api->CreateCustomOpDomain("dpc", &registry->domain);
    if (failed) {
        free(registry);
        return failed;
    }
    for (size_t i = 0; i < sizeof ops / sizeof *ops && !failed; i++)
        failed = api->CustomOpDomain_Add(registry->domain, &ops[i].callbacks);
    const size_t more = has_cuda(api) ? sizeof cuda_ops / sizeof *cuda_ops : 0;
    for (size_t i = 0; i < more && !failed; i++)
        failed = api->CustomOpDomain_Add(registry->domain, &cuda_ops[i].callbacks);
    if (failed) {
        api->ReleaseCustomOpDomain(registry->domain);
        free(registry);
        return failed;
    }
    registry->next = atomic_load(&registries);
    while (!atomic_compare_exchange_weak(&registries, &registry->next, registry)) {
    }
    *made = registry;
    return NULL;
}

__attribute__((visibility("default"))) OrtStatus *RegisterCustomOps(OrtSessionOptions *options, const OrtApiBase *base);

OrtStatus *RegisterCustomOps(OrtSessionOptions *options, const OrtApiBase *base)
{
    int major = 0, minor = 0;
    const char *version = base->GetVersionString();
    if (sscanf(version, "%d.%d", &major, &minor) != 2 || major < 1 || (major == 1 && minor < 18))
        return node_fail(base->GetApi(1), ORT_FAIL, "libdpc_ort needs onnxruntime 1.18 or later, this is %s", version);
    const OrtApi *api = base->GetApi(ORT_API_VERSION);
    struct registry *registry = atomic_load(&registries);
    while (registry && registry->api != api)
        registry = registry->next;
    if (!registry)
        TRY(create_registry(api, &registry));
    return api->AddCustomOpDomain(options, registry->domain);
}
