// gemm.cuh - products of a net: tiles through shared memory, sums in registers, and what follows them fused
//
// sum(row, column) = sum over k of left(row, k) right(column, k). Where the operands come from and where the sums go
// is said by functors, so that a factor, an activation or a skip connection costs no pass over memory of its own.
#pragma once
#include "stages.h"
#include "tensor.cuh"
#include <type_traits>

namespace dpc {

// A block makes ROWS x COLUMNS sums, DEPTH terms at a time; a thread TALL x WIDE of them.
template <typename real> struct Tile;
#if DPC_WARP == 1
template <typename real> struct Tile { // one thread
    enum { ROWS = 16, COLUMNS = 32, DEPTH = 8, TALL = ROWS, WIDE = COLUMNS };
};
#else
template <> struct Tile<double> {
    enum { ROWS = 64, COLUMNS = 64, DEPTH = 8, TALL = 8, WIDE = 4 };
};
template <> struct Tile<float> {
    enum { ROWS = 128, COLUMNS = 64, DEPTH = 8, TALL = 8, WIDE = 8 };
};
#endif

template <typename real> struct Blocking : Tile<real> {
    using T = Tile<real>;
    enum {
        PACK = 16 / sizeof(real), // numbers that are read from shared memory at once
        DOWN = T::ROWS / T::TALL,
        ACROSS = T::COLUMNS / T::WIDE,
        THREADS = DOWN * ACROSS,
        GAP = 4, // between terms, so that these lie in different banks
        LEFT_LD = T::ROWS + GAP,
        RIGHT_LD = T::COLUMNS + GAP,
        LEFT = T::DEPTH * LEFT_LD,
        RIGHT = T::DEPTH * RIGHT_LD,
        STAGE = LEFT + RIGHT,
        SUMS = T::ROWS * T::COLUMNS,
        SHARED = 2 * STAGE > SUMS ? 2 * STAGE : SUMS,
    };
};

// Number i of thread `t` of `threads` along an axis: neighbouring threads read neighbouring packs.
template <int PACK> __device__ inline int own(int i, int t, int threads)
{
    return i / PACK * PACK * threads + t * PACK + i % PACK;
}

// An operand's tile, EXTENT rows of DEPTH terms, on its way from memory to shared memory.
template <typename real, int EXTENT> struct Slab {
    using B = Blocking<real>;
    enum { EACH = EXTENT * B::DEPTH / B::THREADS, LD = EXTENT + B::GAP };
    real value[EACH];

    // Neighbouring threads take neighbouring terms, or rows, as these lie in memory.
    template <bool TERMS> static __device__ void place(int e, int *at, int *k)
    {
        const int i = (int)threadIdx.x + e * B::THREADS;
        *at = TERMS ? i / B::DEPTH : i % EXTENT;
        *k = TERMS ? i % B::DEPTH : i / EXTENT;
    }

    template <typename Source> __device__ void fetch(const Source &from, int first, int extent, int k0, int depth)
    {
        DPC_UNROLL
        for (int e = 0; e < EACH; e++) {
            int at, k;
            place<Source::TERMS>(e, &at, &k);
            value[e] = first + at < extent && k0 + k < depth ? from(first + at, k0 + k) : (real)0;
        }
    }

    template <typename Source> __device__ void keep(real *shared) const
    {
        DPC_UNROLL
        for (int e = 0; e < EACH; e++) {
            int at, k;
            place<Source::TERMS>(e, &at, &k);
            shared[k * LD + at] = value[e];
        }
    }
};

// A thread's sums.
template <typename real> struct Sums {
    using B = Blocking<real>;
    struct alignas(16) Pack {
        real value[B::PACK];
    };
    real sum[B::TALL][B::WIDE];

    template <int COUNT> static __device__ void read(const real *from, int t, int threads, real *to)
    {
        DPC_UNROLL
        for (int i = 0; i < COUNT; i += B::PACK) {
            const Pack pack = *reinterpret_cast<const Pack *>(from + own<B::PACK>(i, t, threads));
            DPC_UNROLL
            for (int v = 0; v < B::PACK; v++)
                to[i + v] = pack.value[v];
        }
    }

    __device__ void add(const real *left, const real *right)
    {
        const int across = (int)threadIdx.x % B::ACROSS, down = (int)threadIdx.x / B::ACROSS;
        DPC_UNROLL
        for (int k = 0; k < B::DEPTH; k++) {
            real a[B::TALL], b[B::WIDE];
            read<B::TALL>(left + k * B::LEFT_LD, down, B::DOWN, a);
            read<B::WIDE>(right + k * B::RIGHT_LD, across, B::ACROSS, b);
            DPC_UNROLL
            for (int i = 0; i < B::TALL; i++)
                DPC_UNROLL
                for (int j = 0; j < B::WIDE; j++)
                    sum[i][j] += a[i] * b[j];
        }
    }

    __device__ void write(real *to) const // [ROWS][COLUMNS]
    {
        const int across = (int)threadIdx.x % B::ACROSS, down = (int)threadIdx.x / B::ACROSS;
        DPC_UNROLL
        for (int i = 0; i < B::TALL; i++)
            DPC_UNROLL
            for (int j = 0; j < B::WIDE; j++)
                to[own<B::PACK>(i, down, B::DOWN) * B::COLUMNS + own<B::PACK>(j, across, B::ACROSS)] = sum[i][j];
    }
};

// The same where there are instructions for it: a warp has blocks of 8 x 8 sums.
struct BlockSums {
    using B = Blocking<double>;
    enum { TALL = 4, WIDE = 4, ACROSS = B::COLUMNS / (8 * WIDE) };
    double sum[TALL][WIDE][2];

    static __device__ int row() { return warp_of() / ACROSS * 8 * TALL; }
    static __device__ int column() { return warp_of() % ACROSS * 8 * WIDE; }

    __device__ void add(const double *left, const double *right)
    {
        multiply_blocks(sum, left + row(), B::LEFT_LD, right + column(), B::RIGHT_LD);
    }

    __device__ void write(double *to) const // [ROWS][COLUMNS]
    {
        to += (row() + lane_of() / 4) * B::COLUMNS + column() + lane_of() % 4 * 2;
        DPC_UNROLL
        for (int i = 0; i < TALL; i++)
            DPC_UNROLL
            for (int j = 0; j < WIDE; j++)
                DPC_UNROLL
                for (int v = 0; v < 2; v++)
                    to[8 * i * B::COLUMNS + 8 * j + v] = sum[i][j][v];
    }
};

template <typename real, typename Left, typename Right, typename Finish>
__global__ void __launch_bounds__(Blocking<real>::THREADS, 2)
multiply(const Group group, const int columns, const int depth, const Left left, const Right right, const Finish finish)
{
    using B = Blocking<real>;
    DPC_SHARED(real, shared);
    const int across = (columns + B::COLUMNS - 1) / B::COLUMNS, rows = rows_of(group);
    const int row0 = (int)blockIdx.x / across * B::ROWS, column0 = (int)blockIdx.x % across * B::COLUMNS;
    if (row0 >= rows)
        return;
    Slab<real, B::ROWS> a;
    Slab<real, B::COLUMNS> b;
    std::conditional_t<TENSOR && std::is_same<real, double>::value, BlockSums, Sums<real>> sums = {};
    a.fetch(left, row0, rows, 0, depth);
    b.fetch(right, column0, columns, 0, depth);
    for (int k0 = 0, stage = 0; k0 < depth; k0 += B::DEPTH, stage = B::STAGE - stage) {
        a.template keep<Left>(shared + stage);
        b.template keep<Right>(shared + stage + B::LEFT);
        __syncthreads();
        if (k0 + B::DEPTH < depth) { // on their way while the sums are made
            a.fetch(left, row0, rows, k0 + B::DEPTH, depth);
            b.fetch(right, column0, columns, k0 + B::DEPTH, depth);
        }
        sums.add(shared + stage, shared + stage + B::LEFT);
    }
    __syncthreads();
    sums.write(shared);
    __syncthreads();
    for (int i = (int)threadIdx.x; i < B::SUMS; i += B::THREADS) {
        const int row = row0 + i / B::COLUMNS, column = column0 + i % B::COLUMNS;
        if (row < rows && column < columns)
            finish(row, column, shared[i]);
    }
}

// At most group.most rows; `finish` is called once for each sum.
template <typename real, typename Left, typename Right, typename Finish>
dpc_status launch_multiply(const Group &group, int columns, int depth, const Left &left, const Right &right,
                           const Finish &finish, Stream stream, dpc_error *err)
{
    using B = Blocking<real>;
    const size_t down = ((size_t)group.most + B::ROWS - 1) / B::ROWS;
    const size_t across = ((size_t)columns + B::COLUMNS - 1) / B::COLUMNS;
    return launch(multiply<real, Left, Right, Finish>, down * across, B::THREADS, B::SHARED * sizeof(real), stream, err,
                  group, columns, depth, left, right, finish);
}

} // namespace dpc
