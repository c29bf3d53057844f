"""test_calculator - the ASE calculator: the original's numbers, stresses by differences, dynamics, mixed periodicity."""

import compress_onnx as co
import numpy as np
import pytest
from cases import MODELS, frames_of_model

ase = pytest.importorskip("ase")

from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet
from ase.stress import full_3x3_to_voigt_6_stress
from compress_onnx.calculator import DP


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("ase") / "water.onnx"
    co.compress(MODELS / "water.pth", path)
    return path


def atoms_of(group, path):
    frame = next(frame for frame in frames_of_model(MODELS / "water.pth") if frame.group == group)
    periodic = bool(frame.cell.any())
    symbols = np.array(["O", "H"])[frame.atype]
    atoms = Atoms(symbols, frame.coord, cell=frame.cell if periodic else None, pbc=periodic)
    atoms.calc = DP(model=path)
    return atoms, frame


@pytest.mark.parametrize("group", ["periodic", "triclinic", "cluster"])
def test_numbers_of_the_original(path, group):
    atoms, frame = atoms_of(group, path)
    assert abs(atoms.get_potential_energy() - frame.energy) < 1e-9 * len(atoms)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    np.testing.assert_allclose(atoms.get_forces(), frame.force, rtol=0, atol=1e-8)
    np.testing.assert_allclose(atoms.get_potential_energies(), frame.atom_energy, rtol=0, atol=1e-8)
    if not frame.cell.any():
        with pytest.raises(PropertyNotImplementedError):
            atoms.get_stress()
        return
    virial = (frame.virial + frame.virial.T) / 2
    expected = full_3x3_to_voigt_6_stress(-virial / atoms.get_volume())
    np.testing.assert_allclose(atoms.get_stress(), expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(atoms.get_stresses().sum(axis=0), expected, rtol=0, atol=1e-9)


def test_stress_is_the_derivative_by_strain(path):
    atoms, _ = atoms_of("triclinic", path)
    stress = atoms.get_stress(voigt=False)
    cell, step = atoms.cell.array.copy(), 1e-4
    for a, b in ((0, 0), (1, 2)):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += sign * step / 2
            strain[b, a] += sign * step / 2
            strained = atoms.copy()
            strained.calc = DP(model=path)
            strained.set_cell(cell @ strain, scale_atoms=True)
            energies.append(strained.get_potential_energy())
        slope = (energies[0] - energies[1]) / (2 * step) / atoms.get_volume()
        assert abs(slope - stress[a, b]) < 1e-6


def test_energy_is_conserved(path):
    """0.2 ps of water, its neighbour list reused: the total energy stays within what velocity Verlet does."""
    atoms, _ = atoms_of("periodic", path)
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(1))
    dynamics = VelocityVerlet(atoms, timestep=0.25 * units.fs)
    dynamics.run(200)  # away from where the frame was taken
    energies = []
    for _ in range(8):
        dynamics.run(75)
        energies.append(atoms.get_total_energy())
    assert np.ptp(energies) / len(atoms) < 2e-4


def test_a_slab_sees_no_images_across(path):
    """Periodic in two directions: as with a cell that is long in the third."""
    atoms, _ = atoms_of("periodic", path)
    slab, long = atoms.copy(), atoms.copy()
    slab.pbc = (True, True, False)
    long.set_cell(atoms.cell.array * [[1], [1], [3]])
    for system in (slab, long):
        system.calc = DP(model=path)
    np.testing.assert_allclose(slab.get_forces(), long.get_forces(), rtol=0, atol=1e-10)
    assert np.abs(slab.get_forces() - atoms.get_forces()).max() > 0.1


def test_parameters_come_with_the_atoms(tmp_path):
    """And go on with them through dynamics; without them there is an error that says so."""
    co.compress(MODELS / "parameters.pth", tmp_path / "model.onnx", check="none")
    frame = next(frame for frame in frames_of_model(MODELS / "parameters.pth") if frame.group == "periodic")
    atoms = Atoms(np.array(["Cu", "Au"])[frame.atype], frame.coord, cell=frame.cell, pbc=True)
    atoms.calc = DP(model=tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="fparam"):
        atoms.get_potential_energy()
    atoms.info |= {"fparam": frame.fparam, "aparam": frame.aparam}
    assert abs(atoms.get_potential_energy() - frame.energy) < 1e-9 * len(atoms)
    np.testing.assert_allclose(atoms.get_forces(), frame.force, rtol=0, atol=1e-8)
    start = atoms.get_total_energy()
    VelocityVerlet(atoms, timestep=0.25 * units.fs).run(20)
    assert np.abs(atoms.positions - frame.coord).max() > 1e-4
    assert abs(atoms.get_total_energy() - start) < 1e-5 * len(atoms)


def test_spins_are_magnetic_moments(tmp_path):
    """And a change of them counts."""
    co.compress(MODELS / "spin.pth", tmp_path / "model.onnx", check="none")
    frame = next(frame for frame in frames_of_model(MODELS / "spin.pth") if frame.group == "periodic")
    atoms = Atoms(np.array(["Ni", "O"])[frame.atype], frame.coord, cell=frame.cell, pbc=True, magmoms=frame.spin)
    atoms.calc = DP(model=tmp_path / "model.onnx")
    assert abs(atoms.get_potential_energy() - frame.energy) < 1e-9 * len(atoms)
    np.testing.assert_allclose(atoms.get_forces(), frame.force, rtol=0, atol=1e-8)
    np.testing.assert_allclose(atoms.calc.results["force_mag"], frame.expected["force_mag"], rtol=0, atol=1e-8)
    atoms.set_initial_magnetic_moments(-frame.spin[:, [1, 2, 0]])
    assert abs(atoms.get_potential_energy() - frame.energy) > 1e-3
    atoms.set_initial_magnetic_moments(None)
    with pytest.raises(ValueError, match=r"spin must have shape \[1, 32, 3\], not \[32\]"):
        atoms.get_potential_energy()


def test_unknown_elements_are_named(path):
    atoms = Atoms("OHe", [[0, 0, 0], [0, 0, 1]])
    atoms.calc = DP(model=path)
    with pytest.raises(ValueError, match="no type for He; it knows O H"):
        atoms.get_potential_energy()
