/* ops.c - contraction and nets as single operations: check, prepare, run */
#include "kernels.h"

#include <stdlib.h>

/* Scratch for one call; ops are for tests and ONNX nodes, models keep theirs in a workspace. */
static dpc_status scratch_create(const struct dpc_kernels *k, const struct dpc_extent *extent, size_t tasks,
                                 struct dpc_scratch **scratch, dpc_error *err)
{
    DPC_TRY(dpc_alloc(tasks, sizeof(**scratch), scratch, err));
    for (size_t w = 0; w < tasks; w++)
        DPC_TRY(dpc_scratch_prepare(&(*scratch)[w], k, extent, err));
    return DPC_OK;
}

static void scratch_free(struct dpc_scratch *scratch, size_t tasks)
{
    for (size_t w = 0; scratch != NULL && w < tasks; w++)
        free(scratch[w].memory.data);
    free(scratch);
}

static dpc_status kernels_for(dpc_dtype dtype, const dpc_exec *exec, const struct dpc_kernels **k, dpc_error *err)
{
    const dpc_isa isa = exec ? exec->isa : DPC_ISA_AUTO;
    *k = dpc_select(dtype == DPC_F32 ? DPC_FLOAT32 : DPC_FLOAT64, isa);
    if (*k == NULL)
        return dpc_fail(err, DPC_UNSUPPORTED, "instruction set %d cannot run here", (int)isa);
    return DPC_OK;
}

static dpc_status contract(int backward, struct dpc_contract_job *job, const dpc_exec *exec, dpc_error *err)
{
    const dpc_table *table = job->table;
    const dpc_pairs *in = job->in;
    const struct dpc_kernels *k;
    DPC_REQUIRE(table != NULL && in != NULL, "table and in must not be NULL");
    DPC_REQUIRE(in->first != NULL && in->first[0] == 0, "first must start with 0");
    size_t most = 0;
    for (size_t a = 0; a < in->atoms; a++) {
        DPC_REQUIRE(in->first[a] <= in->first[a + 1], "first decreases after atom %zu", a);
        const size_t n = (size_t)(in->first[a + 1] - in->first[a]);
        most = n > most ? n : most;
    }
    DPC_REQUIRE((in->s && in->env) || in->first[in->atoms] == 0, "s and env must not be NULL");
    DPC_TRY(kernels_for(table->dtype, exec, &k, err));
    const struct dpc_extent extent = {.atoms = 1, .types = 1, .members = 1, .neighbours = most, .stride = table->stride,
                                      .nodes = dpc_grid_nodes(&table->grid)};
    job->tasks = dpc_tasks(exec);
    dpc_status status = scratch_create(k, &extent, job->tasks, &job->scratch, err);
    if (status == DPC_OK)
        dpc_run(exec, job->tasks, backward ? k->contract_backward : k->contract_forward, job);
    scratch_free(job->scratch, job->tasks);
    return status;
}

dpc_status dpc_contract_forward(const dpc_table *table, const dpc_pairs *in, void *out, const dpc_exec *exec,
                                dpc_error *err)
{
    DPC_REQUIRE(out != NULL || in == NULL || in->atoms == 0, "out must not be NULL");
    struct dpc_contract_job job = {.table = table, .in = in, .out = out};
    return contract(0, &job, exec, err);
}

dpc_status dpc_contract_backward(const dpc_table *table, const dpc_pairs *in, const void *grad, void *grad_s,
                                 void *grad_env, const dpc_exec *exec, dpc_error *err)
{
    DPC_REQUIRE((grad && grad_s && grad_env) || in == NULL || in->atoms == 0, "a gradient buffer is NULL");
    struct dpc_contract_job job = {.table = table, .in = in, .grad = grad, .grad_s = grad_s, .grad_env = grad_env};
    return contract(1, &job, exec, err);
}

dpc_status dpc_net_eval(const dpc_net *net, size_t n, const void *x, void *value, void *grad, const dpc_exec *exec,
                        dpc_error *err)
{
    const struct dpc_kernels *k;
    DPC_REQUIRE(net != NULL, "net must not be NULL");
    DPC_REQUIRE((x != NULL && value != NULL) || n == 0, "x and value must not be NULL");
    DPC_TRY(kernels_for(net->dtype, exec, &k, err));
    const struct dpc_extent extent = {.atoms = 1, .types = 1, .members = 1, .stride = 1, .nodes = 1,
                                      .features = net->in, .widest = net->widest, .slopes = net->slopes,
                                      .net_outputs = 1};
    struct dpc_net_job job = {.net = net, .n = n, .x = x, .value = value, .grad = grad, .tasks = dpc_tasks(exec)};
    dpc_status status = scratch_create(k, &extent, job.tasks, &job.scratch, err);
    if (status == DPC_OK)
        dpc_run(exec, job.tasks, k->net_eval, &job);
    scratch_free(job.scratch, job.tasks);
    return status;
}
