"""torchfile - checkpoints as torch.save writes them, without torch: for tests."""

import io
import pickle
import sys
import zipfile
from types import ModuleType
from unittest import mock

import numpy as np

STORAGES = {
    "<f8": "DoubleStorage",
    "<f4": "FloatStorage",
    "<i8": "LongStorage",
    "<i4": "IntStorage",
    "|b1": "BoolStorage",
}


def flattened(module, prefix: str = "") -> dict[str, np.ndarray]:
    """state_dict of a module that readers.torch has read."""
    state = {}
    for name, value in module.attributes.items():
        if isinstance(value, np.ndarray):
            state[prefix + name] = value
        elif hasattr(value, "attributes"):
            state |= flattened(value, f"{prefix}{name}.")
    return state


def write_checkpoint(path, state: dict, definition: dict | None) -> str:
    """state: arrays by name; definition: what is called model_params, None to leave it out."""
    content = {} if definition is None else {"_extra_state": {"model_params": definition, "train_infos": {"step": 1}}}
    stand_ins = _modules()
    with mock.patch.dict(sys.modules, stand_ins), zipfile.ZipFile(path, "w") as archive:
        file = io.BytesIO()
        pickler = _Pickler(file, stand_ins)
        pickler.dump({"model": {**content, **state}, "optimizer": {"param_groups": [{"lr": 1e-3}]}})
        archive.writestr("m/data.pkl", file.getvalue())
        archive.writestr("m/byteorder", b"little")
        for key, array in enumerate(pickler.stored):
            archive.writestr(f"m/data/{key}", array.tobytes())
    return str(path)


def _modules() -> dict[str, ModuleType]:
    """Modules that have what such pickles name."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    for name in STORAGES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch", "__qualname__": name}))

    def rebuild():
        pass

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2, torch._utils = rebuild, utils
    return {"torch": torch, "torch._utils": utils}


class _Storage:
    def __init__(self, array: np.ndarray):
        self.array = array


class _Pickler(pickle.Pickler):
    def __init__(self, file, modules: dict[str, ModuleType]):
        super().__init__(file, protocol=2)
        self._torch = modules["torch"]
        self.stored: list[np.ndarray] = []

    def persistent_id(self, value):
        if not isinstance(value, _Storage):
            return None
        self.stored.append(value.array)
        kind = getattr(self._torch, STORAGES[value.array.dtype.str])
        return "storage", kind, str(len(self.stored) - 1), "cpu", value.array.size

    def reducer_override(self, value):
        if not isinstance(value, np.ndarray):
            return NotImplemented
        value = np.asarray(value, order="C")
        stride = tuple(step // value.itemsize for step in value.strides)
        return self._torch._utils._rebuild_tensor_v2, (_Storage(value), 0, value.shape, stride, False, {})
