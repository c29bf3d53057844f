/* loaded_model.cpp - load, evaluate; errors become exceptions */
#include "loaded_model.h"

#include "metadata.h"

#include <cstdlib>
#include <stdexcept>

namespace dpc_lammps {
namespace {

bool ends_with(const std::string &text, const std::string &end)
{
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

std::string advice(const std::string &path, dpc_status status)
{
    if (status == DPC_IO)
        return "; it is neither a readable file nor a keyword of pair_style dpc";
    for (const char *suffix : {".pb", ".pth", ".dp", ".yaml"})
        if (ends_with(path, suffix))
            return "; compress it first: compress-onnx -i " + path + " -o model.onnx";
    return "";
}

int64_t read_frequency(const std::string &path)
{
    const std::string text = model_metadata(path, "compress_onnx.frequency");
    return text.empty() ? -1 : std::strtoll(text.c_str(), nullptr, 10);
}

} // namespace

LoadedModel::LoadedModel(const std::string &path)
{
    dpc_error error;
    dpc_model *model = nullptr;
    dpc_workspace *workspace = nullptr;
    const dpc_status status = dpc_model_load(path.c_str(), &model, &error);
    model_.reset(model);
    if (status != DPC_OK)
        throw std::runtime_error(error.message + advice(path, status));
    if (dpc_workspace_create(model, &workspace, &error) != DPC_OK)
        throw std::runtime_error(error.message);
    workspace_.reset(workspace);
    dpc_model_describe(model, &info_);
    frequency_ = read_frequency(path);
}

std::vector<std::string> LoadedModel::type_names() const
{
    return std::vector<std::string>(info_.type_names, info_.type_names + info_.types);
}

void LoadedModel::compute(const dpc_atoms &atoms, const dpc_neighbours &neighbours, const dpc_result &result,
                    const dpc_exec &exec)
{
    dpc_error error;
    if (dpc_model_compute(model_.get(), workspace_.get(), &atoms, &neighbours, &result, &exec, &error) != DPC_OK)
        throw std::runtime_error(error.message);
}

} // namespace dpc_lammps
