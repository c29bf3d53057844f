/* md.c - molecular dynamics at constant energy, in plain C: all that a program needs of libdpc
 *
 *   cc -O2 md.c $(PKG_CONFIG_PATH="$(compress-onnx paths pkgconfig)" pkg-config --cflags --libs dpc) -lm -o md
 *   ./md water.onnx water.xyz O=15.999 H=1.008 steps=1000 temperature=300 [device=cuda:0]
 *
 * Atoms are in (extended) xyz; periodic if its comment has Lattice="...", but not pbc="F F F". Angstrom, eV, fs, K,
 * atomic masses. */
#include "input.h"

#include <dpc.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double ACCELERATION = 9.64853321233e-3; /* eV/angstrom per atomic mass, in angstrom/fs^2 */
static const double BOLTZMANN = 8.617333262e-5;      /* eV/K */

static void check(dpc_status status, const dpc_error *err)
{
    if (status != DPC_OK)
        die("%s", err->message);
}

static double kinetic_energy(void)
{
    double sum = 0;
    for (size_t k = 0; k < 3 * atoms.count; k++)
        sum += atoms.mass[k / 3] * atoms.velocity[k] * atoms.velocity[k];
    return sum / (2 * ACCELERATION);
}

static double temperature(void)
{
    const double freedom = atoms.count > 1 ? 3.0 * (double)atoms.count - 3 : 3;
    return 2 * kinetic_energy() / (freedom * BOLTZMANN);
}

/* Normally distributed, at rest as a whole, of exactly the temperature asked for; the same in each run. */
static void draw_velocities(void)
{
    uint64_t state = 1;
    double momentum[3] = {0}, total = 0;
    for (size_t k = 0; k < 3 * atoms.count; k++) {
        double sum = -6; /* twelve uniform numbers make a normal one */
        for (int n = 0; n < 12; n++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            sum += (double)(state >> 11) / 9007199254740992.0;
        }
        atoms.velocity[k] = sum / sqrt(atoms.mass[k / 3]);
        momentum[k % 3] += atoms.mass[k / 3] * atoms.velocity[k];
        total += atoms.mass[k / 3] / 3;
    }
    for (size_t k = 0; k < 3 * atoms.count && atoms.count > 1; k++)
        atoms.velocity[k] -= momentum[k % 3] / total;
    const double scale = sqrt(option[TEMPERATURE].value / temperature());
    for (size_t k = 0; k < 3 * atoms.count; k++)
        atoms.velocity[k] *= scale;
}

/* Whether the list may miss a pair: two atoms that moved by half the skin have approached by all of it. */
static int list_is_old(void)
{
    for (const double *x = atoms.position, *y = atoms.listed; x < atoms.position + 3 * atoms.count; x += 3, y += 3)
        if (hypot(hypot(x[0] - y[0], x[1] - y[1]), x[2] - y[2]) >= option[SKIN].value / 2)
            return 1;
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        die("usage: md MODEL.onnx ATOMS.xyz ELEMENT=MASS... [steps=N] [timestep=FS] [every=STEPS] [temperature=K] "
            "[skin=ANGSTROM] [threads=N] [device=cuda:N]");
    dpc_model *model;
    dpc_workspace *workspace;
    dpc_list *list;
    dpc_error err;
    dpc_model_info info;
    check(dpc_model_load(argv[1], &model, &err), &err);
    const char *device = "cpu";
    for (int k = 3; k < argc; k++)
        if (strncmp(argv[k], "device=", 7) == 0)
            device = argv[k] + 7;
    check(dpc_workspace_create_on(model, device, &workspace, &err), &err);
    check(dpc_list_create(&list, &err), &err);
    dpc_model_describe(model, &info);
    if (strcmp(info.kind, "ener") != 0 || info.fparams + info.aparams > 0)
        die("%s is of kind %s with %zu parameters: this program runs energies without", argv[1], info.kind,
            info.fparams + info.aparams);
    double *mass = zeros(info.types, sizeof(double));
    for (int k = 3; k < argc; k++)
        if (strncmp(argv[k], "device=", 7) != 0)
            set(argv[k], &info, mass);
    read_atoms(argv[2], &info, mass);
    if (option[TEMPERATURE].value > 0)
        draw_velocities();

    int threads = (int)option[THREADS].value;
    const dpc_exec exec = {dpc_parallel_openmp, &threads, (size_t)threads, DPC_ISA_AUTO};
    const dpc_atoms all = {.local = atoms.count, .position = atoms.position, .type = atoms.type};
    const size_t size = 3 * atoms.count;
    const double dt = option[TIMESTEP].value, reach = info.cutoff + option[SKIN].value;
    double *each = zeros(info.outputs, (1 + size) * sizeof(double)); /* of an ensemble, what its models give */
    uint64_t lists = 0;
    double energy, (*worst)[3] = zeros(info.tables, sizeof(*worst)); /* value, centre, distance */
    int64_t(*range)[4] = zeros(info.tables, sizeof(*range));
    dpc_result result = {.energy = each, .force = each + info.outputs, .range = *range, .range_worst = *worst};
    dpc_result mean = {.energy = &energy, .force = atoms.force};
    printf("#   step  temperature/K        potential/eV          kinetic/eV            total/eV\n");
    for (long step = 0; step <= (long)option[STEPS].value; step++) {
        for (size_t k = 0; k < size && step > 0; k++) {
            atoms.velocity[k] += dt / 2 * ACCELERATION * atoms.force[k] / atoms.mass[k / 3];
            atoms.position[k] += dt * atoms.velocity[k];
        }
        if (step == 0 || list_is_old()) {
            check(dpc_list_build(list, atoms.count, atoms.position, atoms.cell, reach, &exec, &err), &err);
            memcpy(atoms.listed, atoms.position, size * sizeof(double));
            lists++;
        }
        dpc_neighbours neighbours;
        dpc_list_view(list, &neighbours);
        neighbours.serial = lists; /* what is known of a list that stays is not found out again */
        check(dpc_model_compute(model, workspace, &all, &neighbours, &result, &exec, &err), &err);
        dpc_model_average(model, &all, &result, &mean);
        for (size_t t = 0; t < info.tables; t++)
            if (range[t][0] + range[t][3] > 0)
                die("step %ld: atom %.0f (from 0) has a neighbour at %.3f angstrom, where the model was not trained; "
                    "try a shorter timestep", step, worst[t][1], worst[t][2]);
        for (size_t k = 0; k < size && step > 0; k++)
            atoms.velocity[k] += dt / 2 * ACCELERATION * atoms.force[k] / atoms.mass[k / 3];
        const double kinetic = kinetic_energy();
        if (step % (long)option[EVERY].value == 0)
            printf("%8ld %14.4f %19.9f %19.9f %19.9f\n", step, temperature(), energy, kinetic, energy + kinetic);
    }
    dpc_list_free(list);
    dpc_workspace_free(workspace);
    dpc_model_free(model);
    void *const owned[] = {atoms.position, atoms.velocity, atoms.force, atoms.listed, atoms.mass, atoms.type,
                           mass, range, worst, each};
    for (size_t k = 0; k < sizeof(owned) / sizeof(owned[0]); k++)
        free(owned[k]);
    return 0;
}
