/* atoms.c - what a model does with its atoms before all else, and with the results: virtual atoms of spins, masks */
#include "atoms.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Centre k's list in either form. */
struct list {
    size_t count;
    const int32_t *index, *shift; /* shift may be NULL */
};

static struct list list_of(const dpc_neighbours *n, size_t k)
{
    if (n->first == NULL)
        return (struct list){(size_t)n->count[dpc_centre(n, k)], n->list[dpc_centre(n, k)], NULL};
    const size_t begin = (size_t)n->first[k];
    return (struct list){(size_t)(n->first[k + 1] - n->first[k]), n->index + begin,
                         n->shift != NULL ? n->shift + 3 * begin : NULL};
}

static int32_t neighbour(const dpc_neighbours *n, const struct list *list, size_t i)
{
    return n->first != NULL ? list->index[i] : list->index[i] & n->mask;
}

static size_t pairs_of(const dpc_neighbours *n)
{
    size_t pairs = 0;
    for (size_t k = 0; k < n->centres; k++)
        pairs += list_of(n, k).count;
    return pairs;
}

/* Room for as many pairs, and lists that end nowhere yet. */
static dpc_status reserve_pairs(struct dpc_prepared *p, const dpc_atoms *atoms, const dpc_neighbours *n, size_t pairs,
                                int shifted, dpc_error *err)
{
    DPC_TRY(dpc_reserve(&p->first, n->centres + 1, sizeof(int64_t), err));
    DPC_TRY(dpc_reserve(&p->index, pairs + 1, sizeof(int32_t), err));
    DPC_TRY(dpc_reserve(&p->shift, 3 * pairs + 1, sizeof(int32_t), err));
    DPC_TRY(dpc_reserve(&p->count, atoms->local + 1, sizeof(int32_t), err));
    DPC_TRY(dpc_reserve(&p->list, atoms->local + 1, sizeof(int32_t *), err));
    p->neighbours = *n;
    if (n->first != NULL) {
        p->neighbours.first = p->first.data;
        p->neighbours.index = p->index.data;
        p->neighbours.shift = shifted ? p->shift.data : NULL;
    } else {
        p->neighbours.count = p->count.data;
        p->neighbours.list = p->list.data;
        p->neighbours.mask = -1;
    }
    ((int64_t *)p->first.data)[0] = 0;
    return DPC_OK;
}

/* Centre k has `count` neighbours, from `begin` on. */
static void end_list(struct dpc_prepared *p, const dpc_neighbours *n, size_t k, size_t begin, size_t count)
{
    ((int64_t *)p->first.data)[k + 1] = (int64_t)(begin + count);
    if (n->first == NULL) {
        const size_t centre = dpc_centre(n, k);
        ((int32_t *)p->count.data)[centre] = (int32_t)count;
        ((const int32_t **)p->list.data)[centre] = (const int32_t *)p->index.data + begin;
    }
}

/* Each neighbour and its virtual atom, after the centre's own virtual atom. */
static void double_lists(struct dpc_prepared *p, const dpc_neighbours *n, size_t all)
{
    int32_t *index = p->index.data, *shift = p->shift.data;
    size_t end = 0;
    for (size_t k = 0; k < n->centres; k++) {
        const struct list list = list_of(n, k);
        const size_t begin = end;
        index[end] = (int32_t)(dpc_centre(n, k) + all);
        memset(shift + 3 * end++, 0, 3 * sizeof(*shift));
        for (size_t i = 0; i < list.count; i++)
            for (size_t v = 0; v < 2; v++) {
                index[end] = neighbour(n, &list, i) + (int32_t)(v * all);
                if (list.shift != NULL)
                    memcpy(shift + 3 * end, list.shift + 3 * i, 3 * sizeof(*shift));
                end++;
            }
        end_list(p, n, k, begin, end - begin);
    }
}

static dpc_status add_virtual(const dpc_model *m, struct dpc_prepared *p, const dpc_atoms *atoms,
                              const dpc_neighbours *n, dpc_error *err)
{
    const size_t all = atoms->local + atoms->ghost, kinds = m->types / 2;
    DPC_REQUIRE(atoms->spin != NULL || all == 0, "the model needs the spin of each atom");
    DPC_REQUIRE(2 * all < INT32_MAX, "%zu atoms are more than one call can take", all);
    DPC_TRY(dpc_reserve(&p->position, 6 * all + 1, sizeof(double), err));
    DPC_TRY(dpc_reserve(&p->moved, 3 * all + 1, sizeof(double), err));
    DPC_TRY(dpc_reserve(&p->type, 2 * all + 1, sizeof(int32_t), err));
    double *position = p->position.data, *moved = p->moved.data;
    int32_t *type = p->type.data;
    for (size_t i = 0; i < all; i++) {
        const int32_t t = atoms->type[i];
        for (size_t a = 0; a < 3; a++) {
            DPC_REQUIRE(isfinite(atoms->spin[3 * i + a]), "spin of atom %zu is not finite", i);
            moved[3 * i + a] = t < 0 ? 0 : atoms->spin[3 * i + a] * m->spin_scale[t];
            position[3 * i + a] = atoms->position[3 * i + a];
            position[3 * (all + i) + a] = atoms->position[3 * i + a] + moved[3 * i + a];
        }
        type[i] = t;
        type[all + i] = t < 0 ? -1 : t + (int32_t)kinds;
    }
    p->atoms = *atoms;
    p->atoms.ghost += all;
    p->atoms.position = position;
    p->atoms.type = type;
    DPC_TRY(reserve_pairs(p, atoms, n, 2 * pairs_of(n) + n->centres, n->shift != NULL, err));
    double_lists(p, n, all);
    return DPC_OK;
}

/* Lists without masked atoms, whose own are empty; a mask knows no images. */
static dpc_status mask_lists(struct dpc_prepared *p, const dpc_atoms *atoms, const dpc_neighbours *n, dpc_error *err)
{
    DPC_REQUIRE(atoms->ghost == 0, "a model with a mask takes no ghost atoms");
    p->atoms = *atoms;
    DPC_TRY(reserve_pairs(p, atoms, n, pairs_of(n), 0, err));
    p->neighbours.serial = 0; /* another mask, another list */
    int32_t *index = p->index.data;
    size_t end = 0;
    for (size_t k = 0; k < n->centres; k++) {
        const struct list list = list_of(n, k);
        const size_t begin = end;
        for (size_t i = 0; atoms->aparam[dpc_centre(n, k)] != 0 && i < list.count; i++) {
            index[end] = neighbour(n, &list, i);
            end += atoms->aparam[index[end]] != 0;
        }
        end_list(p, n, k, begin, end - begin);
    }
    return DPC_OK;
}

static dpc_status reserve_results(struct dpc_prepared *p, const dpc_result *result, size_t all, size_t outputs,
                                  dpc_error *err)
{
    const int forces = result->force != NULL || result->force_mag != NULL || result->virial != NULL ||
                       result->atom_virial != NULL;
    DPC_TRY(dpc_reserve(&p->force, outputs * 6 * all + 1, sizeof(double), err));
    DPC_TRY(dpc_reserve(&p->virial, result->atom_virial != NULL ? outputs * 18 * all + 1 : 1, sizeof(double), err));
    p->result.force = forces ? p->force.data : NULL;
    p->result.atom_virial = result->atom_virial != NULL ? p->virial.data : NULL;
    p->result.force_mag = NULL;
    return DPC_OK;
}

dpc_status dpc_atoms_prepare(const dpc_model *m, struct dpc_prepared *p, const dpc_atoms *atoms, const dpc_neighbours *n,
                             const dpc_result *result, dpc_error *err)
{
    p->result = *result;
    if (m->masked) {
        p->result.virial = p->result.atom_virial = NULL;
        return mask_lists(p, atoms, n, err);
    }
    DPC_TRY(add_virtual(m, p, atoms, n, err));
    return reserve_results(p, result, atoms->local + atoms->ghost, m->outputs, err);
}

/* A virtual atom's forces are its atom's, and for virials it is where its atom is: of output o. */
static void fold_virtual(const dpc_model *m, const struct dpc_prepared *p, const dpc_atoms *atoms, size_t o,
                         const dpc_result *result)
{
    const size_t all = atoms->local + atoms->ghost, vector = 3 * all * o, tensor = 9 * all * o;
    const double *force = (const double *)p->force.data + 2 * vector, *on_spin = force + 3 * all, *moved = p->moved.data;
    const double *virial = (const double *)p->virial.data + 2 * tensor;
    for (size_t i = 0; i < all; i++)
        for (size_t a = 0; a < 3; a++) {
            const double f = on_spin[3 * i + a];
            const int32_t t = atoms->type[i];
            if (result->force != NULL)
                result->force[vector + 3 * i + a] = force[3 * i + a] + f;
            if (result->force_mag != NULL)
                result->force_mag[vector + 3 * i + a] = t < 0 ? 0 : f * m->spin_scale[t];
            for (size_t b = 0; b < 3; b++) {
                const size_t at = 9 * i + 3 * a + b;
                if (result->virial != NULL)
                    result->virial[9 * o + 3 * a + b] -= f * moved[3 * i + b];
                if (result->atom_virial != NULL)
                    result->atom_virial[tensor + at] = virial[at] + virial[9 * all + at] - f * moved[3 * i + b];
            }
        }
}

void dpc_atoms_finish(const dpc_model *m, const struct dpc_prepared *p, const dpc_atoms *atoms, const dpc_result *result)
{
    for (size_t o = 0; !m->masked && o < m->outputs; o++)
        fold_virtual(m, p, atoms, o, result);
    if (m->masked && result->virial != NULL)
        memset(result->virial, 0, 9 * m->outputs * sizeof(double));
    if (m->masked && result->atom_virial != NULL)
        memset(result->atom_virial, 0, 9 * m->outputs * atoms->local * sizeof(double));
}

void dpc_prepared_free(struct dpc_prepared *p)
{
    struct dpc_buffer *buffer[] = {&p->position, &p->moved, &p->type, &p->first, &p->index, &p->shift,
                                   &p->count,    &p->list,  &p->force, &p->virial};
    for (size_t i = 0; i < sizeof(buffer) / sizeof(*buffer); i++)
        free(buffer[i]->data);
}
