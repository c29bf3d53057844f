"""Dependencies go one way, files have one purpose and a bounded length, and nothing depends on one machine."""

import ast
import re
from pathlib import Path

import pytest
from conftest import ROOT

# A C source includes headers of its own layer and of those before it, a header only of those before it.
C_LAYERS = (
    "dpc.h",
    "common.h base.c dpc_cuda.h",
    "bins.h bins.c list.c quintic.h",
    "json.h json.c bytes.h bytes.c sha256.h sha256.c wire.h wire.c",
    "digest.h digest.c",
    "params.h params.c",
    "model.h table.c net.c member.c fitting.c packing.c ensemble.c model.c onnx.c",
    "scalar.h kernels.h kernels.c collect.c scratch.c mixture.h pair.c",
    "atoms.h atoms.c device.h device.c",
    "view.c compute.c ops.c",
)
# Who includes the files that are no headers but templates; these include no header.
OF_A_TYPE = ("vector.inc", "contract.inc", "net.inc", "head.inc", "vector_end.inc")
OF_A_BLOCK = ("environment.inc", "chain.inc", "descriptor.inc", "twobody.inc", "angular.inc", "block.inc")
INSTANTIATED = (*OF_A_TYPE, "precision.inc", *OF_A_BLOCK, "ops.inc", "precision_end.inc")
TEMPLATES = {
    "math.inc": {"vector.inc", "scalar.h"},
    "activation.inc": {"net.inc"},
    "instance.inc": {"kernels.c"},
    **{name: {"instance.inc"} for name in INSTANTIATED},
}
# What the onnxruntime library may know of the core.
OF_THE_CORE = {"dpc.h", "model.h", "device.h"}
# A module imports from layers before its own; the modules of a package count as one.
PYTHON_LAYERS = (
    "model lib svg arguments",
    "nets flat toolchain digest ensemble",
    "system probe bodies readers _core ort lammps deepmd_c",
    "tabulate distance engine openmm",
    "kinks infer tensors quantities",
    "bound fold calculator deviation evaluate ipi dpdata",
    "judgement",
    "strides",
    "graph dynamics",
    "onnxfile",
    "validate",
    "making describe evidence",
    "compression",
    "bench page plot",
    "cli",
    "__main__",
)
LONGEST = 500  # lines
SUFFIXES = {".c", ".h", ".hpp", ".inc", ".cpp", ".cu", ".cuh", ".py", ".pyx", ".pxd", ".js"}
CODE = [
    file
    for folder in ("ccore", "cuda", "engines", "pyx", "tests", "models", "benchmarks", "examples")
    for file in sorted((ROOT / folder).rglob("*"))
    if file.suffix in SUFFIXES and not {"build", "node_modules"} & set(file.parts)
]
PACKAGE = ROOT / "pyx/compress_onnx"


def layer(layers, name):
    (found,) = [k for k, members in enumerate(layers) if name in members.split()] or [None]
    assert found is not None, f"{name} is in no layer"
    return found


def included(file: Path) -> set[str]:
    return set(re.findall(r'^#\s*include "([^"]+)"', file.read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("file", sorted((ROOT / "ccore").rglob("*.[ch]")), ids=lambda file: file.name)
def test_c_includes_go_one_way(file):
    own = layer(C_LAYERS, file.name)
    for name in included(file):
        if name in TEMPLATES:
            assert file.name in TEMPLATES[name]
        else:
            assert layer(C_LAYERS, name) <= own - (file.suffix == ".h"), f"{file.name} includes {name}"


def test_templates_include_no_header():
    for file in (ROOT / "ccore").rglob("*.inc"):
        assert included(file) <= set(TEMPLATES)
        for name in included(file):
            assert file.name in TEMPLATES[name]


def test_engines_know_little_of_the_core():
    core = {file.name for file in (ROOT / "ccore").rglob("*.h")}
    for file in (ROOT / "engines").rglob("*.[ch]"):
        assert included(file) & core <= OF_THE_CORE


def imports(file: Path):
    """The modules of this package that `file` imports, also inside functions, but not for type checkers."""
    tree = ast.parse(file.read_text())
    skipped = {
        node
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and ast.unparse(test.test) == "TYPE_CHECKING"
        for node in ast.walk(test)
    }
    depth = len(file.relative_to(PACKAGE).parts)
    for node in set(ast.walk(tree)) - skipped:
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            yield from [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level or node.module.split(".")[0] != "compress_onnx", "imports inside the package are relative"


# the package itself imports only what is asked for, by name
MODULES = sorted(set(PACKAGE.rglob("*.py")) - {PACKAGE / "__init__.py"})


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_python_imports_go_one_way(file):
    part = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    own = layer(PYTHON_LAYERS, part)
    for name in imports(file):
        assert name.startswith("__") or layer(PYTHON_LAYERS, name) < own, f"{part} imports {name}"


def test_numeric_templates_name_no_type():
    """Types are chosen in instance.inc; coordinates and what atoms add up to are double by contract."""
    may_say = {"instance.inc": {"float", "double"}} | {name: {"double"} for name in OF_A_BLOCK}
    for file in (ROOT / "ccore/src").glob("*.inc"):
        code = re.sub(r"/\*.*?\*/", "", file.read_text(), flags=re.DOTALL)
        code = re.sub(r"\(double\)|static const double", "", code)  # widening, and constants of full precision
        assert set(re.findall(r"\b(?:float|double)\b", code)) <= may_say.get(file.name, set()), file.name


@pytest.mark.parametrize("file", CODE, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_files_are_short_and_say_what_they_are(file):
    text = file.read_text()
    assert text.count("\n") < LONGEST
    if text:
        first = re.sub(r"^#!.*\n", "", text).lstrip()
        assert re.match(r'"""\w|# \S|# cython.*\n"""|/\*\s+(?:\* )?\S+ - |// \S+ - ', first), first[:80]
    # in two pieces, so as not to be found here
    assert not re.search(r"(?<![\w.])/" + r"(?:work|home|root|Users|mnt)/", text)


@pytest.mark.parametrize("file", ["README.md", "CHANGELOG.md", "docs", "setup.py", "pyproject.toml", ".ci"])
def test_prose_names_no_machine(file):
    for part in [ROOT / file] if (ROOT / file).is_file() else sorted((ROOT / file).rglob("*")):
        assert not re.search(r"(?<![\w.])/" + r"(?:work|home|root|Users|mnt)/", part.read_text()), part
