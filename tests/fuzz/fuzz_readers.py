"""fuzz_readers - any bytes as a trained model: a Model or a ModelError, within seconds and little memory.

python fuzz_readers.py FORMAT FILE...         read these files
python fuzz_readers.py FORMAT [OPTION...] FOLDER...    fuzz, with options and folders as libFuzzer has them
"""

import importlib
import os
import random
import resource
import signal
import sys
import tempfile
import warnings
from pathlib import Path

import structure

MODULES = {
    "pb": "tensorflow",
    "pbtxt": "tensorflow",
    "pth": "torch",
    "pt": "torch",
    "dp": "native",
    "yaml": "native",
    "onnx": "onnx",
}
MEMORY = 512 << 20  # bytes that reading a small file may take
SECONDS = 10  # that reading one may take


def limit_memory() -> None:
    """What takes more memory than a small model needs fails from now on."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def ignore_digests() -> None:
    """No mutation could find the SHA-256 of what it made."""
    from compress_onnx import digest

    digest.fault = lambda path: None


def attempt(path: Path) -> None:
    """Read the file, which may be refused in one sentence; anything else is raised."""
    from compress_onnx import readers
    from compress_onnx.model import Model, ModelError

    try:
        assert isinstance(readers.read(path), Model)
    except ModelError as error:
        assert "\n" not in str(error) and str(error).startswith(f"{path}: "), str(error)
        if isinstance(error.__cause__, MemoryError):
            raise error.__cause__ from None


def replay(files: list[str]) -> None:
    ignore_digests()
    limit_memory()
    for file in files:
        print(file, flush=True)  # the last one is the one that crashed
        signal.alarm(SECONDS)
        attempt(Path(file))
        signal.alarm(0)


def fuzz(kind: str, options: list[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["compress_onnx"]):
        importlib.import_module(f"compress_onnx.readers.{MODULES[kind]}")
    for format_library in ("yaml", "google.protobuf.text_format"):  # before memory is limited
        importlib.import_module(format_library)

    ignore_digests()
    path = Path(tempfile.mkdtemp(), f"model.{kind}")

    def consume(data: bytes) -> None:
        path.write_bytes(data)
        attempt(path)

    def mutate(data: bytes, room: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.2:
            return atheris.Mutate(data, room)
        try:
            changed = structure.MUTATORS[kind](data, chance, lambda part: atheris.Mutate(part, max(len(part) + 64, 16)))
        except Exception:  # noqa: BLE001 - whatever reading a damaged file raises
            return atheris.Mutate(data, room)
        return changed[:room]

    limit_memory()
    warnings.simplefilter("ignore")  # about names that an archive has twice
    atheris.Setup([sys.argv[0], f"-timeout={SECONDS}", *options], consume, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    kind, *given = sys.argv[1:]
    if all(os.path.isfile(name) for name in given):
        replay(given)
    else:
        fuzz(kind, given)
