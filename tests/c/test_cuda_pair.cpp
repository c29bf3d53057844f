// test_cuda_pair.cpp - the mixing with a pair potential, on the host, against ccore's arithmetic in a plain loop
#include "cuda_near.h"
extern "C" {
#include "mixture.h"
}

using namespace dpc;

namespace {

// A smooth potential of two types, alone below `inner` and gone beyond `outer`.
struct Potential {
    std::vector<double> table, bias = {0.4, -1.5};
    dpc_pair pair = {};

    Potential(double inner, double outer)
    {
        std::mt19937 random(5);
        std::normal_distribution<double> normal;
        pair.list.sw.cutoff = 4.5;
        pair.start = 0.3;
        pair.step = 0.11;
        pair.alpha = 0.4;
        pair.inner = inner;
        pair.outer = outer;
        pair.intervals = 30; // short of the cutoff
        table.resize(4 * 4 * pair.intervals);
        for (double &x : table)
            x = normal(random);
        pair.table = table.data();
        pair.bias = bias.data();
    }
};

template <typename ereal> void check(const char *name, int atoms, double inner, double outer, double tolerance)
{
    const int types = 2;
    const Potential potential(inner, outer);
    Surroundings around(atoms, types, potential.pair.list.sw.cutoff, 5, {1, -1}, 9);
    const size_t pairs = around.index.size();
    std::vector<ereal> force(3 * pairs, (ereal)0.25); // others' is there
    std::vector<double> expected(3 * pairs, 0.25);
    Member m = {};
    m.types = types;
    dpc_error err;
    int mixed = 0;
    for (int type = 0; type < types; type++) {
        int32_t number;
        const Group group = around.group(type, &number);
        number = (int32_t)around.ids.size();
        std::vector<double> energy((size_t)group.most, 2), energies = energy;
        std::vector<double> share((size_t)group.most, 7), shares = share;
        for (size_t row = 0; row + 1 < around.ids.size(); row++) {
            const int k = around.ids[row + 1];
            const int32_t *count = around.count.data() + k * types;
            const int64_t *place = around.place.data() + around.first[(size_t)k];
            dpc_mixture mix = {};
            mix.energy = potential.pair.bias[type];
            energies[row] = energy[row] = 0.7 * (double)row;
            double d[3];
            for (int n = 0; n < count[0] + count[1]; n++)
                dpc_mixture_add(&mix, &potential.pair, (size_t)(type * types + (n >= count[0])),
                                around.vector(place[n], k, d));
            dpc_mixture_finish(&mix, &potential.pair);
            mixed += mix.share > 0 && mix.share < 1;
            for (int n = 0; n < count[0] + count[1]; n++) {
                const double r = around.vector(place[n], k, d);
                const double slope = dpc_mixture_slope(&mix, &potential.pair, (size_t)(type * types + (n >= count[0])),
                                                       r, energy[row]);
                for (int a = 0; a < 3; a++)
                    expected[(size_t)(3 * place[n] + a)] += slope * d[a] / r;
            }
            energies[row] = (1 - mix.share) * energy[row] + mix.share * mix.energy;
            shares[row] = 1 - mix.share;
        }
        std::vector<double> again = energy, other = share;
        EXPECT(pair_mix<ereal>(m, potential.pair, group, around.atoms(), around.list(), around.near(), again.data(),
                               other.data(), nullptr, nullptr, &err) == DPC_OK,
               "%s", err.message);
        EXPECT(pair_mix(m, potential.pair, group, around.atoms(), around.list(), around.near(), energy.data(),
                        share.data(), force.data(), nullptr, &err) == DPC_OK,
               "%s", err.message);
        EXPECT(again == energy && other == share, "%s: energies depend on whether there are forces", name);
        expect_close(name, energy, energies, 1e-12);
        expect_close(name, share, shares, 1e-12);
    }
    EXPECT(mixed > 0 || inner > 5 || outer < 0.1 || atoms < 3, "%s: nothing is mixed", name);
    expect_close(name, force, expected, tolerance);
}

} // namespace

int main()
{
    check<double>("mixed", 12, 0.8, 3.5, 1e-12);
    check<float>("mixed, float forces", 12, 0.8, 3.5, 1e-6);
    check<double>("the pair potential alone", 10, 6, 7, 1e-12);
    check<double>("too far away", 10, 0.01, 0.02, 1e-12);
    check<double>("no neighbours", 2, 0.8, 3.5, 1e-12);
    check<double>("no atoms", 0, 0.8, 3.5, 1e-12);
    return failures > 0;
}
