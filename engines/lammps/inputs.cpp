/* inputs.cpp - types by name, positions in angstrom, lists as they are */
#include "inputs.h"

#include "atom.h"
#include "neigh_list.h"
#include "neighbor.h"

#include <algorithm>
#include <stdexcept>

using namespace LAMMPS_NS;

static_assert(sizeof(int) == sizeof(int32_t), "the neighbour list is handed on as int32_t");

namespace dpc_lammps {

std::string join(const std::vector<std::string> &words)
{
    std::string text;
    for (const std::string &word : words)
        text += (text.empty() ? "" : " ") + word;
    return text;
}

std::vector<int> map_types(const std::vector<std::string> &known, int types, int names, const char *const *name)
{
    if (names == 0 && types > static_cast<int>(known.size()))
        throw std::invalid_argument("the model has " + std::to_string(known.size()) + " types (" + join(known) +
                                    ") and the system " + std::to_string(types) +
                                    ": name an element or NULL for each");
    if (names != 0 && names < types)
        throw std::invalid_argument(std::to_string(names) + " elements for " + std::to_string(types) +
                                    " atom types: name an element or NULL for each");
    std::vector<int> model_type(types + 1, -1);
    for (int i = 1; i <= types; i++) {
        if (names == 0) {
            model_type[i] = i - 1;
        } else if (const std::string element = name[i - 1]; element != "NULL") {
            const auto found = std::find(known.begin(), known.end(), element);
            if (found == known.end())
                throw std::invalid_argument("the model has no element " + element + ", only " + join(known));
            model_type[i] = static_cast<int>(found - known.begin());
        }
    }
    return model_type;
}

dpc_neighbours view_list(const NeighList &list)
{
    dpc_neighbours neighbours = {};
    neighbours.centres = list.inum;
    neighbours.centre = list.ilist;
    neighbours.count = list.numneigh;
    neighbours.list = list.firstneigh;
    neighbours.mask = NEIGHMASK;
    return neighbours;
}

dpc_atoms Inputs::gather(const Atom &atom, const std::vector<int> &model_type)
{
    dpc_atoms atoms = {};
    atoms.local = atom.nlocal;
    atoms.ghost = atom.nghost;
    const size_t all = atoms.local + atoms.ghost;
    changed_ = changed_ || type_.size() != all;
    type_.resize(all);
    for (size_t i = 0; i < all; i++) {
        const int32_t type = model_type[atom.type[i]];
        changed_ = changed_ || type_[i] != type;
        type_[i] = type;
    }
    atoms.type = type_.data();
    atoms.position = all > 0 ? atom.x[0] : nullptr;
    if (length_unit_ != 1) {
        position_.resize(3 * all);
        for (size_t i = 0; i < 3 * all; i++)
            position_[i] = atoms.position[i] / length_unit_;
        atoms.position = position_.data();
    }
    return atoms;
}

uint64_t Inputs::serial(const Neighbor &neighbor)
{
    if (changed_ || neighbor.ncalls != builds_ || neighbor.lastcall != built_)
        serial_++;
    changed_ = false;
    builds_ = neighbor.ncalls;
    built_ = neighbor.lastcall;
    return serial_;
}

const double *Inputs::gather_spins(const Atom &atom)
{
    const size_t all = static_cast<size_t>(atom.nlocal) + atom.nghost;
    spin_.resize(3 * all);
    for (size_t i = 0; i < all; i++)
        for (size_t c = 0; c < 3; c++) /* without length, a direction may be anything */
            spin_[3 * i + c] = atom.sp[i][3] == 0 ? 0 : atom.sp[i][c] * atom.sp[i][3];
    return spin_.data();
}

} // namespace dpc_lammps
