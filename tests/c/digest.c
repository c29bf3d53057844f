/* digest.c - SHA-256 in pieces of any length, with and without the processor's instructions */
#include "check.h"
#include "sha256.h"

#include <string.h>

static void check_sum(const char *data, size_t size, size_t piece, const char *expected)
{
    struct dpc_sha256 sum;
    char hex[DPC_SHA256_HEX + 1];
    for (int fast = 0; fast < 2; fast++) { /* without the processor's instructions, and with them if it has any */
        dpc_sha256_begin(&sum);
        sum.fast &= fast;
        for (size_t at = 0; at < size; at += piece)
            dpc_sha256_add(&sum, data + at, size - at < piece ? size - at : piece);
        dpc_sha256_end(&sum, hex);
        CHECK(strcmp(hex, expected) == 0, "SHA-256 of %zu bytes in pieces of %zu: %s, not %s", size, piece, hex, expected);
    }
}

void check_digest(void)
{
    static char million[1000000];
    memset(million, 'a', sizeof(million));
    check_sum("", 0, 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check_sum("abc", 3, 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check_sum("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, 56,
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    for (size_t piece = 1; piece < sizeof(million); piece = 3 * piece + 1)
        check_sum(million, sizeof(million), piece, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    for (size_t n = 50; n < 70; n++) { /* around the end of a block: in one piece as in several */
        struct dpc_sha256 sum;
        char hex[DPC_SHA256_HEX + 1];
        dpc_sha256_begin(&sum);
        dpc_sha256_add(&sum, million, n);
        dpc_sha256_end(&sum, hex);
        check_sum(million, n, 7, hex);
    }
}
