// environment.cuh - vectors from centres to their neighbours, and the environment that descriptors make of them
#pragma once
#include "math.cuh"
#include "stages.h"
#include "warp.cuh"

namespace dpc {

// The vector d [3] from centre k to the neighbour in `place`, in Å; gives its length.
__device__ inline double towards(const Atoms &atoms, const List &list, int k, int64_t place, double *d)
{
    const double *here = atoms.position + 3 * (size_t)list.centre[k];
    const double *there = atoms.position + 3 * (size_t)list.index[place];
    for (int a = 0; a < 3; a++)
        d[a] = there[a] - here[a];
    if (list.shift != nullptr) {
        const int32_t *shift = list.shift + 3 * place;
        const double c[3] = {(double)shift[0], (double)shift[1], (double)shift[2]};
        for (int a = 0; a < 3; a++)
            d[a] += c[0] * list.cell[a] + c[1] * list.cell[3 + a] + c[2] * list.cell[6 + a];
    }
    return sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
}

__device__ inline double distance(const Atoms &atoms, const List &list, int k, int64_t place)
{
    double d[3];
    return towards(atoms, list, k, place, d);
}

// A neighbour: the vector to it, and math.inc's functions of its distance, of which sw is the gate's.
template <typename ereal> struct Around : Radial<ereal> {
    ereal d[3];
};

template <typename ereal>
__device__ inline Around<ereal> look_around(const Member &m, const Atoms &atoms, const List &list, int k, int64_t place)
{
    Around<ereal> e;
    double d[3];
    towards(atoms, list, k, place, d);
    for (int a = 0; a < 3; a++)
        e.d[a] = (ereal)d[a];
    const ereal r2 = e.d[0] * e.d[0] + e.d[1] * e.d[1] + e.d[2] * e.d[2];
    environment(&m.sw, &r2, &e);
    if (m.gate == DPC_GATE_SURROGATE)
        surrogate(&m.sw, &e);
    return e;
}

// Component c of a centre's environment, normalised: 0 is what tables of two bodies take.
template <typename ereal> __device__ inline ereal component(const Member &m, int type, const Around<ereal> &e, int c)
{
    const ereal value = c == 0 ? e.s : e.q * e.d[c - 1];
    return (value - (ereal)m.mean[type][c]) * (ereal)m.per_std[type][c];
}

// dE/dd [3], added to force, from gradients of the environment g [4] and of the gate.
template <typename ereal>
__device__ inline void add_chain(const Member &m, int type, const Around<ereal> &e, const ereal *g, ereal of_gate,
                                 ereal *force)
{
    ereal of_d[3], along = g[0] * (ereal)m.per_std[type][0] * e.ds + of_gate * e.dsw;
    for (int a = 0; a < 3; a++) {
        of_d[a] = g[1 + a] * (ereal)m.per_std[type][1 + a];
        along += of_d[a] * e.d[a] * e.dq;
    }
    for (int a = 0; a < 3; a++)
        force[a] += along * e.d[a] + e.q * of_d[a];
}

} // namespace dpc
