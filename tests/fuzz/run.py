"""run - fuzz the loader of libdpc and every reader: python tests/fuzz/run.py [--seconds N] [TARGET...]

Each target begins with the seeds (seeds.py) and stops at the first input that breaks it, which stays in --findings.
c is the loader in C under AddressSanitizer and UndefinedBehaviorSanitizer; the others are readers in Python, which
need atheris (pip install atheris).
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import seeds
from seeds import HERE, TARGETS

ROOT = HERE.parent.parent
# a program begins with the peak of memory of the one that called it: with a shell's in place of ours
APART = ["sh", "-c", '"$@"; exit $?', "sh"]
MEMORY = 1500  # MB that a fuzzer may hold
LONGEST = 100_000  # bytes of an input
SANITIZERS = ["-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=undefined"]


def needs(target: str) -> str | None:
    """What is missing here to fuzz the target."""
    if target == "c":
        return None if shutil.which("clang") else "clang"
    try:
        import atheris  # noqa: F401
    except ImportError:
        return "atheris"
    return None


def build(folder: Path) -> Path:
    """The fuzzer of the loader in C. Unoptimised: what is checked does not depend on it, and it is built in seconds."""
    program = folder / "fuzz_model"
    if program.exists():
        return program
    flags = ["-std=c11", "-O0", "-g", "-w", "-DDPC_STATIC", "-ffp-contract=fast", *SANITIZERS]
    sources = [HERE / "fuzz_model.c", *sorted((ROOT / "ccore/src").glob("*.c"))]
    includes = [f"-I{ROOT}/ccore/include", f"-I{ROOT}/ccore/src"]
    subprocess.run(["clang", *flags, *includes, *sources, "-o", program, "-lm", "-pthread"], check=True)
    return program


def command(target: str, folder: Path) -> list:
    return [build(folder)] if target == "c" else [sys.executable, HERE / "fuzz_readers.py", target]


def replay(target: str, folder: Path) -> subprocess.CompletedProcess:
    """Every seed once; `folder` has them in a folder of the target's name."""
    files = sorted((folder / target).iterdir())
    return subprocess.run([*command(target, folder), *files], check=False, capture_output=True, text=True)


def fuzz(target: str, folder: Path, seconds: int, findings: Path) -> subprocess.CompletedProcess:
    findings.mkdir(parents=True, exist_ok=True)
    found = folder / f"{target}-found"
    found.mkdir()
    options = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-rss_limit_mb={MEMORY}", "-timeout=10"]
    options += [f"-artifact_prefix={findings}/{target}-", f"-dict={HERE / 'words.dict'}", "-print_final_stats=1"]
    if target == "c":
        options.append("-malloc_limit_mb=256")
    parts = [*APART, *command(target, folder), *options, found, folder / target]
    kept_clean = {**os.environ, "TMPDIR": str(folder)}  # a fuzzer does not tidy up
    return subprocess.run(parts, check=False, capture_output=True, text=True, env=kept_clean)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=10, help="for each target (default: 10)")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), help="folder for what breaks a target")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (default: all)")
    given = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seeds.write(folder)
        for target in given.targets or TARGETS:
            if missing := needs(target):
                print(f"{target:5s} skipped: no {missing}")
                continue
            done = fuzz(target, folder, given.seconds, given.findings)
            inputs, *_ = re.findall(r"number_of_executed_units: (\d+)", done.stderr) or ["no"]
            print(f"{target:5s} {inputs:>9s} inputs, {'ok' if done.returncode == 0 else 'FAILED'}", flush=True)
            if done.returncode:
                failed += 1
                print(done.stderr[-4000:])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
