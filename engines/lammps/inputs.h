/* inputs.h - LAMMPS' atoms and neighbour lists as libdpc takes them */
#ifndef DPC_LAMMPS_INPUTS_H
#define DPC_LAMMPS_INPUTS_H

#include "dpc.h"

#include "lmptype.h"

#include <cstdint>
#include <string>
#include <vector>

namespace LAMMPS_NS {
class Atom;
class NeighList;
class Neighbor;
} // namespace LAMMPS_NS

namespace dpc_lammps {

std::string join(const std::vector<std::string> &words);

/* [types + 1] the model's type of each of LAMMPS'; -1: no atom of the model's. `name` has an element of `known`, or
 * NULL, for each; without any, types are the model's in order. Throws std::invalid_argument. */
std::vector<int> map_types(const std::vector<std::string> &known, int types, int names, const char *const *name);

/* The list itself, not a copy. */
dpc_neighbours view_list(const LAMMPS_NS::NeighList &list);

class Inputs {
public:
    /* `length_unit` is an angstrom in LAMMPS' units. */
    explicit Inputs(double length_unit = 1) : length_unit_(length_unit) {}
    /* All atoms, ghosts included; where LAMMPS counts in angstrom its own positions. Valid until the next call. */
    dpc_atoms gather(const LAMMPS_NS::Atom &atom, const std::vector<int> &model_type);
    /* [all][3] of LAMMPS' spins, direction times length. Valid until the next call. */
    const double *gather_spins(const LAMMPS_NS::Atom &atom);
    /* Another number whenever the list or the gathered types may be others than at the last call. */
    uint64_t serial(const LAMMPS_NS::Neighbor &neighbor);
    void forget_list() { changed_ = true; } /* the next one is another */
    double memory_usage() const
    {
        return (position_.size() + spin_.size()) * sizeof(double) + type_.size() * sizeof(int32_t);
    }

private:
    double length_unit_;
    std::vector<double> position_, spin_; /* [all][3] */
    std::vector<int32_t> type_;           /* [all] */
    bool changed_ = true;
    LAMMPS_NS::bigint builds_ = 0, built_ = 0; /* how many lists there were, and when the last one */
    uint64_t serial_ = 0;
};

} // namespace dpc_lammps
#endif
