/*
 * electron_grid.cpp - what fix ttm writes into restart files, read from memory
 *
 * Its temperatures are protected members of a class whose header is not installed. Its record in a restart file has
 * them: a size in bytes, then as doubles the numbers of cells, a seed, and the temperatures.
 */
#include "electron_grid.h"

#include "domain.h"
#include "fix.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

using namespace LAMMPS_NS;

namespace dpc_lammps {
namespace {

constexpr size_t HEADER = 4; /* doubles */

/* [HEADER + cells], on rank 0; elsewhere nothing is written */
std::vector<double> restart_record(Fix &fix)
{
    char *bytes = nullptr;
    size_t size = 0;
    std::FILE *stream = open_memstream(&bytes, &size);
    if (!stream)
        throw std::runtime_error("no memory for the temperatures of fix " + std::string(fix.id));
    fix.write_restart(stream);
    std::fclose(stream);
    std::vector<double> record(size < sizeof(int) ? 0 : (size - sizeof(int)) / sizeof(double));
    if (!record.empty())
        std::memcpy(record.data(), bytes + sizeof(int), record.size() * sizeof(double));
    std::free(bytes);
    return record;
}

} // namespace

ElectronGrid::ElectronGrid(Fix &fix, MPI_Comm world)
{
    std::vector<double> record = restart_record(fix);
    int size = static_cast<int>(record.size());
    MPI_Bcast(&size, 1, MPI_INT, 0, world);
    record.resize(size);
    MPI_Bcast(record.data(), size, MPI_DOUBLE, 0, world);
    size_t cells = 1;
    for (int d = 0; d < 3; d++) {
        cells_[d] = record.size() > HEADER ? static_cast<int>(record[d]) : 0;
        cells *= static_cast<size_t>(cells_[d]);
    }
    if (cells == 0 || record.size() != HEADER + cells)
        throw std::runtime_error("cannot read the electronic temperatures of fix " + std::string(fix.id));
    temperature_.assign(record.begin() + HEADER, record.end());
}

double ElectronGrid::mean() const
{
    double sum = 0;
    size_t count = 0;
    for (double temperature : temperature_)
        if (temperature != 0) {
            sum += temperature;
            count++;
        }
    return count > 0 ? sum / static_cast<double>(count) : 0;
}

double ElectronGrid::at(const double *x, const Domain &domain) const
{
    size_t index = 0;
    for (int d = 2; d >= 0; d--) {
        const double fraction = (x[d] - domain.boxlo[d]) / domain.prd[d];
        const int cell = static_cast<int>(std::floor(fraction * cells_[d])) % cells_[d];
        index = index * cells_[d] + (cell < 0 ? cell + cells_[d] : cell);
    }
    return temperature_[index];
}

} // namespace dpc_lammps
