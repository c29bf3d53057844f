"""The i-PI client: against ASE's server for numbers, against i-PI itself for dynamics, and every way to end."""

import shutil
import socket
import struct
import subprocess
import threading
import time
import uuid
from dataclasses import replace

import compress_onnx as co
import numpy as np
import pytest
from cases import MODELS, frames_of_model
from compress_onnx.cli import main
from compress_onnx.ipi import BOHR, HARTREE, Client, connect


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("ipi") / "water.onnx"
    co.compress(MODELS / "water.pth", path, check="none")
    return path


def frame_of(group):
    return next(frame for frame in frames_of_model(MODELS / "water.pth") if frame.group == group)


def symbols_of(frame, names=("O", "H")):
    return [names[kind] for kind in frame.atype]


def write_xyz(file, frame, comment="", names=("O", "H")):
    lines = [f"{symbol} {x} {y} {z}" for symbol, (x, y, z) in zip(symbols_of(frame, names), frame.coord, strict=True)]
    file.write_text("\n".join([str(len(lines)), comment, *lines]) + "\n")
    return file


@pytest.mark.parametrize("group", ["triclinic", "cluster"])
def test_numbers_through_the_server_of_ase(model, group):
    ase = pytest.importorskip("ase")
    from ase.calculators.socketio import SocketIOCalculator

    frame = frame_of(group)
    periodic = bool(frame.cell.any())
    atoms = ase.Atoms(symbols_of(frame), frame.coord, cell=frame.cell if periodic else np.eye(3) * 50, pbc=periodic)
    name = f"dpc{uuid.uuid4().hex[:8]}"
    client = Client(co.DeepPot(model), symbols_of(frame), periodic=periodic)
    with SocketIOCalculator(unixsocket=name, timeout=20) as calculator:
        thread = threading.Thread(target=lambda: client.serve(connect(name)))
        thread.start()
        atoms.calc = calculator
        for shift in (0.0, 0.3):  # a second step, of the same atoms elsewhere
            atoms.positions = frame.coord + shift
            assert atoms.get_potential_energy() == pytest.approx(frame.energy, abs=1e-6)
            np.testing.assert_allclose(atoms.get_forces(), frame.force, rtol=0, atol=1e-6)
            if periodic:
                virial = -atoms.get_stress(voigt=False) * atoms.get_volume()
                np.testing.assert_allclose(virial, (frame.virial + frame.virial.T) / 2, rtol=0, atol=1e-6)
    thread.join(20)
    assert not thread.is_alive() and client.steps == 2


@pytest.mark.parametrize("name", ["parameters.pth", "spin.pth"])
def test_what_else_a_model_takes(tmp_path, name):
    """The same at each step; what is missing or too much is told before i-PI counts on the client."""
    co.compress(MODELS / name, tmp_path / "model.onnx", check="none")
    frame = next(frame for frame in frames_of_model(MODELS / name) if frame.group == "periodic")
    potential = co.DeepPot(tmp_path / "model.onnx")
    symbols = symbols_of(frame, potential.get_type_map())
    keys = ("fparam", "aparam", "spin")
    given = {key: getattr(frame, key) for key in keys if getattr(frame, key) is not None}
    client = Client(potential, symbols, **given)
    ours, theirs = socket.socketpair()
    cell = frame.cell / BOHR
    message = b"".join(array.tobytes() for array in (cell.T, np.linalg.inv(cell)))
    message += struct.pack("=i", len(symbols)) + (frame.coord / BOHR).tobytes()
    with ours, theirs:
        theirs.sendall(b"POSDATA     " + message + b"GETFORCE    EXIT        ")
        client.serve(ours)
        ours.close()
        reply = theirs.makefile("rb").read()
    assert reply[:12] == b"FORCEREADY  "
    assert struct.unpack("=d", reply[12:20])[0] * HARTREE == pytest.approx(frame.energy, abs=1e-7)
    force = np.frombuffer(reply[24 : 24 + 24 * len(symbols)]).reshape(-1, 3)
    np.testing.assert_allclose(force * HARTREE / BOHR, frame.force, rtol=0, atol=1e-7)
    for key in given:
        with pytest.raises(ValueError, match=f"this model needs {key}"):
            Client(potential, symbols, **{**given, key: None})
        with pytest.raises(ValueError, match=f"{key} must have shape"):
            Client(potential, symbols, **{**given, key: np.ones(7)})


INPUT = """<simulation verbosity='low'>
  <output prefix='run'><properties stride='1' filename='out'> [step, conserved{electronvolt}, potential{electronvolt}] </properties></output>
  <total_steps> 20 </total_steps>
  <prng><seed> 1 </seed></prng>
  <ffsocket name='dpc' pbc='False' SOCKET</ffsocket>
  <system>
    <initialize nbeads='1'>
      <file mode='xyz'> start.xyz </file>
      <velocities mode='thermal' units='kelvin'> 300 </velocities>
    </initialize>
    <forces><force forcefield='dpc'/></forces>
    <motion mode='dynamics'><dynamics mode='nve'><timestep units='femtosecond'> 0.25 </timestep></dynamics></motion>
  </system>
</simulation>
"""


def unix_socket():
    name = f"dpc{uuid.uuid4().hex[:8]}"
    return name, f"mode='unix'><address> {name} </address>"


def tcp_socket():
    with socket.create_server(("127.0.0.1", 0)) as server:  # a port that is free
        port = server.getsockname()[1]
    return f"localhost:{port}", f"mode='inet'><address> localhost </address><port> {port} </port>"


@pytest.mark.parametrize(
    ("name", "symbols", "make"), [("water.pth", "O H", unix_socket), ("parameters.pth", "Cu Au", tcp_socket)]
)
def test_dynamics_of_ipi(tmp_path, name, symbols, make, capsys):
    """The start has the original's energy, and what should stay does."""
    program = shutil.which("i-pi")
    if program is None:
        pytest.skip("i-pi is missing: pip install ipi")
    co.compress(MODELS / name, tmp_path / "model.onnx", check="none")
    frame = next(frame for frame in frames_of_model(MODELS / name) if frame.group == "periodic")
    turn, cell = np.linalg.qr(frame.cell.T)  # i-PI wants the first vector along x, the second in the plane of x and y
    signs = np.sign(np.diag(cell))
    frame = replace(frame, coord=frame.coord @ (turn * signs))
    numbers = " ".join(f"{number:.12f}" for number in np.ravel(cell * signs[:, None]))
    comment = f"# CELL(H): {numbers} cell{{angstrom}} positions{{angstrom}}"
    start = write_xyz(tmp_path / "start.xyz", frame, comment, symbols.split())
    address, given = make()
    arguments = ["ipi", "-m", str(tmp_path / "model.onnx"), "-a", address, "-x", str(start)]
    if frame.aparam is not None:
        np.save(tmp_path / "aparam.npy", frame.aparam)
        arguments += ["--fparam", *map(str, frame.fparam), "--aparam", str(tmp_path / "aparam.npy")]
    (tmp_path / "input.xml").write_text(INPUT.replace("SOCKET", given))
    with subprocess.Popen(
        [program, "input.xml"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as ipi:
        try:
            code = within(20, lambda: main(arguments), capsys)
            assert code == 0 and capsys.readouterr().out == f"{address}: i-PI is done after 21 evaluations\n"
            assert ipi.wait(20) == 0, ipi.stdout.read().decode()
        finally:
            ipi.kill()
    _, conserved, potential = np.loadtxt(tmp_path / "run.out").T
    assert potential[0] == pytest.approx(frame.energy, abs=1e-4)
    assert np.ptp(potential) > 0.05 and np.ptp(conserved) < 0.02 * np.ptp(potential)


def within(seconds, attempt, capsys):
    """The exit code of a command that may come before i-PI listens."""
    end = time.monotonic() + seconds
    while (code := attempt()) and time.monotonic() < end:
        assert "i-PI does not listen there" in capsys.readouterr().err
        time.sleep(0.1)
    return code


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"NONSENSE    ", "'NONSENSE', which this client does not know"),
        (b"GETFORCE    ", "before it sent positions"),
        (b"POSDATA     " + bytes(10), "in the middle of a message"),
        (
            b"POSDATA     " + bytes(144) + struct.pack("=i3d", 1, 0, 0, 0),
            "sent 1 atoms, but the file of symbols has 27",
        ),
        (b"STATUS      INIT        " + struct.pack("=ii", 0, 2) + b"hiEXIT        ", None),
        (b"", None),
    ],
)
def test_messages(model, message, error):
    client = Client(co.DeepPot(model), symbols_of(frame_of("cluster")))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(message)
        theirs.shutdown(socket.SHUT_WR)
        if error:
            with pytest.raises(ValueError, match=error):
                client.serve(ours)
        else:
            assert client.serve(ours) == 0


def test_command(model, tmp_path, capsys):
    """Over TCP, with wrong files and addresses told."""
    file = write_xyz(tmp_path / "a.xyz", frame_of("cluster"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        thread = threading.Thread(target=lambda: server.accept()[0].sendall(b"EXIT        "))
        thread.start()
        assert main(["ipi", "-m", str(model), "-a", address, "-x", str(file)]) == 0
        thread.join()
    assert capsys.readouterr().out == f"{address}: i-PI is done after 0 evaluations\n"
    (tmp_path / "b.xyz").write_text("2\n\nO 0 0 0\n")
    (tmp_path / "c.xyz").write_text("1\n\nXe 0 0 0\n")
    for arguments, error in (
        (["-a", address, "-x", str(file)], "i-PI does not listen there"),
        (["-a", str(tmp_path / "none"), "-x", str(file)], "i-PI does not listen there"),
        (["-a", address, "-x", str(tmp_path / "b.xyz")], "b.xyz: not an .xyz file"),
        (["-a", address, "-x", str(tmp_path / "c.xyz")], "the model has no types Xe"),
        (["-a", address, "-x", str(file), "--fparam", "1"], "fparam is given, but this model takes none"),
        (["-a", address, "-x", str(file), "--aparam", "1", "x"], "1 x: neither numbers nor one .npy file"),
        (["-a", address, "-x", "none.xyz"], "none.xyz: cannot be read (No such file or directory)"),
        (["-a", address, "-x", str(file), "--fparam", "none.npy"], "none.npy: cannot be read (No such file"),
    ):
        assert main(["ipi", "-m", str(model), *arguments]) == 2
        told = capsys.readouterr().err
        assert error in told and told.count("\n") == 1
