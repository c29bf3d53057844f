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

template <typename Numbers>
void write_cells(std::FILE *file, const Numbers &values)
{
    for (double value : values)
        std::fprintf(file, " %18.6e", value);
}

} // namespace

ModelDeviation::ModelDeviation(const Settings &settings, size_t kinds, bool append, MPI_Comm world)
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
        write_header(kinds);
}

void ModelDeviation::write_header(size_t kinds)
{
    std::fprintf(file_.get(), "#%11s", "step");
    const std::vector<const char *> quantities =
        kinds == 1 ? std::vector<const char *>{"v", "f"} : std::vector<const char *>{"v", "fr", "fm"};
    for (const char *quantity : quantities)
        for (const char *which : {"max", "min", "avg"})
            std::fprintf(file_.get(), "%19s", (std::string(which) + "_devi_" + quantity).c_str());
    if (settings_.atomic && kinds == 1) /* with spins, the atoms' columns have no name */
        std::fprintf(file_.get(), "%19s", "atm_devi_f(N)");
    std::fputc('\n', file_.get());
    std::fflush(file_.get());
}

/* [local] */
std::vector<double> ModelDeviation::force_deviations(const Predictions &p, size_t kind) const
{
    const double n = static_cast<double>(p.models);
    std::vector<double> deviation(p.local);
    for (size_t i = 0; i < p.local; i++) {
        double square = 0, mean_square = 0;
        for (size_t c = 3 * i; c < 3 * i + 3; c++) {
            double mean = 0;
            for (size_t m = 0; m < p.models; m++)
                mean += p.force[(kind * p.models + m) * p.stride + c] / n;
            for (size_t m = 0; m < p.models; m++)
                square += squared(p.force[(kind * p.models + m) * p.stride + c] - mean) / n;
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

/* Largest, smallest and mean, on rank 0, of [local] on each. */
std::array<double, 3> ModelDeviation::summary(const std::vector<double> &deviations, double atoms) const
{
    /* the smallest is minus the largest of the negatives: one reduction for both */
    double extreme[2] = {-HUGE_VAL, -HUGE_VAL}, extremes[2], sum = 0, total;
    for (double deviation : deviations) {
        extreme[0] = std::max(extreme[0], deviation);
        extreme[1] = std::max(extreme[1], -deviation);
        sum += deviation;
    }
    MPI_Reduce(extreme, extremes, 2, MPI_DOUBLE, MPI_MAX, 0, world_);
    MPI_Reduce(&sum, &total, 1, MPI_DOUBLE, MPI_SUM, 0, world_);
    return {extremes[0], -extremes[1], total / atoms};
}

void ModelDeviation::write(const Predictions &p)
{
    const std::vector<double> virial = virial_deviations(p), force = force_deviations(p, 0);
    std::vector<std::array<double, 3>> summaries = {summary(force, static_cast<double>(p.atoms))};
    if (p.kinds == 2)
        summaries.push_back(summary(force_deviations(p, 1), static_cast<double>(p.atoms)));
    std::vector<double> each;
    if (settings_.atomic)
        each = gather_by_tag(p, force);
    if (rank_ != 0)
        return;
    const double square = std::inner_product(virial.begin(), virial.end(), virial.begin(), 0.0);
    std::fprintf(file_.get(), "%12lld", static_cast<long long>(p.step));
    const auto extremes = std::minmax_element(virial.begin(), virial.end());
    write_cells(file_.get(), std::array<double, 3>{*extremes.second, *extremes.first, std::sqrt(square / 9)});
    for (const std::array<double, 3> &forces : summaries)
        write_cells(file_.get(), forces);
    write_cells(file_.get(), each);
    std::fputc('\n', file_.get());
    std::fflush(file_.get());
}

} // namespace dpc_lammps
