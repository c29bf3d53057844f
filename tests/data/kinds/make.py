"""make - small random models of DeePMD-kit and what it says about them: rules that no trained model of the tests shows.

Run with its own python (3.2.0, with torch): python make.py
"""

import numpy as np
import torch
from deepmd.dpmodel.utils.serialization import save_dp_model
from deepmd.pt.model.model import get_model

TYPES = ["O", "H"]
SEL, TOTAL = [24, 36], 60  # enough for every atom
COMMON = {"rcut": 3.5, "rcut_smth": 0.5, "precision": "float64", "seed": 1}
STRIP = {**COMMON, "sel": TOTAL, "neuron": [3, 6], "tebd_dim": 3, "tebd_input_mode": "strip"}
ANGLES = {**COMMON, "type": "se_e2_a", "sel": SEL, "neuron": [2, 4], "axis_neuron": 2, "resnet_dt": True}
RADIAL = {**COMMON, "type": "se_e2_r", "sel": SEL, "neuron": [2, 4]}
TRIPLES = {**COMMON, "type": "se_e3", "sel": SEL, "neuron": [2, 4]}
TYPED_TRIPLES = {**STRIP, "type": "se_e3_tebd"}
DPA1 = {**STRIP, "type": "dpa1", "attn_layer": 0, "axis_neuron": 2, "set_davg_zero": False, "use_tebd_bias": True}
DPA1 |= {"type_one_side": False, "smooth_type_embedding": True}
LAYERS = {**DPA1, "attn_layer": 2, "attn": 4, "attn_dotr": True, "temperature": 0.8, "ln_eps": 1e-2}
CONCAT = {"tebd_input_mode": "concat", "set_davg_zero": True}
START = {"rcut": 3.5, "rcut_smth": 0.5, "nsel": TOTAL, "neuron": [3, 6], "axis_neuron": 2, "tebd_dim": 3}
START |= {"tebd_input_mode": "strip", "set_davg_zero": False}
THREE = {"use_three_body": True, "three_body_neuron": [2, 4], "three_body_sel": 30, "three_body_rcut": 2.8}
ROUNDS = {"rcut": 2.8, "rcut_smth": 1.0, "nsel": 30, "nlayers": 2, "g1_dim": 8, "g2_dim": 4, "axis_neuron": 2}
ROUNDS |= {"attn1_hidden": 3, "attn1_nhead": 2, "attn2_hidden": 4, "attn2_nhead": 3, "update_h2": True}
ROUNDS |= {"set_davg_zero": False}
DPA2 = {"type": "dpa2", "precision": "float64", "seed": 1}
MIXED = {"g1_out_conv": False, "g1_out_mlp": False, "use_sqrt_nnei": False}
FITTING = {"neuron": [6, 6], "precision": "float64", "seed": 1}
EXCLUDED = {"exclude_types": [[0, 1]]}


def hybrid(*members):
    return {"type": "hybrid", "list": list(members)}


# descriptor, fitting net, the rest
MODELS = {
    "silut": ({**ANGLES, "activation_function": "silut"}, {**FITTING, "activation_function": "silut:3.0"}, {}),
    "parameters": (
        {**ANGLES, "env_protection": 0.1},
        {**FITTING, "neuron": [14, 14], "numb_fparam": 2, "numb_aparam": 1, "dim_case_embd": 3},
        {},
    ),
    "excluded_pairs": (ANGLES, FITTING, {"pair_exclude_types": [[1, 1]], "atom_exclude_types": [1]}),
    "radial": ({**RADIAL, **EXCLUDED}, {**FITTING, "atom_ener": [None, 2.0]}, {}),
    "triples": ({**TRIPLES, **EXCLUDED}, FITTING, {}),
    "typed_triples": ({**TYPED_TRIPLES, **EXCLUDED}, FITTING, {}),
    "typed_triples_plain": ({**TYPED_TRIPLES, "smooth": False, "concat_output_tebd": False}, FITTING, {}),
    "dpa1": ({**DPA1, **EXCLUDED}, FITTING, {}),
    "dpa1_plain": ({**DPA1, "smooth_type_embedding": False, "set_davg_zero": True}, FITTING, {}),
    "dpa1_electrons": (
        {**DPA1, "use_econf_tebd": True, "type_one_side": True},
        {**FITTING, "atom_ener": [1.0, None]},
        {},
    ),
    "attention": ({**LAYERS, **EXCLUDED}, FITTING, {}),
    "attention_concat": ({**LAYERS, **CONCAT, "type_one_side": True, "normalize": False}, FITTING, {}),
    "attention_plain": ({**LAYERS, "set_davg_zero": True, "smooth_type_embedding": False, **EXCLUDED}, FITTING, {}),
    "repformer": (
        {**DPA2, "repinit": START, "repformer": {**ROUNDS, "attn2_has_gate": True, "update_style": "res_avg"}},
        {**FITTING, "type": "dipole"},
        {"pair_exclude_types": [[1, 1]]},
    ),
    "repformer_mixed": (
        {**DPA2, **EXCLUDED, "repinit": {**START, **THREE, "type_one_side": True}, "add_tebd_to_repinit_out": True}
        | {"repformer": {**ROUNDS, **MIXED, "update_style": "res_incr", "activation_function": "silu"}},
        FITTING,
        {},
    ),
    "repformer_direct": (
        {**DPA2, "repinit": {**START, **CONCAT}, "env_protection": 0.1, "concat_output_tebd": False}
        | {"repformer": {**ROUNDS, "direct_dist": True, "update_style": "res_residual", "update_residual": 0.5}},
        FITTING,
        {},
    ),
    "repformer_plain": (
        {**DPA2, "smooth": False, "repinit": {**START, "set_davg_zero": True}}
        | {"repformer": {**ROUNDS, "set_davg_zero": True, "update_style": "res_avg", "update_g1_has_drrd": False}},
        FITTING,
        {},
    ),
    "hybrid": (hybrid(DPA1, ANGLES, RADIAL, TRIPLES, TYPED_TRIPLES), {**FITTING, "numb_fparam": 1}, {}),
    "dipole": (hybrid(DPA1, {**ANGLES, "rcut": 3.0}), {**FITTING, "type": "dipole", "numb_aparam": 1}, {}),
    "polar": (
        DPA1,
        {**FITTING, "type": "polar", "fit_diag": False, "scale": [1.5, 0.5], "shift_diag": True},
        {"atom_exclude_types": [1]},
    ),
    "polar_diagonal": (ANGLES, {**FITTING, "type": "polar", "fit_diag": True, "scale": [1.5, 0.5]}, {}),
    "dos": (DPA1, {**FITTING, "type": "dos", "numb_dos": 3}, {}),
    "property": (DPA1, {**FITTING, "type": "property", "task_dim": 2, "intensive": True, "property_name": "gap"}, {}),
}
ZERO_MEAN = {"dpa1_plain", "attention_concat", "attention_plain", "repformer_direct", "repformer_plain"}
MESSAGES = "repformer"  # whose atomic virials depend on which images of atoms the model is given
ALIASES = {"dipole": "atom_tensor", "polar": "atom_tensor", "atom_dos": "atom_tensor", "atom_gap": "atom_tensor"}
ALIASES |= {"global_dipole": "tensor", "global_polar": "tensor", "dos": "tensor", "gap": "tensor"}


def main():
    torch.manual_seed(0)
    random = np.random.default_rng(5)
    cell = np.array([[5.0, 0, 0], [0.7, 4.8, 0], [-0.3, 0.5, 5.2]])
    atype = np.array([0, 1, 1, 0, 1, 0, 1, 1])
    frame = {"coord": random.uniform(0, 1, (8, 3)) @ cell, "atype": atype, "cell": cell}
    for name, (descriptor, fitting, rest) in MODELS.items():
        save(name, {"type_map": TYPES, "descriptor": descriptor, "fitting_net": fitting, **rest}, frame)
    part = {"type_map": ["C", *TYPES[::-1]], "descriptor": DPA1, "fitting_net": FITTING}
    parts = [part, {**part, "type_map": TYPES}]
    save("linear", {"type": "linear_ener", "type_map": TYPES, "weights": [0.3, 0.7], "models": parts}, frame)


def save(name, config, frame):
    model = get_model(config)
    randomise(model, zero_mean=name in ZERO_MEAN)
    save_dp_model(f"{name}.dp", {"model": model.serialize(), "model_def_script": {}, "backend": "PyTorch"})
    fitting = config.get("fitting_net", {})
    parameters = {}
    if fitting.get("numb_fparam"):
        parameters["fparam"] = np.array([0.3, -0.7])[: fitting["numb_fparam"]]
    if fitting.get("numb_aparam"):
        parameters["aparam"] = np.linspace(-1, 1, len(frame["atype"]))[:, None]
    coord, atype, box = (torch.tensor(frame[key])[None] for key in ("coord", "atype", "cell"))
    given = {key: torch.tensor(value)[None] for key, value in parameters.items()}
    found = model(coord, atype, box=box.reshape(1, 9), do_atomic_virial=True, **given)
    unwanted = {"mask", "atom_virial"} if name.startswith(MESSAGES) else {"mask"}
    result = {ALIASES.get(key, key): value.detach().numpy()[0] for key, value in found.items() if key not in unwanted}
    np.savez(f"{name}.npz", **frame, **parameters, **{key: tidy(key, value) for key, value in result.items()})


def tidy(key, value):
    """Scalars, and outputs before atoms where a tensor has derivatives."""
    if key == "energy":
        return value[0]
    if key in ("force", "atom_virial") and value.ndim == 3:
        value = value.transpose(1, 0, 2)
    return value.reshape(*value.shape[:-1], 3, 3) if key.endswith("virial") else value


@torch.no_grad()
def randomise(model, zero_mean):
    generator = torch.Generator().manual_seed(3)

    def normal(size, scale=0.5):
        return scale * torch.randn(size, generator=generator, dtype=torch.float64)

    for path, value in [*model.named_buffers(), *model.named_parameters()]:
        name = path.rpartition(".")[2]
        if name == "mean":
            mean = normal((len(value), 1, value.shape[2]), 0.0 if zero_mean else 0.1)
            mean[..., 1:] = 0  # as training leaves it
            value.copy_(mean.expand_as(value))
        elif name == "stddev":
            value.copy_((0.6 + normal((len(value), 1, value.shape[2]), 0.1)).expand_as(value))
        elif name.endswith("_inv_std"):
            value.copy_(0.5 + normal(value.shape) ** 2)
        elif name in ("matrix", "bias", "idt", "out_bias", "out_std", "bias_atom_e", "case_embd") or name.endswith(
            "_avg"
        ):
            value.copy_(normal(value.shape))


main()
