/* compute_deeptensor_atom.h - compute style deeptensor/atom of LAMMPS: dipoles and polarizabilities of each atom */
#ifndef LMP_COMPUTE_DEEPTENSOR_ATOM_H
#define LMP_COMPUTE_DEEPTENSOR_ATOM_H

#include "inputs.h"
#include "loaded_model.h"

#include "compute.h"

#include <memory>
#include <vector>

namespace LAMMPS_NS {

class ComputeDeeptensorAtom : public Compute {
public:
    ComputeDeeptensorAtom(LAMMPS *lmp, int narg, char **arg);
    ~ComputeDeeptensorAtom() override;

    void init() override;
    void init_list(int id, NeighList *list) override;
    void compute_peratom() override;
    double memory_usage() override;

private:
    std::unique_ptr<dpc_lammps::LoadedModel> model;
    dpc_lammps::Inputs inputs;
    std::vector<int> model_type;       /* [ntypes + 1], by LAMMPS' type; -1: no atom of the model's */
    double cutoff;                     /* in LAMMPS' units */
    NeighList *list = nullptr;
    int rows = 0;                      /* of array_atom */
    std::vector<double> tensor;        /* [local][outputs] */
};

} // namespace LAMMPS_NS
#endif
