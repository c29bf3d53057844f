"""torch - a frozen TorchScript .pth as a Model, without torch: a zip of storages and a pickle that names them.

The pickle runs in an unpickler that knows attribute bags, tensors and plain data: whatever else it asks
for is an error, so that a hostile file cannot run code.
"""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import zipfile

import numpy as np

from ..model import Model, ModelError
from . import parts
from .checkpoint import read_state
from .native import dict_model
from .pairs import PARAMETERS as MIXTURE
from .refusals import refused, refused_descriptor

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
_MODELS = {"EnergyModel", "DipoleModel", "PolarModel", "DOSModel", "PropertyModel", "LinearEnergyModel", "DPZBLModel"}
_ATOMIC_MODELS = {
    "DPAtomicModel",
    "DPEnergyAtomicModel",
    "DPDipoleAtomicModel",
    "DPPolarAtomicModel",
    "DPDOSAtomicModel",
    "DPPropertyAtomicModel",
}
# kind, and the attribute with the descriptor itself
_DESCRIPTORS = {
    "DescrptSeA": ("se_e2_a", "sea"),
    "DescrptSeR": ("se_e2_r", None),
    "DescrptSeT": ("se_e3", "seat"),
    "DescrptSeTTebd": ("se_e3_tebd", "se_ttebd"),
    "DescrptDPA1": ("dpa1", "se_atten"),
    "DescrptSeAttenV2": ("se_atten_v2", "se_atten"),
}
_FITTINGS = {
    "EnergyFittingNet": "ener",
    "DipoleFittingNet": "dipole",
    "PolarFittingNet": "polar",
    "DOSFittingNet": "dos",
    "PropertyFittingNet": "property",
}
# what a native dictionary has under the same name, where a module has it
_DESCRIPTOR_KEYS = (
    "rcut",
    "rcut_smth",
    "sel",
    "axis_neuron",
    "type_one_side",
    "env_protection",
    "attn_layer",
    "tebd_input_mode",
    "smooth",
    "lmax",
)
_FITTING_KEYS = (
    "numb_fparam",
    "numb_aparam",
    "dim_case_embd",
    "mixed_types",
    "use_aparam_as_mask",
    "fit_diag",
    "shift_diag",
    "intensive",
    "distinguish_types",
)
_FITTING_ARRAYS = (
    "bias_atom_e",
    "fparam_avg",
    "fparam_inv_std",
    "aparam_avg",
    "aparam_inv_std",
    "case_embd",
    "scale",
)
_SHARING = 16  # bytes of all storages and tensors, at most, per byte of the archive
_COMPRESSED = ("compress", "tebd_compress", "geo_compress")


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


class _Dictionary(dict):
    """A dictionary that forgets the attributes which state_dict gives it."""

    def __setstate__(self, state: object) -> None:
        pass


class _Archive(pickle.Unpickler):
    """The object tree of `data.pkl`, tensors as numpy arrays."""

    def __init__(self, archive: zipfile.ZipFile):
        names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        self._archive = archive
        self._root = min(names, key=len).removesuffix("data.pkl")
        self._storages: dict[str, np.ndarray] = {}
        if f"{self._root}byteorder" in archive.namelist() and self._member("byteorder") != b"little":
            raise parts.unsupported("a big-endian archive", "freeze the model on a little-endian machine")
        self._left = _SHARING * archive.start_dir
        pickled = self._member("data.pkl")
        _check_opcodes(pickled)
        super().__init__(io.BytesIO(pickled))

    def _member(self, name: str) -> bytes:
        info = self._archive.getinfo(self._root + name)
        if info.compress_type != zipfile.ZIP_STORED:  # torch stores them, so no member is larger than the file
            raise ModelError(f"{name} is compressed inside the archive: export the model again")
        return self._archive.read(info)

    def _take(self, size: int) -> None:
        """Bounds the memory by the file: members may overlap, and tensors share storages."""
        self._left -= size
        if self._left < 0:
            raise ModelError("has tensors that are far larger than itself: the file is damaged or hostile")

    def find_class(self, module: str, name: str) -> object:
        # What is returned must not be mutable from the pickle: bound methods, strings, a built-in type, new classes.
        if module == "__torch__" or module.startswith("__torch__."):
            return type("Module", (Module,), {"kind": name.rpartition(".")[2]})
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        known: dict[tuple[str, str], object] = {
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_parameter"): self._first,
            ("torch", "Size"): self._first,
            ("torch.jit._pickle", "restore_type_tag"): self._first,
            ("torch.jit._pickle", "build_intlist"): self._first,
            ("torch.jit._pickle", "build_doublelist"): self._first,
            ("torch.jit._pickle", "build_boollist"): self._first,
            ("torch.jit._pickle", "build_tensorlist"): self._first,
            ("collections", "OrderedDict"): type("Dictionary", (_Dictionary,), {}),
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
            raise refused("bfloat16")
        if key not in self._storages:
            storage = np.frombuffer(self._member(f"data/{key}"), dtype=dtype)
            self._take(storage.nbytes)
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
        self._take(count * storage.itemsize)
        strides = [step * storage.itemsize for step in stride]
        view = np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False)
        return np.array(view) if count else np.zeros(size, storage.dtype)


def _load(data: bytes) -> object:
    try:
        return _Archive(zipfile.ZipFile(io.BytesIO(data))).load()
    except (zipfile.BadZipFile, pickle.UnpicklingError, EOFError, KeyError, OSError) as error:
        raise ModelError(f"is a truncated or damaged PyTorch archive ({error}): freeze the model again") from None


def read_checkpoint(path: str, data: bytes, head: str | None) -> Model:
    root = _load(data)
    if not isinstance(root, dict):
        raise ModelError("is a PyTorch archive of something else than a model: give a checkpoint of DeePMD-kit")
    tree, distance, section = read_state(root.get("model", root), head)
    return dict_model(tree, parts.source(path, data, "pytorch .pt"), distance, section)


def _check_opcodes(pickled: bytes) -> None:
    """Refuse sizes and numbers that the unpickler would take memory for before it found nothing behind them."""
    try:
        for opcode, argument, _ in pickletools.genops(pickled):
            if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > len(pickled):
                raise ModelError("its pickle numbers more values than it has: the file is damaged or hostile")
    except ValueError as error:
        raise pickle.UnpicklingError(str(error)) from None


def read_torchscript(path: str, data: bytes) -> Model:
    root = _load(data)
    if not isinstance(root, Module):
        raise ModelError("is a TorchScript archive of something else than a model: give a frozen .pth")
    facts = root.get("backbone_model") or root
    script = facts.get("model_def_script")
    distance = facts.get("min_nbor_dist")
    return dict_model(
        _model_tree(root),
        parts.source(path, data, "pytorch .pth"),
        None if distance is None else float(distance),
        json.loads(script) if script else None,
    )


def _model_tree(root: Module) -> dict:
    """The native dictionary of a scripted model."""
    if root.kind == "SpinEnergyModel":
        spin = {"use_spin": root["spin_mask"], "virtual_scale": root["virtual_scale_mask"]}
        return {"type": "spin_ener", "backbone_model": _model_tree(root["backbone_model"]), "spin": spin}
    if root.kind not in _MODELS:
        raise parts.unsupported(f"a model of class {root.kind}")
    return _atomic_tree(root["atomic_model"])


def _atomic_tree(atomic: Module) -> dict:
    tree = {
        "type_map": atomic["type_map"],
        "atom_exclude_types": _masked_types(atomic.get("atom_excl")),
        "pair_exclude_types": _masked_pairs(atomic.get("pair_excl")),
        "@variables": {"out_bias": atomic["out_bias"], "out_std": atomic["out_std"]},
    }
    if atomic.get("add_chg_spin_ebd"):
        raise parts.unsupported("the charge and spin embedding")
    if atomic.kind == "LinearEnergyAtomicModel":
        models = [_atomic_tree(model) for model in atomic["models"].children()]
        return {**tree, "type": "linear", "models": models, "weights": atomic["weights"]}
    if atomic.kind == "DPZBLLinearEnergyAtomicModel":
        models = [_atomic_tree(model) for model in atomic["models"].children()]
        return {**tree, "type": "zbl", "models": models, **{key: atomic[key] for key in MIXTURE}}
    if atomic.kind == "PairTabAtomicModel":
        table = {"@variables": {key: atomic[key] for key in ("tab_info", "tab_data")}}
        return {**tree, "type": "pairtab", "tab": table, **{key: atomic[key] for key in ("rcut", "sel")}}
    if atomic.kind not in _ATOMIC_MODELS:
        raise parts.unsupported(f"an atomic model of class {atomic.kind}")
    descriptor, fitting = _descriptor_tree(atomic["descriptor"]), _fitting_tree(atomic["fitting_net"])
    return {**tree, "type": "standard", "descriptor": descriptor, "fitting": fitting}


def _descriptor_tree(descriptor: Module) -> dict:
    if descriptor.kind == "DescrptHybrid":
        return {"type": "hybrid", "list": [_descriptor_tree(part) for part in descriptor["descrpt_list"].children()]}
    if descriptor.kind == "DescrptDPA2":
        return _dpa2_tree(descriptor)
    if descriptor.kind not in _DESCRIPTORS:
        raise refused_descriptor(descriptor.kind)
    kind, attribute = _DESCRIPTORS[descriptor.kind]
    block = descriptor if attribute is None else descriptor[attribute]
    tree = {
        "type": kind,
        **{key: block[key] for key in _DESCRIPTOR_KEYS if key in block.attributes},
        "exclude_types": _masked_pairs(block.get("emask")),
        "precision": _PRECISIONS.get(block["prec"]),
        **_block_tree(block),
    }
    if "type_embedding" in descriptor.attributes:
        tree |= {
            "smooth_type_embedding": block.get("smooth"),
            "concat_output_tebd": descriptor["concat_output_tebd"],
            "type_embedding": _type_embedding_tree(descriptor["type_embedding"]["embedding"]),
        }
    if tree.get("attn_layer"):
        tree["attention_layers"] = _plain(block["dpa1_attention"])
    return tree


def _block_tree(block: Module) -> dict:
    """Nets and statistics."""
    tree = {
        "embeddings": _collection_tree(block["filter_layers"]),
        "@variables": {"davg": block["mean"], "dstd": block["stddev"]},
    }
    if block.get("filter_layers_strip") is not None:
        tree["embeddings_strip"] = _collection_tree(block["filter_layers_strip"])
    if any(block.get(flag) for flag in _COMPRESSED):
        tree["compress"] = _tables_tree(block)
    return tree


def _tables_tree(block: Module) -> dict:
    """What dp compress has left, of the nets of distances only if there are no attention layers."""
    stored = {name: block[name].children() for name in ("compress_info", "compress_data") if name in block.attributes}
    stored["type_embd_data"] = block.get("type_embd_data")
    geometric = block.get("geo_compress", block.get("tebd_compress") is None)
    return {"@variables": stored, "geo_compress": geometric}


def _dpa2_tree(descriptor: Module) -> dict:
    repinit, repformers, three = (descriptor.get(name) for name in ("repinit", "repformers", "repinit_three_body"))
    start, rounds = (_options(block, nsel=block["sel"][0]) for block in (repinit, repformers))
    tree = {
        "type": "dpa2",
        "exclude_types": _masked_pairs(repinit.get("emask")),
        "precision": _PRECISIONS.get(repinit["prec"]),
        "type_embedding": _type_embedding_tree(descriptor["type_embedding"]["embedding"]),
        **{
            key: descriptor[key]
            for key in ("smooth", "env_protection", "concat_output_tebd", "add_tebd_to_repinit_out")
        },
        **{key: _plain(descriptor[key]) for key in ("g1_shape_tranform", "tebd_transform")},
        "repinit_args": {**start, "use_three_body": three is not None},
        "repinit_variable": _block_tree(repinit),
        "repformer_args": rounds,
        "repformers_variable": {
            "g2_embd": _plain(repformers["g2_embd"]),
            "repformer_layers": _plain(repformers["layers"]),
            "@variables": {"davg": repformers["mean"], "dstd": repformers["stddev"]},
        },
    }
    if three is not None:
        sizes = {"rcut": three["rcut"], "rcut_smth": three["rcut_smth"], "sel": three["sel"][0]}
        tree["repinit_args"] |= {f"three_body_{key}": value for key, value in sizes.items()}
        tree["repinit_three_body_variable"] = _block_tree(three)
    return tree


def _options(block: Module, **more) -> dict:
    """The attributes of a block that are no modules, and more."""
    return {name: value for name, value in block.attributes.items() if not isinstance(value, Module)} | more


def _plain(part: object) -> object:
    """Modules as native dictionaries have them, down to their layers."""
    if not isinstance(part, Module):
        return part
    if part.kind == "MLPLayer":
        return _layer_tree(part)
    if part.kind == "LayerNorm":
        return {"eps": part["eps"], "@variables": {"w": part["matrix"], "b": part["bias"]}}
    if part.kind in ("ModuleList", "ParameterList"):
        return [_plain(child) for child in part.children()]
    return {name: _plain(value) for name, value in part.attributes.items()}


def _type_embedding_tree(embedding: Module) -> dict:
    return {
        "use_econf_tebd": embedding.get("use_econf_tebd"),
        "econf_tebd": embedding.get("econf_tebd"),
        "embedding": _net_tree(embedding["embedding_net"]),
    }


def _fitting_tree(fitting: Module) -> dict:
    kind = _FITTINGS.get(fitting.kind)
    if kind is None:
        raise parts.unsupported(f"fitting of class {fitting.kind}")
    without_vacuum = fitting.get("remove_vaccum_contribution") or ()
    return {
        "type": kind,
        **{key: fitting[key] for key in _FITTING_KEYS if key in fitting.attributes},
        "exclude_types": _masked_types(fitting.get("emask")),
        "atom_ener": [0.0 if removed else None for removed in without_vacuum],
        "precision": _PRECISIONS.get(fitting["prec"]),
        "nets": _collection_tree(fitting["filter_layers"]),
        "@variables": {key: fitting.get(key) for key in _FITTING_ARRAYS},
    }


def _collection_tree(collection: Module) -> dict:
    return {
        "ndim": collection["ndim"],
        "networks": [_net_tree(network) for network in collection["networks"].children()],
    }


def _net_tree(network: Module) -> dict:
    return {"layers": [_layer_tree(layer) for layer in network["layers"].children()]}


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
