// runtime.h - the CUDA runtime, or what stands for it on the host (cuda_on_host.h of the tests); launches, errors
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
extern "C" {
#include "common.h"
}

#ifdef DPC_CUDA_ON_HOST
#include "cuda_on_host.h"
#else
#include <cuda_runtime.h>
#define DPC_WARP 32
// The launch's shared memory, as an array of `type`.
#define DPC_SHARED(type, name)                             \
    extern __shared__ __align__(16) unsigned char shared_[]; \
    type *const name = reinterpret_cast<type *>(shared_)
#endif

#define DPC_CUDA_TRY(call, what)                                                                  \
    do {                                                                                          \
        const cudaError_t code_ = (call);                                                         \
        if (code_ != cudaSuccess)                                                                 \
            return dpc_fail(err, code_ == cudaErrorMemoryAllocation ? DPC_NO_MEMORY : DPC_DEVICE, \
                            "%s: %s", what, cudaGetErrorString(code_));                           \
    } while (0)

namespace dpc {

using Stream = cudaStream_t;

enum { WARPS = 4, THREADS = WARPS * DPC_WARP }; // of a block of kernels whose warps each work on a row of their own

// kernel<<<blocks, threads, shared, stream>>>(args...); an empty grid is nothing to do.
template <typename... Parameters, typename... Arguments>
dpc_status launch(void (*kernel)(Parameters...), size_t blocks, unsigned threads, size_t shared, Stream stream,
                  dpc_error *err, Arguments... arguments)
{
    if (blocks == 0)
        return DPC_OK;
    if (blocks > 0x7fffffff)
        return dpc_fail(err, DPC_INVALID, "%zu blocks are more than a device can be given at once", blocks);
#ifdef DPC_CUDA_ON_HOST
    host::run((unsigned)blocks, threads, shared, [&] { kernel(Parameters(arguments)...); });
    (void)stream;
#else
    if (shared > 48 * 1024)
        DPC_CUDA_TRY(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared),
                     "shared memory of a kernel");
    kernel<<<(unsigned)blocks, threads, shared, stream>>>(Parameters(arguments)...);
    DPC_CUDA_TRY(cudaGetLastError(), "launch of a kernel");
#endif
    return DPC_OK;
}

// Blocks of WARPS warps for `rows` rows.
inline size_t warp_blocks(size_t rows)
{
    return (rows + WARPS - 1) / WARPS;
}

// Blocks of THREADS threads for `n` of them.
inline size_t thread_blocks(size_t n)
{
    return (n + THREADS - 1) / THREADS;
}

} // namespace dpc
