/* digest.c - whether a model file and its external data are, to the bit, as they were written */
#include "digest.h"
#include "json.h"
#include "sha256.h"

#include <string.h>

/* The digits that member `key` of the object `text` holds. */
static dpc_status read_digits(const char *text, const char *key, char digits[DPC_SHA256_HEX + 1], dpc_error *err)
{
    struct dpc_strings found = {0, NULL};
    dpc_status status = text != NULL ? dpc_json_strings(text, key, &found, err) : DPC_FORMAT;
    if (status == DPC_OK && found.count == 1 && strlen(found.item[0]) == DPC_SHA256_HEX)
        memcpy(digits, found.item[0], DPC_SHA256_HEX + 1);
    else if (status != DPC_NO_MEMORY)
        status = dpc_fail(err, DPC_FORMAT, "the digest of %.100s is missing: the file is damaged", key);
    dpc_strings_free(&found);
    return status;
}

dpc_status dpc_digest_check_model(const struct dpc_bytes *model, size_t at, const char *entry, dpc_error *err)
{
    static const char blank[DPC_SHA256_HEX + 1] = "0000000000000000000000000000000000000000000000000000000000000000";
    char expected[DPC_SHA256_HEX + 1], found[DPC_SHA256_HEX + 1];
    DPC_TRY(read_digits(entry, "model", expected, err));
    const char *place = strstr(entry, expected); /* not there if it was written with escapes */
    const size_t before = at + (place != NULL ? (size_t)(place - entry) : 0), after = before + DPC_SHA256_HEX;
    struct dpc_sha256 sum;
    dpc_sha256_begin(&sum);
    dpc_sha256_add(&sum, model->data, before);
    dpc_sha256_add(&sum, blank, DPC_SHA256_HEX); /* in place of itself */
    dpc_sha256_add(&sum, (const char *)model->data + after, model->size - after);
    dpc_sha256_end(&sum, found);
    if (place == NULL || strcmp(found, expected) != 0)
        return dpc_fail(err, DPC_FORMAT, "the file is damaged: its SHA-256 is not the one in it");
    return DPC_OK;
}

dpc_status dpc_digest_check_external(const struct dpc_bytes *data, const char *name, const char *entry, dpc_error *err)
{
    char expected[DPC_SHA256_HEX + 1], found[DPC_SHA256_HEX + 1];
    DPC_TRY(read_digits(dpc_json_member(entry, "files"), name, expected, err));
    struct dpc_sha256 sum;
    dpc_sha256_begin(&sum);
    dpc_sha256_add(&sum, data->data, data->size);
    dpc_sha256_end(&sum, found);
    if (strcmp(found, expected) != 0)
        return dpc_fail(err, DPC_FORMAT, "the external data %.100s is damaged or of another model", name);
    return DPC_OK;
}
