// test_cuda_descriptor.cpp - descriptors, inputs of nets and heads on rows of atoms, on the host, against plain loops
#include "cuda_near.h"

using namespace dpc;

namespace {

const int ROWS = 6, BEGIN = 3; // of groups that have room for more

std::mt19937 source(11);

template <typename real> std::vector<real> some(size_t n)
{
    std::normal_distribution<double> normal;
    std::vector<real> made(n);
    for (real &x : made)
        x = (real)normal(source);
    return made;
}

template <typename real> double tolerance()
{
    return sizeof(real) == sizeof(double) ? 1e-13 : 2e-6;
}

// Centres BEGIN, ... of a list that is all atoms, backward.
struct Centres {
    const int32_t count = BEGIN + ROWS;
    std::vector<int32_t> list, centre;

    Centres()
    {
        for (int k = 0; k < count; k++) {
            list.push_back(count - 1 - k);
            centre.push_back((k + 4) % count);
        }
    }
    Group group(int type) const { return {type, BEGIN, ROWS + 4, list.data(), &count}; }
    int atom(int row) const { return centre[(size_t)list[(size_t)(BEGIN + row)]]; }
};

#define RUN(call) EXPECT((call) == DPC_OK, "%s", err.message)

template <typename real> void check_descriptor(int width, int axis, bool symmetric, bool folded)
{
    const Centres centres;
    const Group group = centres.group(0);
    const std::vector<real> factor = some<real>((size_t)(width * axis));
    const std::vector<real> x = some<real>((size_t)(group.most * 4 * width));
    Member m = {};
    Channels c = {};
    m.axis = axis;
    c.width = width;
    c.first_feature = 2;
    c.symmetric = symmetric;
    c.axis = folded ? factor.data() : nullptr;
    std::vector<double> second((size_t)(ROWS * 4 * axis)), feature, dx((size_t)(ROWS * 4 * width)), of_second = second;
    for (int i = 0; i < ROWS * 4 * axis; i++)
        for (int k = 0; k < width; k++)
            second[(size_t)i] += (double)x[(size_t)(i / axis * width + k)] *
                                 (folded ? (double)factor[(size_t)(k * axis + i % axis)] : k == i % axis);
    const int features = symmetric ? width * axis - axis * (axis - 1) / 2 : width * axis, ld = features + 5;
    const std::vector<real> grad = some<real>((size_t)(ROWS * ld));
    for (int row = 0; row < ROWS; row++) {
        int number = c.first_feature;
        for (int k = 0; k < width; k++)
            for (int a = symmetric && k < axis ? k : 0; a < axis; a++, number++) {
                double sum = 0;
                for (int q = row * 4; q < row * 4 + 4; q++) {
                    const size_t at = (size_t)(q * width + k), by = (size_t)(q * axis + a);
                    sum += (double)x[at] * second[by];
                    dx[at] += (double)grad[(size_t)(row * ld + number)] * second[by];
                    of_second[by] += (double)grad[(size_t)(row * ld + number)] * (double)x[at];
                }
                feature.push_back(sum);
            }
    }
    for (int i = 0; i < ROWS * 4 * axis; i++)
        for (int k = 0; k < width; k++)
            dx[(size_t)(i / axis * width + k)] +=
                of_second[(size_t)i] * (folded ? (double)factor[(size_t)(k * axis + i % axis)] : k == i % axis);

    dpc_error err;
    std::vector<real> y((size_t)(group.most * 4 * axis)), made((size_t)(group.most * ld), (real)NAN), got,
        got_dx((size_t)(group.most * 4 * width), (real)NAN);
    RUN(describe<real>(m, c, group, x.data(), y.data(), made.data(), ld, nullptr, &err));
    for (int i = 0; i < ROWS * ld; i++)
        if (i % ld >= c.first_feature && i % ld < c.first_feature + features)
            got.push_back(made[(size_t)i]);
    RUN(describe_back<real>(m, c, group, x.data(), y.data(), grad.data(), ld, got_dx.data(), nullptr, &err));
    EXPECT(std::isnan(got_dx[(size_t)(ROWS * 4 * width)]), "a row too many");
    got_dx.resize((size_t)(ROWS * 4 * width));
    char name[60];
    std::snprintf(name, sizeof(name), "%d channels, %d axes, symmetric %d, folded %d", width, axis, symmetric, folded);
    expect_close(name, got, feature, tolerance<real>());
    expect_close(name, got_dx, dx, tolerance<real>());
}

template <typename real> void check_inputs()
{
    const Centres centres;
    const int first = 4, constants = 3, fparams = 2, aparams = 1, ld = 11, type = 1;
    const auto constant = some<double>(2 * constants), fparam = some<double>(2 * fparams), aparam = some<double>(2),
               frame = some<double>(fparams), atom = some<double>((size_t)centres.count);
    const OtherInputs in = {first, constants, fparams, aparams, constant.data(), fparam.data(), aparam.data()};
    Atoms atoms = {};
    List list = {};
    atoms.fparam = frame.data();
    atoms.aparam = atom.data();
    list.centre = centres.centre.data();
    std::vector<real> feature((size_t)((ROWS + 4) * ld), (real)NAN), got;
    std::vector<double> expected;
    dpc_error err;
    RUN(other_inputs<real>(in, centres.group(type), atoms, list, feature.data(), ld, nullptr, &err));
    for (int row = 0; row < ROWS; row++) {
        for (int k = 0; k < constants; k++)
            expected.push_back(constant[(size_t)(type * constants + k)]);
        for (size_t k = 0; k < fparams; k++)
            expected.push_back((frame[k] - fparam[k]) * fparam[fparams + k]);
        expected.push_back((atom[(size_t)centres.atom(row)] - aparam[0]) * aparam[1]);
        for (int k = first; k < first + constants + fparams + aparams; k++)
            got.push_back(feature[(size_t)(row * ld + k)]);
        EXPECT(std::isnan(feature[(size_t)(row * ld + first - 1)]), "an input too many");
    }
    expect_close("inputs", got, expected, tolerance<real>());
}

// Two members' directions, one after the other.
template <typename real> struct Rotations {
    enum { FIRST = 3, SECOND = 5, ALL = FIRST + SECOND };
    std::vector<real> x[2], dx[2];

    Rotations()
    {
        for (int i = 0; i < 2; i++) {
            x[i] = some<real>((size_t)((ROWS + 4) * 4 * width(i)));
            dx[i].assign(x[i].size(), (real)1);
        }
    }
    static int width(int i) { return i == 0 ? FIRST : SECOND; }
    Directions directions()
    {
        return {2, {x[0].data(), x[1].data()}, {dx[0].data(), dx[1].data()}, {FIRST, SECOND}};
    }
    double at(const std::vector<real> *of, int row, int a, int m) const
    {
        const int i = m >= FIRST;
        return (double)of[i][(size_t)((row * 4 + 1 + a) * width(i) + m - i * FIRST)];
    }
};

// Result (a, b) of polar, or a of dipole, and what of it is differentiated, by the definition.
template <typename real> void check_head(dpc_head kind, int outputs, int net_outputs)
{
    enum { ALL = Rotations<real>::ALL };
    const Centres centres;
    const Group group = centres.group(1);
    const int type = 1, ld = net_outputs + 2, biases = kind == DPC_POLAR ? 1 : outputs;
    const std::vector<double> bias = some<double>((size_t)(2 * biases)), share = some<double>(ROWS);
    const std::vector<real> out = some<real>((size_t)((ROWS + 4) * ld));
    const Head head = {kind, outputs, net_outputs, ALL, 2, bias.data(), biases};
    const bool whole = net_outputs > ALL;
    Rotations<real> rot;
    // polar's matrix, and the gradient of result (a, b) by it
    const auto matrix = [&](int row, int m, int n) {
        const int at = row * ld + (whole ? m * ALL + n : m);
        return whole || m == n ? (double)out[(size_t)at] : 0.0;
    };
    std::vector<double> value((size_t)((ROWS + 4) * outputs)), expected;
    dpc_error err;
    RUN(head_values<real>(head, group, out.data(), ld, rot.directions(), value.data(), nullptr, &err));
    for (int row = 0; row < ROWS; row++)
        for (int o = 0; o < outputs; o++) {
            double sum = 0;
            for (int m = 0; m < ALL && kind == DPC_DIPOLE; m++)
                sum += (double)out[(size_t)(row * ld + m)] * rot.at(rot.x, row, o, m);
            for (int i = 0; i < ALL * ALL && kind == DPC_POLAR; i++)
                sum += rot.at(rot.x, row, o / 3, i / ALL) * matrix(row, i / ALL, i % ALL) *
                       rot.at(rot.x, row, o % 3, i % ALL);
            if (kind != DPC_DIPOLE && kind != DPC_POLAR)
                sum = (double)out[(size_t)(row * ld + o)];
            if (kind != DPC_DIPOLE && (kind != DPC_POLAR || o % 4 == 0))
                sum += bias[(size_t)(type * biases + (kind == DPC_POLAR ? 0 : o))];
            expected.push_back(sum);
        }
    value.resize(expected.size());
    expect_close("values", value, expected, tolerance<real>());

    const int triangle[6][2] = {{0, 0}, {0, 1}, {0, 2}, {1, 1}, {1, 2}, {2, 2}};
    const int slopes = kind == DPC_ENERGY ? 1 : kind == DPC_DIPOLE ? 3 : kind == DPC_POLAR ? 6 : 0;
    for (int o = 0; o < slopes; o++) {
        Rotations<real> other = rot;
        std::vector<real> seed((size_t)((ROWS + 4) * ld), (real)NAN), got, got_dx;
        std::vector<double> seeds, dx;
        RUN(head_seed<real>(head, group, o, rot.directions(), o % 2 ? nullptr : share.data(), seed.data(), ld, nullptr,
                            &err));
        RUN(head_directions<real>(head, group, o, out.data(), ld, other.directions(), nullptr, &err));
        const int a = triangle[o][0], b = triangle[o][1];
        for (int row = 0; row < ROWS; row++) {
            for (int i = 0; i < net_outputs; i++) {
                const int m = whole ? i / ALL : i, n = whole ? i % ALL : i;
                seeds.push_back(kind == DPC_ENERGY   ? share[(size_t)row]
                                : kind == DPC_DIPOLE ? rot.at(rot.x, row, o, i)
                                                     : rot.at(rot.x, row, a, m) * rot.at(rot.x, row, b, n));
                got.push_back(seed[(size_t)(row * ld + i)]);
            }
            for (int q = 0; q < 3; q++)
                for (int m = 0; m < ALL; m++) {
                    double sum = 1; // what was there
                    if (kind == DPC_DIPOLE && q == o)
                        sum += (double)out[(size_t)(row * ld + m)];
                    for (int n = 0; n < ALL && kind == DPC_POLAR; n++) // the file's matrices are symmetric
                        sum += (q == a) * matrix(row, m, n) * rot.at(rot.x, row, b, n) +
                               (q == b) * matrix(row, m, n) * rot.at(rot.x, row, a, n);
                    dx.push_back(sum);
                    got_dx.push_back((real)other.at(other.dx, row, q, m));
                }
        }
        expect_close("seeds", got, seeds, tolerance<real>());
        expect_close("directions", got_dx, dx, tolerance<real>());
    }
    RUN(head_values<real>(head, group, nullptr, 0, rot.directions(), value.data(), nullptr, &err));
    for (int o = 0; o < outputs; o++) {
        const double more = kind == DPC_DIPOLE || (kind == DPC_POLAR && o % 4 != 0)
                                ? 0
                                : bias[(size_t)(type * biases + (kind == DPC_POLAR ? 0 : o))];
        EXPECT(value[(size_t)o] == more, "no net: %g, not %g", value[(size_t)o], more);
    }
}

void check_sums(int local)
{
    const Centres centres;
    const int stride = 3, outputs = 2;
    const std::vector<double> value = some<double>((ROWS + 4) * outputs);
    std::vector<double> energy = some<double>((size_t)(centres.count * stride)), expected = energy, total(2), sum(2);
    std::vector<double> many = some<double>((size_t)(local * outputs)), partial(FORCE_PARTIALS * outputs, NAN);
    List list = {};
    dpc_error err;
    list.centre = centres.centre.data();
    RUN(store_values(centres.group(0), list, outputs, value.data(), energy.data() + 1, stride, nullptr, &err));
    for (int row = 0; row < ROWS; row++)
        for (int o = 0; o < outputs; o++)
            expected[(size_t)(centres.atom(row) * stride + 1 + o)] += value[(size_t)(row * outputs + o)];
    expect_close("stored", energy, expected, 0);
    for (int i = 0; i < local * outputs; i++)
        sum[(size_t)(i % outputs)] += 0.5 * many[(size_t)i];
    RUN(sum_values(local, outputs, many.data(), 0.5, total.data(), partial.data(), nullptr, &err));
    expect_close("sums", total, sum, 1e-13);
}

template <typename real> void check()
{
    for (bool symmetric : {false, true})
        for (bool folded : {false, true}) {
            check_descriptor<real>(1, 1, symmetric, folded);
            check_descriptor<real>(33, 4, symmetric, folded);
            check_descriptor<real>(64, 16, symmetric, folded);
            check_descriptor<real>(40, 37, symmetric, folded);
        }
    check_inputs<real>();
    const int all = Rotations<real>::ALL;
    check_head<real>(DPC_ENERGY, 1, 1);
    check_head<real>(DPC_DIPOLE, 3, all);
    check_head<real>(DPC_POLAR, 9, all);
    check_head<real>(DPC_POLAR, 9, all * all);
    check_head<real>(DPC_DOS, 40, 40);
    check_head<real>(DPC_PROPERTY, 2, 2);
}

} // namespace

int main()
{
    check<double>();
    check<float>();
    for (int local : {0, 1, 255, 1000})
        check_sums(local);
    std::printf("%d failures\n", failures);
    return failures != 0;
}
