// evaluate.cu - the stages of an evaluation in their order, over terms, types and chunks of centres
#include "evaluate.h"

#include <algorithm>

#ifndef DPC_ROWS
#define DPC_ROWS 8192 // centres that are evaluated together: what bounds the memory
#endif

namespace dpc {

namespace {

enum { MOST_ANGULAR_WARPS = 4096 };               // 16 on each of the multiprocessors of the largest devices
constexpr size_t ANGULAR_BYTES = (size_t)1 << 28; // for their nodes

size_t padded(size_t n)
{
    return dpc_round_up(n, NET_ALIGN);
}

// Hands out pieces of one array; without an array it measures them.
class Carver {
public:
    explicit Carver(unsigned char *memory) : memory_(memory) {}

    template <typename T> T *take(size_t count)
    {
        T *piece = memory_ != nullptr ? reinterpret_cast<T *>(memory_ + used_) : nullptr;
        used_ += dpc_round_up(count * sizeof(T), 256);
        return piece;
    }
    size_t used() const { return used_; }

private:
    unsigned char *memory_;
    size_t used_ = 0;
};

// The largest sizes that any term's views have for atoms at hand.
struct Extent {
    int rows = 0; // centres of a chunk
    std::vector<size_t> x, y; // [members] of a row
    std::vector<size_t> sections;
    size_t net[NET_LAYERS] = {}, widest = 1, features = 1, outputs = 1;
    bool paired = false;
    size_t nodes = 0; // of three bodies' largest table; 0: there are none

    explicit Extent(const Job &job)
    {
        for (size_t t = 0; t < job.model->types; t++)
            rows = std::max(rows, std::min(job.system->count_of(t), (int)DPC_ROWS));
        for (const Term &term : *job.terms) {
            const size_t members = std::max(term.member.size(), x.size());
            x.resize(members);
            y.resize(members);
            sections.resize(members);
            paired |= term.paired;
            outputs = std::max(outputs, (size_t)term.head.outputs);
            for (size_t i = 0; i < term.member.size(); i++) {
                const Member &m = term.member[i];
                sections[i] = std::max(sections[i], (size_t)m.sections);
                if (m.kind == DPC_THREE_BODY)
                    nodes = std::max({nodes, (size_t)m.nodes, (size_t)1});
            }
            for (size_t t = 0; t < term.full.size(); t++)
                if (job.system->count_of(t) > 0) {
                    add(term, term.full[t]);
                    add(term, term.fold[t]);
                }
        }
    }

private:
    void add(const Term &term, const View &view)
    {
        for (size_t i = 0; i < view.member.size(); i++)
            if (term.member[i].kind == DPC_TWO_BODY) {
                x[i] = std::max(x[i], 4 * (size_t)view.member[i].width);
                y[i] = std::max(y[i], 4 * (size_t)term.member[i].axis);
            }
        features = std::max(features, padded((size_t)view.features));
        for (int l = 0; view.fitted && l < view.net.layers; l++) {
            net[l] = std::max(net[l], padded((size_t)view.net.layer[l].out));
            widest = std::max(widest, net[l]);
        }
    }
};

template <typename real, typename ereal> class Evaluation {
public:
    Evaluation(const Job &job, const Extent &extent, Stream stream, Carver &carve)
        : job_(job), atoms_(job.system->atoms()), list_(job.system->list()), stream_(stream), rows_(extent.rows)
    {
        const size_t centres = (size_t)atoms_.centres, pairs = (size_t)list_.pairs, rows = (size_t)rows_;
        const size_t types = job.model->types, members = extent.x.size();
        pair_force_ = carve.take<ereal>(job.slopes * pairs * 3);
        outside_ = carve.take<int32_t>(centres);
        within_ = carve.take<int32_t>(centres);
        rest_ = carve.take<int32_t>(centres);
        counts_ = carve.take<int32_t>(2);
        partial_ = carve.take<double>(FORCE_PARTIALS * std::max(job.model->outputs, (size_t)9));
        for (size_t i = 0; i < members; i++)
            near_.push_back(carve_near(carve, pairs, centres, types, extent.sections[i]));
        if (extent.paired)
            near_of_pair_ = carve_near(carve, pairs, centres, types, types);
        for (size_t i = 0; i < members; i++) {
            x_.push_back(carve.take<real>(rows * extent.x[i]));
            dx_.push_back(carve.take<real>(rows * extent.x[i]));
            y_.push_back(carve.take<real>(rows * extent.y[i]));
        }
        feature_ = carve.take<real>(rows * extent.features);
        for (size_t l = 0; l < NET_LAYERS; l++) {
            net_.h[l] = carve.take<real>(rows * extent.net[l]);
            net_.slope[l] = carve.take<real>(rows * extent.net[l]);
        }
        for (void *&dh : net_.dh)
            dh = carve.take<real>(rows * extent.widest);
        seed_ = carve.take<real>(rows * extent.widest);
        value_ = carve.take<double>(rows * extent.outputs);
        share_ = carve.take<double>(rows);
        if (extent.nodes > 0)
            angles_ = carve_angles(carve, pairs, extent.nodes);
    }

    dpc_status run(dpc_error *err)
    {
        const dpc_model &model = *job_.model;
        const std::vector<Term> &terms = *job_.terms;
        since_ = job_.stage != nullptr ? dpc_seconds() : 0;
        DPC_TRY(clear(job_.out.atom_energy, job_.system->local() * model.outputs, err));
        for (size_t k = 0; k < terms.size(); k++) {
            const size_t number = model.term[k].model;
            if (k == 0 || number != model.term[k - 1].model)
                DPC_TRY(clear(pair_force_, job_.slopes * (size_t)list_.pairs * 3, err));
            DPC_TRY(add_term(k, err));
            if (k + 1 == terms.size() || number != model.term[k + 1].model)
                DPC_TRY(gather(number, err));
        }
        const int seen = model.intensive ? job_.system->seen() : 0;
        return sum_values((int)job_.system->local(), (int)model.outputs, job_.out.atom_energy, seen > 0 ? 1.0 / seen : 1,
                          job_.out.energy, partial_, stream_, err);
    }

private:
    static Near carve_near(Carver &carve, size_t pairs, size_t centres, size_t types, size_t sections)
    {
        return {carve.take<int64_t>(pairs), carve.take<int32_t>(centres * types),
                carve.take<int32_t>(centres * sections), carve.take<int32_t>(centres * types)};
    }

    // Of as many warps as a device runs at once, or as many as their nodes leave room for.
    AngularScratch carve_angles(Carver &carve, size_t pairs, size_t nodes) const
    {
        const size_t bytes = 3 * nodes * sizeof(real), wanted = std::min((size_t)rows_, (size_t)MOST_ANGULAR_WARPS);
        const size_t warps = std::max(std::min(wanted, ANGULAR_BYTES / bytes), (size_t)1);
        const size_t whole = dpc_round_up(warps, WARPS);
        return {carve.take<ereal>(4 * pairs), carve.take<ereal>(4 * pairs), carve.take<real>(whole * 3 * nodes), whole};
    }

    template <typename T> dpc_status clear(T *memory, size_t count, dpc_error *err)
    {
        return fill(memory, 0, count * sizeof(T), stream_, err);
    }

    // Books the time since the last call on `stage`.
    dpc_status lap(int stage, dpc_error *err)
    {
        if (job_.stage == nullptr)
            return DPC_OK;
        DPC_CUDA_TRY(cudaStreamSynchronize(stream_), "evaluation");
        const double now = dpc_seconds();
        job_.stage[stage] += now - since_;
        since_ = now;
        return DPC_OK;
    }

    // Forces of one model of an ensemble.
    dpc_status gather(size_t number, dpc_error *err)
    {
        const Outcome &out = job_.out;
        const size_t all = (size_t)atoms_.all;
        for (size_t o = 0; o < job_.slopes; o++) {
            const size_t slope = number * job_.slopes + o;
            DPC_TRY(gather_forces(atoms_, list_, pair_force_ + o * (size_t)list_.pairs * 3, out.force + 3 * all * slope,
                                  out.atom_virial != nullptr ? out.atom_virial + 9 * all * slope : nullptr,
                                  out.virial + 9 * slope, partial_, stream_, err));
        }
        return lap(DPC_STAGE_FORCES, err);
    }

    dpc_status add_term(size_t k, dpc_error *err)
    {
        const Term &term = (*job_.terms)[k];
        const dpc_term &host = job_.model->term[k];
        number_ = host.model;
        tally_ = job_.out.tally;
        if (host.common != DPC_APART) // the term before has counted the neighbours
            tally_.dropped = job_.out.uncounted;
        DPC_TRY(clear(outside_, (size_t)atoms_.centres, err));
        for (size_t i = 0; i < term.member.size(); i++)
            DPC_TRY((collect<real, ereal>(term.member[i], atoms_, list_, near_[i], &tally_,
                                          term.folds[i] ? outside_ : nullptr, stream_, err)));
        if (term.paired)
            DPC_TRY((collect<real, ereal>(term.list_of_pair, atoms_, list_, near_of_pair_, nullptr, nullptr, stream_,
                                          err)));
        DPC_TRY(lap(DPC_STAGE_NEIGHBOURS, err));
        for (size_t t = 0; t < job_.model->types; t++)
            if (job_.system->count_of(t) > 0)
                DPC_TRY(add_type(term, t, err));
        return DPC_OK;
    }

    dpc_status add_type(const Term &term, size_t t, dpc_error *err)
    {
        const Group all = job_.system->of_type(t);
        if (!term.fold[t].fitted)
            return add_group(term, term.full[t], all, err);
        DPC_TRY(clear(counts_, 2, err));
        DPC_TRY(split(all, outside_, within_, counts_, rest_, counts_ + 1, stream_, err));
        DPC_TRY(add_group(term, term.fold[t], {all.type, 0, all.most, within_, counts_}, err));
        return add_group(term, term.full[t], {all.type, 0, all.most, rest_, counts_ + 1}, err);
    }

    // Chunk by chunk.
    dpc_status add_group(const Term &term, const View &view, Group group, dpc_error *err)
    {
        const int count = group.most;
        for (group.begin = 0; group.begin < count; group.begin += rows_) {
            group.most = std::min(count - group.begin, rows_);
            DPC_TRY(add_values(term, view, group, err));
            for (size_t o = 0; view.fitted && o < job_.slopes; o++)
                DPC_TRY(differentiate(term, view, group, (int)o, err));
        }
        return DPC_OK;
    }

    // x of two-body descriptors, for heads.
    Directions directions(const Term &term, const View &view) const
    {
        Directions x = {};
        for (size_t i = 0; i < term.member.size(); i++)
            if (term.member[i].kind == DPC_TWO_BODY && x.members < MOST_DIRECTIONS) {
                x.x[x.members] = x_[i];
                x.dx[x.members] = dx_[i];
                x.width[x.members++] = view.member[i].width;
            }
        return x;
    }

    static int outputs_ld(const View &view)
    {
        return (int)padded((size_t)view.net.layer[view.net.layers - 1].out);
    }

    const real *outputs_of(const View &view) const
    {
        return static_cast<const real *>(net_.h[view.net.layers - 1]);
    }

    // Neighbours -> results of each row.
    dpc_status add_values(const Term &term, const View &view, const Group &group, dpc_error *err)
    {
        const int ld = (int)padded((size_t)view.features);
        const Directions x = directions(term, view);
        for (size_t i = 0; i < term.member.size(); i++) {
            const Member &m = term.member[i];
            const Channels &c = view.member[i];
            if (m.kind == DPC_THREE_BODY) // which counts its inputs, fitted or not
                DPC_TRY((angular<real, ereal>(m, c, group, atoms_, list_, near_[i], angles_, &tally_, feature_, ld,
                                              stream_, err)));
            else if (view.fitted)
                DPC_TRY((contract<real, ereal>(m, c, group, atoms_, list_, near_[i], x_[i], feature_, ld, stream_, err)));
        }
        DPC_TRY(lap(DPC_STAGE_CONTRACTION, err));
        if (view.fitted) {
            for (size_t i = 0; i < term.member.size(); i++)
                if (term.member[i].kind == DPC_TWO_BODY)
                    DPC_TRY(describe<real>(term.member[i], view.member[i], group, x_[i], y_[i], feature_, ld, stream_, err));
            DPC_TRY(other_inputs<real>(view.inputs, group, atoms_, list_, feature_, ld, stream_, err));
            DPC_TRY(lap(DPC_STAGE_DESCRIPTOR, err));
            DPC_TRY(net_forward<real>(view.net, group, feature_, ld, net_, stream_, err));
        }
        DPC_TRY(head_values<real>(term.head, group, view.fitted ? outputs_of(view) : nullptr,
                                  view.fitted ? outputs_ld(view) : 0, x, value_, stream_, err));
        if (term.paired)
            DPC_TRY(pair_mix<ereal>(term.list_of_pair, term.pair, group, atoms_, list_, near_of_pair_, value_, share_,
                                    job_.slopes > 0 ? pair_force_ : nullptr, stream_, err));
        DPC_TRY(store_values(group, list_, term.head.outputs, value_, job_.out.atom_energy + number_,
                             (int)job_.model->outputs, stream_, err));
        return lap(DPC_STAGE_NET, err);
    }

    // Derivatives of result o -> those of each pair. Leaves all but the features as it was, for the next one.
    dpc_status differentiate(const Term &term, const View &view, const Group &group, int o, dpc_error *err)
    {
        const int ld = (int)padded((size_t)view.features), ld_out = outputs_ld(view);
        const Directions x = directions(term, view);
        ereal *pair_force = pair_force_ + (size_t)o * (size_t)list_.pairs * 3;
        DPC_TRY(head_seed<real>(term.head, group, o, x, term.paired ? share_ : nullptr, seed_, ld_out, stream_, err));
        DPC_TRY(net_back<real>(view.net, group, seed_, ld_out, net_, feature_, ld, stream_, err));
        DPC_TRY(lap(DPC_STAGE_NET, err));
        for (size_t i = 0; i < term.member.size(); i++)
            if (term.member[i].kind == DPC_TWO_BODY)
                DPC_TRY(describe_back<real>(term.member[i], view.member[i], group, x_[i], y_[i], feature_, ld, dx_[i],
                                            stream_, err));
        if (term.head.kind != DPC_ENERGY)
            DPC_TRY(head_directions<real>(term.head, group, o, outputs_of(view), ld_out, x, stream_, err));
        DPC_TRY(lap(DPC_STAGE_DESCRIPTOR, err));
        for (size_t i = 0; i < term.member.size(); i++) {
            const Member &m = term.member[i];
            const Channels &c = view.member[i];
            if (m.kind == DPC_THREE_BODY)
                DPC_TRY((angular_back<real, ereal>(m, c, group, atoms_, list_, near_[i], angles_, feature_, ld,
                                                   pair_force, stream_, err)));
            else
                DPC_TRY((contract_back<real, ereal>(m, c, group, atoms_, list_, near_[i], dx_[i], feature_, ld,
                                                    pair_force, stream_, err)));
        }
        return lap(DPC_STAGE_FORCES, err);
    }

    const Job &job_;
    const Atoms &atoms_;
    const List &list_;
    const Stream stream_;
    const int rows_;
    double since_ = 0;
    size_t number_ = 0; // of the term's model
    Tally tally_ = {};
    ereal *pair_force_; // [slopes][pairs][3]
    int32_t *outside_, *within_, *rest_, *counts_;
    double *partial_;
    std::vector<Near> near_;
    Near near_of_pair_ = {};
    std::vector<real *> x_, dx_, y_; // [members], of a chunk as what follows
    real *feature_, *seed_;
    NetScratch net_;
    double *value_, *share_;
    AngularScratch angles_ = {};
};

template <typename real, typename ereal> dpc_status evaluate_as(const Job &job, Stream stream, dpc_error *err)
{
    const Extent extent(job);
    Carver measure(nullptr);
    Evaluation<real, ereal>(job, extent, stream, measure);
    DPC_TRY(job.scratch->reserve(measure.used(), err));
    Carver carve(job.scratch->data());
    return Evaluation<real, ereal>(job, extent, stream, carve).run(err);
}

} // namespace

dpc_status evaluate(const Job &job, Stream stream, dpc_error *err)
{
    switch (job.model->precision) {
    case DPC_FLOAT32: return evaluate_as<float, float>(job, stream, err);
    case DPC_FLOAT64: return evaluate_as<double, double>(job, stream, err);
    default: return evaluate_as<float, double>(job, stream, err);
    }
}

} // namespace dpc
