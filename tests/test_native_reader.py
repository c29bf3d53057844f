"""test_native_reader - every part of DeePMD-kit's native dictionary as what a Model has for it, or refused."""

import dataclasses

import numpy as np
import pytest
import reference
import tiny
from compress_onnx.model import Layer, Model, Net
from compress_onnx.nets import values
from compress_onnx.readers import electrons, fittings, parts, read
from test_readers import refused

ATYPE = np.array([0, 1, 1, 0, 1, 0])
COORD = np.random.default_rng(2).uniform(0, 3, (6, 3))
ROOMY = {"sel": [8, 8]}  # enough for all of them


def given(tmp_path, tree: dict, *changes: tuple[str, object]) -> Model:
    """The model of a tree with entries changed."""
    for key, value in changes:
        tree = tiny.changed(tree, key, value)
    return read(tiny.write_json(tree, tmp_path / "model.json"))


def results(model: Model, atype=ATYPE, **parameters) -> dict:
    return reference.evaluate(model, COORD, atype, **parameters)


def test_a_native_model_is_read_as_it_is(tmp_path):
    tree = tiny.tree()
    model = read(tiny.write_dp(tree, tmp_path / "model.dp"))
    d, fitting, node = *model.descriptors, model.terms[0].fitting, tree["model"]["descriptor"]
    assert model.type_map == ("A", "B") and model.precision == "float64" and model.min_distance == 0.7
    assert dataclasses.astuple(d.switch) == (0.5, 3.0, 2.5, 0.0)
    assert (d.sel, d.count, d.axis, d.total, d.type_one_side) == (tiny.SEL, 7.0, tiny.AXIS, 7, False)
    np.testing.assert_array_equal(d.net, [[0, 2], [1, 3]])
    np.testing.assert_array_equal(d.pad_net, d.net)
    np.testing.assert_array_equal(d.mean, node["@variables"]["davg"][:, 0])
    assert [layer.residual for layer in d.nets[0].layers] == [2, 0, 2]
    assert [layer.residual for layer in fitting.nets[0].layers] == [0, 1, 0]
    assert d.nets[0].layers[0].idt is not None and d.nets[0].layers[1].idt is None
    bias = tree["model"]["fitting"]["@variables"]["bias_atom_e"] + tree["model"]["@variables"]["out_bias"][0]
    np.testing.assert_array_equal(fitting.bias, bias)
    assert model.training_script == {"model": {"type_map": ["A", "B"]}}
    assert model.source.format == "native .dp" and model.source.version == "3.2.0" and len(model.source.sha256) == 64


def test_one_net_per_neighbour_type(tmp_path):
    model = read(tiny.write_json(tiny.tree(one_side=True), tmp_path / "model.json"))
    np.testing.assert_array_equal(model.descriptors[0].net, [[0, 1], [0, 1]])


def test_padding_of_an_excluded_pair_keeps_its_net(tmp_path):
    tree = tiny.changed(tiny.tree(), "model.descriptor.exclude_types", [[0, 1]])
    (descriptor,) = read(tiny.write_json(tree, tmp_path / "model.json")).descriptors
    np.testing.assert_array_equal(descriptor.net, [[0, -1], [-1, 3]])
    np.testing.assert_array_equal(descriptor.pad_net, [[0, 2], [1, 3]])
    assert descriptor.exclude_types == ((0, 1), (1, 0))


# ---- descriptors -------------------------------------------------------------------------------


def test_excluded_pairs_of_a_radial_descriptor_add_the_net_at_zero(tmp_path):
    (descriptor,) = given(tmp_path, tiny.tree(descriptor=tiny.radial(exclude_types=[[1, 1]]))).descriptors
    assert (descriptor.axis, descriptor.count) == (0, 7 * 5)
    np.testing.assert_array_equal(descriptor.net, [[0, 1], [0, -1]])
    np.testing.assert_array_equal(descriptor.pad_net, [[0, 1], [0, 1]])
    np.testing.assert_array_equal(descriptor.mask_net, [[-1, -1], [-1, 1]])
    assert given(tmp_path, tiny.tree(descriptor=tiny.radial())).descriptors[0].mask_net is None


def test_three_bodies_use_half_of_the_nets(tmp_path):
    tree = tiny.tree(descriptor=tiny.triples(exclude_types=[[0, 1]]))
    (descriptor,) = given(tmp_path, tree).descriptors
    np.testing.assert_array_equal(descriptor.net, [[0, 1], [1, 2]])
    np.testing.assert_allclose(descriptor.weight, [[1 / 9, 1 / 12], [1 / 12, 1 / 16]], rtol=1e-15)
    np.testing.assert_array_equal(descriptor.masked, [[False, True], [True, False]])
    stored = tree["model"]["descriptor"]["embeddings"]["networks"][2]["layers"][0]["@variables"]["w"]
    np.testing.assert_array_equal(descriptor.nets[1].layers[0].weight, stored)


def test_types_are_factors_of_one_net_in_smooth_models(tmp_path):
    (descriptor,) = given(tmp_path, tiny.tree(descriptor=tiny.dpa1(exclude_types=[[0, 0]]))).descriptors
    assert descriptor.shared and descriptor.sel == (7,) and len(descriptor.nets) == 1 and descriptor.gate == "switch"
    np.testing.assert_array_equal(descriptor.net, [[-1, 0], [0, 0]])
    np.testing.assert_array_equal(descriptor.scale[0], 1.0)
    np.testing.assert_array_equal(descriptor.gate_net < 0, [[True, False], [False, False]])
    assert len(descriptor.scale) == 5 and len(set(descriptor.gate_net.ravel())) == 4
    np.testing.assert_array_equal(descriptor.pad_net, [[0], [0]])


def test_one_side_knows_the_neighbour_alone(tmp_path):
    (descriptor,) = given(tmp_path, tiny.tree(descriptor=tiny.dpa1(type_one_side=True))).descriptors
    np.testing.assert_array_equal(descriptor.gate_net[0], descriptor.gate_net[1])
    assert len(descriptor.scale) == 3


def test_types_are_factors_without_a_gate_in_other_models(tmp_path):
    tree = tiny.tree(descriptor=tiny.dpa1(smooth_type_embedding=False))
    message = refused(tiny.write_json(tree, tmp_path / "model.json"), "smooth_type_embedding")
    assert "first atom" in message
    (descriptor,) = given(tmp_path, tree, ("model.descriptor.@variables.davg", np.zeros((2, 7, 4)))).descriptors
    (smooth,) = given(tmp_path, tiny.tree(descriptor=tiny.dpa1())).descriptors
    assert descriptor.gate == "none" and descriptor.gate_net is None and (descriptor.pad_net == -1).all()
    np.testing.assert_array_equal(descriptor.scale[descriptor.net], 1 + smooth.scale[smooth.gate_net])


def test_factors_of_pairs_of_neighbours_are_symmetric(tmp_path):
    (descriptor,) = given(tmp_path, tiny.tree(descriptor=tiny.typed_triples())).descriptors
    np.testing.assert_array_equal(descriptor.gate_net, descriptor.gate_net.T)
    np.testing.assert_allclose(descriptor.weight, np.array([[1, 2], [2, 1]]) / 49, rtol=1e-15)


def test_members_of_a_hybrid_descriptor_share_one_list(tmp_path):
    members = [tiny.angles(), tiny.radial(sel=[2, 4]), tiny.triples(sel=[3, 2])]
    model = given(tmp_path, tiny.tree(descriptor=tiny.hybrid(*members)))
    assert [one.total for one in model.descriptors] == [7, 7, 7]
    model = given(tmp_path, tiny.tree(descriptor=tiny.hybrid(tiny.dpa1(sel=[9]), tiny.angles())))
    assert [one.total for one in model.descriptors] == [9, 9]


@pytest.mark.parametrize(
    ("element", "shells"),
    [("O", "1s2 2s2 2p4"), ("Cr", "4s1 3d5"), ("Pd", "5s0 4d10"), ("Gd", "4f7 5d1"), ("Og", "7s2 6d10 7p6")],
)
def test_electron_configurations(element, shells):
    found = electrons.configuration(element)
    assert {shell: found[shell] for shell in (part[:2] for part in shells.split())} == {
        part[:2]: int(part[2:]) for part in shells.split()
    }
    assert sum(found.values()) == electrons.ELEMENTS.index(element) + 1


def test_the_spins_of_oxygen():
    (row,) = electrons.embedding_inputs(("O",)) * np.sqrt(118)
    np.testing.assert_allclose(row[:11], [1, 1, 1, 1, 1, 1, -1, 1, -1, 1, -1], rtol=1e-15)
    assert row.size == 118 and (row[10:] < 0).all()


def test_electron_configurations_need_elements(tmp_path):
    tree = tiny.changed(tiny.tree(descriptor=tiny.dpa1()), "model.descriptor.type_embedding.use_econf_tebd", True)
    tree = tiny.changed(tree, "model.type_map", ["O", "X"])
    refused(tiny.write_json(tree, tmp_path / "model.json"), "'X'", "elements")


# ---- fitting nets ------------------------------------------------------------------------------


@pytest.mark.parametrize("widths", [(6, 6, 12), (12, 12, 12), (5, 6, 6)])
def test_a_net_whose_inputs_change_their_order(widths):
    """Shortcuts carry the order through the layers."""
    tree = tiny.tree(fitting=tiny.fitting())["model"]["fitting"]["nets"]["networks"][0]
    random = np.random.default_rng(0)
    layers, inputs = [], 6
    for width in (*widths, 2):
        values_ = {
            "w": random.normal(size=(inputs, width)),
            "b": random.normal(size=width),
            "idt": random.normal(size=width),
        }
        layers.append({**tree["layers"][0], "resnet": width != 2, "@variables": values_})
        inputs = width
    net = fittings.trees.net({"layers": layers}, "net")
    order, x = random.permutation(6), random.normal(size=(4, 6))
    expected = values(net, x)
    np.testing.assert_allclose(values(fittings.permuted(net, order), x[:, order]), expected, rtol=0, atol=1e-13)


def test_the_mean_of_two_nets():
    """Side by side, through layers with and without shortcuts."""
    random, nets, x = np.random.default_rng(0), [], np.linspace(-1, 1, 7)[:, None]
    for _ in range(2):
        layers = []
        for inputs, outputs, residual in ((1, 3, 0), (3, 6, 2), (6, 6, 1), (6, 12, 2), (12, 5, 0)):
            idt = random.normal(size=outputs) if residual else None
            bias = random.normal(size=outputs) if outputs != 6 else None
            layers.append(Layer(random.normal(size=(inputs, outputs)), bias, idt, "tanh", residual))
        nets.append(Net(tuple(layers)))
    expected = (values(nets[0], x) + values(nets[1], x)) / 2
    np.testing.assert_allclose(values(parts.averaged(*nets), x), expected, rtol=0, atol=1e-14)


def test_inputs_have_one_order(tmp_path):
    """Features, constants, fparam, aparam; the files have each descriptor's constants after its features, others last."""
    fitting = tiny.fitting(numb_fparam=2, numb_aparam=1, dim_case_embd=3, mixed_types=True)
    tree = tiny.tree(descriptor=tiny.hybrid(tiny.dpa1(), tiny.angles()), fitting=fitting)
    model = given(tmp_path, tree)
    (term,) = model.terms
    assert term.fitting.constant.shape == (2, 6) and term.fitting.fparam.shape == (2, 2)
    np.testing.assert_array_equal(term.fitting.constant[0, 3:], tree["model"]["fitting"]["@variables"]["case_embd"])
    native = tree["model"]["fitting"]["nets"]["networks"][0]["layers"][0]["@variables"]["w"]
    order = [*range(12), *range(15, 27), *range(12, 15), *range(30, 33), *range(27, 30)]
    np.testing.assert_array_equal(term.fitting.nets[0].layers[0].weight, native[order])


def test_atoms_and_fitting_nets_that_are_excluded(tmp_path):
    tree = tiny.tree()
    fitting = given(tmp_path, tree, ("model.fitting.exclude_types", [1])).terms[0].fitting
    np.testing.assert_array_equal(fitting.net, [0, -1])
    np.testing.assert_array_equal(fitting.bias[1], tree["model"]["@variables"]["out_bias"][0, 1])
    fitting = given(tmp_path, tree, ("model.atom_exclude_types", [1])).terms[0].fitting
    np.testing.assert_array_equal(fitting.net, [0, -1])
    assert fitting.bias[1] == 0


def test_excluded_pairs_of_a_model_are_no_neighbours(tmp_path):
    tree = tiny.tree(descriptor=tiny.angles(**ROOMY))
    apart = np.where(ATYPE[:, None] == 0, COORD, COORD + 100)
    found = results(given(tmp_path, tree, ("model.pair_exclude_types", [[0, 1]])))
    expected = reference.evaluate(given(tmp_path, tree), apart, ATYPE)
    np.testing.assert_allclose(found["atom_energy"], expected["atom_energy"], rtol=0, atol=1e-13)


@pytest.mark.parametrize("mixed", [False, True])
def test_atom_ener_subtracts_the_empty_net(tmp_path, mixed):
    tree = tiny.tree(fitting=tiny.fitting(mixed_types=mixed, atom_ener=[None, 3.0]))
    with_vacuum, without = given(tmp_path, tree), given(tmp_path, tree, ("model.fitting.atom_ener", []))
    difference = without.terms[0].fitting.bias - with_vacuum.terms[0].fitting.bias
    net = without.terms[0].fitting.nets[-1]
    at_zero = values(net, np.zeros((1, net.layers[0].weight.shape[0])))[0]
    np.testing.assert_allclose(difference, [at_zero if mixed else [0.0], at_zero], rtol=0, atol=1e-14)
    changes = ("model.fitting.numb_fparam", 1), ("model.fitting.@variables.fparam_avg", np.zeros(1))
    tree = tiny.changed(tiny.changed(tree, *changes[0]), *changes[1])
    tree = tiny.changed(tree, "model.fitting.@variables.fparam_inv_std", np.ones(1))
    refused(tiny.write_json(tree, tmp_path / "model.json"), "fparam")


def test_nets_are_shared_by_types_that_differ_in_nothing(tmp_path):
    for kind, count in (("ener", 1), ("property", 2)):
        fitting = tiny.fitting(kind, mixed_types=True, distinguish_types=True)
        found = given(tmp_path, tiny.tree(fitting=fitting)).terms[0].fitting
        assert len(found.nets) == count and found.net.tolist() == [0, count - 1]


def test_directions_need_descriptors_that_have_them(tmp_path):
    for descriptor in (tiny.radial(), tiny.triples()):
        tree = tiny.tree(descriptor=descriptor, fitting=tiny.fitting("dipole"))
        refused(tiny.write_json(tree, tmp_path / "model.json"), "dipole")


# ---- linear combinations -----------------------------------------------------------------------


@pytest.mark.parametrize(("weights", "factors"), [("mean", (0.5, 0.5)), ("sum", (1, 1)), ([0.25, 1.5], (0.25, 1.5))])
def test_a_linear_combination_is_a_sum(tmp_path, weights, factors):
    trees = tiny.tree(descriptor=tiny.dpa1()), tiny.tree(1, descriptor=tiny.typed_triples())
    combined = results(given(tmp_path, tiny.linear(*trees), ("model.weights", weights)))
    single = [results(given(tmp_path, tree)) for tree in trees]
    bias = np.array([0.1, 0.2])[ATYPE]
    expected = bias + sum(factor * one["atom_energy"] for factor, one in zip(factors, single, strict=True))
    np.testing.assert_allclose(combined["atom_energy"], expected, rtol=0, atol=1e-13)
    force = sum(factor * one["force"] for factor, one in zip(factors, single, strict=True))
    np.testing.assert_allclose(combined["force"], force, rtol=0, atol=1e-13)


@pytest.mark.parametrize("descriptor", [tiny.dpa1(exclude_types=[[0, 0]]), tiny.typed_triples(exclude_types=[[0, 0]])])
def test_models_of_a_combination_have_their_own_type_maps(tmp_path, descriptor):
    tree = tiny.linear(tiny.tree(descriptor=descriptor), weights=[1.0])
    expected = given(tmp_path, tree)
    turned = given(tmp_path, tree, ("model.type_map", ["B", "A"]), ("model.@variables.out_bias", [[[0.2], [0.1]]]))
    assert turned.descriptors[0].exclude_types == ((1, 1),)
    np.testing.assert_allclose(results(turned, 1 - ATYPE)["force"], results(expected)["force"], rtol=0, atol=1e-14)


def test_exclusions_of_a_combination(tmp_path):
    tree = tiny.linear(tiny.tree(descriptor=tiny.dpa1()))
    tree = tiny.changed(tree, "model.weights", "sum")
    model = given(tmp_path, tree, ("model.atom_exclude_types", [1]), ("model.pair_exclude_types", [[0, 0]]))
    assert model.terms[0].fitting.net.tolist() == [0, -1] and model.terms[0].fitting.bias[1] == 0
    np.testing.assert_array_equal(model.descriptors[0].ignored, [[True, False], [False, False]])


def test_combinations_that_do_not_fit(tmp_path):
    tree = tiny.linear(tiny.tree(descriptor=tiny.dpa1()), tiny.tree(fitting=tiny.fitting("dos")))
    refused(tiny.write_json(tree, tmp_path / "model.json"), "energies")
    one = tiny.changed(tree, "model.weights", [1.0])
    refused(tiny.write_json(one, tmp_path / "model.json"), "1 weights for 2 models")


# ---- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("model.type", "pairtab", "model of type 'pairtab'"),
        ("model.@version", 3, "version 3"),
        ("model.type_map", ["A", "A"], "type map"),
        ("model.descriptor.type", "dpa2", "DPA-2 of a version before 3"),
        ("model.descriptor.@version", 9, "version 9"),
        ("model.descriptor.precision", "bfloat16", "bfloat16"),
        ("model.descriptor.spin", {"use_spin": [True]}, "spin"),
        ("model.descriptor.env_mat", {"use_exp_switch": True}, "use_exp_switch"),
        ("model.descriptor.embeddings.networks.0.layers.0.activation_function", "silut:2.5", "'silut:2.5'"),
        ("model.fitting.type", "denoise", "fitting denoise"),
        ("model.fitting.tot_ener_zero", True, "tot_ener_zero"),
        ("model.fitting.use_aparam_as_mask", True, "use_aparam_as_mask"),
    ],
)
def test_parts_that_a_model_has_not(tmp_path, key, value, words):
    refused(tiny.write_json(tiny.changed(tiny.tree(), key, value), tmp_path / "model.json"), words)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("model.descriptor", KeyError, "'descriptor'"),
        ("model.descriptor.rcut", "far", "'far'"),
        ("model.descriptor.rcut", 0.1, "cutoffs"),
        ("model.descriptor.sel", [3, -4], "davg"),
        ("model.descriptor.sel", [3, 5], "davg"),
        ("model.descriptor.axis_neuron", 7, "axis_neuron 7"),
        ("model.descriptor.axis_neuron", 3, "fitting net"),
        ("model.descriptor.type_one_side", True, "type_one_side"),
        ("model.descriptor.@variables.davg", np.arange(56.0).reshape(2, 7, 4), "between the neighbours"),
        ("model.descriptor.@variables.dstd", np.zeros((2, 7, 4)), "zero deviation"),
        ("model.descriptor.embeddings.networks", [], "0 embedding nets"),
        ("model.descriptor.embeddings.networks.0.layers.0.@variables.w", np.full((1, 2), np.nan), "NaN"),
        ("model.descriptor.embeddings.networks.0.layers.0.@variables.b", np.zeros(3), "bias of layer 0"),
        ("model.descriptor.embeddings.networks.1.layers.1.@variables.w", np.zeros((3, 3)), "inputs"),
        ("model.fitting.@variables.bias_atom_e", np.zeros(3), "bias_atom_e"),
    ],
)
def test_numbers_that_do_not_fit(tmp_path, key, value, words):
    refused(tiny.write_json(tiny.changed(tiny.tree(), key, value), tmp_path / "model.json"), words)


@pytest.mark.parametrize(
    ("descriptor", "key", "value", "words"),
    [
        ("dpa1", "attn_layer", 2, "attention"),
        ("dpa1", "tebd_input_mode", "concat", "'concat'"),
        ("dpa1", "lmax", 2, "lmax"),
        ("dpa1", "type_embedding.embedding.layers.0.@variables.w", np.ones((3, 3)), "2 inputs"),
        ("dpa1", "embeddings.ndim", 1, "embedding net"),
        ("radial", "embeddings.ndim", 2, "2 embedding nets for 2 types"),
        ("triples", "@variables.davg", np.ones((2, 7, 4)), "angular"),
        ("triples", "embeddings.networks", [], "each pair"),
        ("typed_triples", "@variables.davg", np.ones((2, 7, 4)), "angular"),
    ],
)
def test_parts_of_other_descriptors(tmp_path, descriptor, key, value, words):
    tree = tiny.tree(descriptor=getattr(tiny, descriptor)())
    refused(tiny.write_json(tiny.changed(tree, f"model.descriptor.{key}", value), tmp_path / "model.json"), words)
