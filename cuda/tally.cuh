// tally.cuh - where inputs of tables lie, counted by lanes and added up for all
#pragma once
#include "stages.h"
#include "warp.cuh"
#include <cmath>

namespace dpc {

// One lane's inputs of one table: how many there are, below it, in its first part or below, beyond it, and the one
// furthest outside.
template <typename ereal> struct Range {
    unsigned inputs = 0, below = 0, fine = 0, beyond = 0;
    double excess = 0, value = 0, distance = 0;

    // Whether x is further outside than all before: then the caller sets `distance`.
    __device__ bool count(const dpc_grid &grid, ereal x)
    {
        const bool low = x < (ereal)grid.lower, high = x >= (ereal)grid.max;
        const double outside = low ? grid.lower - (double)x : high ? (double)x - grid.max : 0;
        inputs++;
        below += low;
        fine += x < (ereal)grid.coarse_from && !high; // infinity where there is no second part
        beyond += high;
        if (!(outside > excess))
            return false;
        excess = outside;
        value = (double)x;
        return true;
    }
};

// worst [4] becomes what is given if that is further outside, or as far and of a smaller centre. Whoever looks takes
// worst[0] away until done; that is one lane of a warp, and rare.
__device__ inline void keep_worst(double *worst, double excess, double value, double centre, double distance)
{
    unsigned long long *hold = reinterpret_cast<unsigned long long *>(worst), bits;
    const unsigned long long taken = ~0ull; // not the bits of any excess
    do
        bits = atomicExch(hold, taken);
    while (bits == taken);
    __threadfence();
    volatile double *kept = worst;
    double before;
    memcpy(&before, &bits, sizeof(bits));
    if (excess > before || (excess == before && centre < kept[2])) {
        kept[1] = value;
        kept[2] = centre;
        kept[3] = distance;
        memcpy(&bits, &excess, sizeof(bits));
    }
    __threadfence();
    atomicExch(hold, bits);
}

// Adds what the lanes counted at a centre's atom to the counts of `table`, where they are wanted; gives how many inputs are not in its first
// part.
template <typename ereal>
__device__ unsigned add_counts(const Range<ereal> &lane, const Tally &tally, int table, int atom)
{
    const unsigned inputs = warp_sum(lane.inputs), below = warp_sum(lane.below), fine = warp_sum(lane.fine),
                   beyond = warp_sum(lane.beyond);
    const double excess = warp_max(lane.excess);
    if (tally.range == nullptr)
        return inputs - (fine - below);
    unsigned long long *range = tally.range[table];
    if (lane_of() == 0 && inputs > 0) {
        atomicAdd(&range[0], (unsigned long long)below);
        atomicAdd(&range[1], (unsigned long long)(fine - below));
        atomicAdd(&range[2], (unsigned long long)(inputs - fine - beyond));
        atomicAdd(&range[3], (unsigned long long)beyond);
    }
    if (excess > 0) {
        const bool mine = lane.excess == excess;
        const double distance = -warp_max(mine ? -lane.distance : -(double)INFINITY);
        const int from = __ffs((int)warp_vote(mine && lane.distance == distance)) - 1;
        const double value = warp_get(lane.value, from);
        if (lane_of() == 0)
            keep_worst(tally.worst[table], excess, value, atom, distance);
    }
    return inputs - (fine - below);
}

} // namespace dpc
