// test_cuda_twobody.cpp - the contraction of two bodies and its way back, on the host, against plain loops
#include "cuda_tables.h"
#include <algorithm>
#include <memory>

using namespace dpc;

namespace {

const double CUTOFF = 4.5;

// What a case is made of: `types` share a table or have their own; constants: slots that stay empty, and what is hidden.
struct Case {
    const char *name;
    int atoms, types, width;
    dpc_kind kind;
    dpc_gate gate;
    bool table, shared, breaks, constants;
};

// A descriptor as centres of one type have it.
struct Model {
    Member m = {};
    Channels c = {};
    int components;
    std::vector<double> breaks, pad, mask;
    std::vector<float> narrow_pad, narrow_mask;
    dpc_grid grid = {};
    double mean[3][4], per_std[3][4];
    std::vector<int32_t> sel, pad_net, mask_net;
    std::unique_ptr<Table[]> tables, gates;
    std::vector<const Table *> of_type[2]; // NULL: none
    std::vector<dpc_table> packed[2];

    Model(const Case &how, dpc_dtype dtype) : components(how.kind == DPC_RADIAL ? 1 : 4)
    {
        std::mt19937 random(7);
        std::normal_distribution<double> normal;
        const size_t types = (size_t)how.types;
        dpc_error err;
        for (int i = 0; how.breaks && i <= 24; i++)
            breaks.push_back(i < 8 ? 0.01 + 0.02 * i : 0.17 + 0.1 * (i - 8));
        EXPECT(dpc_grid_fill(&grid, 0.01, 0.02, 0.1, how.breaks ? 8 : 20, how.breaks ? 16 : 10,
                             how.breaks ? breaks.data() : nullptr, &err) == DPC_OK,
               "%s", err.message);
        for (auto *row : {mean, per_std})
            for (int t = 0; t < 3; t++)
                for (int a = 0; a < 4; a++)
                    row[t][a] = (row == mean ? 0.01 : 1) * (1 + 0.2 * normal(random));
        tables.reset(new Table[types]);
        gates.reset(new Table[types]);
        for (size_t t = 0; t < types; t++) {
            const bool alone = t == 1 && types == 3; // this type has one of two tables
            tables[t].fill(grid, dtype, how.width, random);
            gates[t].fill(grid, dtype, how.width, random);
            of_type[0].push_back(how.table && !(alone && how.gate != DPC_UNGATED) ? &tables[how.shared ? 0 : t] : nullptr);
            of_type[1].push_back(how.gate != DPC_UNGATED ? &gates[t] : nullptr);
            for (int which = 0; which < 2; which++)
                packed[which].push_back(of_type[which][t] != nullptr ? of_type[which][t]->packed : dpc_table{});
        }
        const size_t stride = tables[0].packed.stride, n = (size_t)components * stride;
        for (size_t i = 0; i < types * n; i++) {
            pad.push_back((double)(float)normal(random));
            mask.push_back((double)(float)normal(random));
        }
        narrow_pad.assign(pad.begin(), pad.end());
        narrow_mask.assign(mask.begin(), mask.end());
        for (size_t i = 0; i < types * types; i++) {
            pad_net.push_back(how.constants && i % 2 == 0 ? 0 : -1);
            mask_net.push_back(how.constants && i % 3 == 0 ? 0 : -1);
        }
        sel.assign(types, 40);
        m.kind = how.kind;
        m.gate = how.gate;
        m.sw = dpc_switch_make(0.8, CUTOFF, CUTOFF - 0.8, 0);
        m.sw.surrogate = 0.5;
        m.types = m.sections = how.types;
        m.width = how.width;
        m.per_count = 1 / 32.;
        m.sel = sel.data();
        m.mean = mean;
        m.per_std = per_std;
        m.pad_net = pad_net.data();
        m.mask_net = mask_net.data();
        c.width = how.width;
        c.stride = (int)stride;
        c.first_feature = 2;
        c.table = packed[0].data();
        c.gate = packed[1].data();
        c.pad = dtype == DPC_F32 ? (const void *)narrow_pad.data() : pad.data();
        if (how.kind == DPC_RADIAL && how.constants)
            c.mask = dtype == DPC_F32 ? (const void *)narrow_mask.data() : mask.data();
    }
};

// x [components][width] of centre k; of its gradient dx, what is added to force [pairs][3].
void expect_centre(const Model &model, Surroundings &around, const std::vector<int32_t> &taken, int k, double *x,
                   const double *dx, double *force)
{
    const Member &m = model.m;
    const int type = around.type[(size_t)around.centre[(size_t)k]], C = model.components;
    const double *mean = m.mean[type], *per_std = m.per_std[type];
    int64_t at = around.first[(size_t)k];
    std::vector<double> value, slope;
    for (int t = 0; t < m.types; t++) {
        const int empty = m.sel[t] - taken[(size_t)(k * m.types + t)], seen = around.count[(size_t)(k * m.types + t)];
        for (int i = 0; i < C * m.width; i++) {
            const size_t from = (size_t)(t * C + i / m.width) * (size_t)model.c.stride + (size_t)(i % m.width);
            if (empty > 0 && m.pad_net[type * m.types + t] >= 0)
                x[i] += m.per_count * empty * model.pad[from];
            if (model.c.mask != nullptr && m.mask_net[type * m.types + t] >= 0)
                x[i] += m.per_count * seen * model.mask[from];
        }
        for (int i = 0; i < seen; i++, at++) {
            const int64_t place = around.place[(size_t)at];
            double d[3], g[4] = {}, of_gate = 0;
            dpc_double_radial e;
            const double r = around.vector(place, k, d), r2 = r * r;
            dpc_double_environment(&m.sw, &r2, &e);
            if (m.gate == DPC_GATE_SURROGATE)
                dpc_double_surrogate(&m.sw, &e);
            double env[4] = {(e.s - mean[0]) * per_std[0]}, one[4] = {1};
            for (int a = 0; a < 3; a++)
                env[1 + a] = (e.q * d[a] - mean[1 + a]) * per_std[1 + a];
            const double *factor = C == 1 ? one : env;
            for (int which = 0; which < 2; which++) {
                const Table *table = model.of_type[which][(size_t)t];
                const double gate = which == 1 ? e.sw : 1;
                if (table == nullptr)
                    continue;
                table->interpolate(env[0], value, slope);
                for (int c = 0; c < C; c++)
                    for (int w = 0; w < m.width; w++) {
                        const double of_x = m.per_count * dx[c * m.width + w];
                        x[c * m.width + w] += m.per_count * factor[c] * gate * value[(size_t)w];
                        g[0] += of_x * factor[c] * gate * slope[(size_t)w];
                        g[c] += C == 1 ? 0 : of_x * gate * value[(size_t)w];
                        of_gate += which == 1 ? of_x * factor[c] * value[(size_t)w] : 0;
                    }
            }
            double along = g[0] * per_std[0] * e.ds + of_gate * e.dsw;
            for (int a = 0; a < 3; a++)
                along += g[1 + a] * per_std[1 + a] * d[a] * e.dq;
            for (int a = 0; a < 3; a++)
                force[3 * place + a] += along * d[a] + e.q * g[1 + a] * per_std[1 + a];
        }
    }
}

template <typename real, typename ereal> void check(const Case &how, dpc_dtype dtype, double tolerance)
{
    const Model model(how, dtype);
    Surroundings around(how.atoms, how.types, CUTOFF, CUTOFF + 0.5, {-1, how.types == 3 ? 1 : -1, -1}, 3);
    const bool radial = how.kind == DPC_RADIAL;
    const int first = radial ? model.c.first_feature : 0, width = model.components * how.width;
    const size_t ld = (size_t)(first + width + (radial ? 1 : 0)), pairs = around.index.size();
    std::vector<int32_t> taken(around.count.size());
    for (size_t i = 0; i < taken.size(); i++)
        taken[i] = i % 5 == 0 ? 40 : around.count[i];
    Near near = around.near();
    near.taken = taken.data();
    near.masked = around.count.data();
    std::vector<ereal> force(3 * pairs, 0);
    std::vector<double> expected_force(3 * pairs);
    dpc_error err;
    for (int type = 0; type < how.types; type++) {
        int32_t number;
        const Group group = around.group(type, &number);
        number = (int32_t)around.ids.size();
        std::vector<real> x((size_t)group.most * ld, (real)-0.001), again = x, dx(x.size());
        std::vector<double> expected(x.size(), (real)-0.001), gradient(x.size());
        for (size_t i = 0; i < dx.size(); i++)
            gradient[i] = dx[i] = (real)std::sin((double)i);
        for (size_t row = 0; row + 1 < around.ids.size(); row++) {
            double *out = expected.data() + row * ld + first;
            std::fill(out, out + width, 0.0);
            expect_centre(model, around, taken, around.ids[row + 1], out, gradient.data() + row * ld + first,
                          expected_force.data());
        }
        for (std::vector<real> *to : {&x, &again})
            EXPECT((contract<real, ereal>(model.m, model.c, group, around.atoms(), around.list(), near, to->data(),
                                          to->data(), (int)ld, nullptr, &err)) == DPC_OK,
                   "%s", err.message);
        EXPECT(x == again, "%s: another time, other bits", how.name);
        expect_close(how.name, x, expected, tolerance);
        EXPECT((contract_back<real, ereal>(model.m, model.c, group, around.atoms(), around.list(), near, dx.data(),
                                           dx.data(), (int)ld, force.data(), nullptr, &err)) == DPC_OK,
               "%s", err.message);
    }
    expect_close(how.name, force, expected_force, tolerance);
}

} // namespace

int main()
{
    static const Case cases[] = {
        // name, atoms, types, width, kind, gate, table, shared, breaks, constants
        {"one type, many neighbours", 24, 1, 8, DPC_TWO_BODY, DPC_UNGATED, true, false, false, false},
        {"three types that share", 12, 3, 100, DPC_TWO_BODY, DPC_UNGATED, true, true, false, true},
        {"breaks, width 1", 9, 2, 1, DPC_TWO_BODY, DPC_UNGATED, true, false, true, true},
        {"width 15", 6, 2, 15, DPC_TWO_BODY, DPC_UNGATED, true, false, false, true},
        {"width 17", 6, 2, 17, DPC_TWO_BODY, DPC_UNGATED, true, false, false, false},
        {"width 64", 6, 2, 64, DPC_TWO_BODY, DPC_UNGATED, true, false, false, false},
        {"width 65", 6, 2, 65, DPC_TWO_BODY, DPC_UNGATED, true, false, false, false},
        {"width 128", 5, 2, 128, DPC_TWO_BODY, DPC_UNGATED, true, false, false, true},
        {"width 129, again over the neighbours", 5, 2, 129, DPC_TWO_BODY, DPC_GATE_SWITCH, true, false, false, true},
        {"width 257", 5, 1, 257, DPC_TWO_BODY, DPC_UNGATED, true, false, false, true},
        {"both tables", 9, 3, 20, DPC_TWO_BODY, DPC_GATE_SWITCH, true, true, false, true},
        {"gates alone", 9, 3, 33, DPC_TWO_BODY, DPC_GATE_SURROGATE, false, false, false, false},
        {"radial", 12, 3, 63, DPC_RADIAL, DPC_UNGATED, true, false, false, true},
        {"radial, width 65, gated", 7, 2, 65, DPC_RADIAL, DPC_GATE_SWITCH, true, true, true, true},
        {"radial, width 129", 7, 2, 129, DPC_RADIAL, DPC_UNGATED, true, false, false, false},
        {"radial, width 257, gated", 7, 2, 257, DPC_RADIAL, DPC_GATE_SURROGATE, false, false, false, true},
        {"no neighbours", 2, 2, 5, DPC_TWO_BODY, DPC_GATE_SWITCH, true, false, false, true},
        {"no atoms", 0, 1, 5, DPC_TWO_BODY, DPC_UNGATED, true, false, false, false},
    };
    for (const Case &one : cases) {
        check<double, double>(one, DPC_F64, 1e-12);
        check<float, float>(one, DPC_F32, 1e-4);
        check<float, double>(one, DPC_F32, 1e-4);
    }
    return failures > 0;
}
