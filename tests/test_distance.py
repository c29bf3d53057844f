"""The smallest distance of training data: against brute force over images, and every way a folder can be wrong."""

import json
from itertools import product

import numpy as np
import pytest
from compress_onnx.distance import frames_distance, script_distance, system_distance
from compress_onnx.model import ModelError

TRICLINIC = np.array([[7.0, 0, 0], [2.5, 6.0, 0], [-1.5, 2.0, 5.5]])


def brute_force(positions, cells, images=3):
    shifts = np.array(list(product(range(-images, images + 1), repeat=3)))
    nearest = np.inf
    for frame, cell in zip(positions, cells, strict=True):
        delta = frame[None, :, None] - frame[:, None, None] + shifts @ cell
        distance = np.linalg.norm(delta, axis=-1)
        own = np.eye(len(frame), dtype=bool)[:, :, None] & ~shifts.any(axis=1)
        nearest = min(nearest, distance[~own].min())
    return nearest


@pytest.mark.parametrize("atoms", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("seed", range(3))
def test_every_image_in_a_triclinic_cell(atoms, scale, seed):
    rng = np.random.default_rng(seed)
    cells = scale * np.stack([TRICLINIC, TRICLINIC @ np.diag([1, 1.2, 0.4])])
    inside = rng.uniform(0, 1, (2, atoms, 3))
    anywhere = (inside + rng.integers(-2, 3, inside.shape)) @ cells
    assert frames_distance(anywhere, cells) == pytest.approx(brute_force(inside @ cells, cells), rel=1e-12)


def test_a_difference_of_lattice_vectors_can_be_the_shortest():
    cell = np.array([[9.0, 0, 0], [0, 9.0, 0], [0, 8.9, 1.0]])
    assert frames_distance(np.zeros((1, 1, 3)), cell[None]) == pytest.approx(np.hypot(0.1, 1.0), rel=1e-13)


def test_without_a_cell():
    rng = np.random.default_rng(0)
    positions = rng.normal(0, 5, (4, 30, 3))
    distance = np.linalg.norm(positions[:, :, None] - positions[:, None], axis=-1)
    assert frames_distance(positions, None) == pytest.approx(distance[:, ~np.eye(30, dtype=bool)].min(), rel=1e-13)
    assert frames_distance(positions[:, :1], None) == np.inf


def write_system(folder, positions, cells=None, types=None, real=None):
    (folder / "set.000").mkdir(parents=True)
    np.savetxt(folder / "type.raw", np.zeros(positions.shape[1]) if types is None else types, fmt="%d")
    np.save(folder / "set.000" / "coord.npy", positions.reshape(len(positions), -1))
    if cells is None:
        (folder / "nopbc").touch()
    else:
        np.save(folder / "set.000" / "box.npy", cells.reshape(len(cells), -1))
    if real is not None:
        np.save(folder / "set.000" / "real_atom_types.npy", real)
    return folder


def pair(distance, extra=9.0):
    return np.array([[[0, 0, 0], [distance, 0, 0], [0, extra, 0]]])


def write_script(folder, systems, name="input.json"):
    script = folder / name
    script.write_text(json.dumps({"training": {"training_data": {"systems": systems}}}))
    return script


def test_systems_of_a_script(tmp_path, monkeypatch):
    write_system(tmp_path / "data" / "a", pair(1.1))
    write_system(tmp_path / "data" / "deep" / "b", pair(0.9), np.eye(3)[None] * 20)
    write_system(tmp_path / "here", pair(1.3))
    assert script_distance(write_script(tmp_path, ["data/a"])) == pytest.approx(1.1)
    assert script_distance(write_script(tmp_path, "data")) == pytest.approx(0.9)
    monkeypatch.chdir(tmp_path / "data")  # a path that is right from here wins over one from the script
    write_system(tmp_path / "data" / "here", pair(1.2))
    assert script_distance(write_script(tmp_path, ["here"])) == pytest.approx(1.2)


def test_yaml_and_old_scripts(tmp_path):
    write_system(tmp_path / "a", pair(1.1))
    script = tmp_path / "input.yaml"
    script.write_text(f"training:\n  systems: ['{tmp_path / 'a'}']\n")
    assert script_distance(script) == pytest.approx(1.1)


def test_virtual_atoms_do_not_count(tmp_path):
    positions = np.concatenate([pair(0.5), pair(1.5)])
    real = np.array([[0, -1, 0], [0, 1, 0]])
    assert system_distance(write_system(tmp_path / "a", positions, real=real)) == pytest.approx(1.5)


def test_periodic_images_count(tmp_path):
    system = write_system(tmp_path / "a", pair(9.5, 4.0), np.eye(3)[None] * 10)
    assert system_distance(system) == pytest.approx(0.5)


def bad_json(folder):
    (folder / "input.json").write_text("{")


def no_systems(folder):
    (folder / "input.json").write_text('{"training": {}}')


def missing_folder(folder):
    write_script(folder, ["nowhere"])


def no_type_raw(folder):
    (folder / "a").mkdir()
    write_script(folder, ["a"])


def wrong_shape(folder):
    np.save(write_system(folder / "a", pair(1.0)) / "set.000" / "coord.npy", np.zeros((1, 8)))
    write_script(folder, ["a"])


def no_box(folder):
    (write_system(folder / "a", pair(1.0)) / "nopbc").unlink()
    write_script(folder, ["a"])


def flat_cell(folder):
    write_system(folder / "a", pair(1.0), np.zeros((1, 3, 3)))
    write_script(folder, ["a"])


def fewer_cells(folder):
    write_system(folder / "a", np.concatenate([pair(1.0)] * 2), np.eye(3)[None] * 9)
    write_script(folder, ["a"])


def same_place(folder):
    write_system(folder / "a", pair(0.0))
    write_script(folder, ["a"])


def not_finite(folder):
    write_system(folder / "a", pair(np.nan))
    write_script(folder, ["a"])


def one_atom(folder):
    write_system(folder / "a", np.zeros((1, 1, 3)))
    write_script(folder, ["a"])


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (bad_json, "input.json: not a readable training script"),
        (no_systems, "no training.training_data.systems"),
        (missing_folder, "nowhere: this training system"),
        (no_type_raw, "no file type.raw"),
        (wrong_shape, "set.000: not a readable set of frames"),
        (no_box, "box.npy"),
        (flat_cell, "set.000: box.npy has a cell without volume"),
        (fewer_cells, "coord.npy has 2 frames, but box.npy has 1"),
        (same_place, "a: two atoms"),
        (not_finite, "positions that are not finite"),
        (one_atom, "no two atoms"),
    ],
)
def test_errors_name_the_place(tmp_path, prepare, says):
    prepare(tmp_path)
    with pytest.raises(ModelError, match=says):
        script_distance(tmp_path / "input.json")
