"""recipes - of each model of this folder: its files, its data, and the model and loss sections of its training input."""

from __future__ import annotations

from dataclasses import dataclass, field

from labels import DENSITIES

ENERGY_LOSS = {
    "type": "ener",
    "start_pref_e": 0.2,
    "limit_pref_e": 100,
    "start_pref_f": 1000,
    "limit_pref_f": 20,
    "start_pref_v": 0,
    "limit_pref_v": 0,
}
SPIN_LOSS = {
    "type": "ener_spin",
    "start_pref_e": 0.2,
    "limit_pref_e": 100,
    "start_pref_fr": 1000,
    "limit_pref_fr": 20,
    "start_pref_fm": 1000,
    "limit_pref_fm": 20,
}
TENSOR_LOSS = {"type": "tensor", "pref": 0.1, "pref_atomic": 10.0}
DOS_LOSS = {"type": "dos"} | {
    f"{end}_pref_{of}": 1.0 if of == "ados" else 0.0
    for end in ("start", "limit")
    for of in ("dos", "cdf", "ados", "acdf")
}
PROPERTY_LOSS = {"type": "property", "loss_func": "mse", "metric": ["rmse"]}

WATER_SEL = (20, 40)
NEURON = (4, 8, 16)


@dataclass(frozen=True)
class Recipe:
    data: str  # a name of data.DATA
    suffixes: tuple[str, ...]  # the frozen file first, the others are converted from it; only .dp: that is, too
    steps: int
    model: dict  # without the type map
    loss: dict = field(default_factory=lambda: ENERGY_LOSS)
    rate: float = 0.006  # of learning, at the start
    tensorflow: bool = False

    @property
    def frozen(self) -> str:
        """The suffix of what is trained."""
        return ".pb" if self.tensorflow or ".pb" in self.suffixes else ".pth"

    @property
    def backend(self) -> str:
        return "--tf" if self.frozen == ".pb" else "--pt"


def standard(descriptor: dict, fitting: dict | None = None, **more) -> dict:
    """A model of one descriptor and one fitting net."""
    return {"descriptor": descriptor, "fitting_net": fitting or fitting_net()} | more


def fitting_net(neuron=(16, 16), precision="float64", seed=2, **more) -> dict:
    return {"neuron": neuron, "resnet_dt": True, "precision": precision, "seed": seed} | more


def local(kind: str, cutoff: float, sel, neuron=NEURON, precision="float64", seed=1, **more) -> dict:
    """A descriptor of one cutoff."""
    smooth = {"rcut": cutoff, "rcut_smth": 0.5 * cutoff}
    return {"type": kind, **smooth, "sel": sel, "neuron": neuron, "precision": precision, "seed": seed} | more


def pairs(cutoff=4.5, sel=WATER_SEL, one_side=True, **more) -> dict:
    return local("se_e2_a", cutoff, sel, axis_neuron=4, type_one_side=one_side, **more)


def radial(cutoff=4.5, sel=WATER_SEL, one_side=True) -> dict:
    return local("se_e2_r", cutoff, sel, type_one_side=one_side)


def typed(kind="dpa1", attention=0, cutoff=4.5, sel=60, **more) -> dict:
    """Two bodies with a type embedding beside the environment."""
    mode = {"axis_neuron": 4, "tebd_input_mode": "strip", "attn": 8, "attn_layer": attention}
    return local(kind, cutoff, sel, **mode, **more)


def early(cutoff: float, sel: tuple[int, int], **of_descriptor) -> dict:
    """The first models of this folder: 8, 16, 32 and 32, 32, 32 neurons."""
    seeds = of_descriptor.pop("seeds", (1, 2))
    given = {"one_side": False, "resnet_dt": False, "exclude_types": (), "activation_function": "tanh"}
    descriptor = pairs(cutoff, sel, neuron=(8, 16, 32), seed=seeds[0], **given | of_descriptor)
    return standard(descriptor, fitting_net((32, 32, 32), descriptor["precision"], seeds[1]))


DPA2 = {
    "type": "dpa2",
    "repinit": {
        "tebd_dim": 8,
        "rcut": 4.5,
        "rcut_smth": 2.25,
        "nsel": 60,
        "neuron": NEURON,
        "axis_neuron": 4,
        "tebd_input_mode": "strip",
        "use_three_body": True,
        "three_body_sel": 20,
        "three_body_rcut": 3.0,
        "three_body_rcut_smth": 2.0,
        "three_body_neuron": (2, 4, 8),
    },
    "repformer": {
        "rcut": 3.0,
        "rcut_smth": 2.0,
        "nsel": 20,
        "nlayers": 2,
        "g1_dim": 16,
        "g2_dim": 8,
        "attn2_hidden": 4,
        "attn2_nhead": 2,
        "axis_neuron": 4,
        "update_g1_has_attn": False,
        "update_g2_has_attn": False,
        "update_style": "res_residual",
        "update_residual": 0.01,
        "update_residual_init": "norm",
        "attn2_has_gate": True,
        "use_sqrt_nnei": True,
        "g1_out_conv": True,
        "g1_out_mlp": True,
    },
    "precision": "float64",
    "seed": 1,
}
ZBL = {"use_srtab": "short_range.txt", "smin_alpha": 0.1, "sw_rmin": 0.6, "sw_rmax": 0.9}  # make_models.py writes it

RECIPES = {
    "water": Recipe("water", (".pth", ".dp", ".yaml"), 6000, early(4.5, WATER_SEL, one_side=True)),
    "water_tf": Recipe("water", (".pb",), 5000, early(4.5, WATER_SEL, activation_function="gelu")),
    "water_f32": Recipe("water", (".pb",), 5000, early(4.5, WATER_SEL, precision="float32")),
    "alloy": Recipe("alloy", (".pth",), 4000, early(5.0, (42, 18), resnet_dt=True)),
    "alloy_tf": Recipe(
        "alloy",
        (".pb",),
        4000,
        early(5.0, (42, 18), one_side=True, activation_function="gelu", exclude_types=((1, 1),), seeds=(7, 17)),
    ),
    "radial": Recipe("small_water", (".pb",), 5000, standard(radial()), rate=0.01),
    "typed": Recipe("water", (".pth", ".dp"), 1500, standard(typed(tebd_dim=4))),
    "typed_tf": Recipe("small_water", (".pb",), 2500, standard(typed("se_atten"), type_embedding={"neuron": (4,)})),
    "angles": Recipe("small_water", (".pth",), 1000, standard(local("se_e3", 3.5, (10, 20), (2, 4, 8)))),
    "angles_typed": Recipe(
        "small_water",
        (".dp",),
        800,
        standard(local("se_e3_tebd", 3.5, 30, (2, 4, 8), tebd_dim=4, tebd_input_mode="strip", smooth=True)),
    ),
    "hybrid": Recipe(
        "small_water", (".pth",), 1500, standard({"type": "hybrid", "list": [pairs(3.5, (12, 24)), radial(4.5)]})
    ),
    "parameters": Recipe(
        "alloy_with_parameters",
        (".pth",),
        2000,
        standard(pairs(5.0, (42, 18)), fitting_net(numb_fparam=2, numb_aparam=1)),
    ),
    "dipole": Recipe(
        "water_dipole",
        (".pth",),
        1500,
        standard(pairs(3.5, (12, 24)), fitting_net(type="dipole"), atom_exclude_types=[1]),
        TENSOR_LOSS,
    ),
    "polar": Recipe(  # by TensorFlow, which gives derivatives, but in a file twelve times as large
        "water_polar",
        (".dp",),
        5000,
        standard(pairs(3.5, (12, 24)), fitting_net(type="polar", fit_diag=True)),
        TENSOR_LOSS,
        rate=0.01,
        tensorflow=True,
    ),
    "dos": Recipe(
        "water_dos",
        (".dp",),
        2500,
        standard(pairs(3.5, (12, 24)), fitting_net(type="dos", numb_dos=DENSITIES)),
        DOS_LOSS,
    ),
    "property": Recipe(
        "alloy_with_averages",
        (".pth",),
        2000,
        standard(
            typed(tebd_dim=4, cutoff=5.0),
            fitting_net(type="property", property_name="per_atom", task_dim=2, intensive=True),
        ),
        PROPERTY_LOSS,
    ),
    "sum": Recipe(
        "small_water",
        (".pth",),
        1500,
        {
            "type": "linear_ener",
            "weights": [0.75, 0.5],
            "models": [standard(typed(tebd_dim=4)), standard(typed(tebd_dim=4, cutoff=3.5, sel=36, seed=4))],
        },
    ),
    "attention": Recipe("small_water", (".pth",), 1000, standard(typed(attention=2, tebd_dim=4))),
    "repformer": Recipe("small_water", (".pth",), 600, standard(DPA2)),
    "spin": Recipe(
        "oxide",
        (".pth",),
        1500,
        standard(pairs(4.2, (16, 20), one_side=False), spin={"use_spin": [True, False], "virtual_scale": [0.3]}),
        SPIN_LOSS,
    ),
    "zbl": Recipe("small_water", (".pth",), 1200, standard(typed(tebd_dim=4), **ZBL)),
}
