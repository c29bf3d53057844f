/* kernels.c - instantiate the numeric files for every (precision, instruction set), and choose */
#include "kernels.h"

#include <math.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define DPC_STR2(x) #x
#define DPC_STR(x) DPC_STR2(x)

/* On x86-64 base is SSE2; on aarch64 it is NEON, whose registers are as wide. */
#define ISA base
#define ISA_ENUM BASE
#define VBYTES 16
#define TARGET
#if defined(__x86_64__)
#define SQRT_f32(x) ((vec_f32_base)_mm_sqrt_ps((__m128)(x)))
#define SQRT_f64(x) ((vec_f64_base)_mm_sqrt_pd((__m128d)(x)))
#elif defined(__aarch64__)
#define SQRT_f32(x) ((vec_f32_base)vsqrtq_f32((float32x4_t)(x)))
#define SQRT_f64(x) ((vec_f64_base)vsqrtq_f64((float64x2_t)(x)))
#else
#define SQRT_f32(x) ((vec_f32_base){sqrtf((x)[0]), sqrtf((x)[1]), sqrtf((x)[2]), sqrtf((x)[3])})
#define SQRT_f64(x) ((vec_f64_base){sqrt((x)[0]), sqrt((x)[1])})
#endif
#include "instance.inc"

#if defined(__x86_64__)
#define ISA avx2
#define ISA_ENUM AVX2
#define VBYTES 32
#define TARGET __attribute__((target("avx2,fma")))
#define SQRT_f32(x) ((vec_f32_avx2)_mm256_sqrt_ps((__m256)(x)))
#define SQRT_f64(x) ((vec_f64_avx2)_mm256_sqrt_pd((__m256d)(x)))
#include "instance.inc"

#define ISA avx512
#define ISA_ENUM AVX512
#define VBYTES 64
#define TARGET __attribute__((target("avx512f,avx512dq,avx512vl,fma")))
#define SQRT_f32(x) ((vec_f32_avx512)_mm512_sqrt_ps((__m512)(x)))
#define SQRT_f64(x) ((vec_f64_avx512)_mm512_sqrt_pd((__m512d)(x)))
#include "instance.inc"

static int runs(dpc_isa isa)
{
    switch (isa) {
    case DPC_ISA_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl");
    case DPC_ISA_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    default:
        return 1;
    }
}
#else
static int runs(dpc_isa isa)
{
    return isa == DPC_ISA_BASE;
}
#endif

/* Best first; by dpc_precision - 1. */
static const struct dpc_kernels *const kernels[][3] = {
#if defined(__x86_64__)
    {&kernels_float32_avx512, &kernels_float64_avx512, &kernels_mixed_avx512},
    {&kernels_float32_avx2, &kernels_float64_avx2, &kernels_mixed_avx2},
#endif
    {&kernels_float32_base, &kernels_float64_base, &kernels_mixed_base},
};

const struct dpc_kernels *dpc_select(dpc_precision precision, dpc_isa isa)
{
    for (size_t i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++) {
        const struct dpc_kernels *k = kernels[i][precision - 1];
        if ((isa == DPC_ISA_AUTO || isa == k->isa) && runs(k->isa))
            return k;
    }
    return NULL;
}

const char *dpc_isa_name(dpc_isa isa)
{
    const struct dpc_kernels *k = dpc_select(DPC_FLOAT64, isa);
    return k ? k->name : NULL;
}
