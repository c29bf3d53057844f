/* wire.c - protobuf as it is on the wire: the fields of a message one by one, with every bound checked */
#include "wire.h"

#include <stdlib.h>
#include <string.h>

int dpc_wire_varint(struct dpc_span *s, uint64_t *value)
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

int dpc_wire_next(struct dpc_span *s, struct dpc_field *f)
{
    uint64_t key;
    if (s->at == s->end)
        return 0;
    if (!dpc_wire_varint(s, &key) || key >> 3 == 0 || key >> 3 > 0x1fffffff)
        return -1;
    f->number = (uint32_t)(key >> 3);
    f->wire = (int)(key & 7);
    f->value = 0;
    f->bytes = (struct dpc_span){s->at, s->at};
    uint64_t length = f->wire == 1 ? 8 : 4;
    if (f->wire == 0)
        return dpc_wire_varint(s, &f->value) ? 1 : -1;
    if (f->wire != 1 && f->wire != 2 && f->wire != 5)
        return -1;
    if (f->wire == 2 && !dpc_wire_varint(s, &length))
        return -1;
    if (length > (uint64_t)(s->end - s->at))
        return -1;
    f->bytes = (struct dpc_span){s->at, s->at + length};
    s->at += length;
    return 1;
}

int dpc_span_equals(struct dpc_span s, const char *text)
{
    const size_t n = strlen(text);
    return (size_t)(s.end - s.at) == n && memcmp(s.at, text, n) == 0;
}

int dpc_span_number(struct dpc_span s, uint64_t *value)
{
    *value = 0;
    for (; s.at < s.end; s.at++) {
        if (*s.at < '0' || *s.at > '9' || *value > UINT64_MAX / 10 - 1)
            return 0;
        *value = *value * 10 + (uint64_t)(*s.at - '0');
    }
    return 1;
}

dpc_status dpc_span_copy(struct dpc_span s, char **text, dpc_error *err)
{
    const size_t n = (size_t)(s.end - s.at);
    free(*text);
    *text = NULL;
    DPC_TRY(dpc_alloc(n + 1, 1, text, err));
    memcpy(*text, s.at, n);
    return DPC_OK;
}
