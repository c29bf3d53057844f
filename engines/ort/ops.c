/* ops.c - the nodes NeighborList and Quintic of docs/format.md: calls of libdpc, on the host or a device */
#include "ops.h"

#include <stdlib.h>
#include <string.h>

#include "node.h"

/* ---- NeighborList ----------------------------------------------------------------- */

struct neighbor_list {
    const OrtApi *api;
    const struct dpc_device_tools *device; /* NULL: the host searches */
    struct spare lists;                    /* dpc_list, dpc_cuda_list of a device */
};

static void free_list(const struct neighbor_list *self, void *list)
{
    if (self->device)
        self->device->list_free(list);
    else
        dpc_list_free(list);
}

OrtStatus *neighbor_list_create(const OrtCustomOp *op, const OrtApi *api, const OrtKernelInfo *info, void **kernel)
{
    const struct dpc_device_library *device;
    (void)info;
    TRY(node_device(op, api, &device));
    struct neighbor_list *made = calloc(1, sizeof *made);
    if (!made)
        return node_fail(api, ORT_FAIL, "NeighborList: out of memory");
    made->api = api;
    made->device = device ? device->tools : NULL;
    *kernel = made;
    return NULL;
}

void neighbor_list_free(void *kernel)
{
    struct neighbor_list *self = kernel;
    for (void *list; (list = spare_take(&self->lists));)
        free_list(self, list);
    free(self);
}

static void keep_list(struct neighbor_list *self, void *list)
{
    if (list && !spare_keep(&self->lists, list))
        free_list(self, list);
}

static OrtStatus *open_list(const struct node *node, size_t centres, int64_t pairs, int64_t **first, int32_t **index,
                            int32_t **shift)
{
    TRY(node_output(node, 0, 1, (int64_t[]){(int64_t)centres + 1}, first));
    TRY(node_output(node, 1, 1, (int64_t[]){pairs}, index));
    return node_output(node, 2, 2, (int64_t[]){pairs, 3}, shift);
}

static OrtStatus *write_list(const struct node *node, const dpc_list *list)
{
    dpc_neighbours view;
    dpc_list_view(list, &view);
    size_t pairs = (size_t)view.first[view.centres];
    int64_t *first;
    int32_t *index, *shift;
    TRY(open_list(node, view.centres, (int64_t)pairs, &first, &index, &shift));
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

/* What a search takes: coord [n][3], cell [3][3] and cutoff [1]. */
struct search {
    struct tensor coord, cell, cutoff;
};

static OrtStatus *search_here(struct node *node, const struct search *in, dpc_list **list)
{
    dpc_error err;
    dpc_exec exec = node_exec(node);
    dpc_status status = *list ? DPC_OK : dpc_list_create(list, &err);
    if (status == DPC_OK)
        status = dpc_list_build(*list, (size_t)in->coord.shape[0], in->coord.data, in->cell.data,
                                *(const double *)in->cutoff.data, &exec, &err);
    return status == DPC_OK ? write_list(node, *list) : node_status(node, status, &err);
}

static OrtStatus *search_there(const struct dpc_device_tools *device, const struct node *node, const struct search *in,
                               struct dpc_cuda_list **list)
{
    dpc_error err;
    dpc_neighbours view;
    void *stream;
    int64_t pairs, *first;
    int32_t *index, *shift;
    const size_t atoms = (size_t)in->coord.shape[0];
    TRY(node_stream(node, &stream));
    dpc_status status = *list ? DPC_OK : device->list_create(list, &err);
    if (status == DPC_OK)
        status = device->list_build(*list, atoms, in->coord.data, in->cell.data, *(const double *)in->cutoff.data,
                                    stream, &err);
    if (status == DPC_OK) {
        device->list_view(*list, &view);
        status = device->copy(&pairs, view.first + atoms, sizeof pairs, stream, &err);
    }
    if (status == DPC_OK)
        status = device->wait(stream, &err);
    TRY(node_status(node, status, &err));
    TRY(open_list(node, atoms, pairs, &first, &index, &shift));
    status = device->copy(first, view.first, (atoms + 1) * sizeof *first, stream, &err);
    if (status == DPC_OK)
        status = device->copy(index, view.index, (size_t)pairs * sizeof *index, stream, &err);
    if (status == DPC_OK) /* zeros of an open system, which has none */
        status = device->copy(shift, view.shift, (size_t)pairs * 3 * sizeof *shift, stream, &err);
    if (status == DPC_OK) /* another node may take the list */
        status = device->wait(stream, &err);
    return node_status(node, status, &err);
}

OrtStatus *neighbor_list_compute(void *kernel, OrtKernelContext *context)
{
    struct neighbor_list *self = kernel;
    struct node node = {self->api, context, "NeighborList"};
    struct search in;
    TRY(node_input(&node, 0, "coord", 2, (int64_t[]){ANY, 3}, &in.coord));
    TRY(node_input(&node, 1, "cell", 2, (int64_t[]){3, 3}, &in.cell));
    TRY(node_input(&node, 2, "cutoff", 0, NULL, &in.cutoff));
    OrtStatus *failed;
    if (self->device) {
        struct dpc_cuda_list *list = spare_take(&self->lists);
        failed = search_there(self->device, &node, &in, &list);
        keep_list(self, list);
    } else {
        dpc_list *list = spare_take(&self->lists);
        failed = search_here(&node, &in, &list);
        keep_list(self, list);
    }
    return failed;
}

/* ---- Quintic ---------------------------------------------------------------------- */

struct quintic {
    const OrtApi *api;
    const struct dpc_device_tools *device; /* NULL: the host evaluates */
};

OrtStatus *quintic_create(const OrtCustomOp *op, const OrtApi *api, const OrtKernelInfo *info, void **kernel)
{
    const struct dpc_device_library *device;
    (void)info;
    TRY(node_device(op, api, &device));
    struct quintic *made = malloc(sizeof *made);
    if (!made)
        return node_fail(api, ORT_FAIL, "Quintic: out of memory");
    *made = (struct quintic){api, device ? device->tools : NULL};
    *kernel = made;
    return NULL;
}

void quintic_free(void *kernel)
{
    free(kernel);
}

OrtStatus *quintic_compute(void *kernel, OrtKernelContext *context)
{
    const struct quintic *self = kernel;
    struct node node = {self->api, context, "Quintic"};
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
    dpc_status status;
    const size_t n = (size_t)x.shape[0];
    if (self->device) {
        void *stream;
        TRY(node_stream(&node, &stream));
        status = self->device->quintic_eval(&table, n, x.data, value, slope, stream, &err);
    } else {
        status = dpc_quintic_eval(&table, n, x.data, value, slope, &exec, &err);
    }
    return node_status(&node, status, &err);
}
