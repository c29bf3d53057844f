"""Build compress_onnx's native parts; pyproject.toml holds everything else.

Each is an Extension, so that wheels, editable installs and --inplace all carry it:
    _core            Cython, with ccore linked in
    lib/libdpc       ccore alone, for C programs and MD engines
    lib/libdpc_ort   ccore behind onnxruntime's custom-op interface
    lib/libdpc_cuda  what the others load to evaluate on a GPU, made by nvcc; it loads without a driver
Read from the environment: COMPRESS_ONNX_OPENMP and COMPRESS_ONNX_CUDA = auto (default: where it can be
built), on (fail where it cannot) or off; COMPRESS_ONNX_CUDA_ARCHITECTURES = "80 90", in place of all.
"""

import os
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
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
CUDA_HEADERS = [*glob("cuda/*.h"), *glob("cuda/*.cuh"), *glob("ccore/**/*.*", recursive=True)]
INCLUDE = ["ccore/include", "ccore/src"]
# what compress_onnx.lib.sources() finds, to be compiled where LAMMPS, a program or a reader is
CARRIED_FOLDERS = ("ccore", "cuda", "engines")
CARRIED = ["ccore/cflags", *(f for d in CARRIED_FOLDERS for f in glob(f"{d}/**/*.*", recursive=True))]
ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)  # those of them that nvcc has; for later ones PTX of the last
CUDA_FLAGS = ["-std=c++17", "-O3", "-DDPC_STATIC", "-Xcompiler", "-fPIC,-fvisibility=hidden"]
OPENMP_PROBE = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"


class Library(Extension):
    """A plain shared library inside the package, with no suffix and no PyInit."""


class CudaLibrary(Library):
    """The same, compiled by nvcc."""


class Nvcc:
    """NVIDIA's compiler: `command` and `version`; or else `why_not`."""

    def __init__(self):
        home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
        places = [os.path.join(home, "bin")] if home else [None, "/usr/local/cuda/bin"]
        self.command = next(filter(None, (shutil.which("nvcc", path=place) for place in places)), None)
        self.version, self.known = "", []
        self.why_not = f"there is no nvcc in {home or 'PATH'}: let CUDA_HOME be the toolkit's folder"
        if self.command:
            self.version = "".join(re.findall(r"release ([\d.]+)", self.ask("--version")))
            self.known = [int(found) for found in re.findall(r"compute_(\d+)", self.ask("--list-gpu-arch"))]
            self.why_not = f"{self.command} {self.version} knows none of the architectures {self.wanted()}"
        if self.architectures() and not self.compiles():
            self.known, self.why_not = (
                [],
                f"{self.command} {self.version} does not work with the compiler that it finds",
            )

    def ask(self, question):
        return subprocess.run([self.command, question], capture_output=True, text=True, check=False).stdout

    def wanted(self):
        return list(map(int, os.environ.get("COMPRESS_ONNX_CUDA_ARCHITECTURES", "").split())) or list(ARCHITECTURES)

    def compiles(self):
        with tempfile.TemporaryDirectory() as tmp:
            source = Path(tmp, "probe.cu")
            source.write_text("__global__ void probe() {}\n")
            command = [self.command, *CUDA_FLAGS, "-c", source, "-o", Path(tmp, "probe.o")]
            return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def architectures(self):
        return [number for number in self.wanted() if number in self.known]

    def targets(self):
        """The options that say what to generate."""
        numbers = self.architectures()
        code = [(number, f"sm_{number}") for number in numbers] + [(numbers[-1], f"compute_{numbers[-1]}")]
        return [f"-gencode=arch=compute_{number},code={name}" for number, name in code]

    def summary(self):
        first, last = self.architectures()[0], self.architectures()[-1]
        return f"nvcc {self.version} (sm_{first}{f' ... sm_{last}' if last != first else ''})"


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
        nvcc = Nvcc()
        cuda = self.decide("CUDA", nvcc.architectures(), nvcc.why_not)
        others = [ext for ext in self.extensions if not isinstance(ext, CudaLibrary)]
        made = self.extensions if cuda else others
        self.extensions = others
        super().build_extensions()
        self.extensions = made  # what is copied and installed
        for ext in made[len(others) :]:
            self.build_cuda(ext, nvcc)
        print(f"compress_onnx: OpenMP {'yes' if openmp else 'no'}, CUDA {nvcc.summary() if cuda else 'no'}")

    def build_cuda(self, ext, nvcc):
        """Compile each source that has changed, as many at once as there are cores, and link them."""
        target, folder = Path(self.get_ext_fullpath(ext.name)), Path(self.build_temp, "cuda")
        include = [f"-I{path}" for path in ext.include_dirs]
        newest = max(os.path.getmtime(file) for file in ext.depends)
        mine = f"{nvcc.command} {' '.join(nvcc.targets())}"
        folder.mkdir(parents=True, exist_ok=True)
        note = folder / "made_by"
        same = note.exists() and note.read_text() == mine
        note.write_text(mine)

        def compile_one(source):
            made = folder / (Path(source).name + ".o")
            stale = not made.exists() or made.stat().st_mtime < max(newest, os.path.getmtime(source))
            if self.force or not same or stale:
                options = nvcc.targets() if source.endswith(".cu") else []
                standard = CUDA_FLAGS if options else [flag for flag in CUDA_FLAGS if flag != "-std=c++17"]
                self.spawn([nvcc.command, *standard, *include, *options, "-c", source, "-o", str(made)])
            return str(made)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            # the longest first
            objects = list(pool.map(compile_one, sorted(ext.sources, key=os.path.getsize, reverse=True)))
        target.parent.mkdir(parents=True, exist_ok=True)
        self.spawn([nvcc.command, "-shared", "-cudart", "static", *objects, "-o", str(target)])

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
    libraries=["m", "dl"],
    depends=HEADERS,
)
libdpc_ort = Library(
    "compress_onnx.lib.libdpc_ort",
    [*sorted(glob("engines/ort/*.c")), *CCORE],
    include_dirs=[*INCLUDE, "engines/ort"],
    define_macros=[("DPC_STATIC", None)],
    extra_compile_args=list(CFLAGS),
    libraries=["m", "dl"],  # Python has them loaded, a program in C need not
    # onnxruntime unloads the library with the last session, but keeps pointers to its descriptors
    extra_link_args=["-Wl,-z,nodelete"],
    depends=HEADERS,
)
libdpc_cuda = CudaLibrary(
    "compress_onnx.lib.libdpc_cuda",
    ["cuda/core.c", *sorted(glob("cuda/*.cu"))],
    include_dirs=["cuda", *INCLUDE],
    depends=CUDA_HEADERS,
)
setup(
    ext_modules=cythonize([core], include_path=["pyx"], build_dir="build/cython") + [libdpc, libdpc_ort, libdpc_cuda],
    cmdclass={"build_ext": BuildExt, "build_py": BuildPy},
)
