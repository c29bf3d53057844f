/* handles.cpp - dpc.hpp from C++11: the energy of atoms on stdin, and what its errors carry */
#include <dpc.hpp>

#include <cstdint>
#include <cstdio>
#include <iostream>
#include <type_traits>
#include <utility>

static_assert(!std::is_copy_constructible<dpc::Model>::value, "a model has one owner");
static_assert(std::is_nothrow_move_constructible<dpc::Model>::value, "a model can be passed on");

/* MODEL < count, cell, then type and position of each atom */
int main(int, char **argv)
{
    try {
        dpc::Model loaded(argv[1]);
        const dpc::Model model(std::move(loaded));
        dpc::Workspace workspace(model);
        dpc::List list;
        size_t count = 0;
        double cell[9], energy = 0;
        std::cin >> count;
        for (double &x : cell)
            std::cin >> x;
        std::vector<double> position(3 * count), force(3 * count);
        std::vector<int32_t> type(count);
        for (size_t i = 0; i < count; i++)
            std::cin >> type[i] >> position[3 * i] >> position[3 * i + 1] >> position[3 * i + 2];
        dpc_atoms atoms = dpc_atoms();
        atoms.local = count;
        atoms.position = position.data();
        atoms.type = type.data();
        dpc_result result = dpc_result();
        result.energy = &energy;
        result.force = force.data();
        list.build(count, position.data(), cell, model.cutoff());
        workspace.compute(atoms, list.view(), result);
        std::printf("%.12f\n", energy);
        for (const std::string &name : model.type_names())
            std::printf("%s ", name.c_str());
        list.build(count, position.data(), cell, -1);
    } catch (const dpc::Error &error) {
        std::printf("%s: %s\n", dpc_status_name(error.status()), error.what());
    }
}
