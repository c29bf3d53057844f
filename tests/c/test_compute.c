/*
 * test_compute.c - libdpc as a C program sees it
 *
 *     test_compute MODEL.onnx FRAMES TOLERANCE [briefly]
 *
 * `briefly` leaves out what one thread does a thousand times: failing allocations, damaged files.
 * FRAMES holds doubles: atoms, cell [9], positions [atoms][3], types [atoms], and of the k results of the model the
 * expected sums [k], forces [k][atoms][3], virials [k][9], and those of the atoms [atoms][k]; fparam, and aparam of
 * each atom; then the next frame. TOLERANCE is relative to the largest of each.
 */
#include "check.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

int failures;

enum { MASK = 0x1fffffff, FLAG = 0x40000000 }; /* as LAMMPS marks special neighbours */

struct task {
    dpc_task task;
    void *job;
    size_t number;
};

static void *run(void *arg)
{
    const struct task *t = arg;
    t->task(t->job, t->number, t->number + 1);
    return NULL;
}

void parallel_threads(void *pool, size_t n, dpc_task task, void *job)
{
    enum { MOST = 64 };
    pthread_t thread[MOST];
    struct task tasks[MOST];
    (void)pool;
    CHECK(n <= MOST, "%zu tasks", n);
    for (size_t i = 0; i < n; i++) {
        tasks[i] = (struct task){task, job, i};
        CHECK(pthread_create(&thread[i], NULL, run, &tasks[i]) == 0, "no thread");
    }
    for (size_t i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
}

dpc_atoms frame_atoms(const struct frame *f)
{
    return (dpc_atoms){.local = f->atoms, .position = f->position, .type = f->type, .fparam = f->fparam,
                       .aparam = f->aparam};
}

/* What dpc_model_compute gives. */
struct results {
    size_t outputs;
    double *energy, *virial, *force, *atomic, *atom_virial;
    int64_t *range, dropped;
    double *worst;
};

static void *array(size_t count, size_t size)
{
    void *memory = calloc(count + 1, size);
    if (memory == NULL)
        abort();
    return memory;
}

static struct results make_results(const dpc_model *model, size_t local, size_t all)
{
    dpc_model_info info;
    dpc_model_describe(model, &info);
    const size_t k = info.outputs;
    return (struct results){.outputs = k, .energy = array(k, sizeof(double)), .virial = array(9 * k, sizeof(double)),
                            .force = array(3 * k * all, sizeof(double)), .atomic = array(k * local, sizeof(double)),
                            .atom_virial = array(9 * k * all, sizeof(double)),
                            .range = array(4 * info.tables, sizeof(int64_t)),
                            .worst = array(3 * info.tables, sizeof(double))};
}

static void free_results(struct results *r)
{
    free(r->energy);
    free(r->virial);
    free(r->force);
    free(r->atomic);
    free(r->atom_virial);
    free(r->range);
    free(r->worst);
}

static dpc_result pointers(struct results *r)
{
    return (dpc_result){.energy = r->energy, .force = r->force, .virial = r->virial, .atom_energy = r->atomic,
                        .atom_virial = r->atom_virial, .range = r->range, .range_worst = r->worst,
                        .dropped = &r->dropped};
}

static void check_values(const char *what, const char *how, const double *got, const double *expected, size_t n,
                         double tolerance)
{
    double worst = 0, scale = 1;
    for (size_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs(got[i] - expected[i]));
        scale = fmax(scale, fabs(expected[i]));
        if (isnan(got[i]))
            worst = (double)INFINITY;
    }
    CHECK(worst <= tolerance * scale, "%s, %s: off by %g of %g", how, what, worst, scale);
}

static void check_results(const char *how, const struct frame *f, const struct results *r, double tolerance)
{
    const size_t k = r->outputs;
    double *virial = array(9 * k, sizeof(double));
    for (size_t i = 0; i < 9 * k * f->atoms; i++)
        virial[i / (9 * f->atoms) * 9 + i % 9] += r->atom_virial[i];
    check_values("energy", how, r->energy, f->energy, k, tolerance);
    check_values("force", how, r->force, f->force, 3 * k * f->atoms, tolerance);
    check_values("virial", how, r->virial, f->virial, 9 * k, tolerance);
    check_values("atom_energy", how, r->atomic, f->atomic, k * f->atoms, tolerance);
    check_values("sum of atom_virial", how, virial, f->virial, 9 * k, 3 * tolerance);
    free(virial);
}

/* Form (b), from dpc_list: every instruction set, one and several workers, the same bits. */
static void check_packed(const dpc_model *model, const struct frame *f, const dpc_neighbours *near, double tolerance)
{
    const dpc_atoms atoms = frame_atoms(f);
    struct results one = make_results(model, f->atoms, f->atoms), other = make_results(model, f->atoms, f->atoms);
    const dpc_result first = pointers(&one), again = pointers(&other);
    dpc_workspace *workspace;
    dpc_error err;
    OK(dpc_workspace_create(model, &workspace, &err));
    for (int isa = DPC_ISA_AUTO; isa <= DPC_ISA_AVX512; isa++) {
        if (dpc_isa_name((dpc_isa)isa) == NULL)
            continue;
        dpc_exec exec = {.isa = (dpc_isa)isa};
        OK(dpc_model_compute(model, workspace, &atoms, near, &first, &exec, &err));
        check_results(dpc_isa_name((dpc_isa)isa), f, &one, tolerance);
        exec.parallel_for = parallel_threads;
        for (exec.workers = 1; exec.workers <= 5; exec.workers += 2) {
            OK(dpc_model_compute(model, workspace, &atoms, near, &again, &exec, &err));
            CHECK(memcmp(one.energy, other.energy, one.outputs * sizeof(double)) == 0 &&
                      memcmp(one.force, other.force, 3 * one.outputs * f->atoms * sizeof(double)) == 0 &&
                      memcmp(one.virial, other.virial, 9 * one.outputs * sizeof(double)) == 0,
                  "%zu workers change the result", exec.workers);
        }
    }
    for (size_t k = 0; k < 8; k++) { /* each result alone */
        dpc_result alone = {.energy = NULL};
        memcpy((char *)&alone + k * sizeof(void *), (const char *)&again + k * sizeof(void *), sizeof(void *));
        OK(dpc_model_compute(model, workspace, &atoms, near, &alone, NULL, &err));
    }
    check_results("each result alone", f, &other, tolerance);
    dpc_workspace_free(workspace);
    free_results(&one);
    free_results(&other);
}

/* Form (a), as an MD engine has it: images are ghosts, centres in any order, entries with flags. */
static void check_lists(const dpc_model *model, const struct frame *f, const dpc_neighbours *near, double tolerance)
{
    const size_t pairs = (size_t)near->first[f->atoms], all = f->atoms + pairs;
    double *position = array(3 * all, sizeof(double));
    int32_t *type = array(all, sizeof(int32_t)), *entry = array(pairs, sizeof(int32_t));
    int32_t *count = array(f->atoms, sizeof(int32_t)), *centre = array(f->atoms, sizeof(int32_t));
    const int32_t **list = array(f->atoms, sizeof(*list));
    memcpy(position, f->position, 3 * f->atoms * sizeof(double));
    memcpy(type, f->type, f->atoms * sizeof(int32_t));
    for (size_t p = 0; p < pairs; p++) { /* an image of its own for each pair */
        const size_t j = (size_t)near->index[p];
        for (size_t a = 0; a < 3; a++)
            position[3 * (f->atoms + p) + a] = f->position[3 * j + a];
        for (size_t a = 0; near->shift != NULL && a < 9; a++)
            position[3 * (f->atoms + p) + a % 3] += near->shift[3 * p + a / 3] * near->cell[a];
        type[f->atoms + p] = f->type[j];
        entry[p] = (int32_t)(f->atoms + p) | (p % 2 ? FLAG : 0);
    }
    for (size_t i = 0; i < f->atoms; i++) {
        list[i] = entry + near->first[i];
        count[i] = (int32_t)(near->first[i + 1] - near->first[i]);
        centre[i] = (int32_t)(f->atoms - 1 - i);
    }
    dpc_atoms atoms = frame_atoms(f);
    atoms.ghost = pairs;
    atoms.position = position;
    atoms.type = type;
    dpc_neighbours lists = {.centres = f->atoms, .centre = centre, .count = count, .list = list, .mask = MASK};
    struct results r = make_results(model, f->atoms, all);
    const dpc_result result = pointers(&r);
    const dpc_exec exec = {.parallel_for = parallel_threads, .workers = 2};
    dpc_workspace *workspace;
    dpc_error err;
    OK(dpc_workspace_create(model, &workspace, &err));
    OK(dpc_model_compute(model, workspace, &atoms, &lists, &result, &exec, &err));
    struct results folded = make_results(model, f->atoms, f->atoms);
    memcpy(folded.energy, r.energy, r.outputs * sizeof(double));
    memcpy(folded.virial, r.virial, 9 * r.outputs * sizeof(double));
    memcpy(folded.atomic, r.atomic, f->atoms * r.outputs * sizeof(double));
    for (size_t o = 0; o < r.outputs; o++)
        for (size_t i = 0; i < all; i++) {
            const size_t own = i < f->atoms ? i : (size_t)near->index[i - f->atoms];
            for (size_t a = 0; a < 9; a++) {
                folded.atom_virial[9 * (o * f->atoms + own) + a] += r.atom_virial[9 * (o * all + i) + a];
                if (a < 3)
                    folded.force[3 * (o * f->atoms + own) + a] += r.force[3 * (o * all + i) + a];
            }
        }
    check_results("lists with ghosts", f, &folded, tolerance);
    free_results(&folded);

    lists.centres = f->atoms / 2; /* the others have no energy */
    OK(dpc_model_compute(model, workspace, &atoms, &lists, &result, &exec, &err));
    for (size_t k = 0; k < f->atoms * r.outputs; k++) {
        const size_t place = k / r.outputs, i = (size_t)centre[place] * r.outputs + k % r.outputs;
        const double expected = place < lists.centres ? f->atomic[i] : 0;
        check_values("atom_energy", "half of the centres", &r.atomic[i], &expected, 1, 10 * tolerance);
    }
    dpc_workspace_free(workspace);
    free_results(&r);
    free(position);
    free(type);
    free(entry);
    free(count);
    free(centre);
    free(list);
}

/* The mean of n numbers of k models, which are `apart`, each `step` from the next. */
static double *mean_of(const double *each, size_t n, size_t k, size_t apart, size_t step)
{
    double *mean = array(n, sizeof(double));
    for (size_t i = 0; i < n * k; i++)
        mean[i % n] += each[i / n * apart + i % n * step] / (double)k;
    return mean;
}

/* Means over models take the place of their first. */
static void check_average(const dpc_model *model, const struct frame *f, const dpc_neighbours *near, double tolerance)
{
    struct results r = make_results(model, f->atoms, f->atoms);
    const size_t k = r.outputs, n = f->atoms;
    const dpc_atoms atoms = frame_atoms(f);
    const dpc_result result = pointers(&r);
    struct frame mean = *f;
    dpc_workspace *workspace;
    dpc_error err;
    OK(dpc_workspace_create(model, &workspace, &err));
    OK(dpc_model_compute(model, workspace, &atoms, near, &result, NULL, &err));
    dpc_model_average(model, &atoms, &result, &result);
    r.outputs = 1;
    double *owned[] = {mean_of(f->energy, 1, k, 1, 1), mean_of(f->force, 3 * n, k, 3 * n, 1),
                       mean_of(f->virial, 9, k, 9, 1), mean_of(f->atomic, n, k, 1, k)};
    mean.energy = owned[0];
    mean.force = owned[1];
    mean.virial = owned[2];
    mean.atomic = owned[3];
    check_results("means", &mean, &r, tolerance);
    for (size_t i = 0; i < sizeof(owned) / sizeof(*owned); i++)
        free(owned[i]);
    dpc_workspace_free(workspace);
    free_results(&r);
}

/* One of several threads that are the first to evaluate a model. */
struct first {
    const dpc_model *model;
    const struct frame *frame;
    const dpc_neighbours *near;
    struct results results;
};

static void *evaluate_first(void *arg)
{
    struct first *first = arg;
    const dpc_atoms atoms = frame_atoms(first->frame);
    const dpc_result result = pointers(&first->results);
    dpc_workspace *workspace;
    dpc_error err = {DPC_OK, ""};
    OK(dpc_workspace_create(first->model, &workspace, &err));
    OK(dpc_model_compute(first->model, workspace, &atoms, first->near, &result, NULL, &err));
    dpc_workspace_free(workspace);
    return NULL;
}

/* What a model makes when it is first needed, it makes once, whoever asks. */
static void check_sharing(const char *path, const struct frame *f, const dpc_neighbours *near, double tolerance)
{
    enum { THREADS = 4 };
    pthread_t thread[THREADS];
    struct first first[THREADS];
    dpc_model *model;
    dpc_error err = {DPC_OK, ""};
    OK(dpc_model_load(path, &model, &err));
    for (size_t i = 0; i < THREADS; i++) {
        first[i] = (struct first){model, f, near, make_results(model, f->atoms, f->atoms)};
        CHECK(pthread_create(&thread[i], NULL, evaluate_first, &first[i]) == 0, "no thread");
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        check_results("the first evaluation, in several threads", f, &first[i].results, tolerance);
        free_results(&first[i].results);
    }
    dpc_model_free(model);
}

/* The frame at `at`, and where the next one is. */
static const double *read_frame(const double *at, const dpc_model_info *info, struct frame *f)
{
    const size_t n = f->atoms = (size_t)*at, k = info->outputs;
    f->cell = at + 1;
    f->position = f->cell + 9;
    const double *types = f->position + 3 * n;
    f->energy = types + n;
    f->force = f->energy + k;
    f->virial = f->force + 3 * k * n;
    f->atomic = f->virial + 9 * k;
    f->fparam = f->atomic + k * n;
    f->aparam = f->fparam + info->fparams;
    f->type = array(n, sizeof(int32_t));
    for (size_t i = 0; i < n; i++)
        f->type[i] = (int32_t)types[i];
    return f->aparam + info->aparams * n;
}

static double *read_doubles(const char *path, size_t *n)
{
    enum { MOST = 1 << 20 }; /* doubles */
    double *data = array(MOST, sizeof(double));
    FILE *file = fopen(path, "rb");
    *n = file != NULL ? fread(data, sizeof(double), MOST, file) : 0;
    if (file != NULL)
        fclose(file);
    return data;
}

int main(int argc, char **argv)
{
    size_t n;
    dpc_model *model;
    dpc_list *list;
    dpc_error err = {DPC_OK, ""};
    if (argc != 4 && (argc != 5 || strcmp(argv[4], "briefly") != 0))
        return 2;
    double *data = read_doubles(argv[2], &n);
    const double tolerance = atof(argv[3]);
    OK(dpc_model_load(argv[1], &model, &err));
    OK(dpc_list_create(&list, &err));
    if (failures > 0 || n == 0)
        return 2;
    dpc_model_info info;
    dpc_model_describe(model, &info);
    struct frame f;
    for (const double *at = data; at < data + n; free(f.type)) {
        at = read_frame(at, &info, &f);
        dpc_neighbours near;
        const dpc_exec exec = {.parallel_for = parallel_threads, .workers = 3};
        OK(dpc_list_build(list, f.atoms, f.position, f.cell, info.cutoff + 0.5, &exec, &err));
        dpc_list_view(list, &near);
        check_packed(model, &f, &near, tolerance);
        check_lists(model, &f, &near, tolerance);
        check_sharing(argv[1], &f, &near, tolerance);
        if (strcmp(info.kind, "ener") == 0)
            check_average(model, &f, &near, tolerance);
    }
    check_misuse(model);
    check_digest();
    if (argc == 4) {
        read_frame(data, &info, &f);
        check_memory(argv[1], &f);
        check_damage(argv[1], &f);
        free(f.type);
    }
    dpc_list_free(list);
    dpc_model_free(model);
    free(data);
    printf("precision %d, best instruction set %s: %s\n", (int)info.precision, dpc_isa_name(DPC_ISA_AUTO),
           failures ? "FAILED" : "ok");
    return failures != 0;
}
