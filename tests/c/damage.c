/* damage.c - files that are cut short or have wrong bytes: loaded or refused, never read past their end */
#include "check.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1 << 22, TIMES = 400 };

static size_t random_below(size_t n)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(state >> 33) % n;
}

static void use(const dpc_model *model, const struct frame *frame)
{
    const int64_t *first = calloc(frame->atoms + 1, sizeof(*first)); /* atoms without neighbours */
    const dpc_atoms atoms = frame_atoms(frame);
    const dpc_neighbours near = {.centres = frame->atoms, .first = first};
    const dpc_result result = {.energy = NULL};
    dpc_workspace *workspace = NULL;
    if (dpc_workspace_create(model, &workspace, NULL) == DPC_OK)
        dpc_model_compute(model, workspace, &atoms, &near, &result, NULL, NULL);
    dpc_workspace_free(workspace);
    free((void *)first);
}

/* A flipped bit anywhere is found, unless nobody looks for it. */
static void check_flips(char *file, size_t size)
{
    dpc_model *model;
    dpc_error err;
    OK(dpc_model_load_memory(file, size, NULL, 1, &model, &err));
    dpc_model_free(model);
    for (int k = 0; k < TIMES / 4; k++) {
        const size_t at = random_below(size);
        const char bit = (char)(1 << k % 8);
        file[at] ^= bit;
        const dpc_status status = dpc_model_load_memory(file, size, NULL, 1, &model, &err);
        CHECK(status != DPC_OK && model == NULL && err.message[0] != '\0', "bit %d of byte %zu is flipped, unnoticed",
              k % 8, at);
        file[at] ^= bit;
    }
    file[size - 1] ^= 1; /* in a function, which libdpc does not read */
    OK(dpc_model_load_memory(file, size, NULL, 0, &model, &err));
    dpc_model_free(model);
    file[size - 1] ^= 1;
}

void check_damage(const char *path, const struct frame *frame)
{
    char *file = malloc(MOST);
    FILE *stream = fopen(path, "rb");
    const size_t size = file != NULL && stream != NULL ? fread(file, 1, MOST, stream) : 0;
    if (stream != NULL)
        fclose(stream);
    CHECK(size > 0 && size < MOST, "cannot read %s", path);
    check_flips(file, size);
    for (int k = 0; size > 0 && k < TIMES; k++) {
        const size_t length = k % 2 ? size : random_below(size);
        char *copy = malloc(length + (length == 0)); /* of just this size, for the address sanitizer */
        memcpy(copy, file, length);
        for (int flip = 0; k % 2 && flip < 4; flip++) /* mostly in what describes the tensors, before them */
            copy[random_below(flip < 3 ? 3000 : size)] = (char)random_below(256);
        dpc_model *model;
        dpc_error err = {DPC_OK, ""};
        const dpc_status status = dpc_model_load_memory(copy, length, NULL, 0, &model, &err);
        CHECK((status == DPC_OK) == (model != NULL), "status %d, but the model is %p", (int)status, (void *)model);
        CHECK(status == DPC_OK || err.message[0] != '\0', "status %d without a message", (int)status);
        if (model != NULL)
            use(model, frame);
        dpc_model_free(model);
        free(copy);
    }
    free(file);
}
