"""test_tensorflow_reader - frozen graphs as Models: against the peer's own results, TensorFlow's rules, old graphs, refusals."""

import json

import numpy as np
import pytest
import reference
from compress_onnx.model import ModelError
from compress_onnx.readers import graphdef, read
from conftest import ROOT, SHARED
from google.protobuf import text_format

MODELS = ROOT / "models"
GRAPHS = ROOT / "tests" / "data" / "graphs"
# what every run takes: each descriptor, fitting and way to exclude, both precisions, linear and hybrid models
SAMPLE = {
    "atom_ener_tf",
    "dipole_tf",
    "dos_tf",
    "dpa1_concat_tf",
    "dpa1_l0_excl_tf",
    "dpa1_l0_f32_tf",
    "dpa1_l0_nosmooth_tf",
    "dpa1_l2_tf",
    "dpa1_v2_tf",
    "fparam_aparam_tf",
    "hybrid_a_r_tf",
    "hybrid_dpa1_a_tf",
    "linear_tf",
    "polar_tf",
    "se_a_excl_all_oneside_tf",
    "se_a_excl_tf",
    "se_a_mixedprec_tf",
    "se_a_silut_tf",
    "se_a_tebd_v2_tf",
    "se_a_type_embedding_tf",
    "se_r_excl_tf",
    "se_t_f32_tf",
    "se_t_tf",
}
REFUSED = {
    "se_a_bf16_tf/model.pb": "bfloat16",
}
# Of the peer's results: absolute in eV, eV/Å and the units of tensors. Energies of -2000 eV have rounding of 4e-12.
TOLERANCE = {"float64": 1e-12, "float32": 2e-5, "float16": 5e-3}
LARGEST = 60  # atoms; the reference is slow


CASES = [
    pytest.param(folder, id=folder.name, marks=[pytest.mark.oracle] + [pytest.mark.sample] * (folder.name in SAMPLE))
    for folder in sorted(SHARED.glob("oracle/*_tf"))
    if f"{folder.name}/model.pb" not in REFUSED
]


@pytest.mark.parametrize("folder", CASES)
def test_a_graph_equals_what_the_peer_makes_of_it(folder):
    model = read(folder / "model.pb")
    mixed = "mixed_precision" in json.loads((folder / "input.json").read_text())["training"]
    tolerance = TOLERANCE["float16" if mixed else model.precision]
    for file in sorted(folder.glob("frames*.npz")):
        if file.stem == "frames_overflow":  # distances of some 0.05 Å
            continue
        with np.load(file) as given, np.load(folder / file.name.replace("frames", "ref")) as expected:
            if len(given["atype"]) <= LARGEST:
                compare(model, dict(given), expected, tolerance)


def compare(model, given, expected, tolerance):
    atype, natoms = given["atype"], len(given["atype"])
    parameters = {
        name: given[name][0].reshape(shape)
        for name, shape in (("fparam", -1), ("aparam", (natoms, -1)))
        if name in given
    }
    cell = given["box"][0].reshape(3, 3) if "box" in given else None
    found = reference.evaluate(model, given["coords"][0].reshape(-1, 3), atype, cell, **parameters)
    if model.kind == "dos":
        found = {"dos": found["tensor"], "atom_dos": found["atom_tensor"]}
    elif model.kind != "ener":
        found["global_tensor"] = found.pop("tensor")
        if expected["atom_tensor"][0].size != found["atom_tensor"].size:  # some frames have the selected atoms alone
            found["atom_tensor"] = found["atom_tensor"][model.terms[0].fitting.net[atype] >= 0]
    for name, value in found.items():
        if name not in expected:
            continue
        reach = tolerance * max(1, np.abs(expected[name][0]).max() / 100)
        np.testing.assert_allclose(np.ravel(value), expected[name][0].ravel(), rtol=0, atol=reach, err_msg=name)


@pytest.mark.parametrize("file", sorted(GRAPHS.glob("*.pb")), ids=lambda file: file.stem)
def test_graphs_with_what_others_lack(file):
    model = read(file)
    with np.load(GRAPHS / "results.npz") as stored:
        found = reference.evaluate(model, stored["coord"], stored["atype"], stored["cell"])
        for name, value in found.items():
            expected = stored[f"{file.stem}.{name}"]
            if value.size != expected.size:  # of the selected atoms alone
                value = value[model.terms[0].fitting.net[stored["atype"]] >= 0]
            np.testing.assert_allclose(value.ravel(), expected.ravel(), rtol=0, atol=1e-13, err_msg=name)


# ---- TensorFlow's rules ------------------------------------------------------------------------


def test_attributes_of_an_operation_are_float32(shared):
    model = read(shared / "oracle" / "se_a_rsm_tf" / "model.pb")
    script = model.training_script["model"]["descriptor"]
    (descriptor,) = model.descriptors
    switch, cutoff, smooth = descriptor.switch, np.float32(script["rcut"]), np.float32(script["rcut_smth"])
    assert (switch.cutoff, switch.smooth, switch.width) == (cutoff, smooth, np.float32(cutoff - smooth))
    assert descriptor.total == 0 and descriptor.axis == script["axis_neuron"]


def test_a_fitting_net_has_no_shortcut_in_its_first_layer_nor_where_it_doubles(shared):
    doubling = read(shared / "oracle" / "se_a_shape2_tf" / "model.pb").terms[0].fitting.nets[0].layers
    native = read(shared / "oracle" / "se_a_shape2_pt" / "model.pth").terms[0].fitting.nets[0].layers
    assert doubling[0].weight.shape == native[0].weight.shape == (32, 32)
    assert (doubling[0].residual, native[0].residual) == (0, 1)


@pytest.mark.parametrize("name", ["se_a_excl_tf", "se_a_excl_all_oneside_tf", "se_r_excl_tf", "dpa1_l0_excl_tf"])
def test_excluded_pairs(shared, name):
    model = read(shared / "oracle" / name / "model.pb")
    (descriptor,) = model.descriptors
    pairs = {tuple(pair) for pair in model.training_script["model"]["descriptor"]["exclude_types"]}
    assert set(descriptor.exclude_types) == pairs | {(j, i) for i, j in pairs}
    excluded = np.zeros_like(descriptor.net, dtype=bool)
    excluded[tuple(np.transpose(descriptor.exclude_types))] = True
    np.testing.assert_array_equal(descriptor.net < 0, excluded)
    if descriptor.shared:
        np.testing.assert_array_equal(descriptor.gate_net < 0, excluded)
    else:
        np.testing.assert_array_equal(descriptor.net, descriptor.pad_net)


def test_pairs_of_types_of_a_concatenated_embedding_have_their_own_nets(shared):
    one_side = read(shared / "oracle" / "se_a_type_embedding_tf" / "model.pb").descriptors[0]
    np.testing.assert_array_equal(one_side.net, [[0, 1, 2]] * 3)
    assert one_side.type_one_side and one_side.kind == "se_e2_a"
    both = read(shared / "oracle" / "dpa1_concat_tf" / "model.pb").descriptors[0]
    assert len(both.nets) == len(np.unique(both.net)) == 9 and both.sel == (20,)
    # Without a mean an empty slot has no environment, and no net.
    assert not both.mean.any() and (both.pad_net == -1).all()
    supply, first = both.nets[0].layers[:2]
    assert supply.weight.tolist() == np.eye(1, 17).tolist() and first.weight.shape == (17, 8)


def test_factors_of_pairs_of_types(shared):
    smooth = read(shared / "oracle" / "dpa1_l0_tf" / "model.pb").descriptors[0]
    assert (smooth.gate, smooth.gate_smooth, len(smooth.nets)) == ("surrogate", 0.5, 1)
    np.testing.assert_array_equal(smooth.scale[0], 1)
    np.testing.assert_array_equal(smooth.net, 0)
    np.testing.assert_array_equal(smooth.gate_net, [[1, 2], [3, 4]])
    rough = read(shared / "oracle" / "dpa1_l0_nosmooth_tf" / "model.pb").descriptors[0]
    assert rough.gate == "none" and rough.gate_net is None
    np.testing.assert_array_equal(rough.net, [[0, 1], [3, 4]])
    np.testing.assert_array_equal(rough.pad_net, [[2], [5]])


def test_the_mean_of_excluded_pairs_of_a_smooth_se_atten(tmp_path, shared):
    """The graph sets their rows to the mean, which only where that is zero is nothing."""
    graph = parsed(shared / "oracle" / "dpa1_l0_excl_tf" / "model.pb")
    mean = graphdef.tensor(constant(graph, "descrpt_attr/t_avg")).copy()
    mean[:, ::4] = 0.1
    replace_constant(graph, "descrpt_attr/t_avg", mean)
    refused(written(graph, tmp_path), "set_davg_zero")


def test_symmetric_polarisabilities(shared):
    fitting = read(shared / "oracle" / "polar_tf" / "model.pb").terms[0].fitting
    graph = parsed(shared / "oracle" / "polar_tf" / "model.pb")
    weight = graphdef.tensor(constant(graph, "final_layer_type_0/matrix")).reshape(-1, 32, 32)
    np.testing.assert_array_equal(fitting.nets[0].layers[-1].weight.reshape(-1, 32, 32), weight + weight.swapaxes(1, 2))
    shift = graphdef.tensor(constant(graph, "fitting_attr/t_constant_matrix"))[0]
    np.testing.assert_array_equal(fitting.net, [0, -1])
    np.testing.assert_array_equal(fitting.bias[0], shift * np.eye(3).ravel())


def test_weights_of_a_linear_model(tmp_path, shared):
    graph = parsed(shared / "oracle" / "linear_tf" / "model.pb")
    before = read(written(graph, tmp_path))
    replace_constant(graph, "Const_6", np.array([0.25, 1.5]))
    after = read(written(graph, tmp_path))
    for factor, old, new in zip((0.5, 3.0), before.terms, after.terms, strict=True):
        np.testing.assert_array_equal(new.fitting.bias, old.fitting.bias * factor)
        last = (term.fitting.nets[0].layers[-1] for term in (old, new))
        old_last, new_last = last
        np.testing.assert_array_equal(new_last.weight, old_last.weight * factor)


def test_the_bias_of_a_converted_graph_is_folded_in(tmp_path):
    """convert-backend leaves bias and scale to the model, trained graphs have both in the fitting net."""
    graph = parsed(MODELS / "water_tf.pb")
    original = read(MODELS / "water_tf.pb").terms[0].fitting
    replace_constant(graph, "model_attr/model_attr/t_out_std", np.array([[[3.0], [4.0]]]))
    replace_constant(graph, "model_attr/model_attr/t_out_bias", np.array([[[10.0], [11.0]]]))
    converted = read(written(graph, tmp_path)).terms[0].fitting
    np.testing.assert_array_equal(converted.bias[:, 0], original.bias[:, 0] * [3, 4] + [10, 11])
    for kind, scale in enumerate((3, 4)):
        net, before = (fitting.nets[fitting.net[kind]].layers for fitting in (converted, original))
        np.testing.assert_array_equal(net[-1].weight, before[-1].weight * scale)
        np.testing.assert_array_equal(net[-1].bias, before[-1].bias * scale)
        np.testing.assert_array_equal(net[0].weight, before[0].weight)


# ---- text, and graphs of old versions ----------------------------------------------------------


def test_a_graph_in_text_form(tmp_path):
    path = tmp_path / "model.pb"
    path.write_text(text_format.MessageToString(parsed(MODELS / "alloy_tf.pb")))
    found, expected = read(path), read(MODELS / "alloy_tf.pb")
    assert found.source.format == "tensorflow .pbtxt" and found.min_distance == expected.min_distance
    assert_same_results(found, expected)
    refused_text = path.read_text()[:-20]
    path.write_text(refused_text)
    refused(path, "text form")


def test_names_of_versions_before_two(tmp_path):
    graph = parsed(MODELS / "alloy_tf.pb")
    downgrade(graph)
    found, expected = read(written(graph, tmp_path)), read(MODELS / "alloy_tf.pb")
    assert found.type_map == tuple(f"Type_{number}" for number in range(len(expected.type_map)))
    assert_same_results(found, expected)


def downgrade(graph) -> None:
    """The names and the operations of DeePMD-kit 0.12, which has no description of the model."""
    operations = {
        "ProdEnvMatA": "DescrptNorot",
        "ProdForceSeA": "ProdForceNorot",
        "ProdVirialSeA": "ProdVirialNorot",
        "BiasAdd": "Add",
        "AddV2": "Add",
    }
    names = {"descrpt_attr/rcut": "t_rcut", "descrpt_attr/ntypes": "t_ntypes"}
    described = (
        "model_attr",
        "fitting_attr/d",
        "train_attr",
        "descrpt_attr/sel",
        "descrpt_attr/original",
        "model_type",
    )
    kept = [node for node in graph.node if not node.name.startswith(described) or "t_out" in node.name]
    del graph.node[:]
    graph.node.extend(kept)

    def renamed(name):
        name = names.get(name, name).replace("filter_type_", "DS_layer_type_")
        return name.replace("descrpt_attr/t_", "t_").replace("o_descriptor", "descriptor")

    for node in graph.node:
        node.op = operations.get(node.op, node.op)
        node.name = renamed(node.name)
        for number, name in enumerate(node.input):
            node.input[number] = renamed(name)
        if node.op == "RealDiv" and not node.name.startswith("gradients"):
            node.op = "Mul"
            divisor = constant(graph, node.input[1])
            replace_constant(graph, divisor.name, 1 / graphdef.tensor(divisor))


# ---- constants ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"tensor_content": np.arange(6.0).tobytes()}, [[0, 1, 2], [3, 4, 5]]),
        ({"double_val": [1.0, 2.0]}, [[1, 2, 2], [2, 2, 2]]),
        ({}, [[0, 0, 0], [0, 0, 0]]),
    ],
)
def test_constants_of_a_graph(fields, expected):
    np.testing.assert_array_equal(graphdef.tensor(made_constant((2, 3), **fields)), expected)


@pytest.mark.parametrize("shape", [(2, 2), (-1, 3), (1 << 40, 1 << 40)])
def test_constants_with_a_wrong_shape(shape):
    with pytest.raises(ModelError, match="for shape"):
        graphdef.tensor(made_constant(shape, double_val=[1.0] * 5))


def made_constant(shape, **fields):
    node = graphdef.Graph().node.add(name="c", op="Const")
    tensor = node.attr.add(key="value").value.tensor
    tensor.dtype = 2
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    for name, value in fields.items():
        setattr(tensor, name, value) if isinstance(value, bytes) else getattr(tensor, name).extend(value)
    return node


# ---- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", REFUSED)
def test_trained_graphs_with_other_parts(shared, name):
    refused(shared / "oracle" / name, REFUSED[name])


def renamed_operation(old: str, new: str, scope: str = ""):
    def edit(graph):
        next(node for node in graph.node if node.op == old and node.name.startswith(scope)).op = new

    return edit


def without(beginning: str):
    def edit(graph):
        kept = [node for node in graph.node if not node.name.startswith(beginning)]
        del graph.node[:]
        graph.node.extend(kept)

    return edit


def with_constant(name: str, value):
    return lambda graph: replace_constant(graph, name, value)


def with_text(name: str, value: bytes):
    def edit(graph):
        graphdef.attribute(constant(graph, name), "value").tensor.string_val[0] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (renamed_operation("Tanh", "Elu", "layer_0"), "activation function"),
        (renamed_operation("Slice", "Roll", "filter_type"), "Roll"),
        (renamed_operation("Sum", "Mean"), "Mean"),
        (without("ProdEnvMat"), "environment matrix"),
        (without("final_layer_type_0/matrix"), "final_layer_type_0/matrix"),
        (without("filter_type"), "embedding nets"),
        (with_text("model_attr/model_version", b"2.0"), "version '2.0'"),
        (with_text("model_attr/model_type", b"wfc"), "'wfc'"),
        (with_constant("fitting_attr/dfparam", np.array(1)), "t_fparam_avg"),
        (with_constant("fitting_attr/t_bias_atom_e", np.array([np.nan, 0.0])), "NaN"),
        (with_constant("layer_0_type_0/matrix", np.ones((7, 32))), "fitting net"),
    ],
)
def test_graphs_that_are_changed_are_refused(tmp_path, edit, words):
    graph = parsed(MODELS / "water_tf.pb")
    edit(graph)
    refused(written(graph, tmp_path), words)


def test_another_threshold_of_silut(tmp_path, shared):
    graph = parsed(shared / "oracle" / "se_a_silut_tf" / "model.pb")
    for node in graph.node:
        if node.op == "Less":
            replace_constant(graph, node.input[1], np.array(5.0))
    refused(written(graph, tmp_path), "silut:5")


def test_atom_ener_with_frame_parameters(tmp_path, shared):
    """What is subtracted would depend on them."""
    graph = parsed(shared / "oracle" / "atom_ener_tf" / "model.pb")
    replace_constant(graph, "fitting_attr/dfparam", np.array(1))
    for node in list(graph.node):
        if node.op == "Const" and node.name.startswith("layer_0_type_") and node.name.endswith("matrix"):
            replace_constant(graph, node.name, np.vstack([graphdef.tensor(node), np.ones((1, 32))]))
    for name in ("avg", "istd"):
        node = graph.node.add()
        node.CopyFrom(made_constant((1,), double_val=[1.0]))
        node.name = f"fitting_attr/t_fparam_{name}"
    refused(written(graph, tmp_path), "atom_ener")


# ---- helpers -----------------------------------------------------------------------------------


def parsed(path):
    return graphdef.parse(path.read_bytes())


def written(graph, folder):
    path = folder / "model.pb"
    path.write_bytes(graph.SerializeToString())
    return path


def constant(graph, name):
    return next(node for node in graph.node if node.name == name and node.op == "Const")


def replace_constant(graph, name, value) -> None:
    """Give a constant another value, of any shape and of its own type."""
    tensor = graphdef.attribute(constant(graph, name), "value").tensor
    value = np.asarray(value)
    for field in ("float_val", "double_val", "int_val"):
        tensor.ClearField(field)
    tensor.tensor_shape.ClearField("dim")
    for size in value.shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = value.astype({1: "<f4", 2: "<f8", 3: "<i4"}[tensor.dtype]).tobytes()


def assert_same_results(found, expected) -> None:
    """Energies and forces of a few atoms close together, to rounding."""
    coord = np.array([[0.0, 0.0, 0.0], [1.9, 0.3, 0.2], [-0.8, 2.1, 0.4], [0.5, -1.2, 2.3]])
    atype = np.arange(len(coord)) % len(expected.type_map)
    results = [reference.evaluate(model, coord, atype) for model in (found, expected)]
    for name in results[0]:
        np.testing.assert_allclose(results[0][name], results[1][name], rtol=1e-13, atol=1e-13, err_msg=name)


def refused(path, words: str) -> None:
    """One sentence, which names the file and has the words."""
    with pytest.raises(ModelError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    assert words in message
