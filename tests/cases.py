"""cases - trained models to run end to end, each with frames and the results of its own uncompressed original."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

MODELS = Path(__file__).parent.parent / "models"
FORMATS = ("model.pb", "model.pth", "model.dp")
MODEL_KEYS = {"type", "type_map", "descriptor", "fitting_net", "type_embedding", "weights", "models"}
MODEL_KEYS |= {"atom_exclude_types", "pair_exclude_types", "spin"}
MODEL_KEYS |= {"use_srtab", "smin_alpha", "sw_rmin", "sw_rmax"}
DESCRIPTORS = {
    "se_a_mask",
    "se_e2_a",
    "se_e2_r",
    "se_e3",
    "se_e3_tebd",
    "dpa1",
    "dpa2",
    "se_atten",
    "se_atten_v2",
    "se_a_ebd_v2",
}
# the names of results in the oracle set and here
RESULTS = {
    "energy": "energy",
    "force": "force",
    "virial": "virial",
    "atom_energy": "atom_energy",
    "atom_virial": "atom_virial",
    "global_tensor": "tensor",
    "atom_tensor_full": "atom_tensor",
    "dos": "tensor",
    "atom_dos": "atom_tensor",
    "property": "tensor",
    "atom_property": "atom_tensor",
    "force_mag": "force_mag",
}

# whose periodic frames have more neighbours than slots: torch gives the last one to an atom without spin or to the
# placeholder of its virtual atom, which is in the same place, as its sort happens to put them
TIED = {"spin_dpa1_pt"}

# whose atoms exchange messages: DeePMD-kit's share of an atom in the virial depends on the images that it is given
MESSAGES = ("dpa2", "repformer")

# what every run of the tests covers of the oracle: formats, activations, shapes, exclusions, precisions, sel too small
SAMPLE = {
    "se_a_pt/model.dp",
    "se_a_oneside_tf/model.pb",
    "cho3_se_a_pt/model.pth",
    "se_a_gelu_tf/model.pb",
    "se_a_softplus_pt/model.pth",
    "se_a_relu6_tf/model.pb",
    "se_a_excl_pt/model.dp",
    "se_a_excl_all_oneside_tf/model.pb",
    "se_a_resdt_excl_tf/model.pb",
    "se_a_davg0_tf/model.pb",
    "se_a_selsmall_pt/model.pth",
    "se_a_descf32_pt/model.pth",
    "water_se_e2_a_prod_tf/model.pb",
    "water_se_e2_a_prod_pt/model.dp",
    "se_r_excl_tf/model.pb",
    "se_t_tf/model.pb",
    "se_t_tebd_pt/model.pth",
    "dpa1_l0_pt/model.dp",
    "dpa1_l0_tf/model.pb",
    "dpa1_l0_nosmooth_pt/model.pth",
    "se_a_tebd_v2_tf/model.pb",
    "hybrid_a_r_pt/model.pth",
    "linear_pt/model.pth",
    "fparam_aparam_tf/model.pb",
    "dipole_tf/model.pb",
    "polar_pt/model.pth",
    "dos_pt/model.dp",
    "property_dpa1_pt/model.pth",
    "spin_se_a_tf/model.pb",
    "spin_dpa1_pt/model.pth",
    "se_a_mask_tf/model.pb",
    "zbl_pt/model.dp",
    "dpa1_concat_pt/model.pth",
    "dpa1_concat_tf/model.pb",
    "dpa1_l2_pt/model.dp",
    "dpa1_l2_tf/model.pb",
    "dpa2_pt/model.dp",
}


@dataclass(frozen=True)
class Frame:
    """Atoms, and what a model says about them. Å, eV."""

    group: str
    coord: np.ndarray  # [n, 3]
    cell: np.ndarray  # [3, 3], zeros: no periodicity
    atype: np.ndarray  # int32 [n]
    expected: dict[str, np.ndarray]  # of the results of reference.evaluate those that are known
    fparam: np.ndarray | None = None  # [number]
    aparam: np.ndarray | None = None  # [n, number]
    spin: np.ndarray | None = None  # [n, 3]

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """What the model takes beside atoms and cell."""
        given = {name: getattr(self, name) for name in ("fparam", "aparam", "spin")}
        return {name: np.asarray(value, float) for name, value in given.items() if value is not None}

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """The inputs of the graph."""
        return {"coord": self.coord, "atype": self.atype, "cell": self.cell} | self.parameters

    @property
    def energy(self) -> float:
        return float(self.expected["energy"])

    @property
    def force(self) -> np.ndarray:
        return self.expected["force"]

    @property
    def virial(self) -> np.ndarray:
        return self.expected["virial"]

    @property
    def atom_energy(self) -> np.ndarray:
        return self.expected["atom_energy"]

    @property
    def atom_virial(self) -> np.ndarray:
        return self.expected["atom_virial"]


@dataclass(frozen=True)
class Case:
    """One model file."""

    file: Path
    name: str
    sample: bool  # part of every run
    float32: bool = False  # descriptor or fitting net
    attentive: bool = False  # attention layers or a repformer, which onnxruntime alone evaluates
    messages: bool = False  # a repformer, which needs all atoms

    def frames(self) -> Iterator[Frame]:
        return frames_of_model(self.file) if self.file.parent == MODELS else frames_of_oracle(self.file.parent)


def models() -> list[Case]:
    """The files of models/."""
    return [
        Case(
            file,
            f"models/{file.name}",
            sample=True,
            float32=file.stem.endswith("_f32"),
            attentive=file.stem in ("attention", "repformer"),
            messages=file.stem == "repformer",
        )
        for file in sorted(MODELS.iterdir())
        if file.suffix in {".pb", ".pth", ".dp", ".yaml"}
    ]


def oracle(folder: Path) -> list[Case]:
    """The files of the oracle set whose model is of a kind that is read."""
    cases = []
    for script in sorted(folder.glob("*/input.json")):
        given = json.loads(script.read_text())
        if not in_scope(given):
            continue
        descriptors = [part for model in models_in(given) for part in members(model)]
        fittings = [model["fitting_net"] for model in models_in(given)]
        for file in (script.parent / name for name in FORMATS):
            if file.exists():
                name = f"{script.parent.name}/{file.name}"
                float32 = any(part["precision"] == "float32" for part in descriptors + fittings)
                messages = any(part["type"] == "dpa2" for part in descriptors)
                attentive = messages or any(part.get("attn_layer") for part in descriptors)
                cases.append(Case(file, name, name in SAMPLE, float32, attentive, messages))
    return cases


def models_in(script: dict) -> list[dict]:
    """The model of a training input, or those that it combines."""
    return script["model"].get("models", [script["model"]])


def members(model: dict) -> list[dict]:
    """The descriptor of a model, or those of its hybrid one."""
    return model["descriptor"].get("list", [model["descriptor"]])


def in_scope(script: dict) -> bool:
    """Whether a training input asks for nothing but parts that are read."""
    models = [script["model"], *models_in(script)]
    return (
        "mixed_precision" not in script["training"]
        and all(set(model) <= MODEL_KEYS for model in models)
        and all(is_read(part, model) for model in models_in(script) for part in members(model))
    )


def is_read(descriptor: dict, model: dict) -> bool:
    kind = descriptor["type"]
    typed = "type_embedding" in model  # an input of the embedding net, but for one kind
    return kind in DESCRIPTORS and descriptor["precision"] != "bfloat16" and typed == (kind == "se_a_ebd_v2")


def frames_of_oracle(folder: Path) -> Iterator[Frame]:
    """Every group of frames but `overflow`, which lies outside what a table must cover."""
    for file in sorted(folder.glob("frames*.npz")):
        suffix = file.stem.removeprefix("frames")
        group = suffix.removeprefix("_") or "main"
        if group == "overflow" or (group == "main" and folder.name in TIED):
            continue
        with np.load(file) as given, np.load(folder / f"ref{suffix}.npz") as stored:
            n = len(given["atype"])
            for k in range(len(given["coords"])):
                results = {RESULTS[name]: stored[name][k] for name in stored if name in RESULTS}
                if folder.name.startswith(MESSAGES):
                    del results["atom_virial"]
                frame = Frame(
                    group,
                    given["coords"][k].reshape(n, 3),
                    given["box"][k].reshape(3, 3) if "box" in given else np.zeros((3, 3)),
                    given["atype"].astype(np.int32),
                    {name: tidy(name, value, (folder / "model.pth").exists()) for name, value in results.items()},
                    given["fparam"][k] if "fparam" in given else None,
                    given["aparam"][k].reshape(n, -1) if "aparam" in given else None,
                    given["spin"][k].reshape(n, 3) if "spin" in given else None,
                )
                yield with_spin(frame, folder) if "spin_se_a_tf" in folder.name else frame


def with_spin(frame: Frame, folder: Path) -> Frame:
    """A frame of real atoms, where TensorFlow has the virtual ones behind them in coordinates and results."""
    spin = json.loads((folder / "input.json").read_text())["model"]["spin"]
    types, results = len(spin["use_spin"]), dict(frame.expected)
    real = frame.atype < types
    owners, virtual = np.flatnonzero(frame.atype < sum(spin["use_spin"])), np.flatnonzero(~real)
    scale = np.array(spin["virtual_len"]) / spin["spin_norm"]
    vectors, magnetic = np.zeros((2, real.sum(), 3))
    vectors[owners] = (frame.coord[virtual] - frame.coord[owners]) / scale[frame.atype[owners], None]
    magnetic[owners] = results["force"][virtual]
    results["atom_virial"][owners] += results["atom_virial"][virtual]
    results |= {name: results[name][real] for name in ("force", "atom_virial")} | {"force_mag": magnetic}
    return replace(
        frame, coord=frame.coord[real], atype=frame.atype[real], spin=vectors,
        expected={name: value.reshape(real.sum()) if name == "atom_energy" else value for name, value in results.items()},
    )  # fmt: skip


def tidy(name: str, value: np.ndarray, torch: bool) -> np.ndarray:
    """Virials as matrices; torch writes the derivatives of a tensor's k outputs as [n, k, 3] and calls that [k, n, 3]."""
    if name == "force" and value.ndim == 3 and torch:
        outputs, n, _ = value.shape
        return value.reshape(n, outputs, 3).swapaxes(0, 1)
    return value.reshape(*value.shape[:-1], 3, 3) if name.endswith("virial") else value


def frames_of_model(file: Path) -> Iterator[Frame]:
    """The groups of NAME.npz, as models/make_models.py describes them."""
    with np.load(file.with_suffix(".npz")) as stored:
        for group in sorted({key.partition(".")[0] for key in stored if "." in key}):
            arrays = {key.partition(".")[2]: stored[key] for key in stored if key.startswith(group + ".")}
            if file.stem.startswith(MESSAGES):
                del arrays["atom_virial"]
            yield frame_of(group, arrays)


def frame_of(group: str, arrays: dict[str, np.ndarray]) -> Frame:
    """A frame and its results from one dictionary."""
    given = {name: arrays[name] for name in ("coord", "atype", "fparam", "aparam", "spin") if name in arrays}
    expected = {name: value for name, value in arrays.items() if name not in (*given, "cell")}
    return Frame(group, cell=arrays.get("cell", np.zeros((3, 3))), expected=expected, **given)
