// nodes.cuh - contraction in node space, one chunk of neighbours after the other: a warp's work
//
// X[c][m] = sum_j env[j][c] g_m(s_j) is linear in the nodes of g's table (ccore/src/contract.inc). A warp takes
// neighbours a lane each, sorts these chunks by interval, and makes weights of the nodes that they touch; then
// lanes are channels of one component of X. Backward, nodes get the gradients of their weights, each summed by the
// lanes of one component, and neighbours gather from their two nodes.
#pragma once
#include "math.cuh"
#include "stages.h"
#include "warp.cuh"

namespace dpc {

// Neighbours at a time; nodes that they touch at most, and whose weights there is room for at once.
enum { CHUNK = DPC_WARP, NODES = 2 * CHUNK, BATCH = CHUNK };

// How lanes share the channels of C components: a lane has VEC channels of every SPAN, of OWN components.
template <typename real, int C> struct Shares {
    enum {
        OWN = DPC_WARP < C ? C : 1,
        GROUP = DPC_WARP < C ? 1 : DPC_WARP / C,
        VEC = 16 / sizeof(real),
        SPAN = GROUP * VEC,
        MOST_STEPS = C == 1 ? 2 : 8 // vectors of a lane that stay in registers
    };
    static __device__ int component(int own) { return lane_of() / GROUP + own; }
    static __device__ int channel() { return lane_of() % GROUP * VEC; }
};

// What is read at once.
template <typename real> struct alignas(16) Vector {
    real of[16 / sizeof(real)];
};

template <typename real> __device__ inline Vector<real> read_vector(const real *from)
{
    const int4 bits = __ldg(reinterpret_cast<const int4 *>(from));
    Vector<real> value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

// A chunk, in shared memory.
template <typename real, int C> struct Room {
    alignas(16) real w[BATCH + 1][3][C]; // weights of nodes, or their gradients
    alignas(16) real env[CHUNK][C];      // of neighbours by interval
    real basis[6][CHUNK + 1];            // one more, so that rows begin in different banks
    int row[CHUNK];                      // ascending
    int node[NODES];
    unsigned from[NODES]; // neighbours [a, b) below a node, [b, c) above: a | b << 8 | c << 16
};

// Bits of lanes before i, and up to it.
__device__ inline unsigned before(int i) { return (1u << i) - 1; }
__device__ inline unsigned up_to(int i) { return (2u << i) - 1; }

// A chunk by interval: where runs of equal rows begin, and which end where the next is not of the next row, so that
// their second node is nobody's first.
struct Order {
    int rank; // of this lane's neighbour
    unsigned begins, ends;

    // The node below whoever is at i, among the chunk's.
    __device__ int node_of(int i) const { return __popc(begins & up_to(i)) - 1 + __popc(ends & before(i)); }
    __device__ int nodes() const { return __popc(begins) + __popc(ends); }
};

// Of n neighbours; lanes of others have whatever row.
template <typename Room> __device__ Order sort_rows(Room &room, int row, int n)
{
    const int lane = lane_of(), key = lane < n ? row * CHUNK + lane : INT32_MAX;
    Order order = {};
    room.row[lane] = key;
    sync_warp();
#pragma unroll 8
    for (int i = 0; i < CHUNK; i++)
        order.rank += room.row[i] < key;
    sync_warp();
    if (lane < n)
        room.row[order.rank] = row;
    sync_warp();
    const bool there = lane < n;
    const int here = there ? room.row[lane] : 0;
    order.begins = warp_vote(there && (lane == 0 || room.row[lane - 1] != here));
    order.ends = warp_vote(there && (lane + 1 == n || room.row[lane + 1] > here + 1));
    return order;
}

// Numbers of the nodes, and which neighbours they get weights from.
template <typename Room> __device__ void list_nodes(Room &room, const Order &order, int n)
{
    const int lane = lane_of();
    if (order.begins >> lane & 1) {
        const unsigned earlier = order.begins & before(lane), later = order.begins & ~up_to(lane);
        const int i = order.node_of(lane), end = later != 0 ? __ffs((int)later) - 1 : n;
        const bool joined = lane > 0 && !(order.ends >> (lane - 1) & 1);
        const int begin = joined ? 31 - __clz((int)earlier) : lane;
        room.node[i] = room.row[lane];
        room.from[i] = (unsigned)(begin | lane << 8 | end << 16);
    }
    if (order.ends >> lane & 1) {
        const int i = order.node_of(lane) + 1, begin = 31 - __clz((int)(order.begins & up_to(lane)));
        room.node[i] = room.row[lane] + 1;
        room.from[i] = (unsigned)(begin | (lane + 1) << 8 | (lane + 1) << 16);
    }
    sync_warp();
}

// Of node i weight p, [C]: the sum of basis p of neighbours above, p + 3 of those below, times env.
template <typename real, int C> __device__ void weigh_node(const Room<real, C> &room, int i, int p, real *weight)
{
    const unsigned from = room.from[i];
    real sum[C] = {0};
    for (int j = (int)(from & 255); j < (int)(from >> 16); j++) {
        const real b = room.basis[j < (int)(from >> 8 & 255) ? p + 3 : p][j];
        for (int c = 0; c < C; c++)
            sum[c] += b * room.env[j][c];
    }
    for (int c = 0; c < C; c++)
        weight[c] = sum[c];
}

// All weights of nodes `begin` to `end`.
template <typename real, int C> __device__ void weigh(Room<real, C> &room, int begin, int end)
{
    for (int item = lane_of(); item < 3 * (end - begin); item += DPC_WARP)
        weigh_node(room, begin + item / 3, item % 3, room.w[item / 3][item % 3]);
    sync_warp();
}

// ---- lanes are channels ---------------------------------------------------------------------------------------------

// A lane's numbers of X or of its gradient, from channel `column` on.
template <typename real, int C, int STEPS> struct Tile {
    using Share = Shares<real, C>;
    Vector<real> of[Share::OWN][STEPS];

    // Calls with each number of channels below `width`: f(number, component, channel).
    template <typename F> __device__ void each(int column, int width, F f)
    {
#pragma unroll
        for (int s = 0; s < STEPS; s++)
#pragma unroll
            for (int v = 0; v < Share::VEC; v++) {
                const int m = column + s * Share::SPAN + Share::channel() + v;
#pragma unroll
                for (int own = 0; own < Share::OWN; own++)
                    if (m < width)
                        f(of[own][s].of[v], Share::component(own), m);
            }
    }
};

// A lane's vectors of a node's three rows from channel `column` on; where there are none, any. Of fewer than MOST_STEPS
// steps, which are all there are, only some lanes lack the last one.
template <typename Share, int STEPS, typename real> class Reader {
public:
    __device__ Reader(const dpc_table &table, int column)
        : stride((int)table.stride), left(stride - column - Share::channel()),
          nodes((const real *)table.node + column + (left > 0 ? Share::channel() : 0))
    {
    }

    // Calls f(step, p, vector) for those of a node.
    template <typename F> __device__ inline void each(int node, F f) const
    {
        const real *const first = nodes + (size_t)node * 3 * stride, *const second = first + stride;
        const real *const row[3] = {first, second, second + stride};
#pragma unroll
        for (int s = 0; s < STEPS; s++) {
            const bool sure = STEPS < Share::MOST_STEPS && s + 1 < STEPS;
            const int at = sure || s * Share::SPAN < left ? s * Share::SPAN : 0;
            Vector<real> value[3];
#pragma unroll
            for (int p = 0; p < 3; p++)
                value[p] = read_vector(row[p] + at);
#pragma unroll
            for (int p = 0; p < 3; p++)
                f(s, p, value[p]);
        }
    }

private:
    const int stride, left;
    const real *const nodes;
};

// x += Wᵀ T
template <typename real, int C, int STEPS>
__device__ void product(Room<real, C> &room, const dpc_table &table, int nodes, int column, Tile<real, C, STEPS> &x)
{
    using Share = Shares<real, C>;
    const Reader<Share, STEPS, real> reader(table, column);
    for (int begin = 0; begin < nodes; begin += BATCH) {
        const int end = begin + BATCH < nodes ? begin + BATCH : nodes;
        weigh(room, begin, end);
        for (int i = begin; i < end; i++) {
            real w[Share::OWN][3];
#pragma unroll
            for (int own = 0; own < Share::OWN; own++)
#pragma unroll
                for (int p = 0; p < 3; p++)
                    w[own][p] = room.w[i - begin][p][Share::component(own)];
            reader.each(room.node[i], [&](int s, int p, const Vector<real> &value) {
#pragma unroll
                for (int own = 0; own < Share::OWN; own++)
#pragma unroll
                    for (int v = 0; v < Share::VEC; v++)
                        x.of[own][s].of[v] += w[own][p] * value.of[v];
            });
        }
        sync_warp();
    }
}

// Sums three numbers over the lanes of a component, of which three keep one each: to out [3][C].
template <typename Share, int C, typename real> __device__ inline void store_sums(const real *x, real *out)
{
    if (Share::GROUP == 1) {
        for (int p = 0; p < 3; p++)
            out[p * C] = x[p];
        return;
    }
    const int lane = lane_of() % Share::GROUP;
    const bool second = lane & 2, odd = lane & 1; // lanes keep x[2] or x[0], x[1]; then x[1] or x[0]
    real a = second ? x[2] : x[0], b = second ? 0 : x[1];
    a += __shfl_xor_sync(EVERY_LANE, second ? x[0] : x[2], 2);
    b += __shfl_xor_sync(EVERY_LANE, second ? x[1] : (real)0, 2);
    real sum = (odd ? b : a) + __shfl_xor_sync(EVERY_LANE, odd ? a : b, 1);
    for (int step = 4; step < Share::GROUP; step *= 2)
        sum += __shfl_xor_sync(EVERY_LANE, sum, step);
    if (lane < 3)
        out[lane * C] = sum;
}

// W = T dx of nodes `begin` to `begin` + BATCH, which is one more than a batch, of as many as there are
template <typename real, int C, int STEPS>
__device__ void product_back(Room<real, C> &room, const dpc_table &table, int begin, int nodes, int column,
                             const Tile<real, C, STEPS> &dx)
{
    using Share = Shares<real, C>;
    const Reader<Share, STEPS, real> reader(table, column);
    sync_warp(); // all have read the batch before
    for (int i = begin; i < nodes && i <= begin + BATCH; i++) {
        real sum[Share::OWN][3] = {};
        reader.each(room.node[i], [&](int s, int p, const Vector<real> &value) {
#pragma unroll
            for (int own = 0; own < Share::OWN; own++)
#pragma unroll
                for (int v = 0; v < Share::VEC; v++)
                    sum[own][p] += dx.of[own][s].of[v] * value.of[v];
        });
#pragma unroll
        for (int own = 0; own < Share::OWN; own++)
            store_sums<Share, C>(sum[own], &room.w[i - begin][0][Share::component(own)]);
    }
    sync_warp();
}

} // namespace dpc
