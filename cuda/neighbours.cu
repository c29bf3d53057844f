// neighbours.cu - neighbour lists by linked cells on a device: those of ccore/src/list.c, in its order
#include "dpc_cuda.h"
#include "memory.h"
#include "sorting.cuh"
#include <cmath>
#include <new>
extern "C" {
#include "bins.h"
}

// Made on one device; `start` and what follows are scratch.
struct dpc_cuda_list {
    int device = 0;
    size_t atoms = 0;
    dpc_bins bins = {};
    dpc::Array<int64_t> first;
    dpc::Array<int32_t> index, shift;
    dpc::Array<int64_t> start, sums;
    dpc::Array<int32_t> own, wrapped, order, taken, lost;
    dpc::Array<double> place, bounds;
};

namespace dpc {

namespace {

// The atoms in their bins, in the order of these.
struct Binned {
    int atoms;
    const int64_t *start;              // [bins + 1] in `order`
    const int32_t *order;              // [atoms] by bin, then by number
    const int32_t *own, *wrapped;      // [atoms][3] bin, and which image is inside the cell
    const double *place;               // [atoms][3] inside the cell, by number
};

// Lower and upper bounds of shares of the atoms: [parts][2][3].
__global__ void __launch_bounds__(THREADS) bound(const Parts parts, const double *position, double *bounds)
{
    const int part = row_of();
    if (part >= parts.count)
        return;
    double low[3] = {INFINITY, INFINITY, INFINITY}, high[3] = {INFINITY, INFINITY, INFINITY}; // high: of -position
    for (int64_t i = parts.begin(part) + lane_of(); i < parts.end(part); i += DPC_WARP)
        for (int a = 0; a < 3; a++) {
            low[a] = fmin(low[a], position[3 * i + a]);
            high[a] = fmin(high[a], -position[3 * i + a]);
        }
    for (int a = 0; a < 3; a++) {
        bounds[6 * part + a] = -warp_max(-low[a]);
        bounds[6 * part + 3 + a] = warp_max(-high[a]);
    }
}

// Each atom's bin, counted; lost: the smallest number of those that have none.
__global__ void __launch_bounds__(THREADS) find_bins(const dpc_bins bins, const int atoms, const double *position,
                                                     int32_t *own, int32_t *wrapped, double *place,
                                                     unsigned long long *count, int32_t *lost)
{
    const int i = (int)thread_of();
    if (i >= atoms)
        return;
    int32_t *mine = own + 3 * i, *image = wrapped + 3 * i;
    if (!dpc_bins_find(&bins, position + 3 * i, mine, image)) {
        atomicMin(lost, i);
        for (int a = 0; a < 3; a++)
            mine[a] = image[a] = 0;
    }
    for (int a = 0; a < 3; a++)
        place[3 * i + a] = dpc_bins_place(&bins, position + 3 * i, image, a);
    atomicAdd(&count[dpc_bins_number(&bins, mine)], 1ull);
}

// Atoms to their bins, in whatever order.
__global__ void __launch_bounds__(THREADS) fill_bins(const dpc_bins bins, const Binned in, int32_t *order,
                                                     int32_t *taken)
{
    const int i = (int)thread_of();
    if (i >= in.atoms)
        return;
    const size_t bin = dpc_bins_number(&bins, in.own + 3 * i);
    order[in.start[bin] + atomicAdd(&taken[bin], 1)] = i;
}

__global__ void __launch_bounds__(THREADS) sort_bins(const int64_t bins, const int64_t *start, int32_t *order)
{
    const int64_t bin = row_of();
    if (bin < bins)
        sort_warp(order + start[bin], start[bin + 1] - start[bin]);
}

// Neighbours of an atom, which a warp looks for: how many, to count[atom]; or they themselves, from first[atom] on.
__global__ void __launch_bounds__(THREADS) search(const dpc_bins bins, const Binned in, const double cutoff2,
                                                  int64_t *count, const int64_t *first, int32_t *index, int32_t *shift)
{
    const int row = row_of();
    if (row >= in.atoms)
        return;
    const int i = in.order[row];
    const int32_t *own = in.own + 3 * i, *wrapped = in.wrapped + 3 * i;
    int64_t at = first != nullptr ? first[i] : 0;
    dpc_stretch run;
    dpc_stretch_begin(&bins, own, &run);
    while (dpc_stretch_next(&bins, own, &run)) {
        const bool home = (run.image[0] | run.image[1] | run.image[2]) == 0;
        double from[3];
        dpc_stretch_seen(&bins, &run, in.place + 3 * i, from);
        const int64_t end = in.start[run.first + (size_t)run.count];
        for (int64_t k0 = in.start[run.first]; k0 < end; k0 += DPC_WARP) {
            const int64_t k = k0 + lane_of();
            const int j = k < end ? in.order[k] : -1;
            bool near = j >= 0 && !(home && j == i);
            if (near) {
                const double *there = in.place + 3 * j;
                const double dx = there[0] - from[0], dy = there[1] - from[1], dz = there[2] - from[2];
                near = dx * dx + dy * dy + dz * dz < cutoff2;
            }
            const unsigned vote = warp_vote(near);
            if (near && first != nullptr) {
                const int64_t to = at + before_me(vote);
                index[to] = j;
                for (int a = 0; a < 3; a++)
                    shift[3 * to + a] = run.image[a] + wrapped[a] - in.wrapped[3 * j + a];
            }
            at += __popc(vote);
        }
    }
    if (first == nullptr && lane_of() == 0)
        count[i] = at;
}

// The cell's bins, or those of a box around the atoms, for which the host must know where they are.
dpc_status set_bins(dpc_cuda_list *l, const double *position, const double *cell, double cutoff, Stream stream,
                    dpc_error *err)
{
    double low[3] = {INFINITY, INFINITY, INFINITY}, high[3] = {-INFINITY, -INFINITY, -INFINITY};
    bool open = true;
    for (int i = 0; cell != nullptr && i < 9; i++)
        open &= cell[i] == 0;
    if (open && l->atoms > 0) {
        const Parts parts((int64_t)l->atoms);
        std::vector<double> bounds(6 * (size_t)parts.count);
        DPC_TRY(l->bounds.reserve(bounds.size(), err));
        DPC_TRY(launch(bound, warp_blocks((size_t)parts.count), THREADS, 0, stream, err, parts, position,
                       l->bounds.data()));
        DPC_TRY(copy(bounds.data(), l->bounds.data(), bounds.size(), stream, err));
        DPC_CUDA_TRY(cudaStreamSynchronize(stream), "bounds of the atoms");
        for (int part = 0; part < parts.count; part++)
            for (int a = 0; a < 3; a++) {
                low[a] = std::fmin(low[a], bounds[6 * part + a]);
                high[a] = std::fmax(high[a], bounds[6 * part + 3 + a]);
            }
    }
    return dpc_bins_set(&l->bins, l->atoms, cell, low, high, cutoff, err);
}

// Counts the atoms of each bin, and numbers the places in them.
dpc_status count_bins(dpc_cuda_list *l, const double *position, Stream stream, dpc_error *err)
{
    const size_t n = l->atoms, bins = dpc_bins_all(&l->bins);
    DPC_TRY(l->first.reserve(n + 1, err));
    DPC_TRY(l->sums.reserve(MOST_PARTS, err));
    DPC_TRY(l->start.reserve(bins + 1, err));
    DPC_TRY(l->taken.reserve(bins, err));
    DPC_TRY(l->lost.reserve(1, err));
    DPC_TRY(l->order.reserve(n, err));
    DPC_TRY(l->own.reserve(3 * n, err));
    DPC_TRY(l->wrapped.reserve(3 * n, err));
    DPC_TRY(l->place.reserve(3 * n, err));
    DPC_TRY(fill(l->start.data(), 0, bins * sizeof(int64_t), stream, err));
    DPC_TRY(fill(l->taken.data(), 0, bins * sizeof(int32_t), stream, err));
    DPC_TRY(fill(l->lost.data(), 0x7f, sizeof(int32_t), stream, err)); // more than there can be atoms
    DPC_TRY(launch(find_bins, thread_blocks(n), THREADS, 0, stream, err, l->bins, (int)n, position, l->own.data(),
                   l->wrapped.data(), l->place.data(), (unsigned long long *)l->start.data(), l->lost.data()));
    return scan((int64_t)bins, l->start.data(), l->sums.data(), stream, err);
}

dpc_status build(dpc_cuda_list *l, const double *position, const double *cell, double cutoff, Stream stream,
                 dpc_error *err)
{
    const size_t n = l->atoms, warps = warp_blocks(n);
    int64_t pairs = 0;
    int32_t lost = 0;
    DPC_TRY(set_bins(l, position, cell, cutoff, stream, err));
    DPC_TRY(count_bins(l, position, stream, err));
    const size_t bins = dpc_bins_all(&l->bins);
    const Binned in = {(int)n, l->start.data(), l->order.data(), l->own.data(), l->wrapped.data(), l->place.data()};
    const double cutoff2 = cutoff * cutoff;
    DPC_TRY(launch(fill_bins, thread_blocks(n), THREADS, 0, stream, err, l->bins, in, l->order.data(),
                   l->taken.data()));
    DPC_TRY(launch(sort_bins, warp_blocks(bins), THREADS, 0, stream, err, (int64_t)bins, in.start, l->order.data()));
    DPC_TRY(launch(search, warps, THREADS, 0, stream, err, l->bins, in, cutoff2, l->first.data(), nullptr, nullptr,
                   nullptr));
    DPC_TRY(scan((int64_t)n, l->first.data(), l->sums.data(), stream, err));
    DPC_TRY(copy(&pairs, l->first.data() + n, 1, stream, err));
    DPC_TRY(copy(&lost, l->lost.data(), 1, stream, err));
    DPC_CUDA_TRY(cudaStreamSynchronize(stream), "search for neighbours");
    DPC_REQUIRE((size_t)lost >= n, "position of atom %d is not finite, or more than 1e9 cells away", (int)lost);
    DPC_REQUIRE(pairs <= DPC_MOST_PAIRS, "%lld pairs are more than one list can take: is the cutoff in angstrom?",
                (long long)pairs);
    DPC_TRY(l->index.reserve((size_t)pairs, err));
    DPC_TRY(l->shift.reserve(3 * (size_t)pairs, err));
    return launch(search, warps, THREADS, 0, stream, err, l->bins, in, cutoff2, nullptr, l->first.data(),
                  l->index.data(), l->shift.data());
}

} // namespace

} // namespace dpc

dpc_status dpc_cuda_list_create(dpc_cuda_list **list, dpc_error *err)
{
    DPC_REQUIRE(list != nullptr, "list must not be NULL");
    int device;
    DPC_CUDA_TRY(cudaGetDevice(&device), "the device of this thread");
    *list = new (std::nothrow) dpc_cuda_list;
    if (*list == nullptr)
        return dpc_fail(err, DPC_NO_MEMORY, "out of memory: no list");
    (*list)->device = device;
    return DPC_OK;
}

void dpc_cuda_list_free(dpc_cuda_list *list)
{
    dpc::OnDevice on;
    if (list != nullptr)
        on.enter(list->device, nullptr);
    delete list;
}

dpc_status dpc_cuda_list_build(dpc_cuda_list *list, size_t atoms, const double *position, const double *cell,
                               double cutoff, void *stream, dpc_error *err)
{
    DPC_REQUIRE(list != nullptr && (position != nullptr || atoms == 0), "list and position must not be NULL");
    DPC_REQUIRE(cutoff > 0 && std::isfinite(cutoff), "the cutoff must be positive, got %g", cutoff);
    DPC_REQUIRE(atoms < INT32_MAX / 4, "%zu atoms are more than one list can take", atoms);
    dpc::OnDevice on;
    DPC_TRY(on.enter(list->device, err));
    list->atoms = atoms;
    const dpc_status status = dpc::build(list, position, cell, cutoff, static_cast<dpc::Stream>(stream), err);
    if (status != DPC_OK)
        list->atoms = 0;
    return status;
}

void dpc_cuda_list_view(const dpc_cuda_list *list, dpc_neighbours *view)
{
    *view = {};
    view->centres = list->atoms;
    view->first = list->first.data();
    view->index = list->index.data();
    view->shift = list->bins.periodic ? list->shift.data() : nullptr;
    view->cell = list->bins.cell;
}
