"""Build compress_onnx's native parts; pyproject.toml holds everything else.

Each is an Extension, so that wheels, editable installs and --inplace all carry it:
    _core            Cython, with ccore linked in
    lib/libdpc       ccore alone, for C programs and MD engines
    lib/libdpc_ort   ccore behind onnxruntime's custom-op interface
Read from the environment: COMPRESS_ONNX_OPENMP = auto (default: where it can be built),
on (fail where it cannot) or off.
"""

import os
import tempfile
from glob import glob
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

CFLAGS = [line for line in Path("ccore/cflags").read_text().splitlines() if line.startswith("-")]
CCORE = sorted(glob("ccore/src/*.c"))
HEADERS = [h for d in ("ccore", "engines") for p in ("h", "inc") for h in glob(f"{d}/**/*.{p}", recursive=True)]
INCLUDE = ["ccore/include", "ccore/src"]
# what compress_onnx.lib.sources() finds, to be compiled where LAMMPS, a program or a reader is
CARRIED_FOLDERS = ("ccore", "engines")
CARRIED = ["ccore/cflags", *(f for d in CARRIED_FOLDERS for f in glob(f"{d}/**/*.*", recursive=True))]
OPENMP_PROBE = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"


class Library(Extension):
    """A plain shared library inside the package, with no suffix and no PyInit."""


class BuildPy(build_py):
    def run(self):
        super().run()
        for file in [] if self.editable_mode else CARRIED:
            target = Path(self.build_lib, "compress_onnx/lib/src", file)
            target.parent.mkdir(parents=True, exist_ok=True)
            self.copy_file(file, str(target))


class BuildExt(build_ext):
    def get_ext_filename(self, fullname):
        if fullname.rpartition(".")[2].startswith("lib"):
            return os.path.join(*fullname.split(".")) + ".so"
        return super().get_ext_filename(fullname)

    def get_export_symbols(self, ext):
        return [] if isinstance(ext, Library) else super().get_export_symbols(ext)

    def build_extensions(self):
        openmp = self.decide("OPENMP", self.compiles(OPENMP_PROBE, ["-fopenmp"]), "this compiler has no OpenMP")
        for ext in self.extensions:
            if openmp:
                ext.extra_compile_args.append("-fopenmp")
                ext.extra_link_args.append("-fopenmp")
        super().build_extensions()
        print(f"compress_onnx: OpenMP {'yes' if openmp else 'no'}")

    def decide(self, feature, found, why_not):
        """Whether to build `feature`: the one place where `on` turns absence into failure."""
        want = os.environ.get(f"COMPRESS_ONNX_{feature}", "auto")
        if want not in ("auto", "on", "off"):
            raise SystemExit(f"COMPRESS_ONNX_{feature} must be auto, on or off, not {want!r}")
        if want == "on" and not found:
            raise SystemExit(f"COMPRESS_ONNX_{feature}=on, but {why_not}")
        return want != "off" and bool(found)

    def compiles(self, code, flags):
        with tempfile.TemporaryDirectory() as tmp:
            source = Path(tmp, "probe.c")
            source.write_text(code)
            try:
                objects = self.compiler.compile([str(source)], output_dir=tmp, extra_postargs=flags)
                self.compiler.link_executable(objects, str(Path(tmp, "probe")), extra_postargs=flags)
            except Exception:
                return False
        return True


core = Extension(
    "compress_onnx._core",
    ["pyx/compress_onnx/_core.pyx", *CCORE],
    include_dirs=[*INCLUDE, numpy.get_include()],
    define_macros=[("DPC_STATIC", None), ("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
    extra_compile_args=list(CFLAGS),
    depends=HEADERS,
)
libdpc = Library(
    "compress_onnx.lib.libdpc",
    CCORE,
    include_dirs=INCLUDE,
    extra_compile_args=list(CFLAGS),
    libraries=["m"],
    depends=HEADERS,
)
libdpc_ort = Library(
    "compress_onnx.lib.libdpc_ort",
    [*sorted(glob("engines/ort/*.c")), *CCORE],
    include_dirs=[*INCLUDE, "engines/ort"],
    define_macros=[("DPC_STATIC", None)],
    extra_compile_args=list(CFLAGS),
    libraries=["m"],  # Python has it loaded, a program in C need not
    # onnxruntime unloads the library with the last session, but keeps pointers to its descriptors
    extra_link_args=["-Wl,-z,nodelete"],
    depends=HEADERS,
)
setup(
    ext_modules=cythonize([core], include_path=["pyx"], build_dir="build/cython") + [libdpc, libdpc_ort],
    cmdclass={"build_ext": BuildExt, "build_py": BuildPy},
)
