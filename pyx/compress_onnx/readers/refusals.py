"""refusals - what is known and not supported, with the remedies: what errors say, and docs/support.md lists."""

from __future__ import annotations

from typing import NamedTuple

from ..model import ModelError


class Refusal(NamedTuple):
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what} is not supported: {self.remedy}"


_NO_TABLE = "none of its nets is a function of one number, so that there is nothing to tabulate; run it with DeePMD-kit"
_TRAIN = "train or fine-tune it with precision float64 or float32"
_CONVERT = "convert the model that it was made from with 'dp convert-backend MODEL model.dp'"

REFUSED = {
    "dpa3": Refusal("descriptor DPA-3", _NO_TABLE),
    "dpa4": Refusal("descriptor DPA-4 (SeZM)", _NO_TABLE),
    "loc_frame": Refusal("descriptor loc_frame", _NO_TABLE),
    "se_a_ef": Refusal("descriptor se_a_ef (external fields)", "run it with DeePMD-kit"),
    "attn_mask": Refusal("attention with attn_mask", "train it with attn_mask false"),
    "lmax": Refusal("DPA-1 with lmax above 1", "run it with DeePMD-kit"),
    "old_dpa2": Refusal("DPA-2 of a version before 3", "freeze it with DeePMD-kit 3.1 or newer"),
    "first_atom": Refusal(
        "DPA-1 of PyTorch with tebd_input_mode 'concat' or smooth_type_embedding false, and a mean environment that is not zero",
        "its empty slots depend on the type of the first atom; train it with set_davg_zero",
    ),
    "bfloat16": Refusal("precision bfloat16", _TRAIN),
    "float16": Refusal("precision float16", _TRAIN),
    "modifier": Refusal("a data modifier (DPLR)", "give its dipole model, and the model without the modifier"),
    "pair_table": Refusal(
        "a graph of TensorFlow with a pair table (use_srtab)",
        "train it with 'dp --pt train', whose pair tables are read",
    ),
    "pairwise_dprc": Refusal("a pairwise DPRc model", "run it with DeePMD-kit"),
    "pt2": Refusal("a .pt2 or .pte package", _CONVERT),
    "paddle": Refusal("a .json program of Paddle", _CONVERT),
    "saved_model": Refusal("a directory of TensorFlow (.savedmodel, .savedmodeltf, .tf2)", _CONVERT),
    "orbax": Refusal("a directory of JAX (.jax)", "convert it with 'dp convert-backend MODEL.jax model.dp'"),
    "old_checkpoint": Refusal("a PyTorch file older than version 1.6", "freeze it with 'dp --pt freeze'"),
    "tf_checkpoint": Refusal("a checkpoint of TensorFlow", "freeze it with 'dp --tf freeze'"),
}
# by the names that files use
DESCRIPTORS = {
    "dpa3": "dpa3",
    "DescrptDPA3": "dpa3",
    "dpa4": "dpa4",
    "sezm": "dpa4",
    "SeZM": "dpa4",
    "DescrptSeZM": "dpa4",
    "dpa4c": "dpa4",
    "DescrptDPA4C": "dpa4",
}


def refused(name: str) -> ModelError:
    """The error for what `name` stands for."""
    return ModelError(str(REFUSED[name]))


def refused_descriptor(name: str) -> ModelError:
    """The error for a descriptor that is not read."""
    if name in DESCRIPTORS:
        return refused(DESCRIPTORS[name])
    return ModelError(f"descriptor {name} is not supported: compress-onnx does not read such models yet")
