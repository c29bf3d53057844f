// test_cuda_ops.cpp - single operations of a device, on the host, against the C core's
#include "cuda_near.h"
#include "dpc_cuda.h"

namespace {

std::mt19937 source(3);

template <typename real> std::vector<real> some(size_t n, double scale = 1)
{
    std::normal_distribution<double> normal(0, scale);
    std::vector<real> made(n);
    for (real &x : made)
        x = (real)normal(source);
    return made;
}

template <typename real> struct Of;
template <> struct Of<double> {
    static const dpc_dtype dtype = DPC_F64;
    static constexpr double tolerance = 1e-12;
};
template <> struct Of<float> {
    static const dpc_dtype dtype = DPC_F32;
    static constexpr double tolerance = 1e-5;
};

template <typename real> void compare(const char *what, const std::vector<real> &got, const std::vector<real> &expected)
{
    expect_close(what, got, std::vector<double>(expected.begin(), expected.end()), Of<real>::tolerance);
}

#define RUN(call) EXPECT((call) == DPC_OK, "%s", err.message)

template <typename real> void check_quintic(size_t rows1, size_t width, size_t n)
{
    const size_t rows0 = 7;
    const std::vector<real> coef = some<real>((rows0 + rows1) * width * 6), x = some<real>(n, 2);
    const dpc_quintic table = {Of<real>::dtype, rows0, rows1, width, -1, 0.25, 0.5, coef.data()};
    std::vector<real> value(n * width, (real)NAN), slope = value, expected = value, expected_slope = value;
    dpc_error err;
    RUN(dpc_quintic_eval(&table, n, x.data(), expected.data(), expected_slope.data(), nullptr, &err));
    RUN(dpc_cuda_quintic_eval(&table, n, x.data(), value.data(), slope.data(), nullptr, &err));
    compare("quintic", value, expected);
    compare("its slope", slope, expected_slope);
    RUN(dpc_cuda_quintic_eval(&table, n, x.data(), value.data(), nullptr, nullptr, &err));
}

// Atoms with as many pairs each.
template <typename real> void check_contraction(size_t width, const std::vector<int64_t> &pairs)
{
    const size_t rows0 = 9, rows1 = 5, atoms = pairs.size();
    std::vector<int64_t> first = {0};
    for (int64_t n : pairs)
        first.push_back(first.back() + n);
    const size_t all = (size_t)first.back();
    const std::vector<real> node = some<real>((rows0 + rows1 + 1) * 3 * width), s = some<real>(all, 1.5),
                            env = some<real>(4 * all), grad = some<real>(atoms * 4 * width);
    const dpc_table_spec spec = {Of<real>::dtype, rows0, rows1, width, -2, 0.3, 0.5, node.data()};
    const dpc_pairs in = {atoms, first.data(), s.data(), env.data()};
    dpc_table *table = nullptr;
    dpc_cuda_table *copy = nullptr;
    dpc_error err;
    RUN(dpc_table_create(&spec, &table, &err));
    RUN(dpc_cuda_table_create(table, &copy, &err));
    std::vector<real> out(grad.size(), (real)NAN), of_s(all, (real)NAN), of_env(4 * all, (real)NAN);
    std::vector<real> expected = out, expected_s = of_s, expected_env = of_env;
    RUN(dpc_contract_forward(table, &in, expected.data(), nullptr, &err));
    RUN(dpc_cuda_contract_forward(copy, &in, out.data(), nullptr, &err));
    RUN(dpc_contract_backward(table, &in, grad.data(), expected_s.data(), expected_env.data(), nullptr, &err));
    RUN(dpc_cuda_contract_backward(copy, &in, grad.data(), of_s.data(), of_env.data(), nullptr, &err));
    compare("contraction", out, expected);
    compare("gradient by s", of_s, expected_s);
    compare("gradient by env", of_env, expected_env);
    dpc_cuda_table_free(copy);
    dpc_table_free(table);
}

template <typename real> void check_net(size_t n, size_t in, size_t wide)
{
    const std::vector<real> w0 = some<real>(in * wide, 0.3), w1 = some<real>(wide * wide, 0.1), w2 = some<real>(wide),
                            bias = some<real>(wide), idt = some<real>(wide), x = some<real>(n * in);
    const dpc_layer layer[] = {{in, wide, w0.data(), bias.data(), nullptr, DPC_TANH, 0},
                               {wide, wide, w1.data(), nullptr, idt.data(), DPC_TANH, 1},
                               {wide, 1, w2.data(), bias.data(), nullptr, DPC_LINEAR, 0}};
    dpc_net *net = nullptr;
    dpc_cuda_net *copy = nullptr;
    dpc_error err;
    RUN(dpc_net_create(Of<real>::dtype, 3, layer, &net, &err));
    RUN(dpc_cuda_net_create(net, &copy, &err));
    std::vector<real> value(n, (real)NAN), grad(n * in, (real)NAN), expected = value, expected_grad = grad;
    std::vector<char> scratch(dpc_cuda_net_scratch(copy, n));
    RUN(dpc_net_eval(net, n, x.data(), expected.data(), expected_grad.data(), nullptr, &err));
    RUN(dpc_cuda_net_eval(copy, n, x.data(), value.data(), grad.data(), scratch.data(), nullptr, &err));
    compare("net", value, expected);
    compare("its gradient", grad, expected_grad);
    value.assign(n, (real)NAN);
    RUN(dpc_cuda_net_eval(copy, n, x.data(), value.data(), nullptr, scratch.data(), nullptr, &err));
    compare("net alone", value, expected);
    dpc_cuda_net_free(copy);
    dpc_net_free(net);
}

template <typename real> void check()
{
    for (size_t width : {1, 3, 33})
        check_quintic<real>(width == 3 ? 0 : 4, width, 50);
    check_quintic<real>(2, 4, 0);
    for (size_t width : {1, 7, 8, 16, 17, 31, 33, 100, 129})
        check_contraction<real>(width, {0, 5, 31, 0, 33, 70, 1});
    check_contraction<real>(8, {});
    check_net<real>(0, 5, 10);
    check_net<real>(70, 33, 31);
    if (DPC_WARP == 1) // more than are evaluated at once
        check_net<real>(8200, 2, 3);
}

void check_misuse()
{
    dpc_error err;
    dpc_cuda_table *table;
    dpc_cuda_net *net;
    EXPECT(dpc_cuda_quintic_eval(nullptr, 1, nullptr, nullptr, nullptr, nullptr, &err) == DPC_INVALID, "no table");
    EXPECT(dpc_cuda_table_create(nullptr, &table, &err) == DPC_INVALID, "no table");
    EXPECT(dpc_cuda_net_create(nullptr, &net, &err) == DPC_INVALID, "no net");
    EXPECT(dpc_cuda_contract_forward(nullptr, nullptr, nullptr, nullptr, &err) == DPC_INVALID, "no table");
    EXPECT(dpc_cuda_net_eval(nullptr, 0, nullptr, nullptr, nullptr, nullptr, nullptr, &err) == DPC_INVALID, "no net");
    dpc_cuda_table_free(nullptr);
    dpc_cuda_net_free(nullptr);
}

} // namespace

int main()
{
    check<double>();
    check<float>();
    check_misuse();
    std::printf("%d failures\n", failures);
    return failures != 0;
}
