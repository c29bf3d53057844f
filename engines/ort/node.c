/* node.c - arguments, results, threads, scratch and errors of an onnxruntime node */
#include "node.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* Into how many tasks an evaluation is cut: a custom op cannot ask how many threads the session has. More tasks than
 * threads balance the load; on one thread they cost some 2 % of the time, and scratch that nobody needed. */
enum { WORKERS = 16 };

OrtStatus *node_fail(const OrtApi *api, int code, const char *format, ...)
{
    char message[512];
    va_list values;
    va_start(values, format);
    vsnprintf(message, sizeof message, format, values);
    va_end(values);
    return api->CreateStatus(code, message);
}

OrtStatus *node_status(const struct node *node, dpc_status status, const dpc_error *err)
{
    if (status == DPC_OK)
        return NULL;
    int code = ORT_FAIL;
    if (status == DPC_INVALID)
        code = ORT_INVALID_ARGUMENT;
    else if (status == DPC_UNSUPPORTED)
        code = ORT_NOT_IMPLEMENTED;
    return node_fail(node->api, code, "%s: %s", node->op, err->message);
}

/* ---- tensors -------------------------------------------------------------------- */

OrtStatus *node_tensor(const OrtApi *api, const char *op, const char *name, const OrtValue *value,
                       struct tensor *tensor)
{
    OrtShape *info;
    TRY(api->GetTensorTypeAndShape(value, &info));
    OrtStatus *status = api->GetTensorElementType(info, &tensor->type);
    if (!status)
        status = api->GetDimensionsCount(info, &tensor->rank);
    if (!status && tensor->rank > MAX_RANK)
        status = node_fail(api, ORT_INVALID_ARGUMENT, "%s: %s has %zu dimensions, at most %d are allowed", op, name,
                           tensor->rank, MAX_RANK);
    if (!status)
        status = api->GetDimensions(info, tensor->shape, tensor->rank);
    api->ReleaseTensorTypeAndShapeInfo(info);
    return status ? status : api->GetTensorMutableData(value, &tensor->data);
}

/* "[2, 3]", with n for ANY */
static void print_shape(char *text, size_t size, size_t rank, const int64_t *shape)
{
    size_t used = (size_t)snprintf(text, size, "[");
    for (size_t i = 0; i < rank && used < size; i++) {
        const char *comma = i ? ", " : "";
        used += (size_t)(shape[i] == ANY ? snprintf(text + used, size - used, "%sn", comma)
                                         : snprintf(text + used, size - used, "%s%" PRId64, comma, shape[i]));
    }
    if (used < size)
        snprintf(text + used, size - used, "]");
}

OrtStatus *node_input(const struct node *node, size_t index, const char *name, size_t rank, const int64_t *shape,
                      struct tensor *tensor)
{
    const OrtValue *value;
    TRY(node->api->KernelContext_GetInput(node->context, index, &value));
    TRY(node_tensor(node->api, node->op, name, value, tensor));
    bool fits = tensor->rank == rank || (rank == 0 && tensor->rank == 1 && tensor->shape[0] == 1);
    for (size_t i = 0; fits && i < rank; i++)
        fits = shape[i] == ANY || shape[i] == tensor->shape[i];
    if (fits)
        return NULL;
    char want[96], have[96];
    print_shape(want, sizeof want, rank, shape);
    print_shape(have, sizeof have, tensor->rank, tensor->shape);
    return node_fail(node->api, ORT_INVALID_ARGUMENT, "%s: %s must have shape %s, not %s", node->op, name, want, have);
}

OrtStatus *node_output(const struct node *node, size_t index, size_t rank, const int64_t *shape, void *data)
{
    OrtValue *value = NULL;
    TRY(node->api->KernelContext_GetOutput(node->context, index, shape, rank, &value));
    if (!value) {
        *(void **)data = NULL;
        return NULL;
    }
    return node->api->GetTensorMutableData(value, data);
}

/* ---- devices -------------------------------------------------------------------- */

OrtStatus *node_device(const OrtCustomOp *op, const OrtApi *api, const struct dpc_device_library **device)
{
    dpc_error err;
    *device = NULL;
    if (op->GetExecutionProviderType(op) == NULL)
        return NULL;
    const dpc_status status = dpc_device_find(device, &err);
    return node_status(&(struct node){api, NULL, op->GetName(op)}, status, &err);
}

OrtStatus *node_stream(const struct node *node, void **stream)
{
    return node->api->KernelContext_GetGPUComputeStream(node->context, stream);
}

/* ---- threads -------------------------------------------------------------------- */

struct share {
    dpc_task task;
    void *job;
};

static void run_one(void *data, size_t index)
{
    const struct share *share = data;
    share->task(share->job, index, index + 1);
}

static void on_runtime_threads(void *pool, size_t n, dpc_task task, void *job)
{
    const struct node *node = pool;
    struct share share = {task, job};
    OrtStatus *refused = node->api->KernelContext_ParallelFor(node->context, run_one, n, 0, &share);
    if (refused) { /* a runtime built without it: nothing has run yet */
        node->api->ReleaseStatus(refused);
        task(job, 0, n);
    }
}

dpc_exec node_exec(struct node *node)
{
    return (dpc_exec){.parallel_for = on_runtime_threads, .pool = node, .workers = WORKERS};
}

/* ---- scratch -------------------------------------------------------------------- */

enum { SPARES = sizeof((struct spare *)0)->slot / sizeof(void *) };

void *spare_take(struct spare *spare)
{
    for (size_t i = 0; i < SPARES; i++) {
        void *scratch = atomic_exchange(&spare->slot[i], NULL);
        if (scratch)
            return scratch;
    }
    return NULL;
}

bool spare_keep(struct spare *spare, void *scratch)
{
    for (size_t i = 0; i < SPARES; i++) {
        void *none = NULL;
        if (atomic_compare_exchange_strong(&spare->slot[i], &none, scratch))
            return true;
    }
    return false;
}
