/* parameters.cpp - computes and fixes are asked at each step; numbers of the input are put in place once */
#include "parameters.h"

#include "electron_grid.h"

#include "atom.h"
#include "compute.h"
#include "domain.h"
#include "fix.h"
#include "modify.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

using namespace LAMMPS_NS;

namespace dpc_lammps {
namespace {

[[noreturn]] void fail(const ParameterSource &source, const std::string &sentence)
{
    throw std::runtime_error(source.keyword + " " + source.id + ": " + sentence);
}

std::string counted(size_t number, const char *of)
{
    return std::to_string(number) + (number == 1 ? " parameter" : " parameters") + " of " + of;
}

/* A compute is evaluated here in the middle of a step: nobody may take its result for that of the step's end. */
void forget(Compute &compute)
{
    compute.invoked_scalar = compute.invoked_vector = compute.invoked_peratom = -1;
}

} // namespace

Parameters::Parameters(LAMMPS *lmp, const Settings &settings, const LoadedModel &model)
    : Pointers(lmp), model_(settings.models[0]), fparams_(model.fparams()), aparams_(model.aparams()),
      fparam_(settings.fparam), aparam_(settings.aparam)
{
    if (settings.ttm.kind != ParameterSource::NONE) {
        ParameterSource &taker = aparams_ > 0 ? aparam_ : fparam_;
        if (taker.kind != ParameterSource::NONE)
            throw std::runtime_error(taker.keyword + " and ttm say the same parameters: leave one out");
        taker = settings.ttm;
    }
    check_count(fparam_, fparams_, "fparam", "the frame");
    check_count(aparam_, aparams_, "aparam", "each atom");
    if (fparam_.kind == ParameterSource::VALUES)
        frame_ = fparam_.values;
}

void Parameters::check_count(const ParameterSource &source, size_t wanted, const char *name, const char *of) const
{
    if (source.kind == ParameterSource::NONE && wanted > 0)
        throw std::runtime_error(model_ + " takes " + counted(wanted, of) + ": say " + name + " with its values, or " +
                                 name + "_from_compute ID");
    if (source.kind != ParameterSource::NONE && wanted == 0)
        throw std::runtime_error(source.keyword + ": " + model_ + " takes no parameters of " + of +
                                 ": leave the keyword out");
    if (source.kind == ParameterSource::VALUES && source.values.size() != wanted)
        throw std::runtime_error(source.keyword + " has " + std::to_string(source.values.size()) + " values, but " +
                                 model_ + " takes " + counted(wanted, of));
    if (source.kind == ParameterSource::TTM && wanted != 1)
        fail(source, "a temperature is one parameter, but " + model_ + " takes " + counted(wanted, of));
}

Compute &Parameters::compute_of(const ParameterSource &source) const
{
    Compute *compute = modify->get_compute_by_id(source.id);
    if (!compute)
        fail(source, "there is no compute " + source.id + ": define it before the run");
    return *compute;
}

Fix &Parameters::fix_of(const ParameterSource &source) const
{
    Fix *fix = modify->get_fix_by_id(source.id);
    if (!fix)
        fail(source, "there is no fix " + source.id + ": define it before the run");
    if (source.kind == ParameterSource::TTM && strcmp(fix->style, "ttm") != 0)
        fail(source, "fix " + source.id + " is of style " + fix->style + ": use one of style ttm");
    return *fix;
}

void Parameters::init()
{
    if (fparam_.kind == ParameterSource::COMPUTE) {
        const Compute &compute = compute_of(fparam_);
        if (fparams_ == 1 && !compute.scalar_flag)
            fail(fparam_, "the model takes one parameter: use a compute that gives a global scalar");
        if (fparams_ > 1 && !compute.vector_flag)
            fail(fparam_, "the model takes several parameters: use a compute that gives a global vector");
    } else if (fparam_.kind == ParameterSource::FIX) {
        const Fix &fix = fix_of(fparam_);
        if (fparam_.component == 0 && !fix.scalar_flag)
            fail(fparam_, "the fix gives no global scalar: use one that does, or say a component of its vector");
        if (fparam_.component > 0 &&
            (!fix.vector_flag || fparam_.component - 1 + static_cast<int>(fparams_) > fix.size_vector))
            fail(fparam_, "the fix has no global vector with " + counted(fparams_, "the frame") + " from component " +
                              std::to_string(fparam_.component) + " on");
    }
    if (aparam_.kind == ParameterSource::COMPUTE) {
        const Compute &compute = compute_of(aparam_);
        if (!compute.peratom_flag || (aparams_ == 1) != (compute.size_peratom_cols == 0) ||
            (aparams_ > 1 && compute.size_peratom_cols < static_cast<int>(aparams_)))
            fail(aparam_, "the model takes " + counted(aparams_, "each atom") +
                              ": use a compute that gives a per-atom " +
                              (aparams_ == 1 ? "vector" : "array with as many columns"));
    }
    for (const ParameterSource *source : {&fparam_, &aparam_})
        if (source->kind == ParameterSource::TTM)
            fix_of(*source);
}

/* LAMMPS itself prepares computes after the first forces: temperatures would lack their degrees of freedom. */
void Parameters::setup()
{
    for (const ParameterSource *source : {&fparam_, &aparam_})
        if (source->kind == ParameterSource::COMPUTE)
            compute_of(*source).setup();
}

void Parameters::update()
{
    update_frame();
    update_atoms();
}

void Parameters::update_frame()
{
    switch (fparam_.kind) {
    case ParameterSource::COMPUTE: {
        Compute &compute = compute_of(fparam_);
        if (fparams_ == 1) {
            frame_.assign(1, compute.compute_scalar());
        } else {
            compute.compute_vector();
            /* some know how many components there are only now */
            if (compute.size_vector < static_cast<int>(fparams_))
                fail(fparam_, "the compute gives " + std::to_string(compute.size_vector) +
                                  " components, too few for the " + counted(fparams_, "the frame"));
            frame_.assign(compute.vector, compute.vector + fparams_);
        }
        forget(compute);
        break;
    }
    case ParameterSource::FIX: {
        Fix &fix = fix_of(fparam_);
        if (fparam_.component == 0) {
            frame_.assign(fparams_, fix.compute_scalar());
        } else {
            frame_.resize(fparams_);
            for (size_t k = 0; k < fparams_; k++)
                frame_[k] = fix.compute_vector(fparam_.component - 1 + static_cast<int>(k));
        }
        break;
    }
    case ParameterSource::TTM:
        frame_.assign(1, ElectronGrid(fix_of(fparam_), world).mean());
        break;
    case ParameterSource::NONE:
    case ParameterSource::VALUES:
        break;
    }
}

void Parameters::update_atoms()
{
    const size_t local = atom->nlocal;
    atoms_.resize(local * aparams_);
    switch (aparam_.kind) {
    case ParameterSource::VALUES:
        for (size_t i = 0; i < local; i++)
            std::copy(aparam_.values.begin(), aparam_.values.end(), &atoms_[i * aparams_]);
        break;
    case ParameterSource::COMPUTE: {
        Compute &compute = compute_of(aparam_);
        compute.compute_peratom();
        for (size_t i = 0; i < local; i++) {
            const double *row = aparams_ == 1 ? &compute.vector_atom[i] : compute.array_atom[i];
            std::copy(row, row + aparams_, &atoms_[i * aparams_]);
        }
        forget(compute);
        break;
    }
    case ParameterSource::TTM: {
        Fix &fix = fix_of(aparam_);
        const ElectronGrid grid(fix, world);
        for (size_t i = 0; i < local; i++)
            atoms_[i] = atom->mask[i] & fix.groupbit ? grid.at(atom->x[i], *domain) : 0;
        break;
    }
    case ParameterSource::NONE:
    case ParameterSource::FIX:
        break;
    }
}

} // namespace dpc_lammps
