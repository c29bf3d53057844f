"""model - a Deep Potential in memory: frozen dataclasses of arrays, whatever file it came from.

Arrays are float64 numpy arrays unless a comment says otherwise (a float32 model's weights are
widened, which is exact); `precision` says what arithmetic the original used. Lengths in angstrom,
energies in eV. `nt` is the number of types.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


class ModelError(Exception):
    """A file that is no model, or a model with a part that is not supported: one sentence for the user."""


@dataclass(frozen=True)
class Layer:
    """y = x·weight + bias; h = activation(y) * idt; result h, x + h or [x, x] + h."""

    weight: np.ndarray  # [in, out]
    bias: np.ndarray | None  # [out]
    idt: np.ndarray | None  # [out]
    activation: str  # of ACTIVATIONS
    residual: int  # 0 none, 1 x + h, 2 [x, x] + h: decided by the reader, the formats' rules differ


@dataclass(frozen=True)
class Net:
    layers: tuple[Layer, ...]

    @property
    def width(self) -> int:
        return self.layers[-1].weight.shape[1]


@dataclass(frozen=True)
class Switch:
    """sw(r) and the environment's denominators; see docs/format.md, `switch`.

    width is stored, not cutoff - smooth: TensorFlow files take that difference in float32.
    """

    smooth: float
    cutoff: float
    width: float
    protection: float = 0.0


@dataclass(frozen=True)
class SeA:
    """Descriptor se_e2_a. Net and padding indices point into `nets`; -1: contributes nothing."""

    switch: Switch
    sel: tuple[int, ...]  # [nt]
    total_first: (
        bool  # truncation: nearest sum(sel) of all types, then sel[t] of each (native); False: sel[t] only (TensorFlow)
    )
    count: float  # N of T = RᵀG / N
    mean: np.ndarray  # [nt, 4]
    std: np.ndarray  # [nt, 4]
    nets: tuple[Net, ...]
    net: np.ndarray  # int [nt centre, nt neighbour]
    pad_net: np.ndarray  # int [nt centre, nt neighbour]: what the padded slots of that block go through
    axis: int
    precision: str  # float64 or float32
    type_one_side: bool
    exclude_types: tuple[tuple[int, int], ...] = ()
    kind: str = "se_e2_a"


@dataclass(frozen=True)
class EnergyFitting:
    """E_i = net[type_i](D_i) + bias[type_i]; the last layer of each net has width 1 and no activation."""

    nets: tuple[Net, ...]  # [nt]
    bias: np.ndarray  # [nt], everything that is added: bias_atom_e and the model's out_bias
    precision: str
    kind: str = "ener"


@dataclass(frozen=True)
class Source:
    """Where a model came from."""

    path: str
    format: str  # "tensorflow .pb", "pytorch .pth", "native .dp", "native .yaml", "onnx"
    sha256: str
    version: str = ""  # of the software that wrote it, where the file says


@dataclass(frozen=True)
class Model:
    type_map: tuple[str, ...]
    descriptor: SeA
    fitting: EnergyFitting
    source: Source
    min_distance: float | None = None  # smallest pair distance of the training data
    training_script: dict | None = field(default=None, repr=False)

    @property
    def precision(self) -> str:
        """float32 if the descriptor or the fitting net is."""
        parts = (self.descriptor.precision, self.fitting.precision)
        return "float32" if "float32" in parts else "float64"


ACTIVATIONS = ("linear", "tanh", "gelu", "relu", "relu6", "softplus", "sigmoid", "silu", "gelu_tf")
# of x + cubic x³ in the hyperbolic tangent form; TensorFlow's own gelu rounds it to float32
GELU_CUBIC = {"gelu": 0.044715, "gelu_tf": float(np.float32(0.044715))}
