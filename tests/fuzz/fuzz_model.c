/*
 * fuzz_model.c - any bytes as a model file for libFuzzer: refused with a message, or evaluated on two atoms
 *
 * The file is protobuf, in which a changed byte mostly breaks a length. So half of the inputs are
 * changed inside one field, and the lengths around it are written anew.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dpc.h"

enum { DEEPEST = 6, ATOMS = 2, VARINT = 10 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room);

static void *array(size_t count, size_t size)
{
    return calloc(count > 0 ? count : 1, size);
}

static void evaluate(const dpc_model *model, const dpc_model_info *info)
{
    static const double position[ATOMS][3] = {{0, 0, 0}, {0.7, 0.6, 0.5}};
    static const int64_t first[ATOMS + 1] = {0, 1, 2};
    static const int32_t index[ATOMS] = {1, 0};
    const int32_t type[ATOMS] = {0, (int32_t)info->types - 1};
    const size_t n = info->outputs, derivatives = info->differentiable ? n : 0;
    double *energy = array(n * (ATOMS + 1), sizeof(double)), *gradient = array(derivatives * (12 * ATOMS + 9), sizeof(double));
    double *parameters = array(info->fparams + ATOMS * info->aparams, sizeof(double));
    int64_t *range = array(info->tables, 4 * sizeof(int64_t)), dropped;
    double *worst = array(info->tables, 3 * sizeof(double));
    const dpc_atoms atoms = {.local = ATOMS, .position = position[0], .type = type, .fparam = parameters,
                             .aparam = parameters + info->fparams};
    const dpc_neighbours near = {.centres = ATOMS, .first = first, .index = index};
    dpc_result result = {.energy = energy, .atom_energy = energy + n, .range = range, .range_worst = worst, .dropped = &dropped};
    if (derivatives > 0) {
        result.force = gradient;
        result.virial = result.force + derivatives * ATOMS * 3;
        result.atom_virial = result.virial + derivatives * 9;
    }
    dpc_workspace *workspace = NULL;
    dpc_error err = {DPC_OK, ""};
    if (dpc_workspace_create(model, &workspace, &err) == DPC_OK &&
        dpc_model_compute(model, workspace, &atoms, &near, &result, NULL, &err) == DPC_OK)
        for (size_t i = 0; i < n; i++)
            if (energy[i] - energy[i] != 0)
                abort(); /* a result that is no number must be an error */
    dpc_workspace_free(workspace);
    free(energy);
    free(gradient);
    free(parameters);
    free(range);
    free(worst);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dpc_model *model;
    dpc_error err = {DPC_OK, ""};
    const dpc_status status = dpc_model_load_memory(data, size, NULL, 0, &model, &err);
    if ((status == DPC_OK) != (model != NULL) || (status != DPC_OK && err.message[0] == '\0'))
        abort();
    if (model != NULL) {
        dpc_model_info info;
        dpc_model_describe(model, &info);
        evaluate(model, &info);
    }
    dpc_model_free(model);
    return 0;
}

/* ---- mutations that keep the lengths right --------------------------------------------------- */

/* Where a field lies in its message. */
struct field {
    size_t start, value, end; /* its key, its payload or number, the next field */
    int wire;
};

static size_t get_varint(const uint8_t *at, size_t n, uint64_t *value)
{
    *value = 0;
    for (size_t k = 0; k < n && k < VARINT; k++) {
        *value |= (uint64_t)(at[k] & 0x7f) << (7 * k);
        if (at[k] < 0x80)
            return k + 1;
    }
    return 0;
}

static size_t put_varint(uint8_t *at, uint64_t value)
{
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        at[n++] = (uint8_t)(value | 0x80);
    at[n++] = (uint8_t)value;
    return n;
}

/* The field at `start`, whether there is a whole one. */
static int get_field(const uint8_t *message, size_t n, size_t start, struct field *f)
{
    uint64_t key, number = 0;
    const size_t key_bytes = get_varint(message + start, n - start, &key);
    *f = (struct field){.start = start, .value = start + key_bytes, .wire = (int)(key & 7)};
    const size_t bytes = f->wire == 0 || f->wire == 2 ? get_varint(message + f->value, n - f->value, &number) : 0;
    if (key_bytes == 0 || key >> 3 == 0 || ((f->wire == 0 || f->wire == 2) && bytes == 0))
        return 0;
    if (f->wire == 2)
        f->value += bytes;
    const uint64_t length = f->wire == 0 ? bytes : f->wire == 1 ? 8 : f->wire == 5 ? 4 : f->wire == 2 ? number : UINT64_MAX;
    if (length > n - f->value)
        return 0;
    f->end = f->value + (size_t)length;
    return 1;
}

/* A field by number, or half the time the one that holds a random byte; 0 if this is no message. */
static int choose_field(const uint8_t *message, size_t n, struct field *chosen)
{
    size_t fields = 0;
    struct field f;
    for (size_t at = 0; at < n; at = f.end, fields++)
        if (!get_field(message, n, at, &f))
            return 0;
    if (fields == 0)
        return 0;
    const int by_byte = rand() % 2;
    size_t left = (size_t)rand() % (by_byte ? n : fields);
    for (size_t at = 0; get_field(message, n, at, chosen) && (by_byte ? chosen->end <= left : left-- > 0);)
        at = chosen->end;
    return 1;
}

/* Changes the message in place, which has `room`; its new length. */
static size_t mutate(uint8_t *message, size_t n, size_t room, int depth)
{
    struct field f;
    if (depth == DEEPEST || rand() % 8 == 0 || !choose_field(message, n, &f)) {
        const size_t bytes = LLVMFuzzerMutate(message, n, rand() % 2 && n > 0 ? n : room);
        return rand() % 2 && bytes < n ? n : bytes; /* what is as long as before may still be whole */
    }
    uint8_t head[2 * VARINT];
    uint64_t key;
    size_t inner = f.end - f.value, head_bytes = get_varint(message + f.start, n - f.start, &key);
    const size_t tail = n - f.end, spare = room - n;
    memcpy(head, message + f.start, head_bytes);
    uint8_t *value = malloc(inner + spare + 1);
    memcpy(value, message + f.value, inner);
    if (f.wire == 0 && rand() % 2) {
        get_varint(value, inner, &key);
        const uint64_t values[] = {key + 1, key - 1, 0, key << rand() % 64, UINT64_C(1) << rand() % 64, (uint64_t)-1};
        uint8_t number[VARINT];
        inner = put_varint(number, values[rand() % 6]);
        inner = inner <= f.end - f.value + spare ? inner : 0;
        memcpy(value, number, inner);
    } else if (f.wire == 2) {
        const size_t most = inner + spare > VARINT ? inner + spare - VARINT : inner;
        inner = mutate(value, inner, most, depth + 1);
        head_bytes += put_varint(head + head_bytes, inner);
    } else {
        LLVMFuzzerMutate(value, inner, inner);
    }
    const size_t bytes = f.start + head_bytes + inner + tail;
    if (bytes <= room) {
        memmove(message + f.start + head_bytes + inner, message + f.end, tail);
        memcpy(message + f.start, head, head_bytes);
        memcpy(message + f.start + head_bytes, value, inner);
    }
    free(value);
    return bytes <= room ? bytes : n;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed)
{
    srand(seed);
    return rand() % 2 ? mutate(data, size, room, 0) : LLVMFuzzerMutate(data, size, room);
}
