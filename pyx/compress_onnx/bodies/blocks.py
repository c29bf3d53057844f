"""blocks - a function of pairs of slots, repeated over blocks of atoms, because each atom has as many as slots squared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .builder import Body, Kinds, Value
from .gradient import gradient

PAIRS = 1 << 16  # of slots, that are looked at together


def in_blocks(name: str, at_once: Body, rows: Sequence[str], nothing: Callable[[Body], Value]) -> Body:
    """`at_once` and its backward, both `repeated`.

    nothing(body): the one output of no atoms.
    """
    (output,) = at_once.outputs
    b = repeated(name, at_once, rows, nothing)
    b.backward = repeated(f"{name}Grad", gradient(at_once), [*rows, f"grad_{output}"], nothing)
    return b


def repeated(name: str, callee: Body, rows: Sequence[str], nothing: Callable[[Body], Value]) -> Body:
    """`callee` on some atoms at a time: rows of its inputs `rows`, of which the first has a second axis of slots."""
    inputs: Kinds = {key: (value.dtype, value.shape) for key, value in callee.inputs.items()}
    b = Body(name, callee.doc, inputs, callee.differentiable)
    total, slots = b[rows[0]].size(0), b[rows[0]].size(1)
    size = b.op("Max", b.shape(PAIRS) / (slots * slots + 1), 1)

    def step(iteration: Value, **states: Value) -> list[Value]:
        start = iteration.reshape(1) * size
        stop = b.op("Min", start + size, total)
        given = {key: value.part(start, stop) if key in rows else value for key, value in b.inputs.items()}
        results = b.call(callee, **given)
        results = results if isinstance(results, tuple) else (results,)
        return [b.concat(state, result) for state, result in zip(states.values(), results, strict=True)]

    def blank(output: str) -> Value:
        given = output.removesuffix("_grad")
        return b.zeros_as(b[given].part(0, 0)) if given in b.inputs else nothing(b)

    states = {output: blank(output) for output in callee.outputs}
    trips = ((total + size - 1) / size).squeeze(0)
    for output, result in zip(callee.outputs, b.loop(trips, states, step), strict=True):
        b.op("Identity", result).named(output)
        b.values[output].shape = callee.outputs[output].shape
    return b.returns(*callee.outputs)
