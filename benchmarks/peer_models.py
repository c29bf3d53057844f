"""peer_models - run by the peer's Python: a model file as TensorFlow and PyTorch models of two precisions.

python peer_models.py MODEL FOLDER writes float64.pb, float64.pth, float32.pb and float32.pth to FOLDER.
"""

import json
import sys
from pathlib import Path

import tensorflow as tf
from deepmd.backend.backend import Backend

SCRIPT = "train_attr/training_script"
# required by the peer's check of a training script, and without effect when it compresses
LEARNING_RATE = {"type": "exp", "start_lr": 1e-3, "stop_lr": 1e-8, "decay_steps": 5000}


def hook(name: str, file: Path):
    return getattr(Backend.detect_backend_by_model(str(file))(), name)


def single(tree):
    """A serialised model whose arithmetic is float32; arrays are cast when it is read."""
    if not isinstance(tree, dict):
        return tree
    return {key: "float32" if key == "precision" and value else single(value) for key, value in tree.items()}


def complete_script(file: Path) -> None:
    """Give the training script inside a converted .pb what `dp compress` asks for."""
    graph = tf.compat.v1.GraphDef.FromString(file.read_bytes())
    values = next(node.attr["value"].tensor.string_val for node in graph.node if node.name == SCRIPT)
    values[0] = json.dumps(json.loads(values[0]) | {"learning_rate": LEARNING_RATE}).encode()
    file.write_bytes(graph.SerializeToString())


def main(model: Path, folder: Path) -> None:
    tree = hook("serialize_hook", model)(str(model))
    for precision, version in (("float64", tree), ("float32", single(tree))):
        for suffix in (".pb", ".pth"):
            file = folder / (precision + suffix)
            hook("deserialize_hook", file)(str(file), version)
        complete_script(folder / f"{precision}.pb")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
