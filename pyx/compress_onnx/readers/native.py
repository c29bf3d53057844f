"""native - DeePMD-kit's own dictionary of a model, from .dp (HDF5), .yaml and .json, as a Model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..model import Descriptor, Model, ModelError, Repformer, Source, Term
from . import hdf5, parts, trees
from .descriptors import read_descriptor
from .dpa2 import read_dpa2
from .fittings import read_fitting, weighted
from .pairs import read_mixture

_EXPANSION = 4  # values, at most, per byte of a YAML file, which may have aliases
_DEEPEST = 64  # levels of values in a YAML file

# arrays of a descriptor that have a row for each type, and those that have a column too
_BY_TYPE = ("mean", "std", "pad_net", "pad_env", "shift")
_BY_PAIR = ("net", "gate_net", "ignored", "mask_net", "weight", "masked")


def read_hdf5(path: str, data: bytes, head: str | None) -> Model:
    try:
        file = hdf5.File(data)
        tree = _with_arrays(json.loads(file.text("json")), file.array)
    except KeyError as error:
        raise ModelError(f"is an HDF5 file without a model ({error.args[0]}): give a .dp file") from None
    return _file_model(tree, path, data, "native .dp", head)


def read_json(path: str, data: bytes, head: str | None) -> Model:
    try:
        tree = json.loads(data)
    except ValueError as error:
        raise ModelError(f"is no model, or truncated JSON ({error}): export the model again") from None
    return _file_model(_with_arrays(tree, _not_a_dataset), path, data, "native .json", head)


def read_yaml(path: str, data: bytes, head: str | None) -> Model:
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        """Without numbers to the base of 60, whose value takes time that grows with the square of their length."""

    Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(loader.construct_scalar(node)))
    try:
        _check_events(yaml, yaml.parse(data, Loader=Loader), _EXPANSION * len(data))
        tree = yaml.load(data, Loader=Loader)
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"is no model, or truncated YAML ({reason}): export the model again") from None
    return _file_model(_with_arrays(tree, _not_a_dataset), path, data, "native .yaml", head)


def _check_events(yaml, events, most: int) -> None:
    """Refuse what a loader cannot bear: deep nesting, merged keys, aliases that stand for more than `most` values."""
    sizes: dict[str, int] = {}  # of what an anchor names
    open_nodes: list[tuple[str | None, int]] = []  # anchors, and the values before them
    total = 0
    for event in events:
        total += 1
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, total))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor is not None:
                sizes[anchor] = total - before
        elif isinstance(event, yaml.AliasEvent):
            total += sizes.get(event.anchor, 0)
        if total > most or len(open_nodes) > _DEEPEST or getattr(event, "value", None) == "<<":
            raise ModelError("has nested values or aliases that no model has: the file is damaged or hostile")


def _not_a_dataset(name: str):
    raise ModelError(f"the array {name!r} is not in the file: export the model again")


def _with_arrays(tree: object, dataset: Callable[[str], object], in_variables: bool = False) -> object:
    """`tree` with arrays in place of the names of datasets and of the mappings that describe one."""
    if isinstance(tree, dict):
        if tree.get("@class") == "np.ndarray":
            dtype = str(tree["dtype"])
            if dtype not in ("float64", "float32", "float16", "int64", "int32", "bool"):
                raise parts.unsupported(f"an array of type {dtype}")
            return np.array(tree["value"], dtype=dtype)
        return {key: _with_arrays(value, dataset, in_variables or key == "@variables") for key, value in tree.items()}
    if isinstance(tree, list):
        return [_with_arrays(value, dataset, in_variables) for value in tree]
    return dataset(tree) if in_variables and isinstance(tree, str) else tree


def _file_model(tree: object, path: str, data: bytes, file_format: str, head: str | None) -> Model:
    if not isinstance(tree, dict) or not isinstance(tree.get("model"), dict):
        raise ModelError("is not a Deep Potential: give a .pb, .pth, .dp or .yaml file of a trained model")
    places = (tree, tree.get("constants") or {}, tree.get("@variables") or {})
    distances = [place["min_nbor_dist"] for place in places if place.get("min_nbor_dist") is not None]
    script = tree.get("model_def_script")
    script = json.loads(script) if isinstance(script, str) and script else script
    model, scripts = tree["model"], (script or {}).get("model_dict", {})
    name = parts.choose_head(
        model.get("model_dict"), head, lambda name: scripts.get(name, {}).get("model_branch_alias") or []
    )
    return dict_model(
        model if name is None else model["model_dict"][name],
        parts.source(path, data, file_format, str(tree.get("version", ""))),
        float(distances[0]) if distances else None,
        script if name is None else scripts.get(name),
    )


def dict_model(tree: dict, source: Source, min_distance: float | None, script: dict | None) -> Model:
    """A Model from the native dictionary of one, with arrays in its "@variables".

    `script` is the model section of the training input; a negative `min_distance` means unknown.
    """
    spin = None
    if tree["type"] == "spin_ener":
        spin = _virtual_scale(tree["spin"])
        tree = tree["backbone_model"]
    type_map = tuple(str(name) for name in tree["type_map"])
    terms = _terms(tree, type_map)
    if spin is not None and any(term.repformer is not None or term.pair is not None for term in terms):
        raise parts.unsupported("spin of a model with repformers or a pair table")
    return Model(
        type_map=type_map if spin is None else type_map[: len(spin)],
        terms=terms,
        source=source,
        min_distance=min_distance if min_distance is not None and min_distance > 0 else None,
        training_script={"model": script} if script else None,
        spin=spin,
    )


def _virtual_scale(tree: dict) -> np.ndarray:
    """[nt] Å, how far from its atom a virtual one is for each unit of spin; 0 for types without spin."""
    used = np.array(tree["use_spin"], dtype=bool)
    given, scale = np.atleast_1d(tree["virtual_scale"]), np.zeros(len(used))
    scale[used] = given[used] if len(given) == len(used) else given
    return parts.array(scale, "virtual_scale")


def _terms(tree: dict, type_map: tuple[str, ...]) -> tuple[Term, ...]:
    """What the energy of a model is the sum of, for the types of `type_map`."""
    parts.check_types(len(tree["type_map"]))
    kind = tree["type"]
    if kind == "standard":
        trees.version(tree, "model", 2)
        terms = (_standard(tree, tuple(tree["type_map"])),)
    elif kind == "linear":
        trees.version(tree, "model", 3)
        terms = _linear(tree, type_map)
    elif kind == "zbl":
        (term,) = _terms(tree["models"][0], type_map)
        terms = (_without_pairs(read_mixture(tree, term), tree.get("pair_exclude_types")),)
    else:
        raise parts.unsupported(f"a model of type {kind!r}")
    if tuple(tree["type_map"]) != type_map:
        index = [list(tree["type_map"]).index(name) for name in type_map]
        terms = tuple(_remapped(term, index) for term in terms)
    return terms


def _standard(tree: dict, type_map: tuple[str, ...]) -> Term:
    repformer = None
    if tree["descriptor"]["type"] == "dpa2":
        descriptors, last = read_dpa2(tree["descriptor"], type_map)
        members, repformer = [last], last.descriptor
    else:
        members = read_descriptor(tree["descriptor"], type_map)
        descriptors = tuple(member.descriptor for member in members)
    excluded = list(tree.get("atom_exclude_types") or ())
    fitting = read_fitting(tree["fitting"], tree["@variables"], members, excluded)
    term = Term(descriptors=descriptors, fitting=fitting, repformer=repformer)
    return _without_pairs(term, tree.get("pair_exclude_types"))


def _linear(tree: dict, type_map: tuple[str, ...]) -> tuple[Term, ...]:
    """Each model times its weight; the first has the bias that the whole adds."""
    count = len(tree["models"])
    weights = tree.get("weights", "mean")
    if isinstance(weights, str):
        weights = [{"mean": 1 / count, "sum": 1.0}[weights]] * count
    if len(weights) != count:
        raise ModelError(f"there are {len(weights)} weights for {count} models: the file is damaged")
    types, terms = len(type_map), []
    bias = parts.array(tree["@variables"]["out_bias"], "out_bias", (types, 1))
    excluded = list(tree.get("atom_exclude_types") or ())
    for part, weight in zip(tree["models"], weights, strict=True):
        for term in _terms(part, type_map):
            fitting = weighted(term.fitting, float(weight))
            fitting = replace(fitting, net=fitting.net.copy(), bias=fitting.bias + (0.0 if terms else bias))
            fitting.net[excluded] = -1
            fitting.bias[excluded] = 0.0
            terms.append(_without_pairs(replace(term, fitting=fitting), tree.get("pair_exclude_types")))
    return tuple(terms)


def _without_pairs(term: Term, pairs: list | None) -> Term:
    """`term` without neighbours of these pairs of types."""
    if not pairs:
        return term
    hidden = trees.excluded_pairs(pairs, len(term.fitting.net))
    return _changed(term, lambda part: replace(part, ignored=hidden if part.ignored is None else hidden | part.ignored))


def _changed(term: Term, change: Callable) -> Term:
    """`term` after `change` of its descriptors, its repformer and its pair table."""
    descriptors = tuple(map(change, term.descriptors))
    return replace(
        term,
        descriptors=descriptors,
        repformer=term.repformer and change(term.repformer),
        pair=term.pair and change(term.pair),
    )


def _remapped(term: Term, index: list[int]) -> Term:
    """`term` for types of which number k was number index[k]."""
    fitting = term.fitting
    fitting = replace(fitting, **{name: getattr(fitting, name)[index] for name in ("net", "bias", "constant")})
    return _changed(replace(term, fitting=fitting), lambda part: _remapped_part(part, index))


def _remapped_part(part: Descriptor | Repformer, index: list[int]) -> Descriptor | Repformer:
    changes = {name: getattr(part, name)[index] for name in _BY_TYPE if hasattr(part, name)}
    for name in _BY_PAIR:
        if getattr(part, name, None) is not None:
            changes[name] = getattr(part, name)[np.ix_(index, index)]
    if isinstance(part, Descriptor):
        if not part.shared:
            raise parts.unsupported("a linear combination of models with sel by type and different type maps")
        known = {old: new for new, old in enumerate(index)}
        pairs = [pair for pair in part.exclude_types if known.keys() >= set(pair)]
        changes["exclude_types"] = tuple((known[a], known[b]) for a, b in pairs)
    return replace(part, **changes)
