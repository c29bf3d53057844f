"""test_attention - attention layers and DPA-2: readers' refusals, the files that they become, and who evaluates these."""

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import compress_onnx as co
import numpy as np
import onnx
import pytest
import reference
import tiny
from compress_onnx import _core, graph, onnxfile, ort
from compress_onnx.flat import flattened, restored
from compress_onnx.model import Attention, Model, ModelError, Repformer
from compress_onnx.readers import read
from compress_onnx.tabulate import make, model_grids, model_nets
from onnx.reference import ReferenceEvaluator

KINDS = Path(__file__).parent / "data/kinds"
FILES = [*sorted(KINDS.glob("attention*.dp")), *sorted(KINDS.glob("repformer*.dp"))]
ALL = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
DISTANCE = 0.5  # Å
RESULTS = ("energy", "force", "virial", "atom_energy", "atom_virial")


@cache
def expected_of(file: Path) -> dict[str, np.ndarray]:
    """What the reference says about frame(file)."""
    return reference.evaluate(read(file), **frame(file))


def frame(file: Path) -> dict[str, np.ndarray]:
    with np.load(file.with_suffix(".npz")) as stored:
        return {"coord": stored["coord"], "cell": stored["cell"], "atype": stored["atype"].astype(np.int32)}


def run(proto: onnx.ModelProto, given: dict, *, library=False) -> dict[str, np.ndarray]:
    session = ort.session(proto.SerializeToString(), library=library)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, given), strict=True))


def compressed(model: Model, **given) -> onnx.ModelProto:
    grids = model_grids(model, DISTANCE, 5.0, 0.01)
    tables = [make(net, grid) for net, grid in zip(model_nets(model), grids, strict=True)]
    return graph.compressed(model, tables, precision="float64", **given)


def same(found: dict, expected: dict, tolerance: float) -> None:
    for name, value in expected.items():
        np.testing.assert_allclose(found[name].reshape(value.shape), value, rtol=0, atol=tolerance, err_msg=name)


# ---- the files ---------------------------------------------------------------------------------


@ALL
@pytest.mark.parametrize("library", [False, True], ids=["functions", "library"])
def test_both_forms_give_what_the_reference_gives(file, library):
    model, given = read(file), frame(file)
    same(run(graph.uncompressed(model), given, library=library), expected_of(file), 1e-12)
    same(run(compressed(model), given, library=library), expected_of(file), 2e-8)


@ALL
def test_single_precision(file):
    model, given = read(file), frame(file)
    expected = run(graph.uncompressed(model), given)
    model = replace(model, terms=tuple(_single(term) for term in model.terms))
    same(run(graph.uncompressed(model), given), expected, 1e-4)


def _single(term):
    descriptors = tuple(replace(one, precision="float32") for one in term.descriptors)
    return replace(term, descriptors=descriptors, fitting=replace(term.fitting, precision="float32"))


@pytest.mark.parametrize("name", ["attention", "attention_plain", "repformer_mixed"])
def test_other_runtimes_agree(name):
    file = KINDS / f"{name}.dp"
    given = {name: array[:4] if name != "cell" else 0 * array for name, array in frame(file).items()}
    proto = graph.uncompressed(read(file))
    names = [output.name for output in proto.graph.output]
    found = dict(zip(names, ReferenceEvaluator(proto).run(names, given), strict=True))
    expected = run(proto, given)
    same(found, {name: expected[name] for name in RESULTS}, 1e-12)


@ALL
@pytest.mark.parametrize("form", [graph.uncompressed, compressed], ids=["uncompressed", "compressed"])
def test_few_atoms(file, form):
    model, given = read(file), frame(file)
    proto = form(model)
    none = {"coord": np.zeros((0, 3)), "atype": np.zeros(0, np.int32), "cell": np.zeros((3, 3))}
    alone = {"coord": np.zeros((1, 3)), "atype": np.zeros(1, np.int32), "cell": np.zeros((3, 3))}
    absent = given | {"atype": np.where(np.arange(len(given["atype"])) % 3, given["atype"], -1).astype(np.int32)}
    assert all(np.isfinite(value).all() for value in run(proto, none).values())
    for atoms in (alone, absent):
        same(run(proto, atoms), reference.evaluate(model, **atoms), 2e-8)


def isotropic(model: Model) -> Model:
    """With the same deviation in all directions, as training leaves it."""
    (term,) = model.terms

    def changed(part):
        return replace(part, std=part.std[:, [0, 1, 1, 1]])

    descriptors = tuple(map(changed, term.descriptors))
    return replace(
        model, terms=(replace(term, descriptors=descriptors, repformer=term.repformer and changed(term.repformer)),)
    )


@pytest.mark.parametrize("name", ["attention", "repformer"])
def test_results_turn_with_the_atoms_and_do_not_depend_on_their_order(name):
    file = KINDS / f"{name}.dp"
    model, given, random = isotropic(read(file)), frame(file), np.random.default_rng(1)
    rotation = np.linalg.qr(random.normal(size=(3, 3)))[0]
    order = random.permutation(len(given["atype"]))
    moved = {
        "coord": (given["coord"] @ rotation)[order],
        "cell": given["cell"] @ rotation,
        "atype": given["atype"][order],
    }
    proto = graph.uncompressed(model)
    one, other = run(proto, given), run(proto, moved)
    if model.kind == "dipole":
        turned = one["atom_tensor"] @ rotation
        np.testing.assert_allclose(other["atom_tensor"], turned[order], rtol=0, atol=1e-13)
    else:
        np.testing.assert_allclose(other["force"], (one["force"] @ rotation)[order], rtol=0, atol=1e-13)


def test_forces_are_derivatives_of_the_energy_where_slots_run_short():
    file = KINDS / "attention.dp"
    model, given = read(file), frame(file)
    (term,) = model.terms
    short = replace(term.descriptors[0], sel=(6,), total=6)
    model = replace(model, terms=(replace(term, descriptors=(short,)),))
    proto = graph.uncompressed(model)
    session, step, found = ort.session(proto.SerializeToString(), library=False), 1e-5, run(proto, given)
    same(found, reference.evaluate(model, **given), 1e-12)
    for atom, axis in ((0, 0), (3, 1), (7, 2)):
        energies = []
        for sign in (1, -1):
            coord = given["coord"].copy()
            coord[atom, axis] += sign * step
            energies.append(session.run(["energy"], given | {"coord": coord})[0].item())
        assert abs((energies[1] - energies[0]) / 2 / step - found["force"][atom, axis]) < 1e-8


@ALL
def test_arrays_come_back_from_their_tensors(file, tmp_path):
    (term,) = read(file).terms
    for kind, part in ((Attention, term.descriptors[0].attention), (Repformer, term.repformer)):
        if part is not None:
            tensors = flattened("here.", part, np.dtype(np.float64))
            again = flattened("here.", restored(kind, "here.", tensors), np.dtype(np.float64))
            assert tensors.keys() == again.keys()
            assert all(np.array_equal(tensors[name], again[name]) for name in tensors)
    co.convert(file, tmp_path / "once.onnx")
    co.convert(tmp_path / "once.onnx", tmp_path / "twice.onnx")
    one, two = (onnx.load(tmp_path / f"{name}.onnx").graph.initializer for name in ("once", "twice"))
    assert [tensor.raw_data for tensor in one] == [tensor.raw_data for tensor in two]


def test_names_of_the_nodes():
    attention, messages = read(KINDS / "attention.dp"), read(KINDS / "repformer.dp")
    assert [node.op_type for node in compressed(attention).graph.node][-1] == "EnergyForceAttention"
    assert [node.op_type for node in compressed(messages).graph.node][-1] == "AtomicTensorAttention"
    assert [node.op_type for node in graph.uncompressed(attention).graph.node][-1] == "EnergyForceNet"


def test_documented_names():
    documented = (Path(__file__).parent.parent / "docs/format.md").read_text()
    for kind, prefix, name in ((Attention, "attention.", "attention"), (Repformer, "rounds.", "repformer_mixed")):
        (term,) = read(KINDS / f"{name}.dp").terms
        part = term.repformer if kind is Repformer else term.descriptors[0].attention
        for tensor in flattened(prefix, part, np.dtype(np.float64)):
            name = re.sub(r"\.\d+\.", ".L.", tensor)
            assert f"`{name}`" in documented or f"`{name.rpartition('.')[0]}`" in documented, name


# ---- who evaluates them ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["attention", "repformer_direct"])
def test_compression_from_end_to_end(name, tmp_path):
    file = KINDS / f"{name}.dp"
    report = co.compress(file, tmp_path / "model.onnx", min_distance=DISTANCE)
    assert report.ok and report.fold is None
    given = frame(file)
    potential = co.DeepPot(tmp_path / "model.onnx")
    assert potential.runtime == "onnxruntime"
    found = potential.eval(given["coord"].reshape(1, -1), given["cell"].reshape(1, 9), given["atype"])
    with np.load(file.with_suffix(".npz")) as stored:
        for value, result in zip(found, ("energy", "force", "virial"), strict=True):
            np.testing.assert_allclose(value.ravel(), stored[result].ravel(), rtol=0, atol=1e-7, err_msg=result)
    with pytest.raises(ModelError, match="has attention layers, which onnxruntime runs and libdpc does not"):
        co.DeepPot(tmp_path / "model.onnx", runtime="native")


def test_a_file_of_standard_operators(tmp_path):
    file = KINDS / "repformer_mixed.dp"
    model, given = read(file), frame(file)
    proto = onnxfile.inline(compressed(model))
    assert {node.domain for node in proto.graph.node} == {""}
    same(run(proto, given), expected_of(file), 2e-8)


def test_pairs_serve_attention_but_not_messages(tmp_path):
    given = frame(KINDS / "attention.dp")
    model = read(KINDS / "attention.dp")
    first, index, shift = _core.Neighbours().build(given["coord"], given["cell"], model.cutoff + 0.5).arrays()
    pairs = {"pair_first": first, "pair_index": index, "pair_shift": shift}
    same(run(graph.uncompressed(model, interface="pairs"), given | pairs), expected_of(KINDS / "attention.dp"), 1e-12)
    with pytest.raises(ModelError, match="exchanges messages between atoms"):
        co.convert(KINDS / "repformer.dp", tmp_path / "model.onnx", interface="pairs")
    assert not list(tmp_path.iterdir())


# ---- what is refused ---------------------------------------------------------------------------


def stored(file: Path) -> dict:
    """The native dictionary of a file, with arrays in the place of their names."""
    import h5py

    with h5py.File(file, "r") as opened:

        def loaded(node):
            if isinstance(node, dict):
                return {key: loaded(value) for key, value in node.items()}
            if isinstance(node, list):
                return [loaded(value) for value in node]
            return opened[node][()] if isinstance(node, str) and node in opened else node

        return loaded(json.loads(opened.attrs["json"]))


LAYER = "attention_layers.attention_layers.1"
ROUND = "repformers_variable.repformer_layers.0"


@pytest.mark.parametrize(
    ("name", "key", "value", "words"),
    [
        ("attention", f"{LAYER}.attention_layer.num_heads", 2, "2 heads"),
        ("attention", f"{LAYER}.attention_layer.do_mask", True, "attn_mask"),
        ("attention", f"{LAYER}.attention_layer.dotr", False, "whose attention layers differ"),
        ("attention", f"{LAYER}.attention_layer.out_proj.@variables.b", np.zeros(3), "bias of out_proj"),
        ("attention", f"{LAYER}.attn_layer_norm.@variables.w", np.zeros(3), "norm.weight of attention layer 1"),
        ("attention", "lmax", 2, "lmax"),
        ("attention", "tebd_input_mode", "sum", "'sum'"),
        ("attention_plain", "@variables.davg", np.ones((2, 60, 4)), "first atom"),
        ("attention_concat", "@variables.davg", np.ones((2, 60, 4)), "first atom"),
        ("attention_concat", "embeddings.networks.0.layers.0.@variables.w", np.ones((7, 3)), "4 inputs"),
        ("repformer", "@version", 2, "version before 3"),
        ("repformer", "@version", 9, "version 9"),
        ("repformer", f"{ROUND}.update_style", "res_sum", "'res_sum'"),
        ("repformer", f"{ROUND}.attn2g_map.attnw_shift", 10.0, "shift of 10"),
        ("repformer", f"{ROUND}.linear1.activation_function", "tanh", "activation function of its own"),
        ("repformer", f"{ROUND}.linear1.@variables.w", np.ones((3, 8)), "mixed.weight"),
        ("repformer", "repformers_variable.@variables.dstd", np.zeros((2, 30, 4)), "zero deviation"),
        ("repformer", "repformer_args.axis_neuron", 5, "axis_neuron 5"),
        ("repformer_direct", f"{ROUND}.@variables.g1_residual", [], "0 weights for 4 updates of g1"),
    ],
)
def test_parts_that_a_model_has_not_and_numbers_that_do_not_fit(name, key, value, words, tmp_path):
    tree = tiny.changed(stored(KINDS / f"{name}.dp"), f"model.descriptor.{key}", value)
    file = tiny.write_dp(tree, tmp_path / "model.dp")
    with pytest.raises(ModelError) as caught:
        read(file)
    assert words in str(caught.value)
