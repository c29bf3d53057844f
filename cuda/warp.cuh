// warp.cuh - what the lanes of a warp do together; right for a warp of one lane too
#pragma once
#include "runtime.h"

namespace dpc {

constexpr unsigned EVERY_LANE = 0xffffffffu;

__device__ inline int lane_of() { return (int)threadIdx.x % DPC_WARP; }
__device__ inline int warp_of() { return (int)threadIdx.x / DPC_WARP; }
// The row that this warp works on, of blocks of WARPS warps.
__device__ inline int row_of() { return (int)(blockIdx.x * WARPS) + warp_of(); }

// This thread, of blocks of THREADS, where each has work of its own.
__device__ inline int64_t thread_of() { return (int64_t)blockIdx.x * THREADS + threadIdx.x; }

// Writes of the warp's lanes before are seen by all of them after.
__device__ inline void sync_warp() { __syncwarp(); }

// The sum over the lanes, in every lane, always in the same order.
template <typename T> __device__ inline T warp_sum(T x)
{
    for (int step = DPC_WARP / 2; step > 0; step /= 2)
        x += __shfl_xor_sync(EVERY_LANE, x, step);
    return x;
}

template <typename T> __device__ inline T warp_max(T x)
{
    for (int step = DPC_WARP / 2; step > 0; step /= 2) {
        const T other = __shfl_xor_sync(EVERY_LANE, x, step);
        x = other > x ? other : x;
    }
    return x;
}

// Lane `from`'s x, in every lane.
template <typename T> __device__ inline T warp_get(T x, int from) { return __shfl_sync(EVERY_LANE, x, from); }

// A bit for each lane where `yes`.
__device__ inline unsigned warp_vote(bool yes) { return __ballot_sync(EVERY_LANE, yes); }

// How many of the lanes before this one voted for it.
__device__ inline int before_me(unsigned vote) { return __popc(vote & ((1u << lane_of()) - 1)); }

} // namespace dpc
