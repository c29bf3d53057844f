"""dpc_model_compute on small random models: against the reference, against differences, symmetries, threads, errors."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import randommodels
import reference
from compress_onnx import _core
from compress_onnx.model import ModelError, ThreeBody
from coremodels import FINE, PRECISIONS, SHORT, VARIANTS, compute, loaded, parameters, variant

RESULTS = ("energy", "atom_energy", "tensor", "atom_tensor", "force", "virial", "atom_virial")
# relative to the largest: tables and arithmetic, measured 8e-12, 2e-5, 5e-5; arithmetic alone
TOLERANCE = {"float64": 3e-11, "float32": 6e-5, "mixed": 6e-5}
ROUNDING = {"float64": 1e-12, "float32": 1e-5, "mixed": 1e-5}
CELLS = randommodels.CELLS | {"large": 2.4 * randommodels.CELLS["triclinic"]}
COUNTS = {"open": 14, "triclinic": 14, "small": 4, "large": 110}


def atoms(cell="triclinic", count=None, types=2, seed=0):
    """coord [n, 3], atype [n], cell [3, 3]."""
    coord, atype = randommodels.atoms(CELLS[cell], count or COUNTS[cell], types, seed)
    return coord, atype, CELLS[cell]


def difference(one: dict, other: dict) -> float:
    """The largest of any result, relative to that result's largest."""
    both = [name for name in RESULTS if name in one and name in other]
    assert len(both) > 1
    return max(np.abs(one[n] - other[n]).max(initial=0) / max(1, np.abs(other[n]).max(initial=0)) for n in both)


def bits(result: dict) -> list[bytes]:
    return [np.asarray(value).tobytes() for value in result.values()]


def differences(energy, step) -> float:
    """Slope of energy(h) at 0, from four values."""
    return (energy(-2 * step) - 8 * energy(-step) + 8 * energy(step) - energy(2 * step)) / (12 * step)


# ---- against the reference ------------------------------------------------------------------


@cache
def referenced(name, cell):
    """A system, the reference's results for it, and how many neighbours find no slot."""
    model = variant(name)
    # images at equal distances may not compete for slots: then which are dropped is arbitrary
    system = atoms("triclinic" if cell == "small" and "many" in name else cell, types=len(model.type_map))
    coord, atype, _ = system
    dropped = 0
    for centre, (j, d) in zip(atype, reference.real_neighbours(*system, model.cutoff), strict=True):
        for descriptor in model.descriptors:
            near = np.linalg.norm(d, axis=1) < descriptor.switch.cutoff
            kept, _ = reference.slots(replace(descriptor, ignored=None), centre, atype[j], d)
            dropped += near.sum() - len(kept)
    return system, reference.evaluate(model, *system, **parameters(name, len(coord))), dropped


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", VARIANTS)
def test_results_are_those_of_the_reference(name, cell, isa):
    system, expected, dropped = referenced(name, cell)
    assert dropped or "many" not in name
    for precision in PRECISIONS:
        result = compute(*system, name=name, precision=precision, isa=isa)
        assert difference(result, expected) < TOLERANCE[precision], precision
        assert result["dropped"] == dropped


def table_inputs(descriptor, centre, kinds, d):
    """(table, input, distance) of each input that an atom's neighbours are."""
    env, _ = reference.environment(descriptor, centre, d)
    r = np.linalg.norm(d, axis=1)
    if not isinstance(descriptor, ThreeBody):
        variants = descriptor.net[centre, kinds]
        yield from zip(descriptor.variants[variants], env.value[:, 0], r, strict=True)
        return
    for n, m in zip(*np.triu_indices(len(kinds)), strict=True):
        t = env.value[n, 1:] @ env.value[m, 1:]
        yield descriptor.variants[descriptor.net[kinds[n], kinds[m]]], t, min(r[n], r[m])


@pytest.mark.parametrize("name", ["one side", "strip, surrogate", "three bodies, strip", "dipole, hybrid"])
def test_inputs_are_counted_by_where_they_lie(name):
    model, (coord, atype, cell) = variant(name), atoms()
    tables = sum(len(descriptor.nets) for descriptor in model.descriptors)
    count, worst = np.zeros((tables, 4), int), np.zeros((tables, 3))  # excess, value, distance
    near = reference.real_neighbours(coord, atype, cell, model.cutoff)
    first = 0
    for descriptor in model.descriptors:
        for centre, (j, d) in zip(atype, near, strict=True):
            kept, _ = reference.slots(descriptor, centre, atype[j], d)
            for table, x, distance in table_inputs(descriptor, centre, atype[j][kept], d[kept]):
                place = np.searchsorted([SHORT.lower, SHORT.upper, SHORT.maximum], x, side="right")
                count[first + table, place] += 1
                excess = max(SHORT.lower - x, x - SHORT.maximum)
                if excess > worst[first + table, 0]:
                    worst[first + table] = excess, x, distance
        first += len(descriptor.nets)
    assert (count.sum(axis=0) > 0).all()
    result = compute(coord, atype, cell, name=name, grid=SHORT)
    np.testing.assert_array_equal(result["range"], count)
    np.testing.assert_allclose(result["range_worst"][:, [0, 2]], worst[:, 1:], rtol=1e-12)
    for _, centre, distance in result["range_worst"]:
        assert np.isclose(np.linalg.norm(near[int(centre)][1], axis=1), distance, rtol=1e-12).any()
    assert not compute(coord, atype, cell, name=name)["range_worst"].any()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_zero_one_and_isolated_atoms(precision, isa):
    how = {"precision": precision, "isa": isa}
    nothing = compute(np.zeros((0, 3)), [], **how)
    assert nothing["energy"] == 0 and not nothing["virial"].any() and nothing["force"].shape == (0, 3)
    cell = CELLS["small"]
    for coord, atype, box in (
        ([[1.0, 2, 3]], [1], None),
        ([[1.0, 2, 3]], [0], cell),  # its own neighbour
        ([[0.0, 0, 0], [1, 1, 1], [900, 0, 0]], [0, 1, 0], None),
        ([[0.0, 0, 0], [1e7, 0, 0], [1e150, 0, 0]], [0, 1, 0], None),
    ):
        expected = reference.evaluate(variant("plain"), coord, atype, box)
        assert difference(compute(coord, atype, box, **how), expected) < TOLERANCE[precision]


# ---- against differences --------------------------------------------------------------------


DERIVATIVES = [
    "plain",
    "radial",
    "strip, surrogate",
    "three bodies",
    "three bodies, gated",
    "hybrid",
    "dipole",
    "polar, matrix",
]


@pytest.mark.parametrize("grid", [FINE, SHORT], ids=lambda grid: grid.name)
@pytest.mark.parametrize("cell", ["triclinic", "small"])
@pytest.mark.parametrize("name", DERIVATIVES)
def test_forces_and_virial_are_derivatives_of_the_energy(name, cell, grid, isa):
    coord, atype, box = atoms(cell, types=len(variant(name).type_map))
    how = {"name": name, "grid": grid, "isa": isa}
    result = compute(coord, atype, box, **how)
    total = "energy" if "energy" in result else "tensor"
    outputs = np.size(result[total])
    forces, virials = result["force"].reshape(outputs, -1, 3), result["virial"].reshape(outputs, 3, 3)

    def energy(coord, box):
        return np.ravel(compute(coord, atype, box, **how)[total])

    rng = np.random.default_rng(7)
    # outside and on the way across the ends of a table, slopes jump in their derivative
    step, limit = (2e-4, 1e-9) if grid is FINE else (1e-5, 1e-7)
    limit *= max(1, np.abs(forces).max())
    for _ in range(2):
        along = rng.normal(size=coord.shape)
        slope = differences(lambda h, along=along: energy(coord + h * along, box), step)
        assert slope == pytest.approx(-np.einsum("oia,ia->o", forces, along), abs=limit)
    strain = rng.normal(size=(3, 3))
    slope = differences(lambda h: energy(coord + h * coord @ strain, box + h * box @ strain), step)
    assert slope == pytest.approx(-np.einsum("oab,ba->o", virials, strain), abs=5 * limit)


def test_two_atoms_across_every_node(isa):
    """From beyond the table's end to its beginning, exactly on nodes too, energy and force agree and are continuous."""
    (descriptor,) = variant("plain").descriptors
    r = np.linspace(0.3, 4.1, 4001)
    x = reference.environment(descriptor, 0, np.stack([r, 0 * r, 0 * r], axis=1))[0].value[:, 0]
    nodes = SHORT.positions()
    nodes = nodes[(nodes > x.min()) & (nodes < x.max())]
    on_nodes = np.interp(nodes, x[::-1], r[::-1])
    assert len(nodes) >= 4
    step = 1e-6
    workspace = _core.Workspace(loaded(grid=SHORT))

    def dimer(r):
        return workspace.compute([[0, 0, 0], [r, 0, 0]], [0, 1], isa=isa)

    for r in np.concatenate([np.linspace(0.3, 4.1, 150), on_nodes]):
        slope = (dimer(r + step)["energy"] - dimer(r - step)["energy"]) / (2 * step)
        assert slope == pytest.approx(-dimer(r)["force"][1, 0], abs=2e-5)


# ---- symmetries -----------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["open", "triclinic", "small"])
def test_symmetries(cell, isa):
    coord, atype, box = atoms(cell)
    rng = np.random.default_rng(8)
    how = {"name": "isotropic", "isa": isa}
    base = compute(coord, atype, box, **how)
    assert np.abs(base["force"].sum(axis=0)).max() < 1e-13
    np.testing.assert_allclose(base["atom_virial"].sum(axis=0), base["virial"], atol=1e-13)
    np.testing.assert_allclose(base["virial"], base["virial"].T, atol=1e-12)
    assert base["atom_energy"].sum() == pytest.approx(base["energy"], abs=1e-13)

    moved = compute(coord + [3.1, -40.7, 9.9] + rng.integers(-3, 4, (len(coord), 3)) @ box, atype, box, **how)
    assert difference(moved, base) < 1e-11
    order = rng.permutation(len(coord))
    permuted = compute(coord[order], atype[order], box, **how)
    expected = base | {name: base[name][order] for name in ("force", "atom_energy", "atom_virial")}
    assert difference(permuted, expected) < 1e-12
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turned = compute(coord @ turn, atype, box @ turn, **how)
    expected = base | {"force": base["force"] @ turn} | {n: turn.T @ base[n] @ turn for n in ("virial", "atom_virial")}
    assert difference(turned, expected) < 1e-12


@pytest.mark.parametrize("precision", PRECISIONS)
def test_atoms_of_negative_type_are_not_there(precision, isa):
    coord, atype, box = atoms()
    away = np.arange(len(coord)) % 3 == 1
    coord[1] = coord[0]  # may be anywhere
    there = compute(coord[~away], atype[~away], box, precision=precision, isa=isa)
    both = compute(coord, np.where(away, -1, atype), box, precision=precision, isa=isa)
    per_atom = ("force", "atom_energy", "atom_virial")
    assert not any(both[name][away].any() for name in per_atom)
    assert difference(both | {name: both[name][~away] for name in per_atom}, there) < 1e-12
    assert compute(coord, np.full(len(coord), -5), box)["energy"] == 0


@pytest.mark.parametrize("precision", PRECISIONS)
def test_ghosts_are_images(precision, isa):
    """As an MD engine does it: images are atoms, lists reach beyond the cutoff."""
    coord, atype, box = atoms("small")
    first, index, shift = _core.Neighbours().build(coord, box, randommodels.CUTOFF + 1).arrays()
    images, ghost = np.unique(np.column_stack([index, shift])[shift.any(axis=1)], axis=0, return_inverse=True)
    index[shift.any(axis=1)] = len(coord) + ghost.ravel()
    owner = np.concatenate([np.arange(len(coord)), images[:, 0]])
    everywhere = np.concatenate([coord, coord[images[:, 0]] + images[:, 1:] @ box])
    result = compute(everywhere, atype[owner], pairs=(first, index, np.zeros_like(shift)), precision=precision, isa=isa)
    folded = result | {"force": np.zeros_like(coord), "atom_virial": np.zeros((len(coord), 3, 3))}
    for name in ("force", "atom_virial"):
        np.add.at(folded[name], owner, result[name])
    assert len(result["atom_energy"]) == len(coord)
    assert difference(folded, compute(coord, atype, box, precision=precision)) < ROUNDING[precision]


# ---- threads and memory ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plain", "too many, total first", "hybrid", "polar", "linear"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_same_bits_for_any_number_of_threads(precision, name, isa):
    coord, atype = randommodels.atoms(4.5 * CELLS["triclinic"], 600, seed=3)  # more blocks than partial sums
    one, *others = (
        compute(coord, atype, 4.5 * CELLS["triclinic"], name=name, precision=precision, grid=SHORT, isa=isa, threads=n)
        for n in (1, 2, 3, 7, 40)
    )
    for other in others:
        assert bits(other) == bits(one)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_workspace_serves_systems_of_any_size(precision):
    model = loaded(precision=precision)
    workspace = _core.Workspace(model)
    isas = _core.isas()
    for k, (cell, count) in enumerate(
        [("small", 1), ("large", 110), ("small", 3), ("open", 0), ("triclinic", 60), ("large", 110), ("open", 2)]
    ):
        system = (np.zeros((0, 3)), []) if count == 0 else atoms(cell, count)
        how = {"isa": isas[k % len(isas)], "threads": 1 + k % 3, "atomic": k % 2 == 0}
        assert bits(workspace.compute(*system, **how)) == bits(_core.Workspace(model).compute(*system, **how))


def test_a_workspace_works_after_an_error():
    system = atoms()
    workspace = _core.Workspace(loaded())
    for bad in (np.full((3, 3), np.nan), np.zeros((3, 3))):
        with pytest.raises(ValueError):
            workspace.compute(bad, [0, 0, 1])
    assert bits(workspace.compute(*system, atomic=True)) == bits(compute(*system))


def test_threads_share_a_model():
    systems = [atoms("large", count, seed=count) for count in (30, 60, 90)]
    expected = [bits(compute(*system)) for system in systems]

    def evaluate(seed):
        workspace = _core.Workspace(loaded())
        return [bits(workspace.compute(*systems[(seed + k) % 3], atomic=True)) for k in range(12)]

    with ThreadPoolExecutor(2) as pool:
        for seed, results in enumerate(pool.map(evaluate, range(4))):
            assert results == [expected[(seed + k) % 3] for k in range(12)]


# ---- errors ---------------------------------------------------------------------------------

COORD = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1.1, 0]])


def changed(atom, axis, value):
    coord = COORD.copy()
    coord[atom, axis] = value
    return coord


@pytest.mark.parametrize(
    "change, message",
    [
        ({"coord": changed(2, 1, np.nan)}, "position of atom 2 is not finite"),
        ({"coord": changed(1, 2, -np.inf)}, "position of atom 1 is not finite"),
        ({"coord": changed(1, 0, 0)}, "atoms 0 and 1 are in the same place|atoms 1 and 0 are in the same place"),
        ({"coord": COORD[:, :2]}, r"coord must have shape \(-1, 3\), got \(3, 2\)"),
        ({"atype": [0, 1, 2]}, "atom 2 has type 2, the model has types 0 to 1"),
        ({"atype": [0, 1]}, r"atype must have shape \(3,\), got \(2,\)"),
        ({"cell": np.ones((3, 3))}, "the cell is singular: its vectors span no volume"),
        ({"cell": np.full((3, 3), np.nan)}, "the cell is not finite"),
        ({"cell": np.eye(2)}, r"cell must have shape \(3, 3\), got \(2, 2\)"),
        ({"cell": 1e-4 * np.eye(3)}, "the cell is too"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"isa": "sse9"}, "isa must be one of"),
    ],
)
def test_impossible_systems(change, message):
    right = {"coord": COORD, "atype": [0, 1, 0], "cell": None}
    with pytest.raises(ValueError, match=message):
        compute(**right | change)


@pytest.mark.parametrize(
    "first, index, shift, message",
    [
        ([0, 1, 2, 3], [1, 2, 3], 0, "pair 2 points to atom 3 of 3"),
        ([0, 1, 2, 3], [1, -1, 0], 0, "pair 1 points to atom -1 of 3"),
        ([0, 2, 1, 3], [1, 2, 0], 0, "first decreases after atom 1"),
        ([1, 2, 3], [1, 2, 0], 0, "first must start with 0"),
        ([], [], 0, "first must have one entry more than there are atoms"),
        ([0, 1, 2, 3, 3], [1, 2, 0], 0, "pairs are of 4 atoms, coord has 3"),
        ([0, 1, 2, 4], [1, 2, 0], 0, r"index must have shape \(4,\), got \(3,\)"),
        ([0, 1, 2, 3], [1, 2, 0], [[0, 0, 0]], r"shift must have shape \(3, 3\), got \(1, 3\)"),
    ],
)
def test_impossible_pairs(first, index, shift, message):
    shift = np.zeros((len(index), 3)) if shift == 0 else shift
    with pytest.raises(ValueError, match=message):
        compute(COORD, [0, 1, 0], pairs=(first, index, shift))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("distance", [1e-7, 1e-12, 1e-23, 1e-160])
def test_atoms_almost_in_the_same_place(distance, precision, isa):
    """Too close for arithmetic: said, not computed."""
    with pytest.raises(ValueError, match="in the same place"):
        compute([[0, 0, 0], [distance, 0, 0]], [0, 1], precision=precision, isa=isa)
    assert np.isfinite(compute([[0, 0, 0], [1e-5, 0, 0]], [0, 1], precision=precision, isa=isa)["force"]).all()


def test_instruction_sets_that_cannot_run_are_refused():
    others = {"avx2", "avx512"} - set(_core.isas())
    if not others:
        pytest.skip("every instruction set can run here")
    with pytest.raises(ModelError, match="cannot run here"):
        compute(COORD, [0, 1, 0], isa=others.pop())
