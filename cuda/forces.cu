// forces.cu - from derivatives by pair vectors to forces and virials, each sum by one warp in an order of its own
#include "environment.cuh"

namespace dpc {
namespace {

// -sum over the pairs whose neighbour an atom is: its force, without its own pairs', and its virial.
template <typename ereal>
__global__ void __launch_bounds__(THREADS) gather_back(Atoms atoms, List list, const ereal *pair_force, double *force,
                                                       double *atom_virial)
{
    const int i = row_of();
    if (i >= atoms.all)
        return;
    double sum[3] = {0, 0, 0}, virial[9] = {0, 0, 0, 0, 0, 0, 0, 0, 0};
    for (int64_t b = list.back_first[i] + lane_of(); b < list.back_first[i + 1]; b += DPC_WARP) {
        const int64_t place = list.back[b];
        double f[3], d[3];
        for (int a = 0; a < 3; a++)
            sum[a] += f[a] = (double)pair_force[3 * place + a];
        if (atom_virial == nullptr || (f[0] == 0 && f[1] == 0 && f[2] == 0)) // as beyond the cutoff
            continue;
        towards(atoms, list, list.pair_centre[place], place, d);
        for (int a = 0; a < 9; a++)
            virial[a] += f[a / 3] * d[a % 3];
    }
    for (int a = 0; a < 3; a++) {
        const double total = -warp_sum(sum[a]);
        if (lane_of() == 0)
            force[3 * (size_t)i + a] = total;
    }
    for (int a = 0; atom_virial != nullptr && a < 9; a++) {
        const double total = -warp_sum(virial[a]);
        if (lane_of() == 0)
            atom_virial[9 * (size_t)i + a] = total;
    }
}

// Adds the centres' own pairs to their forces; each of `warps` warps takes every warpsth centre, and sums their virial.
template <typename ereal>
__global__ void __launch_bounds__(THREADS) gather_own(Atoms atoms, List list, const ereal *pair_force, double *force,
                                                      double *partial, int warps)
{
    if (row_of() >= warps)
        return;
    double virial[9] = {0, 0, 0, 0, 0, 0, 0, 0, 0};
    for (int k = row_of(); k < atoms.centres; k += warps) {
        double sum[3] = {0, 0, 0};
        for (int64_t place = list.first[k] + lane_of(); place < list.first[k + 1]; place += DPC_WARP) {
            double f[3], d[3];
            for (int a = 0; a < 3; a++)
                sum[a] += f[a] = (double)pair_force[3 * place + a];
            if (f[0] == 0 && f[1] == 0 && f[2] == 0)
                continue;
            towards(atoms, list, k, place, d);
            for (int a = 0; a < 9; a++)
                virial[a] += f[a / 3] * d[a % 3];
        }
        for (int a = 0; a < 3; a++) {
            const double total = warp_sum(sum[a]);
            if (lane_of() == 0)
                force[3 * (size_t)list.centre[k] + a] += total;
        }
    }
    for (int a = 0; a < 9; a++) {
        const double total = -warp_sum(virial[a]);
        if (lane_of() == 0)
            partial[9 * row_of() + a] = total;
    }
}

__global__ void __launch_bounds__(THREADS) sum_partials(const double *partial, int partials, double *virial)
{
    for (int a = warp_of(); a < 9; a += WARPS) {
        double sum = 0;
        for (int i = lane_of(); i < partials; i += DPC_WARP)
            sum += partial[9 * i + a];
        sum = warp_sum(sum);
        if (lane_of() == 0)
            virial[a] = sum;
    }
}

} // namespace

template <typename ereal>
dpc_status gather_forces(const Atoms &atoms, const List &list, const ereal *pair_force, double *force,
                         double *atom_virial, double *virial, double *partial, Stream stream, dpc_error *err)
{
    const int warps = atoms.centres < FORCE_PARTIALS ? atoms.centres : FORCE_PARTIALS;
    DPC_TRY(launch(gather_back<ereal>, warp_blocks((size_t)atoms.all), THREADS, 0, stream, err, atoms, list, pair_force,
                   force, atom_virial));
    DPC_TRY(launch(gather_own<ereal>, warp_blocks((size_t)warps), THREADS, 0, stream, err, atoms, list, pair_force,
                   force, partial, warps));
    return launch(sum_partials, 1, THREADS, 0, stream, err, partial, warps, virial);
}

template dpc_status gather_forces(const Atoms &, const List &, const double *, double *, double *, double *, double *,
                                  Stream, dpc_error *);
template dpc_status gather_forces(const Atoms &, const List &, const float *, double *, double *, double *, double *,
                                  Stream, dpc_error *);

} // namespace dpc
