// test_cuda_angular.cpp - the stages of three bodies, on the host, against plain loops over pairs
#include "cuda_tables.h"
#include <algorithm>
#include <memory>

using namespace dpc;

namespace {

// What a case is made of; so many centres of each type are evaluated at most.
struct Case {
    const char *name;
    double cutoff;
    int atoms, centres, types, width;
    dpc_gate gate;
    bool table, breaks;
};

// A descriptor of `types` with random tables, and what it is evaluated with.
struct Model {
    Member m = {};
    Channels c = {};
    std::vector<double> breaks;
    dpc_grid grid = {};
    double mean[3][4] = {}, per_std[3][4];
    std::vector<int32_t> net, gate_net, base;
    std::vector<double> weight;
    std::unique_ptr<Table[]> tables, gates;
    std::vector<dpc_table> table, gate;

    Model(const Case &how, dpc_dtype dtype)
    {
        std::mt19937 random(7);
        std::normal_distribution<double> normal;
        dpc_error err;
        const int n = how.types, pairs = n * n;
        if (how.breaks) { // steps of 0.3 and 0.5
            for (int i = 0; i <= 24; i++)
                breaks.push_back(i < 8 ? -2 + 0.3 * i : 0.4 + 0.5 * (i - 8));
            EXPECT(dpc_grid_fill(&grid, -2, 1, 1, 8, 16, breaks.data(), &err) == DPC_OK, "%s", err.message);
        } else
            EXPECT(dpc_grid_fill(&grid, -2, 0.25, 0.5, 20, 10, nullptr, &err) == DPC_OK, "%s", err.message);
        tables.reset(new Table[(size_t)pairs]);
        gates.reset(new Table[(size_t)pairs]);
        table.resize((size_t)pairs);
        gate.resize((size_t)pairs);
        weight.resize((size_t)pairs);
        for (int s = 0; s < n; s++)
            for (int a = 0; a < 4; a++)
                per_std[s][a] = 2 + 0.3 * normal(random);
        for (int s = 0; s < n; s++)
            for (int t = 0; t < n; t++) {
                const size_t pair = (size_t)(s * n + t);
                const bool absent = n == 3 && s + t == 2 && s != t; // neighbours of types 0 and 2 make no pairs
                weight[pair] = 0.1 * (s + t + 1);
                net.push_back(how.table && !absent ? (int32_t)pair : -1);
                gate_net.push_back(how.gate != DPC_UNGATED && !absent ? (int32_t)pair : -1);
                base.push_back((int32_t)(pair % 2)); // counts of two tables
                if (net.back() >= 0)
                    tables[pair].fill(grid, dtype, how.width, random);
                if (gate_net.back() >= 0)
                    gates[pair].fill(grid, dtype, how.width, random);
                table[pair] = tables[pair].packed;
                gate[pair] = gates[pair].packed;
            }
        m.kind = DPC_THREE_BODY;
        m.gate = how.gate;
        m.sw = dpc_switch_make(0.8, how.cutoff, how.cutoff - 0.8, 0);
        m.sw.surrogate = 0.5;
        m.types = n;
        m.width = how.width;
        m.nodes = (int)dpc_grid_nodes(&grid);
        m.mean = mean;
        m.per_std = per_std;
        m.net = net.data();
        m.gate_net = gate_net.data();
        m.weight = weight.data();
        m.base = base.data();
        m.first_table = 1;
        c.width = how.width;
        c.first_feature = 2;
        c.table = table.data();
        c.gate = gate.data();
    }
};

// Numbers of one centre's evaluation.
struct Expected {
    std::vector<double> feature, force; // [width]; [pairs][3]
    std::vector<unsigned long long> range; // [3][4]
    double worst[3][4] = {};
};

// A neighbour, as the definition has it.
struct Neighbour {
    int64_t place;
    int type;
    double d[3], r, u[3], gate, of_u[3] = {}, of_gate = 0;
    dpc_double_radial e;
};

void count(Expected &to, const Model &model, int number, double t, double distance, double centre)
{
    const dpc_grid &g = model.grid;
    const int part = t < g.lower ? 0 : t >= g.max ? 3 : t < g.coarse_from ? 1 : 2;
    to.range[(size_t)(4 * number + part)]++;
    const double excess = part == 0 ? g.lower - t : part == 3 ? t - g.max : 0;
    double *worst = to.worst[number];
    if (excess > worst[0] || (excess == worst[0] && excess > 0 && centre < worst[2])) {
        worst[0] = excess;
        worst[1] = t;
        worst[2] = centre;
        worst[3] = distance;
    }
}

void expect_centre(Expected &to, const Model &model, Surroundings &around, int k, const double *of_feature,
                   double *feature)
{
    const Member &m = model.m;
    const int type = around.type[(size_t)around.centre[(size_t)k]];
    std::vector<Neighbour> near;
    int64_t at = around.first[(size_t)k];
    for (int t = 0; t < m.types; t++)
        for (int i = 0; i < around.count[(size_t)(k * m.types + t)]; i++, at++) {
            Neighbour n;
            n.place = around.place[(size_t)at];
            n.type = t;
            n.r = around.vector(n.place, k, n.d);
            const double r2 = n.r * n.r;
            dpc_double_environment(&m.sw, &r2, &n.e);
            if (m.gate == DPC_GATE_SURROGATE)
                dpc_double_surrogate(&m.sw, &n.e);
            n.gate = n.e.sw;
            for (int a = 0; a < 3; a++)
                n.u[a] = n.e.q * n.d[a] * m.per_std[type][a + 1];
            near.push_back(n);
        }
    for (size_t i = 0; i < near.size(); i++)
        for (size_t j = i; j < near.size(); j++) {
            Neighbour &one = near[i], &other = near[j];
            const size_t pair = (size_t)(one.type * m.types + other.type);
            const bool tabled = m.net[pair] >= 0, gated = m.gate_net[pair] >= 0;
            if (!tabled && !gated)
                continue;
            const double weight = m.weight[pair] * (one.type == other.type && i != j ? 2 : 1);
            const double t = one.u[0] * other.u[0] + one.u[1] * other.u[1] + one.u[2] * other.u[2];
            std::vector<double> value, slope;
            double of_t = 0;
            count(to, model, m.first_table + m.base[pair], t, std::fmin(one.r, other.r),
                  around.centre[(size_t)k]);
            for (int gate = 0; gate < 2; gate++) {
                if (!(gate ? gated : tabled))
                    continue;
                const double factor = gate ? one.gate * other.gate : 1;
                double of_product = 0;
                (gate ? model.gates : model.tables)[pair].interpolate(t, value, slope);
                for (int c = 0; c < m.width; c++) {
                    feature[c] += weight * factor * t * value[(size_t)c];
                    of_t += of_feature[c] * weight * factor * (value[(size_t)c] + t * slope[(size_t)c]);
                    of_product += of_feature[c] * weight * t * value[(size_t)c];
                }
                if (gate) {
                    one.of_gate += of_product * other.gate;
                    other.of_gate += of_product * one.gate;
                }
            }
            for (int a = 0; a < 3; a++) {
                one.of_u[a] += of_t * other.u[a];
                other.of_u[a] += of_t * one.u[a];
            }
        }
    for (const Neighbour &n : near) {
        double along = m.gate != DPC_UNGATED ? n.of_gate * n.e.dsw : 0;
        for (int a = 0; a < 3; a++)
            along += n.of_u[a] * m.per_std[type][a + 1] * n.d[a] * n.e.dq;
        for (int a = 0; a < 3; a++)
            to.force[(size_t)(3 * n.place + a)] += along * n.d[a] + n.e.q * n.of_u[a] * m.per_std[type][a + 1];
    }
}

template <typename real, typename ereal> void check(const Case &how, dpc_dtype dtype, double tolerance)
{
    Surroundings around(how.atoms, how.types, how.cutoff, how.cutoff + 0.5, {-1, how.types == 3 ? 1 : -1, -1}, 3);
    Model model(how, dtype);
    const int ld = model.c.first_feature + how.width + 1;
    const size_t pairs = around.index.size();
    std::vector<ereal> u(4 * pairs), of_u(4 * pairs), force(3 * pairs, 0);
    std::vector<real> nodes((size_t)WARPS * 3 * (size_t)model.m.nodes, (real)NAN); // of one block, which takes all rows
    std::vector<unsigned long long> range(12, 0);
    double worst[3][4] = {};
    const AngularScratch scratch = {u.data(), of_u.data(), nodes.data(), WARPS};
    Tally tally = {(unsigned long long(*)[4])range.data(), worst, nullptr, nullptr};
    Expected expected;
    expected.force.resize(3 * pairs);
    expected.range.resize(12);
    dpc_error err;
    for (int type = 0; type < how.types; type++) {
        int32_t number;
        const Group group = around.group(type, &number);
        const size_t rows = std::min(around.ids.size() - 1, (size_t)how.centres);
        number = 1 + (int32_t)rows;
        std::vector<real> feature((size_t)group.most * (size_t)ld, (real)-5);
        std::vector<double> wanted(feature.size(), -5), gradient(feature.size());
        std::vector<real> narrow(feature.size());
        for (size_t i = 0; i < gradient.size(); i++)
            gradient[i] = narrow[i] = (real)std::sin((double)i);
        for (size_t row = 0; row < rows; row++) {
            double *out = wanted.data() + row * (size_t)ld + model.c.first_feature;
            std::fill(out, out + how.width, 0.0);
            expect_centre(expected, model, around, around.ids[row + 1],
                          gradient.data() + row * (size_t)ld + model.c.first_feature, out);
        }
        EXPECT((angular<real, ereal>(model.m, model.c, group, around.atoms(), around.list(), around.near(), scratch,
                                     &tally, feature.data(), ld, nullptr, &err)) == DPC_OK,
               "%s", err.message);
        expect_close(how.name, feature, wanted, tolerance);
        const std::vector<real> counted = feature;
        EXPECT((angular<real, ereal>(model.m, model.c, group, around.atoms(), around.list(), around.near(), scratch,
                                     nullptr, feature.data(), ld, nullptr, &err)) == DPC_OK,
               "%s", err.message);
        EXPECT(counted == feature, "%s: another time, other bits", how.name);
        EXPECT((angular_back<real, ereal>(model.m, model.c, group, around.atoms(), around.list(), around.near(),
                                          scratch, narrow.data(), ld, force.data(), nullptr, &err)) == DPC_OK,
               "%s", err.message);
    }
    expect_close(how.name, force, expected.force, tolerance);
    for (size_t i = 0; dtype == DPC_F64 && i < 12; i++)
        EXPECT(range[i] == expected.range[i], "%s: count %zu is %llu, not %llu", how.name, i, range[i],
               expected.range[i]);
    for (int t = 0; dtype == DPC_F64 && t < 3; t++)
        for (int i = 0; i < 4; i++)
            EXPECT(std::fabs(worst[t][i] - expected.worst[t][i]) <= 1e-12 * std::fabs(expected.worst[t][i]),
                   "%s: worst %d of table %d is %.17g, not %.17g", how.name, i, t, worst[t][i], expected.worst[t][i]);
}

} // namespace

int main()
{
    static const Case cases[] = {
        {"many neighbours", 5.5, 20, 2, 1, 8, DPC_UNGATED, true, false},
        {"three types, width 7", 4.5, 9, 3, 3, 7, DPC_UNGATED, true, false},
        {"breaks, width 9", 4.5, 7, 5, 2, 9, DPC_UNGATED, true, true},
        {"both tables, width 33", 4.5, 6, 2, 2, 33, DPC_GATE_SWITCH, true, false},
        {"width 31", 4.5, 5, 2, 2, 31, DPC_UNGATED, true, false},
        {"two rounds of channels, width 129", 4, 5, 2, 2, 129, DPC_GATE_SWITCH, true, false},
        {"gate alone, width 1", 4.5, 7, 3, 3, 1, DPC_GATE_SURROGATE, false, false},
        {"no neighbours", 2, 2, 1, 2, 5, DPC_GATE_SWITCH, true, false},
        {"no atoms", 4.5, 0, 1, 1, 5, DPC_UNGATED, true, false},
    };
    for (const Case &one : cases)
        check<double, double>(one, DPC_F64, 1e-12);
    check<float, float>(cases[1], DPC_F32, 1e-4);
    check<float, double>(cases[3], DPC_F32, 1e-4);
    return failures > 0;
}
