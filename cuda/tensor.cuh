// tensor.cuh - a warp's product of doubles by the device's matrix instructions, which round as a chain of multiply-adds
//
// Fragments as the instruction set has them (PTX ISA, mma.m8n8k4 and m16n8k8): with g = lane / 4 and t = lane % 4, a
// lane has a(g, t) of 8 rows and 4 terms, b(t, g) of 4 terms and 8 columns, and sums (g, 2 t) and (g, 2 t + 1). On the
// host a lane makes its sums alone.
#pragma once
#include "warp.cuh"

namespace dpc {

#if defined(DPC_CUDA_ON_HOST)
enum { TENSOR = DPC_WARP == 32 };
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
enum { TENSOR = 1 };
#else
enum { TENSOR = 0 };
#endif

// Sums of TALL x WIDE blocks of 8 x 8, 8 terms more: left [8][left_ld] of the rows, right [8][right_ld] of the columns.
template <int TALL, int WIDE>
__device__ inline void multiply_blocks(double (&sum)[TALL][WIDE][2], const double *left, int left_ld,
                                       const double *right, int right_ld)
{
    const int g = lane_of() / 4, t = lane_of() % 4;
#if defined(DPC_CUDA_ON_HOST)
    for (int k = 0; k < 8; k++)
        for (int i = 0; i < TALL; i++)
            for (int j = 0; j < WIDE; j++)
                for (int v = 0; v < 2; v++)
                    sum[i][j][v] += left[k * left_ld + 8 * i + g] * right[k * right_ld + 8 * j + 2 * t + v];
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    double a[2][TALL], b[2][WIDE]; // of terms t and t + 4
#pragma unroll
    for (int h = 0; h < 2; h++) {
#pragma unroll
        for (int i = 0; i < TALL; i++)
            a[h][i] = left[(4 * h + t) * left_ld + 8 * i + g];
#pragma unroll
        for (int j = 0; j < WIDE; j++)
            b[h][j] = right[(4 * h + t) * right_ld + 8 * j + g];
    }
#pragma unroll
    for (int i = 0; i < TALL; i += 2)
#pragma unroll
        for (int j = 0; j < WIDE; j++) {
            double *low = sum[i][j], *high = sum[i + 1][j];
#if __CUDA_ARCH__ >= 900 && __CUDA_ARCH__ < 1000
            asm("mma.sync.aligned.m16n8k8.row.col.f64.f64.f64.f64 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                "{%0, %1, %2, %3};"
                : "+d"(low[0]), "+d"(low[1]), "+d"(high[0]), "+d"(high[1])
                : "d"(a[0][i]), "d"(a[0][i + 1]), "d"(a[1][i]), "d"(a[1][i + 1]), "d"(b[0][j]), "d"(b[1][j]));
#else
#pragma unroll
            for (int h = 0; h < 2; h++) {
                asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
                    : "+d"(low[0]), "+d"(low[1])
                    : "d"(a[h][i]), "d"(b[h][j]));
                asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
                    : "+d"(high[0]), "+d"(high[1])
                    : "d"(a[h][i + 1]), "d"(b[h][j]));
            }
#endif
        }
#endif
}

} // namespace dpc
