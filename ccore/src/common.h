/* common.h - what every libdpc source shares: exports, errors, checks, memory, sizes */
#ifndef DPC_COMMON_H
#define DPC_COMMON_H

#if defined(DPC_STATIC)
#  define DPC_API
#elif defined(_WIN32)
#  define DPC_API __declspec(dllexport)
#else
#  define DPC_API __attribute__((visibility("default")))
#endif
#include "dpc.h"

#include <string.h>

#define DPC_CAT2(a, b) a##b
#define DPC_CAT(a, b) DPC_CAT2(a, b)

/* Before a loop of constant trip count whose arrays must live in registers. */
#if defined(__CUDACC__)
#  define DPC_UNROLL _Pragma("unroll")
#elif defined(__clang__)
#  define DPC_UNROLL _Pragma("clang loop unroll(full)")
#else
#  define DPC_UNROLL _Pragma("GCC unroll 8")
#endif
/* Before functions that kernels of a GPU call too. */
#ifdef __CUDACC__
#  define DPC_HD __host__ __device__
#else
#  define DPC_HD
#endif
#define DPC_INLINE static inline __attribute__((always_inline))

enum {
    DPC_ALIGN = 64,        /* of every packed array: a cache line, the widest register */
    DPC_BLOCK_BYTES = 256, /* one row of a block of atoms: 32 doubles or 64 floats */
    DPC_PANEL = 6,         /* outputs of a layer that are computed together */
    DPC_PARTIALS = 16      /* partial force arrays; bounds the workers */
};

dpc_status dpc_fail(dpc_error *err, dpc_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Return from the calling function unless `cond`; needs `err` in scope. */
#define DPC_REQUIRE(cond, ...)                              \
    do {                                                    \
        if (!(cond))                                        \
            return dpc_fail(err, DPC_INVALID, __VA_ARGS__); \
    } while (0)

#define DPC_TRY(call)               \
    do {                            \
        dpc_status status_ = (call); \
        if (status_ != DPC_OK)      \
            return status_;         \
    } while (0)

/* count * size zeroed bytes, DPC_ALIGN-aligned, freed by free(); never NULL without an error. */
dpc_status dpc_alloc(size_t count, size_t size, void *pointer_to_array, dpc_error *err);

/* Arrays that are freed together. */
struct dpc_pool {
    struct dpc_pooled *last;
};
dpc_status dpc_pool_alloc(struct dpc_pool *pool, size_t count, size_t size, void *pointer_to_array, dpc_error *err);
void dpc_pool_free(struct dpc_pool *pool);

/* An array that only ever grows, for scratch: its contents do not survive growth. */
struct dpc_buffer {
    void *data;
    size_t bytes;
};
dpc_status dpc_reserve(struct dpc_buffer *buffer, size_t count, size_t size, dpc_error *err);

/* Into how many tasks work is cut: what exec asks for, within reason. */
static inline size_t dpc_tasks(const dpc_exec *exec)
{
    const size_t most = 256, asked = exec != NULL && exec->workers > 0 ? exec->workers : 1;
    return asked < most ? asked : most;
}

/* Run task over [0, n) as exec says: at most exec->workers tasks, here if it brings no threads. */
void dpc_run(const dpc_exec *exec, size_t n, dpc_task task, void *job);

/* Of some clock that only goes forward. */
double dpc_seconds(void);

static inline size_t dpc_round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static inline size_t dpc_dtype_size(dpc_dtype dtype)
{
    return dtype == DPC_F32 ? sizeof(float) : sizeof(double);
}

/* Element i of an array of dtype, widened, wherever the array begins; and its opposite. */
DPC_HD static inline double dpc_get(const void *array, dpc_dtype dtype, size_t i)
{
    float narrow;
    double wide;
    if (dtype == DPC_F64) {
        memcpy(&wide, (const char *)array + i * sizeof(wide), sizeof(wide));
        return wide;
    }
    memcpy(&narrow, (const char *)array + i * sizeof(narrow), sizeof(narrow));
    return (double)narrow;
}

DPC_HD static inline void dpc_put(void *array, dpc_dtype dtype, size_t i, double value)
{
    if (dtype == DPC_F32)
        ((float *)array)[i] = (float)value;
    else
        ((double *)array)[i] = value;
}

#endif
