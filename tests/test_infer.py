"""DeepPot: the peer's shapes and arguments, both runtimes, what cannot be evaluated."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import compress_onnx as co
import numpy as np
import pytest
from cases import MODELS, frames_of_model
from compress_onnx.model import ModelError

WATER = MODELS / "water_tf.pb"
RUNTIMES = ("native", "onnxruntime")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("infer")
    for interface in ("cell", "pairs"):
        co.compress(WATER, folder / f"{interface}.onnx", interface=interface)
    co.convert(WATER, folder / "uncompressed.onnx")
    return folder


@pytest.fixture(scope="module", params=RUNTIMES)
def potential(request, folder):
    return co.DeepPot(folder / "cell.onnx", runtime=request.param)


def frames():
    """Frames of one size, with a cell."""
    found = [frame for frame in frames_of_model(WATER) if frame.cell.any()]
    return [frame for frame in found if len(frame.atype) == len(found[0].atype)]


def arguments(frame):
    return frame.coord.reshape(1, -1), frame.cell.reshape(1, 9), frame.atype


@pytest.mark.parametrize("interface", ["cell", "pairs"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_equals_the_original(folder, runtime, interface):
    potential = co.DeepPot(folder / f"{interface}.onnx", runtime=runtime, threads=2)
    for frame in frames():
        n = len(frame.atype)
        energy, force, virial, atom_energy, atom_virial = potential.eval(*arguments(frame), atomic=True)
        assert energy.shape == (1, 1) and force.shape == (1, n, 3) and virial.shape == (1, 9)
        assert atom_energy.shape == (1, n, 1) and atom_virial.shape == (1, n, 9)
        assert abs(energy.item() - frame.energy) <= 1e-9 * n
        np.testing.assert_allclose(force[0], frame.force, rtol=0, atol=1e-8)
        np.testing.assert_allclose(virial[0], frame.virial.ravel(), rtol=0, atol=1e-8 * n)
        np.testing.assert_allclose(atom_energy[0, :, 0], frame.atom_energy, rtol=0, atol=1e-8)
        np.testing.assert_allclose(atom_virial[0], frame.atom_virial.reshape(n, 9), rtol=0, atol=1e-8)


def test_runtimes_agree(folder):
    pots = [co.DeepPot(folder / "cell.onnx", runtime=runtime) for runtime in RUNTIMES]
    for frame in frames():
        for ours, theirs in zip(*(pot.eval(*arguments(frame), atomic=True) for pot in pots)):
            assert np.abs(ours - theirs).max() <= 1e-12 * np.abs(ours).max()


def test_uncompressed_model(folder):
    potential = co.DeepPot(folder / "uncompressed.onnx")
    assert potential.runtime == "onnxruntime"
    frame = frames()[0]
    _, force, _ = potential.eval(*arguments(frame))
    np.testing.assert_allclose(force[0], frame.force, rtol=0, atol=1e-10)


def test_auto_is_native_for_compressed_models(folder):
    assert co.DeepPot(folder / "cell.onnx").runtime == "native"
    assert co.DeepPot(folder / "pairs.onnx").runtime == "native"


def test_facts_of_the_model(potential):
    assert potential.get_type_map() == ["O", "H"]
    assert potential.get_ntypes() == 2
    assert potential.get_rcut() == pytest.approx(4.5)
    assert (potential.get_dim_fparam(), potential.get_dim_aparam(), potential.get_sel_type()) == (0, 0, [])


def test_shapes_of_coordinates_and_cells(potential):
    frame = frames()[0]
    n = len(frame.atype)
    expected = potential.eval(*arguments(frame))
    for coords in (frame.coord, frame.coord[None], frame.coord.ravel(), frame.coord.reshape(1, 3 * n).tolist()):
        for cells in (frame.cell, frame.cell[None], frame.cell.ravel()):
            for got, want in zip(potential.eval(coords, cells, list(frame.atype)), expected):
                np.testing.assert_array_equal(got, want)


def test_several_frames(potential):
    frame = frames()[0]
    coords = np.stack([frame.coord, frame.coord + 0.01 * np.sin(frame.coord)]).reshape(2, -1)
    cells = np.stack([frame.cell, 1.1 * frame.cell]).reshape(2, 9)
    together = potential.eval(coords, cells, frame.atype, atomic=True)
    for k in range(2):
        for got, want in zip(together, potential.eval(coords[k], cells[k], frame.atype, atomic=True)):
            np.testing.assert_array_equal(got[k], want[0])


def test_mixed_type(potential):
    frame = frames()[0]
    other = frame.atype[::-1].copy()
    coords, cells = np.tile(frame.coord.reshape(1, -1), (2, 1)), np.tile(frame.cell.reshape(1, 9), (2, 1))
    together = potential.eval(coords, cells, np.stack([frame.atype, other]), mixed_type=True)
    for k, types in enumerate((frame.atype, other)):
        for got, want in zip(together, potential.eval(coords[k], cells[k], types)):
            np.testing.assert_array_equal(got[k], want[0])


def test_no_cell_is_a_zero_cell(potential):
    frame = frames()[0]
    coords = frame.coord.reshape(1, -1)
    for got, want in zip(
        potential.eval(coords, None, frame.atype), potential.eval(coords, np.zeros((1, 9)), frame.atype)
    ):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("cells", [None, 20 * np.eye(3).reshape(1, 9)], ids=["cluster", "periodic"])
def test_atoms_without_neighbours(potential, cells):
    """One atom, and two far from each other: energies of their own, no force, no virial."""
    (one,), *_ = potential.eval([[1.0, 2.0, 3.0]], cells, [0])
    energy, force, virial, atom_energy, _ = potential.eval([[0, 0, 0, 9, 9, 9]], cells, [0, 1], atomic=True)
    assert np.isfinite(energy).all() and not force.any() and not virial.any()
    assert atom_energy[0, 0, 0] == one[0] and energy[0, 0] == pytest.approx(atom_energy.sum())


@pytest.mark.parametrize("coords, nframes", [(np.zeros((1, 0)), 1), (np.zeros((3, 0)), 3), (np.zeros((0, 3)), 1)])
def test_no_atoms_have_no_energy(potential, coords, nframes):
    energy, force, virial, atom_energy, atom_virial = potential.eval(coords, None, [], atomic=True)
    np.testing.assert_array_equal(energy, np.zeros((nframes, 1)))
    np.testing.assert_array_equal(virial, np.zeros((nframes, 9)))
    assert force.shape == (nframes, 0, 3) and atom_energy.shape == (nframes, 0, 1)
    assert atom_virial.shape == (nframes, 0, 9)


def test_no_frames(potential):
    energy, force, virial = potential.eval(np.zeros((0, 6)), None, [0, 1])
    assert energy.shape == (0, 1) and force.shape == (0, 2, 3) and virial.shape == (0, 9)


def test_atoms_that_are_not_there(potential):
    frame = frames()[0]
    n = len(frame.atype)
    coords = np.vstack([frame.coord, frame.coord[:2] + 0.1])
    energy, force, virial = potential.eval(coords, frame.cell, [*frame.atype, -1, -1])
    expected = potential.eval(*arguments(frame))
    assert energy == pytest.approx(expected[0], rel=1e-13)
    np.testing.assert_allclose(force[0, :n], expected[1][0], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(force[0, n:], 0)
    np.testing.assert_allclose(virial, expected[2], rtol=0, atol=1e-11)


def test_atoms_in_one_place(potential):
    with pytest.raises(ValueError, match="atoms 1 and 0 are in the same place|atoms 0 and 1 are in the same place"):
        potential.eval([[1.0, 2, 3, 1, 2, 3]], None, [0, 1])


def test_threads_share_a_potential(potential):
    frame = frames()[0]
    moved = [frame.coord + 0.01 * k * np.sin(frame.coord) for k in range(8)]
    expected = [potential.eval(coord, frame.cell, frame.atype)[1] for coord in moved]
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda k: potential.eval(moved[k % 8], frame.cell, frame.atype)[1], range(40))
        for k, force in enumerate(found):
            np.testing.assert_array_equal(force, expected[k % 8])


TWO = {"coords": [[0.0, 0, 0, 1, 1, 1]], "cells": [9 * np.eye(3)], "atom_types": [0, 1]}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"coords": [[0.0, 0, 0, 1, 1]]}, "coords must have shape"),
        ({"coords": [0.0, 0, 0]}, "coords must have shape"),
        ({"coords": "water"}, "coords must be an array of numbers"),
        ({"coords": [[0, 0, 0, 1, np.nan, 1]]}, "coords of atom 1 in frame 0 are"),
        ({"coords": [[0, 0, 0, 1, np.inf, 1]]}, "coords of atom 1 in frame 0 are"),
        ({"cells": [np.eye(2)]}, "cells must have shape"),
        ({"cells": np.zeros((2, 9))}, "cells must have shape"),
        ({"cells": [np.ones((3, 3))]}, "the cell of frame 0 is singular"),
        ({"cells": [np.diag([1, 1, np.nan])]}, "the cell of frame 0 is not finite"),
        ({"atom_types": [0, 2]}, "atom_types must be whole numbers from 0 to 1"),
        ({"atom_types": [0, -2]}, "atom_types must be whole numbers from 0 to 1"),
        ({"atom_types": [0, 0.5]}, "atom_types must be whole numbers from 0 to 1"),
        ({"atom_types": [[0, 1]]}, "atom_types must have shape"),
        ({"atom_types": [0, 1], "mixed_type": True}, "atom_types must have shape"),
        ({"atom_types": [[0, 1]] * 2, "mixed_type": True}, "atom_types has 2 frames, coords has 1"),
        ({"fparam": [1.0]}, "fparam is given, but this model takes none"),
        ({"aparam": [1.0]}, "aparam is given, but this model takes none"),
    ],
)
def test_what_cannot_be_evaluated(potential, change, message):
    with pytest.raises(ValueError, match=message):
        potential.eval(**TWO | change)


CLOSE = [[0.0, 0, 0, 0.1, 0, 0]], None, [0, 1]  # two pairs, of O and H, each beyond a table


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_pairs_closer_than_the_tables_reach(folder, runtime):
    message = r"2 pairs are outside the tables .* atom [01], 0.100 Å .*\(1 beyond table 1, 1 beyond table 2\)"
    with pytest.warns(RuntimeWarning, match=message):
        co.DeepPot(folder / "cell.onnx", runtime=runtime, outside="warn").eval(*CLOSE)
    with pytest.raises(ValueError, match="outside the tables"):
        co.DeepPot(folder / "cell.onnx", runtime=runtime, outside="raise").eval(*CLOSE)
    for outside in (None, "ignore"):
        potential = co.DeepPot(folder / "cell.onnx", runtime=runtime, outside=outside)
        potential.eval(*CLOSE)
        assert potential.range_counts is None


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_ranges_are_collected(folder, runtime):
    potential = co.DeepPot(folder / "cell.onnx", runtime=runtime, outside="collect")
    near, apart = [[0.0, 0, 0, 0.6, 0, 0]], [[0.0, 0, 0, 1.6, 0, 0]]
    for coord in (CLOSE[0], near, near, apart):
        potential.eval(coord, *CLOSE[1:])
    unused, both_ways = [0, 0, 0, 0], [0, 1, 2, 1]
    assert potential.range_counts.tolist() == [unused, both_ways, both_ways, unused]  # O-O, O-H, H-O, H-H


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_as_often_as_the_file_says(tmp_path, runtime):
    """Every third evaluation, from the first on; counted then, too."""
    co.compress(WATER, tmp_path / "often.onnx", frequency=3, check="none")
    for outside in (None, "warn"):
        potential = co.DeepPot(tmp_path / "often.onnx", runtime=runtime, outside=outside)
        seen = []
        for _ in range(7):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                potential.eval(*CLOSE)
            seen.append(len(caught))
        assert seen == [1, 0, 0, 1, 0, 0, 1]
        assert potential.range_counts[:, 3].sum() == 6


@pytest.mark.parametrize(
    "option, message",
    [
        ({"runtime": "tensorflow"}, "runtime must be"),
        ({"threads": 0}, "threads must be"),
        ({"outside": 1}, "outside must"),
    ],
)
def test_options(folder, option, message):
    with pytest.raises(ValueError, match=message):
        co.DeepPot(folder / "cell.onnx", **option)


@pytest.mark.parametrize("runtime", ["auto", *RUNTIMES])
def test_files_that_are_no_model(tmp_path, runtime):
    (tmp_path / "text.onnx").write_text("not a model")
    for name in ("absent.onnx", "text.onnx"):
        with pytest.raises(ModelError, match=name):
            co.DeepPot(tmp_path / name, runtime=runtime)


def test_skin_changes_nothing_but_the_list(folder):
    """Small and large steps: as without a skin, whether the list is kept or made anew."""
    plain, kept = (co.DeepPot(folder / "cell.onnx", runtime="native", skin=skin) for skin in (0.0, 1.0))
    coord, cell, types = arguments(frames()[0])
    rng = np.random.default_rng(0)
    for size in (0.0, 0.05, 0.05, 0.3, 0.05):
        coord = coord + rng.uniform(-size, size, coord.shape)
        for expected, found in zip(plain.eval(coord, cell, types), kept.eval(coord, cell, types), strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 * np.abs(expected).max())


def test_a_kept_list_follows_the_cell(folder):
    plain, kept = (co.DeepPot(folder / "cell.onnx", runtime="native", skin=skin) for skin in (0.0, 1.0))
    coord, cell, types = arguments(frames()[0])
    kept.eval(coord, cell, types)
    scaled = coord * 1.001, cell * 1.001, types
    np.testing.assert_allclose(kept.eval(*scaled)[1], plain.eval(*scaled)[1], rtol=0, atol=1e-11)
