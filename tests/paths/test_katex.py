"""The LaTeX renders: in KaTeX itself, for every network here and every spec that ships."""

import json
import os
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import pytest

from archgraph.graph import GraphBuilder, Scale, Term, learnable
from archgraph.ops import parse_call
from archgraph.paths.equations import derive
from archgraph.spec import load
from tests.paths import networks
from tests.strategies import residual_graph, target_names

KATEX = Path(__file__).parents[1] / "katex"
SMALL = 40
SPECS = sorted((Path(__file__).parents[2] / "specs").glob("*.yaml"))


@pytest.fixture(scope="module")
def katex(request):
    """The folder of the script, with KaTeX beside it; installed once if it is not there."""
    missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    if missing:
        reason = f"{' and '.join(missing)} not found: the LaTeX cannot be rendered"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    if (KATEX / "node_modules" / "katex").is_dir():
        yield KATEX
        return
    folder = Path(request.config.cache.mkdir(f"katex-{os.getpid()}"))
    for name in ("package.json", "package-lock.json", "render.mjs"):
        shutil.copy(KATEX / name, folder)
    install = ["npm", "ci", "--silent", "--no-audit", "--no-fund"]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"npm ci failed: {done.stderr or done.stdout}"
    yield folder
    shutil.rmtree(folder)


def problems(katex, texts):
    """What KaTeX says of each text: None if it renders."""
    done = subprocess.run(
        ["node", "render.mjs"],
        cwd=katex,
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def awkward():
    """Names and multipliers that LaTeX would stumble over."""
    b = GraphBuilder("awkward")
    b.input("größe_1", (4,))
    b.layer("a_b.0.c~1", parse_call("Tanh"), [Term("größe_1", Scale(Fraction(-1, 3)))])
    b.layer("lambda", parse_call("Linear(4)"), ["a_b.0.c~1", Term("größe_1", Scale(1e-30))])
    terms = [Term("lambda", learnable("x.y_scale", 0, per_channel=True)), "größe_1"]
    b.layer("100%", None, terms, merge="multiply")
    b.layer("^{", parse_call("GELU"), ["100%", Term("lambda", Scale(2, text="(a_1 - lam)**2/k"))])
    b.layer("und#$&\\so", None, ["^{", "lambda"], merge="concat", symbol=r"\tilde{x}_{n}")
    b.layer("end", parse_call("Linear(1)"), ["und#$&\\so"], symbol="50 % {")
    b.loss("end", None, name="main_loss")
    b.loss("lambda", None, name="aux", scale=Fraction(3, 10))
    return b.build()


def everything():
    graphs = [
        networks.residual(),
        networks.dense_block(),
        networks.dense_block(read_all=True),
        networks.highway(),
        networks.projection(),
        networks.mlp3(),
        networks.scaled_residual(),
        networks.parallel(),
        networks.rezero(),
        awkward(),
        *(graph for graph in map(load, map(str, SPECS)) if len(graph) <= SMALL),
    ]
    for graph in graphs:
        for view in ("state", "op"):
            for wrt in target_names(graph):
                yield f"{graph.name}, {view}, {wrt}", derive(graph, wrt, view=view).latex
    yield "two hundred blocks", derive(residual_graph(200), "x").latex


def test_every_derivation_renders_in_katex(katex):
    assert SPECS
    cases = dict(everything())
    found = dict(zip(cases, problems(katex, list(cases.values())), strict=True))
    assert {case: problem for case, problem in found.items() if problem} == {}


def test_a_text_that_is_no_latex_is_reported(katex):
    good, unknown, open_brace, alien = problems(katex, [r"\lambda I", r"\lambdaI", "{x", "größe"])
    assert good is None
    assert "Undefined control sequence: \\lambdaI" in unknown
    assert "Expected '}'" in open_brace
    assert "Unicode text" in alien
