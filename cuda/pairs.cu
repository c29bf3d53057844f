// pairs.cu - neighbours within the cutoff, by type, no more than the model has slots for; as ccore/src/collect.c
#include "environment.cuh"
#include "tally.cuh"

namespace dpc {
namespace {

constexpr double SAME_PLACE = 1e-12; // squared, in Å²: what lies closer counts as the same place

// What a warp does for centre k.
class Collector {
public:
    const int k, type;

    __device__ Collector(const Member &m, const Atoms &atoms, const List &list, const Near &near, int k)
        : k(k), type(atoms.type[list.centre[k]]), m(m), atoms(atoms), list(list), place(near.place + list.first[k]),
          count(near.count + (size_t)k * m.types), found(near.masked + (size_t)k * m.types),
          taken(near.taken + (size_t)k * m.sections),
          ignored(m.ignored != nullptr && type >= 0 ? m.ignored + (size_t)type * m.types : nullptr)
    {
    }

    // No neighbours.
    __device__ void clear()
    {
        for (int t = lane_of(); t < m.types; t += DPC_WARP)
            found[t] = count[t] = 0;
        for (int s = lane_of(); s < m.sections; s += DPC_WARP)
            taken[s] = 0;
    }

    // All within the cutoff; whether there are more than slots.
    __device__ bool find(unsigned long long *coincide)
    {
        const int32_t *of_type = list.of_type + (size_t)k * (m.types + 1);
        bool full = false;
        total = 0;
        for (int t = 0; t < m.types; t++) {
            const int before = total;
            if (!ignores(t) || m.total > 0 || m.sel[section(t)] > 0)
                for (int i = of_type[t]; i < of_type[t + 1]; i += DPC_WARP)
                    find_some(i + lane_of(), of_type[t + 1], !ignores(t), coincide);
            if (lane_of() == 0)
                found[t] = total - before;
            full |= m.sections > 1 && total - before > m.sel[t];
        }
        sync_warp();
        return full || (m.sections == 1 && total > m.sel[0]) || (m.total > 0 && total > m.total);
    }

    // Keeps what the slots hold, nearest first; the order of what stays is unchanged. Gives how many go.
    __device__ int truncate()
    {
        const int64_t left = m.total > 0 && total > m.total ? m.total : total;
        for (int begin = 0; begin < total; begin += DPC_WARP) {
            const int mine = begin + lane_of();
            const bool goes = mine < total && !keeps(mine, left);
            sync_warp();
            if (goes)
                place[mine] = ~place[mine];
            sync_warp();
        }
        int from = 0, to = 0;
        for (int t = 0; t < m.types; t++) {
            const int n = found[t], begin = to;
            for (int i = lane_of(); i - lane_of() < n; i += DPC_WARP) {
                const int64_t p = i < n ? place[from + i] : -1;
                const unsigned vote = warp_vote(p >= 0);
                if (p >= 0)
                    place[to + before_me(vote)] = p;
                to += __popc(vote);
            }
            from += n;
            sync_warp();
            if (lane_of() == 0)
                found[t] = to - begin;
        }
        sync_warp();
        return total - to;
    }

    // Neighbours that the centre does not see leave their slots empty; those that contribute are moved together.
    __device__ void settle()
    {
        int from = 0, to = 0, slots = 0;
        for (int t = 0; t < m.types; t++) {
            const int n = found[t], seen = ignores(t) ? 0 : n, kept = contributes(t) ? seen : 0;
            for (int i = lane_of(); to != from && i - lane_of() < kept; i += DPC_WARP) {
                const int64_t p = i < kept ? place[from + i] : 0;
                sync_warp();
                if (i < kept)
                    place[to + i] = p;
            }
            sync_warp(); // all have read found[t]
            if (lane_of() == 0) {
                found[t] = seen;
                count[t] = kept;
                if (m.sections > 1)
                    taken[t] = seen;
            }
            from += n;
            to += kept;
            slots += seen;
        }
        if (m.sections == 1 && lane_of() == 0)
            taken[0] = slots;
        sync_warp();
    }

    // Counts inputs of the tables; how many are not in their first parts.
    template <typename ereal> __device__ unsigned count_inputs(const Tally &tally) const
    {
        unsigned outside = 0;
        for (int t = 0, begin = 0; t < m.types; begin += count[t], t++) {
            const size_t pair = (size_t)type * m.types + t;
            Range<ereal> lane;
            if (count[t] == 0)
                continue;
            const int table = m.base[m.net[pair] >= 0 ? m.net[pair] : m.gate_net[pair]];
            for (int i = lane_of(); i < count[t]; i += DPC_WARP) {
                const int64_t at = place[begin + i];
                const ereal x = component(m, type, look_around<ereal>(m, atoms, list, k, at), 0);
                if (lane.count(m.grid[table], x))
                    lane.distance = distance(atoms, list, k, at);
            }
            outside += add_counts(lane, tally, m.first_table + table, list.centre[k]);
        }
        return outside;
    }

private:
    const Member &m;
    const Atoms &atoms;
    const List &list;
    int64_t *const place;
    int32_t *const count, *const found, *const taken;
    const int32_t *const ignored;
    int total;

    __device__ bool ignores(int t) const { return ignored != nullptr && ignored[t]; }
    __device__ int section(int t) const { return m.sections == 1 ? 0 : t; } // the slots that neighbours of type t take

    __device__ bool contributes(int t) const
    {
        const size_t pair = (size_t)type * m.types + t;
        if (m.kind == DPC_THREE_BODY)
            return !m.masked[pair];
        return m.net == nullptr || m.net[pair] >= 0 || (m.gate_net != nullptr && m.gate_net[pair] >= 0);
    }

    __device__ double squared(int64_t at) const
    {
        double d[3];
        towards(atoms, list, k, at, d);
        return d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
    }

    // Appends those of the warp's places i before `end` that are within the cutoff.
    __device__ void find_some(int i, int end, bool seen, unsigned long long *coincide)
    {
        bool within = false;
        if (i < end) {
            const double r2 = squared(list.first[k] + i);
            within = r2 < m.sw.cutoff * m.sw.cutoff;
            if (r2 < SAME_PLACE && m.sw.protection == 0 && seen) {
                within = false;
                if (coincide != nullptr)
                    atomicMin(coincide, (unsigned long long)list.centre[k] << 32 |
                                            (unsigned)list.index[list.first[k] + i]);
            }
        }
        const unsigned vote = warp_vote(within);
        if (within)
            place[total + before_me(vote)] = list.first[k] + i;
        total += __popc(vote);
    }

    // Whether the neighbour is among the `left` nearest of all, and of its section has a slot; those that go are
    // marked by negative places.
    __device__ bool keeps(int mine, int64_t left) const
    {
        const int64_t own = place[mine] < 0 ? ~place[mine] : place[mine];
        const double r2 = squared(own);
        const int t = atoms.type[list.index[own]];
        int nearer = 0, of_section = 0;
        for (int i = 0; i < total; i++) {
            const int64_t other = place[i] < 0 ? ~place[i] : place[i];
            const double distance = squared(other);
            if (distance < r2 || (distance == r2 && i < mine)) { // they are by type and place already
                nearer++;
                of_section += section(atoms.type[list.index[other]]) == section(t);
            }
        }
        return nearer < left && of_section < m.sel[section(t)];
    }
};

template <typename ereal>
__global__ void __launch_bounds__(THREADS) collect_kernel(Member m, Atoms atoms, List list, Near near, Tally tally,
                                                          bool tallied, int32_t *outside)
{
    const int k = row_of();
    if (k >= atoms.centres)
        return;
    Collector of(m, atoms, list, near, k);
    if (of.type < 0) {
        of.clear();
        return;
    }
    if (of.find(tallied ? tally.coincide : nullptr)) {
        const int dropped = of.truncate();
        if (tallied && lane_of() == 0)
            atomicAdd(tally.dropped, (unsigned long long)dropped);
    }
    of.settle();
    if (m.kind == DPC_THREE_BODY || !tallied || (tally.range == nullptr && outside == nullptr))
        return;
    const unsigned others = of.template count_inputs<ereal>(tally);
    if (outside != nullptr && m.folded != nullptr && m.folded[of.type] && lane_of() == 0)
        outside[k] += (int32_t)others;
}

__global__ void __launch_bounds__(THREADS) split_kernel(Group group, const int32_t *outside, int32_t *within,
                                                        int32_t *within_count, int32_t *rest, int32_t *rest_count)
{
    const int row = (int)thread_of(), left = rows_of(group);
    const int k = row < left ? group.list[group.begin + row] : 0;
    const bool inside = row < left && outside[k] == 0, other = row < left && !inside;
    const unsigned votes[2] = {warp_vote(inside), warp_vote(other)};
    int32_t *const counts[2] = {within_count, rest_count}, *const lists[2] = {within, rest};
    for (int which = 0; which < 2; which++) {
        int begin = 0;
        if (lane_of() == 0 && votes[which] != 0)
            begin = atomicAdd(counts[which], __popc(votes[which]));
        begin = warp_get(begin, 0);
        if (which == 0 ? inside : other)
            lists[which][begin + before_me(votes[which])] = k;
    }
}

} // namespace

template <typename real, typename ereal>
dpc_status collect(const Member &m, const Atoms &atoms, const List &list, const Near &near, const Tally *tally,
                   int32_t *outside, Stream stream, dpc_error *err)
{
    return launch(collect_kernel<ereal>, warp_blocks((size_t)atoms.centres), THREADS, 0, stream, err, m, atoms, list,
                  near, tally != nullptr ? *tally : Tally{}, tally != nullptr, outside);
}

dpc_status split(const Group &group, const int32_t *outside, int32_t *within, int32_t *within_count, int32_t *rest,
                 int32_t *rest_count, Stream stream, dpc_error *err)
{
    return launch(split_kernel, thread_blocks((size_t)group.most), THREADS, 0, stream, err, group, outside,
                  within, within_count, rest, rest_count);
}

template dpc_status collect<double, double>(const Member &, const Atoms &, const List &, const Near &, const Tally *,
                                            int32_t *, Stream, dpc_error *);
template dpc_status collect<float, float>(const Member &, const Atoms &, const List &, const Near &, const Tally *,
                                          int32_t *, Stream, dpc_error *);
template dpc_status collect<float, double>(const Member &, const Atoms &, const List &, const Near &, const Tally *,
                                           int32_t *, Stream, dpc_error *);

} // namespace dpc
