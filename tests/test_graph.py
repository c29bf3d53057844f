"""test_graph - the function bodies, run by onnxruntime without our library, against the numpy reference."""

import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import randommodels
import reference
from compress_onnx import graph, onnxfile, readers
from compress_onnx.bodies import builder, channels, neighbours, term
from compress_onnx.bodies.gradient import gradient
from compress_onnx.model import ACTIVATIONS, Model, ModelError, ThreeBody
from compress_onnx.tabulate import Grid, Table, make
from onnx import helper
from onnx.reference import ReferenceEvaluator

RESULTS = ("energy", "force", "virial", "atom_energy", "atom_virial")
DIFFERENTIATED = ("ener", "dipole", "polar")
VARIANTS = {
    "plain": {},
    "tensorflow": {"total": 0, "exclude": ((0, 1),)},
    "one side": {"one_side": True},
    "excluded": {"exclude": ((0, 1), (1, 1))},
    "timestep": {"idt": True},
    "no mean": {"mean": 0.0},
    "three types": {"sel": (20, 0, 30)},
    "total first": {"sel": (3, 5), "exclude": ((0, 1),)},
    "by type": {"sel": (3, 4), "total": 0},
}
PAIR = {"exclude": ((0, 1),)}
KINDS = [  # descriptor, options of random_model
    *((kind, {}) for kind in randommodels.DESCRIPTORS),
    *((kind, PAIR | {"mixed": True, "fparam": 1, "aparam": 2}) for kind in randommodels.DESCRIPTORS),
    *((kind, {"ignored": ((0, 1),), "unfitted": (1,)}) for kind in ("se_e2_r", "se_atten_v2", "se_e3")),
    *((kind, {"sel": (3, 4)}) for kind in ("se_e2_r", "se_atten", "se_a_tebd_v2", "se_e3", "se_e3_tebd_smooth")),
    ("se_e2_a+se_e2_r+se_atten_v2", PAIR),
    ("se_e3+se_e2_a", {"activation": "silu"}),
    ("se_atten_v2+se_e3", {"sel": (3, 4), "total": 0}),
    *(("se_e2_a", {"fitting": fitting}) for fitting in randommodels.FITTINGS[1:]),
    *(("se_e2_a+se_atten_v2", {"fitting": fitting, "mixed": True}) for fitting in ("dipole", "polar", "polar_full")),
    ("se_atten_tf", {"fitting": "polar_full", "unfitted": (0,)}),
    ("se_e3", {"fitting": "dos", "fparam": 2}),
    ("se_e2_r", {"fitting": "property_intensive", "aparam": 1}),
]
FINE = Grid("fine", -2.0, 0.01, 600, 0.025, 600)
WIDE = Grid("wide", -12.0, 0.01, 1800, 0.025, 400)  # for products of two environments


def session(proto: onnx.ModelProto, threads: int = 1) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(proto_or_session, **inputs) -> dict[str, np.ndarray]:
    running = session(proto_or_session) if isinstance(proto_or_session, onnx.ModelProto) else proto_or_session
    inputs["atype"] = np.asarray(inputs["atype"], np.int32)
    return dict(zip([output.name for output in running.get_outputs()], running.run(None, inputs), strict=True))


def tables(model: Model, grid: Grid = FINE) -> list[Table]:
    return [
        make(net, WIDE if isinstance(descriptor, ThreeBody) and grid is FINE else grid)
        for descriptor in model.descriptors
        for net in descriptor.nets
    ]


def written(model: Model, kind: str, grid: Grid = FINE, precision: str = "float64", **given) -> onnx.ModelProto:
    if kind == "uncompressed":
        return graph.uncompressed(model, **given)
    return graph.compressed(model, tables(model, grid), precision=precision, **given)


def difference(one: dict, other: dict) -> float:
    """The largest, of all results that both have and that are differentiated where they are derivatives."""
    common = [name for name in one if name in other and not name.startswith("range")]
    compared = [name for name in common if not name.endswith(("force", "virial")) or len(one[name])]
    return max(np.abs(one[name] - other[name]).max(initial=0) for name in compared)


def system(model: Model, count: int, cell: str = "triclinic") -> dict[str, np.ndarray]:
    """Inputs: atoms in a cell, and frame and atom parameters where the model has them."""
    rng, fitting = np.random.default_rng(count), model.terms[0].fitting
    coord, atype = randommodels.atoms(randommodels.CELLS[cell], count, len(model.type_map))
    inputs = {"coord": coord, "atype": atype, "cell": randommodels.CELLS[cell]}
    for name, shape in (("fparam", ()), ("aparam", (count,))):
        if number := getattr(fitting, name).shape[1]:
            inputs[name] = rng.normal(size=(*shape, number))
    return inputs


def call(functions, name: str, inputs: dict[str, np.ndarray], outputs: dict[str, np.dtype]) -> list[np.ndarray]:
    """Run one function of domain dpc."""

    def described(values):
        return [helper.make_tensor_value_info(key, helper.np_dtype_to_tensor_dtype(d), s) for key, d, s in values]

    proto = helper.make_model(
        helper.make_graph(
            [helper.make_node(name, list(inputs), list(outputs), domain=builder.DOMAIN)],
            name,
            described((key, value.dtype, value.shape) for key, value in inputs.items()),
            described((key, dtype, None) for key, dtype in outputs.items()),
        ),
        functions=functions,
        ir_version=graph.IR_VERSION,
        opset_imports=[helper.make_opsetid("", builder.OPSET), helper.make_opsetid(builder.DOMAIN, 1)],
    )
    return session(proto).run(None, inputs)


@pytest.mark.parametrize("cell", randommodels.CELLS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_results_are_those_of_the_reference(variant, cell):
    model = randommodels.model(1, **VARIANTS[variant])
    types = len(model.type_map)
    # images at equal distances may not compete for slots: then which are dropped is arbitrary
    cell = randommodels.CELLS["triclinic" if cell == "small" and sum(model.descriptors[0].sel) < 10 else cell]
    coord, atype = randommodels.atoms(cell, 4 if cell is randommodels.CELLS["small"] else 14, types)
    expected = reference.evaluate(model, coord, atype, cell)
    inputs = {"coord": coord, "atype": atype, "cell": cell}
    assert difference(run(written(model, "uncompressed"), **inputs), expected) < 1e-12
    assert difference(run(written(model, "compressed"), **inputs), expected) < 1e-8
    assert difference(run(written(model, "compressed", precision="mixed"), **inputs), expected) < 1e-3


@pytest.mark.parametrize(("kind", "options"), KINDS, ids=str)
def test_every_kind_is_that_of_the_reference(kind, options):
    model = randommodels.random_model(kind, 12, **options)
    inputs = system(model, 9)
    expected = reference.evaluate(model, **inputs)
    scale = max(np.abs(values).max() for values in expected.values())
    result = run(written(model, "uncompressed"), **inputs)
    assert (model.kind in DIFFERENTIATED) == (len(result["virial"]) > 0)
    assert difference(result, expected) < 1e-13 * max(scale, 10)
    assert difference(run(written(model, "compressed"), **inputs), expected) < 1e-8 * max(scale, 1)
    assert difference(run(written(model, "compressed", precision="mixed"), **inputs), expected) < 1e-4 * max(scale, 1)


def one_and(other: str, **options) -> Model:
    one = randommodels.random_model("se_e2_a", 1, **options)
    return randommodels.linear(one, randommodels.random_model(other, 2, cutoff=3.5, **options))


LINEAR = {
    "alike": one_and("se_e2_a"),
    "different": one_and("se_e3", mixed=True),
    "tensors": one_and("se_atten_v2", fitting="dipole"),
}


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("kind", ["compressed", "uncompressed"])
def test_terms_add_up(name, kind):
    model = LINEAR[name]
    proto, inputs = written(model, kind), system(model, 9)
    onnx.checker.check_model(proto, full_check=True)
    expected = reference.evaluate(model, **inputs)
    outer = [(f.name, f.overload) for f in proto.functions if f.name.startswith(("EnergyForce", "AtomicTensor"))]
    assert len(outer) == (1 if name == "alike" else 2)
    result = run(proto, **inputs)
    assert difference(result, expected) < (1e-7 if kind == "compressed" else 1e-12)
    assert len(result["range"]) == (sum(len(d.nets) for d in model.descriptors) if kind == "compressed" else 0)
    assert difference(run(onnxfile.inline(proto), **inputs), result) < 1e-12
    names = {tensor.name for tensor in proto.graph.initializer}
    assert {"switch", "1/switch"} <= names and "cutoff" in names


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_are_those_of_the_reference(activation):
    model = randommodels.random_model("se_e2_a+se_e3", 2, activation=activation, idt=True)  # inputs from -12 to 12
    inputs = system(model, 9)
    assert difference(run(graph.uncompressed(model), **inputs), reference.evaluate(model, **inputs)) < 1e-12


@pytest.mark.parametrize("kind", ["uncompressed", "within tables", "outside tables"])
@pytest.mark.parametrize("descriptor", ["se_e2_a", "se_atten_tf", "se_e3_tebd_smooth", "se_e2_r+se_e3"])
def test_forces_and_virial_are_derivatives_of_the_energy(descriptor, kind):
    model = randommodels.random_model(descriptor, 3)
    grids = {"within tables": FINE, "outside tables": Grid("short", -0.2, 0.1, 2, 0.2, 2)}
    running = session(written(model, kind, grids.get(kind)))
    cell = randommodels.CELLS["triclinic"]
    coord, atype = randommodels.atoms(cell, 6)
    result = run(running, coord=coord, atype=atype, cell=cell)
    assert (result["range"][:, [0, 3]].sum() > 0) == (kind == "outside tables")

    def slope(coord_change, cell_change, step=1e-3):
        def at(factor):
            h = factor * step
            return run(running, coord=coord + h * coord_change, atype=atype, cell=cell + h * cell_change)["energy"][0]

        return (at(-2) - 8 * at(-1) + 8 * at(1) - at(2)) / (12 * step)

    for atom, axis in ((0, 0), (3, 1), (5, 2)):
        moved = np.zeros_like(coord)
        moved[atom, axis] = 1
        assert -slope(moved, np.zeros((3, 3))) == pytest.approx(result["force"][atom, axis], abs=1e-8)
    for a, b in ((0, 0), (1, 2)):
        strain = np.zeros((3, 3))
        strain[b, a] = 1
        assert -slope(coord @ strain, cell @ strain) == pytest.approx(result["virial"][a, b], abs=1e-8)


def test_values_are_those_of_the_table():
    rng = np.random.default_rng(0)
    grids = Grid("a", -1.0, 0.1, 20, 0.3, 5), Grid("b", 0.0, 0.25, 8, 1.0, 1)
    made = [make(randommodels.net(rng, [1, 2, 4, 7], "tanh", False), grid) for grid in grids]
    x = np.concatenate([rng.uniform(-3, 6, 50), made[0].positions(), made[1].positions(), [-1e6, 1e6]])
    net = rng.integers(-1, 2, x.shape)
    inputs = {
        "x": x[:, None],
        "net": net[:, None],
        "grid": np.array([[t.lower, t.step0, t.step1] for t in made]),
        "rows": np.array([[t.rows0, t.rows1] for t in made]),
        "table": np.concatenate([t.nodes for t in made]),
    }
    body = channels.table_value("TableValue", builder.F64, False)
    (value,) = call([body.proto()], "TableValue", inputs, {"value": builder.F64})
    backward = gradient(body)
    assert list(backward.inputs) == [*inputs, "grad_value"]
    grad = rng.normal(size=value.shape)
    (slope,) = call([backward.proto()], "TableValueGrad", inputs | {"grad_value": grad}, {"x_grad": builder.F64})
    assert not value[net < 0].any() and not slope[net < 0].any()
    for k, table in enumerate(made):
        here, scale = net == k, 1 + np.abs(x[:, None])
        expected, derivative = table.evaluate(x[here])
        assert np.abs((value[here, 0] - expected) / scale[here]).max() < 1e-12
        assert np.abs(slope[here, 0] - (derivative * grad[here, 0]).sum(1)).max() < 1e-12


def test_range_counts_inputs_and_names_the_worst():
    model = randommodels.model(4, exclude=((0, 0),))
    grid = Grid("narrow", 0.4, 0.1, 3, 0.2, 2)
    cell = randommodels.CELLS["triclinic"]
    coord, atype = randommodels.atoms(cell, 12)
    result = run(written(model, "compressed", grid), coord=coord, atype=atype, cell=cell)
    (descriptor,), found = model.descriptors, {k: [] for k in range(4)}
    for i, (j, d) in enumerate(reference.real_neighbours(coord, atype, cell, randommodels.CUTOFF)):
        env, _ = reference.environment(descriptor, atype[i], d)
        for value, kind, distance in zip(env.value[:, 0], atype[j], np.linalg.norm(d, axis=1), strict=True):
            if descriptor.net[atype[i], kind] >= 0:
                found[descriptor.net[atype[i], kind]].append((value, i, distance))
    assert not found[0] and all(found[k] for k in (1, 2, 3))
    edges = [-np.inf, grid.lower, grid.upper, grid.maximum, np.inf]
    for k, inputs in found.items():
        values = np.array([value for value, _, _ in inputs])
        assert result["range"][k].tolist() == np.histogram(values, edges)[0].tolist()
        outside = np.maximum(grid.lower - values, values - grid.maximum)
        worst = inputs[outside.argmax()] if outside.max(initial=0) > 0 else (0, 0, 0)
        assert result["range_worst"][k] == pytest.approx(worst, abs=1e-13)
    assert result["range"][:, 0].any() and result["range"][:, 3].any()


def test_range_of_three_bodies_counts_each_pair_once():
    model = randommodels.random_model("se_e3", 4, **PAIR)
    (descriptor,), inputs = model.descriptors, system(model, 8)
    grid = Grid("narrow", -0.5, 0.2, 3, 0.2, 2)
    result = run(written(model, "compressed", grid), **inputs)
    found = {k: [] for k in range(3)}
    for i, (j, d) in enumerate(reference.real_neighbours(inputs["coord"], inputs["atype"], inputs["cell"], 4.0)):
        kinds = inputs["atype"][j]
        env = reference.environment(descriptor, inputs["atype"][i], d)[0].value[:, 1:]
        r = np.linalg.norm(d, axis=1)
        shown = ~descriptor.masked[inputs["atype"][i], kinds]
        for n, m in zip(*np.triu_indices(len(j)), strict=True):
            if shown[n] and shown[m]:
                found[descriptor.net[kinds[n], kinds[m]]].append((env[n] @ env[m], i, min(r[n], r[m])))
    for k in range(3):
        values = np.array([value for value, _, _ in found[k]] or [0.0])
        edges = [-np.inf, grid.lower, grid.upper, grid.maximum, np.inf]
        assert result["range"][k].tolist() == (np.histogram(values, edges)[0] * bool(found[k])).tolist()
        outside = np.maximum(grid.lower - values, values - grid.maximum)
        worst = found[k][outside.argmax()] if outside.max() > 0 else (0, 0, 0)
        assert result["range_worst"][k] == pytest.approx(worst, abs=1e-12)


def test_pairs_may_be_ghosts_in_any_order_and_beyond_the_cutoff():
    model = randommodels.model(5, sel=(5, 6))
    cell = randommodels.CELLS["triclinic"]
    coord, atype = randommodels.atoms(cell, 10)
    atype[7] = -1
    rng = np.random.default_rng(1)
    index, shift, first = [], [], [0]
    images = np.stack(np.meshgrid(*[range(-3, 4)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    for i in range(10):
        d = coord + (images @ cell)[:, None] - coord[i]
        image, j = np.nonzero(np.linalg.norm(d, axis=2) < randommodels.CUTOFF + 1)
        order = [k for k in rng.permutation(len(j)) if images[image[k]].any() or j[k] != i]
        index += list(j[order])
        shift += list(images[image[order]])
        first.append(len(index))
    pairs = {"pair_first": np.array(first), "pair_index": np.array(index, np.int32)}
    shift = np.array(shift, np.int32)
    proto = written(model, "compressed", interface="pairs")
    expected = run(written(model, "compressed"), coord=coord, atype=atype, cell=cell)
    result = run(proto, coord=coord, atype=atype, cell=cell, pair_shift=shift, **pairs)
    assert difference(result, expected) < 1e-12
    assert expected["atom_energy"][7] == 0 and not expected["force"][7].any()

    # the same images as atoms of their own
    ghosts = coord[index] + shift @ cell
    local = len(coord)
    result = run(
        proto,
        coord=np.vstack([coord, ghosts]),
        atype=np.concatenate([atype, atype[index]]),
        cell=np.zeros((3, 3)),
        pair_first=pairs["pair_first"],
        pair_index=np.arange(local, local + len(ghosts), dtype=np.int32),
        pair_shift=np.zeros_like(shift),
    )
    folded = {name: result[name] for name in ("energy", "virial", "atom_energy")}
    for name in ("force", "atom_virial"):
        folded[name] = result[name][:local].copy()
        np.add.at(folded[name], index, result[name][local:])
    assert difference(folded, expected) < 1e-12


@pytest.mark.parametrize("kind", ["compressed", "uncompressed"])
def test_few_atoms(kind):
    model = randommodels.model(6, sel=(3, 0, 4))
    running = session(written(model, kind))
    far = np.array([[0.0, 0, 0], [9, 0, 0], [0, 9, 0]])
    frames = [
        (np.zeros((0, 3)), []),
        (np.zeros((1, 3)), [2]),
        (np.zeros((1, 3)), [-1]),
        (far, [0, 2, 0]),
        (far / 6, [0, 0, 0]),
        (far / 6, [-1, 2, -1]),
    ]
    for coord, atype in frames:
        for cell in (np.zeros((3, 3)), 30 * np.eye(3)):
            atype = np.array(atype, int)
            result = run(running, coord=coord, atype=atype, cell=cell)
            assert difference(result, reference.evaluate(model, coord, atype, cell)) < 1e-8
            assert result["force"].shape == (len(coord), 3) and result["energy"].shape == (1,)


def test_not_a_number_shows_in_the_results():
    model = randommodels.model(7)
    coord, atype = randommodels.atoms(np.zeros((3, 3)), 4)
    coord[2, 1] = np.nan
    proto = written(model, "compressed")
    assert np.isnan(run(proto, coord=coord, atype=atype, cell=np.zeros((3, 3)))["energy"]).all()


def test_threads_do_not_change_a_bit():
    model = randommodels.model(8)
    coord, atype = randommodels.atoms(np.diag([9.0, 9.5, 10.0]), 150)
    proto = written(model, "compressed")
    inputs = {"coord": coord, "atype": atype, "cell": np.diag([9.0, 9.5, 10.0])}
    one, two = (run(session(proto, threads), **inputs) for threads in (1, 2))
    assert all(np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("cell", [*randommodels.CELLS, "left-handed", "flat"])
def test_neighbor_list_finds_every_image(cell):
    more = {"left-handed": np.diag([5.0, 4.1, -6.0]), "flat": np.diag([1.1, 9.0, 5.0])}
    cell = (randommodels.CELLS | more)[cell]
    coord, atype = randommodels.atoms(cell, 4)
    coord[3] = coord[1] + cell[0]  # coincident atoms are a pair
    inputs = {"coord": coord, "cell": cell, "cutoff": np.array(randommodels.CUTOFF)}
    outputs = {"pair_first": builder.I64, "pair_index": builder.I32, "pair_shift": builder.I32}
    first, index, shift = call([neighbours.neighbor_list().proto()], "NeighborList", inputs, outputs)
    assert first[0] == 0 and first[-1] == len(index) == len(shift)
    with np.errstate(invalid="ignore"):
        expected = reference.real_neighbours(coord, atype, cell, randommodels.CUTOFF)
    for i, (j, d) in enumerate(expected):
        own = slice(first[i], first[i + 1])
        vectors = coord[index[own]] + shift[own] @ cell - coord[i]
        found = {(k, *np.round(v, 9) + 0.0) for k, v in zip(index[own], vectors, strict=True)}
        assert found == {(k, *np.round(v, 9) + 0.0) for k, v in zip(j, d, strict=True)}
        assert len(found) == len(j) == len(vectors)


@pytest.mark.parametrize("interface", ["cell", "pairs"])
@pytest.mark.parametrize("kind", ["compressed", "uncompressed"])
def test_the_file_is_as_documented(kind, interface):
    model = replace(randommodels.model(9, idt=True), min_distance=0.9)
    given = {"interface": interface, "metadata": {"tables": "[]"}}
    proto = written(model, kind, precision="mixed", **given)
    onnx.checker.check_model(proto, full_check=True)
    pairs = ["pair_first", "pair_index", "pair_shift"]
    inputs = ["coord", "atype", "cell"] + (pairs if interface == "pairs" else [])
    assert [value.name for value in proto.graph.input] == inputs
    assert [value.name for value in proto.graph.output] == [*RESULTS, "range", "range_worst"]
    name = "EnergyForce" if kind == "compressed" else "EnergyForceNet"
    assert [node.op_type for node in proto.graph.node] == ["NeighborList"] * (interface == "cell") + [name]
    assert all(function.doc_string for function in proto.functions)

    node = proto.graph.node[-1]
    (layout,) = (json.loads(attribute.s) for attribute in node.attribute if attribute.name == "layout")
    assert (
        list(node.input)
        == ["coord", "atype", "cell", *pairs, "no_fparam", "no_aparam", "no_spin"] + (layout["parameters"])
    )
    assert list(node.output) == [*term.ENERGY, *term.RANGE]
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    assert layout["descriptor"] == ["se_e2_a"] and layout["fitting"] == "ener"
    assert set(tensors) == set(node.input[6:]) | ({"cutoff"} if interface == "cell" else set())
    assert tensors["fit.0.1.weight"].dtype == (np.float32 if kind == "compressed" else np.float64)
    assert tensors["fit.1.3.bias"].tolist() == [0]  # the model has none there
    assert tensors["fit_residual"].tolist() == [[1, 0, 2, 0]] * 2
    assert ("table" in tensors) == (kind == "compressed") != ("embed.3.2.idt" in tensors)

    facts = {prop.key: prop.value for prop in proto.metadata_props}
    assert facts["compress_onnx.kind"] == kind and facts["compress_onnx.interface"] == interface
    assert json.loads(facts["compress_onnx.type_map"]) == ["A", "B"]
    assert facts["compress_onnx.min_distance"] == "0.9" and facts["compress_onnx.tables"] == "[]"


def test_the_names_of_other_kinds_are_as_documented():
    options = {"fitting": "property", "mixed": True, "fparam": 1, "aparam": 2, "ignored": ((0, 0),)}
    model = randommodels.random_model("se_e2_r+se_e3_tebd_smooth", 9, **PAIR, **options)
    proto = written(model, "compressed", interface="pairs")
    assert [value.name for value in proto.graph.input][6:] == ["fparam", "aparam"]
    assert [value.name for value in proto.graph.output][:2] == ["tensor", "atom_tensor"]
    (node,) = proto.graph.node
    assert node.op_type == "AtomicTensor" and list(node.output) == [*term.TENSOR, *term.RANGE]
    assert list(node.input[6:9]) == ["fparam", "aparam", "no_spin"]
    common = ["switch", "sel", "total", "env_mean", "env_std", "net", "ignored", "grid", "rows", "table"]
    both = [f"d{k}.{name}" for k in (0, 1) for name in common]
    both += [f"d0.{name}" for name in ("count", "axis", "pad_net", "pad_env", "mask_net")]
    both += [f"d1.{name}" for name in ("scale", "base", "gate", "gate_net", "gate_smooth", "weight", "masked")]
    rest = ["fit_net", "fit_activation", "fit_residual", "fit_constant"]
    rest += ["fparam_norm", "aparam_norm", "bias", "intensive"]
    weights = [name for name in node.input[9:] if name.startswith("fit.0.")]
    assert sorted(node.input[9:]) == sorted([*both, *rest, *weights])


@pytest.mark.parametrize("kind", ["compressed", "uncompressed"])
@pytest.mark.parametrize(
    ("descriptor", "options"),
    [("se_e2_a", {}), ("se_e2_r+se_e3", {"fparam": 1, "mixed": True}), ("se_atten_tf", {"fitting": "polar_full"})],
)
def test_other_runtimes_agree(descriptor, options, kind):
    model = randommodels.random_model(descriptor, 10, **options)
    proto, inputs = written(model, kind), system(model, 5)
    expected = run(proto, **inputs)
    flat = onnxfile.inline(proto)
    onnx.checker.check_model(flat, full_check=True)
    assert not flat.functions and {node.domain for node in flat.graph.node} == {""}
    assert difference(run(flat, **inputs), expected) < 1e-12
    for form in (proto, flat):
        results = ReferenceEvaluator(form).run(None, inputs)
        assert difference(dict(zip(expected, results, strict=True)), expected) < 1e-12


def test_wrong_arguments():
    model = randommodels.model(11)
    with pytest.raises(ValueError, match="2 tables for 4 embedding nets"):
        graph.compressed(model, tables(model)[:2], precision="float64")
    with pytest.raises(ValueError, match="precision must be one of"):
        graph.compressed(model, tables(model), precision="float16")
    with pytest.raises(ValueError, match="interface must be one of"):
        graph.uncompressed(model, interface="box")
    (energies,) = model.terms
    nets = energies.fitting.nets
    uneven = (nets[0], replace(nets[1], layers=nets[1].layers[1:]))
    uneven = replace(energies, fitting=replace(energies.fitting, nets=uneven))
    with pytest.raises(ModelError, match="fitting nets have different numbers of layers"):
        graph.uncompressed(replace(model, terms=(uneven,)))


@pytest.mark.parametrize(
    "case",
    ["se_a_pt/model.dp", "se_a_tf/model.pb", "se_a_selsmall_pt/model.pth", "se_a_excl_pt/model.dp", "se_a_excl_tf/model.pb",
     "water_se_e2_a_prod_pt/model.dp", "se_r_tf/model.pb", "se_t_pt/model.dp", "dpa1_l0_tf/model.pb", "dpa1_v2_pt/model.dp",
     "hybrid_a_t_tf/model.pb", "linear_tf/model.pb"],
)  # fmt: skip
@pytest.mark.parametrize("group", ["", "_smallbox"])
def test_trained_models_give_what_their_original_gives(shared, case, group):
    file = shared / "oracle" / case
    running = session(graph.uncompressed(readers.read(file)))
    frames, expected = (np.load(file.with_name(f"{name}{group}.npz")) for name in ("frames", "ref"))
    coord = frames["coords"][0].reshape(-1, 3)
    cell = frames["box"][0].reshape(3, 3) if "box" in frames else np.zeros((3, 3))
    result = run(running, coord=coord, atype=frames["atype"], cell=cell)
    for name in RESULTS:
        assert np.abs(result[name].ravel() - expected[name][0].ravel()).max() < 1e-11, name
