// angular.cu - sums over pairs of one atom's neighbours, t g(t) with t = u_n · u_m, and back, in node space
//
// u is the normalised environment without its first component; each pair counts once, and a neighbour with itself, as
// in ccore/src/angular.inc. Warps stay and take one row after the other, since each has weights W [nodes][3] of its
// own: of one pair of types after the other, and of the gated table after the plain one. Forward, lanes are pairs;
// backward, a lane has a neighbour and looks at all others, so that no sum needs another lane.
#include "environment.cuh"
#include "nodes.cuh"
#include "tally.cuh"
#include <algorithm>

namespace dpc {
namespace {

enum { TILE = 4 }; // channels of a lane whose sums stay in registers

template <typename real> using Chunk = Room<real, 1>;

// What a row's kernels are about.
template <typename ereal> struct Angles {
    const Member &m;
    const Channels &c;
    const Atoms &atoms;
    const List &list;
    const Near &near;
    int k, type;               // the centre, its atom's type
    const int64_t *place;      // [neighbours] in the list
    ereal (*u)[4], (*of_u)[4]; // [neighbours] gate and direction of each, and their gradients
};

// Neighbours of one type, from number `from` on.
struct Segment {
    int from, count;
};

// Calls visit(a, b, pair) for each pair of types that there are neighbours and a table of.
template <typename ereal, typename F> __device__ void for_types(const Angles<ereal> &on, F visit)
{
    const int32_t *count = on.near.count + (size_t)on.k * on.m.types;
    for (int s = 0, from = 0; s < on.m.types; from += count[s], s++)
        for (int t = s, other = from; t < on.m.types; other += count[t], t++) {
            const int pair = s * on.m.types + t;
            if (count[s] > 0 && count[t] > 0 &&
                (on.c.table[pair].node != nullptr || on.c.gate[pair].node != nullptr))
                visit(Segment{from, count[s]}, Segment{other, count[t]}, pair);
        }
}

template <typename ereal> __device__ int neighbours(const Angles<ereal> &on)
{
    int count = 0;
    for (int t = 0; t < on.m.types; t++)
        count += on.near.count[(size_t)on.k * on.m.types + t];
    return count;
}

// Each neighbour's gate, if there are gates, and direction.
template <typename ereal> __device__ void directions(const Angles<ereal> &on)
{
    for (int n = lane_of(), count = neighbours(on); n < count; n += DPC_WARP) {
        const Around<ereal> e = look_around<ereal>(on.m, on.atoms, on.list, on.k, on.place[n]);
        on.u[n][0] = e.sw;
        for (int c = 1; c < 4; c++)
            on.u[n][c] = component(on.m, on.type, e, c);
    }
    sync_warp();
}

template <typename ereal> __device__ ereal product_of(const ereal *u, const ereal *v)
{
    return u[1] * v[1] + u[2] * v[2] + u[3] * v[3];
}

// This lane's pairs of a segment with another or with itself, lanes one after the other. Of itself, those of n with n
// and what follows, row n of a triangle: rows of many and of few are put together to rows of `columns`.
class Pairs {
public:
    int n, m; // numbers of the two, while there()

    __device__ Pairs(const Segment &a, const Segment &b)
        : a(a), b(b), rows(a.count), columns(b.count), odd(a.count & 1), row(0), column(lane_of())
    {
        if (itself()) {
            rows = (a.count + 1) / 2;
            columns = a.count + 1 - odd;
        }
        settle();
    }

    __device__ bool itself() const { return a.from == b.from; }
    __device__ bool there() const { return row < rows; }
    __device__ void next()
    {
        column += DPC_WARP;
        settle();
    }

private:
    const Segment a, b;
    int rows, columns, odd, row, column;

    __device__ void settle()
    {
        while (row < rows && column >= columns) {
            column -= columns;
            row++;
        }
        n = row;
        m = column;
        if (itself()) {
            const int length = a.count - row;
            n = column < length ? row : length - 1 + odd;
            m = n + (column < length ? column : column - length);
        }
        n += a.from;
        m += b.from;
    }
};

// ---- W --------------------------------------------------------------------------------------------------------------

// Nodes begin..end of a table.
struct Span {
    int begin, end;
};

template <typename ereal> __device__ ereal longest_square(const Angles<ereal> &on, const Segment &of)
{
    ereal longest = 0;
    for (int n = of.from + lane_of(); n < of.from + of.count; n += DPC_WARP) {
        const ereal square = product_of(on.u[n], on.u[n]);
        longest = square > longest ? square : longest;
    }
    return warp_max(longest);
}

// The nodes that pairs of two segments can touch, whose W becomes zero.
template <typename real, typename ereal>
__device__ Span open_nodes(const Angles<ereal> &on, const Segment &a, const Segment &b, const dpc_grid &grid, real *w)
{
    const ereal reach = sqrt(longest_square(on, a) * longest_square(on, b)) * (ereal)1.00001; // whatever rounding does
    const ereal least = -reach;
    Place<ereal> low, high;
    locate(&grid, &least, &low);
    locate(&grid, &reach, &high);
    const Span nodes = {(int)low.row, (int)high.row + 2};
    for (int i = 3 * nodes.begin + lane_of(); i < 3 * nodes.end; i += DPC_WARP)
        w[i] = 0;
    sync_warp();
    return nodes;
}

// How many lanes share a node: a power of two that covers its channels, if there are so many.
__device__ inline int lanes_of(const dpc_table &table)
{
    int lanes = 1;
    while (lanes < (int)table.width && lanes < DPC_WARP)
        lanes *= 2;
    return lanes;
}

// Calls visit(node, here) for nodes of W that are not zero, `lanes` lanes for each; those that are left over come
// too, not `here`.
template <typename real, typename F>
__device__ void for_touched(const real *w, const Span &nodes, int lanes, int *touched, F visit)
{
    const int groups = DPC_WARP / lanes, group = lane_of() / lanes;
    for (int begin = nodes.begin; begin < nodes.end; begin += DPC_WARP) {
        const int node = begin + lane_of();
        const bool wanted = node < nodes.end && (w[3 * node] != 0 || w[3 * node + 1] != 0 || w[3 * node + 2] != 0);
        const unsigned vote = warp_vote(wanted);
        const int count = __popc(vote);
        if (wanted)
            touched[before_me(vote)] = node;
        sync_warp();
        for (int i = 0; i < count; i += groups)
            visit(touched[i + group < count ? i + group : i], i + group < count);
        sync_warp();
    }
}

// ---- forward --------------------------------------------------------------------------------------------------------

// W of the pairs of two segments; tally: where to count their inputs, unless it is empty.
template <typename real, typename ereal>
__device__ void scatter(const Angles<ereal> &on, const Segment &a, const Segment &b, int pair, bool gated,
                        const dpc_grid &grid, const Tally &tally, Chunk<real> &chunk, real *w)
{
    Range<ereal> range;
    for (Pairs p(a, b);; p.next()) {
        const int n = __popc(warp_vote(p.there())); // the first of the lanes
        if (n == 0)
            break;
        Place<ereal> at = {};
        ereal basis[6], slope[6], share = 0;
        if (p.there()) {
            const ereal *u = on.u[p.n], *v = on.u[p.m], t = product_of(u, v);
            share = (ereal)on.m.weight[pair] * (p.itself() && p.n != p.m ? 2 : 1) * t * (gated ? u[0] * v[0] : 1);
            locate(&grid, &t, &at);
            if (at.beyond != 0)
                hermite(&at, basis, slope);
            else
                hermite_value(&at, basis);
            if (tally.range != nullptr && range.count(grid, t))
                range.distance = fmin(distance(on.atoms, on.list, on.k, on.place[p.n]),
                                      distance(on.atoms, on.list, on.k, on.place[p.m]));
        }
        const Order order = sort_rows(chunk, (int)at.row, n);
        if (p.there()) {
#pragma unroll
            for (int q = 0; q < 6; q++)
                chunk.basis[q][order.rank] = (real)basis[q];
            chunk.env[order.rank][0] = (real)share;
        }
        list_nodes(chunk, order, n);
        for (int item = lane_of(); item < 3 * order.nodes(); item += DPC_WARP) {
            real sum[1];
            weigh_node(chunk, item / 3, item % 3, sum);
            w[3 * chunk.node[item / 3] + item % 3] += sum[0];
        }
        sync_warp();
    }
    const int32_t *net = gated ? on.m.gate_net : on.m.net;
    if (tally.range != nullptr)
        add_counts(range, tally, on.m.first_table + on.m.base[net[pair]], on.list.centre[on.k]);
}

// out [width] += Wᵀ T
template <typename real>
__device__ void product(const dpc_table &table, const real *w, const Span &nodes, Chunk<real> &chunk, real *out)
{
    const int lanes = lanes_of(table), own = lane_of() % lanes, width = (int)table.width, stride = (int)table.stride;
    for (int begin = own; begin - own < width; begin += lanes * TILE) {
        real sum[TILE] = {0};
        for_touched(w, nodes, lanes, chunk.node, [&](int node, bool here) {
            const real *weight = w + 3 * node, *t = (const real *)table.node + (size_t)node * 3 * stride + begin;
#pragma unroll
            for (int v = 0; v < TILE; v++)
                if (here && begin + v * lanes < width)
#pragma unroll
                    for (int p = 0; p < 3; p++)
                        sum[v] += weight[p] * t[p * stride + v * lanes];
        });
#pragma unroll
        for (int v = 0; v < TILE; v++) {
            for (int step = lanes; step < DPC_WARP; step *= 2)
                sum[v] += __shfl_xor_sync(EVERY_LANE, sum[v], step);
            if (lane_of() == own && begin + v * lanes < width)
                out[begin + v * lanes] += sum[v];
        }
    }
}

// ---- back -----------------------------------------------------------------------------------------------------------

// W of the nodes that the pairs of two segments touch = T of_x
template <typename real, typename ereal>
__device__ void product_back(const Angles<ereal> &on, const Segment &a, const Segment &b, const dpc_table &table,
                             const Span &nodes, const real *of_x, Chunk<real> &chunk, real *w)
{
    for (Pairs p(a, b); p.there(); p.next()) {
        const ereal t = product_of(on.u[p.n], on.u[p.m]);
        Place<ereal> at;
        locate(&table.grid, &t, &at);
        w[3 * (int)at.row] = w[3 * ((int)at.row + 1)] = 1;
    }
    sync_warp();
    const int lanes = lanes_of(table), own = lane_of() % lanes, stride = (int)table.stride;
    for_touched(w, nodes, lanes, chunk.node, [&](int node, bool here) {
        const real *t = (const real *)table.node + (size_t)node * 3 * stride;
        real sum[3] = {0};
        for (int c = own; c < (int)table.width; c += lanes)
#pragma unroll
            for (int p = 0; p < 3; p++)
                sum[p] += of_x[c] * t[p * stride + c];
#pragma unroll
        for (int p = 0; p < 3; p++) {
            for (int step = lanes / 2; step > 0; step /= 2)
                sum[p] += __shfl_xor_sync(EVERY_LANE, sum[p], step);
            if (here && own == 0)
                w[3 * node + p] = sum[p];
        }
    });
}

// Adds the gradients of the directions and gates of `to` from its pairs with all of `from`: of a pair's two sides, or
// of the two that a neighbour is to itself, that of `to`.
template <typename real, typename ereal>
__device__ void gather(const Angles<ereal> &on, const Segment &to, const Segment &from, const dpc_grid &grid,
                       ereal weight, bool gated, const real *w)
{
    for (int m = to.from + lane_of(); m < to.from + to.count; m += DPC_WARP) {
        const ereal u[4] = {on.u[m][0], on.u[m][1], on.u[m][2], on.u[m][3]};
        ereal sum[4] = {0};
        for (int n = from.from; n < from.from + from.count; n++) {
            const ereal *v = on.u[n], t = product_of(u, v);
            Place<ereal> at;
            ereal basis[6], slopes[6];
            locate(&grid, &t, &at);
            hermite(&at, basis, slopes);
            const real *node = w + 3 * (int)at.row;
            real value = 0, slope = 0;
#pragma unroll
            for (int p = 0; p < 6; p++) {
                value += (real)basis[p] * node[p];
                slope += (real)slopes[p] * node[p];
            }
            const ereal factor = gated ? weight * v[0] : weight;
            const ereal of_t = (gated ? factor * u[0] : factor) * ((ereal)value + t * (ereal)slope);
            sum[0] += gated ? factor * (ereal)value * t : 0;
#pragma unroll
            for (int c = 1; c < 4; c++)
                sum[c] += of_t * v[c];
        }
#pragma unroll
        for (int c = 0; c < 4; c++)
            on.of_u[m][c] += sum[c];
    }
}

// From gradients of directions and gates to dE/dd.
template <typename ereal> __device__ void chain(const Angles<ereal> &on, ereal *pair_force)
{
    for (int n = lane_of(), count = neighbours(on); n < count; n += DPC_WARP) {
        const ereal *of_u = on.of_u[n], g[4] = {0, of_u[1], of_u[2], of_u[3]};
        add_chain(on.m, on.type, look_around<ereal>(on.m, on.atoms, on.list, on.k, on.place[n]), g, of_u[0],
                  pair_force + 3 * on.place[n]);
    }
}

// ---- kernels --------------------------------------------------------------------------------------------------------

template <typename ereal> struct Job {
    Member m;
    Channels c;
    Group group;
    Atoms atoms;
    List list;
    Near near;
    AngularScratch scratch;

    __device__ Angles<ereal> row(int i) const
    {
        const int k = group.list[group.begin + i];
        const int64_t first = list.first[k];
        return {m, c, atoms, list, near, k, group.type, near.place + first, (ereal(*)[4])scratch.u + first,
                (ereal(*)[4])scratch.of_u + first};
    }
    template <typename real> __device__ real *nodes_of(int warp) const
    {
        return (real *)scratch.nodes + (size_t)warp * 3 * m.nodes;
    }
};

// Calls visit(a, b, pair, gated, table, nodes) for each table of each pair of types, W of these nodes being zero.
template <typename real, typename ereal, typename F>
__device__ void for_tables(const Angles<ereal> &on, real *w, F visit)
{
    for_types(on, [&](const Segment &a, const Segment &b, int pair) {
        for (int gated = 0; gated < 2; gated++) {
            const dpc_table &table = (gated ? on.c.gate : on.c.table)[pair];
            if (table.node != nullptr)
                visit(a, b, pair, gated != 0, table, open_nodes(on, a, b, table.grid, w));
            sync_warp(); // the next table's W
        }
    });
}

template <typename real, typename ereal>
__global__ void __launch_bounds__(THREADS, 4) angular_kernel(Job<ereal> job, Tally tally, real *feature, int ld)
{
    DPC_SHARED(Chunk<real>, chunks);
    Chunk<real> &chunk = chunks[warp_of()];
    real *w = job.template nodes_of<real>(row_of());
    for (int i = row_of(), rows = rows_of(job.group); i < rows; i += (int)gridDim.x * WARPS) {
        const Angles<ereal> on = job.row(i);
        real *out = feature + (size_t)i * ld + job.c.first_feature;
        for (int c = lane_of(); c < job.c.width; c += DPC_WARP)
            out[c] = 0;
        directions(on);
        for_tables(on, w, [&](const Segment &a, const Segment &b, int pair, bool gated, const dpc_table &table,
                              const Span &nodes) {
            const bool counted = gated && on.c.table[pair].node != nullptr; // by the other table
            scatter(on, a, b, pair, gated, table.grid, counted ? Tally{} : tally, chunk, w);
            product(table, w, nodes, chunk, out);
        });
    }
}

template <typename real, typename ereal>
__global__ void __launch_bounds__(THREADS, 4) angular_back_kernel(Job<ereal> job, const real *feature, int ld,
                                                                  ereal *pair_force)
{
    DPC_SHARED(Chunk<real>, chunks);
    Chunk<real> &chunk = chunks[warp_of()];
    real *w = job.template nodes_of<real>(row_of());
    for (int i = row_of(), rows = rows_of(job.group); i < rows; i += (int)gridDim.x * WARPS) {
        const Angles<ereal> on = job.row(i);
        const real *of_x = feature + (size_t)i * ld + job.c.first_feature;
        for (int n = lane_of(), count = neighbours(on); n < count; n += DPC_WARP)
            for (int c = 0; c < 4; c++)
                on.of_u[n][c] = 0;
        directions(on);
        for_tables(on, w, [&](const Segment &a, const Segment &b, int pair, bool gated, const dpc_table &table,
                              const Span &nodes) {
            const bool itself = a.from == b.from;
            const ereal weight = (ereal)on.m.weight[pair] * (itself ? 2 : 1);
            product_back(on, a, b, table, nodes, of_x, chunk, w);
            gather(on, b, a, table.grid, weight, gated, w);
            if (!itself)
                gather(on, a, b, table.grid, weight, gated, w);
        });
        chain(on, pair_force);
    }
}

// As many blocks as there is memory for their warps, and no more than there is work for.
size_t blocks_of(const Group &group, const AngularScratch &scratch)
{
    return std::min(warp_blocks((size_t)group.most), scratch.warps / WARPS);
}

} // namespace

template <typename real, typename ereal>
dpc_status angular(const Member &m, const Channels &c, const Group &group, const Atoms &atoms, const List &list,
                   const Near &near, const AngularScratch &scratch, const Tally *tally, real *feature, int ld,
                   Stream stream, dpc_error *err)
{
    const Job<ereal> job = {m, c, group, atoms, list, near, scratch};
    return launch(angular_kernel<real, ereal>, blocks_of(group, scratch), THREADS, WARPS * sizeof(Chunk<real>), stream,
                  err, job, tally != nullptr ? *tally : Tally{}, feature, ld);
}

template <typename real, typename ereal>
dpc_status angular_back(const Member &m, const Channels &c, const Group &group, const Atoms &atoms, const List &list,
                        const Near &near, const AngularScratch &scratch, const real *feature, int ld,
                        ereal *pair_force, Stream stream, dpc_error *err)
{
    const Job<ereal> job = {m, c, group, atoms, list, near, scratch};
    return launch(angular_back_kernel<real, ereal>, blocks_of(group, scratch), THREADS, WARPS * sizeof(Chunk<real>),
                  stream, err, job, feature, ld, pair_force);
}

#define INSTANTIATE(real, ereal)                                                                                   \
    template dpc_status angular<real, ereal>(const Member &, const Channels &, const Group &, const Atoms &,       \
                                             const List &, const Near &, const AngularScratch &, const Tally *,    \
                                             real *, int, Stream, dpc_error *);                                    \
    template dpc_status angular_back<real, ereal>(const Member &, const Channels &, const Group &, const Atoms &,  \
                                                  const List &, const Near &, const AngularScratch &, const real *, \
                                                  int, ereal *, Stream, dpc_error *);
INSTANTIATE(double, double)
INSTANTIATE(float, float)
INSTANTIATE(float, double)

} // namespace dpc
