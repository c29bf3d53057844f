// test_cuda_net.cpp - nets on rows of atoms, on the host, against the C core's
#include "cuda_near.h"
#include <memory>

using namespace dpc;

namespace {

// Layers of these widths, the first of inputs; `residual` is that of each layer but the last.
struct Case {
    std::vector<int> width;
    std::vector<int> residual;
    dpc_activation activation;
    bool idt;
    int rows;
};

const dpc_activation EVERY[] = {DPC_LINEAR, DPC_TANH, DPC_GELU, DPC_RELU, DPC_RELU6, DPC_SOFTPLUS, DPC_SIGMOID,
                                DPC_SILU, DPC_GELU_TF, DPC_SILUT};

int padded(int n)
{
    return (n + NET_ALIGN - 1) / NET_ALIGN * NET_ALIGN;
}

std::vector<double> random_numbers(size_t n, double scale, std::mt19937 &random)
{
    std::normal_distribution<double> normal(0, scale);
    std::vector<double> made(n);
    for (double &x : made)
        x = (double)(float)normal(random); // the same in either precision
    return made;
}

// A net as files have it, of doubles.
struct Plain {
    std::vector<std::vector<double>> weight, bias, idt;
    std::vector<dpc_layer> layer;

    Plain(const Case &how, std::mt19937 &random)
    {
        const size_t layers = how.width.size() - 1;
        for (size_t l = 0; l < layers; l++) {
            const size_t in = (size_t)how.width[l], out = (size_t)how.width[l + 1];
            const bool last = l + 1 == layers;
            weight.push_back(random_numbers(in * out, 1 / std::sqrt((double)in), random));
            bias.push_back(random_numbers(out, 1, random));
            idt.push_back(random_numbers(out, 1, random));
            layer.push_back({in, out, nullptr, nullptr, nullptr, last ? DPC_LINEAR : how.activation,
                             last ? 0 : how.residual[l]});
        }
        for (size_t l = 0; l < layers; l++) {
            layer[l].weight = weight[l].data();
            layer[l].bias = bias[l].data();
            layer[l].idt = how.idt && l + 1 < layers ? idt[l].data() : nullptr;
        }
    }

    // Output o at x [rows][in] and its gradient, by the C core.
    void evaluate(size_t o, size_t rows, const double *x, double *value, double *grad) const
    {
        std::vector<dpc_layer> one = layer;
        dpc_layer &last = one.back();
        std::vector<double> column;
        for (size_t k = 0; k < last.in; k++)
            column.push_back(weight.back()[k * last.out + o]);
        const double shift = bias.back()[o];
        last.out = 1;
        last.weight = column.data();
        last.bias = &shift;
        dpc_net *net = nullptr;
        dpc_error err;
        EXPECT(dpc_net_create(DPC_F64, one.size(), one.data(), &net, &err) == DPC_OK &&
                   dpc_net_eval(net, rows, x, value, grad, nullptr, &err) == DPC_OK,
               "%s", err.message);
        dpc_net_free(net);
    }
};

// The same as the stages take it, with its scratch for `most` rows.
template <typename real> struct Packed {
    std::vector<std::vector<real>> numbers;
    Net net = {};
    NetScratch scratch = {};

    Packed(const Plain &from, int most)
    {
        size_t widest = 0;
        net.layers = (int)from.layer.size();
        for (int l = 0; l < net.layers; l++) {
            const dpc_layer &a = from.layer[(size_t)l];
            const size_t width = (size_t)padded((int)a.out);
            net.layer[l] = {(int)a.in, (int)a.out, a.residual, a.activation, pad(a.weight, a.in, a.out, width),
                            pad(a.bias, 1, a.out, width), a.idt != nullptr ? pad(a.idt, 1, a.out, width) : nullptr};
            scratch.h[l] = room((size_t)most * width);
            scratch.slope[l] = room((size_t)most * width);
            widest = width > widest ? width : widest;
        }
        for (void *&dh : scratch.dh)
            dh = room((size_t)most * widest);
    }

    real *room(size_t n)
    {
        numbers.emplace_back(n, (real)NAN); // what is read must have been written
        return numbers.back().data();
    }

    const real *pad(const void *from, size_t rows, size_t columns, size_t width)
    {
        real *to = room(rows * width);
        for (size_t i = 0; i < rows * width; i++)
            to[i] = i % width < columns ? (real)((const double *)from)[i / width * columns + i % width] : (real)0;
        return to;
    }
};

template <typename real> void check_net(const Case &how, double tolerance)
{
    std::mt19937 random(how.rows * 31 + how.width[1]);
    const Plain plain(how, random);
    const size_t in = (size_t)how.width[0], outputs = (size_t)how.width.back(), rows = (size_t)how.rows, ld = in + 3;
    const int most = how.rows + 5, begin = 2, width = padded((int)outputs), ld_seed = (int)outputs + 1;
    const int32_t count = begin + how.rows;
    Packed<real> packed(plain, most);
    const Group group = {0, begin, most, nullptr, &count};
    const std::vector<double> x = random_numbers(rows * in, 1.5, random);
    const std::vector<double> seeds = random_numbers(rows * outputs, 1, random);
    std::vector<real> feature((size_t)most * ld, (real)NAN), seed((size_t)most * (size_t)ld_seed, (real)NAN);
    std::vector<double> value(rows), grad(rows * in), expected_value(rows * outputs), expected(rows * in);
    for (size_t i = 0; i < rows * in; i++)
        feature[i / in * ld + i % in] = (real)x[i];
    for (size_t o = 0; o < outputs; o++) {
        plain.evaluate(o, rows, x.data(), value.data(), grad.data());
        for (size_t i = 0; i < rows; i++) {
            expected_value[i * outputs + o] = value[i];
            seed[i * (size_t)ld_seed + o] = (real)seeds[i * outputs + o];
            for (size_t k = 0; k < in; k++)
                expected[i * in + k] += seeds[i * outputs + o] * grad[i * in + k];
        }
    }
    dpc_error err;
    EXPECT(net_forward<real>(packed.net, group, feature.data(), (int)ld, packed.scratch, nullptr, &err) == DPC_OK, "%s",
           err.message);
    const real *out = static_cast<const real *>(packed.scratch.h[packed.net.layers - 1]);
    std::vector<real> got, got_grad;
    for (size_t i = 0; i < rows * outputs; i++)
        got.push_back(out[i / outputs * (size_t)width + i % outputs]);
    for (int again = 0; again < 2; again++) { // slopes survive
        EXPECT(net_back<real>(packed.net, group, seed.data(), ld_seed, packed.scratch, feature.data(), (int)ld, nullptr,
                              &err) == DPC_OK,
               "%s", err.message);
        got_grad.clear();
        for (size_t i = 0; i < rows * in; i++)
            got_grad.push_back(feature[i / in * ld + i % in]);
    }
    char name[80];
    std::snprintf(name, sizeof(name), "%d rows, %zu inputs, %d wide, %zu outputs, activation %d", how.rows, in,
                  how.width[1], outputs, (int)how.activation);
    expect_close(name, got, expected_value, tolerance);
    expect_close(name, got_grad, expected, tolerance);
    for (size_t i = 0; i < (size_t)most * ld; i++)
        EXPECT((i / ld < rows && i % ld < in) || std::isnan(feature[i]), "%s: number %zu is not the net's", name, i);
}

void check(const Case &how)
{
    check_net<double>(how, 1e-12);
    check_net<float>(how, 2e-5);
}

} // namespace

int main()
{
    for (dpc_activation activation : EVERY)
        check({{19, 33, 33, 66, 1}, {0, 1, 2}, activation, true, 7});
    for (int width : {31, 32, 33, 63, 64, 65})
        check({{width, width + 1, width + 1, 1}, {0, 1}, DPC_TANH, false, width});
    for (int rows : {0, 1, 15, 16, 17, 127, 129})
        check({{9, 12, rows % 5 + 2}, {0}, DPC_TANH, false, rows});
    check({{40, 1}, {}, DPC_LINEAR, false, 3});
    check({{5, 1, 1}, {0}, DPC_TANH, false, 40});
    check({{8, 16, 3}, {2}, DPC_SILU, false, 4});
    std::printf("%d failures\n", failures);
    return failures != 0;
}
