"""Plots: what is drawn are the numbers, nothing is cut off, no label lies on another."""

from __future__ import annotations

import itertools
import math
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from archgraph.errors import UsageError
from archgraph.sweeping import Options, Sweep, compare, parse_grid, sweep
from archgraph.sweeping.comparing import Comparison, Variant, variants_of
from archgraph.sweeping.job import Job, Outcome, as_task
from archgraph.sweeping.profile import Profile
from archgraph.sweeping.signals import measure_signals
from archgraph.sweeping.source import Source
from tests.sweeping.networks import RESIDUAL

pytest.importorskip("matplotlib")

from archgraph.picture import plots, plots_signals, plots_sweep
from archgraph.picture.plots_style import _apart, save

SOURCE = Source(RESIDUAL, "by_depth.yaml")


@pytest.fixture
def figures(monkeypatch):
    """The figures that were saved."""
    seen = []

    def keep(figure, path):
        seen.append(figure)
        return save(figure, path)

    for module in (plots, plots_signals, plots_sweep):
        monkeypatch.setattr(module, "save", keep)
    return seen


def assert_legible(figure) -> None:
    """Raise if a text is cut off by the figure's edge, or lies on another."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    # Ticks outside the limits exist, and are not drawn; the line that leads to a label is no text.
    boxes = [(t.get_text(), Text.get_window_extent(t, renderer)) for t in texts if _drawn(t)]
    for text, box in boxes:
        assert box.x0 >= 0, f"{text!r} is cut off on the left"
        assert box.y0 >= 0, f"{text!r} is cut off below"
        assert box.x1 <= figure.bbox.x1, f"{text!r} is cut off on the right"
        assert box.y1 <= figure.bbox.y1, f"{text!r} is cut off above"
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        wide = min(a.x1, b.x1) - max(a.x0, b.x0)
        high = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert not (wide > 1 and high > 2), f"{one!r} lies on {other!r}"


def _drawn(text) -> bool:
    for axis in [a for axes in text.figure.axes for a in (axes.xaxis, axes.yaxis)]:
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
            if text in (tick.label1, tick.label2):
                low, high = sorted(axis.get_view_interval())
                return low <= tick.get_loc() <= high and text.get_visible()
    return True


def made_up(label: str, values: list[float], measured: list[float] | None = None) -> Variant:
    (variant,) = variants_of([SOURCE], parse_grid([]))
    names = tuple(f"fc{i}" for i in range(len(values)))

    def profile(found):
        return Profile(names, tuple(found), tuple(0.1 * value for value in found))

    return Variant(
        label,
        "by_depth",
        (),
        variant.graph,
        "finite",
        100,
        profile(values),
        None if measured is None else profile(measured),
    )


FALLS = [10.0**-k for k in range(8)]


def test_lines_and_bands_are_the_numbers(figures, tmp_path):
    values = [3.0, 0.5, 1e-3]
    variant = made_up("a", values, [2.9, 0.6, 2e-3])
    plots.plot_comparison(Comparison((variant,), "weights", 4, 0, 10), tmp_path / "a.png")
    (axes,) = figures[0].axes
    lines = {tuple(line.get_ydata()) for line in axes.get_lines()}
    assert tuple(values) in lines
    assert (2.9, 0.6, 2e-3) in lines
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert min(band) == pytest.approx(0.8e-3)
    assert max(band) == pytest.approx(3.6)
    assert axes.get_yscale() == "log"
    assert [t.get_text() for t in axes.get_xticklabels()] == ["fc0", "fc1", "fc2"]


CASES = {
    "one": [made_up("a", FALLS)],
    "measured": [made_up("a", FALLS, FALLS), made_up("b", FALLS[::-1], FALLS[::-1])],
    "ends meet": [made_up(f"lam={k}", [1.0 + k, 1.0]) for k in range(5)],
    "starts meet": [made_up(f"lam={k}", [1.0, 1.0 + k]) for k in range(5)],
    "the same": [made_up(f"line {k}", [1.0, 2.0, 3.0]) for k in range(24)],
    "long": [made_up("identity_mappings_original, depth=164", FALLS), made_up("b", FALLS)],
    "hardly any range": [made_up("a", [0.71, 0.712, 0.715])],
    "denormal": [made_up("a", [1e-300, 1e-10, 1.0])],
    "many": [made_up("a", [1.01**k for k in range(500)])],
    "zeros": [made_up("a", [0.0, 1.0, 0.0, 2.0]), made_up("none", [0.0, 0.0, 0.0, 0.0])],
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("at", ["weights", "states"])
def test_comparisons_are_legible(case, at, figures, tmp_path):
    found = Comparison(tuple(CASES[case]), at, 4, 0, 10 if case == "measured" else 0)
    plots.plot_comparison(found, tmp_path / "a.png")
    assert_legible(figures[0])


@pytest.mark.parametrize(
    ("networks", "said"),
    [
        (1, "measured: markers (1 network: its error is unknown)"),
        (5, "measured: markers (5 networks only: their errors are rough)"),
        (20, "measured: markers (20 networks) "),
    ],
)
def test_few_networks_make_rough_bars(networks, said, figures, tmp_path):
    found = Comparison(tuple(CASES["measured"]), "weights", 4, 0, networks)
    plots.plot_comparison(found, tmp_path / "a.png")
    assert said in " ".join(text.get_text() for text in figures[0].texts)


def test_what_leads_to_a_label_is_no_data(figures, tmp_path):
    """A short line's leader crosses the whole picture."""
    found = Comparison((made_up("short", [1.0, 2.0]), made_up("b", FALLS)), "weights", 4, 0)
    plots.plot_comparison(found, tmp_path / "a.png")
    from matplotlib.colors import to_rgb
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.text import Annotation

    noted = figures[0].axes[0].findobj(Annotation)
    leaders = [note.arrow_patch for note in noted if note.arrow_patch is not None]
    assert len(leaders) == 2
    colours = {to_rgb(line.get_color()) for line in figures[0].axes[0].get_lines()}
    for leader in leaders:
        assert isinstance(leader, FancyArrowPatch)
        red, green, blue = to_rgb(leader.get_edgecolor())
        assert red == green == blue > 0.7
        assert leader.get_linewidth() < 1
    # The line itself is shown beside its label instead.
    assert {to_rgb(line.get_color()) for line in figures[0].artists} == colours


def test_greyscale_tells_lines_apart(figures, tmp_path):
    found = Comparison(tuple(CASES["measured"]), "weights", 4, 0)
    plots.plot_comparison(found, tmp_path / "a.png")
    from matplotlib.colors import to_rgb

    lines = [line for line in figures[0].axes[0].get_lines() if line.get_linestyle() != "None"]
    light = [
        sum(w * c for w, c in zip((0.21, 0.72, 0.07), to_rgb(line.get_color()), strict=True))
        for line in lines
    ]
    assert abs(light[0] - light[1]) > 0.3
    assert max(light) < 0.8  # visible on white
    assert len({line.get_linestyle() for line in lines}) == 2


def test_a_real_comparison(figures, tmp_path):
    grid = {"act": ["ReLU", "Sigmoid"], "depth": 6}
    plots.plot_comparison(compare([SOURCE], grid, samples=8), tmp_path / "a.svg")
    ElementTree.parse(tmp_path / "a.svg")
    texts = [text.get_text() for text in figures[0].texts]
    assert "by_depth (depth=6) · a line for each act · batch 4 · seed 0" in texts
    assert any("predicted: lines (finite, 8 networks)" in text for text in texts)


def test_signals(figures, tmp_path):
    signals = [
        measure_signals(variant, networks=2, batch=4)
        for variant in variants_of([SOURCE], parse_grid(["lam=0.5,1", "depth=3"]))
    ]
    plots_signals.plot_signals(signals, tmp_path / "a.pdf")
    assert_legible(figures[0])
    panels = figures[0].axes
    assert [axes.get_ylabel() for axes in panels] == [
        "channel mean²",
        "channel variance",
        "branch variance",
    ]
    for axes, name in zip(panels, ("mean_squares", "variances", "branches"), strict=True):
        drawn = {tuple(line.get_ydata()) for line in axes.get_lines()}
        assert drawn == {getattr(item, name).values for item in signals}


GAP = b"""\
archgraph: 1
name: gap
inputs: {x: [4]}
blocks:
  unit:
    params: {skip: true}
    layers:
      z: Linear(4)
      out: "input + z if skip else z"
layers:
  stage: {op: "unit(i != 7)", repeat: 18}
"""


def test_a_block_without_a_skip_is_a_gap_and_the_others_keep_their_names(figures, tmp_path):
    (variant,) = variants_of([Source(GAP, "gap.yaml")], parse_grid([]))
    signals = measure_signals(variant, networks=2, batch=4)
    assert signals.gaps == ("stage.7.out",)
    plots_signals.plot_signals([signals], tmp_path / "a.png")
    assert_legible(figures[0])
    assert any("none in stage.7" in text.get_text() for text in figures[0].texts)
    for axes, name in zip(figures[0].axes, ("mean_squares", "variances", "branches"), strict=True):
        before, after = (list(line.get_xdata()) for line in axes.get_lines())
        assert before == list(range(7))
        assert after == list(range(8, 18))
        profile = getattr(signals, name)
        assert [i for i, value in enumerate(profile.values) if value is None] == [7]
    axis = figures[0].axes[-1].xaxis
    shown = [
        (tick.get_loc(), tick.label1.get_text())
        for tick in axis.get_major_ticks()
        if 0 <= tick.get_loc() < 18
    ]
    assert len(shown) > 3
    assert all(text == f"stage.{place:.0f}" for place, text in shown)


FEW = Options(samples=4, wrt=("x",))


def test_a_sweep_of_one_param_is_a_line(figures, tmp_path):
    found = sweep(SOURCE, parse_grid(["depth=1:3"]), options=FEW, workers=1)
    plots_sweep.plot_sweep(found, tmp_path / "a.png")
    assert_legible(figures[0])
    (line,) = figures[0].axes[0].get_lines()
    assert list(line.get_xdata()) == [1, 2, 3]
    assert list(line.get_ydata()) == [point.value for point in found.points]


def test_a_sweep_of_two_params_is_a_heatmap(figures, tmp_path):
    grid = parse_grid(["lam=0.5,1,1.1", "depth=1,2,-1,3"])
    found = sweep(SOURCE, grid, options=FEW, workers=1)
    plots_sweep.plot_sweep(found, tmp_path / "a.png")
    assert_legible(figures[0])
    cells = {t.get_position(): t.get_text() for t in figures[0].axes[0].texts}
    for i, j in itertools.product(range(3), range(4)):
        point = found.points[4 * i + j]
        said = cells[j + 0.5, i + 0.5]
        if j == 2:
            assert said == "failed"
        else:
            assert float(said.replace("−", "-")) == round(10 * math.log10(point.value), 1)
    assert [t.get_text() for t in figures[0].axes[0].get_yticklabels()] == ["0.5", "1", "1.1"]
    assert figures[0].axes[0].get_xlabel() == "depth"


def test_a_large_heatmap_is_legible(figures, tmp_path):
    grid = parse_grid(["lam=1:60", "width=1:40"])
    task = as_task(SOURCE, "decompose", Options())
    jobs = [Job(point, 0) for point in grid]
    row = {"kind": "gradient", "name": "x"}
    norms = [{**row, "norm": 1.1 ** (i % 61)} for i in range(len(jobs))]
    pairs = [(j, Outcome(j.key, (row,))) for j, row in zip(jobs, norms, strict=True)]
    found = Sweep(task, grid, 1, tuple(pairs))
    plots_sweep.plot_sweep(found, tmp_path / "a.png")
    assert_legible(figures[0])


def test_formats(tmp_path):
    found = Comparison((made_up("a", FALLS),), "weights", 4, 0)
    heads = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    for suffix, head in heads.items():
        one = plots.plot_comparison(found, tmp_path / f"a.{suffix}").read_bytes()
        assert one.startswith(head)
        assert plots.plot_comparison(found, tmp_path / f"b.{suffix}").read_bytes() == one
    assert len(list(tmp_path.iterdir())) == 6


def test_refusals(tmp_path, monkeypatch):
    found = Comparison((made_up("a", FALLS),), "weights", 4, 0)
    with pytest.raises(UsageError, match=r"must be \.png, \.svg, \.pdf"):
        plots.plot_comparison(found, tmp_path / "a.jpg")
    with pytest.raises(UsageError, match="cannot write"):
        plots.plot_comparison(found, tmp_path / "no" / "a.png")
    zero = Comparison((made_up("a", [0.0, 0.0]),), "weights", 4, 0)
    with pytest.raises(UsageError, match="log scale shows neither"):
        plots.plot_comparison(zero, tmp_path / "a.png")
    for settings, said in (
        (["lam=1"], "none does"),
        (["lam=1,2", "depth=1,2", "width=1,2"], "lam,"),
    ):
        with pytest.raises(UsageError, match=said):
            plots_sweep.check_varying(parse_grid(settings))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"pip install 'archgraph-nn\[plot\]'"):
        plots.plot_comparison(found, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "heights", [[], [5.0], [1, 1, 1, 1], [0, 100], [99, 99.5, 100], [0, 0, 50, 52]]
)
def test_labels_are_apart_and_inside(heights):
    placed = _apart(heights, 11.0, 0.0, 100.0)
    assert all(b - a >= 11 - 1e-9 for a, b in itertools.pairwise(placed))
    assert all(0 <= place <= 100 for place in placed)
    if len(heights) < 2 or min(b - a for a, b in itertools.pairwise(heights)) >= 11:
        assert placed == pytest.approx(heights)
