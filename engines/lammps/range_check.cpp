/* range_check.cpp - counts added up over the ranks; the closest pair stands for all */
#include "range_check.h"

#include <cmath>

namespace dpc_lammps {
namespace {

int64_t interval(OutOfRange wish, int64_t frequency)
{
    if (wish == OutOfRange::ignore)
        return 0;
    if (frequency > 0)
        return frequency;
    return wish == OutOfRange::by_model ? 0 : 1;
}

} // namespace

RangeCheck::RangeCheck(OutOfRange wish, int64_t frequency, size_t tables)
    : stop_(wish == OutOfRange::stop), every_(interval(wish, frequency)), range_(4 * tables), worst_(3 * tables)
{
}

bool RangeCheck::due()
{
    return every_ > 0 && evaluations_++ % every_ == 0;
}

std::string RangeCheck::report(const LAMMPS_NS::tagint *tag, MPI_Comm world) const
{
    int64_t outside = 0, total;
    struct {
        double distance;
        int rank;
    } closest = {HUGE_VAL, 0}, winner;
    LAMMPS_NS::tagint atom = 0;
    for (size_t t = 0; 4 * t < range_.size(); t++) {
        const int64_t here = range_[4 * t] + range_[4 * t + 3];
        outside += here;
        if (here > 0 && worst_[3 * t + 2] < closest.distance) {
            closest.distance = worst_[3 * t + 2];
            atom = tag[static_cast<size_t>(worst_[3 * t + 1])];
        }
    }
    MPI_Allreduce(&outside, &total, 1, MPI_INT64_T, MPI_SUM, world);
    if (total == 0)
        return "";
    MPI_Comm_rank(world, &closest.rank);
    MPI_Allreduce(&closest, &winner, 1, MPI_DOUBLE_INT, MPI_MINLOC, world);
    MPI_Bcast(&atom, 1, MPI_LMP_TAGINT, winner.rank, world);
    return std::to_string(total) + " pairs are outside the tables of the model, where it is extrapolated: atom " +
           std::to_string(atom) + " has a neighbour at " + std::to_string(winner.distance) +
           " angstrom; compress the model with a larger --extrapolate, or look at the geometry";
}

} // namespace dpc_lammps
