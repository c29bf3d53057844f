/* sha256.c - the SHA-256 of bytes that come in pieces (FIPS 180-4), with the processor's instructions where it has them */
#include "sha256.h"
#include "common.h"

#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

static const uint32_t constant[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotated(uint32_t x, int by)
{
    return x >> by | x << (32 - by);
}

static uint32_t big_endian(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void add_block(uint32_t *state, const uint8_t *block)
{
    uint32_t word[64], v[8];
    for (int i = 0; i < 16; i++)
        word[i] = big_endian(block + 4 * i);
    for (int i = 16; i < 64; i++) {
        const uint32_t a = word[i - 15], b = word[i - 2];
        word[i] = word[i - 16] + word[i - 7] + (rotated(a, 7) ^ rotated(a, 18) ^ a >> 3) +
                  (rotated(b, 17) ^ rotated(b, 19) ^ b >> 10);
    }
    memcpy(v, state, sizeof(v));
    for (const uint32_t *k = constant, *w = word; w < word + 64; k += 8, w += 8)
        DPC_UNROLL
        for (unsigned i = 0; i < 8; i++) { /* v[n - i] is what FIPS 180-4 calls the n-th of a to h */
            const uint32_t a = v[-i & 7], b = v[(1 - i) & 7], c = v[(2 - i) & 7], e = v[(4 - i) & 7];
            const uint32_t choice = (e & v[(5 - i) & 7]) ^ (~e & v[(6 - i) & 7]), majority = (a & b) ^ (a & c) ^ (b & c);
            const uint32_t sum = v[(7 - i) & 7] + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) + choice + k[i] + w[i];
            v[(3 - i) & 7] += sum;
            v[(7 - i) & 7] = sum + (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) + majority;
        }
    for (int i = 0; i < 8; i++)
        state[i] += v[i];
}

#if defined(__x86_64__)
/* Two rounds take the state as ABEF and CDGH, and the sum of words and constants. */
__attribute__((target("sha,sse4.1"))) static void add_fast(uint32_t *state, const uint8_t *data, size_t blocks)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    const __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)state), 0xb1);
    const __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)(state + 4)), 0x1b);
    __m128i abef = _mm_alignr_epi8(low, high, 8), cdgh = _mm_blend_epi16(high, low, 0xf0);
    for (size_t b = 0; b < blocks; b++) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i word[4];
        for (int i = 0; i < 4; i++)
            word[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(data + 64 * b) + i), swap);
        for (int i = 0; i < 16; i++) {
            const __m128i four = word[i & 3];
            __m128i sum = _mm_add_epi32(four, _mm_loadu_si128((const __m128i *)(const void *)(constant + 4 * i)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            sum = _mm_shuffle_epi32(sum, 0x0e);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, sum);
            const __m128i last = word[(i + 3) & 3], seventh = _mm_alignr_epi8(last, word[(i + 2) & 3], 4);
            const __m128i begun = _mm_add_epi32(_mm_sha256msg1_epu32(four, word[(i + 1) & 3]), seventh);
            word[i & 3] = _mm_sha256msg2_epu32(begun, last);
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    const __m128i feba = _mm_shuffle_epi32(abef, 0x1b), dchg = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

static int has_instructions(void)
{
    unsigned a, b, c, d;
    return __builtin_cpu_supports("sse4.1") && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 29 & 1);
}
#endif

static void add_blocks(struct dpc_sha256 *sum, const uint8_t *data, size_t blocks)
{
#if defined(__x86_64__)
    if (sum->fast) {
        add_fast(sum->state, data, blocks);
        return;
    }
#endif
    for (size_t b = 0; b < blocks; b++)
        add_block(sum->state, data + 64 * b);
}

void dpc_sha256_begin(struct dpc_sha256 *sum)
{
    *sum = (struct dpc_sha256){.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
#if defined(__x86_64__)
    sum->fast = has_instructions();
#endif
}

void dpc_sha256_add(struct dpc_sha256 *sum, const void *data, size_t size)
{
    const uint8_t *at = data;
    const size_t held = sum->bytes % 64, room = 64 - held;
    sum->bytes += size;
    if (held + size < 64) {
        if (size > 0)
            memcpy(sum->block + held, at, size);
        return;
    }
    memcpy(sum->block + held, at, room);
    add_blocks(sum, sum->block, 1);
    at += room;
    size -= room;
    add_blocks(sum, at, size / 64);
    memcpy(sum->block, at + size / 64 * 64, size % 64);
}

void dpc_sha256_end(struct dpc_sha256 *sum, char hex[DPC_SHA256_HEX + 1])
{
    static const uint8_t padding[64] = {0x80};
    const uint64_t bits = sum->bytes * 8;
    uint8_t length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)(bits >> (56 - 8 * i));
    dpc_sha256_add(sum, padding, 64 - (sum->bytes + 8) % 64);
    dpc_sha256_add(sum, length, 8);
    for (int i = 0; i < DPC_SHA256_HEX; i++)
        hex[i] = "0123456789abcdef"[sum->state[i / 8] >> (28 - 4 * (i % 8)) & 15];
    hex[DPC_SHA256_HEX] = '\0';
}
