// descriptor.cu - D = Xᵀ X[:, :axis] of two-body descriptors and its gradient: a warp is an atom, its lanes channels
#include "stages.h"
#include "warp.cuh"

namespace dpc {

namespace {

// The numbering of features, as ccore has it.
__device__ dpc_channels numbering(const Channels &c)
{
    dpc_channels view;
    view.symmetric = c.symmetric;
    return view;
}

// The four components of a channel or an axis, read at once.
template <typename real> struct alignas(16) Four {
    real of[4];
};

template <typename real>
__global__ void descriptor(const Group group, const Channels c, const int axis, const real *x, real *y, real *feature,
                           const int ld)
{
    DPC_SHARED(real, shared);
    const int row = row_of(), width = c.width;
    if (row >= rows_of(group))
        return;
    Four<real> *const second = reinterpret_cast<Four<real> *>(shared) + warp_of() * axis; // factor, [axis]
    const real *factor = static_cast<const real *>(c.axis);
    x += (size_t)row * 4 * width;
    for (int a = lane_of(); a < axis; a += DPC_WARP)
        for (int q = 0; q < 4; q++) {
            real sum = factor == nullptr ? x[q * width + a] : (real)0;
            for (int k = 0; factor != nullptr && k < width; k++)
                sum += factor[k * axis + a] * x[q * width + k];
            second[a].of[q] = sum;
            if (factor != nullptr)
                y[((size_t)row * 4 + q) * axis + a] = sum;
        }
    sync_warp();
    const dpc_channels view = numbering(c);
    feature += (size_t)row * ld + c.first_feature;
    for (int i = lane_of(); i < width * axis; i += DPC_WARP) {
        const int k = i / axis, a = i % axis;
        if (a < (int)dpc_first_axis(&view, axis, k))
            continue;
        real sum = 0;
        for (int q = 0; q < 4; q++)
            sum += x[q * width + k] * second[a].of[q];
        feature[dpc_feature(&view, axis, k) + a] = sum;
    }
}

// Shared memory of a warp on the way back: x of DPC_WARP channels; the second factor and the gradient by it, [axis];
// gradients by the channels' features, [DPC_WARP][axis + 1], so that channels lie in different banks.
template <typename real> struct Back {
    Four<real> *x, *second, *sum;
    real *grad;
    static __host__ __device__ size_t size(int axis) // a multiple of Four's
    {
        return 4 * (DPC_WARP + 2 * (size_t)axis + ((size_t)DPC_WARP * (axis + 1) + 3) / 4);
    }
    __device__ Back(real *memory, int axis)
        : x(reinterpret_cast<Four<real> *>(memory)), second(x + DPC_WARP), sum(second + axis),
          grad(reinterpret_cast<real *>(sum + axis))
    {
    }
};

template <typename real>
__global__ void descriptor_back(const Group group, const Channels c, const int axis, const real *x, const real *y,
                                const real *feature, const int ld, real *dx)
{
    DPC_SHARED(real, shared);
    const int row = row_of(), width = c.width, lane = lane_of();
    if (row >= rows_of(group))
        return;
    const Back<real> s(shared + warp_of() * Back<real>::size(axis), axis);
    const real *factor = static_cast<const real *>(c.axis);
    const dpc_channels view = numbering(c);
    x += (size_t)row * 4 * width;
    dx += (size_t)row * 4 * width;
    y += factor != nullptr ? (size_t)row * 4 * axis : 0;
    feature += (size_t)row * ld + c.first_feature;
    for (int a = lane; a < axis; a += DPC_WARP)
        for (int q = 0; q < 4; q++) {
            s.second[a].of[q] = factor == nullptr ? x[q * width + a] : y[q * axis + a];
            s.sum[a].of[q] = 0;
        }
    for (int first = 0; first < width; first += DPC_WARP) {
        const int channels = width - first < DPC_WARP ? width - first : DPC_WARP, k = first + lane;
        sync_warp();
        for (int i = lane; i < channels * axis; i += DPC_WARP) {
            const int m = i / axis, a = i % axis; // beyond the triangle: the same feature as (a, k), counted there
            s.grad[m * (axis + 1) + a] = a < (int)dpc_first_axis(&view, axis, first + m)
                                             ? (real)0
                                             : feature[dpc_feature(&view, axis, first + m) + a];
        }
        for (int q = 0; k < width && q < 4; q++)
            s.x[lane].of[q] = x[q * width + k];
        sync_warp();
        real sum[4] = {0, 0, 0, 0};
        for (int a = 0; k < width && a < axis; a++)
            for (int q = 0; q < 4; q++)
                sum[q] += s.grad[lane * (axis + 1) + a] * s.second[a].of[q];
        for (int q = 0; k < width && q < 4; q++)
            dx[q * width + k] = sum[q];
        for (int a = lane; a < axis; a += DPC_WARP)
            for (int m = 0; m < channels; m++)
                for (int q = 0; q < 4; q++)
                    s.sum[a].of[q] += s.grad[m * (axis + 1) + a] * s.x[m].of[q];
    }
    sync_warp();
    // a channel's lane is the one that has written it above
    for (int k = lane; k < (factor == nullptr ? axis : width); k += DPC_WARP)
        for (int q = 0; q < 4; q++) {
            real sum = factor == nullptr ? s.sum[k].of[q] : (real)0;
            for (int a = 0; factor != nullptr && a < axis; a++)
                sum += factor[k * axis + a] * s.sum[a].of[q];
            dx[q * width + k] += sum;
        }
}

template <typename real>
__global__ void others(const OtherInputs in, const Group group, const Atoms atoms, const int32_t *centre, real *feature,
                       const int ld)
{
    const int row = row_of();
    if (row >= rows_of(group))
        return;
    const int32_t atom = centre[group.list[group.begin + row]];
    real *out = feature + (size_t)row * ld + in.first;
    for (int k = lane_of(); k < in.constants; k += DPC_WARP)
        out[k] = (real)in.constant[group.type * in.constants + k];
    out += in.constants;
    for (int k = lane_of(); k < in.fparams; k += DPC_WARP)
        out[k] = (real)((atoms.fparam[k] - in.fparam[k]) * in.fparam[in.fparams + k]);
    out += in.fparams;
    for (int k = lane_of(); k < in.aparams; k += DPC_WARP)
        out[k] = (real)((atoms.aparam[(size_t)atom * in.aparams + k] - in.aparam[k]) * in.aparam[in.aparams + k]);
}

} // namespace

template <typename real>
dpc_status describe(const Member &m, const Channels &c, const Group &group, const real *x, real *y, real *feature,
                    int ld, Stream stream, dpc_error *err)
{
    return launch(descriptor<real>, warp_blocks(group.most), THREADS, WARPS * 4 * m.axis * sizeof(real), stream, err,
                  group, c, m.axis, x, y, feature, ld);
}

template <typename real>
dpc_status describe_back(const Member &m, const Channels &c, const Group &group, const real *x, const real *y,
                         const real *feature, int ld, real *dx, Stream stream, dpc_error *err)
{
    const size_t shared = WARPS * Back<real>::size(m.axis) * sizeof(real);
    return launch(descriptor_back<real>, warp_blocks(group.most), THREADS, shared, stream, err, group, c, m.axis, x, y,
                  feature, ld, dx);
}

template <typename real>
dpc_status other_inputs(const OtherInputs &in, const Group &group, const Atoms &atoms, const List &list, real *feature,
                        int ld, Stream stream, dpc_error *err)
{
    if (in.constants + in.fparams + in.aparams == 0)
        return DPC_OK;
    return launch(others<real>, warp_blocks(group.most), THREADS, 0, stream, err, in, group, atoms, list.centre,
                  feature, ld);
}

#define INSTANCE(real)                                                                                              \
    template dpc_status describe<real>(const Member &, const Channels &, const Group &, const real *, real *,       \
                                       real *, int, Stream, dpc_error *);                                           \
    template dpc_status describe_back<real>(const Member &, const Channels &, const Group &, const real *,          \
                                            const real *, const real *, int, real *, Stream, dpc_error *);          \
    template dpc_status other_inputs<real>(const OtherInputs &, const Group &, const Atoms &, const List &, real *, \
                                           int, Stream, dpc_error *)
INSTANCE(double);
INSTANCE(float);
#undef INSTANCE

} // namespace dpc
