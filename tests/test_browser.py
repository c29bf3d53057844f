"""test_browser - examples/browser in a real Chromium: every model of models/ by onnxruntime-web, and the page itself."""

import json
import queue
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import chromium
import compress_onnx as co
import numpy as np
import onnx
import pytest
import randommodels
from cases import MODELS, Case, Frame, models
from compress_onnx import graph, onnxfile, ort
from compress_onnx.engine import open_engine
from conftest import ROOT
from forms import FORMS, check_elsewhere, write_forms

EXAMPLE = ROOT / "examples/browser"
SECONDS = 180  # that Chromium may take for everything
CELL = randommodels.CELLS["triclinic"]
COORD, TYPES = randommodels.atoms(CELL, 6, 2)
SILU = Frame("silu", COORD, CELL, np.asarray(TYPES, np.int32), {})
REFUSED = {  # file of a model, of atoms -> what the page says
    ("cut.onnx", "water.xyz"): "cut.onnx: This file is damaged",
    ("other.onnx", "water.xyz"): "other.onnx: This is an ONNX model of another program. Make one with compress-onnx",
    ("text.onnx", "water.xyz"): "text.onnx: This is not an ONNX model.",
    ("pairs.onnx", "water.xyz"): "pairs.onnx: This model was made with --interface pairs; this page takes",
    ("water.onnx", "xenon.xyz"): "xenon.xyz: The model knows O, H and not Xe, which the atoms have.",
    ("water.onnx", "many.xyz"): "many.xyz: 1001 atoms are too many for a page, which takes 1000:",
    ("water.onnx", "short.xyz"): "short.xyz: The file ends early: line 1 promises 3 atoms.",
    ("water.onnx", "letters.xyz"): 'letters.xyz: Line 3 has "one" where a number should be.',
}


class Server(SimpleHTTPRequestHandler):
    """The files of a folder; what is posted goes into a queue."""

    def __init__(self, *arguments, posted: queue.Queue, **options):
        self.posted = posted
        super().__init__(*arguments, **options)

    def do_POST(self):
        self.posted.put(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The page with onnxruntime-web beside it."""
    chromium.require()
    if shutil.which("npm") is None:
        pytest.skip("no npm on this machine, which brings onnxruntime-web")
    folder = tmp_path_factory.mktemp("browser") / "site"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules"))
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    try:
        subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    except subprocess.SubprocessError as error:
        pytest.skip(f"npm does not get onnxruntime-web: {(error.stderr or 'it takes too long').strip()[:200]}")
    yield folder
    shutil.rmtree(folder / "node_modules")


@pytest.fixture(scope="module")
def found(site):
    """What tests/browser_probe.html found out."""
    cases = []
    for case in models():
        paths, atoms = write_forms(case.file, site), f"{case.file.name}.xyz"
        write_xyz(site / atoms, case.frames(), open_engine(paths["functions"]).type_map)
        cases += [{"model": path.name, "atoms": atoms} for path in paths.values()]
    made = randommodels.random_model("se_e2_a", 1, activation="silu")
    onnxfile.write(graph.uncompressed(made), site / "silu.onnx")
    write_xyz(site / "silu.xyz", [SILU], made.type_map)
    cases.append({"model": "silu.onnx", "atoms": "silu.xyz"})
    pages = [["water.onnx", "water.xyz"], *map(list, REFUSED)]
    write_pages(site)
    (site / "cases.json").write_text(json.dumps({"cases": cases, "pages": pages}))
    shutil.copy(Path(__file__).with_name("browser_probe.html"), site)
    return browsed(site, "browser_probe.html")


def write_xyz(file: Path, frames, type_map) -> None:
    """Extended xyz, with parameters and spins where there are any."""
    with open(file, "w") as out:
        for frame in frames:
            head, columns, layout = "", [frame.coord], "species:S:1:pos:R:3"
            if frame.cell.any():
                head += f'Lattice="{text(frame.cell)}" pbc="T T T" '
            if frame.fparam is not None:
                head += f'fparam="{text(frame.fparam)}" '
            for name in ("aparam", "spin"):
                if (values := getattr(frame, name)) is not None:
                    layout += f":{name}:R:{values.shape[1]}"
                    columns.append(values)
            lines = (f"{type_map[t]} {text(row)}" for t, row in zip(frame.atype, np.hstack(columns), strict=True))
            out.write("\n".join([str(len(frame.atype)), f"{head}Properties={layout}", *lines, ""]))


def text(numbers) -> str:
    return " ".join(map(repr, np.ravel(numbers).tolist()))


def write_pages(site: Path) -> None:
    """What is dropped onto the page."""
    water = site / "water.pth.functions.onnx"
    shutil.copy(water, site / "water.onnx")
    shutil.copy(site / "water.pth.xyz", site / "water.xyz")
    co.compress(MODELS / "water.pth", site / "pairs.onnx", interface="pairs", step=0.01, fold=False, check="none")
    damaged = bytearray(water.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (site / "cut.onnx").write_bytes(damaged)
    other = onnx.load(water)
    del other.metadata_props[:]
    onnx.save(other, site / "other.onnx")
    (site / "text.onnx").write_text("not a model")
    (site / "xenon.xyz").write_text("2\n\nO 0 0 0\nXe 0 0 2\n")
    (site / "many.xyz").write_text("1001\n\n" + "".join(f"O 0 0 {3 * k}\n" for k in range(1001)))
    (site / "short.xyz").write_text("3\n\nO 0 0 0\n")
    (site / "letters.xyz").write_text("1\n\nO one 0 0\n")


def browsed(site: Path, page: str) -> dict:
    """What a page of the site posts from a headless Chromium, and what that has to say."""
    posted = queue.Queue()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=site, posted=posted))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    flags = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--remote-debugging-port=0"]
    address = f"http://127.0.0.1:{server.server_port}/{page}"
    log = site / "chromium.log"
    with open(log, "w") as out:
        browser = subprocess.Popen(chromium.command(site / "profile", address, *flags), stdout=out, stderr=out)
        try:
            return json.loads(posted.get(timeout=SECONDS))
        except queue.Empty:
            pytest.fail(f"the page posts nothing within {SECONDS} s: {log.read_text()[-2000:]}")
        finally:
            browser.terminate()
            browser.wait(20)
            server.shutdown()
            server.server_close()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", models(), ids=lambda case: case.name)
def test_onnxruntime_web(case: Case, form, site, found):
    results = found["cases"][f"{case.file.name}.{form}.onnx"]
    assert isinstance(results, list), results
    for frame, result in zip(case.frames(), results, strict=True):
        check_elsewhere(result, frame, case, site / f"{case.file.name}.functions.onnx")


def test_operators_that_onnxruntime_web_lacks(site, found):
    """It takes x · sigmoid(x) for an operator that it does not have in float64, unless that is hidden from it."""
    session = ort.session(site / "silu.onnx", library=False)
    (result,) = found["cases"]["silu.onnx"]
    np.testing.assert_allclose(result["force"], session.run(["force"], SILU.inputs)[0].ravel(), rtol=0, atol=1e-12)


def test_the_page_shows_what_it_is_given(site, found):
    seen = found["pages"]["water.onnx,water.xyz"]
    assert isinstance(seen, dict), seen
    frame = next(iter(next(case for case in models() if case.file.name == "water.pth").frames()))
    energy = float(
        seen["value"].removesuffix(" eV").replace("\N{MINUS SIGN}", "-").replace("\N{NARROW NO-BREAK SPACE}", "")
    )
    assert energy == pytest.approx(frame.energy, abs=1e-6)
    assert seen["problem"] == "" and seen["caption"].replace("\n", "").startswith("H18O9")
    for word in ("se_e2_a", "float64", "4.5 Å", "Largest force", "Evaluation", "filter_"):
        assert word in seen["panel"]


@pytest.mark.parametrize("files", REFUSED, ids=lambda files: " ".join(files))
def test_what_the_page_refuses(files, found):
    seen = found["pages"][",".join(files)]
    assert isinstance(seen, dict) and seen["problem"].startswith(REFUSED[files]), seen
