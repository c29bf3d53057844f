/* evaluation.c - the nodes EnergyForce and AtomicTensor of docs/format.md: calls of libdpc, on the host or a device */
#include "ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node.h"

enum { FIRST_PARAMETER = 9 };

struct evaluation {
    const OrtApi *api;
    const char *op;
    const struct dpc_device_library *device; /* NULL: the host evaluates */
    dpc_model *model;
    struct dpc_pool copies; /* of the model's parameters, which the runtime has put on the device */
    struct spare workspaces;
};

/* Wherever the runtime has put it, to the host. */
static OrtStatus *copy_parameter(struct evaluation *self, struct dpc_tensor *tensor)
{
    const struct dpc_device_tools *tools = self->device->tools;
    size_t bytes = tensor->type == ORT_FLOAT || tensor->type == ORT_INT32 ? 4 : 8;
    void *copy;
    dpc_error err;
    for (size_t i = 0; i < tensor->rank; i++)
        bytes *= (size_t)tensor->shape[i];
    dpc_status status = dpc_pool_alloc(&self->copies, bytes, 1, &copy, &err);
    if (status == DPC_OK)
        status = tools->copy(copy, tensor->data, bytes, NULL, &err);
    if (status == DPC_OK)
        status = tools->wait(NULL, &err);
    tensor->data = copy;
    return node_status(&(struct node){self->api, NULL, self->op}, status, &err);
}

/* The initialisers from input 9 on; their data stays the runtime's unless it is on a device. */
static OrtStatus *read_parameters(struct evaluation *self, const OrtKernelInfo *info, size_t count,
                                  struct dpc_tensor *out)
{
    const OrtApi *api = self->api;
    const char *op = self->op;
    for (size_t k = 0; k < count; k++) {
        const OrtValue *value = NULL;
        int constant = 0;
        struct tensor tensor;
        TRY(api->KernelInfoGetConstantInput_tensor(info, FIRST_PARAMETER + k, &constant, &value));
        if (!constant)
            return node_fail(api, ORT_INVALID_ARGUMENT,
                             "%s: input %zu is a parameter of the model and must be an initializer", op,
                             FIRST_PARAMETER + k);
        TRY(node_tensor(api, op, "a parameter", value, &tensor));
        out[k] = (struct dpc_tensor){.type = tensor.type, .rank = tensor.rank, .data = tensor.data};
        memcpy(out[k].shape, tensor.shape, sizeof out[k].shape);
        if (self->device)
            TRY(copy_parameter(self, &out[k]));
    }
    return NULL;
}

/* What libdpc makes of a node's attribute and initialisers; dpc_model_create takes the names from the layout. */
static OrtStatus *create_model(struct evaluation *self, const OrtKernelInfo *info)
{
    const OrtApi *api = self->api;
    size_t inputs, length = 0;
    TRY(api->KernelInfo_GetInputCount(info, &inputs));
    TRY(api->KernelInfoGetAttribute_string(info, "layout", NULL, &length));
    size_t count = inputs - FIRST_PARAMETER; /* at least one, as register.c declares */
    char *layout = malloc(length);
    struct dpc_tensor *parameter = malloc(count * sizeof *parameter);
    OrtStatus *failed = layout && parameter ? NULL : node_fail(api, ORT_FAIL, "%s: out of memory", self->op);
    if (!failed)
        failed = api->KernelInfoGetAttribute_string(info, "layout", layout, &length);
    if (!failed)
        failed = read_parameters(self, info, count, parameter);
    if (!failed) {
        dpc_error err;
        dpc_status status = dpc_model_create(1, &(struct dpc_node){layout, count, parameter}, &self->model, &err);
        failed = node_status(&(struct node){api, NULL, self->op}, status, &err);
    }
    free(parameter);
    free(layout);
    return failed;
}

/* What dpc_cuda_compute takes. */
static OrtStatus *check_device(const struct evaluation *self)
{
    dpc_model_info info;
    dpc_model_describe(self->model, &info);
    if (self->device && (info.spin_scale || info.masked))
        return node_fail(self->api, ORT_NOT_IMPLEMENTED,
                         "%s: models with spin or a mask are not for the CUDA provider: use the CPU's, or libdpc",
                         self->op);
    return NULL;
}

void evaluation_free(void *kernel)
{
    struct evaluation *self = kernel;
    for (dpc_workspace *workspace; (workspace = spare_take(&self->workspaces));)
        dpc_workspace_free(workspace);
    dpc_model_free(self->model);
    dpc_pool_free(&self->copies);
    free(self);
}

OrtStatus *evaluation_create(const OrtCustomOp *op, const OrtApi *api, const OrtKernelInfo *info, void **kernel)
{
    struct evaluation *made = calloc(1, sizeof *made);
    if (!made)
        return node_fail(api, ORT_FAIL, "%s: out of memory", op->GetName(op));
    made->api = api;
    made->op = op->GetName(op);
    OrtStatus *failed = node_device(op, api, &made->device);
    if (!failed)
        failed = create_model(made, info);
    if (!failed)
        failed = check_device(made);
    if (failed)
        evaluation_free(made);
    else
        *kernel = made;
    return failed;
}

/* Where the last centre's pairs end, which a device's memory may hold. */
static OrtStatus *count_pairs(const struct evaluation *self, const struct node *node, const int64_t *end, void *stream,
                              int64_t *pairs)
{
    if (!self->device) {
        *pairs = *end;
        return NULL;
    }
    dpc_error err;
    dpc_status status = self->device->tools->copy(pairs, end, sizeof *pairs, stream, &err);
    if (status == DPC_OK)
        status = self->device->tools->wait(stream, &err);
    return node_status(node, status, &err);
}

static OrtStatus *read_inputs(const struct evaluation *self, const struct node *node, const dpc_model_info *info,
                              void *stream, dpc_atoms *atoms, dpc_neighbours *neighbours)
{
    struct tensor coord, atype, cell, first, index, shift, fparam, aparam, spin;
    TRY(node_input(node, 0, "coord", 2, (int64_t[]){ANY, 3}, &coord));
    int64_t all = coord.shape[0];
    TRY(node_input(node, 1, "atype", 1, (int64_t[]){all}, &atype));
    TRY(node_input(node, 2, "cell", 2, (int64_t[]){3, 3}, &cell));
    TRY(node_input(node, 3, "pair_first", 1, (int64_t[]){ANY}, &first));
    TRY(node_input(node, 4, "pair_index", 1, (int64_t[]){ANY}, &index));
    TRY(node_input(node, 5, "pair_shift", 2, (int64_t[]){index.shape[0], 3}, &shift));
    TRY(node_input(node, 8, "spin", 2, (int64_t[]){info->spin_scale ? all : 0, 3}, &spin));

    int64_t local = first.shape[0] - 1;
    if (local < 0 || local > all)
        return node_fail(node->api, ORT_INVALID_ARGUMENT,
                         "%s: pair_first must have 1 to %lld entries for %lld atoms, not %lld", node->op,
                         (long long)all + 1, (long long)all, (long long)local + 1);
    TRY(node_input(node, 6, "fparam", 1, (int64_t[]){(int64_t)info->fparams}, &fparam));
    int64_t aparams = (int64_t)info->aparams;
    TRY(node_input(node, 7, "aparam", 2, (int64_t[]){aparams > 0 ? local : ANY, aparams}, &aparam));
    int64_t pairs;
    TRY(count_pairs(self, node, (const int64_t *)first.data + local, stream, &pairs));
    if (pairs != index.shape[0])
        return node_fail(node->api, ORT_INVALID_ARGUMENT,
                         "%s: pair_first ends at %lld, but there are %lld pairs", node->op, (long long)pairs,
                         (long long)index.shape[0]);
    *atoms = (dpc_atoms){.local = (size_t)local,
                         .ghost = (size_t)(all - local),
                         .position = coord.data,
                         .type = atype.data,
                         .fparam = fparam.data,
                         .aparam = aparam.data,
                         .spin = info->spin_scale ? spin.data : NULL};
    *neighbours = (dpc_neighbours){.centres = (size_t)local,
                                   .first = first.data,
                                   .index = index.data,
                                   .shift = shift.data,
                                   .cell = cell.data};
    return NULL;
}

static OrtStatus *open_ranges(const struct node *node, const dpc_model_info *info, size_t index, dpc_result *result)
{
    int64_t tables = (int64_t)info->tables;
    TRY(node_output(node, index, 2, (int64_t[]){tables, 4}, &result->range));
    return node_output(node, index + 1, 2, (int64_t[]){tables, 3}, &result->range_worst);
}

static OrtStatus *open_energy(const struct node *node, const dpc_atoms *atoms, const dpc_model_info *info,
                              dpc_result *result)
{
    int64_t local = (int64_t)atoms->local, all = local + (int64_t)atoms->ghost;
    TRY(node_output(node, 0, 1, (int64_t[]){1}, &result->energy));
    TRY(node_output(node, 1, 2, (int64_t[]){all, 3}, &result->force));
    TRY(node_output(node, 2, 2, (int64_t[]){3, 3}, &result->virial));
    TRY(node_output(node, 3, 1, (int64_t[]){local}, &result->atom_energy));
    TRY(node_output(node, 4, 3, (int64_t[]){all, 3, 3}, &result->atom_virial));
    TRY(node_output(node, 5, 2, (int64_t[]){info->spin_scale ? all : 0, 3}, &result->force_mag));
    if (info->spin_scale == NULL)
        result->force_mag = NULL;
    return open_ranges(node, info, 6, result);
}

static OrtStatus *open_tensor(const struct node *node, const dpc_atoms *atoms, const dpc_model_info *info,
                              dpc_result *result)
{
    int64_t local = (int64_t)atoms->local, all = local + (int64_t)atoms->ghost, outputs = (int64_t)info->outputs;
    int64_t slopes = info->differentiable ? outputs : 0;
    TRY(node_output(node, 0, 1, (int64_t[]){outputs}, &result->energy));
    TRY(node_output(node, 1, 2, (int64_t[]){local, outputs}, &result->atom_energy));
    TRY(node_output(node, 2, 3, (int64_t[]){slopes, all, 3}, &result->force));
    TRY(node_output(node, 3, 3, (int64_t[]){slopes, 3, 3}, &result->virial));
    TRY(node_output(node, 4, 4, (int64_t[]){slopes, all, 3, 3}, &result->atom_virial));
    if (slopes == 0)
        result->force = result->virial = result->atom_virial = NULL;
    return open_ranges(node, info, 5, result);
}

typedef OrtStatus *(*open_outputs)(const struct node *node, const dpc_atoms *atoms, const dpc_model_info *info,
                                   dpc_result *result);

/* A workspace of the host, or of the device that this thread is on. */
static dpc_status take_workspace(struct evaluation *self, dpc_workspace **workspace, dpc_error *err)
{
    char place[24] = "cpu";
    *workspace = spare_take(&self->workspaces);
    if (*workspace)
        return DPC_OK;
    if (self->device)
        snprintf(place, sizeof place, "cuda:%d", self->device->tools->current());
    return dpc_workspace_create_on(self->model, place, workspace, err);
}

/* What is in the workspace's memory must not be in use when another node takes it, so that this waits; and so what is
 * wrong with the positions is known. */
static dpc_status run_on_device(const struct evaluation *self, dpc_workspace *workspace, const dpc_atoms *atoms,
                                const dpc_neighbours *neighbours, const dpc_result *result, void *stream,
                                dpc_error *err)
{
    struct dpc_device *place = ((struct dpc_place *)workspace)->device;
    dpc_status status = self->device->enqueue(place, atoms, neighbours, result, stream, err);
    return status == DPC_OK ? self->device->check(place, err) : status;
}

static OrtStatus *evaluate(struct evaluation *self, OrtKernelContext *context, open_outputs open)
{
    struct node node = {self->api, context, self->op};
    dpc_atoms atoms;
    dpc_neighbours neighbours;
    dpc_result result = {0};
    dpc_model_info info;
    void *stream = NULL;
    dpc_model_describe(self->model, &info);
    if (self->device)
        TRY(node_stream(&node, &stream));
    TRY(read_inputs(self, &node, &info, stream, &atoms, &neighbours));
    TRY(open(&node, &atoms, &info, &result));

    dpc_error err;
    dpc_exec exec = node_exec(&node);
    dpc_workspace *workspace;
    dpc_status status = take_workspace(self, &workspace, &err);
    if (status == DPC_OK && self->device)
        status = run_on_device(self, workspace, &atoms, &neighbours, &result, stream, &err);
    else if (status == DPC_OK)
        status = dpc_model_compute(self->model, workspace, &atoms, &neighbours, &result, &exec, &err);
    if (workspace && !spare_keep(&self->workspaces, workspace))
        dpc_workspace_free(workspace);
    return node_status(&node, status, &err);
}

OrtStatus *energy_force_compute(void *kernel, OrtKernelContext *context)
{
    return evaluate(kernel, context, open_energy);
}

OrtStatus *atomic_tensor_compute(void *kernel, OrtKernelContext *context)
{
    return evaluate(kernel, context, open_tensor);
}
