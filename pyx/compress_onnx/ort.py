"""ort - an onnxruntime session for our models: our kernels registered, our options, errors in one sentence."""

from __future__ import annotations

import os
import re
from pathlib import Path

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as _state

from . import digest, lib
from .model import ModelError

# onnxruntime's exceptions have no base class of their own
ORT_ERRORS = tuple({e for e in vars(_state).values() if isinstance(e, type) and issubclass(e, Exception)})


def ort_library_path() -> str:
    """Where libdpc_ort is: for `SessionOptions.register_custom_ops_library` of any onnxruntime from 1.18 on."""
    return str(lib.path("libdpc_ort"))


def session(model, *, threads=1, library=True, verify=True) -> onnxruntime.InferenceSession:
    """An InferenceSession of a model file, or of its bytes where it has no external data.

    threads: of the session's own pool. library: run the native kernels; False runs the function bodies that the file
    carries, which is slow and for checking. verify: refuse a file that is damaged, by its digest. Raises ModelError where the model does not load.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # every new number of pairs would be a new pattern, kept for ever
    options.log_severity_level = 4  # what goes wrong is raised
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    name = "the model" if isinstance(model, bytes) else os.fspath(model)
    if not isinstance(model, bytes) and not Path(name).is_file():
        raise ModelError(f"{name}: there is no such file.")
    if not isinstance(model, bytes) and verify:
        digest.verify(name)
    try:
        if library:
            options.register_custom_ops_library(ort_library_path())
        source = model if isinstance(model, bytes) else name
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except _state.InvalidProtobuf:
        raise ModelError(f"{name}: this is not an ONNX model.") from None
    except ORT_ERRORS as error:
        raise ModelError(f"{name}: onnxruntime cannot load it: {reason(error)}") from error


def reason(error) -> str:
    """The first line of what an onnxruntime error says, without the code, the class and the node around it."""
    line = str(error).partition("\n")[0]
    for mark in ("Status Message: ", "Exception during initialization: "):
        line = line.rpartition(mark)[2]
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", line).strip()
