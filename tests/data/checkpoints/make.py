"""make - small random PyTorch checkpoints, as training writes them, and what DeePMD-kit says about their models.

Run with its own python (3.2.0, with torch): python make.py
"""

from copy import deepcopy

import numpy as np
import torch
from deepmd.pt.model.model import get_model
from deepmd.pt.train.wrapper import ModelWrapper
from deepmd.utils.argcheck import model_args

TYPES = ["O", "H"]
COMMON = {"rcut": 3.5, "rcut_smth": 0.5, "precision": "float64", "seed": 1}
STRIP = {**COMMON, "sel": 60, "neuron": [3, 6], "tebd_dim": 3, "tebd_input_mode": "strip"}
DPA1 = {**STRIP, "type": "dpa1", "attn_layer": 0, "axis_neuron": 2, "smooth_type_embedding": True}
ANGLES = {**COMMON, "type": "se_e2_a", "sel": [24, 36], "neuron": [2, 4], "axis_neuron": 2, "resnet_dt": True}
RADIAL = {**COMMON, "type": "se_e2_r", "sel": [24, 36], "neuron": [2, 4], "exclude_types": [[0, 1]]}
TRIPLES = {**COMMON, "type": "se_e3", "sel": [24, 36], "neuron": [2, 4]}
TYPED_TRIPLES = {**STRIP, "type": "se_e3_tebd"}
CONCATENATED = {**TYPED_TRIPLES, "tebd_input_mode": "concat", "neuron": [4, 8]}
MEMBERS = [DPA1, ANGLES, RADIAL, TRIPLES, TYPED_TRIPLES, CONCATENATED]
FITTING = {"neuron": [6, 6], "precision": "float64", "seed": 1, "dim_case_embd": 2}


def main():
    torch.manual_seed(0)
    random = np.random.default_rng(5)
    cell = np.array([[5.0, 0, 0], [0.7, 4.8, 0], [-0.3, 0.5, 5.2]])
    frame = {"coord": random.uniform(0, 1, (8, 3)) @ cell, "cell": cell, "atype": np.array([0, 1, 1, 0, 1, 0, 1, 1])}
    alone = {"type_map": TYPES, "descriptor": {"type": "hybrid", "list": MEMBERS}, "fitting_net": FITTING}
    head = {"type_map": TYPES, "descriptor": DPA1, "fitting_net": FITTING}
    excluded = {**head, "atom_exclude_types": [1], "model_branch_alias": ["second"]}
    expected = save("alone", normalised(alone), {"Default": alone}, frame)
    heads = {"water": normalised(head), "ice": normalised(excluded)}
    expected |= save("heads", {"model_dict": heads}, heads, frame)
    np.savez("results.npz", **frame, **expected)


def normalised(section):
    arguments = model_args()
    return arguments.normalize_value(deepcopy(section), trim_pattern="_*")


def save(file, definition, sections, frame):
    """The checkpoint, and {FILE.HEAD.RESULT: array}."""
    models = {name: random_model(section) for name, section in sections.items()}
    wrapper = ModelWrapper(models if len(models) > 1 else models["Default"], model_params=definition)
    torch.save({"model": wrapper.state_dict(), "optimizer": {"param_groups": [{"lr": 1e-3}]}}, f"{file}.pt")
    coord, atype, box = (torch.tensor(frame[key])[None] for key in ("coord", "atype", "cell"))
    found = {}
    for name, model in models.items():
        result = model(coord, atype, box=box.reshape(1, 9))
        found |= {f"{file}.{name}.{key}": result[key].detach().numpy()[0] for key in ("energy", "force", "atom_energy")}
    return found


@torch.no_grad()
def random_model(section):
    model = get_model(deepcopy(section))
    for path, value in [*model.named_buffers(), *model.named_parameters()]:
        name = path.rpartition(".")[2]
        if name in ("matrix", "bias", "idt", "out_bias", "bias_atom_e", "case_embd"):
            value.copy_(0.5 * torch.randn(value.shape, dtype=value.dtype))
        elif name == "stddev":
            value.copy_((0.6 + 0.1 * torch.randn(len(value), 1, value.shape[2])).expand_as(value))
        elif name == "min_nbor_dist":
            value.fill_(0.7)
    return model


main()
