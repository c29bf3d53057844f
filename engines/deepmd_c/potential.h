/* potential.h - one loaded model, or an ensemble, whose mean it is: evaluates a frame, in double */
#ifndef DPC_DEEPMD_C_POTENTIAL_H
#define DPC_DEEPMD_C_POTENTIAL_H

#include "dpc.hpp"

#include <string>

namespace dpc_deepmd_c {

class Potential {
public:
    /* Throws std::runtime_error with a sentence for the user. content: the file's bytes; empty: they are read. */
    Potential(const std::string &path, const std::string &content);

    const dpc_model_info &info() const { return info_; }
    std::vector<std::string> type_names() const { return model_.type_names(); }

    void compute(const dpc_atoms &atoms, const dpc_neighbours &neighbours, const dpc_result &result);
    /* With a list of its own; cell [3][3] or NULL. */
    void compute(const dpc_atoms &atoms, const double *cell, const dpc_result &result);

private:
    dpc::Model model_;
    dpc::Workspace workspace_;
    dpc::List list_;
    dpc_model_info info_;
};

} // namespace dpc_deepmd_c
#endif
