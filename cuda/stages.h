// stages.h - an evaluation on a device: its arrays, and the stages that fill them one after the other
#pragma once
#include "runtime.h"
extern "C" {
#include "model.h"
}

// Pointers in these structures are to device memory, unless they say host. `real` and `ereal` are as in ccore:
// of tables, contraction and nets; of the environment (double, except for float32).

namespace dpc {

// Atoms as descriptors see them.
struct Atoms {
    int all, centres;
    const double *position; // [all][3]
    const int32_t *type;    // [all]
    const double *fparam;   // [fparams]
    const double *aparam;   // [local][aparams]
};

// A full list as arrange() left it: a centre's neighbours by type, the near ones first.
struct List {
    int64_t pairs;
    const int64_t *first;   // [centres + 1]
    const int32_t *centre;  // [centres] the atom
    const int32_t *index;   // [pairs]
    const int32_t *shift;   // [pairs][3], or NULL
    const int32_t *of_type; // [centres][types + 1] from first[k] on
    double cell[9];
    const int64_t *back_first; // [all + 1]
    const int64_t *back;       // [pairs] those whose neighbour an atom is, ascending
    const int32_t *pair_centre; // [pairs] k
};

// One descriptor: dpc_member, on the device.
struct Member {
    dpc_kind kind;
    dpc_gate gate;
    dpc_switch sw;
    int types, sections, width, axis;
    int nodes; // of its largest table
    int64_t total;
    double per_count;
    const int32_t *sel;                 // [sections]
    const double (*mean)[4], (*per_std)[4]; // [types]
    const int32_t *ignored;             // [types][types], or NULL
    const int32_t *net, *gate_net;      // [types][types]; gate_net may be NULL
    const int32_t *pad_net, *mask_net;  // [types][sections]; [types][types]; or NULL
    const double *weight;               // [types][types] three bodies
    const int32_t *masked;              // [types][types] three bodies
    const int32_t *base;                // [variants] table of each; never NULL
    const int32_t *folded;              // [types] whether inputs outside first parts count as such; NULL: nowhere
    const dpc_grid *grid;               // [tables]
    int first_table;                    // in the model's counts
};

// What atoms of one type are evaluated with: dpc_channels, on the device.
struct Channels {
    int width, stride, first_feature, symmetric, folded;
    const dpc_table *table, *gate; // [types], three bodies [types][types]; node NULL: none
    const void *pad;               // real [sections][components][stride]
    const void *mask;              // real [types][stride], or NULL
    const void *axis;              // real [width][axis], or NULL
};

// Centres that are evaluated together, all of one type: list[begin], ... min(most, *count - begin) of them, none if
// that is negative. Row i of the stages' arrays is centre list[begin + i].
struct Group {
    int type, begin, most;
    const int32_t *list, *count;
};

// How many rows a group has, where its count is known: on the device. No count: `most`.
__device__ inline int rows_of(const Group &group)
{
    const int left = group.count == nullptr ? group.most : *group.count - group.begin;
    return left < group.most ? (left > 0 ? left : 0) : group.most;
}

// Neighbours of one member within its cutoff that have slots, by type; a centre's begin at list.first[k].
struct Near {
    int64_t *place;  // [pairs] in the list
    int32_t *count;  // [centres][types]; 0 where the centre does not see them or they contribute nothing
    int32_t *taken;  // [centres][sections] slots that are taken
    int32_t *masked; // [centres][types] neighbours in slots, whatever they contribute: what mask_net is counted by
};

// What is counted (tally.cuh).
struct Tally {
    unsigned long long (*range)[4]; // [tables]; NULL: neither this nor `worst` is wanted
    double (*worst)[4];             // [tables] excess, value, centre, distance
    unsigned long long *dropped;
    unsigned long long *coincide;   // the smallest (centre << 32 | other) of atoms in one place, or all ones
};

// ---- once for a list (lists.cu): may allocate nothing; all arrays are given and large enough ------------------------
// Sorts each centre's neighbours by type and, as positions are now, distance; makes the way back. `from` has index,
// shift and first as given (device), `to` the arrays that List names, written; `scratch` is
// [all + 1 + FORCE_PARTIALS] int64.
dpc_status arrange(const Atoms &atoms, int types, const List &from, const List &to, int64_t *scratch, Stream stream,
                   dpc_error *err);

// ---- stages of an evaluation, all on `stream`, none waits -----------------------------------------------------------
// (pairs.cu) Neighbours of all centres; outside[k] += inputs not in the first parts of two-body tables.
template <typename real, typename ereal>
dpc_status collect(const Member &m, const Atoms &atoms, const List &list, const Near &near, const Tally *tally,
                   int32_t *outside, Stream stream, dpc_error *err);
// Appends centres of `group` to one of two lists: all inputs in first parts, or not. Their order does not matter.
dpc_status split(const Group &group, const int32_t *outside, int32_t *within, int32_t *within_count, int32_t *rest,
                 int32_t *rest_count, Stream stream, dpc_error *err);
// (twobody.cu) x [rows][components][width] of a two-body member; a radial one writes features [rows][ld] at
// channels.first_feature instead.
template <typename real, typename ereal>
dpc_status contract(const Member &m, const Channels &c, const Group &group, const Atoms &atoms, const List &list,
                    const Near &near, real *x, real *feature, int ld, Stream stream, dpc_error *err);
// Adds dE/dd of each pair to pair_force [pairs][3], from dx or from the gradient of the features.
template <typename real, typename ereal>
dpc_status contract_back(const Member &m, const Channels &c, const Group &group, const Atoms &atoms, const List &list,
                         const Near &near, const real *dx, const real *feature, int ld, ereal *pair_force,
                         Stream stream, dpc_error *err);
// (angular.cu) The same of three bodies, which have features alone; u and of_u: ereal [pairs][4], nodes: real
// [warps][member's nodes][3] of those warps, a multiple of WARPS, that share the rows.
struct AngularScratch {
    void *u, *of_u, *nodes;
    size_t warps;
};
template <typename real, typename ereal>
dpc_status angular(const Member &m, const Channels &c, const Group &group, const Atoms &atoms, const List &list,
                   const Near &near, const AngularScratch &scratch, const Tally *tally, real *feature, int ld,
                   Stream stream, dpc_error *err);
template <typename real, typename ereal>
dpc_status angular_back(const Member &m, const Channels &c, const Group &group, const Atoms &atoms, const List &list,
                        const Near &near, const AngularScratch &scratch, const real *feature, int ld,
                        ereal *pair_force, Stream stream, dpc_error *err);
// (pair.cu) What dpc_pair_mix does, for rows of a group: energy [rows] is mixed in place, share [rows] of the fitted
// energy's derivative; the pair potential's own derivatives are added to pair_force unless it is NULL. Pointers of
// `pair` are to the device; `near` is of its list, which has no nets: collect() takes a member without for one all of
// whose neighbours contribute.
template <typename ereal>
dpc_status pair_mix(const Member &list_of_pair, const dpc_pair &pair, const Group &group, const Atoms &atoms,
                    const List &list, const Near &near, double *energy, double *share, ereal *pair_force, Stream stream,
                    dpc_error *err);
// (forces.cu) Forces [all][3], atom virials [all][9] (or NULL), and virial [9] of pair_force; partial: double
// [FORCE_PARTIALS][9] scratch. They are written, not added to.
enum { FORCE_PARTIALS = 2048 };
template <typename ereal>
dpc_status gather_forces(const Atoms &atoms, const List &list, const ereal *pair_force, double *force,
                         double *atom_virial, double *virial, double *partial, Stream stream, dpc_error *err);

// (descriptor.cu) y [rows][4][axis] = axisᵀ x where the view has an axis; features of x; the gradient back, dx.
template <typename real>
dpc_status describe(const Member &m, const Channels &c, const Group &group, const real *x, real *y, real *feature,
                    int ld, Stream stream, dpc_error *err);
template <typename real>
dpc_status describe_back(const Member &m, const Channels &c, const Group &group, const real *x, const real *y,
                         const real *feature, int ld, real *dx, Stream stream, dpc_error *err);
// Inputs of the net behind the descriptors' [first, ld): the type's constants, normalised fparam and aparam.
struct OtherInputs {
    int first, constants, fparams, aparams;
    const double *constant, *fparam, *aparam; // [types][constants], [2][fparams], [2][aparams]
};
template <typename real>
dpc_status other_inputs(const OtherInputs &in, const Group &group, const Atoms &atoms, const List &list, real *feature,
                        int ld, Stream stream, dpc_error *err);

// (net.cu) A fitting net with weights as they are read: [in][ld_out], rows padded to a multiple of NET_ALIGN.
enum { NET_ALIGN = 32, NET_LAYERS = 64 };
struct Layer {
    int in, out, residual;
    dpc_activation activation;
    const void *weight, *bias, *idt; // real [in][padded(out)], [padded(out)], the same or NULL
};
struct Net {
    int layers;
    Layer layer[NET_LAYERS]; // all of them, the last one too; host array, passed by value to each kernel one by one
};
// Scratch of a net on `most` rows: h[l] [most][padded(out of l)], slope[l] the same.
struct NetScratch {
    void *h[NET_LAYERS], *slope[NET_LAYERS];
    void *dh[2]; // [most][widest]
};
// feature [rows][ld] -> outputs h[layers - 1]; and the way back: seed [rows][ld_seed] -> feature becomes the gradient.
// The slopes survive: several outputs may be differentiated one after the other. h and slope of columns beyond a
// layer's outputs stay as they are; slope[layers - 1] is not used.
template <typename real>
dpc_status net_forward(const Net &net, const Group &group, const real *feature, int ld, const NetScratch &scratch,
                       Stream stream, dpc_error *err);
template <typename real>
dpc_status net_back(const Net &net, const Group &group, const real *seed, int ld_seed, const NetScratch &scratch,
                    real *feature, int ld, Stream stream, dpc_error *err);

// (head.cu) What dpc_head says: results [rows][outputs] of the net's outputs and the directions in x, bias included.
// The seeds of differentiated output o, and its gradient by x.
struct Head {
    dpc_head kind;
    int outputs, net_outputs, rotations, members;
    const double *bias; // [types][biases]
    int biases;
};
enum { MOST_DIRECTIONS = 16 };
struct Directions { // x of the two-body members, one after the other
    int members;
    const void *x[MOST_DIRECTIONS];
    void *dx[MOST_DIRECTIONS];
    int width[MOST_DIRECTIONS];
};
template <typename real>
dpc_status head_values(const Head &head, const Group &group, const real *out, int ld_out, const Directions &x,
                       double *value, Stream stream, dpc_error *err); // value [rows][outputs]
template <typename real>
dpc_status head_seed(const Head &head, const Group &group, int o, const Directions &x, const double *share, real *seed,
                     int ld_seed, Stream stream, dpc_error *err);
template <typename real>
dpc_status head_directions(const Head &head, const Group &group, int o, const real *out, int ld_out,
                           const Directions &x, Stream stream, dpc_error *err); // adds to dx
// atom_energy [local][stride] += value [rows][outputs]: in an ensemble a model's output is one of several. Sums of
// atom_energy [local][outputs] in order, times scale: energy [outputs]; partial: double [FORCE_PARTIALS][outputs].
dpc_status store_values(const Group &group, const List &list, int outputs, const double *value, double *atom_energy,
                        int stride, Stream stream, dpc_error *err);
dpc_status sum_values(int local, int outputs, const double *atom_energy, double scale, double *energy, double *partial,
                      Stream stream, dpc_error *err);

} // namespace dpc
