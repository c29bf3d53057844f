/* model_deviation.cpp - statistics over models, atoms and ranks, written on rank 0 */
#include "model_deviation.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

namespace dpc_lammps {
namespace {

double squared(double x)
{
    return x * x;
}

void write_cells(std::FILE *file, std::initializer_list<double> values)
{
    for (double value : values)
        std::fprintf(file, " %18.6e", value);
}

} // namespace

ModelDeviation::ModelDeviation(const Settings &settings, bool append, MPI_Comm world)
    : settings_(settings), world_(world)
{
    MPI_Comm_rank(world_, &rank_);
    if (rank_ == 0)
        file_.reset(std::fopen(settings_.out_file.c_str(), append ? "a" : "w"));
    int opened = file_ != nullptr;
    MPI_Bcast(&opened, 1, MPI_INT, 0, world_);
    if (!opened)
        throw std::runtime_error("cannot write out_file " + settings_.out_file);
    if (rank_ == 0 && !append)
        write_header();
}

void ModelDeviation::write_header()
{
    std::fprintf(file_.get(), "#%11s", "step");
    for (const char *column :
         {"max_devi_v", "min_devi_v", "avg_devi_v", "max_devi_f", "min_devi_f", "avg_devi_f"})
        std::fprintf(file_.get(), "%19s", column);
    if (settings_.atomic)
        std::fprintf(file_.get(), "%19s", "atm_devi_f(N)");
    std::fputc('\n', file_.get());
    std::fflush(file_.get());
}

/* [local] */
std::vector<double> ModelDeviation::force_deviations(const Predictions &p) const
{
    const double n = static_cast<double>(p.models);
    std::vector<double> deviation(p.local);
    for (size_t i = 0; i < p.local; i++) {
        double square = 0, mean_square = 0;
        for (size_t c = 3 * i; c < 3 * i + 3; c++) {
            double mean = 0;
            for (size_t m = 0; m < p.models; m++)
                mean += p.force[m * p.stride + c] / n;
            for (size_t m = 0; m < p.models; m++)
                square += squared(p.force[m * p.stride + c] - mean) / n;
            mean_square += squared(mean);
        }
        deviation[i] = std::sqrt(square);
        if (settings_.relative_f)
            deviation[i] /= std::sqrt(mean_square) + *settings_.relative_f;
    }
    return deviation;
}

/* [9], on rank 0 */
std::vector<double> ModelDeviation::virial_deviations(const Predictions &p) const
{
    const double n = static_cast<double>(p.models), atoms = static_cast<double>(p.atoms);
    std::vector<double> virial(9 * p.models), deviation(9);
    MPI_Reduce(p.virial, virial.data(), static_cast<int>(virial.size()), MPI_DOUBLE, MPI_SUM, 0, world_);
    for (size_t c = 0; c < 9; c++) {
        double mean = 0, square = 0;
        for (size_t m = 0; m < p.models; m++)
            mean += virial[9 * m + c] / n;
        for (size_t m = 0; m < p.models; m++)
            square += squared(virial[9 * m + c] - mean) / n;
        deviation[c] = std::sqrt(square) / atoms;
        if (settings_.relative_v)
            deviation[c] /= std::fabs(mean) / atoms + *settings_.relative_v;
    }
    return deviation;
}

/* [atoms], on rank 0: in the order of the tags, not of the ranks */
std::vector<double> ModelDeviation::gather_by_tag(const Predictions &p, const std::vector<double> &local) const
{
    int ranks;
    MPI_Comm_size(world_, &ranks);
    const int mine = static_cast<int>(p.local);
    std::vector<int> count(ranks), first(ranks + 1);
    MPI_Gather(&mine, 1, MPI_INT, count.data(), 1, MPI_INT, 0, world_);
    std::partial_sum(count.begin(), count.end(), first.begin() + 1);
    const size_t all = rank_ == 0 ? static_cast<size_t>(first.back()) : 0;
    std::vector<double> value(all);
    std::vector<LAMMPS_NS::tagint> tag(all);
    MPI_Gatherv(local.data(), mine, MPI_DOUBLE, value.data(), count.data(), first.data(), MPI_DOUBLE, 0, world_);
    MPI_Gatherv(p.tag, mine, MPI_LMP_TAGINT, tag.data(), count.data(), first.data(),
                MPI_LMP_TAGINT, 0, world_);
    std::vector<size_t> order(all);
    std::iota(order.begin(), order.end(), size_t(0));
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return tag[a] < tag[b]; });
    std::vector<double> sorted(all);
    std::transform(order.begin(), order.end(), sorted.begin(), [&](size_t k) { return value[k]; });
    return sorted;
}

void ModelDeviation::write(const Predictions &p)
{
    const std::vector<double> virial = virial_deviations(p), force = force_deviations(p);
    /* the smallest is minus the largest of the negatives: one reduction for both */
    double extreme[2] = {-HUGE_VAL, -HUGE_VAL}, extremes[2], sum = 0, total;
    for (double deviation : force) {
        extreme[0] = std::max(extreme[0], deviation);
        extreme[1] = std::max(extreme[1], -deviation);
        sum += deviation;
    }
    MPI_Reduce(extreme, extremes, 2, MPI_DOUBLE, MPI_MAX, 0, world_);
    MPI_Reduce(&sum, &total, 1, MPI_DOUBLE, MPI_SUM, 0, world_);
    std::vector<double> each;
    if (settings_.atomic)
        each = gather_by_tag(p, force);
    if (rank_ != 0)
        return;
    const double square = std::inner_product(virial.begin(), virial.end(), virial.begin(), 0.0);
    std::fprintf(file_.get(), "%12lld", static_cast<long long>(p.step));
    write_cells(file_.get(), {*std::max_element(virial.begin(), virial.end()),
                              *std::min_element(virial.begin(), virial.end()), std::sqrt(square / 9)});
    write_cells(file_.get(), {extremes[0], -extremes[1], total / static_cast<double>(p.atoms)});
    for (double deviation : each)
        write_cells(file_.get(), {deviation});
    std::fputc('\n', file_.get());
    std::fflush(file_.get());
}

} // namespace dpc_lammps
