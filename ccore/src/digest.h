/* digest.h - whether a model file and its external data are, to the bit, as they were written */
#ifndef DPC_DIGEST_H
#define DPC_DIGEST_H

#include "bytes.h"

/* `entry` is the text of the file's metadata entry compress_onnx.digest, which stands in it from `at` on. */
dpc_status dpc_digest_check_model(const struct dpc_bytes *model, size_t at, const char *entry, dpc_error *err);
/* The external data in the file called `name`. */
dpc_status dpc_digest_check_external(const struct dpc_bytes *data, const char *name, const char *entry, dpc_error *err);

#endif
