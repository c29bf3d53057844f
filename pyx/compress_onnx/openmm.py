"""openmm - a graph as OnnxForce of OpenMM's plugin openmm-onnx calls it: its names, float32, nm and kJ/mol.

OnnxForce gives `positions` and, where it is periodic, `box`, and takes `energy` and `forces`. Whatever else a graph needs
are further inputs of OnnxForce, int32 or float32, under the graph's own names.
"""

from __future__ import annotations

import os

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

NANOMETRE = 10.0  # Å
ELECTRONVOLT = 1.602176634e-19 * 6.02214076e23 / 1e3  # kJ/mol, of constants that are exact
UNITS = {"length": "nanometer", "energy": "kilojoule/mole"}

# our name -> OnnxForce's, and its unit in ours, or ours in its
INPUTS = {"coord": ("positions", NANOMETRE), "cell": ("box", NANOMETRE)}
INPUTS |= {name: (name, 1.0) for name in ("fparam", "aparam")}
OUTPUTS = {"energy": ("energy", ELECTRONVOLT), "force": ("forces", ELECTRONVOLT * NANOMETRE)}
SHAPES = {"energy": [], "forces": ["natoms", 3]}


def adapt(graph: GraphProto) -> None:
    """Give a graph of interface `cell` the inputs and outputs of OnnxForce; `atype` stays an input.

    OnnxForce has no `box` where nothing is periodic: it is zeros then.
    """
    given = {value.name: value for value in graph.input if value.name in INPUTS}
    ours = {name: f"{name}_float64" for name in (*given, *OUTPUTS)}
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [ours.get(name, name) for name in names]
    before, after = [], [helper.make_node("Squeeze", [ours["energy"]], ["energy_scalar"])]
    ours["energy"] = "energy_scalar"
    constants = {"box": np.zeros((3, 3), np.float32)}
    for name, value in given.items():
        value.name, unit = INPUTS[name]
        value.type.tensor_type.elem_type = TensorProto.FLOAT
        constants[f"{name}_unit"] = np.array(unit)
        before.append(_cast(value.name, f"{name}_wide", TensorProto.DOUBLE))
        before.append(helper.make_node("Mul", [f"{name}_wide", f"{name}_unit"], [ours[name]]))
    for name, (theirs, unit) in OUTPUTS.items():
        constants[f"{name}_unit"] = np.array(unit)
        after.append(helper.make_node("Mul", [ours[name], f"{name}_unit"], [f"{name}_wide"]))
        after.append(_cast(f"{name}_wide", theirs, TensorProto.FLOAT))
    nodes = [*before, *graph.node, *after]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in SHAPES.items()]
    for field, values in ((graph.node, nodes), (graph.output, outputs)):
        del field[:]
        field.extend(values)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    graph.doc_string = "Deep Potential. Inputs and outputs in nm and kJ/mol."


def _cast(name: str, result: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [name], [result], to=kind)


class Force:
    """A file with such a graph, called as OnnxForce calls it, on what an engine's `evaluate` takes."""

    def __init__(self, path: str | os.PathLike):
        from . import ort

        self._session = ort.session(path, library=False)
        self._known = {"box", *(value.name for value in self._session.get_inputs())}

    def evaluate(self, coord, types, cell, fparam, aparam, atomic=False, spin=None) -> dict[str, np.ndarray]:
        """`energy` [1] in eV and `force` [n, 3] in eV/Å, as well as float32 has them."""
        given = {"coord": coord, "fparam": fparam, "aparam": aparam} | ({} if cell is None else {"cell": cell})
        feed = {"atype": np.asarray(types, np.int32)}
        for name, value in given.items():
            theirs, unit = INPUTS[name]
            if theirs in self._known:
                feed[theirs] = (np.asarray(value) / unit).astype(np.float32)
        results = self._session.run([theirs for theirs, _ in OUTPUTS.values()], feed)
        return {
            name: np.atleast_1d(np.asarray(value, float)) / unit
            for (name, (_, unit)), value in zip(OUTPUTS.items(), results, strict=True)
        }
