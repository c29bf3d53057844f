"""engine - what evaluates a model file for Python: libdpc itself, or onnxruntime with or without it."""

import json
import threading

import numpy as np

from .model import ModelError

RUNTIMES = ("auto", "native", "onnxruntime")


def open_engine(path, runtime="auto", threads=1, skin=0.0, verify=True, device="cpu"):
    """An object with `runtime`, `type_map`, `cutoff`, `kind`, `outputs`, `models`, `fparams`, `aparams`, `spin`, `frequency`
    and `evaluate`.

    models: of an ensemble, how many; else 1. spin: [types] Å per unit of spin that an atom's virtual one is away, or None.
    evaluate(coord [n, 3], types [n], cell [3, 3] or None, fparam, aparam, atomic, spin=None): a dictionary of the file's
    outputs, atom_virial only if `atomic`. device: "cpu" or "cuda:N".
    """
    if runtime == "onnxruntime":
        return Onnxruntime(path, threads, verify, device)
    if runtime == "native" or device != "cpu":
        return Native(path, threads, skin, verify, device)
    try:
        return Native(path, threads, skin, verify, device)
    except (ImportError, ModelError):  # not built, or not for libdpc: onnxruntime says what is wrong with the rest
        return Onnxruntime(path, threads, verify)


class Native:
    runtime = "native"

    def __init__(self, path, threads, skin, verify, device):
        from . import _core

        self.threads, self.skin, self.device = threads, skin, device
        self.model = _core.Model(path, verify=verify)
        for name in ("type_map", "cutoff", "kind", "outputs", "fparams", "aparams", "frequency"):
            setattr(self, name, getattr(self.model, name))
        self.models = self.outputs if self.kind == "ener" else 1
        self.spin = self.model.spin_scale
        self.create_workspace = _core.Workspace
        self.of_thread = threading.local()
        self.of_thread.workspace = self.create_workspace(self.model, device)  # now, to say what is wrong with it

    def evaluate(self, coord, types, cell, fparam, aparam, atomic, spin=None):
        if not hasattr(self.of_thread, "workspace"):
            self.of_thread.workspace = self.create_workspace(self.model, self.device)
        options = {"threads": self.threads, "skin": self.skin, "atomic": atomic}
        return self.of_thread.workspace.compute(coord, types, cell, fparam=fparam, aparam=aparam, spin=spin, **options)


class Onnxruntime:
    runtime = "onnxruntime"

    def __init__(self, path, threads, verify, device="cpu"):
        from . import ort

        self.ort = ort
        self.threads = threads
        self.session = ort.session(path, threads=threads, verify=verify, device=device)
        self.names = [output.name for output in self.session.get_outputs()]
        properties = self.session.get_modelmeta().custom_metadata_map
        try:
            self.type_map = tuple(json.loads(properties["compress_onnx.type_map"]))
            self.cutoff = float(properties["compress_onnx.cutoff"])
            interface = properties["compress_onnx.interface"]
            self.kind = properties["compress_onnx.fitting"]
        except KeyError as error:
            raise ModelError(f"{path}: an ONNX model, but none of ours: metadata {error} is missing.") from None
        if interface == "openmm":
            raise ModelError(f"{path}: is for OpenMM's OnnxForce alone, compress its original with --interface cell.")
        self.pairs = interface == "pairs"
        self.frequency = int(properties.get("compress_onnx.frequency", -1))
        widths = {value.name: value.shape[-1] for value in self.session.get_inputs()}
        self.fparams, self.aparams = widths.get("fparam", 0), widths.get("aparam", 0)
        self.spin = np.array(json.loads(properties["compress_onnx.spin_scale"])) if "spin" in widths else None
        shapes = {value.name: value.shape for value in self.session.get_outputs()}
        self.models = int(properties.get("compress_onnx.models", 1))
        self.outputs = shapes["tensor"][0] if "tensor" in shapes else self.models

    def evaluate(self, coord, types, cell, fparam, aparam, atomic, spin=None):
        feed = {"coord": coord, "atype": types, "cell": np.zeros((3, 3)) if cell is None else cell}
        if self.fparams:
            feed["fparam"] = np.ascontiguousarray(fparam)
        if self.aparams:
            feed["aparam"] = np.ascontiguousarray(aparam)
        reach = self.cutoff
        if self.spin is not None:
            feed["spin"] = spin
            reach += (np.linalg.norm(spin, axis=1) * self.spin[np.maximum(types, 0)]).max(initial=0)
        if self.pairs:
            from . import _core

            pairs = _core.Neighbours().build(coord, cell, reach, threads=self.threads).arrays()
            feed |= dict(zip(("pair_first", "pair_index", "pair_shift"), pairs))
        try:
            results = dict(zip(self.names, self.session.run(self.names, feed)))
        except self.ort.ORT_ERRORS as error:
            raise ValueError(self.ort.reason(error)) from error
        if not all(np.isfinite(value).all() for value in results.values()):  # libdpc's kernels look themselves
            raise ValueError("the result is no number: atoms are too close, or the model is damaged")
        return results
