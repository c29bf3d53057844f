"""neighbours - body of NeighborList: every pair and image within the cutoff, by a loop over the images."""

from __future__ import annotations

import numpy as np

from .builder import F64, I32, I64, Body, Value

DOC = """All pairs within the cutoff, also with images, for any triclinic cell; a zero cell has no images.
coord [n, 3] and cell [3, 3] in angstrom, cutoff [] ->
pair_first [n + 1], pair_index [pairs], pair_shift [pairs, 3]: full list, ordered by centre."""


def neighbor_list() -> Body:
    b = Body("NeighborList", DOC, {"coord": (F64, "n 3"), "cell": (F64, "3 3"), "cutoff": (F64, "")})
    coord, cutoff = b["coord"], b["cutoff"]
    periodic = b.op("Abs", b["cell"]).max() > 0.0
    # a zero cell becomes the identity before anything is divided; its atoms stay where they are, without images
    lattice = b.where(periodic, b["cell"], np.eye(3)).named("lattice")
    reciprocal = _reciprocal(lattice)
    home = b.where(periodic, b.op("Floor", coord.times_transposed(reciprocal)), 0.0).named("home")
    images = b.where(periodic, b.op("Ceil", reciprocal.norm(1) * cutoff), 0.0).cast(I64).named("images")
    wrapped = coord - home @ lattice
    along = wrapped.transpose(1, 0)
    separation = (along.unsqueeze(1) - along.unsqueeze(2)).named("separation")  # [3, centre, neighbour]

    atoms = coord.size()
    numbers = b.count_up(atoms)
    distinct = ~numbers.unsqueeze(0).equals(numbers.unsqueeze(1))
    widths = images * 2 + 1
    strides = b.concat(widths.take([1]) * widths.take([2]), widths.take([2]), b.shape(1))

    def add_image(iteration: Value, found: Value, image: Value) -> tuple[Value, Value]:
        """found [2, k]: centre and neighbour; image [k, 3]: the cell that the wrapped neighbour is in."""
        here = b.op("Mod", iteration / strides, widths) - images
        moved = separation + (here.cast(F64) @ lattice).reshape(3, 1, 1)
        within = ~((moved * moved).sum(0) >= cutoff * cutoff)  # so that NaN stays, and shows in the results
        elsewhere = b.op("Abs", here).max() > 0
        new = b.op("NonZero", within & (distinct | elsewhere))
        return b.concat(found, new, axis=1), b.concat(image, here.unsqueeze(0).expand(new.size(1), 3))

    trips = b.op("ReduceProd", widths, [0], keepdims=0)
    states = {"found": b.full(0, I64, 2, 0), "image": b.full(0, I64, 0, 3)}
    found, image = b.loop(trips, states, add_image)

    centre, order = b.sort(found.take(np.array(0)), found.size(1), axis=0)
    neighbour = found.take(np.array(1)).take(order)
    home = home.cast(I64)
    shift = image.take(order) + home.take(centre) - home.take(neighbour)
    counts = b.tally(centre, atoms)
    b.concat(b.shape(0), counts.cumsum(0)).named("pair_first")
    neighbour.cast(I32).named("pair_index")
    shift.cast(I32).named("pair_shift")
    return b.returns("pair_first", "pair_index", "pair_shift")


def _reciprocal(lattice: Value) -> Value:
    """Rows whose products with the lattice's rows are 1 and 0; their lengths are one over the cell's heights."""
    following, last = lattice.take([1, 2, 0]), lattice.take([2, 0, 1])
    cross = following.take([1, 2, 0], axis=1) * last.take([2, 0, 1], axis=1)
    cross = cross - following.take([2, 0, 1], axis=1) * last.take([1, 2, 0], axis=1)
    volume = (lattice.take([0]) * cross.take([0])).sum(0, 1)
    return (cross / volume).named("reciprocal")
