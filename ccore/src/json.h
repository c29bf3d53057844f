/* json.h - the little JSON that a model file's attributes are written in */
#ifndef DPC_JSON_H
#define DPC_JSON_H

#include "common.h"

struct dpc_strings {
    size_t count;
    char **item; /* UTF-8 */
};

/* The list of strings that `text` is, or that is member `key` of the object that it is; a
 * member that is one string gives a list of one. DPC_FORMAT where there is none. */
dpc_status dpc_json_strings(const char *text, const char *key, struct dpc_strings *strings, dpc_error *err);
/* Where the value of member `key` of the object that `text` is begins, or NULL. */
const char *dpc_json_member(const char *text, const char *key);
void dpc_strings_free(struct dpc_strings *strings);

#endif
