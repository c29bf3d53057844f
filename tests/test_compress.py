"""compress and convert on a small model: what they write, what they report, what they refuse."""

import json
from dataclasses import replace
from functools import partial

import compress_onnx as co
import numpy as np
import onnx
import pytest
import tiny
from compress_onnx import readers, strides, tabulate
from compress_onnx.making import FALLBACK_DISTANCE
from compress_onnx.model import ModelError
from compress_onnx.onnxfile import read_metadata
from compress_onnx.probe import Probe, force_error, probes
from compress_onnx.validate import Compressed, Original, compared
from randommodels import atoms
from test_distance import pair, write_script, write_system

CELL = np.array([[4.6, 0.3, 0.0], [0.7, 5.2, -0.4], [0.1, -0.6, 6.1]])


def smooth_tree():
    """tiny's model with embedding nets as smooth as trained ones."""
    tree = tiny.tree()
    for layer in embedding_layers(tree):
        layer["@variables"]["w"] *= 0.3
    return tree


def embedding_layers(tree):
    networks = tree["model"]["descriptor"]["embeddings"]["networks"]
    return [layer for net in networks for layer in net["layers"]]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.write_dp(smooth_tree(), str(tmp_path_factory.mktemp("model") / "model.dp"))


@pytest.fixture(scope="module")
def compressed(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("compressed") / "model.onnx"
    return path, co.compress(model, path)


def unseen_error(model, path, seed=1):
    """Force error on atoms that are no probes."""
    coord, atype = atoms(CELL, 14, seed=seed)
    frame = Probe(coord, atype, CELL, np.zeros(len(coord), int))
    original = Original(readers.read(model)).evaluate(frame)["force"]
    return force_error(frame, original, Compressed(path).evaluate(frame)["force"])


def tensors(path):
    return {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


def test_keeps_the_default_accuracy(model, compressed):
    path, report = compressed
    assert report.ok and not report.warnings
    assert report.accuracy == 1e-9 and report.force_error <= report.force_estimate <= 1e-9
    assert report.validation.error <= 2e-9
    assert unseen_error(model, path) <= 1e-8


def test_report_and_metadata_describe_the_file(compressed):
    path, report = compressed
    facts, arrays = read_metadata(path), tensors(path)
    assert json.loads(facts["tables"]) == json.loads(json.dumps(report.tables))
    for table, grid, rows in zip(report.tables, arrays["grid"], arrays["rows"], strict=True):
        assert [table["lower"], table["step0"], table["step1"]] == grid.tolist()
        assert table["rows"] == rows.tolist()
        assert table["upper"] == pytest.approx(grid[0] + rows[0] * grid[1], rel=1e-15)
        assert max(*table["error"]["value"], *table["error"]["derivative"]) < 1e-7
    assert len(arrays["table"]) == sum(sum(table["rows"]) + 1 for table in report.tables)
    accuracy = json.loads(facts["accuracy"])
    assert [accuracy[name] for name in ("force_error", "force_estimate", "by")] == [
        report.force_error,
        report.force_estimate,
        report.by,
    ]
    assert json.loads(facts["fold"]) is None
    assert float(facts["min_distance"]) == report.min_distance == 0.7
    assert report.bytes == path.stat().st_size


def test_self_test_of_the_file_passes(compressed):
    path, _ = compressed
    test = {key: np.array(value) for key, value in json.loads(read_metadata(path)["self_test"]).items()}
    energy, *_ = co.DeepPot(path).eval(test["coord"], None, test["atype"])
    assert energy.item() == pytest.approx(float(test["energy"]), abs=1e-8)


def test_the_same_bytes_again(model, compressed, tmp_path):
    co.compress(model, tmp_path / "again.onnx", check="none")
    assert (tmp_path / "again.onnx").read_bytes() == compressed[0].read_bytes()


def test_accuracy_decides_the_strides(model, compressed, tmp_path):
    report = co.compress(model, tmp_path / "coarse.onnx", accuracy=1e-5)
    assert report.ok and 1e-8 < report.force_error <= 1e-5
    assert report.bytes < compressed[1].bytes
    rows = [np.sum([table["rows"] for table in found.tables], axis=0) for found in (report, compressed[1])]
    assert (2 * rows[0] < rows[1]).all()


def test_step_is_taken_as_it_is(model, tmp_path):
    report = co.compress(model, tmp_path / "step.onnx", step=0.002, extrapolate=3)
    assert report.ok
    for table in report.tables:
        assert (table["step0"], table["step1"]) == (0.002, 0.02)
        assert table["upper"] >= round(table["upper"]) and table["max"] >= 3 * round(table["upper"])
    assert unseen_error(model, tmp_path / "step.onnx") <= 1e-8


def test_too_large_a_step_is_said(model, tmp_path):
    with pytest.warns(RuntimeWarning, match="the tables add a force error"):
        report = co.compress(model, tmp_path / "step.onnx", step=1.0)
    assert not report.ok and report.force_error > 1e-8


def test_what_strides_cannot_reach_is_said(model, tmp_path, monkeypatch):
    monkeypatch.setattr(tabulate, "MOST_ROWS", 20)
    with pytest.warns(RuntimeWarning, match="the tables add a force error"):
        report = co.compress(model, tmp_path / "out.onnx", accuracy=1e-10)
    assert not report.ok


@pytest.mark.parametrize("precision", ["float32", "mixed"])
def test_other_precisions(model, precision, tmp_path):
    path = tmp_path / "out.onnx"
    report = co.compress(model, path, precision=precision)
    assert report.precision == precision and report.accuracy == 1e-5 and report.ok
    assert tensors(path)["table"].dtype == np.float32
    assert unseen_error(model, path) <= 1e-4


def test_pairs(model, tmp_path):
    report = co.compress(model, tmp_path / "pairs.onnx", interface="pairs")
    assert report.ok
    assert "pair_shift" in [i.name for i in onnx.load(tmp_path / "pairs.onnx").graph.input]


def test_portable_has_standard_operators_only(model, tmp_path):
    report = co.compress(model, tmp_path / "portable.onnx", portable=True)
    proto = onnx.load(tmp_path / "portable.onnx")
    assert report.ok and not proto.functions
    assert {node.domain for node in proto.graph.node} == {""}


def test_full_check_has_differences_of_the_energy(model, tmp_path):
    validation = co.compress(model, tmp_path / "out.onnx", check="full").validation
    assert validation.ok and validation.gradient <= 1e-8
    assert validation.frames == 25


def test_min_distance(model, tmp_path):
    near = co.compress(model, tmp_path / "out.onnx", min_distance=0.35, check="none")
    far = co.compress(model, tmp_path / "out.onnx", min_distance=1.4, check="none")
    assert all(a["upper"] > b["upper"] for a, b in zip(near.tables, far.tables, strict=True))


def test_min_distance_unknown_or_from_the_training_data(tmp_path):
    model = tiny.write_dp(tiny.changed(smooth_tree(), "@variables.min_nbor_dist", KeyError), str(tmp_path / "model.dp"))
    with pytest.warns(RuntimeWarning, match="give --min-distance"):
        assert co.compress(model, tmp_path / "out.onnx", check="none").min_distance == FALLBACK_DISTANCE
    write_system(tmp_path / "data", pair(0.9))
    report = co.compress(model, tmp_path / "out.onnx", check="none", training_script=write_script(tmp_path, ["data"]))
    assert report.min_distance == pytest.approx(0.9) and not report.warnings


@pytest.mark.parametrize("step", [None, 0.5])
def test_nets_with_kinks_are_exact_at_any_stride(tmp_path, step):
    tree = tiny.tree()
    for layer in embedding_layers(tree):
        layer["activation_function"] = "relu"
    model = tiny.write_dp(tree, str(tmp_path / "relu.dp"))
    report = co.compress(model, tmp_path / "relu.onnx", step=step)
    assert report.ok and report.force_error < 1e-11
    assert max(sum(table["rows"]) for table in report.tables) < 200


def test_report_file(model, tmp_path):
    report = co.compress(model, tmp_path / "out.onnx", report=tmp_path / "report.json")
    written = json.loads((tmp_path / "report.json").read_text())
    assert written == json.loads(json.dumps(report.to_json()))
    assert written["ok"] and written["fold"] is None and written["validation"]["ok"]


def test_an_uncompressed_onnx_is_an_input_like_any_other(model, compressed, tmp_path):
    co.convert(model, tmp_path / "plain.onnx")
    co.compress(tmp_path / "plain.onnx", tmp_path / "out.onnx")
    np.testing.assert_array_equal(tensors(tmp_path / "out.onnx")["table"], tensors(compressed[0])["table"])


def test_a_compressed_file_is_refused(compressed, tmp_path):
    with pytest.raises(ModelError, match="compressed"):
        co.compress(compressed[0], tmp_path / "again.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"accuracy": 0}, "accuracy must be positive"),
        ({"accuracy": float("nan")}, "accuracy must be positive"),
        ({"step": -1}, "step must be positive"),
        ({"accuracy": 1e-9, "step": 0.01}, "exclude each other"),
        ({"extrapolate": 0.5}, "extrapolate must be at least 1"),
        ({"min_distance": -1}, "min_distance must be positive"),
        ({"precision": "half"}, "precision must be one of same, float64, float32, mixed, not 'half'"),
        ({"interface": "box"}, "interface must be one of"),
        ({"check": "some"}, "check must be one of"),
        ({"report": "nowhere/report.json"}, "no folder nowhere"),
    ],
)
def test_bad_options(model, tmp_path, options, says):
    with pytest.raises(ValueError, match=says):
        co.compress(model, tmp_path / "out.onnx", **options)
    assert not list(tmp_path.iterdir())


def test_a_distance_beyond_the_cutoff(model, tmp_path):
    with pytest.raises(ModelError, match="beyond the cutoff of 3 Å"):
        co.compress(model, tmp_path / "out.onnx", min_distance=3.5)


def test_output_equal_to_input(tmp_path):
    model = tmp_path / "model.onnx"
    tiny.write_dp(tiny.tree(), str(model))
    before = model.read_bytes()
    (tmp_path / "link.onnx").symlink_to(model)
    for output in (model, tmp_path / "link.onnx"):
        for job in (co.compress, co.convert):
            with pytest.raises(ValueError, match="the output is the input"):
                job(model, output)
    assert model.read_bytes() == before


def test_validate_on_a_system_folder(model, compressed, tmp_path):
    coord, atype = atoms(CELL, 9)
    system = write_system(tmp_path / "system", np.stack([coord] * 30), np.stack([CELL] * 30), types=1 - atype)
    (system / "type_map.raw").write_text("B A\n")
    found = compared(model, compressed[0], system).validation
    assert found.ok and found.frames == 15 and found.atoms == 15 * 9
    (system / "type_map.raw").write_text("B C\n")
    with pytest.raises(ModelError, match="no types C"):
        compared(model, compressed[0], system)


def test_validate_sees_a_wrong_energy(compressed, tmp_path):
    tree = smooth_tree()
    tree["model"]["@variables"]["out_bias"] = tree["model"]["@variables"]["out_bias"] + 1e-6
    found = compared(tiny.write_dp(tree, str(tmp_path / "other.dp")), compressed[0]).validation
    assert not found.ok and found.error == pytest.approx(1e-6, rel=1e-2)


def test_probes_reach_every_table_end_to_end(model):
    given = readers.read(model)
    frames = probes(given, 0.7)
    *others, contacts = frames
    assert contacts.contacts and not any(frame.contacts for frame in others)
    for frame in frames:
        assert set(frame.atype.tolist()) == {0, 1}
    delta = contacts.coord[:, None] - contacts.coord
    apart = np.linalg.norm(delta, axis=-1)[np.triu_indices(len(delta), 1)]
    assert apart.min() <= 0.4 * 0.7 * 1.000_001
    groups = contacts.group[:, None] != contacts.group
    assert np.linalg.norm(delta, axis=-1)[groups].min() > given.cutoff
    assert all((a.coord == b.coord).all() for a, b in zip(frames, probes(given, 0.7), strict=True))


def test_probes_of_a_dense_metal_and_of_many_types(model):
    given = readers.read(model)
    (term,) = given.terms
    (descriptor,) = term.descriptors

    def model_of(types, **changes):
        changed = replace(term, descriptors=(replace(descriptor, **changes),))
        return replace(given, terms=(changed,), type_map=tuple(map(str, range(types))))

    metal = model_of(1, sel=(120,), switch=replace(descriptor.switch, cutoff=6.0))
    packing = probes(metal, 2.3)[1]
    fraction = (packing.coord[:, None] - packing.coord) @ np.linalg.inv(packing.cell)
    apart = np.linalg.norm((fraction - np.round(fraction)) @ packing.cell, axis=-1)
    assert apart[~np.eye(len(apart), dtype=bool)].min() > 0.95 * 2.3
    many = probes(model_of(20, sel=(5,) * 20), 0.7)
    assert set(many[0].atype.tolist()) == set(range(20))
    assert sum(len(frame.coord) for frame in many) < 400


def test_choice_of_strides_tightens_only_what_errs(model):
    """With forces that amplify second sub-tables a thousandfold, first ones stay as coarse as alone."""
    given = readers.read(model)
    grids = tabulate.model_grids(given, 0.7, 5.0, 0.01)

    def errors(tables, factor):
        found = [
            tabulate.sampled_error(net, table) for net, table in zip(tabulate.model_nets(given), tables, strict=True)
        ]
        return max(e.worst(0) for e in found), factor * max(e.worst(1) for e in found)

    plain, sharp = (
        strides.choose(given, grids, 1e-8, partial(errors, factor=factor), "float64") for factor in (1, 1000)
    )
    assert max(*plain.estimates, *sharp.estimates) <= 1e-8
    assert [table.step0 for table in plain.tables] == [table.step0 for table in sharp.tables]
    assert all(a.step1 > b.step1 for a, b in zip(plain.tables, sharp.tables, strict=True))
