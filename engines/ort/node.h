/* node.h - what every op asks of the runtime: arguments, results, its threads, scratch, errors */
#ifndef DPC_NODE_H
#define DPC_NODE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "device.h"
#include "ort_abi.h"

#define TRY(call)                   \
    do {                            \
        OrtStatus *failed = (call); \
        if (failed)                 \
            return failed;          \
    } while (0)

enum { MAX_RANK = 4, ANY = -1 };

struct tensor {
    int type;
    size_t rank;
    int64_t shape[MAX_RANK];
    void *data;
};

struct node { /* one evaluation of a node */
    const OrtApi *api;
    OrtKernelContext *context;
    const char *op; /* its name, for messages */
};

__attribute__((format(printf, 3, 4))) OrtStatus *node_fail(const OrtApi *api, int code, const char *format, ...);
OrtStatus *node_status(const struct node *node, dpc_status status, const dpc_error *err);

/* Type, shape and data of a value; `name` is for the message. */
OrtStatus *node_tensor(const OrtApi *api, const char *op, const char *name, const OrtValue *value,
                       struct tensor *tensor);
/* Input `index`, whose shape must be `shape`, with ANY where any length will do; a scalar may come as [1]. */
OrtStatus *node_input(const struct node *node, size_t index, const char *name, size_t rank, const int64_t *shape,
                      struct tensor *tensor);
/* Where to write output `index`; NULL where nobody reads it. */
OrtStatus *node_output(const struct node *node, size_t index, size_t rank, const int64_t *shape, void *data);

/* libdpc_cuda where an op is for the runtime's CUDA provider, whose tensors are on the device that the thread is on but
 * for those that register.c keeps on the host; else NULL. */
OrtStatus *node_device(const OrtCustomOp *op, const OrtApi *api, const struct dpc_device_library **device);
/* The stream that a device's node is to work on. */
OrtStatus *node_stream(const struct node *node, void **stream);

/* The runtime's threads. */
dpc_exec node_exec(struct node *node);

/* Scratch objects that wait for the next evaluation: the runtime may run one kernel on several threads at once. */
struct spare {
    _Atomic(void *) slot[16];
};
void *spare_take(struct spare *spare);               /* NULL: none waits, create one */
bool spare_keep(struct spare *spare, void *scratch); /* false: enough wait, free it */

#endif
