"""test_support - docs/support.md is what the files at hand prove, and what it says is refused is refused so."""

import io
import pickle
import zipfile

import pytest
import support
import tiny
from compress_onnx.readers import graphdef
from compress_onnx.readers.refusals import REFUSED
from conftest import ROOT, SHARED
from test_readers import refused

REMEDY = "run 'python tests/support.py'"


@pytest.fixture(scope="module")
def proofs():
    return list(support.proofs())


def test_the_document_has_what_this_repository_proves(proofs):
    table = {}
    for line in support.DOCUMENT.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" |")]
        if len(cells) == 4 + len(support.COLUMNS):
            table[tuple(cells[:4])] = dict(zip(support.COLUMNS, cells[4:], strict=True))
    for proof in proofs:
        assert proof.shared or table[proof.row][proof.column], REMEDY


def test_the_document_is_what_the_script_writes(proofs, shared):
    if not any(SHARED.glob("oracle/*")):
        pytest.skip(f"{SHARED} has no models, which the document names")
    assert support.DOCUMENT.read_text() == support.document(proofs), REMEDY


def native(key: str, value: object, descriptor: dict | None = None):
    """A file of the tests' small model with an entry changed."""

    def write(path):
        tiny.write_json(tiny.changed(tiny.tree(descriptor=descriptor), f"model.descriptor.{key}", value), path)

    return write


def graph(name: str, operation: str):
    """A TensorFlow graph with one node more."""

    def write(path):
        proto = graphdef.parse((ROOT / "models/alloy_tf.pb").read_bytes())
        proto.node.add(name=name, op=operation)
        path.write_bytes(proto.SerializeToString())

    return write


def content(data: bytes):
    return lambda path: path.write_bytes(data)


def directory(inside: str):
    def write(path):
        path.mkdir()
        (path / inside).write_bytes(b"")

    return write


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("model/extra/model.json", "{}")
    return file.getvalue()


MASKED = {"attention_layers": [{"attention_layer": {"do_mask": True}}]}
FILES = {
    "dpa3": native("type", "dpa3"),
    "dpa4": native("type", "SeZM"),
    "loc_frame": graph("Descrpt", "Descrpt"),
    "se_a_ef": graph("DescrptSeAEf", "DescrptSeAEf"),
    "attn_mask": native("attn_layer", 1, tiny.dpa1(attention_layers=MASKED)),
    "lmax": native("lmax", 2, tiny.dpa1()),
    "old_dpa2": native("type", "dpa2"),
    "first_atom": native("smooth_type_embedding", False, tiny.dpa1()),
    "bfloat16": native("precision", "bfloat16"),
    "float16": native("precision", "half"),
    "modifier": graph("modifier_attr/type", "Const"),
    "pair_table": graph("SoftMinSwitch", "SoftMinSwitch"),
    "pairwise_dprc": graph("DprcPairwiseIdx", "DprcPairwiseIdx"),
    "pt2": content(archive()),
    "paddle": content(b'{"base_code":{"magic":"pir"}}'),
    "saved_model": directory("saved_model.pb"),
    "orbax": directory("_METADATA"),
    "old_checkpoint": content(pickle.dumps(1 << 80, protocol=2)),
    "tf_checkpoint": content(b'model_checkpoint_path: "model.ckpt-10"\n'),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(tmp_path, name):
    path = tmp_path / "model"
    FILES[name](path)
    assert refused(path) == f"{path}: {REFUSED[name]}"
    assert f"{REFUSED[name].remedy}." in support.DOCUMENT.read_text()
