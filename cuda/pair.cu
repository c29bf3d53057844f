// pair.cu - a pair potential that takes the place of what is fitted where atoms are near (ccore/src/mixture.h)
#include "environment.cuh"
#include "stages.h"
extern "C" {
#include "mixture.h"
}

namespace dpc {
namespace {

template <typename ereal>
__global__ void __launch_bounds__(THREADS, 6) mix(dpc_pair pair, int types, Group group, Atoms atoms, List list,
                                                  Near near, double *energy, double *share, ereal *pair_force)
{
    const int row = row_of();
    if (row >= rows_of(group))
        return;
    const int k = group.list[group.begin + row];
    const int32_t *count = near.count + (size_t)k * types;
    const int64_t *place = near.place + list.first[k];
    dpc_mixture m = {};
    for (int t = 0, from = 0; t < types; from += count[t], t++)
        for (int n = from + lane_of(); n < from + count[t]; n += DPC_WARP)
            dpc_mixture_add(&m, &pair, (size_t)(group.type * types + t), distance(atoms, list, k, place[n]));
    m.energy = pair.bias[group.type] + warp_sum(m.energy);
    m.weights = warp_sum(m.weights);
    m.distances = warp_sum(m.distances);
    dpc_mixture_finish(&m, &pair);
    const double fitted = energy[row];
    for (int t = 0, from = 0; pair_force != nullptr && m.share != 0 && t < types; from += count[t], t++)
        for (int n = from + lane_of(); n < from + count[t]; n += DPC_WARP) {
            double d[3];
            const double r = towards(atoms, list, k, place[n], d);
            const double slope = dpc_mixture_slope(&m, &pair, (size_t)(group.type * types + t), r, fitted);
            for (int a = 0; a < 3; a++)
                pair_force[3 * place[n] + a] += (ereal)(slope * d[a] / r);
        }
    sync_warp(); // all have seen the fitted energy
    if (lane_of() == 0) {
        energy[row] = (1 - m.share) * fitted + m.share * m.energy;
        share[row] = 1 - m.share;
    }
}

} // namespace

template <typename ereal>
dpc_status pair_mix(const Member &list_of_pair, const dpc_pair &pair, const Group &group, const Atoms &atoms,
                    const List &list, const Near &near, double *energy, double *share, ereal *pair_force, Stream stream,
                    dpc_error *err)
{
    return launch(mix<ereal>, warp_blocks((size_t)group.most), THREADS, 0, stream, err, pair, list_of_pair.types, group,
                  atoms, list, near, energy, share, pair_force);
}

#define INSTANTIATE(ereal)                                                                                   \
    template dpc_status pair_mix(const Member &, const dpc_pair &, const Group &, const Atoms &, const List &, \
                                 const Near &, double *, double *, ereal *, Stream, dpc_error *);
INSTANTIATE(double)
INSTANTIATE(float)

} // namespace dpc
