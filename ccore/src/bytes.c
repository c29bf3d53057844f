/* bytes.c - a file's bytes: mapped into memory where the system can, else read */
#define _POSIX_C_SOURCE 200809L /* fileno, fseeko */
#define _FILE_OFFSET_BITS 64
#include "bytes.h"

#include <stdio.h>
#include <stdlib.h>
#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#define MAPS 1
#endif

static int map(FILE *stream, struct dpc_bytes *bytes)
{
#ifdef MAPS
    void *at = bytes->size > 0 ? mmap(NULL, bytes->size, PROT_READ, MAP_PRIVATE, fileno(stream), 0) : MAP_FAILED;
    if (at == MAP_FAILED)
        return 0;
    bytes->data = at;
    bytes->mapped = 1;
    return 1;
#else
    (void)stream, (void)bytes;
    return 0;
#endif
}

dpc_status dpc_bytes_open(struct dpc_bytes *bytes, const char *path, const char *what, dpc_error *err)
{
    *bytes = (struct dpc_bytes){NULL, 0, 0};
    FILE *stream = fopen(path, "rb");
    if (stream == NULL)
        return dpc_fail(err, DPC_IO, "cannot open %s%.180s", what, path);
    off_t length = -1;
    dpc_status status = DPC_OK;
    if (fseeko(stream, 0, SEEK_END) != 0 || (length = ftello(stream)) < 0 || length > INT64_MAX / 2)
        status = dpc_fail(err, DPC_IO, "cannot read %s%.180s", what, path);
    else
        bytes->size = (size_t)length;
    if (status == DPC_OK && !map(stream, bytes)) {
        status = dpc_alloc(bytes->size, 1, &bytes->data, err);
        if (status == DPC_OK &&
            (fseeko(stream, 0, SEEK_SET) != 0 || fread(bytes->data, 1, bytes->size, stream) != bytes->size)) {
            dpc_bytes_release(bytes);
            status = dpc_fail(err, DPC_IO, "cannot read %s%.180s", what, path);
        }
    }
    fclose(stream);
    return status;
}

dpc_status dpc_bytes_copy(struct dpc_bytes *bytes, const void *data, size_t size, dpc_error *err)
{
    *bytes = (struct dpc_bytes){NULL, size, 0};
    DPC_TRY(dpc_alloc(size, 1, &bytes->data, err));
    if (size > 0)
        memcpy(bytes->data, data, size);
    return DPC_OK;
}

void dpc_bytes_release(struct dpc_bytes *bytes)
{
#ifdef MAPS
    if (bytes->mapped)
        munmap(bytes->data, bytes->size);
#endif
    if (!bytes->mapped)
        free(bytes->data);
    *bytes = (struct dpc_bytes){NULL, 0, 0};
}
