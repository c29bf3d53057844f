// system.h - atoms and their lists on a device, centres sorted by type
#pragma once
#include "memory.h"
#include "stages.h"
#include <vector>

namespace dpc {

class System {
public:
    // Whether this is the list of last time, which its serial number says.
    bool knows(const dpc_atoms &atoms, const dpc_neighbours &neighbours) const;
    void forget() { serial_ = 0; }

    // What changes between evaluations; arrays of the device.
    void move(const double *position, const double *fparam, const double *aparam, const double *cell);
    // Another list, in arrays of the host; or of the device, in form (b), which waits. The atoms have moved before.
    dpc_status take(size_t types, const dpc_atoms &atoms, const dpc_neighbours &neighbours, Stream stream,
                    dpc_error *err);
    dpc_status take_from_device(size_t types, const dpc_atoms &atoms, const dpc_neighbours &neighbours, Stream stream,
                                dpc_error *err);

    const Atoms &atoms() const { return atoms_; }
    const List &list() const { return list_; }
    size_t local() const { return local_; }
    int seen() const { return seen_; } // centres that are atoms of the model
    int count_of(size_t type) const { return count_[type]; }
    Group of_type(size_t type) const;               // all its centres
    const std::vector<unsigned char> &present() const { return present_; } // [types] of all atoms

private:
    dpc_status sort(size_t types, const int32_t *type, const int32_t *centre, Stream stream, dpc_error *err);
    dpc_status arrange_list(size_t types, const int32_t *index, const int32_t *shift, Stream stream, dpc_error *err);

    uint64_t serial_ = 0; // 0: nothing is known
    size_t local_ = 0;
    int seen_ = 0;
    Atoms atoms_ = {};
    List list_ = {};
    std::vector<int> count_, begin_; // [types]
    std::vector<unsigned char> present_;
    Array<int32_t> type_, centre_, index_, shift_, given_index_, given_shift_, of_type_, pair_centre_, sorted_, counts_;
    Array<int64_t> first_, back_first_, back_, scratch_;
};

} // namespace dpc
