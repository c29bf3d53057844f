/*
 * pair_dpc.cpp - LAMMPS' atoms and neighbour list in, forces, energies and virials out
 *
 * LAMMPS' full list goes to libdpc as it is; forces on ghosts go back to their owners by LAMMPS' own
 * reverse communication, hence newton on.
 */
#include "pair_dpc.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "update.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

using namespace LAMMPS_NS;
using namespace dpc_lammps;

namespace {

const std::string PREFIX = "pair_style dpc: "; /* of what the user is told */
constexpr double TWO_PI = 6.283185307179586;
constexpr double EV_IN_KELVIN = 8.617343e-5; /* Boltzmann's constant in eV/K, DeePMD-kit's value */
/* (a, b) of LAMMPS' virial r_a f_b: xx yy zz xy xz yz yx zx zy; in ours, f_a r_b, row by row */
constexpr int VIRIAL[9] = {0, 4, 8, 3, 6, 7, 1, 2, 5};

} // namespace

PairDpc::PairDpc(LAMMPS *lmp) : Pair(lmp)
{
    one_coeff = 1;
    manybody_flag = 1;
    single_enable = 0;
    no_virial_fdotr_compute = 1;
    centroidstressflag = CENTROID_AVAIL;
    ewaldflag = pppmflag = 1; /* long-range charges may be added: the model holds what is short-ranged */
}

PairDpc::~PairDpc()
{
    if (allocated) {
        memory->destroy(setflag);
        memory->destroy(cutsq);
        memory->destroy(scale);
    }
}

void PairDpc::settings(int narg, char **arg)
{
    if (strcmp(update->unit_style, "lj") == 0)
        error->all(FLERR, "pair_style dpc: a model knows angstrom and eV: use any units but lj");
    length_unit = force->angstrom;
    energy_unit = force->boltz / EV_IN_KELVIN;
    inputs = Inputs(length_unit);
    deviation.reset(); /* its file may be opened again below */
    if (allocated)
        forget_types();
    try {
        options = parse_settings(narg, arg);
        load_models();
        parameters.reset(new Parameters(lmp, options, models[0]));
        range_check.reset(new RangeCheck(options.out_of_range, models[0].frequency(), models[0].tables()));
        if (members > 1 && options.out_freq > 0)
            deviation.reset(new ModelDeviation(options, kinds, restarted, world));
    } catch (const std::exception &problem) { /* the same on all ranks */
        error->all(FLERR, PREFIX + problem.what());
    }
    if (comm->me == 0)
        utils::logmesg(lmp, "pair_style dpc: {} model(s) of {}, cutoff {:g}\n", members,
                       join(models[0].type_names()), cutoff);
}

void PairDpc::load_models()
{
    models.clear();
    cutoff = 0;
    for (const std::string &path : options.models) {
        models.emplace_back(path, world, options.device);
        const LoadedModel &model = models.back(), &first = models[0];
        if (model.kind() != "ener")
            throw std::runtime_error(path + " is a model of kind " + model.kind() + ", which has no energies" +
                                     (model.kind() == "dipole" || model.kind() == "polar"
                                          ? ": give it to compute deeptensor/atom"
                                          : ": give one that has"));
        if (model.has_spin() != first.has_spin())
            throw std::runtime_error("of " + path + " and " + options.models[0] + " only one is a model of spins");
        if (model.type_names() != first.type_names())
            throw std::runtime_error(path + " has other types (" + join(model.type_names()) + ") than " +
                                     options.models[0] + " (" + join(first.type_names()) + ")");
        if (model.fparams() != first.fparams() || model.aparams() != first.aparams())
            throw std::runtime_error(path + " takes other numbers of fparam and aparam than " + options.models[0]);
        cutoff = std::max(cutoff, model.cutoff() * length_unit);
    }
    kinds = models[0].has_spin() ? 2 : 1;
    members = 0;
    for (const LoadedModel &model : models)
        members += model.outputs();
    comm_reverse = 3 * static_cast<int>(kinds * members);
}

void PairDpc::allocate()
{
    const int n = atom->ntypes + 1;
    memory->create(setflag, n, n, "pair:setflag");
    memory->create(cutsq, n, n, "pair:cutsq");
    memory->create(scale, n, n, "pair:scale");
    std::fill_n(&scale[0][0], n * n, 1.0);
    allocated = 1;
}

void PairDpc::forget_types()
{
    for (int i = 1; i <= atom->ntypes; i++)
        for (int j = 1; j <= atom->ntypes; j++)
            setflag[i][j] = 0;
}

void PairDpc::coeff(int narg, char **arg)
{
    if (narg < 2 || strcmp(arg[0], "*") != 0 || strcmp(arg[1], "*") != 0)
        error->all(FLERR, "pair_coeff of dpc must start with * *, followed by an element or NULL for each atom type");
    if (!allocated)
        allocate();
    forget_types();
    try {
        model_type = map_types(models[0].type_names(), atom->ntypes, narg - 2, arg + 2);
    } catch (const std::exception &problem) {
        error->all(FLERR, std::string("pair_coeff of dpc: ") + problem.what());
    }
    /* alone, it answers for all pairs; a hybrid style must only ask for those it was given */
    const bool hybrid = force->pair != this;
    for (int i = 1; i <= atom->ntypes; i++)
        for (int j = i; j <= atom->ntypes; j++)
            setflag[i][j] = !hybrid || (model_type[i] >= 0 && model_type[j] >= 0);
}

void PairDpc::init_style()
{
    if (force->newton_pair == 0)
        error->all(FLERR, "pair_style dpc needs forces on ghost atoms sent back: use newton on");
    if (options.atomic && deviation && atom->tag_enable == 0)
        error->all(FLERR, "pair_style dpc: deviations of each atom need atom IDs: use atom_modify id yes");
    if (kinds == 2 && !atom->sp_flag)
        error->all(FLERR, "pair_style dpc: the model is one of spins, and these atoms have none: use atom_style spin");
    for (int k = 1; k <= 3 && comm->me == 0 && atom->nbonds > 0; k++)
        if (force->special_lj[k] == 0 && force->special_coul[k] == 0) {
            error->warning(FLERR, "pair_style dpc does not see bonded neighbours that special_bonds sets to 0: "
                                  "use special_bonds lj/coul 1 1 1, or 1e-50 instead of 0");
            break;
        }
    try {
        parameters->init();
    } catch (const std::exception &problem) {
        error->all(FLERR, PREFIX + problem.what());
    }
    reach = cutoff + (kinds == 2 ? longest_displacement() : 0);
    inputs.forget_list();
    neighbor->add_request(this, NeighConst::REQ_FULL);
}

/* Of an atom's virtual one, of all atoms, in LAMMPS' units: a spin keeps its length during a run. */
double PairDpc::longest_displacement() const
{
    double longest = 0, result;
    for (int i = 0; i < atom->nlocal; i++)
        if (const int type = model_type[atom->type[i]]; type >= 0)
            for (const LoadedModel &model : models)
                longest = std::max(longest, std::fabs(atom->sp[i][3] * model.spin_scale(type)) * length_unit);
    MPI_Allreduce(&longest, &result, 1, MPI_DOUBLE, MPI_MAX, world);
    return result;
}

void PairDpc::setup()
{
    parameters->setup();
}

double PairDpc::init_one(int i, int j)
{
    scale[j][i] = scale[i][j];
    return reach;
}

void PairDpc::compute(int eflag, int vflag)
{
    ev_init(eflag, vflag);
    const bool deviates = deviation && update->ntimestep % options.out_freq == 0;
    const bool checks = range_check->due();
    try {
        parameters->update();
        evaluate(deviates ? models.size() : 1, checks);
    } catch (const std::exception &problem) {
        error->one(FLERR, PREFIX + problem.what());
    }
    add_results();
    if (deviates)
        write_deviation();
    if (checks)
        report_range();
}

/* The first `count` files; means, atoms' shares and ranges of the first one only. */
void PairDpc::evaluate(size_t count, bool checks)
{
    dpc_atoms atoms = inputs.gather(*atom, model_type);
    atoms.fparam = parameters->frame();
    atoms.aparam = parameters->atoms();
    atoms.spin = kinds == 2 ? inputs.gather_spins(*atom) : nullptr;
    dpc_neighbours neighbours = view_list(*list);
    neighbours.serial = inputs.serial(*neighbor);

    const size_t all = atoms.local + atoms.ghost;
    stride = 3 * all;
    const size_t first = models[0].outputs(), evaluated = count > 1 ? members : first;
    forces.resize(kinds * evaluated * stride);
    virials.resize(9 * evaluated);
    force_mean.resize(kinds * stride);
    std::vector<double> energies(first);
    atom_energy.resize(eflag_atom ? first * atoms.local : 0);
    atom_virial.resize(vflag_atom || cvflag_atom ? first * 9 * all : 0);
    for (size_t m = 0, before = 0; m < count; before += models[m++].outputs()) {
        dpc_result result = {};
        result.force = forces.data() + before * stride;
        result.force_mag = kinds == 2 ? result.force + evaluated * stride : nullptr;
        result.virial = virials.data() + 9 * before;
        if (m == 0) {
            result.energy = energies.data();
            result.atom_energy = eflag_atom ? atom_energy.data() : nullptr;
            result.atom_virial = vflag_atom || cvflag_atom ? atom_virial.data() : nullptr;
            result.range = checks ? range_check->range() : nullptr;
            result.range_worst = checks ? range_check->worst() : nullptr;
        }
        models[m].compute(atoms, neighbours, result, comm->nthreads);
        if (m == 0)
            average(atoms, result);
    }
    atom_energy.resize(eflag_atom ? atoms.local : 0);
    atom_virial.resize(vflag_atom || cvflag_atom ? 9 * all : 0);
}

/* What the first file's models gave -> what drives. */
void PairDpc::average(const dpc_atoms &atoms, const dpc_result &each)
{
    dpc_result mean = each; /* atoms' shares stay where they are */
    mean.energy = &energy;
    mean.force = force_mean.data();
    mean.force_mag = kinds == 2 ? mean.force + stride : nullptr;
    mean.virial = virial_mean;
    models[0].average(atoms, each, mean);
}

void PairDpc::add_results()
{
    const double e = scale[1][1] * energy_unit, f = e / length_unit;
    for (size_t i = 0; i < stride; i++)
        atom->f[0][i] += f * force_mean[i];
    /* LAMMPS turns spins by frequencies, with respect to their directions */
    const double w = e * TWO_PI / force->hplanck;
    for (size_t i = 0; kinds == 2 && i < stride; i++)
        atom->fm[0][i] += w * atom->sp[i / 3][3] * force_mean[stride + i];
    if (eflag_global)
        eng_vdwl += e * energy;
    for (size_t i = 0; i < atom_energy.size(); i++)
        eatom[i] += e * atom_energy[i];
    for (int c = 0; vflag_global && c < 6; c++)
        virial[c] += e * virial_mean[VIRIAL[c]];
    for (size_t i = 0; 9 * i < atom_virial.size(); i++) {
        for (int c = 0; vflag_atom && c < 6; c++)
            vatom[i][c] += e * atom_virial[9 * i + VIRIAL[c]];
        for (int c = 0; cvflag_atom && c < 9; c++)
            cvatom[i][c] += e * atom_virial[9 * i + VIRIAL[c]];
    }
}

void PairDpc::write_deviation()
{
    comm->reverse_comm(this);
    for (double &component : forces)
        component *= energy_unit / length_unit;
    for (double &component : virials)
        component *= energy_unit;
    deviation->write({members, kinds, static_cast<size_t>(atom->nlocal), forces.data(), stride, virials.data(),
                      atom->tag, update->ntimestep, atom->natoms});
}

void PairDpc::report_range()
{
    const std::string report = range_check->report(atom->tag, world);
    if (report.empty())
        return;
    if (range_check->stops())
        error->all(FLERR, PREFIX + report);
    if (comm->me == 0)
        error->warning(FLERR, PREFIX + report);
}

int PairDpc::pack_reverse_comm(int n, int first, double *buffer)
{
    int packed = 0;
    for (int i = first; i < first + n; i++)
        for (size_t k = 0; k < kinds * members; k++)
            for (size_t c = 0; c < 3; c++)
                buffer[packed++] = forces[k * stride + 3 * i + c];
    return packed;
}

void PairDpc::unpack_reverse_comm(int n, int *owner, double *buffer)
{
    for (int i = 0; i < n; i++)
        for (size_t k = 0; k < kinds * members; k++)
            for (size_t c = 0; c < 3; c++)
                forces[k * stride + 3 * owner[i] + c] += *buffer++;
}

void *PairDpc::extract(const char *name, int &dimension)
{
    if (strcmp(name, "scale") == 0) {
        dimension = 2;
        return scale;
    }
    dimension = 0;
    return strcmp(name, "cut_coul") == 0 ? &cutoff : nullptr;
}

double PairDpc::memory_usage()
{
    const size_t doubles = forces.size() + atom_energy.size() + atom_virial.size();
    return Pair::memory_usage() + doubles * sizeof(double) + inputs.memory_usage() + parameters->memory_usage();
}
