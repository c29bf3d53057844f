"""torch - a frozen TorchScript .pth as a Model, without torch: a zip of storages and a pickle that names them.

The pickle runs in an unpickler that knows attribute bags, tensors and plain data: whatever else it asks
for is an error, so that a hostile file cannot run code.
"""

from __future__ import annotations

import io
import json
import pickle
import zipfile

import numpy as np

from ..model import Model, ModelError
from . import parts
from .native import dict_model

_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "|b1",
}
_PRECISIONS = {5: "float16", 6: "float32", 7: "float64", 15: "bfloat16"}
_DESCRIPTORS = {"DescrptSeA": "se_e2_a"}
_FITTINGS = {"EnergyFittingNet": "ener"}


class Module:
    """A scripted object: its attributes, and the name of its class without mangling. Methods are not read."""

    kind = ""

    def __new__(cls, *_):
        module = super().__new__(cls)
        module.attributes = {}
        return module

    def __setstate__(self, state: dict) -> None:
        if not isinstance(state, dict):
            raise ModelError(f"the state of {self.kind} is no dictionary: the file is damaged")
        self.attributes = state

    def __getitem__(self, name: str) -> object:
        if name not in self.attributes:
            raise ModelError(f"{self.kind} has no {name}: the file is damaged or too old, freeze the model again")
        return self.attributes[name]

    def get(self, name: str, default: object = None) -> object:
        return self.attributes.get(name, default)

    def children(self) -> list:
        """The entries of a ModuleList in their order."""
        return [self[str(number)] for number in range(sum(name.isdecimal() for name in self.attributes))]


class _Archive(pickle.Unpickler):
    """The object tree of `data.pkl`, tensors as numpy arrays."""

    def __init__(self, archive: zipfile.ZipFile):
        names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        self._archive = archive
        self._root = min(names, key=len).removesuffix("data.pkl")
        self._storages: dict[str, np.ndarray] = {}
        if f"{self._root}byteorder" in archive.namelist() and self._member("byteorder") != b"little":
            raise parts.unsupported("a big-endian archive", "freeze the model on a little-endian machine")
        super().__init__(io.BytesIO(self._member("data.pkl")))

    def _member(self, name: str) -> bytes:
        info = self._archive.getinfo(self._root + name)
        if info.compress_type != zipfile.ZIP_STORED:  # torch stores them, so no member is larger than the file
            raise ModelError(f"{name} is compressed inside the archive: export the model again")
        return self._archive.read(info)

    def find_class(self, module: str, name: str) -> object:
        # What is returned must not be mutable from the pickle: bound methods, strings, a built-in type, new classes.
        if module == "__torch__" or module.startswith("__torch__."):
            return type("Module", (Module,), {"kind": name.rpartition(".")[2]})
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        known: dict[tuple[str, str], object] = {
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch.jit._pickle", "restore_type_tag"): self._first,
            ("torch.jit._pickle", "build_intlist"): self._first,
            ("torch.jit._pickle", "build_doublelist"): self._first,
            ("torch.jit._pickle", "build_boollist"): self._first,
            ("torch.jit._pickle", "build_tensorlist"): self._first,
            ("collections", "OrderedDict"): dict,
            ("torch", "device"): self._first,
        }
        if (module, name) not in known:
            raise ModelError(
                f"its pickle asks for {module}.{name}, which no Deep Potential needs: "
                "the file may be hostile, do not load it with torch either"
            )
        return known[module, name]

    def _first(self, value: object, *_: object) -> object:
        return value

    def persistent_load(self, pid: tuple) -> tuple[np.ndarray, str]:
        _, dtype, key, _, count = pid
        if dtype == "bfloat16":
            raise parts.unsupported("precision bfloat16")
        if key not in self._storages:
            storage = np.frombuffer(self._member(f"data/{key}"), dtype=dtype)
            if storage.size != count:
                raise ModelError(f"storage {key} has {storage.size} numbers, not {count}: the file is damaged")
            self._storages[key] = storage
        return self._storages[key]

    def _tensor(self, storage: np.ndarray, offset: int, size: tuple, stride: tuple, *_: object) -> np.ndarray:
        count = int(np.prod(size, dtype=object))
        fits = len(size) == len(stride) and min((offset, *size, *stride)) >= 0 and count <= storage.size
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=False))
        if not fits or (count > 0 and last >= storage.size):
            raise ModelError(f"a tensor of shape {tuple(size)} reaches outside its storage: the file is damaged")
        strides = [step * storage.itemsize for step in stride]
        view = np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False)
        return np.array(view) if count else np.zeros(size, storage.dtype)


def read_torchscript(path: str, data: bytes) -> Model:
    try:
        root = _Archive(zipfile.ZipFile(io.BytesIO(data))).load()
    except (zipfile.BadZipFile, pickle.UnpicklingError, EOFError, KeyError, OSError) as error:
        raise ModelError(f"is a truncated or damaged PyTorch archive ({error}): freeze the model again") from None
    if not isinstance(root, Module):
        raise ModelError("is a TorchScript archive of something else than a model: give a frozen .pth")
    script = root.get("model_def_script")
    distance = root.get("min_nbor_dist")
    return dict_model(
        _model_tree(root),
        parts.source(path, data, "pytorch .pth"),
        None if distance is None else float(distance),
        json.loads(script) if script else None,
    )


def _model_tree(root: Module) -> dict:
    """The native dictionary of a scripted model."""
    if root.kind != "EnergyModel":
        raise parts.unsupported(f"a model of class {root.kind}")
    atomic = root["atomic_model"]
    if atomic.kind != "DPEnergyAtomicModel":
        raise parts.unsupported(f"an atomic model of class {atomic.kind}")
    if atomic.get("add_chg_spin_ebd"):
        raise parts.unsupported("the charge and spin embedding")
    return {
        "type": "standard",
        "@version": 2,
        "type_map": atomic["type_map"],
        "atom_exclude_types": _masked_types(atomic.get("atom_excl")),
        "pair_exclude_types": _masked_pairs(atomic.get("pair_excl")),
        "descriptor": _descriptor_tree(atomic["descriptor"]),
        "fitting": _fitting_tree(atomic["fitting_net"]),
        "@variables": {"out_bias": atomic["out_bias"]},
    }


def _descriptor_tree(descriptor: Module) -> dict:
    kind = _DESCRIPTORS.get(descriptor.kind)
    if kind is None:
        raise parts.unsupported(f"descriptor of class {descriptor.kind}")
    block = descriptor["sea"]
    return {
        "type": kind,
        "@version": 2,
        "compress": descriptor.get("compress") or block.get("compress"),
        "rcut": block["rcut"],
        "rcut_smth": block["rcut_smth"],
        "sel": block["sel"],
        "axis_neuron": block["axis_neuron"],
        "type_one_side": block["type_one_side"],
        "exclude_types": _masked_pairs(block.get("emask")),
        "env_protection": block.get("env_protection"),
        "precision": _PRECISIONS.get(block["prec"]),
        "embeddings": _collection_tree(block["filter_layers"]),
        "@variables": {"davg": block["mean"], "dstd": block["stddev"]},
    }


def _fitting_tree(fitting: Module) -> dict:
    kind = _FITTINGS.get(fitting.kind)
    if kind is None:
        raise parts.unsupported(f"fitting of class {fitting.kind}")
    names = ("numb_fparam", "numb_aparam", "dim_case_embd", "mixed_types", "use_aparam_as_mask")
    return {
        "type": kind,
        "@version": 4,
        **{name: fitting.get(name) for name in names},
        "exclude_types": _masked_types(fitting.get("emask")),
        "atom_ener": fitting.get("remove_vaccum_contribution"),
        "precision": _PRECISIONS.get(fitting["prec"]),
        "nets": _collection_tree(fitting["filter_layers"]),
        "@variables": {"bias_atom_e": fitting["bias_atom_e"]},
    }


def _collection_tree(collection: Module) -> dict:
    networks = [
        {"layers": [_layer_tree(layer) for layer in network["layers"].children()]}
        for network in collection["networks"].children()
    ]
    return {"ndim": collection["ndim"], "networks": networks}


def _layer_tree(layer: Module) -> dict:
    return {
        "activation_function": layer["activate_name"],
        "resnet": layer["resnet"],
        "precision": _PRECISIONS.get(layer["prec"]),
        "@variables": {"w": layer["matrix"], "b": layer.get("bias"), "idt": layer.get("idt")},
    }


def _masked_types(mask: Module | None) -> list[int]:
    return [] if mask is None else np.flatnonzero(mask["type_mask"] == 0).tolist()


def _masked_pairs(mask: Module | None) -> list[tuple[int, int]]:
    """Pairs of types that a mask [types + 1, types + 1] excludes; the last type is padding."""
    if mask is None:
        return []
    size = int(mask["ntypes"]) + 1
    return [tuple(pair) for pair in np.argwhere(mask["type_mask"].reshape(size, size) == 0).tolist()]
