/* kernels.h - jobs and scratch, and what each (precision, instruction set) pair provides for them */
#ifndef DPC_KERNELS_H
#define DPC_KERNELS_H

#include "model.h"

/* Atoms of one type that are evaluated together: sorted[begin .. begin + count). */
struct dpc_block {
    int32_t type;
    size_t begin, count;
};

enum { DPC_SLOPES = 6 }; /* outputs of a term that are differentiated, at most: a symmetric matrix's */

/* What blocks add to; several, summed in order at the end. */
struct dpc_partial {
    double *virial;      /* [slopes][9] */
    double *force;       /* [slopes][all][3] */
    double *atom_virial; /* [slopes][all][9], or NULL */
};

/* Where the derivatives of one output go. */
struct dpc_forces {
    double *virial, *force, *atom_virial; /* [9]; [all][3]; [all][9], or NULL */
};

/* One worker's counts. */
struct dpc_tally {
    int64_t (*range)[4]; /* [tables]; NULL: nothing is counted */
    double (*worst)[4];  /* [tables] excess beyond the table's end, value, centre, distance */
    int64_t dropped;
    int64_t coincide[2]; /* two atoms in one place, or -1 */
    int timed;
    double since, stage[DPC_STAGES]; /* seconds */
};

/* Books the time since the last call on `stage`. */
static inline void dpc_lap(struct dpc_tally *tally, int stage)
{
    if (tally->timed) {
        const double now = dpc_seconds();
        tally->stage[stage] += now - tally->since;
        tally->since = now;
    }
}

/* The pairs of one atom with neighbours of one type; nodes that they touch in the table and in the gate's.
 * Types that share a table share its nodes: those are with the first of them. */
struct dpc_segment {
    int32_t near, taken; /* neighbours of type t that have slots, pairs or not; slots taken of section t */
    int32_t pairs, padded, touched[2]; /* padded to whole vectors */
    size_t first, first_touched[2];
};

/* Weights in node space, valid where stamp == epoch. */
struct dpc_weights {
    void *w; /* real [nodes][3][components] */
    uint32_t *stamp, epoch;
    size_t nodes;
};

/* No node is valid any more. */
static inline void dpc_begin(struct dpc_weights *s)
{
    if (++s->epoch == 0) { /* once in 2^32 times */
        memset(s->stamp, 0, s->nodes * sizeof(*s->stamp));
        s->epoch = 1;
    }
}

/* One worker's memory, for a block; sized by dpc_scratch_prepare. */
struct dpc_scratch {
    struct dpc_buffer memory;
    size_t cap;   /* neighbours of one atom, whole vectors */
    size_t pairs; /* of a block: distance between components in d */
    size_t near;  /* of one atom, each type padded: distance between components in u and of_u */
    /* one atom's neighbours: as found, one more than there are; by type, before they are laid out */
    double *found_d;     /* [3][cap] */
    int32_t *found_j;    /* [cap] */
    double *near_d;      /* [types][3][cap] */
    int32_t *near_j;     /* [types][cap] */
    int32_t *near_count; /* [types] */
    int32_t *taken;      /* [types] slots of each section */
    /* the block's pairs, segment after segment; of the environment's type unless it says real */
    struct dpc_segment *segment; /* [atoms][members][types] */
    void *d;                     /* [3][pairs] to the neighbour */
    void *x, *q, *ds, *dq;       /* [pairs] table input; math.inc's radial */
    void *gate, *dgate;          /* [pairs] where a member has one: w, and (dw/dr)/r */
    void *env;                   /* real [pairs][4] */
    int32_t *j;                  /* [pairs] */
    int32_t *touched[2];         /* [2 pairs] nodes */
    /* one segment's */
    int32_t *row;  /* [cap] */
    void *basis;   /* real [12][cap] */
    void *grad;    /* real [6][cap] of env's components, the table's input, the gate */
    void *grad2;   /* real [5][cap] the same of what is gated */
    void *gated;   /* real [4][cap] env times gate */
    void *force;   /* [3][cap] */
    struct dpc_weights weights[2]; /* of the table; of the gate's */
    void *xa;      /* real [4][stride] one atom's X, then its gradient */
    /* one atom's, three bodies */
    void *u, *of_u;            /* [4][near] directions and gate; their gradients */
    void *t, *of_t;            /* [cap] products of one neighbour with others */
    void *value, *gated_value; /* real [cap] */
    int32_t *list[2];          /* [nodes] */
    /* the block's, real, atoms as lanes */
    void *xt, *dxt;     /* two-body members' [4][width] */
    void *yt;           /* [4][axis] second factor, where it is not part of xt; its gradient */
    void *feature;      /* [features] */
    void *h[2], *slope; /* [widest]; [slopes] */
    void *out, *seed;   /* [outputs of the net]; what is differentiated, by them */
    void *kept;         /* [slopes] a copy, where several outputs are differentiated */
    void *rot, *of_rot; /* [3][rotations] */
    void *result;       /* [outputs] */
    double share[DPC_BLOCK_BYTES / sizeof(float)]; /* of the fitted energy in an atom's, beside a pair potential */
};

struct dpc_job {
    const dpc_model *model;
    const dpc_atoms *atoms;
    const dpc_neighbours *neighbours;
    size_t all, given;     /* local + ghost; those that are no virtual atoms */
    const int32_t *sorted; /* positions in `neighbours`, by type of the centre */
    const struct dpc_block *block;
    size_t blocks, partials, workers;
    struct dpc_partial *partial;
    size_t *taken; /* partials that some worker has taken so far */
    size_t outputs, slopes;      /* numbers per atom; those that are differentiated, of all models */
    double *atom_energy;         /* [local][outputs] */
    struct dpc_tally *tally;     /* [workers] */
    struct dpc_scratch *scratch; /* [workers] */
};

struct dpc_contract_job {
    const dpc_table *table;
    const dpc_pairs *in;
    void *out;
    const void *grad;
    void *grad_s, *grad_env;
    size_t tasks;
    struct dpc_scratch *scratch; /* [tasks] */
};

struct dpc_net_job {
    const dpc_net *net;
    size_t n;
    const void *x;
    void *value, *grad;
    size_t tasks;
    struct dpc_scratch *scratch; /* [tasks] */
};

struct dpc_kernels {
    dpc_isa isa;
    const char *name;
    size_t lanes, atoms;      /* neighbours in a vector; atoms in a block */
    size_t real_size, e_size; /* bytes of an element of tables and nets; of the environment */
    dpc_task compute;         /* a dpc_job, over its workers */
    dpc_task contract_forward, contract_backward, net_eval; /* over tasks; NULL for mixed */
};

/* Where the derivatives of output `number` go. */
static inline struct dpc_forces dpc_forces_of(const struct dpc_job *job, const struct dpc_partial *out, size_t number)
{
    return (struct dpc_forces){out->virial + 9 * number, out->force + 3 * job->all * number,
                               out->atom_virial != NULL ? out->atom_virial + 9 * job->all * number : NULL};
}

/* The kernels `isa` resolves to on this machine, or NULL if it cannot run them. */
const struct dpc_kernels *dpc_select(dpc_precision precision, dpc_isa isa);

/* What a block needs room for. */
struct dpc_extent {
    size_t atoms, types, members, neighbours, nodes, stride, rotations, axes, features, widest, slopes;
    size_t net_outputs, outputs;
    int gated, three, several; /* whether there are gates, three bodies, several outputs to differentiate */
};
dpc_status dpc_scratch_prepare(struct dpc_scratch *s, const struct dpc_kernels *k, const struct dpc_extent *extent,
                               dpc_error *err);

/* The local atom of centre k. */
static inline size_t dpc_centre(const dpc_neighbours *n, size_t k)
{
    return n->first != NULL || n->centre == NULL ? k : (size_t)n->centre[k];
}

/* Neighbours of centre k within the cutoff that have a slot, by type: into s->near_*; slots taken: into s->taken. */
void dpc_collect(const struct dpc_job *job, const struct dpc_member *m, struct dpc_scratch *s,
                 struct dpc_tally *tally, size_t k);

/* Mixes centre k's fitted energy with its pair potential, whose derivatives go to `out`; gives the share of what was
 * fitted. Overwrites what dpc_collect does. */
double dpc_pair_mix(const struct dpc_job *job, const struct dpc_term *term, struct dpc_scratch *s, int32_t type,
                    size_t k, const struct dpc_partial *out, double *fitted);

#endif
