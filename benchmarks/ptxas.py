"""What nvcc makes of each kernel of cuda/ for one architecture: registers, spills, and the occupancy that they allow.

python benchmarks/ptxas.py [--architecture 90]     a markdown table, as in docs/cuda.md; needs nvcc, no GPU
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLAGS = [
    "-std=c++17",
    "-O3",
    "-DDPC_STATIC",
    "-Xptxas",
    "-v",
    *(f"-I{ROOT / d}" for d in ("cuda", "ccore/include", "ccore/src")),
]
REGISTERS, THREADS_OF_BLOCK, MOST_THREADS = 65536, 128, 2048  # of a multiprocessor; blocks are of four warps


@dataclass(frozen=True)
class Kernel:
    file: str
    name: str  # with its types
    registers: int
    spilled: int  # bytes of stores and loads
    stack: int  # bytes

    @property
    def occupancy(self) -> float:
        """Warps that the registers let a multiprocessor hold, of those that it can."""
        blocks = REGISTERS // (-(-self.registers // 8) * 8 * THREADS_OF_BLOCK)
        return min(1.0, blocks * THREADS_OF_BLOCK / MOST_THREADS)


def kernels(architecture: int) -> list[Kernel]:
    """All of them, file by file."""
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
    if nvcc is None:
        sys.exit("nvcc is not on the PATH: what it says of the kernels is skipped")
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:

        def compile_one(source: Path) -> list[Kernel]:
            command = [nvcc, *FLAGS, f"-arch=sm_{architecture}", "-c", source, "-o", Path(folder, f"{source.name}.o")]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr)
            return list(parse(source.name, done.stdout + done.stderr))

        return [kernel for found in pool.map(compile_one, sorted((ROOT / "cuda").glob("*.cu"))) for kernel in found]


def parse(file: str, text: str) -> Iterator[Kernel]:
    """What `ptxas -v` prints."""
    pattern = (
        r"entry function '(\w+)' for.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
        r".*?Used (\d+) registers"
    )
    for name, stack, stores, loads, registers in re.findall(pattern, text, flags=re.DOTALL):
        yield Kernel(file, demangled(name), int(registers), int(stores) + int(loads), int(stack))


def demangled(name: str) -> str:
    """dpc::(anonymous namespace)::kernel<double, 4>(...) -> kernel<double, 4>"""
    text = subprocess.run(["c++filt", name], capture_output=True, text=True, check=True).stdout.strip()
    found = re.search(
        r"(\w+(?:<[^()]*>)?)\(", re.sub(r"\(anonymous namespace\)::|dpc::|\((?:int|bool|dpc_\w+)\)", "", text)
    )
    return found[1] if found else text


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--architecture", type=int, default=90)
    found = kernels(parser.parse_args().architecture)
    print("| file | kernel | registers | spilled, bytes | stack, bytes | occupancy |", "|---" * 6 + "|", sep="\n")
    for kernel in found:
        cells = (kernel.file, f"`{kernel.name}`", kernel.registers, kernel.spilled, kernel.stack)
        print("|", " | ".join(map(str, cells)), f"| {100 * kernel.occupancy:.0f} % |")
    spilling = [kernel.name for kernel in found if kernel.spilled]
    print(f"\n{len(found)} kernels, {len(spilling)} with spills{': ' if spilling else ''}{', '.join(spilling)}")


if __name__ == "__main__":
    main()
