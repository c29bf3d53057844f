/* json.c - read lists of strings out of JSON text; everything else is skipped, nothing is trusted */
#include "json.h"

#include <stdlib.h>
#include <string.h>

enum { DEPTH = 32 };

static const char *space(const char *p)
{
    while (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r')
        p++;
    return p;
}

static int hex4(const char *p, unsigned *code)
{
    *code = 0;
    for (int i = 0; i < 4; i++) {
        const char c = p[i];
        const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0)
            return 0;
        *code = *code * 16 + (unsigned)digit;
    }
    return 1;
}

static char *utf8(char *out, unsigned code)
{
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xc0 | code >> 6);
        *out++ = (char)(0x80 | (code & 0x3f));
    } else {
        *out++ = (char)(0xe0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    }
    return out;
}

/* A string at p: past its end, or NULL; `out`, if not NULL, has room for as many bytes. */
static const char *string(const char *p, char *out)
{
    static const char plain[] = "\"\\/bfnrt", meaning[] = "\"\\/\b\f\n\r\t";
    if (*p++ != '"')
        return NULL;
    for (; *p != '"'; p++) {
        char piece[4], *end = piece;
        if ((unsigned char)*p < 0x20)
            return NULL;
        if (*p != '\\') {
            *end++ = *p;
        } else if (*++p == 'u') {
            unsigned code;
            if (!hex4(p + 1, &code))
                return NULL;
            end = utf8(piece, code);
            p += 4;
        } else {
            const char *which = *p != '\0' ? strchr(plain, *p) : NULL;
            if (which == NULL)
                return NULL;
            *end++ = meaning[which - plain];
        }
        if (out != NULL) {
            memcpy(out, piece, (size_t)(end - piece));
            out += end - piece;
        }
    }
    if (out != NULL)
        *out = '\0';
    return p + 1;
}

/* Past any value at p, or NULL. */
static const char *skip(const char *p, int depth)
{
    p = space(p);
    if (*p == '"')
        return string(p, NULL);
    if (*p == '[' || *p == '{') {
        const char open = *p, close = open == '[' ? ']' : '}';
        if (depth >= DEPTH)
            return NULL;
        p = space(p + 1);
        if (*p == close)
            return p + 1;
        for (;;) {
            if (open == '{') {
                p = string(p, NULL);
                if (p == NULL || *(p = space(p)) != ':')
                    return NULL;
                p++;
            }
            p = skip(p, depth + 1);
            if (p == NULL)
                return NULL;
            p = space(p);
            if (*p == close)
                return p + 1;
            if (*p++ != ',')
                return NULL;
            p = space(p);
        }
    }
    const size_t n = strspn(p, "+-.0123456789aeflnrstuE");
    return n > 0 ? p + n : NULL;
}

const char *dpc_json_member(const char *p, const char *key)
{
    p = space(p);
    if (*p++ != '{')
        return NULL;
    for (;;) {
        p = space(p);
        const char *end = string(p, NULL);
        if (end == NULL)
            return NULL;
        const int found = (size_t)(end - p) == strlen(key) + 2 && memcmp(p + 1, key, strlen(key)) == 0;
        p = space(end);
        if (*p++ != ':')
            return NULL;
        if (found)
            return space(p);
        p = skip(p, 0);
        if (p == NULL)
            return NULL;
        p = space(p);
        if (*p++ != ',')
            return NULL;
    }
}

static dpc_status add(struct dpc_strings *s, const char *p, const char *end, dpc_error *err)
{
    char **grown = realloc(s->item, (s->count + 1) * sizeof(*grown));
    if (grown == NULL)
        return dpc_fail(err, DPC_NO_MEMORY, "out of memory");
    s->item = grown;
    DPC_TRY(dpc_alloc((size_t)(end - p), 1, &s->item[s->count], err));
    string(p, s->item[s->count++]);
    return DPC_OK;
}

dpc_status dpc_json_strings(const char *text, const char *key, struct dpc_strings *strings, dpc_error *err)
{
    const char *name = key != NULL ? key : "the list", *p = key != NULL ? dpc_json_member(text, key) : space(text), *end;
    *strings = (struct dpc_strings){0, NULL};
    if (p != NULL && *p == '"' && (end = string(p, NULL)) != NULL)
        return add(strings, p, end, err);
    if (p == NULL || *p != '[')
        return dpc_fail(err, DPC_FORMAT, "%s is missing or no list of strings", name);
    p = space(p + 1);
    while (*p != ']') {
        end = string(p, NULL);
        if (end == NULL)
            return dpc_fail(err, DPC_FORMAT, "%s is no list of strings", name);
        DPC_TRY(add(strings, p, end, err));
        p = space(end);
        if (*p == ',')
            p = space(p + 1);
        else if (*p != ']')
            return dpc_fail(err, DPC_FORMAT, "%s is no list of strings", name);
    }
    return DPC_OK;
}

void dpc_strings_free(struct dpc_strings *strings)
{
    for (size_t i = 0; i < strings->count; i++)
        free(strings->item[i]);
    free(strings->item);
    *strings = (struct dpc_strings){0, NULL};
}
