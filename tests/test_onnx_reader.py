"""dpc_model_load on files that are damaged, foreign or incomplete: a message or a model, never a crash."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
import randommodels
from compress_onnx import _core, graph, onnxfile
from compress_onnx.model import ModelError
from compress_onnx.tabulate import Grid, make, model_nets
from coremodels import onnx_bytes, variant
from onnx import numpy_helper

TINY = Grid("tiny", 0.0, 0.5, 2, 1.0, 1)


@pytest.fixture(scope="module")
def good() -> bytes:
    return onnx_bytes(grid=TINY)


def survives(data: bytes) -> str | None:
    """The message with which `data` is refused; None where it is a model, which must then evaluate to something."""
    try:
        model = _core.Model(data)
        _core.Workspace(model).compute(*SYSTEM)  # tables and nets are read when atoms need them
    except (ModelError, ValueError) as error:
        assert str(error)
        return str(error)
    return None


SYSTEM = (*randommodels.atoms(randommodels.CELLS["triclinic"], 6), randommodels.CELLS["triclinic"])


def edited(data: bytes, change) -> bytes:
    """`data` after change(model)."""
    model = onnx.ModelProto.FromString(data)
    change(model)
    return model.SerializeToString()


def tensor_of(model, name):
    (tensor,) = [t for t in model.graph.initializer if t.name == name]
    return tensor


def put(name, value):
    """A change: initializer `name` becomes `value`."""

    def change(model):
        tensor_of(model, name).CopyFrom(numpy_helper.from_array(np.asarray(value), name))

    return change


def put_at(name, place, value):
    """A change: one element of initializer `name`."""

    def change(model):
        array = numpy_helper.to_array(tensor_of(model, name)).copy()
        array[place] = value
        put(name, array)(model)

    return change


def layout(**parts):
    """A change of the node's layout."""

    def change(model):
        (node,) = [node for node in model.graph.node if node.op_type == "EnergyForce"]
        node.attribute[0].s = json.dumps(json.loads(node.attribute[0].s) | parts).encode()

    return change


def metadata(key, value):
    def change(model):
        (entry,) = [entry for entry in model.metadata_props if entry.key == f"compress_onnx.{key}"]
        entry.value = value

    return change


def remove(name):
    return lambda model: model.graph.initializer.remove(tensor_of(model, name))


def typed_data(model):
    """Values where protobuf has a field for their type, which our files never use."""
    tensor = tensor_of(model, "sel")
    tensor.int64_data.extend(numpy_helper.to_array(tensor))
    tensor.ClearField("raw_data")


# ---- damage -----------------------------------------------------------------------------------


def test_the_undamaged_file_is_a_model(good, tmp_path):
    assert survives(good) is None
    (tmp_path / "file.onnx").write_bytes(good)
    model = _core.Model(tmp_path / "file.onnx")
    assert (model.type_map, model.cutoff, model.precision, model.tables) == (("A", "B"), 4.0, "float64", 4)


def test_truncated_files(good):
    graph_end = good.index(b"compress_onnx.format")  # metadata follow the graph
    lengths = np.unique(np.concatenate([np.arange(0, 300), np.linspace(0, len(good) - 1, 700).astype(int)]))
    for length in lengths:
        message = survives(good[:length])
        assert message or length > graph_end
    assert survives(b"") == "this is no model of compress-onnx"


@pytest.mark.parametrize("seed", range(3))
def test_flipped_bytes(good, seed):
    """Tables and weights are most of a file; the other bytes say what those are, and get as many flips."""
    rng = np.random.default_rng(seed)
    data = np.frombuffer(good, np.uint8)
    telling = np.flatnonzero(structure(good))
    for k in range(1000):
        mutant = data.copy()
        places = rng.choice(telling if k % 2 else len(data), rng.integers(1, 4))
        mutant[places] = rng.integers(0, 256, len(places))
        survives(mutant.tobytes())


def structure(data: bytes) -> np.ndarray:
    """Which bytes are no tensor's values and no function's body: bool [len(data)]."""
    model = onnx.ModelProto.FromString(data)
    kept = np.ones(len(data), bool)
    for part in [t.raw_data for t in model.graph.initializer if len(t.raw_data) > 100]:
        kept[data.index(part) :][: len(part)] = False
    for function in model.functions:
        part = function.SerializeToString()
        kept[data.index(part) :][: len(part)] = False
    return kept


@pytest.mark.parametrize("precision", ["float64", "float32", "mixed"])
@pytest.mark.parametrize("name", ["switch", "count", "env_mean", "env_std", "grid", "table", "bias"])
def test_extreme_numbers(name, precision):
    data = onnx_bytes(precision=precision, grid=TINY)
    array = numpy_helper.to_array(tensor_of(onnx.ModelProto.FromString(data), name))
    for value in (np.nan, np.inf, -np.inf, -1.0, 0.0, 1e-320, 1e-40, 1e39, -1e39, 1e300, 1.7e308):
        for place in np.ndindex(array.shape) if array.size < 20 else [np.zeros(array.ndim, int)]:
            with np.errstate(over="ignore"):
                message = survives(edited(data, put_at(name, tuple(place), value)))
            assert message or not np.isnan(value)


# ---- other files, missing and wrong parts -----------------------------------------------------


def test_uncompressed_models_are_refused():
    with pytest.raises(ModelError, match="not compressed: compress it, or run it in onnxruntime"):
        _core.Model(graph.uncompressed(variant("plain")).SerializeToString())


def test_foreign_files(tmp_path):
    for content in (b"hello, this is no model", b"\x89HDF\r\n\x1a\n" + bytes(100), b"PK\x03\x04" + bytes(50)):
        assert survives(content) in ("the file is damaged or no ONNX model", "this is no model of compress-onnx")
    foreign = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []))
    assert survives(foreign.SerializeToString()) == "this is no model of compress-onnx"
    with pytest.raises(ModelError, match="cannot open .*absent.onnx"):
        _core.Model(tmp_path / "absent.onnx")
    with pytest.raises(ModelError, match="cannot read"):
        _core.Model(tmp_path)
    (tmp_path / "text.onnx").write_text("text")
    with pytest.raises(ModelError, match="text.onnx: the file is damaged or no ONNX model"):
        _core.Model(tmp_path / "text.onnx")


@pytest.mark.parametrize(
    "change, message",
    [
        (metadata("format", "2"), "format 2, this library reads format 1: update it"),
        (metadata("format", ""), "format , this library reads format 1"),
        (metadata("type_map", '["A"]'), "the type map has 1 names, the model 2 types"),
        (metadata("type_map", '["A", 2]'), "the list is no list of strings"),
        (metadata("type_map", ""), "the list is missing or no list of strings"),
        (lambda model: model.graph.ClearField("node"), "no EnergyForce or AtomicTensor node"),
        (layout(descriptor=["se_e9"]), "descriptor se_e9 is not supported by this version"),
        (layout(fitting="dipole"), "fitting nets of a dipole model with 1 outputs for 8 channels"),
        (layout(fitting="charge"), "fitting charge is not supported"),
        (layout(precision="float16"), "precision float16 is not supported"),
        (layout(precision=7), "precision is missing or no list"),
        (layout(parameters=[]), "parameter fit_net is missing"),
        (layout(parameters=["switch", "fit_net"]), "parameter axis is missing"),
        (layout(precision="float32"), "parameter table has element type 11, not 1"),
        (remove("switch"), "parameter switch is missing"),
        (remove("fit.1.0.bias"), "parameter fit.1.0.bias is missing"),
        (typed_data, "parameter sel is missing"),
        (put("switch", np.zeros(3)), "parameter switch has the wrong shape"),
        (put("switch", np.array([0.5, -4, 3, 0])), "the switching function from 0.5 to -4 is impossible"),
        (put("sel", np.array([], np.int64)), "sel has 0 sections for 2 types"),
        (put("sel", np.array([-1, 5])), "sel -1 is impossible"),
        (put("count", 0.0), "count must be positive"),
        (put("axis", 0), "fitting net 0 takes 24 inputs, the descriptor has 8"),
        (put("axis", -1), "axis must not be negative"),
        (put("axis", 9), "axis 9 is more than the 8 channels"),
        (put("axis", 2), "fitting net 0 takes 24 inputs, the descriptor has 16"),
        (put_at("env_std", (0, 0), 0), "the environment's statistics are impossible"),
        (put_at("net", (0, 1), 4), "net 4 is impossible"),
        (put_at("pad_net", (1, 0), -2), "pad_net -2 is impossible"),
        (put("fit_net", np.array([0, 2])), "fit_net 2 is impossible"),
        (put("total", -1), "total -1 is impossible"),
        (put_at("rows", (0, 0), 0), "table 0 has impossible rows"),
        (put_at("rows", (3, 1), 5), "table 3 has impossible rows"),
        (put_at("rows", (3, 0), 1), "the tables have 16 nodes, not 15"),
        (put_at("grid", (0, 1), 0), "steps must be positive"),
        (put_at("table", (0, 0, 0), np.nan), "a table holds something that is no number"),
        (put_at("fit_activation", (0, 0), 10), "fit_activation 10 is impossible"),
        (put_at("fit_residual", (0, 1), 2), "layer 1 from 24 to 5 cannot have residual 2"),
        (put("fit.0.3.weight", np.zeros((10, 2))), "parameter fit.0.3.bias has the wrong shape"),
        (put("fit.0.1.weight", np.zeros((24, 0))), "wrong shape"),
        (put("bias", np.array([[0], [np.inf]])), "bias holds something that is no number"),
    ],
)
def test_wrong_parts(good, change, message):
    assert message in survives(edited(good, change))


def test_tables_are_read_when_atoms_of_their_types_come(good):
    model = _core.Model(edited(good, put_at("table", (-1, 0, 0), np.nan)))  # that of types 1 and 1
    coord, first, cell = SYSTEM  # all of type 0
    workspace = _core.Workspace(model)
    assert np.isfinite(workspace.compute(coord, first, cell)["energy"])
    for _ in range(2):
        with pytest.raises(ModelError, match="a table holds something that is no number"):
            workspace.compute(coord, np.ones_like(first), cell)
    assert np.isfinite(workspace.compute(coord, first, cell)["energy"])


def test_json_with_escapes(good):
    names = ["Caf\u00e9 \u2014", 'q"\\/\n\t']
    for text in (json.dumps(names), json.dumps(names, ensure_ascii=False, indent=2)):
        assert _core.Model(edited(good, metadata("type_map", text))).type_map == tuple(names)
    for text in ('["A", "B"', '["A" "B"]', '["\\u12g4", "B"]', '["A\\', '{"A": 1}', "[" * 10000):
        assert "list" in survives(edited(good, metadata("type_map", text)))


def test_deep_json_is_refused(good):
    def change(model):
        (node,) = [node for node in model.graph.node if node.op_type == "EnergyForce"]
        node.attribute[0].s = b'{"x": ' + b"[" * 100000

    assert "parameters is missing" in survives(edited(good, change))


# ---- external data ----------------------------------------------------------------------------


@pytest.fixture
def external(tmp_path):
    """A model whose tensors are in another file, and that file."""
    model = variant("plain")
    proto = graph.compressed(model, [make(net, TINY) for net in model_nets(model)], precision="float64")
    onnxfile.write(proto, tmp_path / "model.onnx", threshold=0)
    (data,) = tmp_path.glob("model.onnx.*data")
    return tmp_path / "model.onnx", data


def test_external_data(external, good):
    path, _ = external
    one, other = (_core.Workspace(_core.Model(source)).compute(*SYSTEM) for source in (path, good))
    assert one["energy"] == other["energy"]


def test_external_data_that_cannot_be_read(external):
    path, data = external
    with pytest.raises(ModelError, match="the tables are in another file, and no folder was given"):
        _core.Model(path.read_bytes())
    content = data.read_bytes()
    data.write_bytes(content[:-1])
    with pytest.raises(ModelError, match=r"model.onnx: the external data .*model.onnx.*data is too short"):
        _core.Model(path)
    data.unlink()
    with pytest.raises(ModelError, match="cannot open the external data .*model.onnx.*data"):
        _core.Model(path)


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("location", "../model.onnx.data", "external data may only lie beside the model"),
        ("location", "/etc/passwd", "external data may only lie beside the model, not at /etc/passwd"),
        ("location", "a\\b", "external data may only lie beside"),
        ("location", "", "external data may only lie beside"),
        ("location", "x" * 300, "external data may only lie beside"),
        ("location", "..", "too short|cannot open|cannot read"),
        ("offset", "-1", "external data at a malformed offset"),
        ("offset", "9" * 19, "too short"),
        ("offset", "9" * 30, "external data at a malformed offset"),
        ("offset", str(2**40), "too short"),
    ],
)
def test_external_data_elsewhere(external, key, value, message):
    path, _ = external

    def change(model):
        tensor = next(t for t in model.graph.initializer if t.external_data)
        (entry,) = [entry for entry in tensor.external_data if entry.key == key]
        entry.value = value

    path.write_bytes(edited(path.read_bytes(), change))
    with pytest.raises(ModelError, match=message):
        _core.Model(path)


def test_external_data_larger_than_its_file(external):
    """Refused before memory is asked for: the table would be 50 GB."""
    path, _ = external

    def change(model):
        tensor_of(model, "table").dims[0] = 2**28

    path.write_bytes(edited(path.read_bytes(), change))
    code = f"""
import resource
from compress_onnx import _core
resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))
try:
    _core.Model({str(path)!r})
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ModelError ") and "too short" in done.stdout
