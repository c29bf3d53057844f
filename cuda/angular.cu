// angular.cu - sums over pairs of one atom's neighbours, t g(t) with t = u_n · u_m, and back
//
// u is the normalised environment without its first component; each pair counts once, and a neighbour with itself, as
// in ccore/src/angular.inc. Lanes have a pair each, and look it up in the table together: GROUP lanes, their channels,
// go through the pairs of these lanes. Pairs meet in few nodes of such tables, which are long (t is a product of two
// inverse distances) and narrow (8 channels as a rule), so that node space would save nothing here.
#include "environment.cuh"
#include "tally.cuh"

namespace dpc {
namespace {

enum {
    GROUP = DPC_WARP < 8 ? DPC_WARP : 8, // lanes that look up together: of 64 bytes of doubles
    TILE = 4                             // channels of a lane, GROUP apart, whose sums stay in registers
};

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

// ---- forward --------------------------------------------------------------------------------------------------------

// Adds channels begin, begin + GROUP, ... of the interpolants of this group's pairs, weights[lane][6] of their nodes.
template <typename real>
__device__ void look_up(const dpc_table &table, int row, const real (*weights)[12], int begin, real *sum)
{
    const int group = lane_of() / GROUP * GROUP;
    const size_t stride = table.stride;
    const real *node = (const real *)table.node + begin + lane_of() % GROUP;
#pragma unroll 2 // more would be more loads at once than there are registers for
    for (int i = 0; i < GROUP; i++) {
        const real *t = node + (size_t)warp_get(row, group + i) * 3 * stride, *weight = weights[group + i];
#pragma unroll
        for (int v = 0; v < TILE; v++)
            if (begin + v * GROUP < (int)table.width) // the stride is a multiple of GROUP
#pragma unroll
                for (int p = 0; p < 6; p++)
                    sum[v] += weight[p] * t[p * stride + v * GROUP];
    }
}

// Adds channels begin, ... of the pairs of two segments; tally: where to count their inputs, unless it is empty.
template <typename real, typename ereal>
__device__ void sum_pairs(const Angles<ereal> &on, const Segment &a, const Segment &b, int pair, real (*weights)[12],
                          const Tally &tally, int begin, real *sum)
{
    const dpc_table &table = on.c.table[pair], &gate = on.c.gate[pair];
    const bool tabled = table.node != nullptr, gated = gate.node != nullptr;
    const dpc_grid &grid = tabled ? table.grid : gate.grid;
    real *mine = weights[lane_of()];
    Range<ereal> range;
    for (Pairs p(a, b); warp_vote(p.there()) != 0; p.next()) {
        Place<ereal> at = {};
        ereal basis[6] = {0}, slope[6], share = 0, gates = 0;
        if (p.there()) {
            const ereal *u = on.u[p.n], *v = on.u[p.m], t = product_of(u, v);
            share = (ereal)on.m.weight[pair] * (p.itself() && p.n != p.m ? 2 : 1) * t;
            gates = u[0] * v[0];
            locate(&grid, &t, &at);
            if (at.beyond != 0)
                hermite(&at, basis, slope);
            else
                hermite_value(&at, basis);
            if (tally.range != nullptr && range.count(grid, t))
                range.distance = fmin(distance(on.atoms, on.list, on.k, on.place[p.n]),
                                      distance(on.atoms, on.list, on.k, on.place[p.m]));
        }
        for (int i = 0; i < 6; i++) {
            mine[i] = (real)basis[i] * (real)share;
            mine[6 + i] = (real)basis[i] * (real)(share * gates);
        }
        sync_warp();
        if (tabled)
            look_up(table, (int)at.row, weights, begin, sum);
        if (gated)
            look_up(gate, (int)at.row, (const real(*)[12])(weights[0] + 6), begin, sum);
        sync_warp();
    }
    const int32_t *net = tabled ? on.m.net : on.m.gate_net;
    if (tally.range != nullptr)
        add_counts(range, tally, on.m.first_table + on.m.base[net[pair]], on.list.centre[on.k]);
}

// ---- back -----------------------------------------------------------------------------------------------------------

// Lane i of a group gets the sum of each[i] over its lanes.
template <typename real> __device__ real sum_for_each(real *each)
{
#pragma unroll
    for (int half = GROUP / 2; half > 0; half /= 2) {
        const bool upper = (lane_of() & half) != 0;
#pragma unroll
        for (int i = 0; i < half; i++) {
            const real given = __shfl_xor_sync(EVERY_LANE, upper ? each[i] : each[i + half], half);
            each[i] = (upper ? each[i + half] : each[i]) + given;
        }
    }
    return each[0];
}

// Gradients of the factor that the interpolant at this lane's place is taken with, and of its input, from of_x [width].
template <typename real, typename ereal> struct Slopes {
    ereal value = 0, slope = 0;

    __device__ Slopes(const dpc_table &table, const Place<ereal> &at, const real *of_x)
    {
        const int group = lane_of() / GROUP * GROUP, own = lane_of() % GROUP;
        const unsigned stride = (unsigned)table.stride;
        const real *node = (const real *)table.node;
        unsigned from[GROUP];
        real dot[6];
        ereal basis[6], slopes[6];
#pragma unroll
        for (int i = 0; i < GROUP; i++)
            from[i] = (unsigned)warp_get((int)at.row, group + i) * 3 * stride;
#pragma unroll
        for (int p = 0; p < 6; p++) {
            real each[GROUP] = {0};
            for (int c = own; c < (int)table.width; c += GROUP)
#pragma unroll
                for (int i = 0; i < GROUP; i++)
                    each[i] += of_x[c] * node[from[i] + p * stride + (unsigned)c];
            dot[p] = sum_for_each(each);
        }
        hermite(&at, basis, slopes);
        real of_value = 0, of_slope = 0;
#pragma unroll
        for (int p = 0; p < 6; p++) {
            of_value += (real)basis[p] * dot[p];
            of_slope += (real)slopes[p] * dot[p];
        }
        value = (ereal)of_value;
        slope = (ereal)of_slope;
    }
};

// Adds the gradients of neighbour n's pairs with a segment, of_x [width], to those of directions and gates. Neighbours
// of the segment are the same lanes' each time: that of n itself may be among them, or in another.
template <typename real, typename ereal>
__device__ void spread(const Angles<ereal> &on, const Segment &a, int n, const Segment &b, int pair, const real *of_x)
{
    const dpc_table &table = on.c.table[pair], &gate = on.c.gate[pair];
    const bool tabled = table.node != nullptr, gated = gate.node != nullptr, itself = a.from == b.from;
    const dpc_grid &grid = tabled ? table.grid : gate.grid;
    const ereal u[4] = {on.u[n][0], on.u[n][1], on.u[n][2], on.u[n][3]};
    ereal of_n[4] = {0};
    for (int begin = itself ? (n - a.from) / DPC_WARP * DPC_WARP : 0; begin < b.count; begin += DPC_WARP) {
        const int m = b.from + begin + lane_of();
        const bool here = begin + lane_of() < b.count && (!itself || m >= n);
        ereal v[4] = {0}, of_t = 0, of_gates = 0;
        for (int c = 0; here && c < 4; c++)
            v[c] = on.u[m][c];
        const ereal t = product_of(u, v), weight = (ereal)on.m.weight[pair] * (itself && n != m ? 2 : 1);
        Place<ereal> at;
        locate(&grid, &t, &at);
        if (tabled) {
            const Slopes<real, ereal> s(table, at, of_x);
            of_t = weight * (s.value + t * s.slope);
        }
        if (gated) {
            const Slopes<real, ereal> s(gate, at, of_x);
            of_t += weight * u[0] * v[0] * (s.value + t * s.slope);
            of_gates = weight * s.value * t;
        }
        if (!here)
            continue;
        of_n[0] += of_gates * v[0];
        on.of_u[m][0] += of_gates * u[0];
        for (int c = 1; c < 4; c++) {
            of_n[c] += of_t * v[c];
            on.of_u[m][c] += of_t * u[c];
        }
    }
    for (int c = 0; c < 4; c++) {
        const ereal sum = warp_sum(of_n[c]);
        if (lane_of() == (n - a.from) % DPC_WARP)
            on.of_u[n][c] += sum;
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
};

template <typename real, typename ereal>
__global__ void __launch_bounds__(THREADS, 3) angular_kernel(Job<ereal> job, Tally tally, real *feature, int ld)
{
    DPC_SHARED(real, shared);
    real(*weights)[12] = (real(*)[12])shared + warp_of() * DPC_WARP;
    if (row_of() >= rows_of(job.group))
        return;
    const Angles<ereal> on = job.row(row_of());
    directions(on);
    for (int begin = 0; begin < job.c.width; begin += GROUP * TILE) {
        real sum[TILE] = {0};
        for_types(on, [&](const Segment &a, const Segment &b, int pair) {
            sum_pairs(on, a, b, pair, weights, begin == 0 ? tally : Tally{}, begin, sum);
        });
#pragma unroll
        for (int v = 0; v < TILE; v++) {
            const int c = begin + lane_of() + v * GROUP;
            for (int step = GROUP; step < DPC_WARP; step *= 2)
                sum[v] += __shfl_xor_sync(EVERY_LANE, sum[v], step);
            if (lane_of() < GROUP && c < job.c.width)
                feature[(size_t)row_of() * ld + job.c.first_feature + c] = sum[v];
        }
    }
}

template <typename real, typename ereal>
__global__ void __launch_bounds__(THREADS, 3) angular_back_kernel(Job<ereal> job, const real *feature, int ld,
                                                                  ereal *pair_force)
{
    if (row_of() >= rows_of(job.group))
        return;
    const Angles<ereal> on = job.row(row_of());
    const real *of_x = feature + (size_t)row_of() * ld + job.c.first_feature;
    for (int n = lane_of(), count = neighbours(on); n < count; n += DPC_WARP)
        for (int c = 0; c < 4; c++)
            on.of_u[n][c] = 0;
    directions(on);
    for_types(on, [&](const Segment &a, const Segment &b, int pair) {
        for (int n = a.from; n < a.from + a.count; n++)
            spread(on, a, n, b, pair, of_x);
    });
    sync_warp();
    chain(on, pair_force);
}

} // namespace

template <typename real, typename ereal>
dpc_status angular(const Member &m, const Channels &c, const Group &group, const Atoms &atoms, const List &list,
                   const Near &near, const AngularScratch &scratch, const Tally *tally, real *feature, int ld,
                   Stream stream, dpc_error *err)
{
    const Job<ereal> job = {m, c, group, atoms, list, near, scratch};
    return launch(angular_kernel<real, ereal>, warp_blocks((size_t)group.most), THREADS, THREADS * 12 * sizeof(real),
                  stream, err, job, tally != nullptr ? *tally : Tally{}, feature, ld);
}

template <typename real, typename ereal>
dpc_status angular_back(const Member &m, const Channels &c, const Group &group, const Atoms &atoms, const List &list,
                        const Near &near, const AngularScratch &scratch, const real *feature, int ld,
                        ereal *pair_force, Stream stream, dpc_error *err)
{
    const Job<ereal> job = {m, c, group, atoms, list, near, scratch};
    return launch(angular_back_kernel<real, ereal>, warp_blocks((size_t)group.most), THREADS, 0, stream, err, job,
                  feature, ld, pair_force);
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
