// activation.cuh - activations and their derivatives (ccore/src/activation.inc), in double and in float
#pragma once
#include "runtime.h"
#include <cmath>

#define SELECT(m, a, b) ((m) ? (a) : (b))
#define WIDTH 1
#define LANE(x, l) (x)
#define MATH(x) x
#define HD __host__ __device__ inline

namespace dpc {

// The same bits as another type.
template <typename To, typename From> __host__ __device__ inline To same_bits(From x)
{
    static_assert(sizeof(To) == sizeof(From), "of one size");
    To to;
    memcpy(&to, &x, sizeof(to));
    return to;
}

namespace f64 {
#define num double
#define real double
#define bits uint64_t
#define SPLAT(x) (x)
#define BITS_OF(x) same_bits<uint64_t>(x)
#define NUM_OF(x) same_bits<double>(x)
#include "activation.inc"
#undef num
#undef real
#undef bits
#undef SPLAT
#undef BITS_OF
#undef NUM_OF
} // namespace f64

namespace f32 {
#define num float
#define real float
#define bits uint32_t
#define SPLAT(x) ((float)(x))
#define BITS_OF(x) same_bits<uint32_t>(x)
#define NUM_OF(x) same_bits<float>(x)
#include "activation.inc"
#undef num
#undef real
#undef bits
#undef SPLAT
#undef BITS_OF
#undef NUM_OF
} // namespace f32

// activation(x), and its derivative by x
__device__ inline double activate(dpc_activation kind, double x, double *slope)
{
    return f64::activation(kind, x, slope);
}
__device__ inline float activate(dpc_activation kind, float x, float *slope)
{
    return f32::activation(kind, x, slope);
}

} // namespace dpc

#undef SELECT
#undef WIDTH
#undef LANE
#undef MATH
#undef HD
