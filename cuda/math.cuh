// math.cuh - the arithmetic of one neighbour (ccore/src/math.inc), in double and in float
//
// Both have the same names, each in a namespace of its own where the arguments find them:
//     Place<T> at;
//     locate(grid, &x, &at);
#pragma once
#include "runtime.h"
#include <cmath>
extern "C" {
#include "model.h"
}

#define mask bool
#define SELECT(m, a, b) ((m) ? (a) : (b))
#define WIDTH 1
#define LANE(x, l) (x)
#define MATH(x) x
#define HD __host__ __device__ inline

namespace dpc {

namespace f64 {
#define num double
#define SPLAT(x) (x)
#define TRUNC(x) ::trunc(x)
#define SQRT(x) ::sqrt(x)
#include "math.inc"
#undef num
#undef SPLAT
#undef TRUNC
#undef SQRT
} // namespace f64

namespace f32 {
#define num float
#define SPLAT(x) ((float)(x))
#define TRUNC(x) ::truncf(x)
#define SQRT(x) ::sqrtf(x)
#include "math.inc"
#undef num
#undef SPLAT
#undef TRUNC
#undef SQRT
} // namespace f32

template <typename T> struct Arithmetic;
template <> struct Arithmetic<double> {
    using Place = f64::place;
    using Radial = f64::radial;
};
template <> struct Arithmetic<float> {
    using Place = f32::place;
    using Radial = f32::radial;
};
template <typename T> using Place = typename Arithmetic<T>::Place;
template <typename T> using Radial = typename Arithmetic<T>::Radial;

} // namespace dpc

#undef mask
#undef SELECT
#undef WIDTH
#undef LANE
#undef MATH
#undef HD
