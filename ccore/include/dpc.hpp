/* dpc.hpp - libdpc's handles as C++11 objects: freed with their scope, errors thrown as dpc::Error */
#ifndef DPC_HPP
#define DPC_HPP

#include "dpc.h"

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace dpc {

class Error : public std::runtime_error {
public:
    explicit Error(const dpc_error &error) : std::runtime_error(error.message), status_(error.status) {}
    dpc_status status() const { return status_; }

private:
    dpc_status status_;
};

inline void check(dpc_status status, const dpc_error &error)
{
    if (status != DPC_OK)
        throw Error(error);
}

/* What the handles below hold: moved, not copied. */
struct Release {
    void operator()(dpc_model *model) const { dpc_model_free(model); }
    void operator()(dpc_workspace *workspace) const { dpc_workspace_free(workspace); }
    void operator()(dpc_list *list) const { dpc_list_free(list); }
};

class Model { /* immutable: share it between threads */
public:
    explicit Model(const std::string &path)
    {
        dpc_model *model = nullptr;
        dpc_error error;
        check(dpc_model_load(path.c_str(), &model, &error), error);
        model_.reset(model);
    }

    /* A file's bytes; its external data, if it has any, are in `folder`. Not checked: digests are not looked at. */
    Model(const void *memory, size_t size, const char *folder = nullptr, bool checked = true)
    {
        dpc_model *model = nullptr;
        dpc_error error;
        check(dpc_model_load_memory(memory, size, folder, checked, &model, &error), error);
        model_.reset(model);
    }

    dpc_model_info info() const
    {
        dpc_model_info info;
        dpc_model_describe(model_.get(), &info);
        return info;
    }
    double cutoff() const { return info().cutoff; } /* angstrom */
    std::vector<std::string> type_names() const
    {
        const dpc_model_info known = info();
        return std::vector<std::string>(known.type_names, known.type_names + known.types);
    }
    const dpc_model *get() const { return model_.get(); }

private:
    std::unique_ptr<dpc_model, Release> model_;
};

class Workspace { /* scratch of one model: one per thread that evaluates; must not outlive the model */
public:
    explicit Workspace(const Model &model, const char *device = "cpu") : model_(model.get())
    {
        dpc_workspace *workspace = nullptr;
        dpc_error error;
        check(dpc_workspace_create_on(model_, device, &workspace, &error), error);
        workspace_.reset(workspace);
    }

    /* dpc_model_compute; exec NULL: this thread alone. */
    void compute(const dpc_atoms &atoms, const dpc_neighbours &neighbours, const dpc_result &result,
                 const dpc_exec *exec = nullptr)
    {
        dpc_error error;
        check(dpc_model_compute(model_, workspace_.get(), &atoms, &neighbours, &result, exec, &error), error);
    }

    /* The same for energies, and of an ensemble means over its models: arrays of `mean` are of one output. */
    void compute_mean(const dpc_atoms &atoms, const dpc_neighbours &neighbours, const dpc_result &mean,
                      const dpc_exec *exec = nullptr)
    {
        const std::size_t all = atoms.local + atoms.ghost;
        dpc_model_info info;
        dpc_model_describe(model_, &info);
        const auto room = [&](int which, const double *wanted, std::size_t size) -> double * {
            each_[which].resize(info.outputs * size);
            return wanted != nullptr ? each_[which].data() : nullptr;
        };
        dpc_result each = mean;
        each.energy = room(0, mean.energy, 1);
        each.force = room(1, mean.force, 3 * all);
        each.virial = room(2, mean.virial, 9);
        each.atom_energy = room(3, mean.atom_energy, atoms.local);
        each.atom_virial = room(4, mean.atom_virial, 9 * all);
        each.force_mag = room(5, mean.force_mag, 3 * all);
        compute(atoms, neighbours, info.outputs > 1 ? each : mean, exec);
        if (info.outputs > 1)
            dpc_model_average(model_, &atoms, &each, &mean);
    }

private:
    const dpc_model *model_;
    std::unique_ptr<dpc_workspace, Release> workspace_;
    std::vector<double> each_[6];
};

class List { /* neighbours, for callers that have none */
public:
    List()
    {
        dpc_list *list = nullptr;
        dpc_error error;
        check(dpc_list_create(&list, &error), error);
        list_.reset(list);
    }

    /* position [atoms][3], cell [3][3] with lattice vectors as rows, or NULL: no periodicity. Angstrom. */
    void build(size_t atoms, const double *position, const double *cell, double cutoff,
               const dpc_exec *exec = nullptr)
    {
        dpc_error error;
        check(dpc_list_build(list_.get(), atoms, position, cell, cutoff, exec, &error), error);
    }

    /* Valid until the next build. */
    dpc_neighbours view() const
    {
        dpc_neighbours neighbours;
        dpc_list_view(list_.get(), &neighbours);
        return neighbours;
    }

private:
    std::unique_ptr<dpc_list, Release> list_;
};

} // namespace dpc
#endif
