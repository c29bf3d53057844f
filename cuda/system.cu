// system.cu - takes lists to a device when they change
#include "system.h"

namespace dpc {

namespace {

// A list in form (a), one after the other.
struct Flat {
    std::vector<int64_t> first;
    std::vector<int32_t> centre, index;

    explicit Flat(const dpc_neighbours &n) : first(n.centres + 1), centre(n.centres)
    {
        for (size_t k = 0; k < n.centres; k++) {
            const int32_t i = centre[k] = n.centre != nullptr ? n.centre[k] : (int32_t)k;
            first[k + 1] = first[k] + n.count[i];
        }
        index.resize((size_t)first[n.centres]);
        for (size_t k = 0; k < n.centres; k++)
            for (int32_t p = 0; p < n.count[centre[k]]; p++)
                index[(size_t)first[k] + p] = n.list[centre[k]][p] & n.mask;
    }
};

std::vector<int32_t> numbers_up_to(size_t n)
{
    std::vector<int32_t> numbers(n);
    for (size_t k = 0; k < n; k++)
        numbers[k] = (int32_t)k;
    return numbers;
}

} // namespace

bool System::knows(const dpc_atoms &atoms, const dpc_neighbours &neighbours) const
{
    return serial_ != 0 && neighbours.serial == serial_ && atoms.local == local_ &&
           atoms.local + atoms.ghost == (size_t)atoms_.all && neighbours.centres == (size_t)atoms_.centres;
}

dpc_status System::take(size_t types, const dpc_atoms &atoms, const dpc_neighbours &n, Stream stream, dpc_error *err)
{
    forget();
    local_ = atoms.local;
    atoms_.all = (int)(atoms.local + atoms.ghost);
    atoms_.centres = (int)n.centres;
    DPC_TRY(type_.upload(atoms.type, (size_t)atoms_.all, stream, err));
    if (n.first == nullptr) {
        const Flat flat(n);
        list_.pairs = flat.first.back();
        DPC_TRY(first_.upload(flat.first.data(), n.centres + 1, stream, err));
        DPC_TRY(given_index_.upload(flat.index.data(), flat.index.size(), stream, err));
        DPC_TRY(sort(types, atoms.type, flat.centre.data(), stream, err));
        DPC_TRY(arrange_list(types, given_index_.data(), nullptr, stream, err));
    } else {
        const size_t pairs = (size_t)(list_.pairs = n.first[n.centres]);
        DPC_TRY(first_.upload(n.first, n.centres + 1, stream, err));
        DPC_TRY(given_index_.upload(n.index, pairs, stream, err));
        if (n.shift != nullptr)
            DPC_TRY(given_shift_.upload(n.shift, 3 * pairs, stream, err));
        DPC_TRY(sort(types, atoms.type, numbers_up_to(n.centres).data(), stream, err));
        DPC_TRY(arrange_list(types, given_index_.data(), n.shift != nullptr ? given_shift_.data() : nullptr, stream,
                             err));
    }
    serial_ = n.serial;
    return DPC_OK;
}

dpc_status System::take_from_device(size_t types, const dpc_atoms &atoms, const dpc_neighbours &n, Stream stream,
                                    dpc_error *err)
{
    forget();
    local_ = atoms.local;
    atoms_.all = (int)(atoms.local + atoms.ghost);
    atoms_.centres = (int)n.centres;
    std::vector<int32_t> type((size_t)atoms_.all);
    DPC_TRY(type_.upload(atoms.type, type.size(), stream, err));
    DPC_TRY(first_.upload(n.first, n.centres + 1, stream, err));
    DPC_TRY(copy(type.data(), atoms.type, type.size(), stream, err));
    DPC_TRY(copy(&list_.pairs, n.first + n.centres, 1, stream, err));
    DPC_CUDA_TRY(cudaStreamSynchronize(stream), "types from the device");
    for (size_t i = 0; i < type.size(); i++)
        DPC_REQUIRE(type[i] < (int32_t)types, "atom %zu has type %d, the model has types 0 to %zu", i, (int)type[i],
                    types - 1);
    DPC_TRY(sort(types, type.data(), numbers_up_to(n.centres).data(), stream, err));
    DPC_TRY(arrange_list(types, n.index, n.shift, stream, err));
    serial_ = n.serial;
    return DPC_OK;
}

// Which types there are, and centres by type.
dpc_status System::sort(size_t types, const int32_t *type, const int32_t *centre, Stream stream, dpc_error *err)
{
    std::vector<int32_t> sorted((size_t)atoms_.centres);
    present_.assign(types, 0);
    count_.assign(types, 0);
    begin_.assign(types, 0);
    seen_ = 0;
    for (int i = 0; i < atoms_.all; i++)
        if (type[i] >= 0)
            present_[(size_t)type[i]] = 1;
    for (int k = 0; k < atoms_.centres; k++)
        if (type[centre[k]] >= 0)
            count_[(size_t)type[centre[k]]]++;
    for (size_t t = 0; t < types; t++) {
        begin_[t] = seen_;
        seen_ += count_[t];
    }
    std::vector<int> end = begin_;
    for (int k = 0; k < atoms_.centres; k++)
        if (type[centre[k]] >= 0)
            sorted[(size_t)end[(size_t)type[centre[k]]]++] = k;
    DPC_TRY(centre_.upload(centre, (size_t)atoms_.centres, stream, err));
    DPC_TRY(counts_.upload(count_.data(), types, stream, err));
    return sorted_.upload(sorted.data(), sorted.size(), stream, err);
}

dpc_status System::arrange_list(size_t types, const int32_t *index, const int32_t *shift, Stream stream, dpc_error *err)
{
    const size_t all = (size_t)atoms_.all, centres = (size_t)atoms_.centres, pairs = (size_t)list_.pairs;
    DPC_TRY(index_.reserve(pairs, err));
    DPC_TRY(shift_.reserve(shift != nullptr ? 3 * pairs : 0, err));
    DPC_TRY(of_type_.reserve(centres * (types + 1), err));
    DPC_TRY(back_first_.reserve(all + 1, err));
    DPC_TRY(back_.reserve(pairs, err));
    DPC_TRY(pair_centre_.reserve(pairs, err));
    DPC_TRY(scratch_.reserve(all + 1 + FORCE_PARTIALS, err));
    atoms_.type = type_.data();
    list_.first = first_.data();
    list_.centre = centre_.data();
    list_.index = index_.data();
    list_.shift = shift != nullptr ? shift_.data() : nullptr;
    list_.of_type = of_type_.data();
    list_.back_first = back_first_.data();
    list_.back = back_.data();
    list_.pair_centre = pair_centre_.data();
    List from = list_;
    from.index = index;
    from.shift = shift;
    return arrange(atoms_, (int)types, from, list_, scratch_.data(), stream, err);
}

void System::move(const double *position, const double *fparam, const double *aparam, const double *cell)
{
    atoms_.position = position;
    atoms_.fparam = fparam;
    atoms_.aparam = aparam;
    for (int i = 0; i < 9; i++)
        list_.cell[i] = cell != nullptr ? cell[i] : 0;
}

Group System::of_type(size_t type) const
{
    return {(int)type, 0, count_[type], sorted_.data() + begin_[type], counts_.data() + type};
}

} // namespace dpc
