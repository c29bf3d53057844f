/* wire.h - protobuf as it is on the wire: the fields of a message one by one, with every bound checked */
#ifndef DPC_WIRE_H
#define DPC_WIRE_H

#include "common.h"

struct dpc_span {
    const unsigned char *at, *end;
};

/* One field of a message: its number, and a varint or the bytes of a length-delimited one. */
struct dpc_field {
    uint32_t number;
    int wire;
    uint64_t value;
    struct dpc_span bytes;
};

/* The number at the span's begin, which it then leaves behind; 0 if there is no whole one. */
int dpc_wire_varint(struct dpc_span *s, uint64_t *value);
/* The next field: 1, 0 at the end, -1 if there is no valid one. */
int dpc_wire_next(struct dpc_span *message, struct dpc_field *f);

int dpc_span_equals(struct dpc_span s, const char *text);
/* Digits as a number; 0 if they are none, or too many. */
int dpc_span_number(struct dpc_span s, uint64_t *value);
/* In place of *text, which is freed. */
dpc_status dpc_span_copy(struct dpc_span s, char **text, dpc_error *err);

#endif
