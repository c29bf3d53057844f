/* sha256.h - the SHA-256 of bytes that come in pieces (FIPS 180-4) */
#ifndef DPC_SHA256_H
#define DPC_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { DPC_SHA256_HEX = 64 }; /* digits of a digest */

struct dpc_sha256 {
    uint32_t state[8];
    uint64_t bytes;    /* so far */
    uint8_t block[64]; /* the last of them, not yet added */
    int fast;          /* whether the processor has instructions for it */
};

void dpc_sha256_begin(struct dpc_sha256 *sum);
void dpc_sha256_add(struct dpc_sha256 *sum, const void *data, size_t size);
/* The digest as lower-case hexadecimal digits, ended by a zero. */
void dpc_sha256_end(struct dpc_sha256 *sum, char hex[DPC_SHA256_HEX + 1]);

#endif
