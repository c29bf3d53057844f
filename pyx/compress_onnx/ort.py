"""ort - an onnxruntime session for our models: our kernels registered, our options, errors in one sentence."""

from __future__ import annotations

import os
import re
from pathlib import Path

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as _state

from . import digest, lib
from .model import ModelError

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
CUDA_LIBRARY = "libdpc_cuda.so"
# onnxruntime's exceptions have no base class of their own
ORT_ERRORS = tuple({e for e in vars(_state).values() if isinstance(e, type) and issubclass(e, Exception)})


def ort_library_path() -> str:
    """Where libdpc_ort is: for `SessionOptions.register_custom_ops_library` of any onnxruntime from 1.18 on."""
    return str(lib.path("libdpc_ort"))


def session(model, *, threads=1, library=True, verify=True, device="cpu") -> onnxruntime.InferenceSession:
    """An InferenceSession of a model file, or of its bytes where it has no external data.

    threads: of the session's own pool. library: run the native kernels; False runs the function bodies that the file
    carries, which is slow and for checking. verify: refuse a file that is damaged, by its digest.
    device: "cpu", or "cuda:N" of an onnxruntime that has CUDA. Raises ModelError where the model does not load.
    """
    name = "the model" if isinstance(model, bytes) else os.fspath(model)
    providers = _providers(device, name, library)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # every new number of pairs would be a new pattern, kept for ever
    options.log_severity_level = 4  # what goes wrong is raised
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not isinstance(model, bytes) and not Path(name).is_file():
        raise ModelError(f"{name}: there is no such file.")
    if not isinstance(model, bytes) and verify:
        digest.verify(name)
    try:
        if library:
            options.register_custom_ops_library(ort_library_path())
        source = model if isinstance(model, bytes) else name
        made = onnxruntime.InferenceSession(source, options, providers=providers)
    except _state.InvalidProtobuf:
        raise ModelError(f"{name}: this is not an ONNX model.") from None
    except ORT_ERRORS as error:
        raise ModelError(f"{name}: onnxruntime cannot load it: {reason(error)}") from error
    if device != "cpu" and CUDA not in made.get_providers():  # it goes on without, as if nothing had been asked for
        raise ModelError(f"{name}: onnxruntime finds no {device}: see to its CUDA libraries, or choose runtime native.")
    return made


def _providers(device, name, library) -> list:
    """What runs a model on `device`, the first that can."""
    kind, _, number = device.partition(":")
    if device == "cpu":
        return [CPU]
    if kind != "cuda" or not (number or "0").isdigit():
        raise ValueError(f"a device is cpu or cuda:NUMBER, not {device}")
    if CUDA not in onnxruntime.get_available_providers():
        raise ModelError(
            f"{name}: this onnxruntime has no {CUDA} for {device}: install onnxruntime-gpu, or choose runtime native."
        )
    if library and not os.environ.get("DPC_CUDA_LIBRARY") and not Path(lib.__file__).with_name(CUDA_LIBRARY).exists():
        raise ModelError(
            f"{name}: this build of compress_onnx has no {CUDA_LIBRARY}: build it with COMPRESS_ONNX_CUDA=on."
        )
    return [(CUDA, {"device_id": int(number or 0)}), CPU]


def reason(error) -> str:
    """The first line of what an onnxruntime error says, without the code, the class and the node around it."""
    line = str(error).partition("\n")[0]
    for mark in ("Status Message: ", "Exception during initialization: "):
        line = line.rpartition(mark)[2]
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", line).strip()
