/* bytes.h - a file's bytes: mapped into memory where the system can, else read */
#ifndef DPC_BYTES_H
#define DPC_BYTES_H

#include "common.h"

struct dpc_bytes {
    void *data;
    size_t size;
    int mapped;
};

/* `what` begins the message where the file cannot be had: "the external data ", or "". */
dpc_status dpc_bytes_open(struct dpc_bytes *bytes, const char *path, const char *what, dpc_error *err);
dpc_status dpc_bytes_copy(struct dpc_bytes *bytes, const void *data, size_t size, dpc_error *err);
void dpc_bytes_release(struct dpc_bytes *bytes);

#endif
