/* deepmd_c.c - DeePMD-kit's C interface from C: every way to evaluate a model agrees with the first, which is printed
 *
 * Compiled against our deepmd_c.h, or against DeePMD-kit's own header: -DHEADER='"c_api.h"'. */
#ifndef HEADER
#  define HEADER "deepmd_c.h"
#endif
#include HEADER

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 128, MOST_GHOSTS = 124 * MOST };

static int failures;

#define CHECK(condition)                                                  \
    do {                                                                  \
        if (!(condition)) {                                               \
            failures++;                                                   \
            printf("FAIL %s:%d: %s\n", __FILE__, __LINE__, #condition);   \
        }                                                                 \
    } while (0)

/* The text must hold `part`; it is given back. */
#define SAYS(call, part)                                                              \
    do {                                                                              \
        const char *text_ = call;                                                     \
        if (*(part) == '\0' ? *text_ != '\0' : strstr(text_, part) == NULL) {         \
            failures++;                                                               \
            printf("FAIL %s:%d: %s says %s\n", __FILE__, __LINE__, #call, text_);     \
        }                                                                             \
        DP_DeleteChar(text_);                                                         \
    } while (0)

/* Two frames, the second one stretched; and their results. */
static int atoms, type[2 * MOST];
static double position[2 * 3 * MOST], cell[2 * 9];
static float position_f[2 * 3 * MOST], cell_f[2 * 9];
static double energy[2], force[2 * 3 * MOST], virial[2 * 9], atom_energy[2 * MOST], atom_virial[2 * 9 * MOST];

static struct {
    double energy[2], force[2 * 3 * MOST], virial[2 * 9], atom_energy[2 * MOST], atom_virial[2 * 9 * MOST];
} got;
static struct {
    float force[2 * 3 * MOST], virial[2 * 9], atom_energy[2 * MOST], atom_virial[2 * 9 * MOST];
} got_f;

#define GOT got.energy, got.force, got.virial, got.atom_energy, got.atom_virial
#define GOT_F got.energy, got_f.force, got_f.virial, got_f.atom_energy, got_f.atom_virial

static void forget(void)
{
    memset(&got, 0, sizeof(got));
    memset(&got_f, 0, sizeof(got_f));
}

static double difference(int count, const double *a, const double *b)
{
    double worst = 0;
    for (int k = 0; k < count; k++)
        worst = fmax(worst, fabs(a[k] - b[k]));
    return worst;
}

static double difference_f(int count, const double *a, const float *b)
{
    double worst = 0;
    for (int k = 0; k < count; k++)
        worst = fmax(worst, fabs(a[k] - b[k]));
    return worst;
}

static void check_got(int frames)
{
    CHECK(difference(frames, energy, got.energy) < 1e-10);
    CHECK(difference(frames * 3 * atoms, force, got.force) < 1e-10);
    CHECK(difference(frames * 9, virial, got.virial) < 1e-10);
    CHECK(difference(frames * atoms, atom_energy, got.atom_energy) < 1e-10);
    CHECK(difference(frames * 9 * atoms, atom_virial, got.atom_virial) < 1e-10);
    forget();
}

/* Positions were rounded to float: 5e-7 angstrom, of which a hundred times is eV/angstrom. */
static void check_got_f(int frames)
{
    CHECK(difference(frames, energy, got.energy) < 1e-3);
    CHECK(difference_f(frames * 3 * atoms, force, got_f.force) < 1e-4);
    CHECK(difference_f(frames * 9, virial, got_f.virial) < 1e-3);
    CHECK(difference_f(frames * atoms, atom_energy, got_f.atom_energy) < 1e-4);
    CHECK(difference_f(frames * 9 * atoms, atom_virial, got_f.atom_virial) < 1e-3);
    forget();
}

static void read_frame(void)
{
    CHECK(scanf("%d", &atoms) == 1 && atoms <= MOST);
    for (int k = 0; k < 9; k++)
        CHECK(scanf("%lf", cell + k) == 1);
    for (int i = 0; i < atoms; i++)
        CHECK(scanf("%d %lf %lf %lf", type + i, position + 3 * i, position + 3 * i + 1, position + 3 * i + 2) == 4);
    for (int k = 0; k < 9; k++)
        cell[9 + k] = 1.02 * cell[k];
    for (int k = 0; k < 3 * atoms; k++)
        position[3 * atoms + k] = 1.02 * position[k];
    memcpy(type + atoms, type, (size_t)atoms * sizeof(*type));
    for (int k = 0; k < 6 * atoms; k++)
        position_f[k] = (float)position[k];
    for (int k = 0; k < 18; k++)
        cell_f[k] = (float)cell[k];
}

static void check_queries(DP_DeepPot *model)
{
    SAYS(DP_DeepPotCheckOK(model), "");
    SAYS(DP_DeepPotGetTypeMap(model), "O H");
    SAYS(DP_DeepBaseModelGetTypeMap((DP_DeepBaseModel *)model), "O H");
    CHECK(DP_DeepPotGetCutoff(model) == 4.5 && DP_DeepBaseModelGetCutoff((DP_DeepBaseModel *)model) == 4.5);
    CHECK(DP_DeepPotGetNumbTypes(model) == 2 && DP_DeepPotGetNumbTypesSpin(model) == 0);
    CHECK(DP_DeepPotGetDimFParam(model) == 0 && DP_DeepPotGetDimAParam(model) == 0);
    CHECK(!DP_DeepPotIsAParamNAll(model) && !DP_DeepPotHasDefaultFParam(model));
    CHECK(DP_DeepPotGetDimChgSpin(model) == 0);
    DP_DeepPotSetChargeSpin(model, NULL, 0);
    SAYS(DP_DeepPotCheckOK(model), "");
    DP_DeepPotSetChargeSpin(model, cell, 2);
    SAYS(DP_DeepPotCheckOK(model), "takes no charge and spin");
}

/* All without a neighbour list; the first results are the reference, and what is printed. */
static void check_frames(DP_DeepPot *model)
{
    DP_DeepPotCompute2(model, 2, atoms, position, type, cell, NULL, NULL, energy, force, virial, atom_energy,
                       atom_virial);
    SAYS(DP_DeepPotCheckOK(model), "");
    printf("%.12f\n", energy[0]);
    for (int k = 0; k < 3 * atoms; k++)
        printf("%.12f ", force[k]);
    printf("\n");
    for (int k = 0; k < 9; k++)
        printf("%.12f ", virial[k]);
    printf("\n");
    for (int k = 0; k < atoms; k++)
        printf("%.12f ", atom_energy[k]);
    printf("\n");
    for (int k = 0; k < 9 * atoms; k++)
        printf("%.12f ", atom_virial[k]);
    printf("\n");
    CHECK(fabs(energy[0] - energy[1]) > 1e-3);

    DP_DeepPotCompute(model, atoms, position, type, cell, GOT);
    check_got(1);
    DP_DeepPotCompute3(model, 2, atoms, position, type, cell, NULL, NULL, NULL, GOT);
    check_got(2);
    DP_DeepPotComputeMixedType(model, 2, atoms, position, type, cell, NULL, NULL, GOT);
    check_got(2);
    DP_DeepPotComputef(model, atoms, position_f, type, cell_f, GOT_F);
    check_got_f(1);
    DP_DeepPotComputef2(model, 2, atoms, position_f, type, cell_f, NULL, NULL, GOT_F);
    check_got_f(2);
    DP_DeepPotComputef3(model, 2, atoms, position_f, type, cell_f, NULL, NULL, NULL, GOT_F);
    check_got_f(2);
    DP_DeepPotComputeMixedTypef(model, 2, atoms, position_f, type, cell_f, NULL, NULL, GOT_F);
    check_got_f(2);
    DP_DeepPotCompute2(model, 1, atoms, position, type, cell, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    SAYS(DP_DeepPotCheckOK(model), "");
    /* without a cell, and with types that the model has not: no atoms, and so no energy */
    for (int i = 0; i < atoms; i++)
        type[i] = i % 2 == 0 ? 7 : -1;
    DP_DeepPotCompute(model, atoms, position, type, NULL, GOT);
    SAYS(DP_DeepPotCheckOK(model), "");
    CHECK(got.energy[0] == 0 && difference(3 * atoms, got.force, got.force + 3 * atoms) == 0);
    memcpy(type, type + atoms, (size_t)atoms * sizeof(*type));
    forget();
}

/* The atoms and their images in the 124 cells around, as LAMMPS has them. */
static struct {
    int count, type[MOST + MOST_GHOSTS], owner[MOST + MOST_GHOSTS];
    double position[3 * (MOST + MOST_GHOSTS)];
    int centre[MOST], neighbours[MOST], *list[MOST];
} with_ghosts;

static const int MASK = 0x1FFFFFFF, MARK = 0x20000000; /* LAMMPS marks bonded neighbours in the bits above */

static void add_image(int i, const int *shift)
{
    const int k = with_ghosts.count++;
    with_ghosts.type[k] = type[i];
    with_ghosts.owner[k] = i;
    for (int c = 0; c < 3; c++)
        with_ghosts.position[3 * k + c] = position[3 * i + c] + shift[0] * cell[c] + shift[1] * cell[3 + c] +
                                          shift[2] * cell[6 + c];
}

static DP_Nlist *list_neighbours(double reach)
{
    with_ghosts.count = 0;
    for (int i = 0; i < atoms; i++)
        add_image(i, (const int[]){0, 0, 0});
    for (int n = 0; n < 125; n++)
        for (int i = 0; i < atoms && n != 62; i++)
            add_image(i, (const int[]){n / 25 - 2, n / 5 % 5 - 2, n % 5 - 2});
    for (int i = 0; i < atoms; i++) {
        with_ghosts.centre[i] = i;
        with_ghosts.neighbours[i] = 0;
        with_ghosts.list[i] = malloc((size_t)with_ghosts.count * sizeof(int));
        for (int j = 0; j < with_ghosts.count; j++) {
            const double *a = position + 3 * i, *b = with_ghosts.position + 3 * j;
            if (j != i && hypot(hypot(a[0] - b[0], a[1] - b[1]), a[2] - b[2]) < reach)
                with_ghosts.list[i][with_ghosts.neighbours[i]++] = j | (j % 3 == 0 ? MARK : 0);
        }
    }
    DP_Nlist *list = DP_NewNlist_comm(atoms, with_ghosts.centre, with_ghosts.neighbours, with_ghosts.list, 0, NULL,
                                      NULL, NULL, NULL, NULL, NULL, NULL, 1);
    SAYS(DP_NlistCheckOK(list), "");
    DP_NlistSetMask(list, MASK);
    DP_NlistSetMapping(list, with_ghosts.owner);
    return list;
}

/* Forces and virials of ghosts are their owners'. */
static double image_force[3 * (MOST + MOST_GHOSTS)], image_virial[9 * (MOST + MOST_GHOSTS)],
    image_energy[MOST + MOST_GHOSTS];

static void fold(void)
{
    for (int k = 0; k < with_ghosts.count; k++) {
        const int i = with_ghosts.owner[k];
        got.atom_energy[i] += image_energy[k];
        for (int c = 0; c < 3; c++)
            got.force[3 * i + c] += image_force[3 * k + c];
        for (int c = 0; c < 9; c++)
            got.atom_virial[9 * i + c] += image_virial[9 * k + c];
    }
}

static void check_list(DP_DeepPot *model)
{
    DP_Nlist *list = list_neighbours(5.5);
    const int count = with_ghosts.count, ghosts = count - atoms;
    const double *x = with_ghosts.position;
    const int *t = with_ghosts.type;
    memset(image_energy, 1, sizeof(image_energy)); /* ghosts have none, which must be said */
    DP_DeepPotComputeNList(model, count, x, t, cell, ghosts, list, 0, got.energy, image_force, got.virial, image_energy,
                           image_virial);
    SAYS(DP_DeepPotCheckOK(model), "");
    fold();
    check_got(1);
    DP_DeepPotComputeNList2(model, 1, count, x, t, cell, ghosts, list, 1, NULL, NULL, got.energy, image_force,
                            got.virial, image_energy, image_virial);
    fold();
    check_got(1);
    DP_DeepPotComputeNList3(model, 1, count, x, t, NULL, ghosts, list, 1, NULL, NULL, NULL, got.energy, image_force,
                            got.virial, image_energy, image_virial);
    fold();
    check_got(1);
    /* a rank without atoms */
    DP_Nlist *none = DP_NewNlist(0, NULL, NULL, NULL);
    got.energy[0] = 1;
    DP_DeepPotComputeNList2(model, 1, 0, NULL, NULL, NULL, 0, none, 0, NULL, NULL, got.energy, NULL, got.virial, NULL,
                            NULL);
    SAYS(DP_DeepPotCheckOK(model), "");
    CHECK(got.energy[0] == 0);
    forget();
    DP_DeleteNlist(none);
    DP_DeleteNlist(list);
    for (int i = 0; i < atoms; i++)
        free(with_ghosts.list[i]);
}

/* Twice the same model: twice its results. */
static void check_several(const char *path)
{
    const char *paths[] = {path, path};
    DP_DeepPotModelDevi *models = DP_NewDeepPotModelDevi(paths, 2);
    SAYS(DP_DeepPotModelDeviCheckOK(models), "");
    CHECK(DP_DeepPotModelDeviGetCutoff(models) == 4.5 && DP_DeepPotModelDeviGetNumbTypes(models) == 2);
    CHECK(DP_DeepBaseModelDeviGetCutoff((DP_DeepBaseModelDevi *)models) == 4.5);
    for (int version = 1; version <= 3; version++) {
        if (version == 1)
            DP_DeepPotModelDeviCompute(models, atoms, position, type, cell, GOT);
        else if (version == 2)
            DP_DeepPotModelDeviCompute2(models, 1, atoms, position, type, cell, NULL, NULL, GOT);
        else
            DP_DeepPotModelDeviCompute3(models, 1, atoms, position, type, cell, NULL, NULL, NULL, GOT);
        SAYS(DP_DeepPotModelDeviCheckOK(models), "");
        CHECK(got.energy[0] == got.energy[1]);
        CHECK(difference(3 * atoms, got.force, got.force + 3 * atoms) == 0);
        CHECK(difference(9, got.virial, got.virial + 9) == 0);
        CHECK(difference(atoms, got.atom_energy, got.atom_energy + atoms) == 0);
        CHECK(difference(9 * atoms, got.atom_virial, got.atom_virial + 9 * atoms) == 0);
        check_got(1);
    }
    DP_DeepPotModelDeviComputef2(models, 1, atoms, position_f, type, cell_f, NULL, NULL, GOT_F);
    check_got_f(1);
    DP_DeepPotModelDeviCompute2(models, 2, atoms, position, type, cell, NULL, NULL, GOT);
    SAYS(DP_DeepPotModelDeviCheckOK(models), "one frame at a time, not on 2");
    DP_DeleteDeepPotModelDevi(models);
    models = DP_NewDeepPotModelDevi(paths, 0);
    SAYS(DP_DeepPotModelDeviCheckOK(models), "no model is named");
    DP_DeleteDeepPotModelDevi(models);
}

static void check_files(const char *path)
{
    int size;
    const char *content = DP_ReadFileToChar2(path, &size);
    CHECK(size > 1000);
    DP_DeepPot *model = DP_NewDeepPotWithParam2("elsewhere/water.onnx", 0, content, size);
    SAYS(DP_DeepPotCheckOK(model), "");
    DP_DeepPotCompute(model, atoms, position, type, cell, GOT);
    check_got(1);
    DP_DeleteDeepPot(model);
    DP_DeleteChar(content);
    model = DP_NewDeepPotWithParam2("elsewhere/frozen.pb", 0, "no model", 8);
    SAYS(DP_DeepPotCheckOK(model), "elsewhere/frozen.pb: ");
    SAYS(DP_DeepPotCheckOK(model), "compressed first: compress-onnx -i MODEL -o model.onnx");
    /* it stays a handle: without types, and with its reason */
    DP_DeepPotCompute(model, atoms, position, type, cell, GOT);
    SAYS(DP_DeepPotCheckOK(model), "compressed first");
    CHECK(DP_DeepPotGetNumbTypes(model) == 0 && DP_DeepPotGetCutoff(model) == 0);
    DP_DeleteDeepPot(model);
    model = DP_NewDeepPot("nowhere.onnx");
    SAYS(DP_DeepPotCheckOK(model), "cannot open nowhere.onnx");
    DP_DeleteDeepPot(model);
    SAYS(DP_ReadFileToChar2("nowhere.onnx", &size), "cannot read nowhere.onnx");
    CHECK(size == -(int)strlen("cannot read nowhere.onnx"));
}

static void check_selection(void)
{
    const int all[] = {0, 1, 2, 1, 0, 2, 1}, wanted[] = {2, 1};
    int forward[7], backward[7], selected, selected_ghosts, out[10];
    DP_SelectByType(7, all, 3, 2, wanted, forward, &selected, backward, &selected_ghosts);
    CHECK(selected == 5 && selected_ghosts == 2);
    CHECK(memcmp(forward, (const int[]){-1, 0, 1, 2, -1, 3, 4}, sizeof(forward)) == 0);
    CHECK(memcmp(backward, (const int[]){1, 2, 3, 5, 6}, 5 * sizeof(int)) == 0);
    const int pairs[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
    DP_SelectMapInt(pairs, forward, 2, 7, 5, out);
    CHECK(memcmp(out, (const int[]){3, 4, 5, 6, 7, 8, 11, 12, 13, 14}, sizeof(out)) == 0);
}

int main(int argc, char **argv)
{
    (void)argc;
    read_frame();
    DP_DeepPot *model = DP_NewDeepPot(argv[1]);
    check_queries(model);
    check_frames(model);
    check_list(model);
    check_several(argv[1]);
    check_files(argv[1]);
    check_selection();
    DP_PrintSummary("# ");
    DP_DeleteDeepPot(model);
    return failures != 0;
}
