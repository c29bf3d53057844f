/* table.c - tables: nodal ones, checked and packed, and DeePMD-kit's form */
#include "model.h"
#include "quintic.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static dpc_status check_grid(size_t rows0, size_t rows1, size_t width, double lower, double step0, double step1,
                             dpc_error *err)
{
    DPC_REQUIRE(rows0 > 0 && rows0 < (1u << 23) && rows1 < (1u << 23), "a table cannot have %zu and %zu rows", rows0,
                rows1);
    DPC_REQUIRE(width > 0 && width < (1u << 20), "a table cannot have %zu channels", width);
    DPC_REQUIRE(step0 > 0 && step1 > 0, "steps must be positive, got %g and %g", step0, step1);
    DPC_REQUIRE(isfinite(lower) && isfinite(lower + (double)rows0 * step0 + (double)rows1 * step1),
                "a table cannot reach from %g on by %zu rows of %g and %zu of %g", lower, rows0, step0, rows1, step1);
    return DPC_OK;
}

dpc_status dpc_grid_fill(struct dpc_grid *grid, double lower, double step0, double step1, size_t rows0, size_t rows1,
                         const double *breaks, dpc_error *err)
{
    DPC_TRY(check_grid(rows0, rows1, 1, lower, step0, step1, err));
    for (size_t k = 0; breaks != NULL && k < rows0 + rows1; k++)
        DPC_REQUIRE(isfinite(breaks[k]) && isfinite(breaks[k + 1]) && breaks[k] < breaks[k + 1],
                    "breaks %zu and %zu, %g and %g, are not ascending", k, k + 1, breaks[k], breaks[k + 1]);
    const double upper = breaks != NULL ? breaks[rows0] : lower + (double)rows0 * step0;
    *grid = (struct dpc_grid){.lower = breaks != NULL ? breaks[0] : lower, .upper = upper,
                              .max = breaks != NULL ? breaks[rows0 + rows1] : upper + (double)rows1 * step1,
                              .step0 = step0, .step1 = step1, .inverse0 = 1 / step0, .inverse1 = 1 / step1,
                              .coarse_from = rows1 > 0 ? upper : INFINITY,
                              .rows0 = (int32_t)rows0, .rows1 = (int32_t)rows1, .breaks = breaks};
    return DPC_OK;
}

dpc_status dpc_table_fill(struct dpc_table *t, dpc_dtype dtype, size_t width, const struct dpc_grid *grid,
                          const void *node, const void *scale, dpc_error *err)
{
    const size_t size = dpc_dtype_size(dtype), rows = 3 * dpc_grid_nodes(grid);
    t->dtype = dtype;
    t->width = width;
    t->stride = dpc_round_up(width, DPC_ALIGN / size);
    t->grid = *grid;
    DPC_TRY(dpc_alloc(rows * t->stride, size, &t->node, err));
    for (size_t r = 0; r < rows; r++) {
        char *to = (char *)t->node + r * t->stride * size;
        memcpy(to, (const char *)node + r * width * size, width * size);
        for (size_t k = 0; scale != NULL && k < width; k++)
            dpc_put(to, dtype, k, dpc_get(to, dtype, k) * dpc_get(scale, dtype, k));
    }
    return DPC_OK;
}

void dpc_table_release(struct dpc_table *t)
{
    free(t->node);
}

dpc_status dpc_table_create(const dpc_table_spec *spec, dpc_table **table, dpc_error *err)
{
    DPC_REQUIRE(spec != NULL && table != NULL, "spec and table must not be NULL");
    dpc_table *t;
    *table = NULL;
    struct dpc_grid grid;
    DPC_REQUIRE(spec->dtype == DPC_F32 || spec->dtype == DPC_F64, "%d is no dtype", (int)spec->dtype);
    DPC_REQUIRE(spec->node != NULL, "node must not be NULL");
    DPC_TRY(check_grid(spec->rows0, spec->rows1, spec->width, spec->lower, spec->step0, spec->step1, err));
    DPC_TRY(dpc_grid_fill(&grid, spec->lower, spec->step0, spec->step1, spec->rows0, spec->rows1, NULL, err));
    DPC_TRY(dpc_alloc(1, sizeof(*t), &t, err));
    const dpc_status status = dpc_table_fill(t, spec->dtype, spec->width, &grid, spec->node, NULL, err);
    if (status != DPC_OK) {
        dpc_table_free(t);
        return status;
    }
    *table = t;
    return DPC_OK;
}

void dpc_table_free(dpc_table *t)
{
    if (t != NULL)
        dpc_table_release(t);
    free(t);
}

struct quintic_job {
    const dpc_quintic *table;
    size_t n, tasks;
    const void *x;
    void *value, *slope;
};

static void quintic_task(void *arg, size_t begin, size_t end)
{
    const struct quintic_job *job = arg;
    const dpc_quintic *t = job->table;
    for (size_t w = begin; w < end; w++)
        for (size_t i = job->n * w / job->tasks; i < job->n * (w + 1) / job->tasks; i++) {
            double u, beyond, slope;
            const size_t row = dpc_quintic_find(t, dpc_get(job->x, t->dtype, i), &u, &beyond);
            for (size_t m = 0; m < t->width; m++) {
                dpc_put(job->value, t->dtype, i * t->width + m, dpc_quintic_at(t, row, m, u, beyond, &slope));
                if (job->slope != NULL)
                    dpc_put(job->slope, t->dtype, i * t->width + m, slope);
            }
        }
}

dpc_status dpc_quintic_check(const dpc_quintic *t, size_t n, const void *x, const void *value, dpc_error *err)
{
    DPC_REQUIRE(t != NULL && t->coef != NULL, "table and its coef must not be NULL");
    DPC_REQUIRE(t->dtype == DPC_F32 || t->dtype == DPC_F64, "%d is no dtype", (int)t->dtype);
    DPC_REQUIRE((x != NULL && value != NULL) || n == 0, "x and value must not be NULL");
    return check_grid(t->rows0, t->rows1, t->width, t->lower, t->step0, t->step1, err);
}

dpc_status dpc_quintic_eval(const dpc_quintic *t, size_t n, const void *x, void *value, void *slope,
                            const dpc_exec *exec, dpc_error *err)
{
    DPC_TRY(dpc_quintic_check(t, n, x, value, err));
    for (size_t i = 0; i < n; i++)
        DPC_REQUIRE(!isnan(dpc_get(x, t->dtype, i)), "x[%zu] is not a number", i);
    struct quintic_job job = {t, n, dpc_tasks(exec), x, value, slope};
    dpc_run(exec, job.tasks, quintic_task, &job);
    return DPC_OK;
}
