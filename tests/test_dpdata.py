"""The driver of dpdata, with real systems."""

import importlib.metadata

import compress_onnx as co
import numpy as np
import pytest
from cases import MODELS, frames_of_model

dpdata = pytest.importorskip("dpdata", reason="dpdata is missing: pip install dpdata")
from compress_onnx.dpdata import CompressOnnxDriver

SHIFTS = (0.0, 0.4)  # of the frames of a system, in cells


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("dpdata") / "water.onnx"
    co.compress(MODELS / "water.pth", path, check="none")
    return path


def frame_of(group):
    return next(frame for frame in frames_of_model(MODELS / "water.pth") if frame.group == group)


def system_of(frame, names=("H", "O")):
    """Two frames, the second one shifted as a whole; types are numbered in another order than the model's."""
    cell = frame.cell if frame.cell.any() else 100 * np.eye(3)
    data = {
        "atom_names": list(names),
        "atom_numbs": [int(np.sum(frame.atype == 1)), int(np.sum(frame.atype == 0))],
        "atom_types": 1 - frame.atype,
        "orig": np.zeros(3),
        "cells": np.array([cell, cell]),
        "coords": np.array([frame.coord + shift * cell.sum(axis=0) for shift in SHIFTS]),
        "nopbc": not frame.cell.any(),
    }
    return dpdata.System(data=data)


@pytest.mark.parametrize("group", ["triclinic", "cluster"])
def test_labels_are_the_originals(model, group):
    frame = frame_of(group)
    system = system_of(frame)
    labeled = system.predict(str(model), driver="compress-onnx")
    assert isinstance(labeled, dpdata.LabeledSystem) and labeled.nopbc == system.nopbc
    assert labeled["atom_names"] == ["H", "O"]
    for k in range(len(SHIFTS)):
        assert labeled["energies"][k] == pytest.approx(frame.energy, abs=1e-8)
        np.testing.assert_allclose(labeled["forces"][k], frame.force, rtol=0, atol=1e-8)
        np.testing.assert_allclose(labeled["virials"][k], frame.virial, rtol=0, atol=1e-7)
    assert "energies" not in system.data


def test_a_potential_serves_as_model(model, tmp_path):
    system = system_of(frame_of("triclinic"))
    labeled = system.predict(co.DeepPot(model, runtime="onnxruntime"), driver="compress-onnx")
    labeled.to("deepmd/npy", tmp_path / "data")
    again = dpdata.LabeledSystem(tmp_path / "data", fmt="deepmd/npy")
    native = system.predict(driver=CompressOnnxDriver(model, threads=2))
    np.testing.assert_allclose(again["energies"], native["energies"], rtol=1e-6)  # npy files are float32
    np.testing.assert_allclose(labeled["forces"], native["forces"], rtol=0, atol=1e-10)


def test_spins(tmp_path):
    co.compress(MODELS / "spin.pth", tmp_path / "model.onnx", check="none")
    frame = next(frame for frame in frames_of_model(MODELS / "spin.pth") if frame.group == "triclinic")
    system = system_of(frame, names=("O", "Ni"))
    system.data["spins"] = np.array([frame.spin] * len(SHIFTS))
    labeled = system.predict(tmp_path / "model.onnx", driver="compress-onnx")
    np.testing.assert_allclose(labeled["energies"], frame.energy, rtol=0, atol=1e-8)
    np.testing.assert_allclose(labeled["force_mags"][1], frame.expected["force_mag"], rtol=0, atol=1e-8)


def test_an_unknown_element_is_named(model):
    system = system_of(frame_of("triclinic"), names=("H", "Xe"))
    with pytest.raises(ValueError, match=f"{model} has no type for Xe; it knows O H"):
        system.predict(model, driver="compress-onnx")


def test_dpdata_finds_it_by_itself():
    try:
        distribution = importlib.metadata.distribution("compress-onnx")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("compress-onnx is not installed by pip, which announces the driver to dpdata")
    (entry,) = distribution.entry_points.select(group="dpdata.plugins")
    assert entry.load().CompressOnnxDriver is dpdata.driver.Driver.get_driver("compress-onnx")
