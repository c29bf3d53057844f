/*
 * model_deviation.h - how far several models disagree, and the file that says so
 *
 * With n models, f the force on an atom and <> the mean over the models, its deviation is
 * sqrt(<|f - <f>|²>), or that over |<f>| + level; the virial's is taken component by component and
 * divided by the number of atoms. Forces on spins are counted as those on atoms. The file has the columns and the
 * format of DeePMD-kit.
 */
#ifndef DPC_LAMMPS_MODEL_DEVIATION_H
#define DPC_LAMMPS_MODEL_DEVIATION_H

#include "settings.h"

#include "lmptype.h"

#include <array>
#include <cstdio>
#include <memory>
#include <mpi.h>
#include <vector>

namespace dpc_lammps {

/* What one rank knows; forces and virials are in LAMMPS' units. */
struct Predictions {
    size_t models, kinds, local;        /* kinds of forces: on atoms, and perhaps on spins; local atoms */
    const double *force;                /* [kinds][models][stride], complete for the local atoms */
    size_t stride;
    const double *virial;               /* [models][9], this rank's share */
    const LAMMPS_NS::tagint *tag;       /* [local] */
    LAMMPS_NS::bigint step, atoms;      /* all atoms */
};

class ModelDeviation {
public:
    /* Called by all ranks; opens the file, or throws std::runtime_error. */
    ModelDeviation(const Settings &settings, size_t kinds, bool append, MPI_Comm world);
    /* Appends a line; called by all ranks. */
    void write(const Predictions &predictions);

private:
    void write_header(size_t kinds);
    std::vector<double> force_deviations(const Predictions &predictions, size_t kind) const;
    std::vector<double> virial_deviations(const Predictions &predictions) const;
    std::array<double, 3> summary(const std::vector<double> &deviation, double atoms) const;
    std::vector<double> gather_by_tag(const Predictions &predictions, const std::vector<double> &local) const;

    struct Close {
        void operator()(std::FILE *file) const { std::fclose(file); }
    };
    Settings settings_;
    MPI_Comm world_;
    int rank_;
    std::unique_ptr<std::FILE, Close> file_;
};

} // namespace dpc_lammps
#endif
