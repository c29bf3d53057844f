/* atoms.h - atoms and lists as descriptors see them, where that is not as they were given */
#ifndef DPC_ATOMS_H
#define DPC_ATOMS_H

#include "kernels.h"

/* With spin a virtual atom for each, behind all atoms; or lists without masked atoms. */
struct dpc_prepared {
    dpc_atoms atoms;
    dpc_neighbours neighbours;
    dpc_result result;
    struct dpc_buffer position, moved, type;            /* [2 all][3]; [all][3]; [2 all] */
    struct dpc_buffer first, index, shift, count, list; /* of the neighbours, in the form they were given in */
    struct dpc_buffer force, virial;                    /* [2 all][3]; [2 all][9] */
};

/* Whether atoms of a model need any of this. */
static inline int dpc_prepares(const dpc_model *m)
{
    return m->masked || m->spin_scale != NULL;
}

/* What to evaluate for given atoms, all of which are checked but for their spin, and where its results go. */
dpc_status dpc_atoms_prepare(const dpc_model *m, struct dpc_prepared *p, const dpc_atoms *atoms,
                             const dpc_neighbours *neighbours, const dpc_result *result, dpc_error *err);
/* From these to what was asked for. */
void dpc_atoms_finish(const dpc_model *m, const struct dpc_prepared *p, const dpc_atoms *atoms,
                      const dpc_result *result);
void dpc_prepared_free(struct dpc_prepared *p);

#endif
