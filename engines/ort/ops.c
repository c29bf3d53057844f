/* ops.c - the nodes NeighborList, EnergyForce, AtomicTensor and Quintic of docs/format.md, as calls of libdpc */
#include "ops.h"

#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "node.h"

/* ---- NeighborList ----------------------------------------------------------------- */

struct neighbor_list {
    const OrtApi *api;
    struct spare lists;
};

OrtStatus *neighbor_list_create(const OrtCustomOp *self, const OrtApi *api, const OrtKernelInfo *info, void **kernel)
{
    (void)self, (void)info;
    struct neighbor_list *made = calloc(1, sizeof *made);
    if (!made)
        return node_fail(api, ORT_FAIL, "NeighborList: out of memory");
    made->api = api;
    *kernel = made;
    return NULL;
}

void neighbor_list_free(void *kernel)
{
    struct neighbor_list *self = kernel;
    for (dpc_list *list; (list = spare_take(&self->lists));)
        dpc_list_free(list);
    free(self);
}

static OrtStatus *write_list(const struct node *node, const dpc_list *list)
{
    dpc_neighbours view;
    dpc_list_view(list, &view);
    size_t pairs = (size_t)view.first[view.centres];
    int64_t *first;
    int32_t *index, *shift;
    TRY(node_output(node, 0, 1, (int64_t[]){(int64_t)view.centres + 1}, &first));
    TRY(node_output(node, 1, 1, (int64_t[]){(int64_t)pairs}, &index));
    TRY(node_output(node, 2, 2, (int64_t[]){(int64_t)pairs, 3}, &shift));
    memcpy(first, view.first, (view.centres + 1) * sizeof *first);
    if (pairs == 0)
        return NULL;
    memcpy(index, view.index, pairs * sizeof *index);
    if (view.shift)
        memcpy(shift, view.shift, pairs * 3 * sizeof *shift);
    else /* an open system */
        memset(shift, 0, pairs * 3 * sizeof *shift);
    return NULL;
}

OrtStatus *neighbor_list_compute(void *kernel, OrtKernelContext *context)
{
    struct neighbor_list *self = kernel;
    struct node node = {self->api, context, "NeighborList"};
    struct tensor coord, cell, cutoff;
    TRY(node_input(&node, 0, "coord", 2, (int64_t[]){ANY, 3}, &coord));
    TRY(node_input(&node, 1, "cell", 2, (int64_t[]){3, 3}, &cell));
    TRY(node_input(&node, 2, "cutoff", 0, NULL, &cutoff));

    dpc_error err;
    dpc_exec exec = node_exec(&node);
    dpc_list *list = spare_take(&self->lists);
    dpc_status status = list ? DPC_OK : dpc_list_create(&list, &err);
    if (status == DPC_OK)
        status = dpc_list_build(list, (size_t)coord.shape[0], coord.data, cell.data, *(const double *)cutoff.data,
                                &exec, &err);
    OrtStatus *failed = status == DPC_OK ? write_list(&node, list) : node_status(&node, status, &err);
    if (list && !spare_keep(&self->lists, list))
        dpc_list_free(list);
    return failed;
}

/* ---- EnergyForce and AtomicTensor ------------------------------------------------- */

enum { FIRST_PARAMETER = 9 };

struct evaluation {
    const OrtApi *api;
    const char *op;
    dpc_model *model;
    struct spare workspaces;
};

/* The initialisers from input 9 on; their data stays the runtime's. */
static OrtStatus *read_parameters(const OrtApi *api, const char *op, const OrtKernelInfo *info, size_t count,
                                  struct dpc_tensor *out)
{
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
    }
    return NULL;
}

/* What libdpc makes of a node's attribute and initialisers; dpc_model_create takes the names from the layout. */
static OrtStatus *create_model(const OrtApi *api, const char *op, const OrtKernelInfo *info, dpc_model **model)
{
    size_t inputs, length = 0;
    TRY(api->KernelInfo_GetInputCount(info, &inputs));
    TRY(api->KernelInfoGetAttribute_string(info, "layout", NULL, &length));
    size_t count = inputs - FIRST_PARAMETER; /* at least one, as register.c declares */
    char *layout = malloc(length);
    struct dpc_tensor *parameter = malloc(count * sizeof *parameter);
    OrtStatus *failed = layout && parameter ? NULL : node_fail(api, ORT_FAIL, "%s: out of memory", op);
    if (!failed)
        failed = api->KernelInfoGetAttribute_string(info, "layout", layout, &length);
    if (!failed)
        failed = read_parameters(api, op, info, count, parameter);
    if (!failed) {
        dpc_error err;
        dpc_status status = dpc_model_create(1, &(struct dpc_node){layout, count, parameter}, model, &err);
        failed = node_status(&(struct node){api, NULL, op}, status, &err);
    }
    free(parameter);
    free(layout);
    return failed;
}

static OrtStatus *evaluation_create(const OrtApi *api, const char *op, const OrtKernelInfo *info, void **kernel)
{
    struct evaluation *made = calloc(1, sizeof *made);
    if (!made)
        return node_fail(api, ORT_FAIL, "%s: out of memory", op);
    made->api = api;
    made->op = op;
    OrtStatus *failed = create_model(api, op, info, &made->model);
    if (failed)
        free(made);
    else
        *kernel = made;
    return failed;
}

OrtStatus *energy_force_create(const OrtCustomOp *self, const OrtApi *api, const OrtKernelInfo *info, void **kernel)
{
    (void)self;
    return evaluation_create(api, "EnergyForce", info, kernel);
}

OrtStatus *atomic_tensor_create(const OrtCustomOp *self, const OrtApi *api, const OrtKernelInfo *info, void **kernel)
{
    (void)self;
    return evaluation_create(api, "AtomicTensor", info, kernel);
}

void energy_force_free(void *kernel)
{
    struct evaluation *self = kernel;
    for (dpc_workspace *workspace; (workspace = spare_take(&self->workspaces));)
        dpc_workspace_free(workspace);
    dpc_model_free(self->model);
    free(self);
}

void atomic_tensor_free(void *kernel)
{
    energy_force_free(kernel);
}

static OrtStatus *read_inputs(const struct node *node, const dpc_model_info *info, dpc_atoms *atoms,
                              dpc_neighbours *neighbours)
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
    int64_t pairs = ((const int64_t *)first.data)[local];
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

static OrtStatus *evaluate(struct evaluation *self, OrtKernelContext *context, open_outputs open)
{
    struct node node = {self->api, context, self->op};
    dpc_atoms atoms;
    dpc_neighbours neighbours;
    dpc_result result = {0};
    dpc_model_info info;
    dpc_model_describe(self->model, &info);
    TRY(read_inputs(&node, &info, &atoms, &neighbours));
    TRY(open(&node, &atoms, &info, &result));

    dpc_error err;
    dpc_exec exec = node_exec(&node);
    dpc_workspace *workspace = spare_take(&self->workspaces);
    dpc_status status = workspace ? DPC_OK : dpc_workspace_create(self->model, &workspace, &err);
    if (status == DPC_OK)
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

/* ---- Quintic ---------------------------------------------------------------------- */

struct quintic {
    const OrtApi *api;
};

OrtStatus *quintic_create(const OrtCustomOp *self, const OrtApi *api, const OrtKernelInfo *info, void **kernel)
{
    (void)self, (void)info;
    struct quintic *made = malloc(sizeof *made);
    if (!made)
        return node_fail(api, ORT_FAIL, "Quintic: out of memory");
    made->api = api;
    *kernel = made;
    return NULL;
}

void quintic_free(void *kernel)
{
    free(kernel);
}

OrtStatus *quintic_compute(void *kernel, OrtKernelContext *context)
{
    struct node node = {((struct quintic *)kernel)->api, context, "Quintic"};
    struct tensor x, coef, grid, rows;
    TRY(node_input(&node, 0, "x", 1, (int64_t[]){ANY}, &x));
    TRY(node_input(&node, 1, "coef", 3, (int64_t[]){ANY, ANY, 6}, &coef));
    TRY(node_input(&node, 2, "grid", 1, (int64_t[]){3}, &grid));
    TRY(node_input(&node, 3, "rows", 1, (int64_t[]){2}, &rows));
    const int64_t *row = rows.data;
    if (row[0] < 0 || row[1] < 0 || row[0] > coef.shape[0] || row[0] + row[1] != coef.shape[0])
        return node_fail(node.api, ORT_INVALID_ARGUMENT, "Quintic: rows are %lld and %lld, but coef has %lld",
                         (long long)row[0], (long long)row[1], (long long)coef.shape[0]);
    const double *step = grid.data;
    int64_t shape[] = {x.shape[0], coef.shape[1]};
    void *value, *slope;
    TRY(node_output(&node, 0, 2, shape, &value));
    TRY(node_output(&node, 1, 2, shape, &slope));

    dpc_error err;
    dpc_exec exec = node_exec(&node);
    dpc_quintic table = {.dtype = x.type == ORT_FLOAT ? DPC_F32 : DPC_F64,
                         .rows0 = (size_t)row[0],
                         .rows1 = (size_t)row[1],
                         .width = (size_t)coef.shape[1],
                         .lower = step[0],
                         .step0 = step[1],
                         .step1 = step[2],
                         .coef = coef.data};
    return node_status(&node, dpc_quintic_eval(&table, (size_t)x.shape[0], x.data, value, slope, &exec, &err), &err);
}
