/* loaded_model.h - a compressed model with its workspace: libdpc's handles, as one object that throws */
#ifndef DPC_LAMMPS_LOADED_MODEL_H
#define DPC_LAMMPS_LOADED_MODEL_H

#include "dpc.h"

#include <cstdint>
#include <memory>
#include <mpi.h>
#include <string>
#include <vector>

namespace dpc_lammps {

class LoadedModel {
public:
    /* On "cpu" or "cuda:N"; "cuda": each rank on the next of its machine's devices. Called by all ranks; throws std::runtime_error with a sentence for the user, as compute does. */
    LoadedModel(const std::string &path, MPI_Comm world, const std::string &device = "cpu");

    double cutoff() const { return info_.cutoff; } /* angstrom */
    size_t tables() const { return info_.tables; }
    std::string kind() const { return info_.kind; } /* ener, dipole, ... */
    bool has_spin() const { return info_.spin_scale != nullptr; }
    /* Angstrom per unit of spin that an atom's virtual one is away; of models that have spins. */
    double spin_scale(int type) const { return info_.spin_scale[type]; }
    size_t outputs() const { return info_.outputs; } /* of energies: 1, or the models of an ensemble */
    size_t fparams() const { return info_.fparams; }
    size_t aparams() const { return info_.aparams; }
    std::vector<std::string> type_names() const;
    /* Evaluations between looks at how far inputs lie outside the tables, as its file says; -1: never. */
    int64_t frequency() const { return info_.frequency; }

    void compute(const dpc_atoms &atoms, const dpc_neighbours &neighbours, const dpc_result &result,
                 int threads);
    /* Means over the models of an ensemble of energies. */
    void average(const dpc_atoms &atoms, const dpc_result &each, const dpc_result &mean) const
    {
        dpc_model_average(model_.get(), &atoms, &each, &mean);
    }

private:
    struct Release {
        void operator()(dpc_model *model) const { dpc_model_free(model); }
        void operator()(dpc_workspace *workspace) const { dpc_workspace_free(workspace); }
    };
    std::unique_ptr<dpc_model, Release> model_;
    std::unique_ptr<dpc_workspace, Release> workspace_;
    dpc_model_info info_;
};

} // namespace dpc_lammps
#endif
