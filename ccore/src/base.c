/* base.c - what every part stands on: version, error text, memory, threads */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#include "common.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef _OPENMP
#include <omp.h>
#endif

int dpc_version(void)
{
    return DPC_VERSION;
}

const char *dpc_status_name(dpc_status status)
{
    switch (status) {
    case DPC_OK: return "ok";
    case DPC_INVALID: return "invalid argument";
    case DPC_NO_MEMORY: return "out of memory";
    case DPC_UNSUPPORTED: return "unsupported";
    case DPC_IO: return "cannot read file";
    case DPC_FORMAT: return "malformed file";
    case DPC_DEVICE: return "device error";
    case DPC_INTERNAL: return "internal error";
    }
    return "unknown status";
}

dpc_status dpc_fail(dpc_error *err, dpc_status status, const char *fmt, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, fmt);
        err->status = status;
        vsnprintf(err->message, sizeof(err->message), fmt, args);
        va_end(args);
    }
    return status;
}

dpc_status dpc_alloc(size_t count, size_t size, void *pointer_to_array, dpc_error *err)
{
    void *memory = NULL;
    if (size == 0 || count <= (SIZE_MAX - DPC_ALIGN) / size) {
        const size_t bytes = dpc_round_up(count * size + 1, DPC_ALIGN);
        memory = aligned_alloc(DPC_ALIGN, bytes);
        if (memory != NULL)
            memset(memory, 0, bytes);
    }
    if (memory == NULL)
        return dpc_fail(err, DPC_NO_MEMORY, "out of memory: %zu elements of %zu bytes", count, size);
    memcpy(pointer_to_array, &memory, sizeof(memory));
    return DPC_OK;
}

struct dpc_pooled {
    struct dpc_pooled *before;
    char rest[DPC_ALIGN - sizeof(void *)]; /* the array begins after it, aligned */
};

dpc_status dpc_pool_alloc(struct dpc_pool *pool, size_t count, size_t size, void *pointer_to_array, dpc_error *err)
{
    struct dpc_pooled *made = NULL;
    if (size != 0 && count > SIZE_MAX / size / 2)
        return dpc_fail(err, DPC_NO_MEMORY, "out of memory: %zu elements of %zu bytes", count, size);
    DPC_TRY(dpc_alloc(sizeof(*made) + count * size, 1, &made, err));
    made->before = pool->last;
    pool->last = made;
    memcpy(pointer_to_array, &(void *){made + 1}, sizeof(void *));
    return DPC_OK;
}

void dpc_pool_free(struct dpc_pool *pool)
{
    for (struct dpc_pooled *one; (one = pool->last) != NULL;) {
        pool->last = one->before;
        free(one);
    }
}

dpc_status dpc_reserve(struct dpc_buffer *buffer, size_t count, size_t size, dpc_error *err)
{
    if (size != 0 && count > SIZE_MAX / size / 2)
        return dpc_fail(err, DPC_NO_MEMORY, "out of memory: %zu elements of %zu bytes", count, size);
    if (count * size <= buffer->bytes)
        return DPC_OK;
    const size_t bytes = count * size + count * size / 8; /* so that a slowly growing system settles */
    free(buffer->data);
    *buffer = (struct dpc_buffer){NULL, 0};
    DPC_TRY(dpc_alloc(bytes, 1, &buffer->data, err));
    buffer->bytes = bytes;
    return DPC_OK;
}

double dpc_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void dpc_run(const dpc_exec *exec, size_t n, dpc_task task, void *job)
{
    if (exec != NULL && exec->parallel_for != NULL && n > 1)
        exec->parallel_for(exec->pool, n, task, job);
    else if (n > 0)
        task(job, 0, n);
}

void dpc_parallel_openmp(void *threads, size_t n, dpc_task task, void *job)
{
#ifdef _OPENMP
    const int *asked = threads;
    const int most = asked != NULL && *asked > 0 ? *asked : omp_get_max_threads();
    const int used = (size_t)most < n ? most : (int)n;
#pragma omp parallel num_threads(used)
    {
        const size_t id = (size_t)omp_get_thread_num(), of = (size_t)omp_get_num_threads();
        const size_t begin = n * id / of, end = n * (id + 1) / of;
        if (begin < end)
            task(job, begin, end);
    }
#else
    (void)threads;
    task(job, 0, n);
#endif
}
