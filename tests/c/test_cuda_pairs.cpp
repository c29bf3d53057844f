// test_cuda_pairs.cpp - lists, neighbours that have slots, and sums of forces, on the host, against plain loops
#include "cuda_near.h"
extern "C" {
#include "scalar.h"
}
#include <algorithm>
#include <array>
#include <set>

using namespace dpc;

namespace {

const double CUTOFF = 4.5;

// A list in any order, with atoms that are none, and what arrange() makes of it.
struct Lists {
    Surroundings around;
    std::vector<int32_t> index, shift, of_type, pair_centre;
    std::vector<int64_t> back_first, back, scratch;

    Lists(int atoms, int types, unsigned seed) : around(atoms, types, CUTOFF, CUTOFF + 0.5, {-1, -1, -1}, seed)
    {
        std::mt19937 random(seed);
        const size_t pairs = around.index.size();
        index.resize(pairs);
        shift.resize(3 * pairs);
        of_type.resize((size_t)(around.centre_count * (types + 1)));
        pair_centre.resize(pairs);
        back.resize(pairs);
        for (int i = 5; i < atoms; i += 7)
            around.type[(size_t)i] = -1;
        for (size_t k = 0; k + 1 < around.first.size(); k++)
            for (int64_t i = around.first[k + 1] - 1; i > around.first[k]; i--) {
                const int64_t j = around.first[k] + (int64_t)(random() % (uint64_t)(i - around.first[k] + 1));
                std::swap(around.index[(size_t)i], around.index[(size_t)j]);
                std::swap_ranges(&around.shift[3 * (size_t)i], &around.shift[3 * (size_t)i] + 3,
                                 &around.shift[3 * (size_t)j]);
            }
        back_first.resize((size_t)atoms + 1);
        scratch.resize((size_t)atoms + 1 + FORCE_PARTIALS);
    }

    List list() const
    {
        List list = around.list();
        list.index = index.data();
        list.shift = shift.data();
        list.of_type = of_type.data();
        list.back_first = back_first.data();
        list.back = back.data();
        list.pair_centre = pair_centre.data();
        return list;
    }

    void arrange()
    {
        dpc_error err;
        EXPECT(dpc::arrange(around.atoms(), around.types, around.list(), list(), scratch.data(), nullptr, &err) == DPC_OK,
               "%s", err.message);
    }

    int type_of(int64_t place) const { return around.type[(size_t)index[(size_t)place]]; }

    double vector(int64_t place, double *d) const
    {
        const int k = pair_centre[(size_t)place];
        double r2 = 0;
        for (int a = 0; a < 3; a++) {
            d[a] = around.position[(size_t)(3 * index[(size_t)place] + a)] -
                   around.position[(size_t)(3 * around.centre[(size_t)k] + a)];
            for (int b = 0; b < 3; b++)
                d[a] += shift[3 * (size_t)place + (size_t)b] * around.cell[3 * b + a];
            r2 += d[a] * d[a];
        }
        return r2;
    }
};

using Entry = std::array<int32_t, 4>; // atom and image

std::multiset<Entry> entries(const int32_t *index, const int32_t *shift, int64_t begin, int64_t end)
{
    std::multiset<Entry> all;
    for (int64_t i = begin; i < end; i++)
        all.insert({index[i], shift[3 * i], shift[3 * i + 1], shift[3 * i + 2]});
    return all;
}

void check_lists(int atoms, int types)
{
    Lists l(atoms, types, 11);
    l.arrange();
    std::vector<std::vector<int64_t>> back((size_t)atoms);
    for (int k = 0; k < l.around.centre_count; k++) {
        const int64_t first = l.around.first[(size_t)k], end = l.around.first[(size_t)k + 1];
        const int32_t *of_type = &l.of_type[(size_t)(k * (types + 1))];
        EXPECT(entries(l.index.data(), l.shift.data(), first, end) ==
                   entries(l.around.index.data(), l.around.shift.data(), first, end),
               "centre %d has other neighbours than before", k);
        double before = 0, d[3];
        for (int64_t p = first; p < end; p++) {
            const int t = l.type_of(p), i = (int)(p - first);
            EXPECT(t < 0 ? i >= of_type[types] : i >= of_type[t] && i < of_type[t + 1], "type %d at %d", t, i);
            EXPECT(l.pair_centre[(size_t)p] == k, "centre %d's pair is one of centre %d", k, l.pair_centre[(size_t)p]);
            const double r2 = l.vector(p, d);
            EXPECT(r2 > before * (1 - 1e-4) || std::count(of_type, of_type + types + 1, i) > 0, "not by distance");
            before = r2;
            back[(size_t)l.index[(size_t)p]].push_back(p);
        }
    }
    for (int i = 0; i < atoms; i++)
        EXPECT(std::vector<int64_t>(l.back.begin() + l.back_first[(size_t)i],
                                    l.back.begin() + l.back_first[(size_t)i + 1]) == back[(size_t)i],
               "not the pairs to atom %d in order", i);
}

// The way back to more atoms than one warp adds up, from a few centres.
void check_many(int atoms)
{
    const std::vector<int64_t> first = {0, 700, 700, 1900};
    const std::vector<int32_t> centre = {0, 1, 2}, type((size_t)atoms, 0);
    const std::vector<double> position((size_t)atoms * 3, 0.5);
    std::vector<int32_t> given, index(1900), of_type(6), pair_centre(1900);
    std::vector<int64_t> back_first((size_t)atoms + 1), back(1900), scratch((size_t)atoms + 1 + FORCE_PARTIALS);
    std::vector<std::vector<int64_t>> wanted((size_t)atoms);
    for (size_t i = 0; i < index.size(); i++) {
        given.push_back((int32_t)(i * i * 7 % (size_t)atoms));
        wanted[(size_t)given.back()].push_back((int64_t)i); // all as far: the order stays
    }
    List from = {};
    from.pairs = 1900;
    from.first = first.data();
    from.centre = centre.data();
    from.index = given.data();
    List to = from;
    to.index = index.data();
    to.of_type = of_type.data();
    to.back_first = back_first.data();
    to.back = back.data();
    to.pair_centre = pair_centre.data();
    dpc_error err;
    EXPECT(dpc::arrange({atoms, 3, position.data(), type.data(), nullptr, nullptr}, 1, from, to, scratch.data(), nullptr,
                        &err) == DPC_OK,
           "%s", err.message);
    EXPECT(index == given, "neighbours as far as each other are in another order");
    for (size_t i = 0; i < wanted.size(); i++)
        EXPECT(std::vector<int64_t>(back.begin() + back_first[i], back.begin() + back_first[i + 1]) == wanted[i],
               "not the pairs to atom %zu in order", i);
}

// ---- neighbours that have slots ---------------------------------------------------------------------------------------

struct Slots {
    const char *name;
    std::vector<int32_t> sel; // of each type, or of all
    int64_t total;
    bool ignored, partly, three; // some do not see some; some contribute nothing; of three bodies
    bool coincide;
};

struct Found {
    std::vector<std::set<int64_t>> place; // [centres][types]
    std::vector<int32_t> count, taken, masked, outside;
    std::vector<unsigned long long> range;
    unsigned long long dropped = 0;
    double worst[2][4] = {};
};

struct Model {
    Member m = {};
    double mean[3][4], per_std[3][4];
    std::vector<int32_t> ignored, net, masked, base, folded;
    dpc_grid grid[2];

    Model(const Slots &how, int types)
    {
        dpc_error err;
        EXPECT(dpc_grid_fill(&grid[0], 0.05, 0.02, 0.1, 10, 3, nullptr, &err) == DPC_OK, "%s", err.message);
        EXPECT(dpc_grid_fill(&grid[1], -0.01, 0.02, 0.1, 10, 0, nullptr, &err) == DPC_OK, "%s", err.message);
        for (int t = 0; t < 3; t++)
            for (int a = 0; a < 4; a++) {
                mean[t][a] = 0.01 * (t + a);
                per_std[t][a] = 1 + 0.1 * t;
            }
        for (int pair = 0; pair < types * types; pair++) {
            ignored.push_back(pair % 4 == 1);
            masked.push_back(pair % 3 == 1);
            net.push_back(how.partly && pair % 3 == 0 ? -1 : pair);
            base.push_back(pair % 2);
        }
        folded = {1, 0, 1};
        m.kind = how.three ? DPC_THREE_BODY : DPC_TWO_BODY;
        m.sw = dpc_switch_make(0.8, CUTOFF, CUTOFF - 0.8, 0);
        m.types = types;
        m.sections = (int)how.sel.size();
        m.total = how.total;
        m.sel = how.sel.data();
        m.mean = mean;
        m.per_std = per_std;
        m.ignored = how.ignored ? ignored.data() : nullptr;
        m.masked = masked.data();
        m.net = net.data();
        m.base = base.data();
        m.folded = folded.data();
        m.grid = grid;
        m.first_table = 1;
    }
};

Found expect(const Lists &l, const Model &model)
{
    struct Rank {
        double r2;
        int type;
        int64_t place;
        bool operator<(const Rank &o) const
        {
            return r2 != o.r2 ? r2 < o.r2 : type != o.type ? type < o.type : place < o.place;
        }
    };
    const Member &m = model.m;
    Found to;
    to.range.resize(12);
    for (int k = 0; k < l.around.centre_count; k++) {
        const int atom = l.around.centre[(size_t)k], type = l.around.type[(size_t)atom];
        std::vector<Rank> near;
        std::vector<std::set<int64_t>> place((size_t)m.types);
        std::vector<int32_t> count((size_t)m.types), taken((size_t)m.sections), seen((size_t)m.types), slot = taken;
        double d[3];
        for (int64_t p = l.around.first[(size_t)k]; type >= 0 && p < l.around.first[(size_t)k + 1]; p++) {
            const double r2 = l.vector(p, d);
            const int t = l.type_of(p);
            if (t < 0 || r2 >= CUTOFF * CUTOFF)
                continue;
            const bool unseen = m.ignored != nullptr && m.ignored[type * m.types + t];
            if ((unseen && m.total == 0 && m.sel[m.sections == 1 ? 0 : t] == 0) || (r2 < 1e-12 && !unseen))
                continue;
            near.push_back({r2, t, p});
        }
        std::sort(near.begin(), near.end());
        for (size_t i = 0; i < near.size(); i++) {
            const int t = near[i].type, s = m.sections == 1 ? 0 : t;
            const size_t pair = (size_t)(type * m.types + t);
            if ((m.total > 0 && (int64_t)i >= m.total) || slot[(size_t)s] == m.sel[s]) {
                to.dropped++;
                continue;
            }
            slot[(size_t)s]++;
            if (m.ignored != nullptr && m.ignored[pair])
                continue;
            taken[(size_t)s]++;
            seen[(size_t)t]++;
            if (m.kind == DPC_THREE_BODY ? !m.masked[pair] : m.net[pair] >= 0) {
                count[(size_t)t]++;
                place[(size_t)t].insert(near[i].place);
            }
        }
        int32_t outside = 0;
        for (int t = 0; m.kind != DPC_THREE_BODY && t < m.types; t++)
            for (int64_t p : place[(size_t)t]) {
                const int table = m.base[m.net[type * m.types + t]];
                const dpc_grid &g = m.grid[table];
                dpc_double_radial e;
                const double r2 = l.vector(p, d);
                dpc_double_environment(&m.sw, &r2, &e);
                const double x = (e.s - m.mean[type][0]) * m.per_std[type][0];
                const int part = x < g.lower ? 0 : x >= g.max ? 3 : x < g.coarse_from ? 1 : 2;
                const double excess = part == 0 ? g.lower - x : part == 3 ? x - g.max : 0;
                double *worst = to.worst[1 + table - 1];
                to.range[(size_t)(4 * (1 + table) + part)]++;
                outside += part != 1 && m.folded[type];
                if (excess > worst[0])
                    std::copy_n(std::array<double, 4>{excess, x, (double)atom, std::sqrt(r2)}.begin(), 4, worst);
            }
        to.place.insert(to.place.end(), place.begin(), place.end());
        to.count.insert(to.count.end(), count.begin(), count.end());
        to.masked.insert(to.masked.end(), seen.begin(), seen.end());
        to.taken.insert(to.taken.end(), taken.begin(), taken.end());
        to.outside.push_back(outside);
    }
    return to;
}

void check_slots(const Slots &how, int atoms, int types)
{
    Lists l(atoms, types, 12);
    unsigned long long same = ~0ull;
    const bool moves = how.coincide && atoms > 2;
    for (int64_t p = moves ? l.around.first[(size_t)atoms - 2] : 0; moves && same == ~0ull; p++) {
        const int32_t other = l.around.index[(size_t)p], *shift = &l.around.shift[3 * (size_t)p];
        if (l.around.type[(size_t)other] < 0 || shift[0] != 0 || shift[1] != 0 || shift[2] != 0)
            continue;
        std::copy_n(l.around.position.begin(), 3, l.around.position.begin() + 3 * other); // the last centre is atom 0
        same = (unsigned long long)other;
    }
    l.arrange();
    const Model model(how, types);
    const Found expected = expect(l, model);
    const size_t centres = (size_t)l.around.centre_count;
    std::vector<int64_t> place(l.index.size(), -1);
    std::vector<int32_t> count(centres * (size_t)types, -1), masked = count, outside(centres, 0);
    std::vector<int32_t> taken(centres * how.sel.size(), -1);
    std::vector<unsigned long long> range(12, 0);
    unsigned long long dropped = 0, coincide = ~0ull;
    double worst[3][4] = {};
    const Tally tally = {(unsigned long long(*)[4])range.data(), worst, &dropped, &coincide};
    dpc_error err;
    EXPECT((collect<double, double>(model.m, l.around.atoms(), l.list(),
                                    {place.data(), count.data(), taken.data(), masked.data()}, &tally, outside.data(),
                                    nullptr, &err)) == DPC_OK,
           "%s", err.message);
    EXPECT(count == expected.count, "%s: other counts", how.name);
    EXPECT(taken == expected.taken, "%s: other slots are taken", how.name);
    EXPECT(masked == expected.masked, "%s: other neighbours have slots", how.name);
    EXPECT(outside == expected.outside, "%s: others are outside of first parts", how.name);
    EXPECT(dropped == expected.dropped, "%s: %llu dropped, not %llu", how.name, dropped, expected.dropped);
    EXPECT(range == expected.range, "%s: other counts of tables' parts", how.name);
    EXPECT(coincide == same, "%s: atoms in one place: %llx", how.name, coincide);
    for (int i = 0; i < 8; i++)
        EXPECT(std::fabs(worst[1 + i / 4][i % 4] - expected.worst[i / 4][i % 4]) <= 1e-12, "%s: worst %d is %.17g, not %.17g",
               how.name, i, worst[1 + i / 4][i % 4], expected.worst[i / 4][i % 4]);
    if (count != expected.count)
        return;
    for (size_t k = 0; k < centres; k++) {
        auto at = place.begin() + l.around.first[k];
        for (size_t t = k * (size_t)types; t < (k + 1) * (size_t)types; at += count[t], t++)
            EXPECT((std::set<int64_t>(at, at + count[t])) == expected.place[t] && std::is_sorted(at, at + count[t]),
                   "%s: centre %zu has other neighbours", how.name, k);
    }
    int32_t number = (int32_t)centres + 1, counts[2] = {0, 0};
    std::vector<int32_t> list(centres + 1, -1), lists[2] = {list, list}, wanted[2];
    for (size_t k = 0; k < centres; k++) {
        list[k + 1] = (int32_t)k;
        wanted[expected.outside[k] > 0].push_back((int32_t)k);
    }
    EXPECT(split({0, 1, (int)centres + 9, list.data(), &number}, outside.data(), lists[0].data(), &counts[0],
                 lists[1].data(), &counts[1], nullptr, &err) == DPC_OK,
           "%s", err.message);
    for (int which = 0; which < 2; which++) {
        lists[which].resize((size_t)counts[which]);
        std::sort(lists[which].begin(), lists[which].end());
        EXPECT(lists[which] == wanted[which], "%s: not split by what is outside", how.name);
    }
}

// ---- forces -----------------------------------------------------------------------------------------------------------

template <typename ereal> void check_forces(int atoms, double tolerance)
{
    Lists l(atoms, 2, 13);
    l.arrange();
    std::mt19937 random(14);
    std::normal_distribution<double> normal;
    std::vector<ereal> given(3 * l.index.size());
    for (ereal &f : given)
        f = (ereal)normal(random);
    for (size_t p = 0; p < l.index.size(); p += 3) // as beyond the cutoff
        std::fill_n(given.begin() + 3 * (int64_t)p, 3, (ereal)0);
    const size_t all = (size_t)atoms;
    std::vector<double> force(3 * all, 9), atom_virial(9 * all, 9), virial(9, 9), partial(9 * FORCE_PARTIALS);
    std::vector<double> wanted(3 * all), wanted_atom(9 * all), wanted_virial(9);
    for (size_t p = 0; p < l.index.size(); p++) {
        double d[3];
        l.vector((int64_t)p, d);
        for (size_t a = 0; a < 3; a++) {
            const double f = (double)given[3 * p + a];
            wanted[3 * (size_t)l.around.centre[(size_t)l.pair_centre[p]] + a] += f;
            wanted[3 * (size_t)l.index[p] + a] -= f;
            for (size_t b = 0; b < 3; b++) {
                wanted_virial[3 * a + b] -= f * d[b];
                wanted_atom[9 * (size_t)l.index[p] + 3 * a + b] -= f * d[b];
            }
        }
    }
    dpc_error err;
    for (double *of_atoms : {atom_virial.data(), (double *)nullptr}) {
        EXPECT(gather_forces(l.around.atoms(), l.list(), given.data(), force.data(), of_atoms, virial.data(),
                             partial.data(), nullptr, &err) == DPC_OK,
               "%s", err.message);
        expect_close("forces", force, wanted, tolerance);
        expect_close("virial", virial, wanted_virial, tolerance);
    }
    expect_close("atom virials", atom_virial, wanted_atom, tolerance);
}

} // namespace

int main()
{
    for (int atoms : {0, 1, 2, 9, 40})
        check_lists(atoms, 3);
    check_many(2500);
    static const Slots slots[] = {
        // name, sel, total, ignored, partly, three, coincide
        {"room for all", {400, 400, 400}, 0, false, false, false, true},
        {"some ignored, some without tables", {400, 400, 400}, 0, true, true, false, false},
        {"shared slots", {900}, 0, true, true, false, false},
        {"few slots", {5, 9, 0}, 0, true, false, false, false},
        {"few shared slots", {11}, 0, true, true, false, false},
        {"the nearest", {8, 400, 2}, 17, true, true, false, false},
        {"three bodies", {400, 4, 400}, 0, false, false, true, false},
    };
    for (const Slots &one : slots)
        for (int atoms : {0, 2, 21})
            check_slots(one, atoms, 3);
    for (int atoms : {0, 2, 23}) {
        check_forces<double>(atoms, 1e-13);
        check_forces<float>(atoms, 1e-13);
    }
    return failures > 0;
}
