"""test_readers - every format as a Model: the formats against each other, what is refused, and files that are no model."""

import dataclasses
import json
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import onnx
import pytest
import tiny
from cases import oracle
from compress_onnx import graph
from compress_onnx.model import Model, ModelError
from compress_onnx.readers import graphdef, read
from conftest import SHARED


def assert_same(a: Model, b: Model) -> None:
    """Equal to the bit, but for where they came from."""

    def compare(x, y, name):
        if dataclasses.is_dataclass(x):
            for field in dataclasses.fields(x):
                if field.name not in ("source", "training_script"):
                    compare(getattr(x, field.name), getattr(y, field.name), f"{name}.{field.name}")
        elif isinstance(x, tuple):
            assert len(x) == len(y), name
            for k, (one, other) in enumerate(zip(x, y, strict=True)):
                compare(one, other, f"{name}[{k}]")
        elif isinstance(x, np.ndarray):
            assert x.dtype == y.dtype, name
            np.testing.assert_array_equal(x, y, err_msg=name)
        else:
            assert x == y, name

    compare(a, b, "model")


def refused(path, *words: str) -> str:
    """The one sentence with which `path` is refused; it names the file and has all the words."""
    with pytest.raises(ModelError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    for word in words:
        assert word in message
    return message


# ---- the formats -------------------------------------------------------------------------------


def test_a_native_model_is_read_as_it_is(tmp_path):
    tree = tiny.tree()
    model = read(tiny.write_dp(tree, tmp_path / "model.dp"))
    d, node = model.descriptor, tree["model"]["descriptor"]
    assert model.type_map == ("A", "B") and model.precision == "float64" and model.min_distance == 0.7
    assert dataclasses.astuple(d.switch) == (0.5, 3.0, 2.5, 0.0)
    assert (d.sel, d.count, d.axis, d.total_first, d.type_one_side) == (tiny.SEL, 7.0, tiny.AXIS, True, False)
    np.testing.assert_array_equal(d.net, [[0, 2], [1, 3]])
    np.testing.assert_array_equal(d.pad_net, d.net)
    np.testing.assert_array_equal(d.mean, node["@variables"]["davg"][:, 0])
    assert [layer.residual for layer in d.nets[0].layers] == [2, 0, 2]
    assert [layer.residual for layer in model.fitting.nets[0].layers] == [0, 1, 0]
    assert d.nets[0].layers[0].idt is not None and d.nets[0].layers[1].idt is None
    bias = (
        tree["model"]["fitting"]["@variables"]["bias_atom_e"][:, 0] + tree["model"]["@variables"]["out_bias"][0, :, 0]
    )
    np.testing.assert_array_equal(model.fitting.bias, bias)
    assert model.training_script == {"model": {"type_map": ["A", "B"]}}
    assert model.source.format == "native .dp" and model.source.version == "3.2.0" and len(model.source.sha256) == 64


@pytest.mark.parametrize("write", [tiny.write_json, tiny.write_yaml])
def test_native_text_equals_hdf5_whatever_its_name(tmp_path, write):
    expected = read(tiny.write_dp(tiny.tree(), tmp_path / "model.pb"))
    assert_same(read(write(tiny.tree(), tmp_path / "model.pth")), expected)


def test_one_net_per_neighbour_type(tmp_path):
    model = read(tiny.write_json(tiny.tree(one_side=True), tmp_path / "model.json"))
    np.testing.assert_array_equal(model.descriptor.net, [[0, 1], [0, 1]])


def test_padding_of_an_excluded_pair_keeps_its_net(tmp_path):
    tree = tiny.changed(tiny.tree(), "model.descriptor.exclude_types", [[0, 1]])
    descriptor = read(tiny.write_json(tree, tmp_path / "model.json")).descriptor
    np.testing.assert_array_equal(descriptor.net, [[0, -1], [-1, 3]])
    np.testing.assert_array_equal(descriptor.pad_net, [[0, 2], [1, 3]])
    assert descriptor.exclude_types == ((0, 1), (1, 0))


@pytest.mark.parametrize("value", [-1.0, None])
def test_an_unknown_minimum_distance(tmp_path, value):
    tree = tiny.changed(tiny.tree(), "@variables.min_nbor_dist", value)
    assert read(tiny.write_json(tree, tmp_path / "model.json")).min_distance is None


@pytest.mark.parametrize("one_side", [False, True])
def test_an_uncompressed_onnx_is_read_back(tmp_path, one_side):
    tree = tiny.changed(tiny.tree(one_side=one_side), "model.descriptor.exclude_types", [[0, 0]])
    expected = read(tiny.write_json(tree, tmp_path / "model.json"))
    path = tmp_path / "model.onnx"
    onnx.save(graph.uncompressed(expected), path)
    assert_same(read(path), expected)


@pytest.mark.parametrize("name", ["se_a_pt", "se_a_f32_pt", "se_a_excl_pt", "se_a_resdt_pt", "water_se_e2_a_prod_pt"])
def test_torchscript_equals_its_native_form(shared, name):
    folder = shared / "oracle" / name
    model = read(folder / "model.pth")
    assert model.source.format == "pytorch .pth"
    assert_same(model, read(folder / "model.dp"))


def test_a_tensorflow_graph_follows_tensorflows_rules(shared):
    model = read(shared / "oracle" / "se_a_rsm_tf" / "model.pb")
    script = model.training_script["model"]["descriptor"]
    switch, cutoff, smooth = model.descriptor.switch, np.float32(script["rcut"]), np.float32(script["rcut_smth"])
    assert (switch.cutoff, switch.smooth, switch.width) == (cutoff, smooth, np.float32(cutoff - smooth))
    assert not model.descriptor.total_first and model.descriptor.axis == script["axis_neuron"]
    doubling = read(shared / "oracle" / "se_a_shape2_tf" / "model.pb").fitting.nets[0].layers
    native = read(shared / "oracle" / "se_a_shape2_pt" / "model.pth").fitting.nets[0].layers
    assert doubling[0].weight.shape == native[0].weight.shape == (32, 32)
    assert (doubling[0].residual, native[0].residual) == (0, 1)


def test_padding_of_an_excluded_pair_is_nothing_in_tensorflow(shared):
    for name in ("se_a_excl_tf", "se_a_excl_all_oneside_tf"):
        model = read(shared / "oracle" / name / "model.pb")
        pairs = {tuple(pair) for pair in model.training_script["model"]["descriptor"]["exclude_types"]}
        assert set(model.descriptor.exclude_types) == pairs | {(j, i) for i, j in pairs}
        np.testing.assert_array_equal(model.descriptor.net, model.descriptor.pad_net)


def test_the_bias_of_a_converted_graph_is_folded_in(shared, tmp_path):
    """convert-backend leaves bias and scale to the model, trained graphs have both in the fitting net."""
    file = shared / "oracle" / "se_a_tf" / "model.pb"
    original, proto = read(file), graphdef.Graph.FromString(file.read_bytes())
    for node in proto.node:
        if node.name in ("model_attr/model_attr/t_out_bias", "model_attr/model_attr/t_out_std"):
            number = 3.0 if node.name.endswith("std") else 10.0
            graphdef.attribute(node, "value").tensor.content = np.array([number, number + 1]).tobytes()
    path = tmp_path / "converted.pb"
    path.write_bytes(proto.SerializeToString())
    converted = read(path)
    np.testing.assert_array_equal(converted.fitting.bias, original.fitting.bias * [3, 4] + [10, 11])
    for net, before, scale in zip(converted.fitting.nets, original.fitting.nets, (3, 4), strict=True):
        np.testing.assert_array_equal(net.layers[-1].weight, before.layers[-1].weight * scale)
        np.testing.assert_array_equal(net.layers[-1].bias, before.layers[-1].bias * scale)
        np.testing.assert_array_equal(net.layers[0].weight, before.layers[0].weight)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"content": np.arange(6.0).tobytes()}, [[0, 1, 2], [3, 4, 5]]),
        ({"double_val": [1.0, 2.0]}, [[1, 2, 2], [2, 2, 2]]),
        ({}, [[0, 0, 0], [0, 0, 0]]),
    ],
)
def test_constants_of_a_graph(fields, expected):
    np.testing.assert_array_equal(graphdef.tensor(constant((2, 3), **fields)), expected)


@pytest.mark.parametrize("shape", [(2, 2), (-1, 3), (1 << 40, 1 << 40)])
def test_constants_with_a_wrong_shape(shape):
    with pytest.raises(ModelError, match="for shape"):
        graphdef.tensor(constant(shape, double_val=[1.0] * 5))


def constant(shape, **fields):
    node = graphdef.Graph().node.add(name="c", op="Const")
    tensor = node.attr.add(key="value").value.tensor
    tensor.dtype = 2
    for size in shape:
        tensor.shape.dim.add(size=size)
    for name, value in fields.items():
        setattr(tensor, name, value) if isinstance(value, bytes) else getattr(tensor, name).extend(value)
    return node


def test_a_reader_imports_only_what_it_needs():
    code = "import sys, compress_onnx.readers.tensorflow; print({'h5py', 'yaml', 'onnx', 'torch'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


# ---- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("model.type", "zbl", "model of type 'zbl'"),
        ("model.@version", 3, "version 3"),
        ("model.atom_exclude_types", [0], "atom_exclude_types"),
        ("model.pair_exclude_types", [[0, 1]], "pair_exclude_types"),
        ("model.type_map", ["A", "A"], "type map"),
        ("model.descriptor.type", "dpa1", "descriptor dpa1"),
        ("model.descriptor.@version", 9, "version 9"),
        ("model.descriptor.compress", {"@variables": {}}, "uncompressed"),
        ("model.descriptor.precision", "bfloat16", "bfloat16"),
        ("model.descriptor.spin", {"use_spin": [True]}, "spin"),
        ("model.descriptor.env_mat", {"use_exp_switch": True}, "use_exp_switch"),
        ("model.descriptor.embeddings.networks.0.layers.0.activation_function", "silut:3.0", "'silut:3.0'"),
        ("model.fitting.type", "dipole", "fitting dipole"),
        ("model.fitting.numb_fparam", 2, "numb_fparam"),
        ("model.fitting.numb_aparam", 1, "numb_aparam"),
        ("model.fitting.dim_case_embd", 1, "dim_case_embd"),
        ("model.fitting.mixed_types", True, "mixed_types"),
        ("model.fitting.exclude_types", [1], "exclude_types"),
        ("model.fitting.tot_ener_zero", True, "tot_ener_zero"),
        ("model.fitting.use_aparam_as_mask", True, "use_aparam_as_mask"),
        ("model.fitting.atom_ener", [None, 0.0], "atom_ener"),
    ],
)
def test_parts_that_a_model_has_not(tmp_path, key, value, words):
    refused(tiny.write_json(tiny.changed(tiny.tree(), key, value), tmp_path / "model.json"), words)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("model.descriptor", KeyError, "'descriptor'"),
        ("model.descriptor.rcut", "far", "'far'"),
        ("model.descriptor.rcut", 0.1, "cutoffs"),
        ("model.descriptor.sel", [3, -4], "davg"),
        ("model.descriptor.sel", [3, 5], "davg"),
        ("model.descriptor.axis_neuron", 7, "axis_neuron 7"),
        ("model.descriptor.axis_neuron", 3, "fitting net"),
        ("model.descriptor.type_one_side", True, "type_one_side"),
        ("model.descriptor.@variables.davg", np.arange(56.0).reshape(2, 7, 4), "between the neighbours"),
        ("model.descriptor.@variables.dstd", np.zeros((2, 7, 4)), "zero deviation"),
        ("model.descriptor.embeddings.networks", [], "0 embedding nets"),
        ("model.descriptor.embeddings.networks.0.layers.0.@variables.w", np.full((1, 2), np.nan), "NaN"),
        ("model.descriptor.embeddings.networks.0.layers.0.@variables.b", np.zeros(3), "bias of layer 0"),
        ("model.descriptor.embeddings.networks.1.layers.1.@variables.w", np.zeros((3, 3)), "inputs"),
        ("model.fitting.@variables.bias_atom_e", np.zeros(3), "bias_atom_e"),
    ],
)
def test_numbers_that_do_not_fit(tmp_path, key, value, words):
    refused(tiny.write_json(tiny.changed(tiny.tree(), key, value), tmp_path / "model.json"), words)


REFUSED = {
    "atom_ener_pt/model.pth": "atom_ener",
    "atom_ener_tf/model.pb": "atom_ener",
    "atom_exclude_pt/model.dp": "exclude_types",
    "atom_exclude_pt/model.pth": "exclude_types",
    "dipole_tf/model.pb": "dipole",
    "dos_pt/model.dp": "dos",
    "dpa1_l0_pt/model.pth": "DescrptDPA1",
    "dpa1_l0_tf/model.pb": "se_atten",
    "fparam_aparam_pt/model.pth": "fparam",
    "fparam_aparam_tf/model.pb": "fparam",
    "hybrid_a_a_tf/model.pb": "hybrid",
    "hybrid_a_r_pt/model.dp": "hybrid",
    "linear_pt/model.pth": "LinearEnergyModel",
    "linear_tf/model.pb": "linear",
    "polar_pt/model.pth": "PolarModel",
    "property_se_a_pt/model.dp": "property",
    "se_a_bf16_pt/model.pth": "bfloat16",
    "se_a_bf16_tf/model.pb": "16-bit",
    "se_a_mask_tf/model.pb": "se_a_mask",
    "se_a_mixedprec_tf/model.pb": "mixed",
    "se_a_oneside_pt/model-compressed.pth": "uncompressed",
    "se_a_silut_tf/model.pb": "activation",
    "se_a_tebd_v2_tf/model.pb": "type embedding",
    "se_a_tf/model-compressed.pb": "uncompressed",
    "se_a_type_embedding_tf/model.pb": "type embedding",
    "se_r_tf/model.pb": "se_e2_r",
    "se_t_pt/model.dp": "se_e3",
    "se_t_tf/model.pb": "se_e3",
    "spin_se_a_pt/model.pth": "Spin",
    "spin_se_a_tf/model.pb": "spin",
    "zbl_pt/model.dp": "zbl",
}


@pytest.mark.parametrize("name", REFUSED)
def test_trained_models_with_other_parts(shared, name):
    refused(shared / "oracle" / name, REFUSED[name])


@pytest.mark.oracle
def test_every_other_trained_model_is_read_or_refused(shared):
    supported = {case.file for case in oracle(SHARED / "oracle")}
    for file in sorted((shared / "oracle").glob("*/model*.*")):
        if file in supported:
            read(file)
        else:
            try:
                read(file)
            except ModelError as error:
                assert str(error).startswith(f"{file}: ")


# ---- files that are no model -------------------------------------------------------------------


def test_no_file(tmp_path):
    refused(tmp_path / "model.pb", "no such file")
    refused(tmp_path, "directory")
    (tmp_path / "empty.pb").write_bytes(b"")
    refused(tmp_path / "empty.pb", "empty")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    path = tmp_path / "model.pb"
    path.write_bytes(b"x")
    path.chmod(0)
    refused(path, "permissions")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"# A readme\n\nThis text: is no model.\n", "not a Deep Potential"),
        (b"just words", "not a Deep Potential"),
        (b'{"base_code": {"magic": "pir"}}', "not a Deep Potential"),
        (b'{"model": {"type": "stand', "truncated JSON"),
        (b"model:\n  type: [standard\n", "truncated YAML"),
        (b'  node {\n  name: "t_coord"\n}\n', "convert-from pbtxt"),
        (bytes(range(256)) * 8, "no model"),
        (b"\x00" * 64, "no model"),
        (b"\x12\x00", "not a Deep Potential"),
        (b"\x0a\x02\x0a\x00", "not a Deep Potential"),
        (b"\x08\x09\xff\xff", "no model"),
        (b"\x08\x09", "did not write"),
        (b"PK\x03\x04 and no more", "zip"),
        (b"\x89HDF\r\n\x1a\n and no more", "HDF5"),
    ],
)
def test_content_that_is_no_model(tmp_path, content, words):
    path = tmp_path / "model.pb"
    path.write_bytes(content)
    refused(path, words)


def test_zip_archives_that_are_no_frozen_model(tmp_path):
    for member, words in (("m/data.pkl", "dp --pt freeze"), ("m/extra/model.json", ".pt2"), ("notes.txt", "zip")):
        path = tmp_path / "model.pth"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(member, b"x")
        refused(path, words)


def test_an_hdf5_file_without_a_model(tmp_path):
    import h5py

    path = tmp_path / "model.dp"
    with h5py.File(path, "w") as file:
        file["numbers"] = np.arange(3)
    refused(path, "without a model")
    with h5py.File(path, "a") as file:
        file.attrs["json"] = json.dumps({"model": {"@variables": {"out_bias": "/variable_0000"}}})
    refused(path, "variable_0000")


def test_onnx_files_that_are_not_read(tmp_path):
    path = tmp_path / "model.onnx"
    empty = onnx.helper.make_graph([], "empty", [], [])
    for facts, words in (
        ({}, "did not write"),
        ({"format": "2"}, "file format 2"),
        ({"format": "1", "kind": "compressed"}, "compressed already"),
        ({"format": "1", "kind": "uncompressed", "descriptor": "dpa2"}, "descriptor dpa2"),
        ({"format": "1", "kind": "uncompressed", "descriptor": "se_e2_a", "fitting": "ener"}, "damaged"),
    ):
        proto = onnx.helper.make_model(empty)
        onnx.helper.set_model_props(proto, {f"compress_onnx.{key}": value for key, value in facts.items()})
        onnx.save(proto, path)
        refused(path, words)


@pytest.mark.parametrize("name", ["se_a_tf/model.pb", "se_a_pt/model.pth", "se_a_pt/model.dp"])
@pytest.mark.parametrize("part", [0.999, 0.5, 0.01])
def test_a_truncated_model(shared, tmp_path, name, part):
    data = (shared / "oracle" / name).read_bytes()
    path = tmp_path / "model"
    path.write_bytes(data[: int(len(data) * part)])
    refused(path)


@pytest.mark.parametrize("name", ["se_a_tf/model.pb", "se_a_pt/model.pth", "se_a_pt/model.dp"])
def test_damage_is_read_or_refused(shared, tmp_path, name):
    data = bytearray((shared / "oracle" / name).read_bytes())
    random, path = np.random.default_rng(6), tmp_path / "model"
    for _ in range(20):
        damaged = data.copy()
        for place in random.integers(0, len(data), 50):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        try:
            read(path)
        except ModelError as error:
            assert str(error).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("key", "words"), [("model_attr/model_version", "graph version"), ("descrpt_attr/t_avg", "t_avg")]
)
def test_a_graph_without_a_constant(shared, tmp_path, key, words):
    proto = graphdef.Graph.FromString((shared / "oracle" / "se_a_tf" / "model.pb").read_bytes())
    kept = [node for node in proto.node if node.name != key]
    path = tmp_path / "model.pb"
    path.write_bytes(graphdef.Graph(node=kept).SerializeToString())
    refused(path, words)


# ---- hostile pickles ---------------------------------------------------------------------------


def archive(path, pickled: bytes, compression=zipfile.ZIP_STORED, **members: bytes):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("m/data.pkl", pickled, compression)
        file.writestr("m/constants.pkl", b"")
        for name, content in members.items():
            file.writestr(f"m/data/{name.removeprefix('storage_')}", content)
    return path


class Reduced:
    """Pickles as the call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, f"{os.system.__module__}.system"),
        (eval, ".eval"),
        (getattr, ".getattr"),
        (np.zeros, "numpy.zeros"),
        (pickle.loads, "pickle.loads"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_cannot_call_functions(tmp_path, function, name, protocol):
    marker = tmp_path / "marker"
    data = pickle.dumps({"weights": [Reduced(function, f"touch {marker}")]}, protocol)
    refused(archive(tmp_path / "model.pth", data), name, "hostile")
    assert not marker.exists()


@pytest.mark.parametrize(
    "target", ["ctorch.jit._pickle\nbuild_intlist\n", "ccollections\nOrderedDict\n", "c__torch__\nM\n"]
)
def test_a_pickle_cannot_change_what_the_unpickler_hands_out(tmp_path, target):
    state = b"}X\x04\x00\x00\x00calls}X\x08\x00\x00\x00__call__K\x01s\x86b."  # BUILD with attributes and slots
    refused(archive(tmp_path / "model.pth", b"\x80\x02" + target.encode() + state))


@pytest.mark.parametrize(
    ("count", "offset", "size", "stride", "words"),
    [
        (4, 0, 5, 1, "outside its storage"),
        (4, 3, 2, 1, "outside its storage"),
        (4, 0, 3, 2, "outside its storage"),
        (4, -1, 2, 1, "outside its storage"),
        (4, 3, 2, -1, "outside its storage"),
        (4, 0, 1 << 30, 0, "outside its storage"),
        (5, 0, 4, 1, "has 4 numbers, not 5"),
        (4, 0, 4, 1, "something else than a model"),  # the tensor is sound
    ],
)
def test_a_tensor_stays_in_its_storage(tmp_path, count, offset, size, stride, words):
    def number(n):
        return b"J" + int(n).to_bytes(4, "little", signed=True)

    storage = b"(X\x07\x00\x00\x00storagectorch\nDoubleStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + number(count)
    shape = number(offset) + b"(" + number(size) + b"t(" + number(stride) + b"t"
    pickled = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"tQ" + shape + b"\x89NtR."
    refused(archive(tmp_path / "model.pth", pickled, storage_0=np.arange(4.0).tobytes()), words)


def test_a_compressed_pickle_is_not_inflated(tmp_path):
    refused(archive(tmp_path / "model.pth", b"\x80\x02N." * 1000, zipfile.ZIP_DEFLATED), "compressed inside")
