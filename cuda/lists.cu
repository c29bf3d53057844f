// lists.cu - what is done once for a list: each centre's neighbours by type and distance, and the way back
//
// Order among neighbours of one type means nothing, but near ones first brings inputs of one interval of a table
// together, also when the atoms have moved a little.
#include "environment.cuh"
#include "sorting.cuh"

namespace dpc {
namespace {

// A neighbour as a number: type, distance (squared, the upper bits of a float), where it was in its list.
enum { TYPE_BITS = 12, PLACE_BITS = 25, DISTANCE_BITS = 63 - TYPE_BITS - PLACE_BITS };

__global__ void __launch_bounds__(THREADS) sort_neighbours(Atoms atoms, int types, List from, int64_t *key,
                                                           int32_t *index, int32_t *shift, int32_t *of_type,
                                                           int32_t *pair_centre)
{
    const int k = row_of();
    if (k >= atoms.centres)
        return;
    const int64_t first = from.first[k];
    const int n = (int)(from.first[k + 1] - first);
    key += first;
    for (int i = lane_of(); i < n; i += DPC_WARP) {
        const int t = atoms.type[from.index[first + i]];
        const float r = (float)distance(atoms, from, k, first + i), r2 = r * r;
        uint32_t bits;
        memcpy(&bits, &r2, sizeof(bits));
        key[i] = ((int64_t)(t < 0 ? types : t) << DISTANCE_BITS | bits >> (31 - DISTANCE_BITS)) << PLACE_BITS | i;
    }
    sync_warp();
    sort_warp(key, n);
    of_type += (size_t)k * (types + 1);
    for (int i = lane_of(); i <= n; i += DPC_WARP) { // types that begin at i, and those left out before
        const int before = i > 0 ? (int)(key[i - 1] >> (DISTANCE_BITS + PLACE_BITS)) : -1;
        const int here = i < n ? (int)(key[i] >> (DISTANCE_BITS + PLACE_BITS)) : types;
        for (int t = before + 1; t <= here; t++)
            of_type[t] = i;
    }
    for (int i = lane_of(); i < n; i += DPC_WARP) {
        const int64_t was = first + (key[i] & (((int64_t)1 << PLACE_BITS) - 1));
        index[first + i] = from.index[was];
        pair_centre[first + i] = k;
        for (int a = 0; shift != nullptr && a < 3; a++)
            shift[3 * (first + i) + a] = from.shift[3 * was + a];
    }
}

// ---- the way back: counts of each atom's places, where they begin, the places -----------------------------------------

__global__ void __launch_bounds__(THREADS) count_places(int64_t pairs, const int32_t *index, unsigned long long *count)
{
    const int64_t p = thread_of();
    if (p < pairs)
        atomicAdd(&count[index[p]], 1ull);
}

__global__ void __launch_bounds__(THREADS) fill_places(int64_t pairs, const int32_t *index, unsigned long long *end,
                                                       int64_t *back)
{
    const int64_t p = thread_of();
    if (p < pairs)
        back[atomicAdd(&end[index[p]], 1ull)] = p;
}

// Whatever the order in which they came.
__global__ void __launch_bounds__(THREADS) sort_places(int all, const int64_t *first, int64_t *back)
{
    const int i = row_of();
    if (i < all)
        sort_warp(back + first[i], first[i + 1] - first[i]);
}

} // namespace

dpc_status arrange(const Atoms &atoms, int types, const List &from, const List &to, int64_t *scratch, Stream stream,
                   dpc_error *err)
{
    DPC_REQUIRE(types < 1 << TYPE_BITS, "%d types are more than a device's lists can take", types);
    int64_t *const back = const_cast<int64_t *>(to.back), *const first = const_cast<int64_t *>(to.back_first);
    const size_t blocks = thread_blocks((size_t)from.pairs), n = (size_t)atoms.all + 1;
    unsigned long long *const counts = reinterpret_cast<unsigned long long *>(first);
    unsigned long long *const ends = reinterpret_cast<unsigned long long *>(scratch);
    DPC_TRY(launch(sort_neighbours, warp_blocks((size_t)atoms.centres), THREADS, 0, stream, err, atoms, types, from,
                   back, const_cast<int32_t *>(to.index), const_cast<int32_t *>(to.shift),
                   const_cast<int32_t *>(to.of_type), const_cast<int32_t *>(to.pair_centre)));
    DPC_CUDA_TRY(cudaMemsetAsync(first, 0, n * sizeof(*first), stream), "clearing counts");
    DPC_TRY(launch(count_places, blocks, THREADS, 0, stream, err, from.pairs, to.index, counts));
    DPC_TRY(scan(atoms.all, first, scratch + n, stream, err));
    DPC_CUDA_TRY(cudaMemcpyAsync(scratch, first, n * sizeof(*first), cudaMemcpyDeviceToDevice, stream), "copy of counts");
    DPC_TRY(launch(fill_places, blocks, THREADS, 0, stream, err, from.pairs, to.index, ends, back));
    return launch(sort_places, warp_blocks((size_t)atoms.all), THREADS, 0, stream, err, atoms.all, first, back);
}

} // namespace dpc
