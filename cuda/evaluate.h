// evaluate.h - one evaluation of a model on a device: what it needs and what it leaves there
#pragma once
#include "system.h"
#include "views.h"

namespace dpc {

// Results on the device. slopes: outputs that are differentiated, of all models; 0: nothing is.
struct Outcome {
    double *energy;      // [outputs]
    double *virial;      // [slopes][9]
    double *force;       // [slopes][all][3]
    double *atom_virial; // [slopes][all][9], or NULL
    double *atom_energy; // [local][outputs]
    Tally tally;
    unsigned long long *uncounted; // for what other terms have counted
};

struct Job {
    const dpc_model *model;
    const std::vector<Term> *terms;
    const System *system;
    size_t slopes;           // of each model; 0: no derivatives
    Outcome out;
    double *stage;           // host [DPC_STAGES], seconds; or NULL: nothing waits
    Array<unsigned char> *scratch;
};

// All on `stream`. Where the job has the sizes of the one before, nothing is allocated.
dpc_status evaluate(const Job &job, Stream stream, dpc_error *err);

} // namespace dpc
