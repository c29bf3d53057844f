"""Ensembles in LAMMPS: the deviations of separate files, and means that drive."""

import ensembles
import numpy as np
import pytest
from cases import MODELS, frames_of_model
from lammps_runs import NVE, PER_ATOM, read_dump, thermo, water, write_data

SPINS = {"before": "atom_style spin\natom_modify map array"}
MOVES = "\nrun 0\ndisplace_atoms all random 0.05 0.05 0.05 7\nrun 0\n"
APART = " ".join(f"{name}.onnx" for name in ensembles.NAMES)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensemble")
    ensembles.compress_all(folder, accuracy=1e-6, fold=False)
    return folder


@pytest.fixture
def here(files, tmp_path, lmp):
    """The test's folder, with the models and a frame."""
    for file in files.glob("*.onnx"):
        (tmp_path / file.name).symlink_to(file)
    write_data(tmp_path / "data", water())
    return tmp_path


def deviations(lmp, here, models, keywords="", **options):
    """The file that LAMMPS writes for `models`."""
    lmp(f"pair_style dpc {models} out_freq 1 out_file devi {keywords}\npair_coeff * * O H", MOVES, **options)
    return (here / "devi").read_text()


@pytest.mark.parametrize(("keywords", "ranks"), [("relative 0.5 relative_v 0.1", 0), ("atomic", 2)])
def test_deviations_are_those_of_separate_files(lmp, here, keywords, ranks):
    apart = deviations(lmp, here, APART, keywords, ranks=ranks)
    assert apart == deviations(lmp, here, "ensemble.onnx", keywords, ranks=ranks)
    assert np.loadtxt(apart.splitlines()).shape[0] == 2


def test_an_ensemble_among_files_counts_as_its_models(lmp, here):
    apart = deviations(lmp, here, f"{APART} second.onnx")
    assert apart == deviations(lmp, here, "ensemble.onnx second.onnx")


def test_the_mean_drives(lmp, here):
    def evaluated(models):
        output = lmp(f"pair_style dpc {models} out_freq 1\npair_coeff * * O H", PER_ATOM)
        return thermo(output)[0], read_dump(here / "dump")[0]

    together = evaluated("ensemble.onnx")
    assert (here / "model_devi.out").exists()
    for values, each in zip(together, zip(*(evaluated(f"{name}.onnx") for name in ensembles.NAMES)), strict=True):
        np.testing.assert_allclose(values, np.mean(each, axis=0), rtol=1e-10, atol=1e-10 * np.abs(values).max())


def test_deviations_change_no_step(lmp, here):
    """Whether they are taken, and how often."""
    runs = []
    for keywords in ("out_freq 0", "out_freq 3"):
        output = lmp(
            f"pair_style dpc ensemble.onnx {keywords}\npair_coeff * * O H",
            NVE.format(steps=12, every=4, timestep=0.00005),
        )
        runs.append((thermo(output), read_dump(here / "dump"), (here / "model_devi.out").exists()))
    np.testing.assert_array_equal(runs[0][1], runs[1][1])
    assert [written for *_, written in runs] == [False, True]
    total = runs[0][0][:, 1]
    assert np.ptp(total) < 1e-4  # the mean force is that of the mean energy


def test_models_of_spins(lmp, tmp_path):
    """Forces on atoms and on spins, of each model and their means."""
    ensembles.compress_all(tmp_path, "spin.pth", accuracy=1e-6, fold=False)
    frame = next(frame for frame in frames_of_model(MODELS / "spin.pth") if frame.group == "periodic")
    write_data(tmp_path / "data", frame, ("Ni", "O"))
    after = PER_ATOM.replace("fx fy fz", "fx fy fz c_m[*]").replace(
        "dump d", "compute m all property/atom fmx fmy fmz\ndump d"
    )

    def evaluated(models):
        style = f"pair_style deepspin {models} out_freq 1 out_file devi\npair_coeff * * Ni O"
        output = lmp(style, after, **SPINS)
        return thermo(output)[0], read_dump(tmp_path / "dump")[0]

    together = evaluated("ensemble.onnx")
    written = (tmp_path / "devi").read_text()
    for values, each in zip(together, zip(*(evaluated(f"{name}.onnx") for name in ensembles.NAMES)), strict=True):
        np.testing.assert_allclose(values, np.mean(each, axis=0), rtol=1e-10, atol=1e-10 * np.abs(values).max())
    evaluated(APART)
    assert (tmp_path / "devi").read_text() == written
    assert np.abs(together[1][:, 3:6]).max() > 1
