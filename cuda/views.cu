// views.cu - copies what ccore has packed to a device: tables, nets, constants of each term, member and type
#include "views.h"

namespace dpc {

namespace {

size_t components_of(const dpc_member &m)
{
    return m.kind == DPC_TWO_BODY ? 4 : 1;
}

// Weights as ccore packs them -> [in][ld], zeros behind `out`.
template <typename T> std::vector<T> unpack(const dpc_packed_layer &layer, size_t ld)
{
    std::vector<T> weight(layer.in * ld);
    const T *from = static_cast<const T *>(layer.weight);
    for (size_t k = 0; k < layer.in; k++)
        for (size_t n = 0; n < layer.out; n++)
            weight[k * ld + n] = from[(n / DPC_PANEL * layer.in_padded + k) * DPC_PANEL + n % DPC_PANEL];
    return weight;
}

// [n] -> [ld], zeros behind; NULL for NULL.
template <typename T> dpc_status copy_padded(Pool &pool, const void *from, size_t n, size_t ld, const void **to,
                                             dpc_error *err)
{
    std::vector<T> padded(ld);
    if (from != nullptr)
        memcpy(padded.data(), from, n * sizeof(T));
    return pool.copy_bytes(from != nullptr ? padded.data() : nullptr, ld * sizeof(T), to, err);
}

template <typename T> dpc_status copy_layers_of(Pool &pool, const dpc_net &from, Net &to, dpc_error *err)
{
    for (size_t l = 0; l < from.layers; l++) {
        const dpc_packed_layer &layer = from.layer[l];
        const size_t ld = dpc_round_up(layer.out, NET_ALIGN);
        Layer &made = to.layer[l];
        made = {(int)layer.in, (int)layer.out, layer.residual, layer.activation, nullptr, nullptr, nullptr};
        const std::vector<T> weight = unpack<T>(layer, ld);
        DPC_TRY(pool.copy_bytes(weight.data(), weight.size() * sizeof(T), &made.weight, err));
        DPC_TRY(copy_padded<T>(pool, layer.bias, layer.out, ld, &made.bias, err));
        DPC_TRY(copy_padded<T>(pool, layer.idt, layer.out, ld, &made.idt, err));
    }
    to.layers = (int)from.layers;
    if (from.last == nullptr)
        return DPC_OK;
    // the one output that ccore keeps apart
    const size_t in = from.layers > 0 ? from.layer[from.layers - 1].out : from.in;
    Layer &last = to.layer[to.layers++];
    last = {(int)in, 1, 0, DPC_LINEAR, nullptr, nullptr, nullptr};
    std::vector<T> weight(in * NET_ALIGN);
    for (size_t k = 0; k < in; k++)
        weight[k * NET_ALIGN] = static_cast<const T *>(from.last)[k];
    const T bias = (T)from.last_bias;
    DPC_TRY(pool.copy_bytes(weight.data(), weight.size() * sizeof(T), &last.weight, err));
    return copy_padded<T>(pool, &bias, 1, NET_ALIGN, &last.bias, err);
}

} // namespace

dpc_status copy_layers(Pool &pool, const dpc_net &from, Net &to, dpc_error *err)
{
    to = {};
    return from.dtype == DPC_F32 ? copy_layers_of<float>(pool, from, to, err)
                                 : copy_layers_of<double>(pool, from, to, err);
}

dpc_status copy_nodes(Pool &pool, const dpc_table &table, const void **to, dpc_error *err)
{
    return pool.copy_bytes(table.node, 3 * dpc_grid_nodes(&table.grid) * table.stride * dpc_dtype_size(table.dtype), to,
                           err);
}

dpc_status Views::add(const unsigned char *present, dpc_error *err)
{
    bool news = terms_.empty();
    for (size_t t = 0; t < model_->types; t++) {
        news |= present[t] && !wanted_[t];
        wanted_[t] |= present[t];
    }
    if (!news)
        return DPC_OK;
    terms_.clear(); // what is half done is begun again
    small_.clear();
    tables_.clear();
    std::vector<Term> terms(model_->terms);
    for (size_t k = 0; k < terms.size(); k++)
        DPC_TRY(copy_term(model_->term[k], terms[k], err));
    terms_ = std::move(terms);
    return DPC_OK;
}

dpc_status Views::copy_term(const dpc_term &from, Term &to, dpc_error *err)
{
    const dpc_fitting &f = from.fitting;
    to.member.resize(from.members);
    to.folds.resize(from.members);
    to.full.resize(from.types);
    to.fold.resize(from.types);
    for (size_t i = 0; i < from.members; i++) {
        DPC_TRY(copy_member(from, from.member[i], to.member[i], err));
        to.folds[i] = from.member[i].fold_rank != nullptr;
    }
    for (size_t t = 0; t < from.types; t++)
        if (wanted_[t]) {
            DPC_TRY(copy_view(from, from.full[t], to.full[t], err));
            if (from.fold[t].ready)
                DPC_TRY(copy_view(from, from.fold[t], to.fold[t], err));
        }
    to.head = {f.head, (int)f.outputs, (int)f.net_outputs, (int)from.rotations, (int)from.members, nullptr,
               (int)f.biases};
    DPC_TRY(small_.copy(f.bias, from.types * f.biases, &to.head.bias, err));
    to.paired = from.pair != nullptr;
    return to.paired ? copy_pair(from, to, err) : DPC_OK;
}

dpc_status Views::copy_pair(const dpc_term &term, Term &to, dpc_error *err)
{
    const dpc_pair &from = *term.pair;
    const double *table, *bias;
    DPC_TRY(small_.copy(from.table, term.types * term.types * from.intervals * 4, &table, err));
    DPC_TRY(small_.copy(from.bias, term.types, &bias, err));
    to.pair = from;
    to.pair.table = const_cast<double *>(table);
    to.pair.bias = const_cast<double *>(bias);
    return copy_member(term, from.list, to.list_of_pair, err);
}

dpc_status Views::copy_grids(const dpc_member &from, const dpc_grid **to, dpc_error *err)
{
    std::vector<dpc_grid> grids(from.grid, from.grid + from.tables);
    for (dpc_grid &grid : grids)
        if (grid.breaks != nullptr) {
            const void *&copy = breaks_[grid.breaks];
            if (copy == nullptr)
                DPC_TRY(large_.copy_bytes(grid.breaks, ((size_t)grid.rows0 + grid.rows1 + 1) * sizeof(double), &copy,
                                          err));
            grid.breaks = static_cast<const double *>(copy);
        }
    return small_.copy(grids.data(), grids.size(), to, err);
}

dpc_status Views::copy_member(const dpc_term &term, const dpc_member &from, Member &to, dpc_error *err)
{
    const size_t types = term.types, pairs = types * types;
    std::vector<int32_t> base(from.variants), folded(types);
    for (size_t v = 0; v < from.variants; v++)
        base[v] = (int32_t)dpc_base(&from, (int32_t)v);
    for (size_t t = 0; t < types; t++)
        folded[t] = from.fold_rank != nullptr && from.fold_rank[t] > 0;
    to = {};
    to.kind = from.kind;
    to.gate = from.gate;
    to.sw = from.sw;
    to.types = (int)types;
    to.sections = (int)from.sections;
    to.width = (int)from.width;
    to.axis = (int)from.axis;
    to.nodes = (int)from.nodes;
    to.total = from.total;
    to.per_count = from.per_count;
    to.first_table = (int)(term.first_table + from.first_table);
    DPC_TRY(small_.copy(from.sel, from.sections, &to.sel, err));
    DPC_TRY(small_.copy(from.mean, types, &to.mean, err));
    DPC_TRY(small_.copy(from.per_std, types, &to.per_std, err));
    DPC_TRY(small_.copy(from.ignored, pairs, &to.ignored, err));
    DPC_TRY(small_.copy(from.net, pairs, &to.net, err));
    DPC_TRY(small_.copy(from.gate_net, pairs, &to.gate_net, err));
    DPC_TRY(small_.copy(from.pad_net, types * from.sections, &to.pad_net, err));
    DPC_TRY(small_.copy(from.mask_net, pairs, &to.mask_net, err));
    DPC_TRY(small_.copy(from.weight, pairs, &to.weight, err));
    DPC_TRY(small_.copy(from.masked, pairs, &to.masked, err));
    DPC_TRY(small_.copy(base.data(), base.size(), &to.base, err));
    DPC_TRY(small_.copy(folded.data(), folded.size(), &to.folded, err));
    return copy_grids(from, &to.grid, err);
}

dpc_status Views::copy_view(const dpc_term &term, const dpc_view &from, View &to, dpc_error *err)
{
    const dpc_fitting &f = term.fitting;
    to.member.resize(term.members);
    for (size_t i = 0; i < term.members; i++)
        DPC_TRY(copy_channels(term, i, from.member[i], to.member[i], err));
    to.features = (int)(from.features + f.constants + f.fparams + f.aparams);
    to.inputs = {(int)from.features, (int)f.constants, (int)f.fparams, (int)f.aparams, nullptr, nullptr, nullptr};
    DPC_TRY(small_.copy(f.constant, term.types * f.constants, &to.inputs.constant, err));
    DPC_TRY(small_.copy(f.fparam, 2 * f.fparams, &to.inputs.fparam, err));
    DPC_TRY(small_.copy(f.aparam, 2 * f.aparams, &to.inputs.aparam, err));
    to.fitted = from.net != nullptr;
    return to.fitted ? copy_net(from.net, to.net, err) : DPC_OK;
}

dpc_status Views::copy_channels(const dpc_term &term, size_t i, const dpc_channels &from, Channels &to, dpc_error *err)
{
    const dpc_member &m = term.member[i];
    const size_t size = dpc_dtype_size(term.dtype), row = from.stride * size;
    const size_t rows = m.kind == DPC_THREE_BODY ? term.types : 1;
    to = {};
    to.width = (int)from.width;
    to.stride = (int)from.stride;
    to.first_feature = (int)from.first_feature;
    to.symmetric = from.symmetric;
    to.folded = from.axis != nullptr;
    DPC_TRY(copy_tables(from.table, rows, &to.table, err));
    DPC_TRY(copy_tables(from.gate, rows, &to.gate, err));
    DPC_TRY(small_.copy_bytes(from.pad, m.sections * components_of(m) * row, &to.pad, err));
    DPC_TRY(small_.copy_bytes(from.mask, term.types * row, &to.mask, err));
    return small_.copy_bytes(from.axis, from.width * m.axis * size, &to.axis, err);
}

// from [rows][types], of which those of wanted types may be read.
dpc_status Views::copy_tables(const dpc_table *const *from, size_t rows, const dpc_table **to, dpc_error *err)
{
    const size_t types = model_->types;
    std::vector<dpc_table> tables(rows * types);
    if (tables_[from] != nullptr) {
        *to = tables_[from];
        return DPC_OK;
    }
    for (size_t k = 0; k < tables.size(); k++) {
        if (!wanted_[k % types] || (rows > 1 && !wanted_[k / types]) || from[k] == nullptr)
            continue;
        dpc_table &table = tables[k] = *from[k];
        const void *&node = nodes_[table.node];
        if (node == nullptr)
            DPC_TRY(copy_nodes(large_, table, &node, err));
        table.node = const_cast<void *>(node);
        if (table.grid.breaks != nullptr) // the member's grids have been copied before
            table.grid.breaks = static_cast<const double *>(breaks_[table.grid.breaks]);
    }
    DPC_TRY(small_.copy(tables.data(), tables.size(), to, err));
    tables_[from] = *to;
    return DPC_OK;
}

dpc_status Views::copy_net(const dpc_net *from, Net &to, dpc_error *err)
{
    const auto known = nets_.find(from);
    if (known != nets_.end()) {
        to = known->second;
        return DPC_OK;
    }
    DPC_TRY(copy_layers(large_, *from, to, err));
    nets_[from] = to;
    return DPC_OK;
}

} // namespace dpc
