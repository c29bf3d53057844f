"""Reports to look at: the page alone in a real browser, in both colour schemes; the picture; what they are drawn from."""

import html.parser
import re
import subprocess
import warnings

import chromium
import compress_onnx as co
import numpy as np
import pytest
from cases import MODELS
from compress_onnx import evidence, page, readers
from compress_onnx.cli import main
from compress_onnx.svg import HEIGHT, Axis, Chart
from compress_onnx.validate import compared
from randommodels import random_model

WIDTH, TALL = 1280, 2600
# what a page looks like to the browser: too wide anywhere, the charts' sizes, and texts that stick out of their chart
MEASURE = """<script>addEventListener("load", () => {
  const charts = [...document.querySelectorAll("svg")], box = e => e.getBoundingClientRect();
  const outside = charts.flatMap(c => [...c.querySelectorAll("text")].filter(t =>
    box(t).left < box(c).left - 1 || box(t).right > box(c).right + 1 || box(t).bottom > box(c).bottom + 1));
  document.title = [document.documentElement.scrollWidth - innerWidth, Math.min(...charts.map(c => box(c).width)),
    charts.length, outside.length, getComputedStyle(document.querySelector(".card")).borderRadius].join(" ");
})</script>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    for name in ("water", "angles"):
        co.compress(MODELS / f"{name}.pth", folder / f"{name}.onnx", check="none")
        arguments = ["-i", str(MODELS / f"{name}.pth"), "-m", str(folder / f"{name}.onnx")]
        dynamics = ["--nve", "100"] if name == "water" else []
        assert main(["validate", *arguments, *dynamics, "--html", str(folder / f"{name}.html")]) == 0
    return folder


def browse(folder, source, *flags):
    """What Chromium prints on stdout and stderr; skips where there is none."""
    command = chromium.command(folder / "profile", source.as_uri(), f"--window-size={WIDTH},{TALL}", *flags)
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.parametrize("name", ["water", "angles"])
def test_page_needs_nothing_else(folder, name):
    text = (folder / f"{name}.html").read_text()
    assert not re.search(r"https?:|<script|<link|<img|url\(|@import|nan|inf\b", text)
    opened = []

    class Tags(html.parser.HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag != "meta":
                opened.append(tag)

        def handle_endtag(self, tag):
            assert opened.pop() == tag

        def handle_startendtag(self, tag, attrs):
            pass

    Tags().feed(text)
    assert not opened
    assert "within the tolerance" in text and "filter_" in text


@pytest.mark.parametrize("name", ["water", "angles"])
def test_page_fits_its_window(folder, name):
    for width in (WIDTH, 480):
        measured = folder / f"{name}_measured.html"
        measured.write_text((folder / f"{name}.html").read_text().replace("</head>", MEASURE + "</head>"))
        out, err = browse(folder, measured, "--dump-dom", "--virtual-time-budget=2000", f"--window-size={width},{TALL}")
        overflow, narrowest, charts, outside, radius = re.search("<title>(.*)</title>", out)[1].split()
        assert int(overflow) <= 0 and float(narrowest) > 280 and int(charts) >= 5
        assert outside == "0" and radius == "10px"  # the style sheet was understood
        assert "CONSOLE" not in err


@pytest.mark.parametrize("name", ["water", "angles"])
def test_page_in_light_and_dark(folder, name):
    image = pytest.importorskip("PIL.Image", reason="screenshots are looked at with Pillow")
    brightness = {}
    for scheme, flags in {"light": (), "dark": ("--force-dark-mode",)}.items():
        file = folder / f"{name}_{scheme}.png"
        _, err = browse(folder, folder / f"{name}.html", f"--screenshot={file}", *flags)
        pixels = np.asarray(image.open(file).convert("RGB"), int)
        assert pixels.shape == (TALL, WIDTH, 3) and "CONSOLE" not in err
        brightness[scheme] = pixels.mean()
        blue = (pixels[..., 2] - pixels[..., 0] > 60).sum()  # lines, dots and bars
        assert blue > 5000
    assert brightness["light"] > 225 and brightness["dark"] < 50


def test_file_names_are_text(folder):
    given = evidence.gather(compared(MODELS / "water.pth", folder / "water.onnx"))
    object.__setattr__(given, "name", "<script>alert(1)</script>.onnx")
    assert "<script" not in page.render(given)


def test_a_failure_is_told(folder, capsys):
    arguments = ["-i", str(MODELS / "water.pth"), "-m", str(folder / "water.onnx"), "--tolerance", "1e-16"]
    assert main(["validate", *arguments, "--html", str(folder / "bad.html")]) == 1
    assert "beyond the tolerance" in (folder / "bad.html").read_text()
    assert "BEYOND" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_plot(folder, suffix):
    pytest.importorskip("matplotlib", reason="the picture is matplotlib's")
    output = folder / f"picture.{suffix}"
    arguments = ["-i", str(MODELS / "water.pth"), "-m", str(folder / "water.onnx")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(["plot", *arguments, "-o", str(output)]) == 0
    assert output.stat().st_size > 20_000


def test_plot_to_an_unknown_format(folder, capsys):
    pytest.importorskip("matplotlib", reason="the picture is matplotlib's")
    arguments = ["-i", str(MODELS / "water.pth"), "-m", str(folder / "water.onnx")]
    assert main(["plot", *arguments, "-o", str(folder / "picture.xyz")]) == 2
    assert "picture.xyz" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["water.pth", "angles.pth"])
def test_tables_are_those_of_the_file(folder, name):
    """Read back they meet their bounds, and the net's inputs are as many as pairs, or pairs of pairs."""
    file = folder / name.replace(".pth", ".onnx")
    given = evidence.gather(compared(MODELS / name, file))
    terms = readers.read(MODELS / name).terms
    stored = evidence.stored_tables(file, terms, [curves.facts["name"] for curves in given.tables])
    for curves, table in zip(given.tables, stored, strict=True):
        facts = curves.facts
        assert (table.lower, [table.rows0, table.rows1]) == (facts["lower"], facts["rows"])
        assert table.upper == facts["upper"] and table.maximum == facts["max"]
        first = curves.at > curves.border
        assert curves.error[first].max() <= max(facts["bound"]["value"])
        assert curves.slope_error[first].max() <= max(facts["bound"]["derivative"])
    assert given.validation.ok and np.abs(given.original - given.compressed).max() < 1e-8
    assert set(given.stages) == {"neighbours", "contraction", "descriptor", "fitting net", "forces"}


@pytest.mark.parametrize("kind", ["se_e2_a", "se_e2_r", "se_atten_v2"])
def test_inputs_are_those_that_the_model_counts(tmp_path, kind):
    """Of a frame whose inputs are all inside, the counts of the native range check by table are these."""
    from compress_onnx import _core, graph
    from compress_onnx.probe import probes
    from compress_onnx.tabulate import make, model_grids, model_nets

    model = random_model(kind)
    tables = [make(net, grid) for net, grid in zip(model_nets(model), model_grids(model, 0.5, 5.0, 0.05), strict=True)]
    workspace = _core.Workspace(_core.Model(graph.compressed(model, tables, precision="float64").SerializeToString()))
    frame = probes(model, 1.6)[3]
    counted = workspace.compute(frame.coord, frame.atype, frame.cell)["range"]
    (descriptor,) = model.descriptors
    for inputs, table, counts in zip(evidence.table_inputs(descriptor, [frame]), tables, counted, strict=True):
        expected = [(inputs < table.lower).sum(), ((inputs >= table.lower) & (inputs < table.upper)).sum()]
        assert len(inputs) and counts[:2].tolist() == expected


def test_axes_have_few_round_ticks():
    for low, high in ((0, 1), (-3.2, 17), (1e-3, 2.1e-3), (-600, 40_000)):
        axis = Axis.over("", np.array([low, high]))
        values = [value for value, _ in axis.ticks()]
        assert 2 <= len(values) <= 7 and min(values) >= axis.low and max(values) <= axis.high
    log = Axis.over("", np.array([0, 3e-13, 2e-4]), log=True)
    assert (log.low, log.high) == (pytest.approx(1e-13), pytest.approx(1e-3))
    assert log.ticks()[0][1] == "1e-13" and len(log.ticks()) <= 6


def test_marks_are_where_the_numbers_are():
    chart = Chart("a & b", Axis("x", 0, 10), Axis("y", 1e-4, 1, log=True))
    chart.line(np.array([0, 10]), np.array([1e-4, 1]), "line one")
    ((left, bottom), (right, top)) = [
        map(float, pair.split(",")) for pair in re.search('points="(.*?)"', chart.text())[1].split()
    ]
    assert left < right <= chart.width and top < bottom <= HEIGHT
    assert "a &amp; b" in chart.text()
