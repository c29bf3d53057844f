// ops.cu - tables and nets as single operations on a device: dpc.h's, with the kernels of the stages
#include "dpc_cuda.h"
#include "nodes.cuh"
#include "views.h"
#include <algorithm>
#include <new>
extern "C" {
#include "quintic.h"
}

struct dpc_cuda_table {
    int device;
    dpc_table table; // its nodes on the device
    dpc::Pool pool;
};

struct dpc_cuda_net {
    int device;
    dpc_dtype dtype;
    int widest; // a layer's padded outputs
    dpc::Net net;
    const void *one; // a seed
    dpc::Pool pool;
};

namespace dpc {

namespace {

__global__ void __launch_bounds__(THREADS) quintic(const dpc_quintic table, const size_t n, const void *x, void *value,
                                                   void *slope)
{
    const size_t at = (size_t)thread_of(), i = at / table.width, m = at % table.width;
    if (i >= n)
        return;
    double u, beyond, derivative;
    const size_t row = dpc_quintic_find(&table, dpc_get(x, table.dtype, i), &u, &beyond);
    dpc_put(value, table.dtype, at, dpc_quintic_at(&table, row, m, u, beyond, &derivative));
    if (slope != nullptr)
        dpc_put(slope, table.dtype, at, derivative);
}

// ---- contraction: a warp takes an atom, and its pairs a lane each ---------------------------------------------------

enum { STEPS = 8 }; // of channels that are worked on at once

// A lane's pair of a chunk, and the chunk by interval; the lane has one if `there`.
template <typename real> struct Pairing {
    Place<real> at = {};
    Order order;
    bool there;

    __device__ Pairing(Room<real, 4> &room, const dpc_table &table, const real *s, int64_t pair, int64_t end)
    {
        const int n = end - pair < CHUNK ? (int)(end - pair) : CHUNK;
        there = lane_of() < n;
        if (there)
            locate(&table.grid, s + pair + lane_of(), &at);
        order = sort_rows(room, (int)at.row, n);
        list_nodes(room, order, n);
    }
};

template <typename real>
__global__ void __launch_bounds__(THREADS, 4) contract_pairs(const dpc_table table, const dpc_pairs in, real *out)
{
    using Rooms = Room<real, 4>;
    DPC_SHARED(Rooms, rooms);
    const size_t atom = (size_t)row_of();
    if (atom >= in.atoms)
        return;
    Rooms &room = rooms[warp_of()];
    const int width = (int)table.width;
    const real *s = static_cast<const real *>(in.s), *env = static_cast<const real *>(in.env);
    out += atom * 4 * table.width;
    for (int column = 0; column < width; column += STEPS * Shares<real, 4>::SPAN) {
        Tile<real, 4, STEPS> x = {};
        for (int64_t pair = in.first[atom], end = in.first[atom + 1]; pair < end; pair += CHUNK) {
            const Pairing<real> mine(room, table, s, pair, end);
            if (mine.there) {
                real b[12];
                hermite(&mine.at, b, b + 6);
                for (int p = 0; p < 6; p++)
                    room.basis[p][mine.order.rank] = b[p];
                for (int c = 0; c < 4; c++)
                    room.env[mine.order.rank][c] = env[4 * (pair + lane_of()) + c];
            }
            sync_warp();
            product(room, table, mine.order.nodes(), column, x);
        }
        x.each(column, width, [&](real &value, int component, int m) { out[component * width + m] = value; });
    }
}

// From gradients of the weights of a pair's two nodes; adds to what is there if `more`.
template <typename real>
__device__ void gather_pair(const Place<real> &at, const real (*w)[4], const real *env, bool more, real *grad_s,
                            real *grad_env)
{
    real b[12], of_s = 0;
    hermite(&at, b, b + 6);
    for (int c = 0; c < 4; c++) {
        real of_env = 0, slope = 0;
        for (int p = 0; p < 6; p++) {
            of_env += b[p] * w[p][c];
            slope += b[6 + p] * w[p][c];
        }
        grad_env[c] = of_env + (more ? grad_env[c] : (real)0);
        of_s += slope * env[c];
    }
    *grad_s = of_s + (more ? *grad_s : (real)0);
}

template <typename real>
__global__ void __launch_bounds__(THREADS, 4) contract_pairs_back(const dpc_table table, const dpc_pairs in,
                                                                  const real *grad, real *grad_s, real *grad_env)
{
    using Rooms = Room<real, 4>;
    DPC_SHARED(Rooms, rooms);
    const size_t atom = (size_t)row_of();
    if (atom >= in.atoms)
        return;
    Rooms &room = rooms[warp_of()];
    const int width = (int)table.width;
    const real *s = static_cast<const real *>(in.s), *env = static_cast<const real *>(in.env);
    grad += atom * 4 * table.width;
    for (int column = 0; column < width; column += STEPS * Shares<real, 4>::SPAN) {
        Tile<real, 4, STEPS> dx = {};
        dx.each(column, width, [&](real &value, int component, int m) { value = grad[component * width + m]; });
        for (int64_t pair = in.first[atom], end = in.first[atom + 1]; pair < end; pair += CHUNK) {
            const Pairing<real> mine(room, table, s, pair, end);
            const int own = mine.order.node_of(mine.order.rank), nodes = mine.order.nodes();
            for (int batch = 0; batch < nodes; batch += BATCH) {
                product_back(room, table, batch, nodes, column, dx);
                if (mine.there && own >= batch && own < batch + BATCH)
                    gather_pair(mine.at, room.w[own - batch], env + 4 * (pair + lane_of()), column > 0,
                                grad_s + pair + lane_of(), grad_env + 4 * (pair + lane_of()));
            }
        }
    }
}

template <typename real>
dpc_status forward(const dpc_table &table, const dpc_pairs &in, void *out, Stream stream, dpc_error *err)
{
    return launch(contract_pairs<real>, warp_blocks(in.atoms), THREADS, WARPS * sizeof(Room<real, 4>), stream, err,
                  table, in, static_cast<real *>(out));
}

template <typename real>
dpc_status backward(const dpc_table &table, const dpc_pairs &in, const void *grad, void *grad_s, void *grad_env,
                    Stream stream, dpc_error *err)
{
    return launch(contract_pairs_back<real>, warp_blocks(in.atoms), THREADS, WARPS * sizeof(Room<real, 4>), stream, err,
                  table, in, static_cast<const real *>(grad), static_cast<real *>(grad_s),
                  static_cast<real *>(grad_env));
}

// ---- nets -----------------------------------------------------------------------------------------------------------

enum { MOST_ROWS = 8192 }; // evaluated at once

size_t padded(int n)
{
    return dpc_round_up((size_t)n, NET_ALIGN);
}

size_t rows_at_once(size_t n)
{
    return std::min<size_t>(n, MOST_ROWS);
}

template <typename real>
__global__ void __launch_bounds__(THREADS) take_outputs(const int rows, const real *out, real *value)
{
    const int i = (int)thread_of();
    if (i < rows)
        value[i] = out[i * NET_ALIGN];
}

template <typename real>
dpc_status evaluate(const dpc_cuda_net &net, size_t n, const real *x, real *value, real *grad, real *scratch,
                    Stream stream, dpc_error *err)
{
    const size_t most = rows_at_once(n);
    const int in = net.net.layer[0].in, last = net.net.layers - 1;
    NetScratch room = {};
    for (int l = 0; l <= last; l++) {
        room.h[l] = scratch;
        room.slope[l] = scratch + most * padded(net.net.layer[l].out);
        scratch += 2 * most * padded(net.net.layer[l].out);
    }
    room.dh[0] = scratch;
    room.dh[1] = scratch + most * (size_t)net.widest;
    for (size_t begin = 0; begin < n; begin += MOST_ROWS) {
        const int rows = (int)rows_at_once(n - begin);
        const Group group = {0, 0, rows, nullptr, nullptr};
        DPC_TRY(net_forward<real>(net.net, group, x + begin * (size_t)in, in, room, stream, err));
        DPC_TRY(launch(take_outputs<real>, thread_blocks((size_t)rows), THREADS, 0, stream, err, rows,
                       static_cast<const real *>(room.h[last]), value + begin));
        if (grad != nullptr)
            DPC_TRY(net_back<real>(net.net, group, static_cast<const real *>(net.one), 0, room,
                                   grad + begin * (size_t)in, in, stream, err));
    }
    return DPC_OK;
}

// `made` [1] on the calling thread's device, for `what` fills it.
template <typename T, typename F> dpc_status create(T **made, F what, dpc_error *err)
{
    DPC_REQUIRE(made != nullptr, "there is no place for what is made");
    *made = nullptr;
    int device;
    DPC_CUDA_TRY(cudaGetDevice(&device), "the device of this thread");
    T *object = new (std::nothrow) T{};
    if (object == nullptr)
        return dpc_fail(err, DPC_NO_MEMORY, "out of memory");
    object->device = device;
    const dpc_status status = what(*object);
    if (status == DPC_OK)
        *made = object;
    else
        delete object;
    return status;
}

template <typename T> void destroy(T *object)
{
    OnDevice on;
    if (object != nullptr)
        on.enter(object->device, nullptr);
    delete object;
}

} // namespace

} // namespace dpc

using dpc::Stream;

dpc_status dpc_cuda_quintic_eval(const dpc_quintic *table, size_t n, const void *x, void *value, void *slope,
                                 void *stream, dpc_error *err)
{
    DPC_TRY(dpc_quintic_check(table, n, x, value, err));
    return dpc::launch(dpc::quintic, dpc::thread_blocks(n * table->width), dpc::THREADS, 0, static_cast<Stream>(stream),
                       err, *table, n, x, value, slope);
}

dpc_status dpc_cuda_table_create(const dpc_table *from, dpc_cuda_table **table, dpc_error *err)
{
    DPC_REQUIRE(from != nullptr, "there is no table");
    return dpc::create(
        table,
        [&](dpc_cuda_table &made) {
            const void *node;
            made.table = *from;
            DPC_TRY(dpc::copy_nodes(made.pool, *from, &node, err));
            made.table.node = const_cast<void *>(node);
            return DPC_OK;
        },
        err);
}

void dpc_cuda_table_free(dpc_cuda_table *table)
{
    dpc::destroy(table);
}

dpc_status dpc_cuda_net_create(const dpc_net *from, dpc_cuda_net **net, dpc_error *err)
{
    DPC_REQUIRE(from != nullptr, "there is no net");
    return dpc::create(
        net,
        [&](dpc_cuda_net &made) {
            const double wide = 1;
            const float narrow = 1;
            made.dtype = from->dtype;
            DPC_TRY(dpc::copy_layers(made.pool, *from, made.net, err));
            for (int l = 0; l < made.net.layers; l++) {
                const int width = (int)dpc::padded(made.net.layer[l].out);
                made.widest = width > made.widest ? width : made.widest;
            }
            return from->dtype == DPC_F32 ? made.pool.copy_bytes(&narrow, sizeof(narrow), &made.one, err)
                                          : made.pool.copy_bytes(&wide, sizeof(wide), &made.one, err);
        },
        err);
}

void dpc_cuda_net_free(dpc_cuda_net *net)
{
    dpc::destroy(net);
}

dpc_status dpc_cuda_contract_forward(const dpc_cuda_table *table, const dpc_pairs *in, void *out, void *stream,
                                     dpc_error *err)
{
    DPC_REQUIRE(table != nullptr && in != nullptr, "table and in must not be NULL");
    DPC_REQUIRE(out != nullptr || in->atoms == 0, "out must not be NULL");
    const auto on = static_cast<Stream>(stream);
    return table->table.dtype == DPC_F32 ? dpc::forward<float>(table->table, *in, out, on, err)
                                         : dpc::forward<double>(table->table, *in, out, on, err);
}

dpc_status dpc_cuda_contract_backward(const dpc_cuda_table *table, const dpc_pairs *in, const void *grad, void *grad_s,
                                      void *grad_env, void *stream, dpc_error *err)
{
    DPC_REQUIRE(table != nullptr && in != nullptr, "table and in must not be NULL");
    const auto on = static_cast<Stream>(stream);
    return table->table.dtype == DPC_F32
               ? dpc::backward<float>(table->table, *in, grad, grad_s, grad_env, on, err)
               : dpc::backward<double>(table->table, *in, grad, grad_s, grad_env, on, err);
}

size_t dpc_cuda_net_scratch(const dpc_cuda_net *net, size_t n)
{
    size_t row = 2 * (size_t)net->widest;
    for (int l = 0; l < net->net.layers; l++)
        row += 2 * dpc::padded(net->net.layer[l].out);
    return dpc::rows_at_once(n) * row * dpc_dtype_size(net->dtype);
}

dpc_status dpc_cuda_net_eval(const dpc_cuda_net *net, size_t n, const void *x, void *value, void *grad, void *scratch,
                             void *stream, dpc_error *err)
{
    DPC_REQUIRE(net != nullptr, "net must not be NULL");
    DPC_REQUIRE((x != nullptr && value != nullptr && scratch != nullptr) || n == 0,
                "x, value and scratch must not be NULL");
    const auto on = static_cast<Stream>(stream);
    return net->dtype == DPC_F32
               ? dpc::evaluate(*net, n, static_cast<const float *>(x), static_cast<float *>(value),
                               static_cast<float *>(grad), static_cast<float *>(scratch), on, err)
               : dpc::evaluate(*net, n, static_cast<const double *>(x), static_cast<double *>(value),
                               static_cast<double *>(grad), static_cast<double *>(scratch), on, err);
}
