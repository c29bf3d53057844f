/* plugin.cpp - what LAMMPS calls when it loads dpcplugin.so */
#include "compute_deeptensor_atom.h"
#include "pair_dpc.h"

#include "force.h"
#include "modify.h"

#include <cstdio>

using namespace LAMMPS_NS;

/* lammpsplugin.h does not come with installed LAMMPS: its interface, as far as it is used here */
struct Plugin {
    const char *version, *style, *name, *info, *author;
    union {
        Pair *(*pair)(LAMMPS *);
        Compute *(*compute)(LAMMPS *, int, char **);
    } creator;
    void *handle;
};
using Register = void (*)(Plugin *, void *);

static Pair *create_pair(LAMMPS *lmp)
{
    return new PairDpc(lmp);
}

static Compute *create_compute(LAMMPS *lmp, int narg, char **arg)
{
    return new ComputeDeeptensorAtom(lmp, narg, arg);
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
    /* DeePMD-kit's own styles, where they are there, keep their names */
    Plugin plugin = {lmp->version, "pair", nullptr, "compressed Deep Potential models", "compress-onnx", {create_pair},
                     handle};
    for (const char *name : {"dpc", "deepmd", "deepspin"})
        if (lmp->force->pair_map->count(name) == 0) {
            plugin.name = name;
            reinterpret_cast<Register>(add)(&plugin, lmp);
        }
    plugin.style = "compute";
    plugin.name = "deeptensor/atom";
    plugin.creator.compute = create_compute;
    if (lmp->modify->compute_map->count(plugin.name) == 0)
        reinterpret_cast<Register>(add)(&plugin, lmp);
}
