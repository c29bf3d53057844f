/* onnx.c - find a model's parameters in an .onnx file: protobuf read with every bound checked */
#define _POSIX_C_SOURCE 200809L /* fseeko */
#define _FILE_OFFSET_BITS 64
#include "json.h"
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct span {
    const unsigned char *at, *end;
};

/* One field of a message: its number, and a varint or the bytes of a length-delimited one. */
struct field {
    uint32_t number;
    int wire;
    uint64_t value;
    struct span bytes;
};

static int varint(struct span *s, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && s->at < s->end; shift += 7) {
        const unsigned char byte = *s->at++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return 1;
    }
    return 0;
}

/* The next field: 1, 0 at the end, -1 if there is no valid one. */
static int next(struct span *s, struct field *f)
{
    uint64_t key;
    if (s->at == s->end)
        return 0;
    if (!varint(s, &key) || key >> 3 == 0 || key >> 3 > 0x1fffffff)
        return -1;
    f->number = (uint32_t)(key >> 3);
    f->wire = (int)(key & 7);
    f->value = 0;
    f->bytes = (struct span){s->at, s->at};
    uint64_t length = f->wire == 1 ? 8 : 4;
    if (f->wire == 0)
        return varint(s, &f->value) ? 1 : -1;
    if (f->wire != 1 && f->wire != 2 && f->wire != 5)
        return -1;
    if (f->wire == 2 && !varint(s, &length))
        return -1;
    if (length > (uint64_t)(s->end - s->at))
        return -1;
    f->bytes = (struct span){s->at, s->at + length};
    s->at += length;
    return 1;
}

static int equals(struct span s, const char *text)
{
    const size_t n = strlen(text);
    return (size_t)(s.end - s.at) == n && memcmp(s.at, text, n) == 0;
}

static dpc_status copy_text(struct span s, char **text, dpc_error *err)
{
    const size_t n = (size_t)(s.end - s.at);
    free(*text);
    *text = NULL;
    DPC_TRY(dpc_alloc(n + 1, 1, text, err));
    memcpy(*text, s.at, n);
    return DPC_OK;
}

/* What is read of the file. */
struct file {
    const char *folder;
    char *layout, *type_map, *format;
    size_t tensors, room;
    struct span *name;         /* [tensors] */
    struct dpc_tensor *tensor; /* [tensors], data owned */
};

#define BAD(...) return dpc_fail(err, DPC_FORMAT, __VA_ARGS__)

/* Walk a message's fields; `f` is the field at hand. */
#define EACH_FIELD(message)                            \
    struct field f;                                    \
    for (int more; (more = next(&(message), &f)) != 0;) \
        if (more < 0)                                  \
            BAD("the file is damaged or no ONNX model"); \
        else

static dpc_status read_pair(struct span entry, struct span *key, struct span *value, dpc_error *err)
{
    *key = *value = (struct span){entry.end, entry.end};
    EACH_FIELD(entry)
    {
        if (f.number == 1 && f.wire == 2)
            *key = f.bytes;
        if (f.number == 2 && f.wire == 2)
            *value = f.bytes;
    }
    return DPC_OK;
}

static int number(struct span s, uint64_t *value)
{
    *value = 0;
    for (; s.at < s.end; s.at++) {
        if (*s.at < '0' || *s.at > '9' || *value > UINT64_MAX / 10 - 1)
            return 0;
        *value = *value * 10 + (uint64_t)(*s.at - '0');
    }
    return 1;
}

/* External data: `location` beside the model, from `offset` on. Its file is known to be long
 * enough before memory is asked for. */
static dpc_status read_external(const struct file *file, struct span location, uint64_t offset, uint64_t bytes,
                                void **data, dpc_error *err)
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
    FILE *stream = fopen(path, "rb");
    if (stream == NULL)
        return dpc_fail(err, DPC_IO, "cannot open the external data %.180s", path);
    const off_t length = fseeko(stream, 0, SEEK_END) == 0 ? ftello(stream) : -1;
    dpc_status status = DPC_OK;
    if (length < 0 || offset > (uint64_t)length || bytes > (uint64_t)length - offset)
        status = dpc_fail(err, DPC_FORMAT, "the external data %.180s is too short", path);
    if (status == DPC_OK)
        status = dpc_alloc((size_t)bytes, 1, data, err);
    if (status == DPC_OK && (fseeko(stream, (off_t)offset, SEEK_SET) != 0 ||
                             fread(*data, 1, (size_t)bytes, stream) != (size_t)bytes)) {
        free(*data);
        status = dpc_fail(err, DPC_IO, "cannot read the external data %.180s", path);
    }
    fclose(stream);
    return status;
}

static size_t element_size(uint64_t type)
{
    switch (type) {
    case 1: case 6: return 4;
    case 7: case 11: return 8;
    default: return 0;
    }
}

static dpc_status read_tensor(struct file *file, struct span message, dpc_error *err)
{
    struct span name = {message.end, message.end}, raw = name, location = name;
    struct dpc_tensor t = {.rank = 0};
    uint64_t external = 0, offset = 0;
    int typed = 0;
    EACH_FIELD(message)
    {
        struct span key, value, dims = f.bytes;
        switch (f.number) {
        case 1: /* dims, packed or not */
            do {
                uint64_t size = f.value;
                if (f.wire == 2 && (dims.at == dims.end || !varint(&dims, &size)))
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
            if (equals(key, "location"))
                location = value;
            if (equals(key, "offset") && !number(value, &offset))
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
    if (file->tensors == file->room) {
        const size_t room = file->room * 2 + 64;
        void *names = realloc(file->name, room * sizeof(*file->name));
        if (names != NULL)
            file->name = names;
        void *tensors = realloc(file->tensor, room * sizeof(*file->tensor));
        if (tensors != NULL)
            file->tensor = tensors;
        if (names == NULL || tensors == NULL)
            return dpc_fail(err, DPC_NO_MEMORY, "out of memory");
        file->room = room;
    }
    void *data;
    if (external) {
        DPC_TRY(read_external(file, location, offset, bytes, &data, err));
    } else {
        DPC_TRY(dpc_alloc((size_t)bytes, 1, &data, err));
        if (bytes > 0)
            memcpy(data, raw.at, (size_t)bytes);
    }
    t.data = data;
    file->name[file->tensors] = name;
    file->tensor[file->tensors++] = t;
    return DPC_OK;
}

/* The `layout` attribute of an EnergyForce node. */
static dpc_status read_node(struct file *file, struct span node, dpc_error *err)
{
    struct span type = {node.end, node.end}, domain = type, layout = type;
    EACH_FIELD(node)
    {
        if (f.number == 4)
            type = f.bytes;
        if (f.number == 7)
            domain = f.bytes;
        if (f.number == 5) {
            struct span attribute = f.bytes, name = {node.end, node.end}, text = name;
            for (int found; (found = next(&attribute, &f)) != 0;) {
                if (found < 0)
                    BAD("the file is damaged or no ONNX model");
                if (f.number == 1)
                    name = f.bytes;
                if (f.number == 4)
                    text = f.bytes;
            }
            if (equals(name, "layout"))
                layout = text;
        }
    }
    if (equals(domain, "dpc") && equals(type, "EnergyForceNet"))
        return dpc_fail(err, DPC_UNSUPPORTED, "the model is not compressed: compress it, or run it in onnxruntime");
    if (equals(domain, "dpc") && equals(type, "EnergyForce"))
        return copy_text(layout, &file->layout, err);
    return DPC_OK;
}

static dpc_status read_graph(struct file *file, struct span graph, dpc_error *err)
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

static dpc_status read_model(struct file *file, struct span model, dpc_error *err)
{
    EACH_FIELD(model)
    {
        if (f.number == 7 && f.wire == 2)
            DPC_TRY(read_graph(file, f.bytes, err));
        if (f.number == 14 && f.wire == 2) {
            struct span key, value;
            DPC_TRY(read_pair(f.bytes, &key, &value, err));
            if (equals(key, "compress_onnx.format"))
                DPC_TRY(copy_text(value, &file->format, err));
            if (equals(key, "compress_onnx.type_map"))
                DPC_TRY(copy_text(value, &file->type_map, err));
        }
    }
    if (file->format == NULL)
        BAD("this is no model of compress-onnx");
    if (strcmp(file->format, "1") != 0)
        BAD("the file has format %.20s, this library reads format 1: update it", file->format);
    if (file->layout == NULL || file->type_map == NULL)
        BAD("the file has no EnergyForce node or no type map");
    return DPC_OK;
}

/* The tensors that the layout names, in its order; missing ones have no data. */
static dpc_status create(const struct file *file, dpc_model **model, dpc_error *err)
{
    struct dpc_strings name = {0, NULL}, types = {0, NULL};
    struct dpc_tensor *tensor = NULL;
    dpc_status status = dpc_json_strings(file->layout, "parameters", &name, err);
    if (status == DPC_OK)
        status = dpc_alloc(name.count, sizeof(*tensor), &tensor, err);
    for (size_t i = 0; status == DPC_OK && i < name.count; i++)
        for (size_t k = 0; k < file->tensors; k++)
            if (equals(file->name[k], name.item[i]))
                tensor[i] = file->tensor[k];
    if (status == DPC_OK)
        status = dpc_model_create(file->layout, name.count, tensor, model, err);
    if (status == DPC_OK)
        status = dpc_json_strings(file->type_map, NULL, &types, err);
    if (status == DPC_OK)
        status = dpc_model_name_types(*model, types.count, (const char *const *)types.item, err);
    dpc_strings_free(&name);
    dpc_strings_free(&types);
    free(tensor);
    return status;
}

dpc_status dpc_model_load_memory(const void *memory, size_t size, const char *folder, dpc_model **model,
                                 dpc_error *err)
{
    DPC_REQUIRE(model != NULL, "model must not be NULL");
    *model = NULL;
    DPC_REQUIRE(memory != NULL, "memory must not be NULL");
    struct file file = {.folder = folder};
    const unsigned char *bytes = memory;
    dpc_status status = read_model(&file, (struct span){bytes, bytes + size}, err);
    if (status == DPC_OK)
        status = create(&file, model, err);
    if (status != DPC_OK) {
        dpc_model_free(*model);
        *model = NULL;
    }
    for (size_t i = 0; i < file.tensors; i++)
        free((void *)file.tensor[i].data);
    free(file.tensor);
    free(file.name);
    free(file.layout);
    free(file.type_map);
    free(file.format);
    return status;
}

static dpc_status read_all(const char *path, void **data, size_t *size, dpc_error *err)
{
    FILE *stream = fopen(path, "rb");
    if (stream == NULL)
        return dpc_fail(err, DPC_IO, "cannot open %.200s", path);
    dpc_status status = DPC_OK;
    off_t length = -1;
    if (fseeko(stream, 0, SEEK_END) != 0 || (length = ftello(stream)) < 0 || fseeko(stream, 0, SEEK_SET) != 0 ||
        length > INT64_MAX / 2)
        status = dpc_fail(err, DPC_IO, "cannot read %.200s", path);
    if (status == DPC_OK)
        status = dpc_alloc((size_t)length, 1, data, err);
    if (status == DPC_OK && fread(*data, 1, (size_t)length, stream) != (size_t)length) {
        free(*data);
        status = dpc_fail(err, DPC_IO, "cannot read %.200s", path);
    }
    *size = (size_t)length;
    fclose(stream);
    return status;
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
    void *data = NULL;
    size_t size = 0;
    DPC_TRY(read_all(path, &data, &size, err));
    dpc_error inner;
    dpc_status status = dpc_model_load_memory(data, size, folder, model, &inner);
    free(data);
    if (status != DPC_OK)
        return dpc_fail(err, status, "%.100s: %.148s", path, inner.message);
    return DPC_OK;
}
