"""test_compressed_inputs - models that dp compress has compressed: their tables are taken over as they are."""

import json

import compress_onnx as co
import numpy as np
import pytest
import reference
import tiny
from cases import frames_of_oracle
from compress_onnx import _core
from compress_onnx.cli import main
from compress_onnx.model import Grid, TabulatedNet
from compress_onnx.nets import derivatives
from compress_onnx.readers import read
from compress_onnx.tabulate import Table, make, sampled_error
from conftest import ROOT, SHARED
from test_readers import damage_is_read_or_refused, refused

DATA = ROOT / "tests/data/compressed"
FILES = sorted(file for file in DATA.iterdir() if file.suffix in (".pb", ".pth"))
ORACLE = sorted(SHARED.glob("oracle/*/model-compressed.*"))
CHECKPOINT = ROOT / "tests/data/checkpoints/alone.pt"
LARGEST = 60  # atoms; the reference is slow


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_equals_what_the_peer_makes_of_its_tables(file):
    model = read(file)
    assert all(isinstance(net, TabulatedNet) for descriptor in model.descriptors for net in descriptor.nets)
    with np.load(DATA / "results.npz") as stored:
        found = reference.evaluate(model, stored["coord"], stored["atype"], stored["cell"])
        for name in ("energy", "force", "virial"):
            expected = stored[f"{file.stem}.{name}"]
            reach = 3e-14 * max(1, np.abs(expected).max())
            np.testing.assert_allclose(found[name], expected, rtol=0, atol=reach, err_msg=name)


@pytest.mark.parametrize("file", ORACLE, ids=lambda file: file.parent.name)
def test_it_errs_as_the_peer_has_measured(file):
    """Against the original, by what the peer's compressed model differs from it."""
    model = read(file)
    known = json.loads((file.parent / "meta.json").read_text())["errors"]
    for frame in frames_of_oracle(file.parent):
        if len(frame.atype) <= LARGEST:
            found = reference.evaluate(model, frame.coord, frame.atype, frame.cell, frame.fparam, frame.aparam)
            error = np.abs(found["force"] - frame.force).max()
            assert error <= 1e-11 + 1.5 * known[frame.group]["max|d force|"], frame.group


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
@pytest.mark.parametrize("options", [{}, {"step": 0.01}, {"accuracy": 1e-6}], ids=str)
def test_its_strides_are_kept(tmp_path, file, options):
    output = tmp_path / "model.onnx"
    with pytest.warns(RuntimeWarning, match="original are better"):
        report = co.compress(file, output, fold=False, **options)
    nets = [net for descriptor in read(file).descriptors for net in descriptor.nets]
    for table, net in zip(report.tables, nets, strict=True):
        assert table["rows"] == [net.grid.rows0, net.grid.rows1]
        assert (table["lower"], table["step0"], table["step1"]) == (net.grid.lower, net.grid.step0, net.grid.step1)
    assert report.ok and report.force_error < 1e-12 and report.force_bound is None
    with np.load(DATA / "results.npz") as stored:
        workspace = _core.Workspace(_core.Model(output.read_bytes()))
        found = workspace.compute(stored["coord"], stored["atype"].astype(np.int32), stored["cell"])
        np.testing.assert_allclose(found["force"], stored[f"{file.stem}.force"], rtol=1e-11, atol=1e-12)


def test_three_bodies_are_warned_of(tmp_path, capsys):
    assert main(["-i", str(DATA / "triples.pth"), "-o", str(tmp_path / "model.onnx"), "--check", "full"]) == 0
    assert "wrong in two intervals" in capsys.readouterr().err
    assert main(["inspect", str(DATA / "triples.pth")]) == 0
    shown = capsys.readouterr().out
    assert "tabulated by dp compress" in shown and "wrong in two intervals" in shown
    assert main(["inspect", str(DATA / "dpa1.pth")]) == 0
    assert "wrong in two intervals" not in capsys.readouterr().out


def test_there_is_no_uncompressed_form(tmp_path, capsys):
    assert main(["convert", "-i", str(DATA / "dpa1.pth"), "-o", str(tmp_path / "model.onnx")]) == 2
    assert "there is no uncompressed form: compress it instead" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# ---- tables as native files have them ----------------------------------------------------------


@pytest.mark.parametrize(
    "descriptor", [tiny.angles(), tiny.radial(), tiny.triples(), tiny.typed_triples(), tiny.dpa1()]
)
def test_native_files(tmp_path, descriptor):
    tree = tiny.tree(descriptor=descriptor)
    plain = read(tiny.write_dp(tree, tmp_path / "plain.dp"))
    three, (old,) = descriptor["type"] in ("se_e3", "se_e3_tebd"), plain.descriptors
    collection = tree["model"]["descriptor"]["embeddings"]["networks"]
    grid, tables = Grid("", -2.0, 0.25, 16, 0.5, 8), [None] * len(collection)
    places = [0, 2, 3] if descriptor["type"] == "se_e3" else range(len(old.nets))
    for place, net in zip(places, old.nets, strict=True):
        tables[place] = coefficients(net, grid, three)
    info = [None if table is None else np.array([-2, 2, 6, 0.25, 0.5, -1]) for table in tables]
    stored = {"@variables": {"compress_data": tables, "compress_info": info}, "geo_compress": True}
    if "tebd_input_mode" in descriptor:
        stored["@variables"]["type_embd_data"] = np.arange(9 * 6.0).reshape(9, 6)
    (new,) = read(
        tiny.write_dp(tiny.changed(tree, "model.descriptor.compress", stored), tmp_path / "new.dp")
    ).descriptors
    x = np.linspace(-7 if three else -3, 7, 300)
    for net, before in zip(new.nets, old.nets, strict=True):
        exact = make(before, net.grid).evaluate(x)
        inside = np.abs(x) < 2
        for found, expected in zip(derivatives(net, x), exact, strict=False):
            np.testing.assert_allclose(found[inside], expected[inside], rtol=0, atol=1e-12)
        assert sampled_error(net, make(net, net.grid)).worst(0) < 1e-12
        np.testing.assert_array_equal(derivatives(net, np.array([9.0]))[1], derivatives(net, np.array([6.0]))[1])
    if "tebd_input_mode" in descriptor:
        given = stored["@variables"]["type_embd_data"].reshape(3, 3, 6)[:2, :2]
        expected = given if not three else (given + given.swapaxes(0, 1)) / 2
        np.testing.assert_array_equal(new.scale[new.gate_net], expected)


def coefficients(net, grid, three) -> np.ndarray:
    """The peer's array [rows, 6 width]; of three bodies with a range below, and two intervals wrong as it has them."""
    table = make(net, grid).coefficients()
    if three:
        below = Grid("", -6.0, 0.5, 8, 0.25, 1)
        table = np.concatenate([make(net, below).coefficients()[:8], table])
        table[8, :, 3:] += 1
        table[24, :, 3:] += 1
    return table.reshape(len(table), -1)


@pytest.mark.parametrize("file", [*FILES, CHECKPOINT], ids=lambda file: file.stem)
def test_damage_is_read_or_refused(tmp_path, file):
    damage_is_read_or_refused(file, tmp_path / "model")


def test_a_table_between_its_nodes():
    random = np.random.default_rng(0)
    grid = Grid("", -1.0, 0.5, 4, 2.0, 3)
    net = TabulatedNet(grid, random.normal(size=(8, 3, 5)))
    table, x = Table(**vars(grid), nodes=net.nodes), np.linspace(-2, 9, 200)
    value, slope, curvature = derivatives(net, x)
    np.testing.assert_allclose(value, table.evaluate(x)[0], rtol=0, atol=1e-13)
    np.testing.assert_allclose(slope, table.evaluate(x)[1], rtol=0, atol=1e-13)
    inside = np.linspace(-0.99, 6.9, 50)
    step = 1e-6
    difference = (derivatives(net, inside + step)[1] - derivatives(net, inside - step)[1]) / (2 * step)
    np.testing.assert_allclose(derivatives(net, inside)[2], difference, rtol=1e-5, atol=1e-5)
    assert (curvature[(x < -1) | (x > 7)] == 0).all()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("compress_info", [-2, 2, 6, 0.3, 0.5, -1], "multiples"),
        ("compress_info", [-2, 2, 6, 0.25, 0.0, -1], "multiples"),
        ("compress_info", [-2, 2, 7, 0.25, 0.5, -1], "does not fit its ranges"),
        ("compress_data", np.ones((24, 35)), "does not fit its ranges"),
        ("compress_data", np.zeros(0), "without embedding net"),
        ("compress_data", np.full((24, 36), np.nan), "NaN"),
        ("type_embd_data", np.ones((8, 6)), "8 rows for 2 types"),
    ],
)
def test_tables_that_do_not_fit(tmp_path, key, value, words):
    arrays = {"compress_data": np.ones((24, 36)), "compress_info": np.array([-2, 2, 6, 0.25, 0.5, -1])}
    arrays["type_embd_data"] = np.ones((9, 6))
    arrays[key] = np.array(value)
    stored = {name: array if name == "type_embd_data" else [array] for name, array in arrays.items()}
    tree = tiny.tree(descriptor=tiny.dpa1())
    tree = tiny.changed(tree, "model.descriptor.compress", {"@variables": stored, "geo_compress": True})
    refused(tiny.write_dp(tree, tmp_path / "model.dp"), words)
