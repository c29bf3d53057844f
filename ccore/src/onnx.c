/* onnx.c - find a model's parameters in an .onnx file, and check its digest */
#include "digest.h"
#include "model.h"
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TERMS = 64, MOST_TENSORS = 1 << 15 };

struct named {
    struct dpc_span name;
    struct dpc_tensor tensor; /* data lies in the file's bytes */
};

/* What is read of the file. */
struct file {
    const char *folder;
    char *type_map, *format, *frequency;
    struct dpc_span digest;    /* empty: none */
    size_t nodes;
    char **layout;             /* [nodes] */
    size_t tensors, room;
    struct named *tensor;      /* [tensors] */
    size_t files;
    struct dpc_span *location; /* [files] of external data; the first, empty, is the model */
    struct dpc_bytes *bytes;   /* [files] */
};

#define BAD(...) return dpc_fail(err, DPC_FORMAT, __VA_ARGS__)

/* Walk a message's fields; `f` is the field at hand. */
#define EACH_FIELD(message)                                      \
    struct dpc_field f;                                          \
    for (int more; (more = dpc_wire_next(&(message), &f)) != 0;) \
        if (more < 0)                                            \
            BAD("the file is damaged or no ONNX model");         \
        else

static dpc_status read_pair(struct dpc_span entry, struct dpc_span *key, struct dpc_span *value, dpc_error *err)
{
    *key = *value = (struct dpc_span){entry.end, entry.end};
    EACH_FIELD(entry)
    {
        if (f.number == 1 && f.wire == 2)
            *key = f.bytes;
        if (f.number == 2 && f.wire == 2)
            *value = f.bytes;
    }
    return DPC_OK;
}

/* Arrays grow by one or more elements. */
static dpc_status grow(void *pointer_to_array, size_t count, size_t size, dpc_error *err)
{
    void *array;
    memcpy(&array, pointer_to_array, sizeof(array));
    array = realloc(array, count * size);
    if (array == NULL)
        return dpc_fail(err, DPC_NO_MEMORY, "out of memory");
    memcpy(pointer_to_array, &array, sizeof(array));
    return DPC_OK;
}

/* Opens external data: a file that lies beside the model. */
static dpc_status open_external(struct file *file, struct dpc_span location, dpc_error *err)
{
    const int n = location.end - location.at <= 200 ? (int)(location.end - location.at) : 0;
    if (file->folder == NULL)
        BAD("the tables are in another file, and no folder was given");
    if (n == 0 || memchr(location.at, '/', (size_t)n) != NULL || memchr(location.at, '\\', (size_t)n) != NULL ||
        memchr(location.at, 0, (size_t)n) != NULL)
        BAD("external data may only lie beside the model, not at %.*s", n < 100 ? n : 100, (const char *)location.at);
    char path[4096];
    if (snprintf(path, sizeof(path), "%s/%.*s", file->folder, n, (const char *)location.at) >= (int)sizeof(path))
        return dpc_fail(err, DPC_IO, "the path of the external data is too long");
    DPC_TRY(grow(&file->location, file->files + 1, sizeof(*file->location), err));
    DPC_TRY(grow(&file->bytes, file->files + 1, sizeof(*file->bytes), err));
    DPC_TRY(dpc_bytes_open(&file->bytes[file->files], path, "the external data ", err));
    file->location[file->files++] = location;
    return DPC_OK;
}

static dpc_status find_external(struct file *file, struct dpc_span location, uint64_t offset, uint64_t bytes,
                                const void **data, dpc_error *err)
{
    const size_t length = (size_t)(location.end - location.at);
    size_t k = 1;
    while (k < file->files && ((size_t)(file->location[k].end - file->location[k].at) != length ||
                               memcmp(file->location[k].at, location.at, length) != 0))
        k++;
    if (k == file->files)
        DPC_TRY(open_external(file, location, err));
    const struct dpc_bytes *whole = &file->bytes[k];
    if (offset > whole->size || bytes > whole->size - offset)
        BAD("the external data %s/%.*s is too short", file->folder, (int)length, (const char *)location.at);
    *data = (const char *)whole->data + offset;
    return DPC_OK;
}

static size_t element_size(uint64_t type)
{
    switch (type) {
    case 1: case 6: return 4;
    case 7: case 11: return 8;
    default: return 0;
    }
}

static dpc_status read_tensor(struct file *file, struct dpc_span message, dpc_error *err)
{
    struct dpc_span name = {message.end, message.end}, raw = name, location = name;
    struct dpc_tensor t = {.rank = 0};
    uint64_t external = 0, offset = 0;
    int typed = 0;
    EACH_FIELD(message)
    {
        struct dpc_span key, value, dims = f.bytes;
        switch (f.number) {
        case 1: /* dims, packed or not */
            do {
                uint64_t size = f.value;
                if (f.wire == 2 && (dims.at == dims.end || !dpc_wire_varint(&dims, &size)))
                    break;
                if (t.rank == 4 || size > INT32_MAX)
                    BAD("a tensor has more than 4 dimensions or more than 2^31 elements");
                t.shape[t.rank++] = (int64_t)size;
            } while (f.wire == 2);
            break;
        case 2: t.type = (int)(f.value & 0xffff); break;
        case 8: name = f.bytes; break;
        case 9: raw = f.bytes; break;
        case 4: case 5: case 7: case 10: typed = 1; break;
        case 13:
            DPC_TRY(read_pair(f.bytes, &key, &value, err));
            if (dpc_span_equals(key, "location"))
                location = value;
            if (dpc_span_equals(key, "offset") && !dpc_span_number(value, &offset))
                BAD("external data at a malformed offset");
            break;
        case 14: external = f.value; break;
        default: break;
        }
    }
    if (element_size((uint64_t)t.type) == 0 || typed)
        return DPC_OK; /* not one of ours: a missing parameter is reported by its name */
    uint64_t bytes = element_size((uint64_t)t.type);
    for (size_t i = 0; i < t.rank; i++)
        if (t.shape[i] > 0 && bytes > INT64_MAX / (uint64_t)t.shape[i])
            BAD("a tensor is too large");
        else
            bytes *= (uint64_t)t.shape[i];
    if (!external && bytes != (uint64_t)(raw.end - raw.at))
        BAD("tensor %.*s has %zu bytes, not %llu", (int)(name.end - name.at < 60 ? name.end - name.at : 60),
            (const char *)name.at, (size_t)(raw.end - raw.at), (unsigned long long)bytes);
    if (file->tensors == MOST_TENSORS)
        BAD("the file has more than %d tensors", MOST_TENSORS);
    if (file->tensors == file->room) {
        const size_t room = file->room * 2 + 64;
        DPC_TRY(grow(&file->tensor, room, sizeof(*file->tensor), err));
        file->room = room;
    }
    t.data = raw.at;
    if (external)
        DPC_TRY(find_external(file, location, offset, bytes, &t.data, err));
    file->tensor[file->tensors++] = (struct named){name, t};
    return DPC_OK;
}

/* The `layout` attribute of a node that is a term of the model. */
static dpc_status read_node(struct file *file, struct dpc_span node, dpc_error *err)
{
    struct dpc_span type = {node.end, node.end}, domain = type, layout = type;
    EACH_FIELD(node)
    {
        if (f.number == 4)
            type = f.bytes;
        if (f.number == 7)
            domain = f.bytes;
        if (f.number == 5) {
            struct dpc_span attribute = f.bytes, name = {node.end, node.end}, text = name;
            for (int found; (found = dpc_wire_next(&attribute, &f)) != 0;) {
                if (found < 0)
                    BAD("the file is damaged or no ONNX model");
                if (f.number == 1)
                    name = f.bytes;
                if (f.number == 4)
                    text = f.bytes;
            }
            if (dpc_span_equals(name, "layout"))
                layout = text;
        }
    }
    if (!dpc_span_equals(domain, "dpc"))
        return DPC_OK;
    if (dpc_span_equals(type, "EnergyForceNet") || dpc_span_equals(type, "AtomicTensorNet"))
        return dpc_fail(err, DPC_UNSUPPORTED, "the model is not compressed: compress it, or run it in onnxruntime");
    if (dpc_span_equals(type, "EnergyForceAttention") || dpc_span_equals(type, "AtomicTensorAttention"))
        return dpc_fail(err, DPC_UNSUPPORTED, "the model has attention layers, which onnxruntime runs and libdpc does not");
    if (!dpc_span_equals(type, "EnergyForce") && !dpc_span_equals(type, "AtomicTensor"))
        return DPC_OK;
    if (file->nodes == MOST_TERMS)
        BAD("the model has more than %d terms", MOST_TERMS);
    DPC_TRY(grow(&file->layout, file->nodes + 1, sizeof(*file->layout), err));
    file->layout[file->nodes] = NULL;
    return dpc_span_copy(layout, &file->layout[file->nodes++], err);
}

static dpc_status read_graph(struct file *file, struct dpc_span graph, dpc_error *err)
{
    EACH_FIELD(graph)
    {
        if (f.number == 1 && f.wire == 2)
            DPC_TRY(read_node(file, f.bytes, err));
        if (f.number == 5 && f.wire == 2)
            DPC_TRY(read_tensor(file, f.bytes, err));
    }
    return DPC_OK;
}

static int compare_names(const void *a, const void *b)
{
    const struct dpc_span x = ((const struct named *)a)->name, y = ((const struct named *)b)->name;
    const size_t n = (size_t)(x.end - x.at), m = (size_t)(y.end - y.at);
    return n != m ? (n > m) - (n < m) : memcmp(x.at, y.at, n);
}

static dpc_status sort_tensors(struct file *file, dpc_error *err)
{
    if (file->tensors > 0)
        qsort(file->tensor, file->tensors, sizeof(*file->tensor), compare_names);
    for (size_t t = 1; t < file->tensors; t++)
        if (compare_names(&file->tensor[t - 1], &file->tensor[t]) == 0)
            BAD("two tensors have the same name");
    return DPC_OK;
}

static dpc_status read_model(struct file *file, struct dpc_span model, dpc_error *err)
{
    EACH_FIELD(model)
    {
        if (f.number == 7 && f.wire == 2)
            DPC_TRY(read_graph(file, f.bytes, err));
        if (f.number == 14 && f.wire == 2) {
            struct dpc_span key, value;
            DPC_TRY(read_pair(f.bytes, &key, &value, err));
            if (dpc_span_equals(key, "compress_onnx.format"))
                DPC_TRY(dpc_span_copy(value, &file->format, err));
            if (dpc_span_equals(key, "compress_onnx.digest"))
                file->digest = value;
            if (dpc_span_equals(key, "compress_onnx.type_map"))
                DPC_TRY(dpc_span_copy(value, &file->type_map, err));
            if (dpc_span_equals(key, "compress_onnx.frequency"))
                DPC_TRY(dpc_span_copy(value, &file->frequency, err));
        }
    }
    DPC_TRY(sort_tensors(file, err));
    if (file->format == NULL)
        BAD("this is no model of compress-onnx");
    if (strcmp(file->format, "1") != 0)
        BAD("the file has format %.20s, this library reads format 1: update it", file->format);
    if (file->nodes == 0 || file->type_map == NULL)
        BAD("the file has no EnergyForce or AtomicTensor node or no type map");
    return DPC_OK;
}

/* The tensors that layout k names, in its order; missing ones have no data. */
static dpc_status find_tensors(const struct file *file, size_t k, struct dpc_node *node, dpc_error *err)
{
    struct dpc_strings name = {0, NULL};
    struct dpc_tensor *tensor = NULL;
    dpc_status status = dpc_json_strings(file->layout[k], "parameters", &name, err);
    if (status == DPC_OK && name.count > MOST_TENSORS)
        status = dpc_fail(err, DPC_FORMAT, "a node has more than %d parameters", MOST_TENSORS);
    if (status == DPC_OK)
        status = dpc_alloc(name.count, sizeof(*tensor), &tensor, err);
    for (size_t i = 0; status == DPC_OK && i < name.count; i++) {
        char whole[128];
        if (k == 0)
            snprintf(whole, sizeof(whole), "%s", name.item[i]);
        else
            snprintf(whole, sizeof(whole), "%zu/%s", k, name.item[i]);
        const unsigned char *text = (const unsigned char *)whole;
        const struct named key = {.name = {text, text + strlen(whole)}};
        const size_t n = file->tensors;
        const struct named *found = n > 0 ? bsearch(&key, file->tensor, n, sizeof(key), compare_names) : NULL;
        if (found != NULL)
            tensor[i] = found->tensor;
    }
    *node = (struct dpc_node){file->layout[k], name.count, tensor};
    dpc_strings_free(&name);
    return status;
}

static dpc_status create(const struct file *file, dpc_model **model, dpc_error *err)
{
    struct dpc_strings types = {0, NULL};
    struct dpc_node *node;
    DPC_TRY(dpc_alloc(file->nodes, sizeof(*node), &node, err));
    dpc_status status = DPC_OK;
    for (size_t k = 0; status == DPC_OK && k < file->nodes; k++)
        status = find_tensors(file, k, &node[k], err);
    if (status == DPC_OK)
        status = dpc_model_create(file->nodes, node, model, err);
    if (status == DPC_OK)
        status = dpc_json_strings(file->type_map, NULL, &types, err);
    if (status == DPC_OK)
        status = dpc_model_name_types(*model, types.count, (const char *const *)types.item, err);
    dpc_strings_free(&types);
    for (size_t k = 0; k < file->nodes; k++)
        free((void *)node[k].tensor);
    free(node);
    return status;
}

/* Whether all files are as they were written. */
static dpc_status verify(const struct file *file, dpc_error *err)
{
    char *entry = NULL;
    if (file->digest.at == file->digest.end)
        BAD("the file is damaged or was changed by another program: its digest is gone");
    DPC_TRY(dpc_span_copy(file->digest, &entry, err));
    const size_t at = (size_t)(file->digest.at - (const unsigned char *)file->bytes[0].data);
    dpc_status status = dpc_digest_check_model(&file->bytes[0], at, entry, err);
    for (size_t i = 1; status == DPC_OK && i < file->files; i++) {
        char name[256];
        const struct dpc_span *location = &file->location[i];
        snprintf(name, sizeof(name), "%.*s", (int)(location->end - location->at), (const char *)location->at);
        status = dpc_digest_check_external(&file->bytes[i], name, entry, err);
    }
    free(entry);
    return status;
}

/* The model of file->bytes[0], which it keeps, with all external data. */
static dpc_status load(struct file *file, int checked, dpc_model **model, dpc_error *err)
{
    const unsigned char *bytes = file->bytes[0].data;
    dpc_status status = read_model(file, (struct dpc_span){bytes, bytes + file->bytes[0].size}, err);
    if (status == DPC_OK && checked)
        status = verify(file, err);
    if (status == DPC_OK)
        status = create(file, model, err);
    if (status == DPC_OK) {
        (*model)->bytes = file->bytes;
        (*model)->files = file->files;
        (*model)->frequency = file->frequency != NULL ? strtoll(file->frequency, NULL, 10) : -1;
    } else {
        dpc_model_free(*model);
        *model = NULL;
        for (size_t i = 0; i < file->files; i++)
            dpc_bytes_release(&file->bytes[i]);
        free(file->bytes);
    }
    for (size_t k = 0; k < file->nodes; k++)
        free(file->layout[k]);
    free(file->layout);
    free(file->location);
    free(file->tensor);
    free(file->type_map);
    free(file->format);
    free(file->frequency);
    return status;
}

/* Room for the model's own bytes. */
static dpc_status start(struct file *file, dpc_error *err)
{
    DPC_TRY(dpc_alloc(1, sizeof(*file->bytes), &file->bytes, err));
    const dpc_status status = dpc_alloc(1, sizeof(*file->location), &file->location, err);
    if (status != DPC_OK)
        free(file->bytes);
    file->files = 1;
    return status;
}

static void stop(struct file *file)
{
    free(file->bytes);
    free(file->location);
}

dpc_status dpc_model_load_memory(const void *memory, size_t size, const char *folder, int checked, dpc_model **model,
                                 dpc_error *err)
{
    DPC_REQUIRE(model != NULL, "model must not be NULL");
    *model = NULL;
    DPC_REQUIRE(memory != NULL, "memory must not be NULL");
    struct file file = {.folder = folder};
    DPC_TRY(start(&file, err));
    const dpc_status status = dpc_bytes_copy(&file.bytes[0], memory, size, err);
    if (status != DPC_OK) {
        stop(&file);
        return status;
    }
    return load(&file, checked, model, err);
}

dpc_status dpc_model_load(const char *path, dpc_model **model, dpc_error *err)
{
    DPC_REQUIRE(model != NULL, "model must not be NULL");
    *model = NULL;
    DPC_REQUIRE(path != NULL, "path must not be NULL");
    const char *slash = strrchr(path, '/');
    char folder[4096] = ".";
    if (slash != NULL && snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path) + 1, path) >= (int)sizeof(folder))
        return dpc_fail(err, DPC_IO, "the path is too long");
    struct file file = {.folder = folder};
    DPC_TRY(start(&file, err));
    dpc_status status = dpc_bytes_open(&file.bytes[0], path, "", err);
    if (status != DPC_OK) {
        stop(&file);
        return status;
    }
    dpc_error inner;
    status = load(&file, 1, model, &inner);
    if (status != DPC_OK)
        return dpc_fail(err, status, "%.100s: %.148s", path, inner.message);
    return DPC_OK;
}
