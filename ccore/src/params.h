/* params.h - named tensors of a node: looked up, their type and shape checked, their elements read */
#ifndef DPC_PARAMS_H
#define DPC_PARAMS_H

#include "json.h"

/* A named tensor of the file; data is in native byte order, wherever it begins. */
struct dpc_tensor {
    const char *name;
    int type; /* ONNX's numbers: 1 float32, 6 int32, 7 int64, 11 float64 */
    size_t rank;
    int64_t shape[4];
    const void *data;
};

enum { DPC_ONNX_F32 = 1, DPC_ONNX_I64 = 7, DPC_ONNX_F64 = 11 };

struct dpc_params {
    struct dpc_strings name;
    struct dpc_tensor *tensor; /* [name.count] */
};

#define DPC_CHECK(cond, ...)                                   \
    do {                                                       \
        if (!(cond))                                           \
            return dpc_fail(err, DPC_FORMAT, __VA_ARGS__);     \
    } while (0)

/* Rank and shape, as dpc_find takes them. */
#define DPC_SHAPE(...) sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (const int64_t[]){__VA_ARGS__}
#define DPC_SCALAR 0, NULL

/* The parameter that printf would print, or NULL. */
const struct dpc_tensor *dpc_lookup(const struct dpc_params *from, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same, of the given element type and shape, or an error; -1 in `shape` matches any length. */
dpc_status dpc_find(const struct dpc_params *from, const struct dpc_tensor **tensor, dpc_error *err, int type,
                    size_t rank, const int64_t *shape, const char *format, ...) __attribute__((format(printf, 7, 8)));

/* Whether all numbers are. */
int dpc_finite(const struct dpc_tensor *t);

/* An int64 tensor's elements, each from `least` to `most`. */
dpc_status dpc_read_codes(struct dpc_pool *pool, const struct dpc_tensor *t, const char *name, int64_t least,
                          int64_t most, int32_t **codes, dpc_error *err);
/* A float64 tensor's elements, all finite. */
dpc_status dpc_read_doubles(struct dpc_pool *pool, const struct dpc_tensor *t, const char *name, double **values,
                            dpc_error *err);

static inline size_t dpc_elements(const struct dpc_tensor *t)
{
    size_t n = 1;
    for (size_t i = 0; i < t->rank; i++)
        n *= (size_t)t->shape[i];
    return n;
}

static inline double dpc_real_at(const struct dpc_tensor *t, size_t i)
{
    return dpc_get(t->data, t->type == DPC_ONNX_F32 ? DPC_F32 : DPC_F64, i);
}

static inline int64_t dpc_int_at(const struct dpc_tensor *t, size_t i)
{
    int64_t value;
    memcpy(&value, (const char *)t->data + i * sizeof(value), sizeof(value));
    return value;
}

#endif
