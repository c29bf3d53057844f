/* kernels.h - jobs and scratch, and what each (precision, instruction set) pair provides for them */
#ifndef DPC_KERNELS_H
#define DPC_KERNELS_H

#include "model.h"

/* Atoms of one type that are evaluated together: sorted[begin .. begin + count). */
struct dpc_block {
    int32_t type;
    size_t begin, count;
};

/* What blocks add to; several, summed in order at the end. */
struct dpc_partial {
    double virial[9];
    double *force;       /* [all][3] */
    double *atom_virial; /* [all][9], or NULL */
};

/* One worker's counts. */
struct dpc_tally {
    int64_t (*range)[4]; /* [tables] */
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

/* The pairs of one atom with neighbours of one type. */
struct dpc_segment {
    int32_t table, pairs, padded, touched; /* padded to whole vectors */
    size_t first, first_touched;
    double empty; /* slots */
};

/* One worker's memory, for a block; sized by dpc_scratch_prepare. */
struct dpc_scratch {
    struct dpc_buffer memory;
    size_t cap;   /* neighbours of one atom, whole vectors */
    size_t pairs; /* of a block: distance between components in d */
    /* one atom's neighbours: as found, one more than there are; by type, before they are laid out */
    double *found_d;     /* [3][cap] */
    int32_t *found_j;    /* [cap] */
    double *near_d;      /* [types][3][cap] */
    int32_t *near_j;     /* [types][cap] */
    int32_t *near_count; /* [types] */
    /* the block's pairs, segment after segment; of the environment's type unless it says real */
    struct dpc_segment *segment; /* [atoms][types] */
    void *d;                     /* [3][pairs] to the neighbour */
    void *x, *q, *ds, *dq;       /* [pairs] table input; math.inc's radial */
    void *env;                   /* real [pairs][4] */
    int32_t *j;                  /* [pairs] */
    int32_t *touched;            /* [2 (pairs + segments)] nodes */
    /* one segment's */
    int32_t *row;  /* [cap] */
    void *basis;   /* real [12][cap] */
    void *grad;    /* real [5][cap] */
    void *force;   /* [3][cap] */
    void *w;       /* real [nodes][3][4] weights in node space, valid where stamp == epoch */
    uint32_t *stamp, epoch;
    void *xa;      /* real [4][stride] one atom's X, then its gradient */
    /* the block's, real, atoms as lanes */
    void *xt, *dxt;     /* [4][width] */
    void *yt;           /* [4][axis] second factor, where it is not part of xt; its gradient */
    void *feature;      /* [width axis] */
    void *h[2], *slope; /* [widest]; [slopes] */
};

struct dpc_job {
    const dpc_model *model;
    const dpc_atoms *atoms;
    const dpc_neighbours *neighbours;
    size_t all;            /* local + ghost */
    const int32_t *sorted; /* positions in `neighbours`, by type of the centre */
    const struct dpc_block *block;
    size_t blocks, partials, workers;
    struct dpc_partial *partial;
    size_t *taken; /* partials that some worker has taken so far */
    double *atom_energy;         /* [local] */
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

/* The kernels `isa` resolves to on this machine, or NULL if it cannot run them. */
const struct dpc_kernels *dpc_select(dpc_precision precision, dpc_isa isa);

/* What a block needs room for. */
struct dpc_extent {
    size_t atoms, types, neighbours, nodes, stride, width, axis, features, widest, slopes;
};
dpc_status dpc_scratch_prepare(struct dpc_scratch *s, const struct dpc_kernels *k, const struct dpc_extent *extent,
                               dpc_error *err);

/* The local atom of centre k. */
static inline size_t dpc_centre(const dpc_neighbours *n, size_t k)
{
    return n->first != NULL || n->centre == NULL ? k : (size_t)n->centre[k];
}

/* Neighbours of centre k within the cutoff, by type, at most sel of each: into s->near_*. */
void dpc_collect(const struct dpc_job *job, struct dpc_scratch *s, struct dpc_tally *tally, size_t k);

#endif
