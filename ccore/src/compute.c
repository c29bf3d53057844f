/* compute.c - a model at some positions: check, cut into blocks, run, add up */
#include "atoms.h"
#include "device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_NEIGHBOURS = INT32_MAX / 64 }; /* of one atom: what is counted of them fits 32 bits */

struct dpc_workspace {
    struct dpc_place place;
    uint64_t serial; /* of the last list that was checked; 0: of none */
    size_t longest, local, all, centres; /* what that list has */
    dpc_isa isa; /* what the scratch was laid out for */
    size_t workers;
    struct dpc_scratch *scratch; /* [workers] */
    struct dpc_tally *tally;     /* [workers] */
    struct dpc_partial partial[DPC_PARTIALS];
    struct dpc_buffer sorted, blocks, atom_energy, force, virial, counts, present;
    struct dpc_prepared prepared;
};

dpc_status dpc_workspace_create_on(const dpc_model *model, const char *device, dpc_workspace **workspace,
                                   dpc_error *err)
{
    dpc_workspace *made;
    DPC_REQUIRE(model != NULL && device != NULL && workspace != NULL, "model, device and workspace must not be NULL");
    DPC_TRY(dpc_alloc(1, sizeof(*made), &made, err));
    made->place.model = model;
    const dpc_status status = dpc_device_open(model, device, &made->place, err);
    if (status != DPC_OK) {
        free(made);
        return status;
    }
    *workspace = made;
    return DPC_OK;
}

dpc_status dpc_workspace_create(const dpc_model *model, dpc_workspace **workspace, dpc_error *err)
{
    return dpc_workspace_create_on(model, "cpu", workspace, err);
}

static void free_scratch(dpc_workspace *ws)
{
    for (size_t w = 0; ws->scratch != NULL && w < ws->workers; w++)
        free(ws->scratch[w].memory.data);
    free(ws->scratch);
    free(ws->tally);
    ws->scratch = NULL;
    ws->tally = NULL;
    ws->workers = 0;
}

void dpc_workspace_free(dpc_workspace *ws)
{
    if (ws == NULL)
        return;
    if (ws->place.device != NULL)
        ws->place.library->free(ws->place.device);
    free_scratch(ws);
    free(ws->sorted.data);
    free(ws->blocks.data);
    free(ws->atom_energy.data);
    free(ws->force.data);
    free(ws->virial.data);
    free(ws->counts.data);
    free(ws->present.data);
    dpc_prepared_free(&ws->prepared);
    free(ws);
}

static int all_finite(const double *x, size_t n)
{
    double sum = 0; /* 0 * x is NaN for what is not finite */
    for (size_t i = 0; i < n; i++)
        sum += 0 * x[i];
    return sum == 0;
}

/* Checks the atoms, and marks the types that there are. */
static dpc_status check_atoms(const dpc_model *m, const dpc_atoms *atoms, unsigned char *present, dpc_error *err)
{
    const size_t all = atoms->local + atoms->ghost;
    DPC_REQUIRE(all < INT32_MAX, "%zu atoms are more than one call can take", all);
    DPC_REQUIRE((atoms->position != NULL && atoms->type != NULL) || all == 0, "position and type must not be NULL");
    memset(present, 0, m->types);
    for (size_t i = 0; i < all; i++) {
        DPC_REQUIRE(atoms->type[i] < (int32_t)m->real_types, "atom %zu has type %d, the model has types 0 to %zu", i,
                    (int)atoms->type[i], m->real_types - 1);
        if (atoms->type[i] >= 0)
            present[atoms->type[i]] = 1;
    }
    if (m->spin_scale != NULL)
        memcpy(present + m->real_types, present, m->real_types);
    const int fine = all_finite(atoms->position, 3 * all);
    for (size_t i = 0; !fine && i < 3 * all; i++)
        DPC_REQUIRE(isfinite(atoms->position[i]), "position of atom %zu is not finite", i / 3);
    DPC_REQUIRE(m->fparams == 0 || atoms->fparam != NULL, "the model needs %zu fparam", m->fparams);
    DPC_REQUIRE(m->aparams == 0 || atoms->aparam != NULL || atoms->local == 0, "the model needs %zu aparam of each atom",
                m->aparams);
    DPC_REQUIRE(all_finite(atoms->fparam, m->fparams) && all_finite(atoms->aparam, m->aparams * atoms->local),
                "fparam and aparam must be finite");
    return DPC_OK;
}

/* Checks the lists, and counts the longest. */
static dpc_status check_neighbours(const dpc_atoms *atoms, const dpc_neighbours *n, size_t *longest, dpc_error *err)
{
    const size_t all = atoms->local + atoms->ghost;
    *longest = 0;
    DPC_REQUIRE(n->centres <= atoms->local, "%zu centres among %zu local atoms", n->centres, atoms->local);
    if (n->first == NULL) {
        DPC_REQUIRE((n->count != NULL && n->list != NULL) || n->centres == 0, "the neighbour list is NULL");
        for (size_t k = 0; k < n->centres; k++) {
            const size_t i = dpc_centre(n, k);
            DPC_REQUIRE(i < atoms->local, "centre %zu is atom %zu of %zu local ones", k, i, atoms->local);
            DPC_REQUIRE(n->count[i] >= 0 && n->count[i] <= MOST_NEIGHBOURS, "atom %zu has %d neighbours", i,
                        (int)n->count[i]);
            *longest = (size_t)n->count[i] > *longest ? (size_t)n->count[i] : *longest;
        }
        return DPC_OK;
    }
    DPC_REQUIRE(n->first[0] == 0, "first must start with 0");
    for (size_t k = 0; k < n->centres; k++) {
        DPC_REQUIRE(n->first[k] <= n->first[k + 1], "first decreases after atom %zu", k);
        const size_t count = (size_t)(n->first[k + 1] - n->first[k]);
        DPC_REQUIRE(count <= MOST_NEIGHBOURS, "atom %zu has %zu neighbours", k, count);
        *longest = count > *longest ? count : *longest;
    }
    const size_t pairs = (size_t)n->first[n->centres];
    DPC_REQUIRE(n->index != NULL || pairs == 0, "index must not be NULL");
    for (size_t p = 0; p < pairs; p++)
        DPC_REQUIRE(n->index[p] >= 0 && (size_t)n->index[p] < all, "pair %zu points to atom %d of %zu", p,
                    (int)n->index[p], all);
    DPC_REQUIRE(n->shift == NULL || pairs == 0 || n->cell != NULL, "shifts need a cell");
    for (size_t i = 0; n->shift != NULL && n->cell != NULL && i < 9; i++)
        DPC_REQUIRE(isfinite(n->cell[i]), "the cell is not finite");
    return DPC_OK;
}

/* The same once, for a list that is known by its number. */
static dpc_status know_neighbours(dpc_workspace *ws, const dpc_atoms *atoms, const dpc_neighbours *n, dpc_error *err)
{
    const size_t all = atoms->local + atoms->ghost;
    if (n->serial != 0 && n->serial == ws->serial && atoms->local == ws->local && all == ws->all &&
        n->centres == ws->centres)
        return DPC_OK;
    ws->serial = 0;
    DPC_TRY(check_neighbours(atoms, n, &ws->longest, err));
    ws->serial = n->serial;
    ws->local = atoms->local;
    ws->all = all;
    ws->centres = n->centres;
    return DPC_OK;
}

/* Centres by type, cut into blocks. */
static dpc_status make_blocks(dpc_workspace *ws, const dpc_atoms *atoms, const dpc_neighbours *n, size_t size,
                              struct dpc_job *job, dpc_error *err)
{
    const size_t types = ws->place.model->types;
    DPC_TRY(dpc_reserve(&ws->sorted, n->centres + types + 1, sizeof(int32_t), err));
    DPC_TRY(dpc_reserve(&ws->blocks, n->centres / size + types, sizeof(struct dpc_block), err));
    int32_t *sorted = ws->sorted.data, *end = sorted + n->centres;
    struct dpc_block *block = ws->blocks.data;
    memset(end, 0, (types + 1) * sizeof(*end));
    for (size_t k = 0; k < n->centres; k++) {
        const int32_t t = atoms->type[dpc_centre(n, k)];
        if (t >= 0)
            end[t + 1]++;
    }
    job->blocks = 0;
    for (size_t t = 0; t < types; t++) {
        const size_t begin = (size_t)end[t], count = (size_t)end[t + 1];
        for (size_t b = 0; b < count; b += size)
            block[job->blocks++] = (struct dpc_block){(int32_t)t, begin + b, count - b < size ? count - b : size};
        end[t + 1] += end[t];
    }
    for (size_t k = 0; k < n->centres; k++) {
        const int32_t t = atoms->type[dpc_centre(n, k)];
        if (t >= 0)
            sorted[end[t]++] = (int32_t)k;
    }
    job->sorted = sorted;
    job->block = block;
    return DPC_OK;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* What a block needs room for: the most that any term does. */
static struct dpc_extent measure(const dpc_model *model, size_t atoms, size_t longest)
{
    struct dpc_extent e = {.atoms = atoms, .types = model->types, .members = model->members, .neighbours = longest,
                           .several = dpc_shapes[model->head].slopes > 1};
    for (size_t k = 0; k < model->terms; k++) {
        const struct dpc_term *term = &model->term[k];
        const struct dpc_fitting *f = &term->fitting;
        for (size_t i = 0; i < term->members; i++) {
            const struct dpc_member *m = &term->member[i];
            e.nodes = larger(e.nodes, m->nodes);
            e.stride = larger(e.stride, dpc_round_up(m->width, DPC_ALIGN / dpc_dtype_size(term->dtype)));
            e.gated |= m->gate != DPC_UNGATED;
            e.three |= m->kind == DPC_THREE_BODY;
        }
        e.rotations = larger(e.rotations, term->rotations);
        e.axes = larger(e.axes, term->axes);
        e.features = larger(e.features, term->features + f->constants + f->fparams + f->aparams);
        e.widest = larger(e.widest, f->widest);
        e.slopes = larger(e.slopes, f->slopes);
        e.net_outputs = larger(e.net_outputs, f->net_outputs);
        e.outputs = larger(e.outputs, f->outputs);
    }
    return e;
}

static dpc_status prepare_workers(dpc_workspace *ws, const struct dpc_kernels *k, size_t workers, size_t longest,
                                  int counted, int timed, dpc_error *err)
{
    const dpc_model *m = ws->place.model;
    const struct dpc_extent extent = measure(m, k->atoms, longest);
    if (ws->isa != k->isa || ws->workers < workers) {
        free_scratch(ws);
        ws->isa = k->isa;
        DPC_TRY(dpc_alloc(workers, sizeof(*ws->scratch), &ws->scratch, err));
        DPC_TRY(dpc_alloc(workers, sizeof(*ws->tally), &ws->tally, err));
        ws->workers = workers; /* last: what is half done is begun again */
    }
    for (size_t w = 0; w < workers; w++)
        DPC_TRY(dpc_scratch_prepare(&ws->scratch[w], k, &extent, err));
    const size_t each = m->tables * (sizeof(*ws->tally->range) + sizeof(*ws->tally->worst));
    DPC_TRY(dpc_reserve(&ws->counts, workers, each, err));
    memset(ws->counts.data, 0, workers * each);
    for (size_t w = 0; w < workers; w++) {
        char *counts = (char *)ws->counts.data + w * each;
        ws->tally[w] = (struct dpc_tally){.range = counted ? (void *)counts : NULL,
                                          .worst = (void *)(counts + m->tables * sizeof(*ws->tally->range)),
                                          .coincide = {-1, -1}, .timed = timed};
    }
    return DPC_OK;
}

static dpc_status prepare_partials(dpc_workspace *ws, struct dpc_job *job, int atom_virial, dpc_error *err)
{
    const size_t each = job->slopes * job->all, energies = job->atoms->local * job->outputs;
    DPC_TRY(dpc_reserve(&ws->atom_energy, energies + 1, sizeof(double), err)); /* never NULL */
    DPC_TRY(dpc_reserve(&ws->force, job->partials * (each + 3 * job->slopes), 3 * sizeof(double), err));
    if (atom_virial)
        DPC_TRY(dpc_reserve(&ws->virial, job->partials * each, 9 * sizeof(double), err));
    for (size_t k = 0; k < job->partials; k++) {
        double *own = job->slopes > 0 ? (double *)ws->force.data + k * (each + 3 * job->slopes) * 3 : NULL;
        ws->partial[k].virial = own;
        ws->partial[k].force = own != NULL ? own + 9 * job->slopes : NULL;
        ws->partial[k].atom_virial = atom_virial ? (double *)ws->virial.data + k * each * 9 : NULL;
    }
    job->partial = ws->partial;
    job->atom_energy = ws->atom_energy.data;
    memset(job->atom_energy, 0, energies * sizeof(double));
    return DPC_OK;
}

struct sum_job {
    const struct dpc_job *job;
    double *force, *atom_virial;
};

/* Task w adds up the partials of its share of the atoms, in order. */
static void sum_task(void *arg, size_t begin, size_t end)
{
    const struct sum_job *sum = arg;
    const struct dpc_job *job = sum->job;
    const size_t all = job->all, from = all * begin / job->workers, to = all * end / job->workers;
    for (size_t o = 0; o < job->outputs; o++) {
        const size_t slope = dpc_slope_of(job->model, o) * all;
        double *force = sum->force != NULL ? sum->force + 3 * o * all : NULL;
        double *atom_virial = sum->atom_virial != NULL ? sum->atom_virial + 9 * o * all : NULL;
        if (force != NULL)
            memset(force + 3 * from, 0, 3 * (to - from) * sizeof(double));
        if (atom_virial != NULL)
            memset(atom_virial + 9 * from, 0, 9 * (to - from) * sizeof(double));
        for (size_t k = 0; k < job->partials; k++) {
            for (size_t i = 3 * from; force != NULL && i < 3 * to; i++)
                force[i] += job->partial[k].force[3 * slope + i];
            for (size_t i = 9 * from; atom_virial != NULL && i < 9 * to; i++)
                atom_virial[i] += job->partial[k].atom_virial[9 * slope + i];
        }
    }
}

/* Sums over the atoms of each output. */
static void sum_atoms(const struct dpc_job *job, double *energy)
{
    const size_t n = job->outputs;
    size_t centres = 0;
    memset(energy, 0, n * sizeof(double));
    for (size_t i = 0; i < job->atoms->local; i++)
        for (size_t o = 0; o < n; o++)
            energy[o] += job->atom_energy[i * n + o];
    for (size_t k = 0; k < job->neighbours->centres; k++)
        centres += job->atoms->type[dpc_centre(job->neighbours, k)] >= 0;
    for (size_t o = 0; job->model->intensive && centres > 0 && o < n; o++)
        energy[o] /= (double)centres;
}

static int is_counted(const dpc_result *result)
{
    return result->range != NULL || result->range_worst != NULL;
}

static void sum_counts(const struct dpc_job *job, const dpc_result *result)
{
    for (size_t t = 0; is_counted(result) && t < job->model->tables; t++) {
        double worst[4] = {0, 0, 0, 0};
        int64_t range[4] = {0, 0, 0, 0};
        for (size_t w = 0; w < job->workers; w++) {
            const double *candidate = job->tally[w].worst[t];
            if (candidate[0] > worst[0] || (candidate[0] == worst[0] && candidate[2] < worst[2]))
                memcpy(worst, candidate, sizeof(worst));
            for (int i = 0; i < 4; i++)
                range[i] += job->tally[w].range[t][i];
        }
        if (result->range != NULL)
            memcpy(result->range + 4 * t, range, sizeof(range));
        if (result->range_worst != NULL)
            memcpy(result->range_worst + 3 * t, worst + 1, 3 * sizeof(double));
    }
}

/* What was asked for must be numbers. */
static dpc_status check_results(const dpc_model *m, const dpc_atoms *atoms, const double *atom_energy,
                                const dpc_result *result, dpc_error *err)
{
    const size_t slopes = m->outputs * (atoms->local + atoms->ghost);
    DPC_REQUIRE(all_finite(atom_energy, atom_energy != NULL ? atoms->local * m->outputs : 0) &&
                    all_finite(result->energy, result->energy != NULL ? m->outputs : 0) &&
                    all_finite(result->force, result->force != NULL ? 3 * slopes : 0) &&
                    all_finite(result->virial, result->virial != NULL ? 9 * m->outputs : 0) &&
                    all_finite(result->atom_virial, result->atom_virial != NULL ? 9 * slopes : 0),
                "the result is no number: atoms are too close, or the model is damaged");
    return DPC_OK;
}

static dpc_status finish(const struct dpc_job *job, const dpc_result *result, const dpc_exec *exec, dpc_error *err)
{
    int64_t dropped = 0;
    const int64_t *pair = job->tally[0].coincide;
    for (size_t w = 0; w < job->workers; w++) {
        const int64_t *other = job->tally[w].coincide;
        if (other[0] >= 0 && (pair[0] < 0 || other[0] < pair[0]))
            pair = other;
        dropped += job->tally[w].dropped;
    }
    DPC_TRY(dpc_check_apart(pair, job->given, err));
    struct sum_job sum = {job, result->force, result->atom_virial};
    if (sum.force != NULL || sum.atom_virial != NULL)
        dpc_run(exec, job->workers, sum_task, &sum);
    if (result->energy != NULL)
        sum_atoms(job, result->energy);
    if (result->atom_energy != NULL && job->atoms->local > 0)
        memcpy(result->atom_energy, job->atom_energy, job->atoms->local * job->outputs * sizeof(double));
    for (size_t i = 0; result->virial != NULL && i < 9 * job->outputs; i++) {
        result->virial[i] = 0;
        for (size_t k = 0; k < job->partials; k++)
            result->virial[i] += job->partial[k].virial[9 * dpc_slope_of(job->model, i / 9) + i % 9];
    }
    if (result->dropped != NULL)
        *result->dropped = dropped;
    for (size_t i = 0; result->stage != NULL && i < DPC_STAGES; i++) {
        result->stage[i] = 0;
        for (size_t w = 0; w < job->workers; w++)
            result->stage[i] += job->tally[w].stage[i];
    }
    sum_counts(job, result);
    return check_results(job->model, job->atoms, job->atom_energy, result, err);
}

static dpc_status run_on_device(dpc_workspace *ws, const dpc_atoms *atoms, size_t given,
                                const dpc_neighbours *neighbours, const dpc_result *result, dpc_error *err)
{
    const struct dpc_place *place = &ws->place;
    struct dpc_result wanted = *result;
    int64_t coincide[2];
    DPC_TRY(dpc_reserve(&ws->atom_energy, place->model->outputs, sizeof(double), err));
    if (wanted.energy == NULL) /* what is no number shows there */
        wanted.energy = ws->atom_energy.data;
    DPC_TRY(place->library->compute(place->device, ws->present.data, atoms, neighbours, &wanted, coincide, err));
    DPC_TRY(dpc_check_apart(coincide, given, err));
    return check_results(place->model, atoms, wanted.atom_energy, &wanted, err);
}

/* Atoms as descriptors see them, all checked; the longest list has `longest` neighbours. */
static dpc_status run(dpc_workspace *ws, const struct dpc_kernels *k, const dpc_atoms *atoms, size_t given,
                      const dpc_neighbours *neighbours, size_t longest, const dpc_result *result, const dpc_exec *exec,
                      dpc_error *err)
{
    if (ws->place.device != NULL)
        return run_on_device(ws, atoms, given, neighbours, result, err);
    const dpc_model *model = ws->place.model;
    const int derivatives = result->force != NULL || result->virial != NULL || result->atom_virial != NULL;
    struct dpc_job job = {.model = model, .atoms = atoms, .neighbours = neighbours,
                          .all = atoms->local + atoms->ghost, .given = given, .outputs = model->outputs,
                          .slopes = derivatives ? dpc_shapes[model->head].slopes * model->models : 0};
    DPC_TRY(make_blocks(ws, atoms, neighbours, k->atoms, &job, err));
    job.partials = job.blocks < DPC_PARTIALS ? job.blocks : DPC_PARTIALS;
    const size_t asked = dpc_tasks(exec), most = job.partials ? job.partials : 1;
    job.workers = asked < most ? asked : most;
    DPC_TRY(prepare_workers(ws, k, job.workers, longest, is_counted(result), result->stage != NULL, err));
    DPC_TRY(prepare_partials(ws, &job, result->atom_virial != NULL, err));
    size_t taken = 0;
    job.taken = &taken;
    job.tally = ws->tally;
    job.scratch = ws->scratch;
    dpc_run(exec, job.workers, k->compute, &job);
    return finish(&job, result, exec, err);
}

dpc_status dpc_model_compute(const dpc_model *model, dpc_workspace *ws, const dpc_atoms *atoms,
                             const dpc_neighbours *neighbours, const dpc_result *result, const dpc_exec *exec,
                             dpc_error *err)
{
    DPC_REQUIRE(model != NULL && ws != NULL && atoms != NULL && neighbours != NULL && result != NULL,
                "an argument is NULL");
    DPC_REQUIRE(ws->place.model == model, "the workspace belongs to another model");
    const struct dpc_kernels *k = dpc_select(model->precision, exec != NULL ? exec->isa : DPC_ISA_AUTO);
    if (k == NULL)
        return dpc_fail(err, DPC_UNSUPPORTED, "instruction set %d cannot run here", (int)exec->isa);
    const int derivatives = result->force != NULL || result->virial != NULL || result->atom_virial != NULL;
    const struct dpc_shape *shape = &dpc_shapes[model->head];
    DPC_REQUIRE(result->force_mag == NULL || model->spin_scale != NULL, "a model without spin has no force on it");
    DPC_REQUIRE(!derivatives || shape->slopes > 0, "a %s model has no forces and virials", shape->name);
    DPC_TRY(dpc_reserve(&ws->present, model->types, 1, err));
    DPC_TRY(check_atoms(model, atoms, ws->present.data, err));
    DPC_TRY(know_neighbours(ws, atoms, neighbours, err));
    DPC_TRY(dpc_model_pack(model, ws->present.data, err));
    const size_t given = atoms->local + atoms->ghost;
    if (!dpc_prepares(model))
        return run(ws, k, atoms, given, neighbours, ws->longest, result, exec, err);
    struct dpc_prepared *p = &ws->prepared;
    DPC_TRY(dpc_atoms_prepare(model, p, atoms, neighbours, result, err));
    DPC_TRY(run(ws, k, &p->atoms, given, &p->neighbours, 2 * ws->longest + 1, &p->result, exec, err));
    dpc_atoms_finish(model, p, atoms, result);
    return DPC_OK;
}
