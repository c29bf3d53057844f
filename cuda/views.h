// views.h - what a model's atoms are evaluated with, copied to a device as the stages take it
#pragma once
#include "memory.h"
#include "stages.h"
#include <map>
#include <vector>
extern "C" {
#include "device.h"
}

namespace dpc {

// dpc_view: of the atoms of one type.
struct View {
    std::vector<Channels> member;
    OtherInputs inputs;
    Net net;
    bool fitted = false; // whether there is a net
    int features = 0;    // inputs of the net
};

// dpc_term
struct Term {
    std::vector<Member> member;
    std::vector<View> full, fold; // [types]; a fold that is not fitted: there is none
    std::vector<bool> folds;      // [members] whether it is folded for any type
    Head head;
    bool paired = false; // whether there is a pair potential
    dpc_pair pair;       // its table and bias on the device
    Member list_of_pair;
};

// A net, and a table's nodes, as the stages take them.
dpc_status copy_layers(Pool &pool, const dpc_net &from, Net &to, dpc_error *err);
dpc_status copy_nodes(Pool &pool, const dpc_table &table, const void **to, dpc_error *err);

// A model's terms on the device that this thread is on.
class Views {
public:
    Views(const dpc_model *model) : model_(model), wanted_(model->types) {}

    // What atoms of these types [types], which are packed, need of each other and of those before.
    dpc_status add(const unsigned char *present, dpc_error *err);
    const std::vector<Term> &terms() const { return terms_; }

private:
    dpc_status copy_term(const dpc_term &from, Term &to, dpc_error *err);
    dpc_status copy_member(const dpc_term &term, const dpc_member &from, Member &to, dpc_error *err);
    dpc_status copy_grids(const dpc_member &from, const dpc_grid **to, dpc_error *err);
    dpc_status copy_view(const dpc_term &term, const dpc_view &from, View &to, dpc_error *err);
    dpc_status copy_channels(const dpc_term &term, size_t i, const dpc_channels &from, Channels &to, dpc_error *err);
    dpc_status copy_tables(const dpc_table *const *from, size_t rows, const dpc_table **to, dpc_error *err);
    dpc_status copy_net(const dpc_net *from, Net &to, dpc_error *err);
    dpc_status copy_pair(const dpc_term &term, Term &to, dpc_error *err);

    const dpc_model *model_;
    std::vector<unsigned char> wanted_;
    std::vector<Term> terms_;
    Pool small_, large_;                                  // made anew by each add(); kept
    std::map<const void *, const void *> nodes_, breaks_; // copies by what they are copies of
    std::map<const dpc_table *const *, const dpc_table *> tables_; // three bodies', which all types share
    std::map<const dpc_net *, Net> nets_;
};

} // namespace dpc
