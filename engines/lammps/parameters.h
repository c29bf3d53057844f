/* parameters.h - parameters of the frame and of each atom, from where pair_style dpc was told to take them */
#ifndef DPC_LAMMPS_PARAMETERS_H
#define DPC_LAMMPS_PARAMETERS_H

#include "loaded_model.h"
#include "settings.h"

#include "pointers.h"

#include <string>
#include <vector>

namespace LAMMPS_NS {
class Compute;
class Fix;
} // namespace LAMMPS_NS

namespace dpc_lammps {

/* Each function is called by all ranks, and throws std::runtime_error with a sentence for the user. */
class Parameters : protected LAMMPS_NS::Pointers {
public:
    Parameters(LAMMPS_NS::LAMMPS *lmp, const Settings &settings, const LoadedModel &model);
    /* Before a run: whether computes and fixes are there and have what is needed. */
    void init();
    /* Before the first evaluation of a run. */
    void setup();
    /* Before each evaluation. */
    void update();

    const double *frame() const { return frame_.data(); } /* [fparams] */
    const double *atoms() const { return atoms_.data(); } /* [local][aparams] */
    double memory_usage() const { return (frame_.size() + atoms_.size()) * sizeof(double); }

private:
    void check_count(const ParameterSource &source, size_t wanted, const char *name, const char *of) const;
    LAMMPS_NS::Compute &compute_of(const ParameterSource &source) const;
    LAMMPS_NS::Fix &fix_of(const ParameterSource &source) const;
    void update_frame();
    void update_atoms();

    std::string model_;
    size_t fparams_, aparams_;
    ParameterSource fparam_, aparam_;
    std::vector<double> frame_, atoms_;
};

} // namespace dpc_lammps
#endif
