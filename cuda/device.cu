// device.cu - what libdpc_cuda exports: a model on a device, evaluated with arrays of the host or of the device
#include "evaluate.h"

#include <cmath>
#include <new>
extern "C" {
#include "dpc_cuda.h"
}

using namespace dpc;

// Results on a device, one after the other in elements of 8 bytes; those before `force` are few.
struct Block {
    size_t energy, virial, range, worst, dropped, uncounted, coincide, force, atom_energy, atom_virial, end;

    Block(const dpc_model &m, size_t slopes, size_t local, size_t all, bool atom_virials)
    {
        energy = 0;
        virial = energy + m.outputs;
        range = virial + 9 * slopes;
        worst = range + 4 * m.tables;
        dropped = worst + 4 * m.tables;
        uncounted = dropped + 1;
        coincide = uncounted + 1;
        force = coincide + 1;
        atom_energy = force + 3 * slopes * all;
        atom_virial = atom_energy + m.outputs * local;
        end = atom_virial + (atom_virials ? 9 * slopes * all : 0);
    }
};

struct dpc_device {
public:
    const int number;

    dpc_device(const dpc_model *of, const dpc_core *packer, int which)
        : number(which), model(of), core(packer), views(of), last(*of, 0, 0, 0, false)
    {
    }
    ~dpc_device()
    {
        if (own != nullptr)
            cudaStreamDestroy(own);
    }

    void forget() { system.forget(); }

    // Arrays of the host.
    dpc_status compute(const unsigned char *present, const dpc_atoms &atoms, const dpc_neighbours &neighbours,
                       const dpc_result &result, int64_t pair[2], dpc_error *err)
    {
        if (own == nullptr)
            DPC_CUDA_TRY(cudaStreamCreate(&own), "a stream of the device");
        if (result.stage != nullptr)
            memset(result.stage, 0, DPC_STAGES * sizeof(double));
        DPC_TRY(views.add(present, err));
        const size_t positions = 3 * (atoms.local + atoms.ghost), aparams = model->masked ? 0 : model->aparams;
        DPC_TRY(given.reserve(positions + model->fparams + aparams * atoms.local, err));
        double *position = given.data(), *fparam = position + positions, *aparam = fparam + model->fparams;
        DPC_TRY(copy(position, atoms.position, positions, own, err));
        DPC_TRY(copy(fparam, atoms.fparam, model->fparams, own, err));
        DPC_TRY(copy(aparam, atoms.aparam, aparams * atoms.local, own, err));
        system.move(position, fparam, aparam, neighbours.cell);
        if (!system.knows(atoms, neighbours))
            DPC_TRY(system.take(model->types, atoms, neighbours, own, err));
        DPC_TRY(run(result, own, err));
        DPC_TRY(coinciding(pair, own, err));
        DPC_CUDA_TRY(cudaStreamSynchronize(own), "evaluation");
        return DPC_OK;
    }

    // Arrays of the device.
    dpc_status enqueue(const dpc_atoms &atoms, const dpc_neighbours &neighbours, const dpc_result &result, Stream stream,
                       dpc_error *err)
    {
        DPC_REQUIRE(model->spin_scale == nullptr && !model->masked, "models with spin or a mask take arrays of the host");
        DPC_REQUIRE(neighbours.first != nullptr || neighbours.centres == 0, "lists on a device are first and index");
        DPC_REQUIRE(neighbours.centres <= atoms.local && atoms.local + atoms.ghost < INT32_MAX,
                    "%zu centres among %zu local atoms", neighbours.centres, atoms.local);
        DPC_REQUIRE((model->fparams == 0 || atoms.fparam != nullptr) &&
                        (model->aparams == 0 || atoms.aparam != nullptr || atoms.local == 0),
                    "the model needs %zu fparam and %zu aparam of each atom", model->fparams, model->aparams);
        DPC_REQUIRE(result.stage == nullptr && result.force_mag == nullptr, "stage and force_mag must be NULL");
        DPC_REQUIRE(slopes(result) > 0 || !differentiates(result), "a %s model has no forces and virials",
                    core->shapes[model->head].name);
        system.move(atoms.position, atoms.fparam, atoms.aparam, neighbours.cell);
        if (!system.knows(atoms, neighbours)) {
            DPC_TRY(system.take_from_device(model->types, atoms, neighbours, stream, err));
            DPC_TRY(core->pack(model, system.present().data(), err));
            DPC_TRY(views.add(system.present().data(), err));
        }
        return run(result, stream, err);
    }

    dpc_status check(dpc_error *err)
    {
        int64_t pair[2] = {-1, -1};
        std::vector<double> energy(model->outputs);
        if (block.data() == nullptr)
            return DPC_OK;
        DPC_CUDA_TRY(cudaDeviceSynchronize(), "evaluation");
        DPC_TRY(coinciding(pair, own, err));
        DPC_TRY(copy(energy.data(), block.data() + last.energy, energy.size(), own, err));
        DPC_CUDA_TRY(cudaStreamSynchronize(own), "copy from the device");
        DPC_TRY(dpc_check_apart(pair, (size_t)system.atoms().all, err));
        for (const double e : energy)
            DPC_REQUIRE(std::isfinite(e), "the result is no number: atoms are too close, or the model is damaged");
        return DPC_OK;
    }

private:
    static bool differentiates(const dpc_result &result)
    {
        return result.force != nullptr || result.virial != nullptr || result.atom_virial != nullptr;
    }

    size_t slopes(const dpc_result &result) const // of each model
    {
        return differentiates(result) ? core->shapes[model->head].slopes : 0;
    }

    dpc_status run(const dpc_result &result, Stream stream, dpc_error *err)
    {
        last = Block(*model, slopes(result) * model->models, system.local(), (size_t)system.atoms().all,
                     result.atom_virial != nullptr);
        DPC_TRY(block.reserve(last.end, err));
        double *at = block.data();
        const bool counted = result.range != nullptr || result.range_worst != nullptr;
        auto counts = reinterpret_cast<unsigned long long *>(at);
        DPC_TRY(fill(at, 0, last.force * sizeof(double), stream, err));
        DPC_TRY(fill(at + last.coincide, 0xff, sizeof(double), stream, err));
        Job job = {model, &views.terms(), &system, slopes(result), {}, result.stage, &scratch};
        job.out = {at + last.energy, at + last.virial, at + last.force,
                   result.atom_virial != nullptr ? at + last.atom_virial : nullptr, at + last.atom_energy,
                   {counted ? reinterpret_cast<unsigned long long(*)[4]>(counts + last.range) : nullptr,
                    reinterpret_cast<double(*)[4]>(at + last.worst), counts + last.dropped, counts + last.coincide},
                   counts + last.uncounted};
        DPC_TRY(evaluate(job, stream, err));
        return give(result, stream, err);
    }

    // To what was asked for, wherever that is.
    dpc_status give(const dpc_result &result, Stream stream, dpc_error *err) const
    {
        const size_t all = (size_t)system.atoms().all, outputs = model->outputs, tables = model->tables;
        const double *from = block.data();
        const auto counts = reinterpret_cast<const int64_t *>(from);
        if (result.energy != nullptr)
            DPC_TRY(copy(result.energy, from + last.energy, outputs, stream, err));
        if (result.atom_energy != nullptr)
            DPC_TRY(copy(result.atom_energy, from + last.atom_energy, outputs * system.local(), stream, err));
        if (result.range != nullptr)
            DPC_TRY(copy(result.range, counts + last.range, 4 * tables, stream, err));
        if (result.range_worst != nullptr && tables > 0)
            DPC_CUDA_TRY(cudaMemcpy2DAsync(result.range_worst, 3 * sizeof(double), from + last.worst + 1,
                                           4 * sizeof(double), 3 * sizeof(double), tables, cudaMemcpyDefault, stream),
                         "copy to or from a device");
        if (result.dropped != nullptr)
            DPC_TRY(copy(result.dropped, counts + last.dropped, 1, stream, err));
        for (size_t o = 0; o < outputs; o++) {
            const size_t slope = dpc_slope_of(model, o);
            if (result.virial != nullptr)
                DPC_TRY(copy(result.virial + 9 * o, from + last.virial + 9 * slope, 9, stream, err));
            if (result.force != nullptr)
                DPC_TRY(copy(result.force + 3 * all * o, from + last.force + 3 * all * slope, 3 * all, stream, err));
            if (result.atom_virial != nullptr)
                DPC_TRY(copy(result.atom_virial + 9 * all * o, from + last.atom_virial + 9 * all * slope, 9 * all, stream,
                             err));
        }
        return DPC_OK;
    }

    // Two atoms in one place, or -1.
    dpc_status coinciding(int64_t pair[2], Stream stream, dpc_error *err) const
    {
        uint64_t both;
        DPC_TRY(copy(&both, reinterpret_cast<const uint64_t *>(block.data() + last.coincide), 1, stream, err));
        DPC_CUDA_TRY(cudaStreamSynchronize(stream), "evaluation");
        pair[0] = both == UINT64_MAX ? -1 : (int64_t)(both >> 32);
        pair[1] = both == UINT64_MAX ? -1 : (int64_t)(both & UINT32_MAX);
        return DPC_OK;
    }

    const dpc_model *model;
    const dpc_core *core;
    Stream own = nullptr; // of arrays of the host
    Views views;
    System system;
    Array<double> given, block; // positions and parameters; results
    Block last;                 // where they are
    Array<unsigned char> scratch;
};

namespace {

// What `action` of a device gives; what fails may have left anything behind.
template <typename Action> dpc_status attempt(dpc_device *device, dpc_error *err, Action action)
{
    OnDevice here;
    dpc_status status;
    try {
        status = here.enter(device->number, err);
        if (status == DPC_OK)
            status = action();
    } catch (const std::bad_alloc &) {
        status = dpc_fail(err, DPC_NO_MEMORY, "out of memory");
    }
    if (status != DPC_OK)
        device->forget();
    return status;
}

dpc_status create(const dpc_model *model, const dpc_core *core, int number, dpc_device **device, dpc_error *err)
{
    OnDevice here;
    int count = 0;
    const cudaError_t found = cudaGetDeviceCount(&count);
    if (found != cudaSuccess || count == 0)
        return dpc_fail(err, DPC_UNSUPPORTED, "there is no CUDA device here: %s",
                        found != cudaSuccess ? cudaGetErrorString(found) : "none is visible");
    DPC_REQUIRE(number < count, "there is no cuda:%d, only cuda:0 to cuda:%d", number, count - 1);
    for (size_t k = 0; k < model->terms; k++)
        if (core->shapes[model->head].slopes > 1 && model->term[k].members > MOST_DIRECTIONS)
            return dpc_fail(err, DPC_UNSUPPORTED, "a tensor of more than %d descriptors is not evaluated on a device",
                            (int)MOST_DIRECTIONS);
    DPC_TRY(here.enter(number, err));
    *device = new (std::nothrow) dpc_device(model, core, number);
    return *device != nullptr ? DPC_OK : dpc_fail(err, DPC_NO_MEMORY, "out of memory");
}

void release(dpc_device *device)
{
    OnDevice here;
    if (device != nullptr)
        here.enter(device->number, nullptr);
    delete device;
}

dpc_status compute(dpc_device *device, const unsigned char *present, const dpc_atoms *atoms,
                   const dpc_neighbours *neighbours, const dpc_result *result, int64_t coincide[2], dpc_error *err)
{
    return attempt(device, err, [&] { return device->compute(present, *atoms, *neighbours, *result, coincide, err); });
}

dpc_status enqueue(dpc_device *device, const dpc_atoms *atoms, const dpc_neighbours *neighbours,
                   const dpc_result *result, void *stream, dpc_error *err)
{
    return attempt(device, err, [&] {
        return device->enqueue(*atoms, *neighbours, *result, static_cast<Stream>(stream), err);
    });
}

dpc_status check(dpc_device *device, dpc_error *err)
{
    return attempt(device, err, [&] { return device->check(err); });
}

} // namespace

extern "C" DPC_CUDA_API const dpc_device_library *dpc_cuda_library(void)
{
    static const dpc_device_library library = {dpc_device_layout(), create, release,        compute,
                                               enqueue,             check,  &dpc_cuda_tools};
    return &library;
}

dpc_status dpc_cuda_compute(const dpc_model *model, dpc_workspace *workspace, const dpc_atoms *atoms,
                            const dpc_neighbours *neighbours, const dpc_result *result, void *stream, dpc_error *err)
{
    const auto place = reinterpret_cast<const dpc_place *>(workspace);
    DPC_REQUIRE(model != nullptr && place != nullptr && atoms != nullptr && neighbours != nullptr && result != nullptr,
                "an argument is NULL");
    DPC_REQUIRE(place->model == model, "the workspace belongs to another model");
    DPC_REQUIRE(place->device != nullptr, "the workspace is on no device: make it by dpc_workspace_create_on");
    return enqueue(place->device, atoms, neighbours, result, stream, err);
}

dpc_status dpc_cuda_check(dpc_workspace *workspace, dpc_error *err)
{
    const auto place = reinterpret_cast<const dpc_place *>(workspace);
    DPC_REQUIRE(place != nullptr && place->device != nullptr, "the workspace is on no device");
    return check(place->device, err);
}
