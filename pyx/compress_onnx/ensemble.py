"""ensemble - several models of one architecture as one Model, whose results are their means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest

from .model import Model, ModelError, Term, TwoBody


def join(models: Sequence[Model]) -> Model:
    """The ensemble of `models`; of one it is that model. Raises ModelError where they differ in more than weights."""
    first, *others = models
    for other in others:
        _check(first, other)
    if not others:
        return first
    distances = [model.min_distance for model in models if model.min_distance is not None]
    return replace(
        first,
        terms=tuple(term for model in models for term in model.terms),
        ensemble=tuple(model.source for model in models),
        min_distance=max(distances, default=None),
    )


def _check(first: Model, other: Model) -> None:
    if first.kind != "ener":
        raise ModelError(f"{first.source.path}: is a model of kind {first.kind}, and an ensemble is one of energies.")
    for (name, expected), (_, found) in zip_longest(_architecture(first), _architecture(other), fillvalue=("", None)):
        if found != expected:
            raise ModelError(
                f"{other.source.path}: {name} is {_text(found)}, that of {first.source.path} is {_text(expected)}: "
                "models of an ensemble differ in nothing but weights."
            )


def _text(fact) -> str:
    return " ".join(map(str, fact)) if isinstance(fact, tuple) else str(fact)


def _architecture(model: Model) -> Iterator[tuple[str, object]]:
    """What the models of an ensemble have in common, with names for people."""
    yield "its kind", model.kind
    yield "its type map", model.type_map
    yield "its precision", model.precision
    yield "the number of its terms", len(model.terms)
    yield "its spin", None if model.spin is None else tuple(model.spin.tolist())
    yield "whether it has a mask", model.masked
    for term in model.terms:
        yield "the number of its descriptors", len(term.descriptors)
        for descriptor in term.descriptors:
            yield "its descriptor", descriptor.kind
            yield "its cutoff in Å", descriptor.cutoff
            yield "its sel", descriptor.sel
            yield "the number of its channels", descriptor.channels
            yield "its axis", descriptor.axis if isinstance(descriptor, TwoBody) else 0
        yield from _fitted(term)


def _fitted(term: Term) -> Iterator[tuple[str, object]]:
    fitting = term.fitting
    yield "whether it has layers of messages", term.repformer is not None
    yield "whether it has a pair table", term.pair is not None
    yield "the number of its fparam", fitting.fparam.shape[1]
    yield "the number of its aparam", fitting.aparam.shape[1]
    yield "the number of its fitting nets", len(fitting.nets)
    for net in fitting.nets:
        yield "the width of its fitting net", tuple(layer.weight.shape[1] for layer in net.layers)
