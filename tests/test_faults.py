"""test_faults - a process that dies, a full disk, numbers that are none, shared models, forked processes, leaks."""

import multiprocessing
import os
import random
import resource
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny
from compress_onnx import DeepPot, _core, compress, convert, digest, onnxfile, ort
from compress_onnx.model import ModelError

pytestmark = pytest.mark.filterwarnings("ignore:the tables add", "ignore:.*fork.*:DeprecationWarning")
ATOMS = 60
BOX = 9.0 * np.eye(3)
FRAME = np.random.default_rng(0).uniform(0, 9, (1, 3 * ATOMS)), BOX.reshape(1, 9), np.arange(ATOMS) % 2
RUNTIMES = ("native", "onnxruntime")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with the trained model tiny.dp and what becomes of it."""
    folder = tmp_path_factory.mktemp("faults")
    tiny.write_dp(tiny.tree(), folder / "tiny.dp")
    compress(folder / "tiny.dp", folder / "tiny.onnx", step=0.05, check="none")
    return folder


@pytest.fixture(params=RUNTIMES)
def runtime(request) -> str:
    return request.param


def in_child(action, context="fork") -> int | None:
    """The exit code of a process that does `action`, None if it did not end within seconds."""
    process = multiprocessing.get_context(context).Process(target=action)
    process.start()
    process.join(20)
    code = process.exitcode
    process.kill()
    process.join()
    return code


# ---- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [1 << 30, 0], ids=["one file", "external data"])
def test_a_killed_process_leaves_the_old_file_or_the_new_one(folder, tmp_path, threshold):
    convert(folder / "tiny.dp", tmp_path / "first.onnx")
    protos = [onnx.load(file) for file in (folder / "tiny.onnx", tmp_path / "first.onnx")]
    (tmp_path / "first.onnx").unlink()
    onnxfile.write(onnx.load(folder / "tiny.onnx"), tmp_path / "model.onnx", threshold=threshold)
    chance = random.Random(0)
    for _ in range(15):
        child = os.fork()
        if child == 0:
            while True:  # until killed, one model over the other
                for proto in protos:
                    copy = onnx.ModelProto()
                    copy.CopyFrom(proto)
                    onnxfile.write(copy, tmp_path / "model.onnx", threshold=threshold)
        time.sleep(chance.uniform(0.005, 0.06))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        digest.verify(tmp_path / "model.onnx")
        assert ort.session(tmp_path / "model.onnx", library=False)
    assert [file.name for file in tmp_path.rglob("*.onnx") if file.is_file()] == ["model.onnx"]


def test_a_killed_compression_leaves_what_was_there(folder, tmp_path):
    output = tmp_path / "model.onnx"
    output.write_text("precious")
    for delay in (0.05, 0.2, 0.4):
        child = os.fork()
        if child == 0:
            compress(folder / "tiny.dp", output, check="none")
            os._exit(0)
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if output.read_bytes() != b"precious":
            digest.verify(output)
    assert [file.name for file in tmp_path.rglob("*.onnx") if file.is_file()] == ["model.onnx"]


@pytest.mark.parametrize("threshold", [1 << 30, 0], ids=["one file", "external data"])
@pytest.mark.parametrize("room", [0, 1000, 20_000])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(folder, tmp_path, threshold, room):
    output = tmp_path / "model.onnx"
    output.write_text("precious")
    proto = onnx.load(folder / "tiny.onnx")

    def write():
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        with pytest.raises(ModelError, match=r"model.onnx: cannot be written \(.*\); choose an output"):
            onnxfile.write(proto, output, threshold=threshold)

    assert in_child(write) == 0
    assert os.listdir(tmp_path) == ["model.onnx"] and output.read_text() == "precious"


# ---- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_an_error(folder, runtime, place, value):
    frame = [part.copy() for part in FRAME]
    frame[place][0, 4] = value
    with pytest.raises(ValueError, match="not finite"):
        DeepPot(folder / "tiny.onnx", runtime=runtime).eval(*frame)


def test_a_result_that_is_no_number_is_an_error(folder, tmp_path, runtime):
    proto = onnx.load(folder / "tiny.onnx")
    (last,) = (tensor for tensor in proto.graph.initializer if tensor.name == "fit.0.2.weight")
    last.raw_data = np.full(tuple(last.dims), 1.7e308).tobytes()
    onnxfile.write(proto, tmp_path / "huge.onnx")
    with pytest.raises(ValueError, match="no number"):
        DeepPot(tmp_path / "huge.onnx", runtime=runtime).eval(*FRAME)


# ---- threads and processes -----------------------------------------------------------------------


def test_two_threads_share_a_model(folder, runtime):
    potential = DeepPot(folder / "tiny.onnx", runtime=runtime)
    frames = [(FRAME[0] + 0.01 * k, *FRAME[1:]) for k in range(24)]
    expected = [potential.eval(*frame) for frame in frames]
    fresh = DeepPot(folder / "tiny.onnx", runtime=runtime)  # what is made on first use is made by both
    with ThreadPoolExecutor(2) as pool:
        for one, other in zip(expected, pool.map(lambda frame: fresh.eval(*frame), frames), strict=True):
            for a, b in zip(one, other, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_forked_process_goes_on_with_the_model(folder, runtime, threads):
    potential = DeepPot(folder / "tiny.onnx", runtime=runtime, threads=threads)
    energy = potential.eval(*FRAME)[0]

    def evaluate():
        assert potential.eval(*FRAME)[0] == energy

    assert in_child(evaluate) == 0


def evaluate_anew(path, energy):
    assert DeepPot(path, threads=2).eval(*FRAME)[0] == energy


def test_a_spawned_process_loads_the_model(folder):
    energy = DeepPot(folder / "tiny.onnx", threads=2).eval(*FRAME)[0].item()
    process = multiprocessing.get_context("spawn").Process(target=evaluate_anew, args=(folder / "tiny.onnx", energy))
    process.start()
    process.join(60)
    assert process.exitcode == 0


def test_ten_thousand_models_leave_no_memory_behind(folder):
    data = (folder / "tiny.onnx").read_bytes()
    coord, types = FRAME[0][0].reshape(-1, 3)[:4], FRAME[2][:4].astype(np.int32)

    def cycle():
        _core.Workspace(_core.Model(data)).compute(coord, types, BOX)

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    for _ in range(1000):
        cycle()
    before = resident()
    for _ in range(10_000):
        cycle()
    assert resident() - before < 1 << 20  # a leak of 105 bytes a cycle shows
