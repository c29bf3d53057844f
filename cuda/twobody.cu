// twobody.cu - contraction of centres' neighbours with the tables of a descriptor, and back (nodes.cuh)
#include "environment.cuh"
#include "nodes.cuh"
#include <type_traits>

namespace dpc {
namespace {

// Neighbours of types that follow each other and share a table.
struct Run {
    const dpc_table *table;
    int t, begin, count;
};

__device__ bool next_run(const dpc_table *tables, const int32_t *count, int types, Run &run)
{
    run.begin += run.count;
    run.count = 0;
    for (; run.t < types; run.t++) {
        const int n = count[run.t];
        const dpc_table *table = &tables[run.t];
        if (n == 0)
            continue;
        if (run.count > 0 && table->node != run.table->node)
            return true;
        if (table->node == nullptr) {
            run.begin += n;
            continue;
        }
        run.table = table;
        run.count += n;
    }
    return run.count > 0;
}

// What is contracted, C components: env, or 1; times the gate for gated tables.
template <typename real, int C, typename ereal>
__device__ void contracted(const Member &m, int type, const Around<ereal> &e, bool gated, real *env)
{
    for (int c = 0; c < C; c++)
        env[c] = (C == 1 ? 1 : (real)component(m, type, e, c)) * (gated ? (real)e.sw : 1);
}

// Adds dE/dd of a neighbour whose nodes have gradients w [2][3][C] to force [3].
template <typename real, int C, typename ereal>
__device__ void gather(const Member &m, int type, const Around<ereal> &e, const Place<ereal> &at, bool gated,
                       const real (*w)[C], ereal *force)
{
    ereal b[12], g[4] = {0, 0, 0, 0};
    real of_env[C] = {}, of_slope[C] = {};
    hermite(&at, b, b + 6);
#pragma unroll
    for (int p = 0; p < 6; p++)
        for (int c = 0; c < C; c++) {
            of_env[c] += (real)b[p] * w[p][c];
            of_slope[c] += (real)b[6 + p] * w[p][c];
        }
    real env[C], of_x = 0, of_gate = 0;
    contracted<real, C>(m, type, e, false, env);
    const real gate = gated ? (real)e.sw : 1;
    for (int c = 0; c < C; c++) {
        of_x += env[c] * gate * of_slope[c];
        of_gate += env[c] * of_env[c];
        if (C > 1) // one component has no directions
            g[c] = (ereal)(gate * of_env[c]);
    }
    g[0] += (ereal)of_x;
    add_chain(m, type, e, g, gated ? (ereal)of_gate : 0, force);
}

// A centre's neighbours in one kind of table: the main ones, or what is gated.
template <typename real, typename ereal, int C, int STEPS> class Contraction {
public:
    __device__ Contraction(const Member &m, const Channels &c, const Group &group, const Atoms &atoms,
                           const List &list, const Near &near, Room<real, C> &room, int row)
        : m(m), c(c), atoms(atoms), list(list), room(room), type(group.type), k(group.list[group.begin + row]),
          count(near.count + (size_t)k * m.types), masked(near.masked + (size_t)k * m.types),
          taken(near.taken + (size_t)k * m.sections), place(near.place + list.first[k])
    {
    }

    // Channels from `column` on of X, without its constants.
    __device__ void forward(int column, Tile<real, C, STEPS> &x)
    {
        for (int gated = 0; gated < (m.gate != DPC_UNGATED ? 2 : 1); gated++)
            for (Run run = {}; next_run(gated ? c.gate : c.table, count, m.types, run);)
                for (int begin = 0; begin < run.count; begin += CHUNK)
                    add_chunk(run, begin, gated, column, x);
    }

    __device__ void backward(int column, const Tile<real, C, STEPS> &dx, ereal *pair_force)
    {
        for (int gated = 0; gated < (m.gate != DPC_UNGATED ? 2 : 1); gated++)
            for (Run run = {}; next_run(gated ? c.gate : c.table, count, m.types, run);)
                for (int begin = 0; begin < run.count; begin += CHUNK)
                    gather_chunk(run, begin, gated, column, dx, pair_force);
    }

    // Empty slots and excluded neighbours.
    __device__ void add_constants(int column, Tile<real, C, STEPS> &x)
    {
        for (int s = 0; s < m.sections; s++) {
            const int empty = m.sel[s] - taken[s];
            if (empty > 0 && m.pad_net[(size_t)type * m.sections + s] >= 0)
                add_constant((const real *)c.pad + (size_t)s * C * c.stride, empty, column, x);
        }
        for (int t = 0; c.mask != nullptr && t < m.types; t++)
            if (masked[t] > 0 && m.mask_net[(size_t)type * m.types + t] >= 0)
                add_constant((const real *)c.mask + (size_t)t * C * c.stride, masked[t], column, x);
    }

private:
    const Member &m;
    const Channels &c;
    const Atoms &atoms;
    const List &list;
    Room<real, C> &room;
    const int type, k;
    const int32_t *const count, *const masked, *const taken;
    const int64_t *const place;

    __device__ void add_constant(const real *vector, int times, int column, Tile<real, C, STEPS> &x)
    {
        const int stride = c.stride;
        x.each(column, c.width, [&](real &value, int component, int channel) {
            value += (real)times * vector[component * stride + channel];
        });
    }

    __device__ void add_chunk(const Run &run, int begin, bool gated, int column, Tile<real, C, STEPS> &x)
    {
        const int n = run.count - begin < CHUNK ? run.count - begin : CHUNK, lane = lane_of();
        real env[C];
        ereal b[12];
        Place<ereal> at = {};
        if (lane < n) {
            const Around<ereal> e = look_around<ereal>(m, atoms, list, k, place[run.begin + begin + lane]);
            const ereal input = component(m, type, e, 0);
            locate(&run.table->grid, &input, &at);
            hermite_value(&at, b);
            if (at.beyond != 0)
                hermite(&at, b, b + 6);
            contracted<real, C>(m, type, e, gated, env);
        }
        const Order order = sort_rows(room, (int)at.row, n);
        for (int q = 0; lane < n && q < 6; q++)
            room.basis[q][order.rank] = (real)b[q];
        for (int a = 0; lane < n && a < C; a++)
            room.env[order.rank][a] = env[a];
        list_nodes(room, order, n);
        product(room, *run.table, order.nodes(), column, x);
    }

    __device__ void gather_chunk(const Run &run, int begin, bool gated, int column, const Tile<real, C, STEPS> &dx,
                                 ereal *pair_force)
    {
        const int n = run.count - begin < CHUNK ? run.count - begin : CHUNK, lane = lane_of();
        const int64_t where = lane < n ? place[run.begin + begin + lane] : 0;
        Around<ereal> e = {};
        Place<ereal> at = {};
        if (lane < n) {
            e = look_around<ereal>(m, atoms, list, k, where);
            const ereal input = component(m, type, e, 0);
            locate(&run.table->grid, &input, &at);
        }
        const Order order = sort_rows(room, (int)at.row, n);
        list_nodes(room, order, n);
        const int own = order.node_of(order.rank);
        for (int begin = 0; begin < order.nodes(); begin += BATCH) {
            product_back(room, *run.table, begin, order.nodes(), column, dx);
            if (lane < n && own >= begin && own < begin + BATCH)
                gather<real, C>(m, type, e, at, gated, room.w[own - begin], pair_force + 3 * where);
        }
    }
};

// Blocks that a multiprocessor has registers for, without any being spilled.
constexpr int blocks_of(int steps) { return steps > 4 ? 3 : 4; }

// out, dx: [rows][ld], of a row C times `width` channels
template <typename real, typename ereal, int C, int STEPS>
__global__ void __launch_bounds__(THREADS, blocks_of(STEPS)) contract_kernel(Member m, Channels c, Group group, Atoms atoms, List list,
                                                           Near near, real *out, size_t ld)
{
    using Rooms = Room<real, C>;
    DPC_SHARED(Rooms, rooms);
    const int row = row_of();
    if (row >= rows_of(group))
        return;
    Contraction<real, ereal, C, STEPS> of(m, c, group, atoms, list, near, rooms[warp_of()], row);
    out += row * ld;
    for (int column = 0; column < c.width; column += STEPS * Shares<real, C>::SPAN) {
        Tile<real, C, STEPS> x = {};
        of.forward(column, x);
        of.add_constants(column, x);
        x.each(column, c.width, [&](real &value, int component, int channel) {
            out[component * c.width + channel] = value * (real)m.per_count;
        });
    }
}

template <typename real, typename ereal, int C, int STEPS>
__global__ void __launch_bounds__(THREADS, blocks_of(STEPS)) contract_back_kernel(Member m, Channels c, Group group, Atoms atoms,
                                                                List list, Near near, const real *in, size_t ld,
                                                                ereal *pair_force)
{
    using Rooms = Room<real, C>;
    DPC_SHARED(Rooms, rooms);
    const int row = row_of();
    if (row >= rows_of(group))
        return;
    Contraction<real, ereal, C, STEPS> of(m, c, group, atoms, list, near, rooms[warp_of()], row);
    in += row * ld;
    for (int column = 0; column < c.width; column += STEPS * Shares<real, C>::SPAN) {
        Tile<real, C, STEPS> dx = {};
        dx.each(column, c.width, [&](real &value, int component, int channel) {
            value = in[component * c.width + channel] * (real)m.per_count;
        });
        of.backward(column, dx, pair_force);
    }
}

template <typename real, typename ereal, int C, int STEPS>
dpc_status launch_forward(const Member &m, const Channels &c, const Group &group, const Atoms &atoms, const List &list,
                          const Near &near, real *out, int ld, Stream stream, dpc_error *err)
{
    return launch(contract_kernel<real, ereal, C, STEPS>, warp_blocks((size_t)group.most), THREADS,
                  WARPS * sizeof(Room<real, C>), stream, err, m, c, group, atoms, list, near, out, ld);
}

template <typename real, typename ereal, int C, int STEPS>
dpc_status launch_back(const Member &m, const Channels &c, const Group &group, const Atoms &atoms, const List &list,
                       const Near &near, const real *in, int ld, ereal *pair_force, Stream stream, dpc_error *err)
{
    return launch(contract_back_kernel<real, ereal, C, STEPS>, warp_blocks((size_t)group.most), THREADS,
                  WARPS * sizeof(Room<real, C>), stream, err, m, c, group, atoms, list, near, in, ld, pair_force);
}

// Vectors of channels that a lane has of four components.
template <typename real> int steps_of(const Channels &c)
{
    return (c.stride + Shares<real, 4>::SPAN - 1) / Shares<real, 4>::SPAN;
}

// f(std::integral_constant) of as many, or of the next larger number that there are kernels of: few, as for folds, and
// those of 100 and 128 channels. Of more, they go over the neighbours again.
template <typename F> dpc_status with_steps(int steps, F f)
{
    switch (steps) {
    case 1: return f(std::integral_constant<int, 1>());
    case 2: return f(std::integral_constant<int, 2>());
    case 3: return f(std::integral_constant<int, 3>());
    case 4: return f(std::integral_constant<int, 4>());
    case 7: return f(std::integral_constant<int, 7>());
    default: return f(std::integral_constant<int, Shares<float, 4>::MOST_STEPS>());
    }
}

} // namespace

template <typename real, typename ereal>
dpc_status contract(const Member &m, const Channels &c, const Group &group, const Atoms &atoms, const List &list,
                    const Near &near, real *x, real *feature, int ld, Stream stream, dpc_error *err)
{
    if (m.kind == DPC_RADIAL)
        return launch_forward<real, ereal, 1, 2>(m, c, group, atoms, list, near, feature + c.first_feature, ld, stream,
                                                 err);
    return with_steps(steps_of<real>(c), [&](auto steps) {
        return launch_forward<real, ereal, 4, decltype(steps)::value>(m, c, group, atoms, list, near, x, 4 * c.width,
                                                                      stream, err);
    });
}

template <typename real, typename ereal>
dpc_status contract_back(const Member &m, const Channels &c, const Group &group, const Atoms &atoms, const List &list,
                         const Near &near, const real *dx, const real *feature, int ld, ereal *pair_force,
                         Stream stream, dpc_error *err)
{
    if (m.kind == DPC_RADIAL)
        return launch_back<real, ereal, 1, 2>(m, c, group, atoms, list, near, feature + c.first_feature, ld,
                                              pair_force, stream, err);
    return with_steps(steps_of<real>(c), [&](auto steps) {
        return launch_back<real, ereal, 4, decltype(steps)::value>(m, c, group, atoms, list, near, dx, 4 * c.width,
                                                                   pair_force, stream, err);
    });
}

#define INSTANTIATE(real, ereal)                                                                                      \
    template dpc_status contract<real, ereal>(const Member &, const Channels &, const Group &, const Atoms &,         \
                                              const List &, const Near &, real *, real *, int, Stream, dpc_error *);  \
    template dpc_status contract_back<real, ereal>(const Member &, const Channels &, const Group &, const Atoms &,    \
                                                   const List &, const Near &, const real *, const real *, int,       \
                                                   ereal *, Stream, dpc_error *);
INSTANTIATE(double, double)
INSTANTIATE(float, float)
INSTANTIATE(float, double)

} // namespace dpc
