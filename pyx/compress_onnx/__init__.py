"""Compress Deep Potential models into one portable ONNX file, and run it."""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "compress": "compression",
    "convert": "compression",
    "DeepPot": "infer",
    "DeepDipole": "infer",
    "DeepPolar": "infer",
    "DeepDOS": "infer",
    "DeepProperty": "infer",
    "calc_model_devi": "deviation",
    "ort_library_path": "ort",
    "ModelError": "model",
}
__all__ = ["DeepDOS", "DeepDipole", "DeepPolar", "DeepPot", "DeepProperty", "ModelError", "__version__"]
__all__ += ["calc_model_devi", "compress", "convert", "ort_library_path"]


def __getattr__(name):
    """Import what is asked for only then, so that importing the package takes no time."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__():
    return sorted({*globals(), *_HOMES})
