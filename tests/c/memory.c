/* memory.c - an allocator that fails when told to, and what the library does then */
#include "check.h"

#include <stdlib.h>
#include <string.h>

/* The library is compiled with these two names for the C library's functions. */
#undef aligned_alloc
#undef realloc
void *aligned_alloc(size_t alignment, size_t size);
void *realloc(void *old, size_t size);
void *failing_aligned_alloc(size_t alignment, size_t size);
void *failing_realloc(void *old, size_t size);

static long left = -1;

void fail_after(long successes)
{
    left = successes;
}

int has_failed(void)
{
    return left == 0;
}

static int fails(void)
{
    if (left > 0)
        left--;
    return left == 0;
}

void *failing_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : aligned_alloc(alignment, size);
}

void *failing_realloc(void *old, size_t size)
{
    return fails() ? NULL : realloc(old, size);
}

/* A status other than success must be the allocator's doing. */
static int succeeded(dpc_status status, const dpc_error *err)
{
    CHECK(status == DPC_OK || (status == DPC_NO_MEMORY && strstr(err->message, "out of memory") != NULL),
          "status %d: %s", (int)status, err->message);
    CHECK(status == DPC_OK || has_failed(), "no allocation failed: %s", err->message);
    return status == DPC_OK;
}

static int evaluate(const dpc_model *model, dpc_workspace *workspace, dpc_list *list, const struct frame *frame,
                    double *energy)
{
    dpc_error err = {DPC_OK, ""};
    const dpc_exec exec = {.workers = 2};
    dpc_neighbours near;
    dpc_model_info info;
    dpc_model_describe(model, &info);
    if (!succeeded(dpc_list_build(list, frame->atoms, frame->position, frame->cell, info.cutoff, &exec, &err), &err))
        return 0;
    dpc_list_view(list, &near);
    const dpc_atoms atoms = frame_atoms(frame);
    double *virial = info.differentiable ? calloc(info.outputs * frame->atoms + 1, 9 * sizeof(double)) : NULL;
    const dpc_result result = {.energy = energy, .atom_virial = virial};
    const int ok = succeeded(dpc_model_compute(model, workspace, &atoms, &near, &result, &exec, &err), &err);
    free(virial);
    return ok;
}

static int create_ops(void)
{
    static const double zero[24] = {0};
    const dpc_table_spec spec = {.dtype = DPC_F64, .rows0 = 1, .width = 4, .step0 = 1, .step1 = 1, .node = zero};
    const dpc_layer layer[2] = {{.in = 2, .out = 3, .weight = zero, .bias = zero, .idt = zero},
                                {.in = 3, .out = 1, .weight = zero, .bias = zero}};
    const int64_t first[2] = {0, 1};
    const dpc_pairs pairs = {.atoms = 1, .first = first, .s = zero, .env = zero};
    double out[24];
    dpc_table *table = NULL;
    dpc_net *net = NULL;
    dpc_error err = {DPC_OK, ""};
    const int ok = succeeded(dpc_table_create(&spec, &table, &err), &err) &&
                   succeeded(dpc_contract_forward(table, &pairs, out, NULL, &err), &err) &&
                   succeeded(dpc_contract_backward(table, &pairs, zero, out, out + 1, NULL, &err), &err) &&
                   succeeded(dpc_net_create(DPC_F64, 2, layer, &net, &err), &err) &&
                   succeeded(dpc_net_eval(net, 1, zero, out, out + 1, NULL, &err), &err);
    dpc_table_free(table);
    dpc_net_free(net);
    return ok;
}

/* All steps with allocations that fail after n; the objects that exist must then still work. */
static int attempt(const char *path, const struct frame *frame, long n)
{
    dpc_model *model = NULL;
    dpc_workspace *workspace = NULL;
    dpc_list *list = NULL;
    dpc_error err = {DPC_OK, ""};
    double energy[9] = {0};
    fail_after(n);
    int ok = create_ops() && succeeded(dpc_model_load(path, &model, &err), &err) &&
             succeeded(dpc_workspace_create(model, &workspace, &err), &err) &&
             succeeded(dpc_list_create(&list, &err), &err) && evaluate(model, workspace, list, frame, energy);
    fail_after(-1);
    if (list != NULL) {
        CHECK(evaluate(model, workspace, list, frame, energy), "nothing works after allocation %ld failed", n);
        const double difference = *energy - *frame->energy;
        CHECK(difference < 1e-3 && difference > -1e-3, "after allocation %ld failed: energy %g, not %g", n, *energy,
              *frame->energy);
    }
    dpc_list_free(list);
    dpc_workspace_free(workspace);
    dpc_model_free(model);
    return ok;
}

/* A file's bytes with allocations that fail after n. */
static int attempt_bytes(const void *bytes, size_t size, long n)
{
    dpc_model *model = NULL;
    dpc_error err = {DPC_OK, ""};
    fail_after(n);
    const int ok = succeeded(dpc_model_load_memory(bytes, size, NULL, 1, &model, &err), &err);
    fail_after(-1);
    CHECK(ok == (model != NULL), "after allocation %ld failed, the model is %p", n, (void *)model);
    dpc_model_free(model);
    return ok;
}

void check_memory(const char *path, const struct frame *frame)
{
    long n = 1;
    while (n < 10000 && !attempt(path, frame, n))
        n++;
    CHECK(n > 50 && n < 10000, "%ld allocations failed", n);
    printf("%ld allocations failed one by one\n", n - 1);
    static char bytes[1 << 20];
    FILE *file = fopen(path, "rb");
    const size_t size = file != NULL ? fread(bytes, 1, sizeof(bytes), file) : 0;
    if (file != NULL)
        fclose(file);
    for (n = 1; n < 10000 && !attempt_bytes(bytes, size, n);)
        n++;
    CHECK(n > 20 && n < 10000, "%ld allocations failed", n);
}
