// sorting.cuh - running sums and sorted numbers, the same whatever the order in which threads come
#pragma once
#include "stages.h"
#include "warp.cuh"
#include <algorithm>

namespace dpc {

// A warp sorts x [n], ascending: runs of one, two, four, ... are merged, first from their ends to the middle, then by
// halves.
template <typename T> __device__ void sort_warp(T *x, int64_t n)
{
    for (int64_t run = 1; run < n; run *= 2)
        for (int64_t step = run; step > 0; step /= 2) {
            for (int64_t i = lane_of(); i < n; i += DPC_WARP) {
                const int64_t begin = i / (2 * step) * (2 * step), at = i - begin;
                const int64_t other = step == run ? begin + 2 * run - 1 - at : i + step;
                if (at < step && other < n && x[other] < x[i]) {
                    const T larger = x[i];
                    x[i] = x[other];
                    x[other] = larger;
                }
            }
            sync_warp();
        }
}

// The sum over the lanes before this one.
template <typename T> __device__ T sum_before(T x)
{
    T sum = x;
    for (int step = 1; step < DPC_WARP; step *= 2) {
        const T other = warp_get(sum, lane_of() - step);
        sum += lane_of() >= step ? other : 0;
    }
    return sum - x;
}

// Shares of a number of things, one to a warp: its begin..end; more shares where there is more to share.
enum { MOST_PARTS = FORCE_PARTIALS, LEAST_OF_PART = 512 };

struct Parts {
    int64_t all;
    int count;
    explicit Parts(int64_t n) : all(n), count((int)std::min<int64_t>(n / LEAST_OF_PART + 1, MOST_PARTS)) {}
    __device__ int64_t begin(int part) const { return all * part / count; }
    __device__ int64_t end(int part) const { return begin(part + 1); }
};

template <typename T> __global__ void __launch_bounds__(THREADS) sum_parts(const Parts parts, const T *x, T *sums)
{
    const int part = row_of();
    if (part >= parts.count)
        return;
    T sum = 0;
    for (int64_t i = parts.begin(part) + lane_of(); i < parts.end(part); i += DPC_WARP)
        sum += x[i];
    sum = warp_sum(sum);
    if (lane_of() == 0)
        sums[part] = sum;
}

template <typename T> __global__ void __launch_bounds__(THREADS) scan_parts(const Parts parts, T *x, const T *sums)
{
    const int part = row_of();
    if (part >= parts.count)
        return;
    T before = 0;
    for (int i = lane_of(); i < part; i += DPC_WARP)
        before += sums[i];
    before = warp_sum(before);
    const int64_t end = parts.end(part);
    for (int64_t i = parts.begin(part); i < end; i += DPC_WARP) {
        const int64_t mine = i + lane_of();
        const T value = mine < end ? x[mine] : 0, here = before + sum_before(value);
        if (mine < end)
            x[mine] = here;
        before = warp_get(here + value, DPC_WARP - 1);
    }
    if (end == parts.all && lane_of() == 0)
        x[end] = before;
}

// Each of x [n] becomes the sum of those before it, x[n] that of all; sums: [MOST_PARTS] scratch.
template <typename T> dpc_status scan(int64_t n, T *x, T *sums, Stream stream, dpc_error *err)
{
    const Parts parts(n);
    DPC_TRY(launch(sum_parts<T>, warp_blocks((size_t)parts.count), THREADS, 0, stream, err, parts, x, sums));
    return launch(scan_parts<T>, warp_blocks((size_t)parts.count), THREADS, 0, stream, err, parts, x, sums);
}

} // namespace dpc
