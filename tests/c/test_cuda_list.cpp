// test_cuda_list.cpp - neighbour lists of a device, on the host, against the C core's
#include "cuda_near.h"
#include "dpc_cuda.h"
#include <cstring>
#include <limits>

namespace {

struct Lists {
    dpc_list *core = nullptr;
    dpc_cuda_list *device = nullptr;
    dpc_error err;

    Lists()
    {
        EXPECT(dpc_list_create(&core, &err) == DPC_OK && dpc_cuda_list_create(&device, &err) == DPC_OK, "%s",
               err.message);
    }
    ~Lists()
    {
        dpc_list_free(core);
        dpc_cuda_list_free(device);
    }

    void compare(const char *name, const std::vector<double> &position, const double *cell, double cutoff)
    {
        const size_t n = position.size() / 3;
        dpc_neighbours expected, got;
        EXPECT(dpc_list_build(core, n, position.data(), cell, cutoff, nullptr, &err) == DPC_OK, "%s: %s", name,
               err.message);
        EXPECT(dpc_cuda_list_build(device, n, position.data(), cell, cutoff, nullptr, &err) == DPC_OK, "%s: %s", name,
               err.message);
        dpc_list_view(core, &expected);
        dpc_cuda_list_view(device, &got);
        const size_t pairs = (size_t)expected.first[n];
        EXPECT(got.centres == n && same(got.first, expected.first, n + 1), "%s: other counts", name);
        EXPECT(got.first[n] == expected.first[n] && same(got.index, expected.index, pairs), "%s: other atoms", name);
        EXPECT((got.shift == nullptr) == (expected.shift == nullptr), "%s: shifts of an open system", name);
        EXPECT(got.shift == nullptr || same(got.shift, expected.shift, 3 * pairs), "%s: other images", name);
        EXPECT(same(got.cell, expected.cell, 9), "%s: another cell", name);
    }

    void refuse(const std::vector<double> &position, const double *cell, double cutoff, const char *why)
    {
        const size_t n = position.size() / 3;
        const dpc_status status = dpc_cuda_list_build(device, n, position.data(), cell, cutoff, nullptr, &err);
        EXPECT(status == DPC_INVALID && std::strstr(err.message, why) != nullptr, "%s, not %s", err.message, why);
    }

private:
    template <typename T> static bool same(const T *a, const T *b, size_t n)
    {
        return n == 0 || std::memcmp(a, b, n * sizeof(T)) == 0;
    }
};

std::vector<double> scattered(size_t atoms, const double *cell, std::mt19937 &random)
{
    std::uniform_real_distribution<double> uniform(-1, 2); // also outside the cell
    std::vector<double> position(3 * atoms);
    for (size_t i = 0; i < atoms; i++)
        for (int c = 0; c < 3; c++) {
            const double f = uniform(random);
            for (int a = 0; a < 3; a++)
                position[3 * i + a] += f * cell[3 * c + a];
        }
    return position;
}

} // namespace

int main()
{
    std::mt19937 random(5);
    std::normal_distribution<double> normal;
    Lists lists;
    for (double size : {1.5, 4.0, 9.0}) // Å; the cutoff is 3
        for (int k = 0; k < 2; k++) {
            double cell[9];
            for (int i = 0; i < 9; i++)
                cell[i] = size * ((i % 4 == 0) * (k % 2 ? -1 : 1) + 0.3 * normal(random)); // of either handedness
            const std::vector<double> position = scattered(size < 2 ? 5 : 60, cell, random);
            lists.compare("cell", position, cell, 3);
            lists.compare("open system", position, nullptr, 3);
        }
    const double cube[9] = {6, 0, 0, 0, 6, 0, 0, 0, 6}, flat[9] = {6, 0, 0, 6, 0, 0, 0, 0, 6}, none[9] = {};
    lists.compare("no atoms", {}, cube, 3);
    lists.compare("nothing", {}, nullptr, 3);
    lists.compare("one atom and its images", {1, 2, 3}, cube, 7);
    lists.compare("one atom", {1, 2, 3}, none, 7);
    lists.compare("two far apart", {0, 0, 0, 1e5, 0, 0}, nullptr, 3);
    std::vector<double> crowd(3 * 70, 1.0); // more than a warp in one bin
    for (size_t i = 0; i < crowd.size(); i++)
        crowd[i] += 1e-3 * normal(random);
    crowd.push_back(50), crowd.push_back(50), crowd.push_back(50);
    lists.compare("a crowd", crowd, nullptr, 2);

    const double nan = std::numeric_limits<double>::quiet_NaN();
    lists.refuse({0, 0, 0, 1, nan, 0}, cube, 3, "position of atom 1 is not finite");
    lists.refuse({0, 0, 0, 1, nan, 0}, nullptr, 3, "position of atom 1 is not finite");
    lists.refuse({1e30, 0, 0}, cube, 3, "position of atom 0 is not finite, or more than 1e9 cells away");
    lists.refuse({0, 0, 0}, flat, 3, "the cell is singular");
    lists.refuse({0, 0, 0}, cube, -1, "the cutoff must be positive");
    lists.refuse({0, 0, 0}, cube, 3000, "the cell is too small for the cutoff");
    std::printf("%d failures\n", failures);
    return failures != 0;
}
