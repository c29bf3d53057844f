/* device.c - finds libdpc_cuda when a device is asked for, and puts a model there */
#define _GNU_SOURCE /* dladdr */
#include "device.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static const char LIBRARY[] = "libdpc_cuda.so";

/* The number of "cuda:N", 0 of "cuda", or -1. */
static int number_of(const char *name)
{
    char *end;
    if (strncmp(name, "cuda", 4) != 0 || (name[4] != ':' && name[4] != '\0'))
        return -1;
    if (name[4] == '\0')
        return 0;
    const long number = name[5] >= '0' && name[5] <= '9' ? strtol(name + 5, &end, 10) : -1;
    return number >= 0 && number < 1024 && *end == '\0' ? (int)number : -1;
}

/* `file` in a folder under the one that this code was loaded from. */
static void *open_beside(const char *folder, char *path, size_t size)
{
    Dl_info here;
    const char *slash;
    if (dladdr(LIBRARY, &here) == 0 || here.dli_fname == NULL || (slash = strrchr(here.dli_fname, '/')) == NULL)
        return NULL;
    const int length = snprintf(path, size, "%.*s/%s%s", (int)(slash - here.dli_fname), here.dli_fname, folder, LIBRARY);
    return length > 0 && (size_t)length < size ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
}

/* It is never closed: a CUDA runtime does not like to be, and the next workspace wants it again. */
dpc_status dpc_device_find(const struct dpc_device_library **library, dpc_error *err)
{
    const char *named = getenv("DPC_CUDA_LIBRARY");
    char path[4096];
    void *handle = NULL;
    if (named != NULL && named[0] != '\0') {
        handle = dlopen(named, RTLD_NOW | RTLD_LOCAL);
        if (handle == NULL)
            return dpc_fail(err, DPC_UNSUPPORTED, "DPC_CUDA_LIBRARY cannot be loaded: %.180s", dlerror());
    }
    if (handle == NULL)
        handle = open_beside("", path, sizeof(path));
    if (handle == NULL)
        handle = open_beside("lib/", path, sizeof(path)); /* of the Python package */
    if (handle == NULL)
        handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL)
        return dpc_fail(err, DPC_UNSUPPORTED,
                        "no libdpc_cuda was found (%.80s): build compress_onnx with COMPRESS_ONNX_CUDA=on, or name the "
                        "file by DPC_CUDA_LIBRARY", dlerror());
    const struct dpc_device_library *(*get)(void);
    void *symbol = dlsym(handle, "dpc_cuda_library");
    memcpy(&get, &symbol, sizeof(get));
    *library = symbol != NULL ? get() : NULL;
    if (*library == NULL || (*library)->layout != dpc_device_layout())
        return dpc_fail(err, DPC_UNSUPPORTED, "libdpc_cuda is of another version than this program: install both anew");
    return DPC_OK;
}

int dpc_devices(void)
{
    const struct dpc_device_library *library;
    return dpc_device_find(&library, NULL) == DPC_OK ? library->tools->devices() : 0;
}

dpc_status dpc_device_open(const dpc_model *model, const char *name, struct dpc_place *place, dpc_error *err)
{
    static const struct dpc_core core = {dpc_model_pack, dpc_shapes};
    const int number = number_of(name);
    if (strcmp(name, "cpu") == 0)
        return DPC_OK;
    DPC_REQUIRE(number >= 0, "a device is cpu or cuda:NUMBER, not %.100s", name);
    const struct dpc_device_library *library;
    DPC_TRY(dpc_device_find(&library, err));
    DPC_TRY(library->create(model, &core, number, &place->device, err));
    place->library = library;
    return DPC_OK;
}
