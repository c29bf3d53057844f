/* settings.h - what the arguments of pair_style dpc say */
#ifndef DPC_LAMMPS_SETTINGS_H
#define DPC_LAMMPS_SETTINGS_H

#include <optional>
#include <string>
#include <vector>

namespace dpc_lammps {

/* What to do about inputs outside a model's tables. */
enum class OutOfRange { by_model, warn, stop, ignore };

/* Where the parameters of the frame, or of each atom, come from. */
struct ParameterSource {
    enum Kind { NONE, VALUES, COMPUTE, FIX, TTM } kind = NONE;
    std::string keyword;        /* that named it */
    std::vector<double> values; /* for all atoms the same */
    std::string id;             /* of the compute or fix */
    int component = 0;          /* the first one of the fix's vector, counted from 1; 0: its scalar */
};

struct Settings {
    std::vector<std::string> models; /* the first one drives; all are compared */
    int out_freq = 100;
    std::string out_file = "model_devi.out";
    bool atomic = false;                            /* deviations of each atom's force, too */
    std::optional<double> relative_f, relative_v;   /* levels of relative deviations, in LAMMPS' units */
    OutOfRange out_of_range = OutOfRange::by_model; /* warn, as often as the model file says */
    std::string device = "cpu";                     /* or cuda:N; cuda: each rank the next of its machine's */
    ParameterSource fparam, aparam;
    ParameterSource ttm; /* for aparam where the model takes one, else for fparam */
};

/* Throws std::invalid_argument with a sentence for the user. */
Settings parse_settings(int narg, const char *const *arg);

} // namespace dpc_lammps
#endif
