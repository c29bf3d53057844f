/* params.c - named tensors of a node: looked up, their type and shape checked, their elements read */
#include "params.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

enum { NAME = 96 };

static const struct dpc_tensor *lookup(const struct dpc_params *from, const char *name)
{
    for (size_t i = 0; i < from->name.count; i++)
        if (strcmp(from->name.item[i], name) == 0 && from->tensor[i].data != NULL)
            return &from->tensor[i];
    return NULL;
}

const struct dpc_tensor *dpc_lookup(const struct dpc_params *from, const char *format, ...)
{
    char name[NAME];
    va_list values;
    va_start(values, format);
    vsnprintf(name, sizeof(name), format, values);
    va_end(values);
    return lookup(from, name);
}

dpc_status dpc_find(const struct dpc_params *from, const struct dpc_tensor **tensor, dpc_error *err, int type,
                    size_t rank, const int64_t *shape, const char *format, ...)
{
    char name[NAME];
    va_list values;
    va_start(values, format);
    vsnprintf(name, sizeof(name), format, values);
    va_end(values);
    const struct dpc_tensor *t = lookup(from, name);
    DPC_CHECK(t != NULL, "parameter %s is missing", name);
    DPC_CHECK(t->type == type, "parameter %s has element type %d, not %d", name, t->type, type);
    int matches = t->rank == rank || (rank == 0 && t->rank == 1 && t->shape[0] == 1);
    for (size_t i = 0; matches && i < rank; i++)
        matches = shape[i] < 0 || shape[i] == t->shape[i];
    DPC_CHECK(matches, "parameter %s has the wrong shape", name);
    *tensor = t;
    return DPC_OK;
}

int dpc_finite(const struct dpc_tensor *t)
{
    double sum = 0; /* 0 * x is NaN for what is not finite */
    for (size_t i = 0, n = dpc_elements(t); i < n; i++)
        sum += 0 * dpc_real_at(t, i);
    return sum == 0;
}

dpc_status dpc_read_codes(struct dpc_pool *pool, const struct dpc_tensor *t, const char *name, int64_t least,
                          int64_t most, int32_t **codes, dpc_error *err)
{
    const size_t n = dpc_elements(t);
    DPC_TRY(dpc_pool_alloc(pool, n, sizeof(**codes), codes, err));
    for (size_t i = 0; i < n; i++) {
        const int64_t value = dpc_int_at(t, i);
        DPC_CHECK(value >= least && value <= most, "%s %lld is impossible", name, (long long)value);
        (*codes)[i] = (int32_t)value;
    }
    return DPC_OK;
}

dpc_status dpc_read_doubles(struct dpc_pool *pool, const struct dpc_tensor *t, const char *name, double **values,
                            dpc_error *err)
{
    const size_t n = dpc_elements(t);
    DPC_CHECK(dpc_finite(t), "%s holds something that is no number", name);
    DPC_TRY(dpc_pool_alloc(pool, n, sizeof(**values), values, err));
    for (size_t i = 0; i < n; i++)
        (*values)[i] = dpc_real_at(t, i);
    return DPC_OK;
}
