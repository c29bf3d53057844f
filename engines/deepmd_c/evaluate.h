/* evaluate.h - the arguments of every DP_*Compute*, gathered, and what serves them all */
#ifndef DPC_DEEPMD_C_EVALUATE_H
#define DPC_DEEPMD_C_EVALUATE_H

#include "handles.h"

namespace dpc_deepmd_c {

/* Real is double or float; arrays are as in deepmd_c.h. */
template <typename Real>
struct Frames {
    int frames, atoms;
    const Real *position;
    const int *type;
    const Real *cell;
    const Real *fparam = nullptr, *aparam = nullptr;
    bool mixed_type = false;
    bool has_list = false; /* of the caller, with ghosts */
    int ghosts = 0;
    const DP_Nlist *list = nullptr;
};

template <typename Real>
struct Results {
    double *energy;
    Real *force, *virial, *atom_energy, *atom_virial;
};

/* Each frame with each of the handle's models; one of the two is one. */
template <typename Real>
void evaluate(Handle &handle, const Frames<Real> &frames, const Results<Real> &results);

} // namespace dpc_deepmd_c
#endif
