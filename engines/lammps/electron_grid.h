/* electron_grid.h - the electronic temperatures of a fix ttm, by place */
#ifndef DPC_LAMMPS_ELECTRON_GRID_H
#define DPC_LAMMPS_ELECTRON_GRID_H

#include <mpi.h>
#include <vector>

namespace LAMMPS_NS {
class Domain;
class Fix;
} // namespace LAMMPS_NS

namespace dpc_lammps {

class ElectronGrid {
public:
    /* As they are now; called by all ranks. Throws std::runtime_error. */
    ElectronGrid(LAMMPS_NS::Fix &fix, MPI_Comm world);
    /* Over the cells that have electrons. */
    double mean() const;
    /* At x [3], in whose periodic image it may be. */
    double at(const double *x, const LAMMPS_NS::Domain &domain) const;

private:
    int cells_[3];
    std::vector<double> temperature_; /* [z][y][x] */
};

} // namespace dpc_lammps
#endif
