// tools.cu - dpc_cuda.h's functions and copies, for engines that know libdpc_cuda by its table alone
#include "memory.h"
extern "C" {
#include "device.h"
#include "dpc_cuda.h"
}

namespace dpc {
namespace {

int devices()
{
    int count = 0;
    return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

int current()
{
    int device = 0;
    return cudaGetDevice(&device) == cudaSuccess ? device : 0;
}

dpc_status copy_bytes(void *to, const void *from, size_t bytes, void *stream, dpc_error *err)
{
    const auto on = static_cast<Stream>(stream);
    if (from == nullptr)
        return fill(to, 0, bytes, on, err);
    return copy(static_cast<char *>(to), static_cast<const char *>(from), bytes, on, err);
}

dpc_status wait(void *stream, dpc_error *err)
{
    DPC_CUDA_TRY(cudaStreamSynchronize(static_cast<Stream>(stream)), "work of the device");
    return DPC_OK;
}

} // namespace
} // namespace dpc

const dpc_device_tools dpc_cuda_tools = {
    dpc::devices,         dpc::current,       dpc::copy_bytes,     dpc::wait,
    dpc_cuda_list_create, dpc_cuda_list_free, dpc_cuda_list_build, dpc_cuda_list_view,
    dpc_cuda_quintic_eval,
};
