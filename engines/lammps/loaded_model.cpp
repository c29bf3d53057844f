/* loaded_model.cpp - read once for all ranks, evaluate; errors become exceptions */
#include "loaded_model.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <limits>
#include <sstream>
#include <stdexcept>

namespace dpc_lammps {
namespace {

constexpr int64_t UNREADABLE = -1;
constexpr int CHECKED = 1; /* against the digests in the file, by every rank what it received */

/* Rank 0 reads, so that a thousand ranks do not ask for one file. */
std::string read_file(const std::string &path, MPI_Comm world)
{
    int rank;
    MPI_Comm_rank(world, &rank);
    std::string bytes;
    int64_t size = UNREADABLE;
    if (rank == 0) {
        std::ifstream file(path, std::ios::binary);
        std::ostringstream content;
        if (file && content << file.rdbuf()) {
            bytes = content.str();
            size = static_cast<int64_t>(bytes.size());
        }
    }
    MPI_Bcast(&size, 1, MPI_INT64_T, 0, world);
    if (size == UNREADABLE)
        throw std::runtime_error(path + " is neither a readable file nor a keyword");
    bytes.resize(static_cast<size_t>(size));
    constexpr int64_t most = 1 << 30; /* MPI counts in int */
    for (int64_t done = 0; done < size; done += most)
        MPI_Bcast(&bytes[static_cast<size_t>(done)], static_cast<int>(std::min(most, size - done)), MPI_BYTE, 0,
                  world);
    return bytes;
}

std::string folder_of(const std::string &path)
{
    const size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

/* For the files of before. */
std::string advice(const std::string &path)
{
    const size_t dot = path.rfind('.');
    const std::string suffix = dot == std::string::npos ? "" : path.substr(dot);
    if (suffix == ".pb" || suffix == ".pth" || suffix == ".dp")
        return "; compress it first: compress-onnx -i " + path + " -o model.onnx";
    return "";
}

/* Ranks of this machine before this one. */
int place_on_machine(MPI_Comm world)
{
    int rank, ranks, length;
    MPI_Comm_rank(world, &rank);
    MPI_Comm_size(world, &ranks);
    char mine[MPI_MAX_PROCESSOR_NAME] = "";
    MPI_Get_processor_name(mine, &length);
    std::vector<char> names(static_cast<size_t>(ranks) * sizeof(mine));
    MPI_Allgather(mine, sizeof(mine), MPI_CHAR, names.data(), sizeof(mine), MPI_CHAR, world);
    int before = 0;
    for (int r = 0; r < rank; r++)
        before += std::strcmp(mine, names.data() + static_cast<size_t>(r) * sizeof(mine)) == 0;
    return before;
}

/* The device's name as libdpc takes it. */
std::string device_of_rank(const std::string &device, MPI_Comm world)
{
    if (device != "cuda")
        return device;
    const int place = place_on_machine(world), devices = dpc_devices();
    return "cuda:" + std::to_string(devices > 0 ? place % devices : 0);
}

/* Throws on all ranks what the first one with a problem says: one that went on alone would wait for the others. */
void agree(std::string problem, MPI_Comm world)
{
    constexpr int none = std::numeric_limits<int>::max();
    int rank, first, mine = none;
    MPI_Comm_rank(world, &rank);
    if (!problem.empty())
        mine = rank;
    MPI_Allreduce(&mine, &first, 1, MPI_INT, MPI_MIN, world);
    if (first == none)
        return;
    int size = static_cast<int>(problem.size());
    MPI_Bcast(&size, 1, MPI_INT, first, world);
    problem.resize(static_cast<size_t>(size));
    MPI_Bcast(&problem[0], size, MPI_CHAR, first, world);
    throw std::runtime_error(problem);
}

} // namespace

LoadedModel::LoadedModel(const std::string &path, MPI_Comm world, const std::string &device)
{
    const std::string file = read_file(path, world);
    dpc_error error;
    dpc_model *model = nullptr;
    dpc_workspace *workspace = nullptr;
    std::string problem;
    if (dpc_model_load_memory(file.data(), file.size(), folder_of(path).c_str(), CHECKED, &model, &error) != DPC_OK)
        problem = path + ": " + error.message + advice(path);
    model_.reset(model);
    if (problem.empty() && dpc_workspace_create_on(model, device_of_rank(device, world).c_str(), &workspace, &error) != DPC_OK)
        problem = error.message;
    workspace_.reset(workspace);
    agree(problem, world);
    dpc_model_describe(model, &info_);
}

std::vector<std::string> LoadedModel::type_names() const
{
    return std::vector<std::string>(info_.type_names, info_.type_names + info_.types);
}

void LoadedModel::compute(const dpc_atoms &atoms, const dpc_neighbours &neighbours, const dpc_result &result,
                          int threads)
{
    dpc_exec exec = {};
    if (threads > 1)
        exec = {dpc_parallel_openmp, &threads, static_cast<size_t>(threads), DPC_ISA_AUTO};
    dpc_error error;
    if (dpc_model_compute(model_.get(), workspace_.get(), &atoms, &neighbours, &result, &exec, &error) != DPC_OK)
        throw std::runtime_error(error.message);
}

} // namespace dpc_lammps
