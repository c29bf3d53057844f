// cuda_near.h - random atoms and their neighbours as the stages of cuda/ take them, made by plain loops
#pragma once
#include "stages.h"
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#define EXPECT(cond, ...)                                    \
    do {                                                     \
        if (!(cond)) {                                       \
            failures++;                                      \
            std::printf("FAIL %s:%d: ", __FILE__, __LINE__); \
            std::printf(__VA_ARGS__);                        \
            std::printf("\n");                               \
        }                                                    \
    } while (0)

inline int failures;

// What fails prints its difference relative to the largest of what is expected.
template <typename T>
void expect_close(const char *what, const std::vector<T> &got, const std::vector<double> &expected, double tolerance)
{
    double worst = 0, scale = 1e-300;
    EXPECT(got.size() == expected.size(), "%s: %zu numbers instead of %zu", what, got.size(), expected.size());
    for (size_t i = 0; i < got.size() && i < expected.size(); i++) {
        const double off = std::fabs((double)got[i] - expected[i]);
        worst = std::isnan(worst) || off <= worst ? worst : off; // what is no number stays
        scale = std::fmax(scale, std::fabs(expected[i]));
    }
    EXPECT(worst <= tolerance * scale, "%s: off by %g of %g", what, worst, scale);
}

// Atoms in a periodic cell of so many images to each side; centres are all but the last atom.
struct Surroundings {
    std::vector<double> position;
    std::vector<int32_t> type, centre, index, shift, count, ids;
    std::vector<int64_t> first, place;
    int types, centre_count;
    double cell[9] = {7, 0.3, 0, 0.2, 6.5, -0.4, 0, 0.5, 7.5};

    // Neighbours within `cutoff`, which are all `near`, and those within `reach`, which are in the list alone; of
    // type t none is seen by centres of type hidden[t].
    Surroundings(int atoms, int types, double cutoff, double reach, const std::vector<int> &hidden, unsigned seed)
        : types(types), centre_count(atoms > 0 ? atoms - 1 : 0)
    {
        std::mt19937 random(seed);
        std::uniform_real_distribution<double> uniform(0, 6.5);
        for (int i = 0; i < atoms; i++) {
            for (int a = 0; a < 3; a++)
                position.push_back(uniform(random));
            type.push_back((int32_t)(random() % (unsigned)types));
        }
        first.push_back(0);
        for (int k = 0; k < centre_count; k++) {
            centre.push_back(centre_count - 1 - k); // any order
            collect(centre.back(), cutoff, reach, hidden);
            first.push_back((int64_t)index.size());
        }
    }

    dpc::Atoms atoms() const
    {
        return {(int)type.size(), centre_count, position.data(), type.data(), nullptr, nullptr};
    }

    dpc::List list() const
    {
        dpc::List list = {};
        list.pairs = (int64_t)index.size();
        list.first = first.data();
        list.centre = centre.data();
        list.index = index.data();
        list.shift = shift.data();
        std::memcpy(list.cell, cell, sizeof(cell));
        return list;
    }

    dpc::Near near() { return {place.data(), count.data(), nullptr, nullptr}; }

    // To the neighbour in a place of the list.
    double vector(int64_t at, int k, double *d) const
    {
        double r2 = 0;
        const double *here = &position[3 * (size_t)centre[(size_t)k]];
        const double *there = &position[3 * (size_t)index[(size_t)at]];
        for (int a = 0; a < 3; a++) {
            d[a] = there[a] - here[a];
            for (int b = 0; b < 3; b++)
                d[a] += shift[3 * (size_t)at + (size_t)b] * cell[3 * b + a];
            r2 += d[a] * d[a];
        }
        return std::sqrt(r2);
    }

    // Centres of one type, whose group has `most` rows.
    dpc::Group group(int of_type, const int32_t *number)
    {
        ids.assign(1, -1); // a group begins anywhere
        for (int k = 0; k < centre_count; k++)
            if (type[(size_t)centre[(size_t)k]] == of_type)
                ids.push_back(k);
        return {of_type, 1, (int)ids.size() + 3, ids.data(), number};
    }

private:
    void collect(int i, double cutoff, double reach, const std::vector<int> &hidden)
    {
        const size_t begin = index.size();
        for (int t = 0; t < types; t++) {
            int32_t seen = 0;
            for (int j = 0; j < (int)type.size(); j++)
                for (int image = 0; type[(size_t)j] == t && image < 27; image++) {
                    const int32_t steps[3] = {image / 9 - 1, image / 3 % 3 - 1, image % 3 - 1};
                    double r2 = 0;
                    for (int a = 0; a < 3; a++) {
                        double d = position[3 * (size_t)j + (size_t)a] - position[3 * (size_t)i + (size_t)a];
                        for (int b = 0; b < 3; b++)
                            d += steps[b] * cell[3 * b + a];
                        r2 += d * d;
                    }
                    if (r2 < 1e-12 || r2 >= reach * reach)
                        continue;
                    if (r2 < cutoff * cutoff && hidden[(size_t)t] != type[(size_t)i]) {
                        place.push_back((int64_t)index.size());
                        seen++;
                    }
                    index.push_back(j);
                    shift.insert(shift.end(), steps, steps + 3);
                }
            count.push_back(seen);
        }
        place.resize(begin + (index.size() - begin), -1); // a centre's begin where its list does
    }
};
