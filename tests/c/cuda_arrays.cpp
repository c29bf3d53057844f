// cuda_arrays.cpp - a model on a device: lists in both forms, arrays of the device, serial numbers, what is wrong
//
// cuda_arrays MODEL.onnx, where the device's memory is the host's (cuda_on_host.h).
#include "cuda_near.h"
extern "C" {
#include "dpc_cuda.h"
}
#include <algorithm>
#include <memory>
#include <string>

namespace {

template <typename T, void (*release)(T *)> using Owned = std::unique_ptr<T, std::integral_constant<void (*)(T *), release>>;
using Model = Owned<dpc_model, dpc_model_free>;
using Workspace = Owned<dpc_workspace, dpc_workspace_free>;

dpc_error err;

Workspace on(const dpc_model *model, const char *device)
{
    dpc_workspace *made = nullptr;
    EXPECT(dpc_workspace_create_on(model, device, &made, &err) == DPC_OK, "%s: %s", device, err.message);
    return Workspace(made);
}

// Atoms in a box, each with all others in its list, and what a model makes of them.
struct System {
    size_t outputs, local, all;
    std::vector<double> position, fparam, aparam;
    std::vector<int32_t> type, index, centre, count;
    std::vector<int64_t> first = {0};
    std::vector<const int32_t *> list;

    System(const dpc_model_info &info, size_t atoms, size_t ghosts)
        : outputs(info.outputs), local(atoms - ghosts), all(atoms), fparam(info.fparams, 0.5),
          aparam(info.aparams * local, -0.5), count(local), list(local)
    {
        std::mt19937 random(1);
        std::uniform_real_distribution<double> uniform(0, 4.5);
        for (size_t i = 0; i < atoms; i++) {
            for (int a = 0; a < 3; a++)
                position.push_back(uniform(random));
            type.push_back(i % 7 == 3 ? -1 : (int32_t)(random() % info.types));
        }
        for (size_t i = 0; i < local; i++) {
            for (size_t j = 0; j < all; j++)
                if (j != i)
                    index.push_back((int32_t)j);
            first.push_back((int64_t)index.size());
        }
        for (size_t i = 0; i < local; i++) {
            centre.push_back((int32_t)(local - 1 - i)); // any order
            count[i] = (int32_t)(first[i + 1] - first[i]);
            for (int64_t p = first[i]; p < first[i + 1]; p++)
                index[(size_t)p] |= 1 << 30; // what LAMMPS marks special neighbours by
            list[i] = index.data() + first[i];
        }
    }

    dpc_atoms atoms() const
    {
        return {local, all - local, position.data(), type.data(), fparam.data(), aparam.data(), nullptr};
    }
    dpc_neighbours marked(uint64_t serial) const
    {
        dpc_neighbours n = {};
        n.centres = centre.size();
        n.centre = centre.data();
        n.count = count.data();
        n.list = list.data();
        n.mask = (1 << 30) - 1;
        n.serial = serial;
        return n;
    }
};

struct Results {
    std::vector<double> energy, force, virial, atom_energy, atom_virial, worst;
    std::vector<int64_t> range;
    int64_t dropped = -1;
    dpc_result result = {};

    Results(const dpc_model_info &info, const System &s)
        : energy(info.outputs), force(3 * info.outputs * s.all), virial(9 * info.outputs),
          atom_energy(info.outputs * s.local), atom_virial(9 * info.outputs * s.all), worst(3 * info.tables),
          range(4 * info.tables)
    {
        result.energy = energy.data();
        result.force = force.data();
        result.virial = virial.data();
        result.atom_energy = atom_energy.data();
        result.atom_virial = atom_virial.data();
        result.range = range.data();
        result.range_worst = worst.data();
        result.dropped = &dropped;
    }

    void expect(const char *what, const Results &other) const
    {
        expect_close((std::string(what) + ": energy").c_str(), energy, other.energy, 1e-12);
        expect_close((std::string(what) + ": force").c_str(), force, other.force, 1e-12);
        expect_close((std::string(what) + ": virial").c_str(), virial, other.virial, 1e-12);
        expect_close((std::string(what) + ": atom_energy").c_str(), atom_energy, other.atom_energy, 1e-12);
        expect_close((std::string(what) + ": atom_virial").c_str(), atom_virial, other.atom_virial, 1e-12);
        expect_close((std::string(what) + ": worst").c_str(), worst, other.worst, 1e-12);
        EXPECT(range == other.range && dropped == other.dropped, "%s: counts differ", what);
    }
};

void check(const dpc_model *model, const dpc_model_info &info)
{
    System s(info, 18, 6);
    const Workspace here = on(model, "cpu"), there = on(model, "cuda:0"), arrays = on(model, "cuda:0");
    dpc_atoms atoms = s.atoms();
    std::vector<int32_t> plain = s.index;
    for (int32_t &j : plain)
        j &= (1 << 30) - 1;
    dpc_neighbours one = {};
    one.centres = s.local;
    one.first = s.first.data();
    one.index = plain.data();
    for (uint64_t step = 0; step < 4; step++) {
        const uint64_t serial = step < 3 ? 5 : 6;
        Results expected(info, s), marked(info, s), enqueued(info, s);
        dpc_neighbours list = s.marked(serial);
        one.serial = serial;
        EXPECT(dpc_model_compute(model, here.get(), &atoms, &list, &expected.result, nullptr, &err) == DPC_OK, "%s", err.message);
        EXPECT(dpc_model_compute(model, there.get(), &atoms, &list, &marked.result, nullptr, &err) == DPC_OK, "%s", err.message);
        EXPECT(dpc_cuda_compute(model, arrays.get(), &atoms, &one, &enqueued.result, nullptr, &err) == DPC_OK, "%s", err.message);
        EXPECT(dpc_cuda_check(arrays.get(), &err) == DPC_OK, "%s", err.message);
        marked.expect("a list of LAMMPS", expected);
        enqueued.expect("arrays of the device", expected);
        s.position[3 * step] += 0.1; // the same list
        if (step == 2)
            std::swap(s.type[0], s.type[4]); // another one
    }
    // what is wrong with positions is known later
    Results lost(info, s);
    for (int a = 0; a < 3; a++)
        s.position[(size_t)(3 + a)] = s.position[(size_t)(6 + a)];
    dpc_neighbours list = s.marked(6);
    EXPECT(dpc_model_compute(model, there.get(), &atoms, &list, &lost.result, nullptr, &err) == DPC_INVALID, "taken");
    EXPECT(std::string(err.message) == "atoms 1 and 2 are in the same place", "%s", err.message);
    EXPECT(dpc_cuda_compute(model, arrays.get(), &atoms, &one, &lost.result, nullptr, &err) == DPC_OK, "%s", err.message);
    EXPECT(dpc_cuda_check(arrays.get(), &err) == DPC_INVALID, "taken");
    EXPECT(std::string(err.message) == "atoms 1 and 2 are in the same place", "%s", err.message);
    s.position[3] += 0.7;
    Results good(info, s), expected(info, s);
    EXPECT(dpc_model_compute(model, there.get(), &atoms, &list, &good.result, nullptr, &err) == DPC_OK, "%s", err.message);
    EXPECT(dpc_model_compute(model, here.get(), &atoms, &list, &expected.result, nullptr, &err) == DPC_OK, "%s", err.message);
    good.expect("after an error", expected);

    // misuse
    EXPECT(dpc_cuda_compute(model, here.get(), &atoms, &one, &good.result, nullptr, &err) == DPC_INVALID, "taken");
    EXPECT(dpc_cuda_compute(model, arrays.get(), &atoms, &list, &good.result, nullptr, &err) == DPC_INVALID, "taken");
    EXPECT(dpc_cuda_compute(model, nullptr, &atoms, &one, &good.result, nullptr, &err) == DPC_INVALID, "taken");
    EXPECT(dpc_cuda_check(here.get(), &err) == DPC_INVALID, "taken");
    s.type[2] = 77;
    one.serial = 0;
    EXPECT(dpc_cuda_compute(model, arrays.get(), &atoms, &one, &good.result, nullptr, &err) == DPC_INVALID, "taken");
    EXPECT(std::string(err.message).find("atom 2 has type 77") == 0, "%s", err.message);
}

} // namespace

int main(int, char **argument)
{
    dpc_model *loaded = nullptr;
    dpc_model_info info;
    if (dpc_model_load(argument[1], &loaded, &err) != DPC_OK) {
        std::printf("%s\n", err.message);
        return 1;
    }
    const Model model(loaded);
    dpc_model_describe(loaded, &info);
    check(loaded, info);
    dpc_workspace *none = nullptr;
    EXPECT(dpc_workspace_create_on(loaded, "cuda:1", &none, &err) == DPC_INVALID, "there is another device");
    std::printf("%d failures\n", failures);
    return failures != 0;
}
