"""test_checkpoints - PyTorch training checkpoints against what DeePMD-kit says and against frozen files; several models in a file."""

import json
import zipfile

import compress_onnx as co
import numpy as np
import pytest
import reference
import tiny
import torchfile
from compress_onnx.cli import main
from compress_onnx.readers import read
from compress_onnx.readers import torch as torch_reader
from conftest import ROOT, SHARED
from test_readers import assert_same, refused

DATA = ROOT / "tests/data/checkpoints"
FROZEN = sorted(SHARED.glob("oracle/*_pt/model.pth"))
REFUSED = {"dpa3_pt", "se_a_bf16_pt"}


@pytest.mark.parametrize(("file", "head"), [("alone", None), ("heads", "water"), ("heads", "ice")])
def test_a_checkpoint_equals_what_the_peer_makes_of_it(file, head):
    model = read(DATA / f"{file}.pt", head)
    assert model.source.format == "pytorch .pt" and model.source.head == (head or "") and model.min_distance == 0.7
    with np.load(DATA / "results.npz") as stored:
        found = reference.evaluate(model, stored["coord"], stored["atype"], stored["cell"])
        for name in ("energy", "force", "atom_energy"):
            expected = stored[f"{file}.{head or 'Default'}.{name}"]
            np.testing.assert_allclose(found[name].ravel(), expected.ravel(), rtol=0, atol=2e-13, err_msg=name)


@pytest.mark.parametrize(
    "file", [file for file in FROZEN if file.parent.name not in REFUSED], ids=lambda f: f.parent.name
)
def test_a_checkpoint_equals_the_frozen_model(tmp_path, file):
    """With the same arrays, by the names that a checkpoint has for them, and the section of the training input."""
    module = torch_reader._Archive(zipfile.ZipFile(file)).load()
    script = module.get("model_def_script")
    section = json.loads(script) if script else json.loads((file.parent / "input.json").read_text())["model"]
    state = torchfile.flattened(module, "model.Default.")
    assert_same(read(torchfile.write_checkpoint(tmp_path / "model.pt", state, section)), read(file))


def test_heads_are_chosen(tmp_path):
    path = DATA / "heads.pt"
    assert "choose one with --head, of water, ice" in refused(path, "several models")
    assert_same(read(path, "second"), read(path, "ice"))  # its alias
    with pytest.raises(co.ModelError, match="no head 'steam': choose one with --head, of water, ice"):
        read(path, "steam")
    with pytest.raises(co.ModelError, match="has one model and no head 'ice'"):
        read(DATA / "alone.pt", "ice")
    with pytest.raises(co.ModelError, match="has one model and no head 'ice'"):
        read(ROOT / "models/alloy_tf.pb", "ice")


@pytest.mark.parametrize("write", [tiny.write_dp, tiny.write_yaml, tiny.write_json])
def test_native_files_of_several_models(tmp_path, write):
    trees = {"one": tiny.tree(0), "two": tiny.tree(1, fitting=tiny.fitting("dos"))}
    heads = {name: tree["model"] for name, tree in trees.items()}
    script = {"model_dict": {"one": {"model_branch_alias": ["first"]}, "two": {}}}
    path = write({**trees["one"], "model": {"model_dict": heads}, "model_def_script": script}, tmp_path / "heads")
    assert "one, two" in refused(path, "several models")
    for head, name in (("first", "one"), ("two", "two")):
        assert_same(read(path, head), read(write(trees[name], tmp_path / name)))


def test_a_head_from_the_command_line(tmp_path, capsys):
    source, output = str(DATA / "heads.pt"), str(tmp_path / "ice.onnx")
    assert main(["-i", source, "-o", output]) == 2
    assert main(["-i", source, "-o", output, "--head", "ice"]) == 0
    assert main(["validate", "-i", source, "-m", output]) == 0  # the file knows what it was made from
    assert main(["validate", "-i", source, "-m", output, "--head", "water"]) == 1
    assert main(["convert", "-i", source, "-o", str(tmp_path / "plain.onnx"), "--head", "ice"]) == 0
    assert_same(read(tmp_path / "plain.onnx"), read(source, "ice"))
    capsys.readouterr()
    assert main(["inspect", source, "--head", "second"]) == 0
    assert ["head", "second"] in [line.split() for line in capsys.readouterr().out.splitlines()]


def test_checkpoints_that_are_not_read(tmp_path):
    refused(torchfile.write_checkpoint(tmp_path / "bare.pt", {"w": np.zeros(3)}, None), "definition", "dp --pt train")
    odd = {"type_map": ["A"], "type": "standard", "bridging_method": "ZBL"}
    arrays = {f"model.Default.atomic_model.{name}": np.ones((1, 1, 1)) for name in ("out_bias", "out_std")}
    refused(torchfile.write_checkpoint(tmp_path / "odd.pt", arrays, odd), "bridging_method")
    refused(
        torchfile.write_checkpoint(tmp_path / "new.pt", arrays, {**odd, "bridging_method": None, "type": "dpa4"}),
        "DPA-4",
    )
    refused(torchfile.write_checkpoint(tmp_path / "part.pt", arrays, {"type_map": ["A"]}), "damaged")
