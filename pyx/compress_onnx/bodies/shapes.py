"""shapes - what is known of a node's result before it runs: its rank, lengths that never change, and small integers.

A shape is a tuple of lengths, None where they depend on the input, or None as a whole where even the rank does. Gradients
need it to see which axes an operator has broadcast. Contents are the known numbers of an integer vector, so that
shapes that are computed from shapes are known as well.
"""

from __future__ import annotations

from collections.abc import Sequence

Shape = tuple["int | None", ...]

_SAME = {"Cast", "CumSum", "ScatterElements", "ScatterND", "Softmax", "TopK"}  # as the first operand


def parse(text: str) -> Shape:
    """The shape that "n slots 4" declares."""
    return tuple(int(word) if word.isdigit() else None for word in text.split())


def infer(kind: str, operands: Sequence, attributes: dict) -> tuple[Shape | None, Shape | None]:
    """Shape and contents of the result of a standard operator; operands have `shape` and `contents`."""
    if kind == "Shape":
        shape = operands[0].shape
        if "start" in attributes:
            length = (None,) if shape is None else shape[attributes["start"] : attributes["end"]]
            return (1,), length
        return (None if shape is None else len(shape),), shape
    if kind == "Concat" and all(operand.contents is not None for operand in operands):
        contents = tuple(number for operand in operands for number in operand.contents)
        return (len(contents),), contents
    if kind in ("NonZero", "Range"):
        return (None,) * (2 if kind == "NonZero" else 1), None
    if kind in ("ConstantOfShape", "Reshape", "Expand"):
        return _reshaped(kind, operands), None
    shapes = [operand.shape for operand in operands]
    if any(shape is None for shape in shapes):
        return None, None
    contents = [operand.contents for operand in operands]
    return _RULES.get(kind, lambda shapes, *_: broadcast(*shapes))(shapes, contents, attributes), None


def broadcast(*shapes: Shape) -> Shape:
    rank = max(map(len, shapes))
    columns = zip(*((1,) * (rank - len(shape)) + shape for shape in shapes), strict=True)
    return tuple(
        next((length for length in column if length not in (1, None)), _one_or_none(column)) for column in columns
    )


def _one_or_none(column: Sequence[int | None]) -> int | None:
    return None if None in column else 1


def _reshaped(kind, operands) -> Shape | None:
    *given, target = operands
    contents = target.contents
    if contents is None:
        rank = target.shape and target.shape[0]
        contents = None if rank is None else (None,) * rank
    if kind == "ConstantOfShape" or contents is None:
        return contents
    before = given[0].shape
    if kind == "Expand":
        return None if before is None else broadcast(before, contents)
    copied = (lambda k: None if before is None else before[k]) if kind == "Reshape" else None
    return tuple(copied(k) if length == 0 else None if length == -1 else length for k, length in enumerate(contents))


def _matmul(shapes, *_):
    a, b = shapes
    if min(len(a), len(b)) < 2:
        return None
    return (*broadcast(a[:-2], b[:-2]), a[-2], b[-1])


def _gemm(shapes, *_):  # with transB
    return shapes[0][0], shapes[1][0]


def _gather(shapes, contents, attributes):
    (data, index), axis = shapes, attributes.get("axis", 0)
    return (*data[:axis], *index, *data[axis + 1 :])


def _gather_rows(shapes, *_):
    return (shapes[1][0], *shapes[0][1:])


def _unsqueeze(shapes, contents, attributes):
    lengths = list(shapes[0])
    for axis in sorted(contents[1]):
        lengths.insert(axis, 1)
    return tuple(lengths)


def _squeeze(shapes, contents, attributes):
    return tuple(length for axis, length in enumerate(shapes[0]) if axis not in contents[1])


def _transpose(shapes, contents, attributes):
    return tuple(shapes[0][k] for k in attributes["perm"])


def _concat(shapes, contents, attributes):
    axis = attributes["axis"]
    lengths = [None if None in column else column[0] for column in zip(*shapes, strict=True)]
    along = [shape[axis] for shape in shapes]
    lengths[axis] = None if None in along else sum(along)
    return tuple(lengths)


def _slice(shapes, contents, attributes):
    start, stop, axes = (numbers and numbers[0] for numbers in contents[1:])
    lengths = list(shapes[0])
    known = None not in (start, stop) and min(start, stop) >= 0
    lengths[axes] = stop - start if known else None
    return tuple(lengths)


def _reduce(shapes, contents, attributes):
    if attributes.get("keepdims"):
        return tuple(1 if axis in contents[1] else length for axis, length in enumerate(shapes[0]))
    return _squeeze(shapes, contents, attributes)


_RULES = {
    **dict.fromkeys(_SAME, lambda shapes, *_: shapes[0]),
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Gather": _gather,
    "GatherElements": lambda shapes, *_: shapes[1],
    "GatherND": _gather_rows,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Concat": _concat,
    "Slice": _slice,
    "Pad": lambda shapes, *_: (None,) * len(shapes[0]),
    **dict.fromkeys(("ReduceSum", "ReduceMax", "ReduceProd"), _reduce),
}
