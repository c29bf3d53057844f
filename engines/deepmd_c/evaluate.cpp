/* evaluate.cpp - frames of either precision to libdpc's structs and back */
#include "evaluate.h"

#include <algorithm>
#include <stdexcept>

static_assert(sizeof(int) == sizeof(int32_t), "neighbour lists are handed on as int32_t");

namespace dpc_deepmd_c {
namespace {

template <typename Real>
std::vector<double> widened(const Real *values, size_t first, size_t count)
{
    return std::vector<double>(values + first, values + first + count);
}

/* One result: libdpc fills `values`, which then become the caller's block `number`, filled up with zeros. */
class Block {
public:
    Block(bool wanted, size_t size) : values_(wanted ? size : 0) {}

    double *data() { return values_.empty() ? nullptr : values_.data(); }

    template <typename Real>
    void store(Real *target, size_t number) const
    {
        std::copy(values_.begin(), values_.end(), target + number * values_.size());
    }

private:
    std::vector<double> values_;
};

template <typename Real>
void check(const Handle &handle, const Frames<Real> &frames)
{
    if (frames.frames < 0 || frames.atoms < 0 || frames.ghosts < 0 || frames.ghosts > frames.atoms)
        throw std::runtime_error("there cannot be " + std::to_string(frames.frames) + " frames of " +
                                 std::to_string(frames.atoms) + " atoms, " + std::to_string(frames.ghosts) +
                                 " of them ghosts");
    if (handle.potentials.size() > 1 && frames.frames != 1)
        throw std::runtime_error("several models are evaluated on one frame at a time, not on " +
                                 std::to_string(frames.frames));
    if (frames.has_list && frames.list == nullptr)
        throw std::runtime_error("there is no neighbour list");
}

/* The caller's list, as it is. */
dpc_neighbours borrowed(const DP_Nlist &list)
{
    dpc_neighbours neighbours = {};
    neighbours.centres = static_cast<size_t>(list.centres);
    neighbours.centre = list.centre;
    neighbours.count = list.count;
    neighbours.list = list.list;
    neighbours.mask = list.mask;
    return neighbours;
}

/* Types that the model has not are no atoms. */
std::vector<int32_t> known_types(const int *type, size_t atoms, size_t types)
{
    std::vector<int32_t> known(type, type + atoms);
    for (int32_t &t : known)
        t = t >= 0 && static_cast<size_t>(t) < types ? t : -1;
    return known;
}

/* `count` of them for a frame. */
template <typename Real>
std::vector<double> parameters(const Real *given, size_t frame, size_t count, const char *name)
{
    if (count == 0)
        return {};
    if (given == nullptr)
        throw std::runtime_error(std::string("this model needs ") + name + ", and there is none");
    return widened(given, count * frame, count);
}

template <typename Real>
void evaluate_frame(Potential &potential, const Frames<Real> &frames, size_t frame, const Results<Real> &results,
                    size_t block)
{
    const size_t all = static_cast<size_t>(frames.atoms), ghosts = static_cast<size_t>(frames.ghosts);
    const std::vector<double> position = widened(frames.position, 3 * all * frame, 3 * all);
    const std::vector<int32_t> type =
        known_types(frames.type + (frames.mixed_type ? all * frame : 0), all, potential.info().types);
    const size_t local = all - ghosts;
    const std::vector<double> fparam = parameters(frames.fparam, frame, potential.info().fparams, "fparam");
    const std::vector<double> aparam = parameters(frames.aparam, frame, local * potential.info().aparams, "aparam");
    dpc_atoms atoms = {};
    atoms.local = local;
    atoms.ghost = ghosts;
    atoms.position = position.data();
    atoms.type = type.data();
    atoms.fparam = fparam.data();
    atoms.aparam = aparam.data();

    Block force(results.force, 3 * all), virial(results.virial, 9);
    Block atom_energy(results.atom_energy, all), atom_virial(results.atom_virial, 9 * all);
    double energy = 0;
    dpc_result result = {};
    result.energy = &energy;
    result.force = force.data();
    result.virial = virial.data();
    result.atom_energy = atom_energy.data();
    result.atom_virial = atom_virial.data();
    if (frames.has_list) {
        potential.compute(atoms, borrowed(*frames.list), result);
    } else {
        std::vector<double> cell;
        if (frames.cell != nullptr)
            cell = widened(frames.cell, 9 * frame, 9);
        potential.compute(atoms, frames.cell != nullptr ? cell.data() : nullptr, result);
    }

    if (results.energy != nullptr)
        results.energy[block] = energy;
    force.store(results.force, block);
    virial.store(results.virial, block);
    atom_energy.store(results.atom_energy, block);
    atom_virial.store(results.atom_virial, block);
}

} // namespace

template <typename Real>
void evaluate(Handle &handle, const Frames<Real> &frames, const Results<Real> &results)
{
    if (handle.potentials.empty())
        return;
    guarded(handle, [&] {
        check(handle, frames);
        for (size_t frame = 0; frame < static_cast<size_t>(frames.frames); frame++)
            for (size_t k = 0; k < handle.potentials.size(); k++)
                evaluate_frame(handle.potentials[k], frames, frame, results, frame + k);
    });
}

template void evaluate(Handle &, const Frames<double> &, const Results<double> &);
template void evaluate(Handle &, const Frames<float> &, const Results<float> &);

} // namespace dpc_deepmd_c
