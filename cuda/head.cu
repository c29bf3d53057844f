// head.cu - results of atoms from the fitting net's outputs and the environment's directions, and back; their sums
#include "stages.h"
#include "warp.cuh"

namespace dpc {

namespace {

// Components a and b of rot that polar's differentiated output o is made of.
struct Triangle {
    int a, b;
    __device__ explicit Triangle(int o) : a(o < 3 ? 0 : o < 5 ? 1 : 2), b(o < 3 ? o : o < 5 ? o - 2 : 2) {}
};

// An atom's net outputs, and rot [3][channels]: X[1:4] of the two-body members, one after the other.
template <typename real> struct Atom {
    const Directions &x;
    const int row, channels;
    const bool whole; // whether polar's matrix is, or its diagonal
    const real *out;

    __device__ Atom(const Head &head, const Directions &directions, int r, const real *outputs, int ld)
        : x(directions), row(r), channels(head.rotations), whole(head.net_outputs > head.rotations),
          out(outputs + (size_t)r * ld)
    {
    }

    // Component a of channel m in x, or in dx.
    template <typename T> __device__ T *find(T *const *members, int a, int m) const
    {
        int i = 0;
        for (; m >= x.width[i]; i++)
            m -= x.width[i];
        return members[i] + ((size_t)row * 4 + 1 + a) * x.width[i] + m;
    }
    __device__ real rot(int a, int m) const { return *find(reinterpret_cast<const real *const *>(x.x), a, m); }
    __device__ void add(int a, int m, real value) const { *find(reinterpret_cast<real *const *>(x.dx), a, m) += value; }

    // Row m of polar's matrix times component b.
    __device__ real polar_row(int m, int b) const
    {
        if (!whole)
            return out[m] * rot(b, m);
        real sum = 0;
        for (int n = 0; n < channels; n++)
            sum += out[(size_t)m * channels + n] * rot(b, n);
        return sum;
    }
};

template <typename real>
__global__ void values(const Head head, const Group group, const real *out, const int ld, const Directions x,
                       double *value)
{
    const int row = row_of();
    if (row >= rows_of(group))
        return;
    const double *bias = head.bias + (size_t)group.type * head.biases;
    const bool rotates = head.kind == DPC_DIPOLE || head.kind == DPC_POLAR;
    value += (size_t)row * head.outputs;
    for (int o = lane_of(); o < head.outputs; o += DPC_WARP) {
        const double more = head.kind == DPC_DIPOLE ? 0 : head.kind != DPC_POLAR ? bias[o] : o % 4 == 0 ? bias[0] : 0;
        value[o] = more + (out != nullptr && !rotates ? (double)out[(size_t)row * ld + o] : 0);
    }
    if (out == nullptr || !rotates)
        return;
    sync_warp();
    const Atom<real> atom(head, x, row, out, ld);
    for (int o = 0; o < head.outputs; o++) {
        real sum = 0;
        for (int m = lane_of(); m < atom.channels; m += DPC_WARP)
            sum += head.kind == DPC_DIPOLE ? atom.out[m] * atom.rot(o, m)
                                           : atom.rot(o / 3, m) * atom.polar_row(m, o % 3);
        sum = warp_sum(sum);
        if (lane_of() == 0)
            value[o] += (double)sum;
    }
}

template <typename real>
__global__ void seeds(const Head head, const Group group, const int o, const Directions x, const double *share,
                      real *seed, const int ld)
{
    const int row = row_of();
    if (row >= rows_of(group))
        return;
    seed += (size_t)row * ld;
    if (head.kind == DPC_ENERGY) {
        if (lane_of() == 0)
            *seed = share != nullptr ? (real)share[row] : (real)1;
        return;
    }
    const Atom<real> atom(head, x, row, nullptr, 0);
    const Triangle of(o);
    for (int i = lane_of(); i < head.net_outputs; i += DPC_WARP) {
        const int m = atom.whole ? i / atom.channels : i, n = atom.whole ? i % atom.channels : i;
        seed[i] = head.kind == DPC_DIPOLE ? atom.rot(o, i) : atom.rot(of.a, m) * atom.rot(of.b, n);
    }
}

template <typename real>
__global__ void directions(const Head head, const Group group, const int o, const real *out, const int ld,
                           const Directions x)
{
    const int row = row_of();
    if (row >= rows_of(group))
        return;
    const Atom<real> atom(head, x, row, out, ld);
    const Triangle of(o);
    for (int m = lane_of(); m < atom.channels; m += DPC_WARP)
        if (head.kind == DPC_DIPOLE) {
            atom.add(o, m, atom.out[m]);
        } else { // the matrix is symmetric
            atom.add(of.a, m, atom.polar_row(m, of.b));
            atom.add(of.b, m, atom.polar_row(m, of.a));
        }
}

__global__ void store(const Group group, const int32_t *centre, const int outputs, const double *value,
                      double *atom_energy, const int stride)
{
    const int row = row_of();
    if (row >= rows_of(group))
        return;
    double *to = atom_energy + (size_t)centre[group.list[group.begin + row]] * stride;
    for (int o = lane_of(); o < outputs; o += DPC_WARP)
        to[o] += value[(size_t)row * outputs + o];
}

// Sums of equal shares of the atoms, one to a warp; then of those.
__global__ void sum_shares(const int local, const int outputs, const double *atom_energy, double *partial)
{
    const int share = row_of();
    const int begin = (int)((int64_t)local * share / FORCE_PARTIALS);
    const int end = (int)((int64_t)local * (share + 1) / FORCE_PARTIALS);
    for (int o = 0; o < outputs; o++) {
        double sum = 0;
        for (int i = begin + lane_of(); i < end; i += DPC_WARP)
            sum += atom_energy[(size_t)i * outputs + o];
        sum = begin < end ? warp_sum(sum) : 0;
        if (lane_of() == 0)
            partial[share * outputs + o] = sum;
    }
}

__global__ void sum_partials(const int outputs, const double *partial, const double scale, double *energy)
{
    const int o = row_of();
    if (o >= outputs)
        return;
    double sum = 0;
    for (int i = lane_of(); i < FORCE_PARTIALS; i += DPC_WARP)
        sum += partial[i * outputs + o];
    sum = warp_sum(sum);
    if (lane_of() == 0)
        energy[o] = scale * sum;
}

} // namespace

template <typename real>
dpc_status head_values(const Head &head, const Group &group, const real *out, int ld_out, const Directions &x,
                       double *value, Stream stream, dpc_error *err)
{
    return launch(values<real>, warp_blocks(group.most), THREADS, 0, stream, err, head, group, out, ld_out, x, value);
}

template <typename real>
dpc_status head_seed(const Head &head, const Group &group, int o, const Directions &x, const double *share, real *seed,
                     int ld_seed, Stream stream, dpc_error *err)
{
    return launch(seeds<real>, warp_blocks(group.most), THREADS, 0, stream, err, head, group, o, x, share, seed,
                  ld_seed);
}

template <typename real>
dpc_status head_directions(const Head &head, const Group &group, int o, const real *out, int ld_out,
                           const Directions &x, Stream stream, dpc_error *err)
{
    if (head.kind == DPC_ENERGY)
        return DPC_OK;
    return launch(directions<real>, warp_blocks(group.most), THREADS, 0, stream, err, head, group, o, out, ld_out, x);
}

dpc_status store_values(const Group &group, const List &list, int outputs, const double *value, double *atom_energy,
                        int stride, Stream stream, dpc_error *err)
{
    return launch(store, warp_blocks(group.most), THREADS, 0, stream, err, group, list.centre, outputs, value,
                  atom_energy, stride);
}

dpc_status sum_values(int local, int outputs, const double *atom_energy, double scale, double *energy, double *partial,
                      Stream stream, dpc_error *err)
{
    DPC_TRY(launch(sum_shares, warp_blocks(FORCE_PARTIALS), THREADS, 0, stream, err, local, outputs, atom_energy,
                   partial));
    return launch(sum_partials, warp_blocks(outputs), THREADS, 0, stream, err, outputs, partial, scale, energy);
}

#define INSTANCE(real)                                                                                             \
    template dpc_status head_values<real>(const Head &, const Group &, const real *, int, const Directions &,      \
                                          double *, Stream, dpc_error *);                                          \
    template dpc_status head_seed<real>(const Head &, const Group &, int, const Directions &, const double *,      \
                                        real *, int, Stream, dpc_error *);                                         \
    template dpc_status head_directions<real>(const Head &, const Group &, int, const real *, int,                 \
                                              const Directions &, Stream, dpc_error *)
INSTANCE(double);
INSTANCE(float);
#undef INSTANCE

} // namespace dpc
