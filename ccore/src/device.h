/* device.h - a model on a GPU: what libdpc_cuda does for the core that has loaded it, and that for the library
 *
 * The core keeps the model, checks what it is given and packs what is needed; the library copies what is packed to its
 * device and evaluates it there. Both read model.h's structures, so that they must be of one build.
 */
#ifndef DPC_DEVICE_H
#define DPC_DEVICE_H

#include "model.h"

struct dpc_device; /* a model on a device, with memory for one evaluation at a time */
struct dpc_cuda_list;

/* What the library needs of the core. */
struct dpc_core {
    dpc_status (*pack)(const dpc_model *model, const unsigned char *present, dpc_error *err);
    const struct dpc_shape *shapes; /* of heads */
};

/* For engines that hold arrays of the device, but have no CUDA runtime of their own (cuda/tools.cu). */
struct dpc_device_tools {
    int (*devices)(void); /* how many there are */
    int (*current)(void); /* the calling thread's */
    /* From or to anywhere, when the stream gets there; from NULL: zeros. */
    dpc_status (*copy)(void *to, const void *from, size_t bytes, void *stream, dpc_error *err);
    dpc_status (*wait)(void *stream, dpc_error *err);
    /* dpc_cuda.h's */
    dpc_status (*list_create)(struct dpc_cuda_list **list, dpc_error *err);
    void (*list_free)(struct dpc_cuda_list *list);
    dpc_status (*list_build)(struct dpc_cuda_list *list, size_t atoms, const double *position, const double *cell,
                             double cutoff, void *stream, dpc_error *err);
    void (*list_view)(const struct dpc_cuda_list *list, dpc_neighbours *view);
    dpc_status (*quintic_eval)(const dpc_quintic *table, size_t n, const void *x, void *value, void *slope,
                               void *stream, dpc_error *err);
};
extern const struct dpc_device_tools dpc_cuda_tools; /* the library's own */

struct dpc_device_library {
    size_t layout; /* dpc_device_layout() where it was compiled */
    dpc_status (*create)(const dpc_model *model, const struct dpc_core *core, int number, struct dpc_device **device,
                         dpc_error *err);
    void (*free)(struct dpc_device *device);
    /* Arrays on the host, all checked, of types `present` [types] that are packed; waits for the results. coincide:
     * two atoms in one place, or -1. */
    dpc_status (*compute)(struct dpc_device *device, const unsigned char *present, const dpc_atoms *atoms,
                          const dpc_neighbours *neighbours, const dpc_result *result, int64_t coincide[2],
                          dpc_error *err);
    /* dpc_cuda_compute and dpc_cuda_check (cuda/dpc_cuda.h) */
    dpc_status (*enqueue)(struct dpc_device *device, const dpc_atoms *atoms, const dpc_neighbours *neighbours,
                          const dpc_result *result, void *stream, dpc_error *err);
    dpc_status (*check)(struct dpc_device *device, dpc_error *err);
    const struct dpc_device_tools *tools;
};

/* What every dpc_workspace begins with. */
struct dpc_place {
    const dpc_model *model;
    struct dpc_device *device; /* NULL: it evaluates here */
    const struct dpc_device_library *library;
};

/* The same number for two builds whose structures are the same. */
static inline size_t dpc_device_layout(void)
{
    const size_t size[] = {sizeof(struct dpc_model), sizeof(struct dpc_term), sizeof(struct dpc_member),
                           sizeof(struct dpc_view), sizeof(struct dpc_channels), sizeof(struct dpc_table),
                           sizeof(struct dpc_net), sizeof(struct dpc_packed_layer), sizeof(struct dpc_fitting),
                           sizeof(struct dpc_pair), sizeof(dpc_atoms), sizeof(dpc_neighbours), sizeof(dpc_result),
                           sizeof(struct dpc_core), sizeof(struct dpc_device_library),
                           sizeof(struct dpc_device_tools)};
    size_t layout = DPC_VERSION;
    for (size_t i = 0; i < sizeof(size) / sizeof(*size); i++)
        layout = layout * 31 + size[i];
    return layout;
}

/* That no two atoms are in one place: a pair of them, or -1, of `given` atoms before virtual ones. */
static inline dpc_status dpc_check_apart(const int64_t pair[2], size_t given, dpc_error *err)
{
    DPC_REQUIRE(pair[0] < 0 || pair[1] < (int64_t)given,
                "atom %lld and the virtual atom of atom %lld are in the same place", (long long)pair[0],
                (long long)(pair[1] - (int64_t)given));
    DPC_REQUIRE(pair[0] < 0, "atoms %lld and %lld are in the same place", (long long)pair[0], (long long)pair[1]);
    return DPC_OK;
}

/* Loads libdpc_cuda, or says why it cannot. */
dpc_status dpc_device_find(const struct dpc_device_library **library, dpc_error *err);

/* Puts the model on the device that `name` names; "cpu" leaves `place` as it is. */
dpc_status dpc_device_open(const dpc_model *model, const char *name, struct dpc_place *place, dpc_error *err);

#endif
