/* plugin.cpp - what LAMMPS calls when it loads dpcplugin.so */
#include "pair_dpc.h"

#include "force.h"

#include <cstdio>

using namespace LAMMPS_NS;

/* lammpsplugin.h does not come with installed LAMMPS: its interface, as far as it is used here */
struct Plugin {
    const char *version, *style, *name, *info, *author;
    union {
        Pair *(*pair)(LAMMPS *);
        void *other;
    } creator;
    void *handle;
};
using Register = void (*)(Plugin *, void *);

static Pair *create_pair(LAMMPS *lmp)
{
    return new PairDpc(lmp);
}

extern "C" __attribute__((visibility("default"))) void lammpsplugin_init(void *instance, void *handle, void *add)
{
    auto *lmp = static_cast<LAMMPS *>(instance);
    if (lmp->num_ver != DPC_LAMMPS_VERSION) {
        /* the layout of its classes is another one, so none of their functions may be called here */
        std::fprintf(stderr,
                     "ERROR: dpcplugin.so was built for LAMMPS %d, and this is LAMMPS %d: build it for this one with "
                     "compress-onnx lammps-plugin\n",
                     DPC_LAMMPS_VERSION, lmp->num_ver);
        return;
    }
    Plugin plugin = {lmp->version, "pair", nullptr, "compressed Deep Potential models", "compress-onnx", {create_pair},
                     handle};
    for (const char *name : {"dpc", "deepmd"})
        /* DeePMD-kit's own style, where it is there, keeps its name */
        if (lmp->force->pair_map->count(name) == 0) {
            plugin.name = name;
            reinterpret_cast<Register>(add)(&plugin, lmp);
        }
}
