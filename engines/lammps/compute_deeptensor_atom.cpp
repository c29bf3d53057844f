/* compute_deeptensor_atom.cpp - a model of tensors on LAMMPS' atoms, when something asks for them */
#include "compute_deeptensor_atom.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "update.h"

#include <cmath>
#include <cstring>
#include <stdexcept>

using namespace LAMMPS_NS;
using namespace dpc_lammps;

ComputeDeeptensorAtom::ComputeDeeptensorAtom(LAMMPS *lmp, int narg, char **arg) : Compute(lmp, narg, arg)
{
    if (strcmp(update->unit_style, "lj") == 0)
        error->all(FLERR, "compute deeptensor/atom: a model knows angstrom: use any units but lj");
    if (narg < 4)
        error->all(FLERR, "compute deeptensor/atom needs a compressed model (.onnx) after its style");
    try {
        model = std::make_unique<LoadedModel>(arg[3], world);
        if (model->kind() != "dipole" && model->kind() != "polar")
            throw std::runtime_error(std::string(arg[3]) + " is a model of kind " + model->kind() +
                                     ", which has no tensors: give one of kind dipole or polar" +
                                     (model->kind() == "ener" ? ", and this one to pair_style dpc" : ""));
        if (model->fparams() + model->aparams() > 0)
            throw std::runtime_error(std::string(arg[3]) + " takes parameters of the frame or of each atom, which "
                                                           "cannot be given here: use a model without them");
        model_type = map_types(model->type_names(), atom->ntypes, narg - 4, arg + 4);
    } catch (const std::exception &problem) { /* the same on all ranks */
        error->all(FLERR, std::string("compute deeptensor/atom: ") + problem.what());
    }
    inputs = Inputs(force->angstrom);
    cutoff = model->cutoff() * force->angstrom;
    peratom_flag = 1;
    size_peratom_cols = static_cast<int>(model->outputs());
    timeflag = 1;
}

ComputeDeeptensorAtom::~ComputeDeeptensorAtom()
{
    memory->destroy(array_atom);
}

void ComputeDeeptensorAtom::init()
{
    neighbor->add_request(this, NeighConst::REQ_FULL | NeighConst::REQ_OCCASIONAL);
}

/* LAMMPS makes the list as long as pair styles ask for, which may be too short for this model. */
void ComputeDeeptensorAtom::init_list(int, NeighList *full)
{
    list = full;
    for (int i = 1; i <= atom->ntypes; i++)
        for (int j = 1; j <= atom->ntypes; j++) {
            const double reach = std::sqrt(neighbor->cutneighsq[i][j]) - neighbor->skin;
            if (model_type[i] >= 0 && model_type[j] >= 0 && reach < cutoff * (1 - 1e-12))
                error->all(FLERR, "compute deeptensor/atom: neighbours of types {} and {} are listed up to {:g}, "
                                  "before the model's cutoff {:g}: add pair_style zero {:g}, by hybrid/overlay "
                                  "beside other styles", i, j, reach, cutoff, cutoff);
        }
}

void ComputeDeeptensorAtom::compute_peratom()
{
    invoked_peratom = update->ntimestep;
    const size_t columns = model->outputs(), local = atom->nlocal;
    if (atom->nmax > rows) {
        rows = atom->nmax;
        memory->destroy(array_atom);
        memory->create(array_atom, rows, size_peratom_cols, "deeptensor/atom:array_atom");
    }
    neighbor->build_one(list);
    tensor.resize(local * columns);
    dpc_result result = {};
    result.atom_energy = tensor.data();
    try {
        model->compute(inputs.gather(*atom, model_type), view_list(*list), result, comm->nthreads);
    } catch (const std::exception &problem) {
        error->one(FLERR, std::string("compute deeptensor/atom: ") + problem.what());
    }
    for (size_t i = 0; i < local; i++)
        for (size_t c = 0; c < columns; c++)
            /* the unit of both kinds goes with that of length, as DeePMD-kit has it */
            array_atom[i][c] = atom->mask[i] & groupbit ? tensor[i * columns + c] * force->angstrom : 0;
}

double ComputeDeeptensorAtom::memory_usage()
{
    const double array = static_cast<double>(rows) * size_peratom_cols;
    return (array + static_cast<double>(tensor.size())) * sizeof(double) + inputs.memory_usage();
}
