/* range_check.h - atoms closer than a model's tables reach: found on any rank, told to the user */
#ifndef DPC_LAMMPS_RANGE_CHECK_H
#define DPC_LAMMPS_RANGE_CHECK_H

#include "settings.h"

#include "lmptype.h"

#include <cstdint>
#include <mpi.h>
#include <string>
#include <vector>

namespace dpc_lammps {

class RangeCheck {
public:
    /* `frequency` is the model's. */
    RangeCheck(OutOfRange wish, int64_t frequency, size_t tables);
    /* Whether this evaluation, the next of all, is to be looked at. */
    bool due();
    bool stops() const { return stop_; }
    int64_t *range() { return range_.data(); } /* dpc_result's members, to be filled */
    double *worst() { return worst_.data(); }
    /* A sentence for the user, or nothing; called by all ranks, and the same on all. */
    std::string report(const LAMMPS_NS::tagint *tag, MPI_Comm world) const;

private:
    bool stop_;
    int64_t every_, evaluations_ = 0; /* every 0: never */
    std::vector<int64_t> range_;      /* [tables][4] */
    std::vector<double> worst_;       /* [tables][3] */
};

} // namespace dpc_lammps
#endif
