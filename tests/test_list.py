"""Neighbour lists against all pairs of all images."""

import numpy as np
import pytest
import reference
from compress_onnx import _core


def build(coord, cell, cutoff, **how):
    return _core.Neighbours().build(coord, cell, cutoff, **how).arrays()


def check(coord, cell, cutoff):
    """Entries are within the cutoff, each once, and as many as there are: then they are the right ones."""
    coord = np.asarray(coord, float)
    first, index, shift = build(coord, cell, cutoff)
    expected = reference.real_neighbours(coord, np.zeros(len(coord), int), cell, cutoff)
    assert np.diff(first).tolist() == [len(j) for j, _ in expected]
    centre = np.repeat(np.arange(len(coord)), np.diff(first))
    d = coord[index] - coord[centre] + (0 if cell is None else shift @ np.asarray(cell))
    assert (np.linalg.norm(d, axis=1) < cutoff).all()
    assert len(np.unique(np.column_stack([centre, index, shift]), axis=0)) == len(index)
    assert not ((index == centre) & ~shift.any(axis=1)).any()
    for threads in (2, 7):
        other = build(coord, cell, cutoff, threads=threads)
        assert [part.tobytes() for part in other] == [first.tobytes(), index.tobytes(), shift.tobytes()]
    return first, index, shift


def scattered(rng, cell, count):
    """Positions in the cell and in the two around it along each vector."""
    return rng.uniform(-1, 2, (count, 3)) @ cell


@pytest.mark.parametrize("size", [0.8, 3.0, 9.0])  # Å; the cutoff is 3
@pytest.mark.parametrize("seed", range(8))
def test_triclinic_cells(size, seed):
    rng = np.random.default_rng(seed)
    while True:
        cell = size * rng.normal(size=(3, 3))  # of either handedness
        if abs(np.linalg.det(cell)) > 0.15 * size**3:
            break
    check(scattered(rng, cell, {0.8: 2, 3.0: 12, 9.0: 60}[size]), cell, 3.0)


@pytest.mark.parametrize(
    "cell",
    [
        np.diag([300.0, 1.5, 1.5]),
        [[1.5, 0, 0], [0.4, 1.5, 0], [150.0, 90, 40]],
        [[10.0, 0, 0], [9.0, 2, 0], [0, 9.0, 3]],
        [[2.0, 0, 0], [19.0, 3, 0], [0, 0, 5.0]],  # far from reduced
    ],
)
def test_elongated_and_skewed_cells(cell):
    check(scattered(np.random.default_rng(1), np.array(cell), 8), np.array(cell), 2.9)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 70])
def test_open_systems(count):
    coord = np.random.default_rng(count).normal(scale=4, size=(count, 3))
    arrays = check(coord, None, 3.0)
    for part, other in zip(arrays, build(coord, np.zeros((3, 3)), 3.0)):
        np.testing.assert_array_equal(part, other)
    assert arrays[0].shape == (count + 1,) and arrays[2].shape == (len(arrays[1]), 3)


@pytest.mark.parametrize("extent", [1e-9, 1e3, 1e9, 1e100, 1e150])
def test_sparse_and_dense_open_systems(extent):
    """Clusters of three at the corners of a box: memory follows the atoms, not the volume."""
    corners = np.array(np.meshgrid(*[[-1.0, 1.0]] * 3)).reshape(3, -1).T
    cluster = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 1]]) if extent < 1e10 else np.zeros((1, 3))
    check((extent * corners[:, None] + cluster).reshape(-1, 3), None, 3.0)


@pytest.mark.parametrize("axis", range(3))
def test_lines_and_planes_of_atoms(axis):
    coord = np.zeros((40, 3))
    coord[:, axis] = np.arange(40)
    check(coord, None, 2.5)
    coord[:, axis - 1] = np.arange(40) % 5
    check(coord, None, 2.5)


def test_one_atom_in_a_small_cell():
    first, index, _ = check([[0.3, 7.1, -2.2]], np.eye(3), 2.1)
    assert first[-1] == len(index) == 32  # lattice points within 2.1, which is just beyond the fourth shell


@pytest.mark.parametrize("shift", [0.0, 1.0, 1e-17, -1e-17, 0.5])
def test_atoms_on_faces_and_edges(shift):
    """A crystal with all its atoms on boundaries of bins; a distance of just the cutoff is outside."""
    grid = np.array(np.meshgrid(*[np.arange(4.0)] * 3)).reshape(3, -1).T + shift
    first, _, _ = check(grid, 4 * np.eye(3), 1.9)
    assert (np.diff(first) == 26).all()
    first, _, _ = build(grid, 4 * np.eye(3), 1.0)
    assert not np.diff(first).any()


def test_positions_far_outside_the_cell():
    rng = np.random.default_rng(2)
    cell = np.array([[6.0, 0, 0], [1, 5, 0], [0, -2, 7]])
    coord = scattered(rng, cell, 20)
    first, _, _ = check(coord, cell, 3.0)
    away, _, shift = build(coord + rng.integers(-1000, 1000, (20, 3)) @ cell, cell, 3.0)
    np.testing.assert_array_equal(first, away)
    assert np.abs(shift).max() > 500
    with pytest.raises(ValueError, match="atom 1 is more than 1e9 cells away"):
        build([[0, 0, 0], [1e12, 0, 0]], cell, 3.0)


def test_atoms_in_one_place_are_neighbours():
    first, index, _ = build([[1.0, 1, 1]] * 3, 9 * np.eye(3), 2.0)
    assert first.tolist() == [0, 2, 4, 6] and sorted(index[:2]) == [1, 2]


def test_a_list_serves_systems_of_any_size():
    neighbours = _core.Neighbours()
    assert [len(part) for part in neighbours.arrays()] == [1, 0, 0]
    rng = np.random.default_rng(4)
    for count in (50, 3, 0, 90, 1):
        cell = None if count == 3 else 7 * np.eye(3)
        coord = rng.uniform(0, 7, (count, 3))
        for part, other in zip(neighbours.build(coord, cell, 3.0).arrays(), build(coord, cell, 3.0)):
            np.testing.assert_array_equal(part, other)
        with pytest.raises(ValueError):  # after which it can be used on
            neighbours.build(coord, np.ones((3, 3)), 3.0)


def test_more_pairs_than_a_list_can_take():
    """They are counted, and no memory is asked for them."""
    with pytest.raises(ValueError, match="1088967000 pairs are more than one list can take"):
        build(np.zeros((33_000, 3)), None, 1.0)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"cell": np.ones((3, 3))}, "the cell is singular: its vectors span no volume"),
        ({"cell": np.diag([1.0, 1, 0])}, "the cell is singular"),
        ({"cell": [[1.0, 0, 0], [0, 1, 0], [1, 1, 1e-14]]}, "the cell is singular"),
        ({"cell": np.full((3, 3), np.inf)}, "the cell is not finite"),
        ({"cell": np.eye(4)}, r"cell must have shape \(3, 3\), got \(4, 4\)"),
        ({"cell": np.diag([1e-5, 1, 1])}, "the cell is too thin for the cutoff 2"),
        ({"cell": 1e-3 * np.eye(3)}, "the cell is too small for the cutoff 2"),
        ({"coord": [[0.0, np.nan, 0]]}, "position of atom 0 is not finite"),
        ({"coord": [0.0, 0, 0]}, r"coord must have shape \(-1, 3\), got \(3,\)"),
        ({"cutoff": 0.0}, "the cutoff must be positive, got 0"),
        ({"cutoff": np.nan}, "the cutoff must be positive, got nan"),
        ({"cutoff": np.inf}, "the cutoff must be positive, got inf"),
    ],
)
def test_impossible_lists(change, message):
    right = {"coord": np.zeros((1, 3)), "cell": np.eye(3), "cutoff": 2.0}
    with pytest.raises(ValueError, match=message):
        build(**right | change)
