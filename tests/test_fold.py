"""test_fold - folds of low rank: what they add, where they serve, where they are left out."""

import json
from dataclasses import replace

import compress_onnx as co
import numpy as np
import pytest
from cases import MODELS, frames_of_model
from compress_onnx import _core, fold, graph, readers, tabulate
from compress_onnx.model import Net
from compress_onnx.onnxfile import read_metadata

WATER = MODELS / "water.pth"


@pytest.fixture(scope="module")
def model():
    return readers.read(WATER)


@pytest.fixture(scope="module")
def tables(model):
    grids = tabulate.model_grids(model, model.min_distance, 5.0, 0.02)
    return [tabulate.make(net, grid) for net, grid in zip(tabulate.model_nets(model), grids, strict=True)]


def evaluate(model, tables, folds, frame, precision="float64", **how):
    proto = graph.compressed(model, tables, precision=precision, folds=folds)
    return _core.Workspace(_core.Model(proto.SerializeToString())).compute(frame.coord, frame.atype, frame.cell, **how)


def test_full_rank_restores_the_channels(model, tables):
    """Nodes times what restores them are the nodes; the first layer sees the same descriptor."""
    (term,) = model.terms
    full, _ = fold.Folder(term, 0, tables, 0).fold(32)
    nodes = np.concatenate([table.nodes[: table.rows0 + 1] for table in tables])
    axis = nodes[..., : term.descriptors[0].axis]
    np.testing.assert_allclose(full.table @ full.axis, axis, rtol=0, atol=1e-9 * np.abs(axis).max())


@pytest.mark.parametrize("precision", ["float64", "float32", "mixed"])
def test_errors_fall_with_the_rank(model, tables, precision):
    frame = next(frame for frame in frames_of_model(WATER) if frame.group == "periodic")
    plain = evaluate(model, tables, [], frame, precision)
    errors = []
    for rank in (8, 16, 24):
        folds = [fold.TermFolder(model.terms[0], tables).fold([rank, rank])]
        errors.append(np.abs(evaluate(model, tables, folds, frame, precision)["force"] - plain["force"]).max())
    assert errors[0] > 10 * errors[1] > 100 * errors[2] and errors[2] < 3e-3


def test_atoms_outside_first_sub_tables_take_the_full_ones(model, tables):
    """With a fold too coarse for use, an atom with a contact has the energy of the unfolded model, others have not."""
    frame = next(frame for frame in frames_of_model(WATER) if frame.group == "contact")
    folds = [fold.TermFolder(model.terms[0], tables).fold([4, 4])]
    plain, folded = (evaluate(model, tables, some, frame) for some in ([], folds))
    same = np.abs(folded["atom_energy"] - plain["atom_energy"]) < 1e-12
    assert same[:2].all() and not same[2:].any()  # the pair is of atoms 0 and 1
    assert (folded["range"] == plain["range"]).all()
    for given, counted in (([], plain), (folds, folded)):  # which of them serves does not depend on who looks
        uncounted = evaluate(model, tables, given, frame, counted=False)
        assert "range" not in uncounted and (uncounted["force"] == counted["force"]).all()


def test_one_type_may_be_folded_alone(model, tables):
    frame = next(frame for frame in frames_of_model(WATER) if frame.group == "periodic")
    folds = [fold.TermFolder(model.terms[0], tables).fold([0, 6])]
    plain, folded = (evaluate(model, tables, some, frame) for some in ([], folds))
    same = folded["atom_energy"] == plain["atom_energy"]
    assert (same == (frame.atype == 0)).all()


def test_the_tolerance_is_kept_and_the_effect_reported(tmp_path):
    report = co.compress(WATER, tmp_path / "fold.onnx", fold=0.01)  # so few channels are nearly of full rank
    co.compress(WATER, tmp_path / "plain.onnx", fold=False)
    assert report.fold["channels"] == [32] and all(0 < rank < 32 for rank in report.fold["ranks"][0])
    assert report.fold["force_error"] <= 0.01 and 0 < report.fold["energy_error"] <= 0.01
    assert json.loads(read_metadata(tmp_path / "fold.onnx")["fold"]) == report.fold
    folded, plain = (co.DeepPot(tmp_path / name, runtime="native") for name in ("fold.onnx", "plain.onnx"))
    for frame in frames_of_model(WATER):
        box = frame.cell.reshape(1, 9) if frame.cell.any() else None
        forces = [pot.eval(frame.coord.reshape(1, -1), box, frame.atype)[1] for pot in (folded, plain)]
        assert 0 < np.abs(forces[0] - forces[1]).max() <= 0.01


def test_a_fold_that_does_not_pay_is_left_out(tmp_path):
    report = co.compress(WATER, tmp_path / "out.onnx", fold=1e-13)
    assert report.fold is None
    assert json.loads(read_metadata(tmp_path / "out.onnx")["fold"]) is None


def test_a_first_layer_with_a_skip_connection_is_not_folded(model, tables):
    (term,) = model.terms
    assert fold.foldable(term, 0, tables, 0)
    layers = [net.layers for net in term.fitting.nets]
    nets = tuple(Net((replace(first, residual=1), *rest)) for first, *rest in layers)
    assert not fold.foldable(replace(term, fitting=replace(term.fitting, nets=nets)), 0, tables, 0)


def test_outputs_that_need_the_channels_are_not_folded(model, tables):
    (term,) = model.terms
    assert not fold.foldable(replace(term, fitting=replace(term.fitting, kind="dipole")), 0, tables, 0)
