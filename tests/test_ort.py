"""The op library in onnxruntime: kernels against the function bodies, threads, errors."""

import ctypes
from concurrent.futures import ThreadPoolExecutor

import compress_onnx as co
import numpy as np
import onnx
import pytest
import randommodels
from cases import MODELS, frames_of_model
from compress_onnx import _core, ort
from compress_onnx.model import ModelError
from coremodels import VARIANTS, onnx_bytes, parameters, variant

WATER = MODELS / "water_tf.pb"
RESULTS = ["energy", "force", "virial", "atom_energy", "atom_virial"]


@pytest.fixture(scope="module")
def water(tmp_path_factory):
    """{interface: a compressed model's path}"""
    folder = tmp_path_factory.mktemp("ort")
    paths = {interface: folder / f"{interface}.onnx" for interface in ("cell", "pairs")}
    for interface, path in paths.items():
        co.compress(WATER, path, interface=interface)
    return paths


def feed(frame, interface="cell"):
    values = {"coord": frame.coord, "atype": frame.atype, "cell": frame.cell}
    if interface == "pairs":
        pairs = _core.Neighbours().build(frame.coord, frame.cell, 5.0).arrays()  # the cutoff is 4.5
        values |= dict(zip(("pair_first", "pair_index", "pair_shift"), pairs))
    return values


def frame():
    return next(frames_of_model(WATER))


@pytest.mark.parametrize("interface", ["cell", "pairs"])
def test_kernels_equal_the_function_bodies(water, interface):
    kernels, bodies = (ort.session(water[interface], library=library) for library in (True, False))
    names = [output.name for output in kernels.get_outputs()]
    for atoms in frames_of_model(WATER):
        ours, theirs = (dict(zip(names, session.run(names, feed(atoms, interface)))) for session in (kernels, bodies))
        for name in RESULTS:
            scale = np.abs(theirs[name]).max()
            assert np.abs(ours[name] - theirs[name]).max() <= 1e-12 * scale, (atoms.group, name)
        np.testing.assert_array_equal(ours["range"], theirs["range"])
        np.testing.assert_allclose(ours["range_worst"], theirs["range_worst"], rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "plain"])
def test_kernels_equal_the_bodies_of_every_kind(name):
    cell = randommodels.CELLS["triclinic"]
    coord, atype = randommodels.atoms(cell, 9, len(variant(name).type_map))
    atype[4] = -1
    given = {"coord": coord, "atype": atype, "cell": cell, **parameters(name, len(coord))}
    kernels, bodies = (ort.session(onnx_bytes(name), library=library) for library in (True, False))
    for output, ours, theirs in zip(kernels.get_outputs(), kernels.run(None, given), bodies.run(None, given)):
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype, output.name
        scale = max(1, np.abs(theirs).max(initial=0))
        assert np.abs(ours - theirs).max(initial=0) <= 1e-11 * scale, output.name


@pytest.mark.parametrize(
    "change, message",
    [
        ({"aparam": np.zeros((2, 2))}, "EnergyForce: aparam must have shape [9, 2], not [2, 2]"),
        ({"fparam": np.full(1, np.nan)}, "fparam and aparam must be finite"),
    ],
)
def test_bad_parameters(change, message):
    coord, atype = randommodels.atoms(randommodels.CELLS["open"], 9)
    given = {"coord": coord, "atype": atype, "cell": np.zeros((3, 3)), **parameters("hybrid", 9)}
    with pytest.raises(ort.ORT_ERRORS) as raised:
        ort.session(onnx_bytes("hybrid")).run(None, given | change)
    assert message in ort.reason(raised.value)


def test_threads_do_not_change_a_bit(water):
    given = feed(frame())
    one, *others = (ort.session(water["cell"], threads=threads).run(None, given) for threads in (1, 2, 7))
    for other in others:
        assert [a.tobytes() for a in one] == [b.tobytes() for b in other]


def test_one_session_on_several_threads(water):
    """Evaluations of different size share a session: each has scratch of its own."""
    session = ort.session(water["cell"], threads=2)
    frames = list(frames_of_model(WATER))
    expected = [session.run(None, feed(atoms)) for atoms in frames]

    def evaluate(k):
        return [a.tobytes() for a in session.run(None, feed(frames[k % len(frames)]))]

    with ThreadPoolExecutor(20) as pool:  # more than the kernel keeps scratch for
        for k, got in enumerate(pool.map(evaluate, range(100))):
            assert got == [a.tobytes() for a in expected[k % len(frames)]]


def test_many_sessions_come_and_go(water):
    given = feed(frame())
    expected = ort.session(water["cell"]).run(["force"], given)[0]
    for _ in range(20):
        np.testing.assert_array_equal(ort.session(water["cell"]).run(["force"], given)[0], expected)


@pytest.mark.parametrize("library", [True, False], ids=["kernels", "bodies"])
def test_bytes_of_a_small_model(water, library):
    session = ort.session(water["cell"].read_bytes(), library=library)
    assert session.run(["energy"], feed(frame()))[0].shape == (1,)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"atype": np.zeros(3, np.int32)}, "EnergyForce: atype must have shape [N], not [3]"),
        ({"coord": np.full((1, 3), np.nan), "atype": np.zeros(1, np.int32)}, "not finite"),
        ({"cell": np.ones((3, 3))}, "singular"),
    ],
)
def test_bad_input(water, change, message):
    given = feed(frame())
    message = message.replace("N", str(len(given["coord"])))
    with pytest.raises(ort.ORT_ERRORS) as raised:
        ort.session(water["cell"]).run(None, given | change)
    assert message in ort.reason(raised.value)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda pairs: pairs["pair_index"].__setitem__(0, 10**6), "pair"),
        (lambda pairs: pairs["pair_first"].__setitem__(-1, 10**9), "EnergyForce: pair_first ends at 1000000000, but"),
        (lambda pairs: pairs["pair_first"].__setitem__(1, -5), "first"),
        (lambda pairs: pairs.update(pair_first=np.zeros(0, np.int64)), "EnergyForce: pair_first must have 1 to"),
        (lambda pairs: pairs.update(pair_shift=np.zeros((1, 3), np.int32)), "EnergyForce: pair_shift must have shape"),
    ],
)
def test_bad_pairs(water, change, message):
    given = feed(frame(), "pairs")
    change(given)
    with pytest.raises(ort.ORT_ERRORS) as raised:
        ort.session(water["pairs"]).run(None, given)
    assert message in ort.reason(raised.value)


def test_parameters_must_be_initializers(water):
    model = onnx.load(water["cell"])
    (tensor,) = [t for t in model.graph.initializer if t.name == "switch"]
    model.graph.initializer.remove(tensor)
    model.graph.input.append(onnx.helper.make_tensor_value_info("switch", tensor.data_type, tensor.dims))
    with pytest.raises(ModelError, match="is a parameter of the model and must be an initializer"):
        ort.session(model.SerializeToString())


def test_layout_must_be_ours(water):
    model = onnx.load(water["pairs"])
    (node,) = model.graph.node
    node.attribute[0].s = node.attribute[0].s.replace(b"se_e2_a", b"se_e9")
    with pytest.raises(ModelError, match="se_e9"):
        ort.session(model.SerializeToString())


def test_files_that_are_no_model(tmp_path):
    with pytest.raises(ModelError, match="there is no such file"):
        ort.session(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(ModelError, match="not an ONNX model"):
        ort.session(tmp_path / "text.onnx")


def test_old_runtimes_are_refused():
    """RegisterCustomOps, called as onnxruntime 1.17 would."""
    said = []
    create_status = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)(
        lambda code, message: said.append(message.decode()) or 1
    )
    api = (ctypes.c_void_p * 1)(ctypes.cast(create_status, ctypes.c_void_p))
    get_api = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint32)(lambda version: ctypes.addressof(api))
    get_version = ctypes.CFUNCTYPE(ctypes.c_void_p)(lambda: ctypes.cast(b"1.17.3", ctypes.c_void_p).value)
    base = (ctypes.c_void_p * 2)(*(ctypes.cast(slot, ctypes.c_void_p) for slot in (get_api, get_version)))
    register = ctypes.CDLL(ort.ort_library_path()).RegisterCustomOps
    register.restype = ctypes.c_void_p
    assert register(None, base) == 1
    assert said == ["libdpc_ort needs onnxruntime 1.18 or later, this is 1.17.3"]
