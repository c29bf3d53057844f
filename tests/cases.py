"""cases - trained models to run end to end, each with frames and the results of its own uncompressed original."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MODELS = Path(__file__).parent.parent / "models"
FORMATS = ("model.pb", "model.pth", "model.dp")
ACTIVATIONS = {"tanh", "gelu", "gelu_tf", "relu", "relu6", "softplus", "sigmoid", "silu", "linear", "none"}
KINKED = {"relu", "relu6"}

# what every run of the tests covers of the oracle: formats, activations, shapes, exclusions, precisions, sel too small
SAMPLE = {
    "se_a_pt/model.pth",
    "se_a_pt/model.dp",
    "se_a_tf/model.pb",
    "se_a_oneside_pt/model.dp",
    "se_a_oneside_tf/model.pb",
    "cho3_se_a_pt/model.pth",
    "se_a_gelu_pt/model.pth",
    "se_a_gelu_tf/model.pb",
    "se_a_softplus_pt/model.pth",
    "se_a_sigmoid_tf/model.pb",
    "se_a_relu_pt/model.pth",
    "se_a_relu6_tf/model.pb",
    "se_a_excl_pt/model.dp",
    "se_a_excl_tf/model.pb",
    "se_a_excl_oneside_pt/model.pth",
    "se_a_excl_all_oneside_tf/model.pb",
    "se_a_resdt_pt/model.pth",
    "se_a_resdt_excl_tf/model.pb",
    "se_a_layer1_tf/model.pb",
    "se_a_shape_same_pt/model.pth",
    "se_a_davg0_tf/model.pb",
    "se_a_selsmall_pt/model.pth",
    "se_a_descf32_pt/model.pth",
    "se_a_fitf32_tf/model.pb",
    "water_se_e2_a_prod_tf/model.pb",
    "water_se_e2_a_prod_pt/model.dp",
}


@dataclass(frozen=True)
class Frame:
    """Atoms, and what a model says about them. Å, eV."""

    group: str
    coord: np.ndarray  # [n, 3]
    cell: np.ndarray  # [3, 3], zeros: no periodicity
    atype: np.ndarray  # int32 [n]
    energy: float
    force: np.ndarray  # [n, 3]
    virial: np.ndarray  # [3, 3]
    atom_energy: np.ndarray  # [n]
    atom_virial: np.ndarray  # [n, 3, 3]


@dataclass(frozen=True)
class Case:
    """One model file."""

    file: Path
    name: str
    sample: bool  # part of every run
    float32: bool = False  # descriptor or fitting net
    kinked: bool = False  # relu or relu6 in an embedding net

    def frames(self) -> Iterator[Frame]:
        return frames_of_model(self.file) if self.file.parent == MODELS else frames_of_oracle(self.file.parent)


def models() -> list[Case]:
    """The files of models/."""
    return [
        Case(file, f"models/{file.name}", sample=True, float32=file.stem.endswith("_f32"))
        for file in sorted(MODELS.iterdir())
        if file.suffix in {".pb", ".pth", ".dp", ".yaml"}
    ]


def oracle(folder: Path) -> list[Case]:
    """The files of the oracle set whose model is descriptor se_e2_a and energy fitting, without further parts."""
    cases = []
    for script in sorted(folder.glob("*/input.json")):
        given = json.loads(script.read_text())
        if not in_scope(given):
            continue
        parts = given["model"]["descriptor"], given["model"]["fitting_net"]
        for file in (script.parent / name for name in FORMATS):
            if file.exists():
                name = f"{script.parent.name}/{file.name}"
                float32 = any(part["precision"] == "float32" for part in parts)
                kinked = parts[0].get("activation_function", "tanh") in KINKED
                cases.append(Case(file, name, name in SAMPLE, float32, kinked))
    return cases


def in_scope(script: dict) -> bool:
    """Whether a training input asks for nothing but se_e2_a, energies, and what these two know by themselves."""
    model = script["model"]
    descriptor, fitting = model.get("descriptor", {}), model.get("fitting_net", {})
    return (
        descriptor.get("type") == "se_e2_a"
        and fitting.get("type", "ener") == "ener"
        and set(model) <= {"type_map", "descriptor", "fitting_net"}
        and not set(fitting) & {"numb_fparam", "numb_aparam", "atom_ener"}
        and {part.get("activation_function", "tanh") for part in (descriptor, fitting)} <= ACTIVATIONS
        and {part["precision"] for part in (descriptor, fitting)} <= {"float32", "float64"}
        and "mixed_precision" not in script["training"]
    )


def frames_of_oracle(folder: Path) -> Iterator[Frame]:
    """Every group of frames but `overflow`, which lies outside what a table must cover."""
    for file in sorted(folder.glob("frames*.npz")):
        suffix = file.stem.removeprefix("frames")
        group = suffix.removeprefix("_") or "main"
        if group == "overflow":
            continue
        with np.load(file) as given, np.load(folder / f"ref{suffix}.npz") as expected:
            n = len(given["atype"])
            for k in range(len(given["coords"])):
                yield Frame(
                    group,
                    given["coords"][k].reshape(n, 3),
                    given["box"][k].reshape(3, 3) if "box" in given else np.zeros((3, 3)),
                    given["atype"].astype(np.int32),
                    float(expected["energy"][k]),
                    expected["force"][k],
                    expected["virial"][k].reshape(3, 3),
                    expected["atom_energy"][k],
                    expected["atom_virial"][k].reshape(n, 3, 3),
                )


def frames_of_model(file: Path) -> Iterator[Frame]:
    """The groups of NAME.npz, as models/make_models.py describes them."""
    with np.load(file.with_suffix(".npz")) as stored:
        for group in sorted({key.partition(".")[0] for key in stored if "." in key}):
            arrays = {key.partition(".")[2]: stored[key] for key in stored if key.startswith(group + ".")}
            yield Frame(group, **{"cell": np.zeros((3, 3)), **arrays})
