// memory.h - memory of a device, freed with its scope; what a thread's device is
#pragma once
#include "runtime.h"
#include <vector>

namespace dpc {

// The device that a thread works on, until the end of a scope.
class OnDevice {
public:
    dpc_status enter(int device, dpc_error *err)
    {
        DPC_CUDA_TRY(cudaGetDevice(&before_), "the device of this thread");
        entered_ = true;
        DPC_CUDA_TRY(cudaSetDevice(device), "choice of a device");
        return DPC_OK;
    }
    OnDevice() = default;
    OnDevice(const OnDevice &) = delete;
    ~OnDevice()
    {
        if (entered_)
            cudaSetDevice(before_);
    }

private:
    int before_ = 0;
    bool entered_ = false;
};

// n bytes each of which is `byte`.
inline dpc_status fill(void *memory, int byte, size_t n, Stream stream, dpc_error *err)
{
    if (n > 0)
        DPC_CUDA_TRY(cudaMemsetAsync(memory, byte, n, stream), "filling of memory of the device");
    return DPC_OK;
}

// To or from a device.
template <typename T> dpc_status copy(T *to, const T *from, size_t count, Stream stream, dpc_error *err)
{
    if (count > 0)
        DPC_CUDA_TRY(cudaMemcpyAsync(to, from, count * sizeof(T), cudaMemcpyDefault, stream), "copy to or from a device");
    return DPC_OK;
}

// An array that only grows; its contents do not survive that.
template <typename T> class Array {
public:
    Array() = default;
    Array(Array &&other) noexcept : data_(other.data_), count_(other.count_)
    {
        other.data_ = nullptr;
        other.count_ = 0;
    }
    Array(const Array &) = delete;
    ~Array() { release(); }

    T *data() const { return data_; }
    size_t room() const { return count_; } // for so many

    void release()
    {
        cudaFree(data_);
        data_ = nullptr;
        count_ = 0;
    }

    dpc_status reserve(size_t count, dpc_error *err)
    {
        if (data_ != nullptr && count <= count_)
            return DPC_OK;
        release();
        const size_t more = count + count / 8 + 1; // lists become a little longer and shorter
        DPC_CUDA_TRY(cudaMalloc((void **)&data_, more * sizeof(T)), "memory of the device");
        count_ = more;
        return DPC_OK;
    }

    dpc_status upload(const T *from, size_t count, Stream stream, dpc_error *err)
    {
        DPC_TRY(reserve(count, err));
        return copy(data_, from, count, stream, err);
    }

private:
    T *data_ = nullptr;
    size_t count_ = 0;
};

// Copies on the device that are freed together.
class Pool {
public:
    Pool() = default;
    Pool(const Pool &) = delete;
    ~Pool() { clear(); }

    void clear()
    {
        for (void *memory : owned_)
            cudaFree(memory);
        owned_.clear();
    }

    // A copy of from [count], NULL for NULL; it has been made when this returns.
    template <typename T> dpc_status copy(const T *from, size_t count, const T **to, dpc_error *err)
    {
        const void *made = nullptr;
        DPC_TRY(copy_bytes(from, count * sizeof(T), &made, err));
        *to = static_cast<const T *>(made);
        return DPC_OK;
    }

    dpc_status copy_bytes(const void *from, size_t bytes, const void **to, dpc_error *err)
    {
        void *made = nullptr;
        *to = nullptr;
        if (from == nullptr)
            return DPC_OK;
        owned_.reserve(owned_.size() + 1);
        DPC_CUDA_TRY(cudaMalloc(&made, bytes + 1), "memory of the device");
        owned_.push_back(made);
        if (bytes > 0)
            DPC_CUDA_TRY(cudaMemcpy(made, from, bytes, cudaMemcpyDefault), "copy to the device");
        *to = made;
        return DPC_OK;
    }

private:
    std::vector<void *> owned_;
};

} // namespace dpc
