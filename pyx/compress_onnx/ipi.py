"""ipi - a client of i-PI: forces and virials of a compressed model for the positions that come through a socket."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import numpy as np

from . import arguments
from .infer import DeepPot
from .model import ModelError

BOHR = 0.529177210903  # Å, CODATA 2018
HARTREE = 27.211386245988  # eV
HEADER = 12  # bytes of a message's name


def connect(address: str) -> socket.socket:
    """A connection to i-PI at "HOST:PORT", or at the unix socket of that path or, as i-PI names it, /tmp/ipi_NAME."""
    host, colon, port = address.rpartition(":")
    try:
        if colon:
            connection = socket.create_connection((host, int(port)))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # messages are short, and waited for
            return connection
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(address if "/" in address else f"/tmp/ipi_{address}")
        return connection
    except (OSError, ValueError) as error:
        raise ModelError(f"{address}: i-PI does not listen there, so start it first ({error}).") from error


def read_symbols(file: str | Path) -> list[str]:
    """The chemical symbols of an .xyz file."""
    try:
        lines = Path(file).read_text().splitlines()
        count = int(lines[0])
        symbols = [line.split()[0] for line in lines[2 : 2 + count]]
    except OSError as error:
        raise _unreadable(file, error) from error
    except (ValueError, IndexError):
        symbols, count = [], -1
    if len(symbols) != count:
        raise ModelError(
            f"{file}: not an .xyz file, which has the number of atoms, a comment and a line for each atom."
        )
    return symbols


def read_numbers(words: list[str] | None) -> np.ndarray | None:
    """What the words of an option say: numbers, or the .npy file that has them; None where it is not given."""
    if words is None:
        return None
    try:
        if len(words) == 1 and words[0].endswith(".npy"):
            return np.load(words[0])
        return np.array(words, dtype=float)
    except OSError as error:
        raise _unreadable(words[0], error) from error
    except ValueError as error:
        raise ModelError(f"{' '.join(words)}: neither numbers nor one .npy file.") from error


def _unreadable(file: str | Path, error: OSError) -> ModelError:
    return ModelError(f"{file}: cannot be read ({error.strerror or error}); check its name.")


class Client:
    """Serves i-PI until it says EXIT or closes the connection.

    symbols: of the atoms, in the order in which they come. periodic: whether the cell that comes with them counts.
    fparam, aparam, spin: of models that take them, as DeepPot.eval has them, the same at each step.
    """

    def __init__(
        self, potential: DeepPot, symbols: list[str], *, periodic: bool = True, fparam=None, aparam=None, spin=None
    ):
        type_map = potential.get_type_map()
        unknown = sorted(set(symbols) - set(type_map))
        if unknown:
            raise ModelError(f"{potential.model_file}: the model has no types {', '.join(unknown)}.")
        self.potential, self.periodic = potential, periodic
        self.types = [type_map.index(symbol) for symbol in symbols]
        # wrong ones are told before i-PI counts on this client
        arguments.parameters(fparam, "fparam", (1, potential.get_dim_fparam()))
        arguments.parameters(aparam, "aparam", (1, len(symbols), potential.get_dim_aparam()))
        arguments.spins(spin, np.empty((1, len(symbols), 3)), potential.has_spin)
        self._given = {"fparam": fparam, "aparam": aparam, "spin": spin}
        self.steps = 0
        self._result = None

    def serve(self, connection: socket.socket) -> int:
        """How often i-PI asked for forces."""
        replies = {
            "STATUS": self._status,
            "INIT": self._initialize,
            "POSDATA": self._positions,
            "GETFORCE": self._forces,
        }
        with connection.makefile("rwb") as stream:
            while (name := stream.read(HEADER).decode().strip()) not in ("", "EXIT"):
                if name not in replies:
                    raise ValueError(f"i-PI sent {name!r}, which this client does not know")
                replies[name](stream)
                stream.flush()
        return self.steps

    def _status(self, stream) -> None:
        stream.write(b"HAVEDATA".ljust(HEADER) if self._result else b"READY".ljust(HEADER))

    def _initialize(self, stream) -> None:
        _, length = struct.unpack("=ii", _exactly(stream, 8))
        _exactly(stream, length)  # a text for the client, which ours has no use for

    def _positions(self, stream) -> None:
        cell = _numbers(stream, 9).reshape(3, 3).T  # i-PI has its vectors in columns
        _numbers(stream, 9)  # the inverse of the cell
        (count,) = struct.unpack("=i", _exactly(stream, 4))
        positions = _numbers(stream, 3 * count)
        if count != len(self.types):
            raise ValueError(f"i-PI sent {count} atoms, but the file of symbols has {len(self.types)}")
        cells = cell[None] * BOHR if self.periodic else None
        self._result = self.potential.eval(positions[None] * BOHR, cells, self.types, **self._given)
        self.steps += 1

    def _forces(self, stream) -> None:
        if self._result is None:
            raise ValueError("i-PI asked for forces before it sent positions")
        energy, force, virial = self._result[:3]
        self._result = None
        stream.write(b"FORCEREADY".ljust(HEADER) + struct.pack("=di", energy.item() / HARTREE, len(self.types)))
        stream.write((force * (BOHR / HARTREE)).tobytes())
        stream.write((virial.reshape(3, 3).T / HARTREE).tobytes() + struct.pack("=i", 0))  # and no text


def _exactly(stream, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise ValueError("i-PI closed the connection in the middle of a message")
    return data


def _numbers(stream, count: int) -> np.ndarray:
    return np.frombuffer(_exactly(stream, 8 * count))
