"""hdf5 - an attribute and the arrays of an HDF5 file's root group, every address and size checked before use.

What h5py writes by default is read: superblock 0, a symbol table, object headers 1, contiguous data. libhdf5 itself is
not for files that a stranger made: it follows damaged ones round in circles, and others out of the file.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

import numpy as np

from ..model import ModelError

_NOWHERE = (1 << 64) - 1  # the address of what was never stored
_CONTINUATION, _SYMBOLS, _SPACE, _TYPE, _EXTERNAL, _LAYOUT, _FILTERS, _ATTRIBUTE = 16, 17, 1, 3, 7, 8, 11, 12
_FIXED, _FLOAT, _STRING, _OPAQUE, _ENUM, _VARIABLE = 0, 1, 3, 5, 8, 9  # classes of types
_FLOATS = {2: ("<f2", 5), 4: ("<f4", 8), 8: ("<f8", 11)}  # numpy's name and bits of the exponent, by bytes
_LONGEST = 256  # bytes of a name
_MESSAGES = 1000  # of one object
_SHARED = 2  # flag of a message that is somewhere else


class File:
    """Texts and arrays by name; arrays are views of `data`."""

    def __init__(self, data: bytes):
        self._data = data
        version, offsets, lengths, base = self._unpack("B4xBB9xQ", 8)
        if (version, offsets, lengths, base) != (0, 8, 8, 0):
            raise _unreadable(f"superblock {version}")
        (root,) = self._unpack("Q", 64)
        self._root = list(self._messages(root))
        tables = [self._unpack("QQ", at) for kind, at, _ in self._root if kind == _SYMBOLS]
        if len(tables) != 1:
            raise _unreadable("another form of groups")
        self._headers = dict(self._links(*tables[0]))
        self._arrays: dict[str, np.ndarray] = {}

    def text(self, name: str) -> str:
        """The text in an attribute; KeyError where there is none."""
        for kind, at, _ in self._root:
            if kind == _ATTRIBUTE and (value := self._attribute(at, name)) is not None:
                return value
        raise KeyError(name)

    def array(self, name: str) -> np.ndarray:
        """The array called `name`, which may begin with a slash; KeyError where there is none."""
        if name not in self._arrays:
            self._arrays[name] = self._array(name)
        return self._arrays[name]

    def _array(self, name: str) -> np.ndarray:
        places = {kind: (at, size) for kind, at, size in self._messages(self._headers[name.removeprefix("/")])}
        if _EXTERNAL in places or _FILTERS in places:
            raise _unreadable("compressed arrays or such in other files")
        shape = self._shape(places[_SPACE][0])
        dtype = self._dtype(places[_TYPE][0])
        at, _ = places[_LAYOUT]
        version, form = self._unpack("BB", at)
        if version != 3 or form not in (0, 1):
            raise _unreadable("arrays in chunks")
        start, size = (at + 4, self._unpack("H", at + 2)[0]) if form == 0 else self._unpack("QQ", at + 2)
        count = math.prod(shape)
        if count == 0:
            return np.zeros(shape, dtype)
        if start == _NOWHERE or count * dtype.itemsize > size:
            raise ModelError(f"the array {name!r} has no {count} numbers in the file: export the model again")
        return np.frombuffer(self._bytes(start, count * dtype.itemsize), dtype).reshape(shape)

    def _bytes(self, at: int, size: int) -> memoryview:
        if size > len(self._data) - at:
            raise ModelError("is a truncated or damaged HDF5 file: export the model again")
        return memoryview(self._data)[at : at + size]

    def _unpack(self, form: str, at: int) -> tuple:
        return struct.unpack(f"<{form}", self._bytes(at, struct.calcsize(f"<{form}")))

    def _name(self, at: int) -> str:
        """A name that ends with a zero."""
        end = self._data.find(b"\0", at, at + _LONGEST)
        return str(self._bytes(at, max(end - at, 0)), "utf-8", "replace")

    def _messages(self, header: int) -> Iterator[tuple[int, int, int]]:
        """Kind, place and size of each message of an object."""
        version, count, size = self._unpack("BxH4xI", header)
        if version != 1 or count > _MESSAGES:
            raise _unreadable(f"object header {version} of {count} messages")
        blocks = [(header + 16, size)]
        for at, left in blocks:  # grows while it is walked, by no more than `count` messages
            while left >= 8 and count > 0:
                kind, bytes_, flags = self._unpack("HHB", at)
                if flags & _SHARED:
                    raise _unreadable("shared messages")
                if kind == _CONTINUATION:
                    blocks.append(self._unpack("QQ", at + 8))
                elif bytes_ <= left - 8:
                    yield kind, at + 8, bytes_
                at, left, count = at + 8 + bytes_, left - 8 - bytes_, count - 1

    def _links(self, tree: int, heap: int) -> Iterator[tuple[str, int]]:
        """The objects of a group: name, and the address of the header. Links to other places are left out."""
        (names,) = self._unpack("24xQ", heap)
        waiting, seen = [tree], set()
        while waiting:
            at = waiting.pop()
            if at in seen:
                raise ModelError("is a damaged HDF5 file, its directory goes in circles: export the model again")
            seen.add(at)
            kind = bytes(self._bytes(at, 4))
            if kind == b"TREE":
                (count,) = self._unpack("H", at + 6)
                waiting += [self._unpack("Q", at + 32 + 16 * k)[0] for k in range(count)]
            elif kind == b"SNOD":
                (count,) = self._unpack("H", at + 6)
                for k in range(count):
                    name, header, cached = self._unpack("QQI", at + 8 + 40 * k)
                    if cached != 2:  # 2: a symbolic link
                        yield self._name(names + name), header
            else:
                raise ModelError("is a damaged HDF5 file, its directory is broken: export the model again")

    def _attribute(self, at: int, wanted: str) -> str | None:
        """The text in an attribute that has this name."""
        version, *sizes = self._unpack("BxHHH", at)
        if version not in (1, 2, 3):
            raise _unreadable(f"attributes {version}")
        name, kind, space = (-(-size // 8) * 8 if version == 1 else size for size in sizes)
        at += 9 if version == 3 else 8
        if self._name(at) != wanted:
            return None
        group, value = self._unpack("B", at + name)[0] & 15, at + name + kind + space
        if group == _VARIABLE:
            return self._heap_object(*self._unpack("IQI", value)).decode()
        if group == _STRING:
            (size,) = self._unpack("I", at + name + 4)
            return str(self._bytes(value, size), "utf-8").rstrip("\0")
        raise _unreadable(f"no text in {wanted}")

    def _heap_object(self, size: int, heap: int, number: int) -> bytes:
        kind, whole = self._unpack("4s4xQ", heap)
        at, end = heap + 16, heap + whole
        while kind == b"GCOL" and at + 16 <= end:
            index, bytes_ = self._unpack("H6xQ", at)
            if index == number and index > 0:
                return bytes(self._bytes(at + 16, min(size, bytes_)))
            if index == 0:
                break
            at += 16 + -(-bytes_ // 8) * 8
        raise ModelError("is a damaged HDF5 file, a text is missing: export the model again")

    def _shape(self, at: int) -> tuple[int, ...]:
        version, rank = self._unpack("BB", at)
        if version not in (1, 2):
            raise _unreadable(f"dataspace {version}")
        return self._unpack(f"{rank}Q", at + (8 if version == 1 else 4))

    def _dtype(self, at: int) -> np.dtype:
        kind, bits, _, _, size = self._unpack("BBBBI", at)
        group = kind & 15
        if group == _FLOAT and size in _FLOATS:
            _, precision, _, exponent = self._unpack("HHBB", at + 8)
            name, expected = _FLOATS[size]
            if not bits & 1 and precision == 8 * size and exponent == expected:
                return np.dtype(name)
        if group == _FIXED and size in (1, 2, 4, 8) and (size == 1 or not bits & 1):
            return np.dtype(f"<{'i' if bits & 8 else 'u'}{size}")
        if group == _ENUM and size == 1:
            return np.dtype("|b1")  # h5py's form of bool
        if group == _OPAQUE and size == 2:
            return np.dtype("|V2")
        raise _unreadable(f"numbers of type {group} with {size} bytes")


def _unreadable(what: str) -> ModelError:
    return ModelError(
        f"is an HDF5 file with {what}, which DeePMD-kit does not write: convert it with 'dp convert-backend MODEL model.dp'"
    )
