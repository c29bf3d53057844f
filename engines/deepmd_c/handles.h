/* handles.h - what is behind the handles of DeePMD-kit's C interface */
#ifndef DPC_DEEPMD_C_HANDLES_H
#define DPC_DEEPMD_C_HANDLES_H

#include "deepmd_c.h"
#include "potential.h"

#include <exception>
#include <string>
#include <vector>

namespace dpc_deepmd_c {

/* Programs pass a handle on as one of its base, without the cast that C++ would do: there is one base, at the start. */
struct Handle {
    virtual ~Handle() = default;
    std::vector<Potential> potentials; /* none: it could not be made, and `error` says why */
    std::string error;
};

/* Runs what may throw, and leaves the reason with the handle. */
template <typename Work>
void guarded(Handle &handle, Work work)
{
    handle.error.clear();
    try {
        work();
    } catch (const std::exception &problem) {
        handle.error = problem.what();
    }
}

/* A copy for DP_DeleteChar, zero at its end. */
const char *copied(const std::string &text);

} // namespace dpc_deepmd_c

struct DP_Nlist {
    int centres, *centre, *count, **list;
    int mask = -1;
};

struct DP_DeepBaseModel : dpc_deepmd_c::Handle {};
struct DP_DeepPot : DP_DeepBaseModel {};
struct DP_DeepBaseModelDevi : dpc_deepmd_c::Handle {};
struct DP_DeepPotModelDevi : DP_DeepBaseModelDevi {};

#endif
