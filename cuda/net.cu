// net.cu - fitting nets on rows of atoms, forward and backward: a product per layer, the rest of it fused
#include "activation.cuh"
#include "gemm.cuh"
#include "warp.cuh"
#include <type_traits>

namespace dpc {

namespace {

// [rows][ld]
template <typename real> struct Rows {
    enum { TERMS = true }; // what is next in memory is the next term of a row
    const real *data;
    int ld;
    __device__ real operator()(int row, int k) const { return data[row * ld + k]; }
};

// A column [rows] `ld` apart times a row of numbers `step` apart.
template <typename real> struct Outer {
    const real *data;
    int ld;
    const real *by;
    int step;
    __device__ real operator()(int row, int k) const { return data[row * ld] * by[k * step]; }
};

// A gradient by a layer's outputs -> by what its activation took.
template <typename real, typename Of> struct Sloped {
    enum { TERMS = true };
    Of of;
    const real *slope; // [rows][ld]
    int ld;
    __device__ real operator()(int row, int k) const { return of(row, k) * slope[row * ld + k]; }
};

// Weights [in][ld] from inputs to outputs, and back.
template <typename real> struct Weights {
    enum { TERMS = false };
    const real *data;
    int ld;
    __device__ real operator()(int column, int k) const { return data[k * ld + column]; }
};
template <typename real> struct WeightsBack {
    enum { TERMS = true };
    const real *data;
    int ld;
    __device__ real operator()(int column, int k) const { return data[column * ld + k]; }
};

// Sums of a layer -> its outputs and their slopes.
template <typename real> struct Outputs {
    dpc_activation activation;
    int residual, in, ld_x, ld;
    const real *bias, *idt, *x;
    real *h, *slope; // [rows][ld]; slope may be NULL
    __device__ void operator()(int row, int column, real sum) const
    {
        const int at = row * ld + column;
        real derivative, value = activate(activation, sum + bias[column], &derivative);
        if (idt != nullptr) {
            value *= idt[column];
            derivative *= idt[column];
        }
        if (residual != 0)
            value += x[row * ld_x + (column < in ? column : column - in)];
        h[at] = value;
        if (slope != nullptr)
            slope[at] = derivative;
    }
};

// Sums of a layer's way back -> the gradient by its inputs, skip connections included.
template <typename real, typename Of> struct Gradient {
    Of of_outputs;
    int residual, in, ld;
    real *dx; // [rows][ld]
    __device__ void operator()(int row, int column, real sum) const
    {
        for (int i = 0; i < residual; i++)
            sum += of_outputs(row, column + i * in);
        dx[row * ld + column] = sum;
    }
};

enum { DOT_ROWS = 8 * WARPS }; // of a block: the weights are read once for these

// h[row][0] of a linear layer with one output; weight [in] `step` apart.
template <typename real>
__global__ void dot(const Group group, const Rows<real> x, const int in, const real *weight, const int step,
                    const real *bias, real *h, const int ld)
{
    DPC_SHARED(real, shared);
    const int rows = rows_of(group), first = (int)blockIdx.x * DOT_ROWS;
    for (int k = (int)threadIdx.x; k < in; k += THREADS)
        shared[k] = weight[k * step];
    __syncthreads();
    for (int row = first + warp_of(); row < rows && row < first + DOT_ROWS; row += WARPS) {
        real sum = 0;
        for (int k = lane_of(); k < in; k += DPC_WARP)
            sum += x(row, k) * shared[k];
        sum = warp_sum(sum);
        if (lane_of() == 0)
            h[row * ld] = sum + *bias;
    }
}

int padded(int n)
{
    return (n + NET_ALIGN - 1) / NET_ALIGN * NET_ALIGN;
}

template <typename T> T *array(void *data) { return static_cast<T *>(data); }
template <typename T> const T *array(const void *data) { return static_cast<const T *>(data); }

} // namespace

template <typename real>
dpc_status net_forward(const Net &net, const Group &group, const real *feature, int ld, const NetScratch &scratch,
                       Stream stream, dpc_error *err)
{
    Rows<real> x = {feature, ld};
    for (int l = 0; l < net.layers; l++) {
        const Layer &layer = net.layer[l];
        const bool last = l == net.layers - 1;
        const real *weight = array<real>(layer.weight), *bias = array<real>(layer.bias);
        real *h = array<real>(scratch.h[l]);
        const int width = padded(layer.out);
        if (last && layer.out == 1) {
            DPC_TRY(launch(dot<real>, ((size_t)group.most + DOT_ROWS - 1) / DOT_ROWS, THREADS, layer.in * sizeof(real),
                           stream, err, group, x, layer.in, weight, width, bias, h, width));
        } else {
            const Outputs<real> outputs = {layer.activation, layer.residual, layer.in, x.ld, width, bias,
                                           array<real>(layer.idt), x.data, h,
                                           last ? nullptr : array<real>(scratch.slope[l])};
            DPC_TRY(launch_multiply<real>(group, layer.out, layer.in, x, Weights<real>{weight, width}, outputs, stream,
                                          err));
        }
        x = {h, width};
    }
    return DPC_OK;
}

template <typename real>
dpc_status net_back(const Net &net, const Group &group, const real *seed, int ld_seed, const NetScratch &scratch,
                    real *feature, int ld, Stream stream, dpc_error *err)
{
    Rows<real> dh = {seed, ld_seed};
    Outer<real> outer = {};
    for (int l = net.layers - 1; l >= 0; l--) {
        const Layer &layer = net.layer[l];
        const int width = padded(layer.out), ld_dx = l > 0 ? padded(layer.in) : ld;
        const WeightsBack<real> weights = {array<real>(layer.weight), width};
        const real *slope = array<real>(scratch.slope[l]);
        real *dx = l > 0 ? array<real>(scratch.dh[l % 2]) : feature;
        const auto back = [&](const auto &dz, const auto &of_outputs) {
            const Gradient<real, std::decay_t<decltype(of_outputs)>> gradient = {of_outputs, layer.residual, layer.in,
                                                                                ld_dx, dx};
            return launch_multiply<real>(group, layer.in, layer.out, dz, weights, gradient, stream, err);
        };
        if (l == net.layers - 1 && layer.out == 1 && l > 0) // no product: the layer before takes its terms one by one
            outer = {seed, ld_seed, weights.data, width};
        else if (l == net.layers - 1)
            DPC_TRY(back(dh, dh));
        else if (outer.by != nullptr && l == net.layers - 2)
            DPC_TRY(back(Sloped<real, Outer<real>>{outer, slope, width}, outer));
        else
            DPC_TRY(back(Sloped<real, Rows<real>>{dh, slope, width}, dh));
        dh = {dx, ld_dx};
    }
    return DPC_OK;
}

#define INSTANCE(real)                                                                                            \
    template dpc_status net_forward<real>(const Net &, const Group &, const real *, int, const NetScratch &,      \
                                          Stream, dpc_error *);                                                   \
    template dpc_status net_back<real>(const Net &, const Group &, const real *, int, const NetScratch &, real *, \
                                       int, Stream, dpc_error *)
INSTANCE(double);
INSTANCE(float);
#undef INSTANCE

} // namespace dpc
