// cuda_on_host.h - CUDA's threads on the host: the kernels of cuda/, unchanged, one block at a time
//
// DPC_WARP 1: a thread is a warp. Else each thread is a fiber with a stack of its own, and warps and blocks meet at
// barriers as on a device; where some threads never come, the program stops. Between barriers threads run one after
// the other, from the last to the first if DPC_HOST_BACKWARD is set: what depends on that order lacks a barrier.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <ucontext.h>
#include <vector>

#ifndef DPC_WARP
#define DPC_WARP 1
#endif
#define __host__
#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define DPC_SHARED(type, name) type *const name = reinterpret_cast<type *>(host::shared)

struct Index {
    unsigned x, y, z;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
inline thread_local Index threadIdx, blockIdx, blockDim, gridDim;

#if defined(__SANITIZE_ADDRESS__)
#define DPC_HOST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define DPC_HOST_ASAN 1
#endif
#endif
#ifdef DPC_HOST_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace host {

inline thread_local unsigned char *shared;

struct Barrier {
    unsigned arrived = 0, generation = 0;
};

enum { STACK = 256 * 1024, SLOT = 16 };

// Between a thread's first step and its last it is left and taken up by jumps, since to switch contexts is a call of
// the system. It is one function, that of the next block after that of the last.
struct Fiber {
    std::unique_ptr<char[]> stack{new char[STACK]};
    void *at[5]; // of __builtin_setjmp
    void *sanitizer = nullptr;
    bool begun = false, done = true;
};

struct Block {
    std::vector<Fiber> fibers; // as many as there ever were in a block
    std::vector<Barrier> warps;
    std::vector<unsigned char> slots; // [threads][SLOT] what lanes hand each other
    Barrier all;
    void *scheduler[5];
    void *sanitizer = nullptr;
    const void *bottom = nullptr;
    size_t size = 0;
    const std::function<void()> *kernel = nullptr;
    bool progress = false;
};
inline thread_local Block own;
inline thread_local Block *block; // while one runs

// These two never return: the sanitizer, which is told of fibers, must not see more in them, nor guard their frames.
__attribute__((noinline, no_sanitize_address)) inline void jump(void **to) { __builtin_longjmp(to, 1); }

__attribute__((noinline)) inline void leave()
{
    Fiber &fiber = own.fibers[threadIdx.x];
#ifdef DPC_HOST_ASAN
    __sanitizer_start_switch_fiber(&fiber.sanitizer, own.bottom, own.size);
#endif
    if (__builtin_setjmp(fiber.at) == 0)
        jump(own.scheduler);
#ifdef DPC_HOST_ASAN
    __sanitizer_finish_switch_fiber(own.fibers[threadIdx.x].sanitizer, &own.bottom, &own.size);
#endif
}

inline void begin()
{
#ifdef DPC_HOST_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &own.bottom, &own.size);
#endif
    for (;;) {
        (*own.kernel)();
        own.fibers[threadIdx.x].done = own.progress = true;
        leave();
    }
}

__attribute__((noinline, no_sanitize_address)) inline void start(Fiber &fiber)
{
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = fiber.stack.get();
    context.uc_stack.ss_size = STACK;
    context.uc_link = nullptr;
    makecontext(&context, begin, 0);
    setcontext(&context);
}

__attribute__((noinline)) inline void resume(unsigned thread)
{
    Fiber &fiber = own.fibers[thread];
    threadIdx.x = thread;
#ifdef DPC_HOST_ASAN
    __sanitizer_start_switch_fiber(&own.sanitizer, fiber.stack.get(), STACK);
#endif
    if (__builtin_setjmp(own.scheduler) == 0) {
        if (fiber.begun)
            jump(fiber.at);
        fiber.begun = true;
        start(fiber);
    }
#ifdef DPC_HOST_ASAN
    __sanitizer_finish_switch_fiber(own.sanitizer, nullptr, nullptr);
#endif
}

// Every thread of a block, from barrier to barrier.
inline void run_fibers(unsigned threads, const std::function<void()> &kernel)
{
    static const bool backward = std::getenv("DPC_HOST_BACKWARD") != nullptr;
    while (own.fibers.size() < threads)
        own.fibers.emplace_back();
    own.warps.assign((threads + DPC_WARP - 1) / DPC_WARP, Barrier());
    own.all = Barrier();
    own.slots.resize((size_t)threads * SLOT);
    own.kernel = &kernel;
    block = &own;
    for (unsigned i = 0; i < threads; i++)
        own.fibers[i].done = false;
    for (unsigned left = threads; left > 0;) {
        own.progress = false;
        left = 0;
        for (unsigned i = 0; i < threads; i++) {
            const unsigned thread = backward ? threads - 1 - i : i;
            if (!own.fibers[thread].done) {
                resume(thread);
                left += !own.fibers[thread].done;
            }
        }
        if (left > 0 && !own.progress) {
            std::fprintf(stderr, "cuda_on_host: %u threads wait at a barrier that others never reach\n", left);
            std::abort();
        }
    }
    block = nullptr;
}

inline void run(unsigned blocks, unsigned threads, size_t bytes, const std::function<void()> &kernel)
{
    std::unique_ptr<unsigned char[]> memory(new unsigned char[bytes + 16]);
    gridDim = {blocks, 1, 1};
    blockDim = {threads, 1, 1};
    for (unsigned i = 0; i < blocks; i++) {
        std::memset(memory.get(), 0xff, bytes); // no number: shared memory begins as anything
        shared = memory.get();
        blockIdx = {i, 0, 0};
        if (DPC_WARP == 1 && threads == 1) {
            threadIdx = {0, 0, 0};
            kernel();
        } else {
            run_fibers(threads, kernel);
        }
    }
}

inline void wait(Barrier &barrier, unsigned threads)
{
    if (threads == 1)
        return;
    const unsigned generation = barrier.generation;
    if (++barrier.arrived == threads) {
        barrier.arrived = 0;
        barrier.generation++;
        block->progress = true;
        return;
    }
    const Index me = threadIdx;
    while (barrier.generation == generation) {
        leave();
        threadIdx = me;
    }
}

inline void wait_warp()
{
    if (DPC_WARP > 1)
        wait(block->warps[threadIdx.x / DPC_WARP], DPC_WARP);
}

// What thread `from` of this thread's warp gave.
template <typename T> T exchange(T x, unsigned from)
{
    static_assert(sizeof(T) <= SLOT, "a lane can hand over 16 bytes");
    if (DPC_WARP == 1)
        return x;
    unsigned char *slots = block->slots.data();
    std::memcpy(slots + (size_t)threadIdx.x * SLOT, &x, sizeof(T));
    wait_warp();
    T got;
    std::memcpy(&got, slots + ((size_t)threadIdx.x / DPC_WARP * DPC_WARP + from) * SLOT, sizeof(T));
    wait_warp();
    return got;
}

// A bit for each lane of this thread's warp that says yes.
inline unsigned vote(bool yes)
{
    if (DPC_WARP == 1)
        return yes;
    unsigned char *slots = block->slots.data() + (size_t)threadIdx.x / DPC_WARP * DPC_WARP * SLOT;
    slots[threadIdx.x % DPC_WARP * SLOT] = yes;
    wait_warp();
    unsigned lanes = 0;
    for (unsigned lane = 0; lane < DPC_WARP; lane++)
        lanes |= (unsigned)slots[lane * SLOT] << lane;
    wait_warp();
    return lanes;
}

} // namespace host

inline void __syncwarp(unsigned = ~0u) { host::wait_warp(); }
inline void __syncthreads()
{
    if (blockDim.x > 1)
        host::wait(host::block->all, blockDim.x);
}
template <typename T> T __shfl_sync(unsigned, T x, int from) { return host::exchange(x, (unsigned)from % DPC_WARP); }
template <typename T> T __shfl_xor_sync(unsigned, T x, int bits)
{
    return host::exchange(x, (threadIdx.x % DPC_WARP) ^ (unsigned)bits);
}
inline unsigned __ballot_sync(unsigned, int yes) { return host::vote(yes != 0); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz((unsigned)x); }
inline void __threadfence() {}
template <typename T> T __ldg(const T *p) { return *p; }
template <typename T, typename U> T atomicAdd(T *p, U x) { T old = *p; *p += (T)x; return old; }
template <typename T> T atomicMax(T *p, T x) { T old = *p; if (x > old) *p = x; return old; }
template <typename T> T atomicMin(T *p, T x) { T old = *p; if (x < old) *p = x; return old; }
template <typename T> T atomicExch(T *p, T x) { T old = *p; *p = x; return old; }
template <typename T> T atomicCAS(T *p, T was, T x) { T old = *p; if (old == was) *p = x; return old; }
inline double rsqrt(double x) { return 1 / __builtin_sqrt(x); }

// ---- the runtime's functions that cuda/ calls ----------------------------------------------------------------------
typedef int cudaError_t;
typedef void *cudaStream_t;
enum { cudaSuccess = 0, cudaErrorMemoryAllocation = 2, cudaErrorNoDevice = 100 };
enum cudaMemcpyKind { cudaMemcpyHostToHost, cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice, cudaMemcpyDefault };

inline const char *cudaGetErrorString(cudaError_t code) { return code == cudaErrorMemoryAllocation ? "out of memory" : "error"; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaGetDeviceCount(int *count) { *count = 1; return cudaSuccess; }
inline cudaError_t cudaGetDevice(int *device) { *device = 0; return cudaSuccess; }
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline cudaError_t cudaMalloc(void **p, size_t n) { *p = std::malloc(n ? n : 1); return *p ? cudaSuccess : cudaErrorMemoryAllocation; }
inline cudaError_t cudaFree(void *p) { std::free(p); return cudaSuccess; }
inline cudaError_t cudaMallocHost(void **p, size_t n) { return cudaMalloc(p, n); }
inline cudaError_t cudaFreeHost(void *p) { return cudaFree(p); }
inline cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, cudaMemcpyKind, cudaStream_t) { if (n) std::memcpy(to, from, n); return cudaSuccess; }
inline cudaError_t cudaMemcpy(void *to, const void *from, size_t n, cudaMemcpyKind) { if (n) std::memcpy(to, from, n); return cudaSuccess; }
inline cudaError_t cudaMemsetAsync(void *p, int value, size_t n, cudaStream_t) { if (n) std::memset(p, value, n); return cudaSuccess; }
inline cudaError_t cudaStreamCreate(cudaStream_t *stream) { *stream = nullptr; return cudaSuccess; }
inline cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
inline cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t rows, cudaMemcpyKind, cudaStream_t)
{
    for (size_t i = 0; i < rows; i++)
        std::memcpy((char *)to + i * to_pitch, (const char *)from + i * from_pitch, width);
    return cudaSuccess;
}
