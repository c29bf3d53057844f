/* potential.cpp - libdpc's model, workspace and list; how many threads */
#include "potential.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace dpc_deepmd_c {
namespace {

std::string folder_of(const std::string &path)
{
    const size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

dpc::Model load(const std::string &path, const std::string &content)
{
    try {
        if (content.empty())
            return dpc::Model(path);
        return dpc::Model(content.data(), content.size(), folder_of(path).c_str());
    } catch (const dpc::Error &error) {
        std::string message = error.what();
        if (!content.empty())
            message = path + ": " + message;
        if (error.status() == DPC_FORMAT)
            message += "; other models are compressed first: compress-onnx -i MODEL -o model.onnx";
        throw std::runtime_error(message);
    }
}

/* As many as OMP_NUM_THREADS says: left alone, the ranks of an MPI program would each take the whole machine. */
int thread_count()
{
    const char *text = std::getenv("OMP_NUM_THREADS");
    return text == nullptr ? 1 : std::max(1, std::atoi(text));
}

/* For the length of one call. */
class Threads {
public:
    Threads()
    {
        if (count_ > 1)
            exec_ = {dpc_parallel_openmp, &count_, static_cast<size_t>(count_), DPC_ISA_AUTO};
    }
    Threads(const Threads &) = delete;
    const dpc_exec *exec() const { return &exec_; }

private:
    int count_ = thread_count();
    dpc_exec exec_ = {};
};

} // namespace

Potential::Potential(const std::string &path, const std::string &content)
    : model_(load(path, content)), workspace_(model_), info_(model_.info())
{
    if (std::strcmp(info_.kind, "ener") != 0)
        throw std::runtime_error(path + " is a model of kind " + info_.kind + ", not of energies");
    if (info_.spin_scale != nullptr)
        throw std::runtime_error(path + " is a model of spins, which this libdeepmd_c.so, compress-onnx's, does not serve");
}

void Potential::compute(const dpc_atoms &atoms, const dpc_neighbours &neighbours, const dpc_result &result)
{
    workspace_.compute_mean(atoms, neighbours, result, Threads().exec());
}

void Potential::compute(const dpc_atoms &atoms, const double *cell, const dpc_result &result)
{
    list_.build(atoms.local, atoms.position, cell, info_.cutoff, Threads().exec());
    compute(atoms, list_.view(), result);
}

} // namespace dpc_deepmd_c
