/* deepmd_hpp.cpp - DeePMD-kit's own deepmd.hpp over our library: MODEL OTHER < count, cell, then type and position */
#include <deepmd.hpp>

#include <cmath>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

namespace dp = deepmd::hpp;

static int failures;

#define CHECK(condition)                                               \
    do {                                                               \
        if (!(condition)) {                                            \
            failures++;                                                \
            std::printf("FAIL line %d: %s\n", __LINE__, #condition);   \
        }                                                              \
    } while (0)

/* What a constructor or call throws, "" for nothing. */
template <typename Work>
static std::string thrown(Work work)
{
    try {
        work();
    } catch (const dp::deepmd_exception &error) {
        return error.what();
    }
    return "";
}

template <typename A, typename B>
static bool close(const std::vector<A> &a, const std::vector<B> &b, double tolerance)
{
    double worst = a.size() == b.size() ? 0 : HUGE_VAL;
    for (size_t k = 0; k < a.size() && k < b.size(); k++)
        worst = std::fmax(worst, std::fabs(double(a[k]) - double(b[k])));
    return worst <= tolerance;
}

int main(int, char **argv)
{
    size_t count;
    std::cin >> count;
    std::vector<double> cell(9), position(3 * count);
    std::vector<int> type(count);
    for (double &x : cell)
        std::cin >> x;
    for (size_t i = 0; i < count; i++)
        std::cin >> type[i] >> position[3 * i] >> position[3 * i + 1] >> position[3 * i + 2];

    dp::DeepPot model(argv[1]);
    std::string names;
    model.get_type_map(names);
    CHECK(names == "O H" && model.numb_types() == 2 && model.cutoff() == 4.5);
    CHECK(model.dim_fparam() == 0 && model.dim_aparam() == 0 && model.dim_chg_spin() == 0);
    CHECK(!model.supports_device_edge_inference());

    double energy;
    std::vector<double> force, virial, atom_energy, atom_virial;
    model.compute(energy, force, virial, atom_energy, atom_virial, position, type, cell);
    std::printf("%.12f\n", energy);
    for (double f : force)
        std::printf("%.12f ", f);
    std::printf("\n");
    double sum = 0;
    for (double e : atom_energy)
        sum += e;
    CHECK(std::fabs(sum - energy) < 1e-9 && atom_virial.size() == 9 * count);

    /* two frames, mixed type, float */
    std::vector<double> positions(position), cells(cell), energies, forces, virials;
    positions.insert(positions.end(), position.begin(), position.end());
    cells.insert(cells.end(), cell.begin(), cell.end());
    model.compute(energies, forces, virials, positions, type, cells);
    CHECK(energies.size() == 2 && energies[0] == energy && energies[1] == energy);
    std::vector<int> types(type);
    types.insert(types.end(), type.begin(), type.end());
    model.compute_mixed_type(energies, forces, virials, 2, positions, types, cells);
    CHECK(energies[1] == energy && forces.size() == 6 * count);
    std::vector<float> force_f, virial_f;
    model.compute(energy, force_f, virial_f, std::vector<float>(position.begin(), position.end()), type,
                  std::vector<float>(cell.begin(), cell.end()));
    CHECK(close(force, force_f, 1e-4));

    /* the molecules alone, by a list of all pairs and by a list of the model's */
    std::vector<std::vector<int>> pairs(count);
    std::vector<int> centre(count), neighbours(count);
    std::vector<int *> first(count);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++)
            if (j != i)
                pairs[i].push_back(int(j));
    dp::InputNlist list(int(count), centre.data(), neighbours.data(), first.data());
    dp::convert_nlist(list, pairs);
    std::vector<double> alone, listed;
    double energy_alone, energy_listed;
    model.compute(energy_alone, alone, virial, position, type, std::vector<double>());
    model.compute(energy_listed, listed, virial, position, type, std::vector<double>(), 0, list, 0);
    CHECK(std::fabs(energy_alone - energy_listed) < 1e-9 && close(alone, listed, 1e-9));

    std::string content;
    dp::read_file_to_string(argv[1], content);
    dp::DeepPot copy("water.onnx", 0, content);
    copy.compute(energy_listed, listed, virial, position, type, cell);
    CHECK(energy_listed == energies[0] && close(force, listed, 0));

    dp::DeepPotModelDevi models({argv[1], argv[2]});
    std::vector<double> each;
    std::vector<std::vector<double>> each_force, each_virial;
    models.compute(each, each_force, each_virial, position, type, cell);
    CHECK(each.size() == 2 && each[0] == energies[0] && close(each_force[0], force, 0));
    std::vector<double> mean, deviation;
    models.compute_avg(mean, each_force);
    models.compute_std_f(deviation, mean, each_force);
    for (double d : deviation)
        std::printf("%.12f ", d);
    std::printf("\n");

    std::cout << thrown([] { dp::DeepPot missing("nowhere.onnx"); }) << '\n'
              << thrown([&] { dp::DeepTensor tensor(argv[1]); }) << '\n'
              << thrown([&] { dp::DeepSpin spin(argv[1]); }) << '\n'
              << thrown([&] { dp::DipoleChargeModifier modifier(argv[1]); }) << '\n';
    model.print_summary("# ");
    return failures != 0;
}
