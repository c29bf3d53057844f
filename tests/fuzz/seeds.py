"""seeds - small models of each format, what fuzzing begins with: made here, beside those kept in corpus/."""

import io
import json
import shutil
import sys
import warnings
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import compress_onnx
import onnx
import tiny
import torchfile
from compress_onnx.readers import graphdef, torch
from google.protobuf import text_format

TARGETS = ("c", "onnx", "pb", "pbtxt", "pth", "pt", "dp", "yaml")
KINDS = {
    "radial": {"descriptor": tiny.radial()},
    "triples": {"descriptor": tiny.triples(), "fitting": tiny.fitting(numb_fparam=1, numb_aparam=1)},
    "typed_triples": {"descriptor": tiny.typed_triples()},
    "dpa1": {"descriptor": tiny.dpa1(), "fitting": tiny.fitting(mixed_types=True)},
    "hybrid": {"descriptor": tiny.hybrid(tiny.angles(), tiny.radial())},
    "dipole": {"fitting": tiny.fitting("dipole")},
    "polar": {"fitting": tiny.fitting("polar", fit_diag=True)},
    "property": {"fitting": tiny.fitting("property", task_dim=2, intensive=True)},
}
LONGEST = 70_000  # bytes of a seed
_READ_BY_C = ("compress_onnx.format", "compress_onnx.type_map")


def write(folder: Path) -> None:
    """Fill folder/TARGET for each of TARGETS."""
    for target in TARGETS:
        (folder / target).mkdir(parents=True)
        for kept in sorted((HERE / "corpus" / target).glob("*")):
            shutil.copy(kept, folder / target)
    for file in sorted((HERE.parent.parent / "models").glob("*.p*")):
        if shorten := {".pth": _without_code, ".pb": _without_gradients}.get(file.suffix):
            data = shorten(file)
            if len(data) < LONGEST:
                (folder / file.suffix[1:] / file.stem).write_bytes(data)
            if len(data) < LONGEST and file.suffix == ".pth":
                _as_checkpoint(data, folder / "pt" / file.stem)
    for file in sorted((folder / "pb").glob("*")):
        text = text_format.MessageToString(graphdef.parse(file.read_bytes()))
        if len(text) < LONGEST:
            (folder / "pbtxt" / file.name).write_text(text)
    model = tiny.write_dp(tiny.tree(one_side=True, resnet_dt=False), folder / "dp/angles")
    tiny.write_yaml(tiny.tree(), folder / "yaml/angles")
    _convert(model, folder, "angles")
    _compress(model, folder, "float32", precision="float32")
    for name, parts in KINDS.items():
        tree = tiny.tree(one_side=True, resnet_dt=False, **parts)
        tiny.write_json(tree, folder / "yaml" / name)
        model = tiny.write_dp(tree, folder / "dp" / name)
        _convert(model, folder, name)


def _as_checkpoint(data: bytes, path: Path) -> None:
    """The training checkpoint of a frozen model, if that says what it was trained by."""
    module = torch._load(data)
    if script := module.get("model_def_script"):
        torchfile.write_checkpoint(path, torchfile.flattened(module, "model.Default."), json.loads(script))


def _without_code(file: Path) -> bytes:
    """A TorchScript archive without its methods, which are not read."""
    target = io.BytesIO()
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(target, "w") as short:
        for name in archive.namelist():
            if "/code/" not in name:
                short.writestr(zipfile.ZipInfo(name), archive.read(name))
    return target.getvalue()


def _without_gradients(file: Path) -> bytes:
    """A frozen graph without the nodes and attributes that are not read."""
    graph = graphdef.parse(file.read_bytes())
    graph = graphdef.Graph(node=[node for node in graph.node if not node.name.startswith("gradients")])
    graph.DiscardUnknownFields()
    return graph.SerializeToString()


def _convert(model: str, folder: Path, name: str) -> None:
    compress_onnx.convert(model, folder / "onnx" / name)
    _bare(folder / "onnx" / name)
    _compress(model, folder, name, fold=1e3)


def _compress(model: str, folder: Path, name: str, **options) -> None:
    with warnings.catch_warnings(action="ignore"):  # such tables are coarse
        compress_onnx.compress(model, folder / "c" / name, step=1.0, check="none", **options)
    _bare(folder / "c" / name, _READ_BY_C)


def _bare(path: Path, metadata: tuple[str, ...] = ()) -> None:
    """Leave out the functions, and all but this metadata: nothing reads them, so changes there find nothing."""
    proto = onnx.load(path)
    del proto.functions[:]
    kept = [entry for entry in proto.metadata_props if not metadata or entry.key in metadata]
    del proto.metadata_props[:]
    proto.metadata_props.extend(kept)
    path.write_bytes(proto.SerializeToString())


if __name__ == "__main__":
    write(Path(sys.argv[1]))
