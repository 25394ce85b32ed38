"""docs/predictions.md: predicted, exact and measured gradients side by side.

`python -m benchmarks.predictions` writes it, in a few minutes; every number is of fixed seeds.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from archgraph.graph import Graph
from archgraph.measurement import measure
from archgraph.prediction import Prediction, predict
from archgraph.spec import load, parse
from tests.prediction import oracle
from tests.prediction.architectures import BATCH, LAYERS, architecture, real

__all__ = ["page"]

PAGE: Final = Path(__file__).parent.parent / "docs" / "predictions.md"

HE: Final = "init: {weight: kaiming_normal(nonlinearity='relu'), bias: 0}"
XAVIER: Final = "init: {weight: xavier_normal, bias: 0}"

Line = Sequence[str]


def repeated(layers: str, ending: str, *, depth: int, width: int) -> Graph:
    """Return a block repeated."""
    return of(
        f"params: {{n: {width}}}\ninputs: {{x: [n]}}\nblocks: {{block: {{layers: {layers}}}}}\n"
        f"layers: {{h: {{op: block(), repeat: {depth}}}}}\n{ending}"
    )


def of(text: str) -> Graph:
    """Return the graph of a spec without its first two lines."""
    return parse(f"archgraph: 1\nname: net\n{text}\n".encode(), file="net.yaml")


def dense(depth: int, growth: int) -> Graph:
    """Return a dense block all of whose outputs are read."""
    layers = [f"  z1: Linear({growth})(x)", "  H1: ReLU()(z1)"]
    for i in range(2, depth + 1):
        read = ", ".join(["x", *(f"H{j}" for j in range(1, i))])
        layers += [f"  z{i}: Linear({growth})(concat({read}))", f"  H{i}: ReLU()(z{i})"]
    outputs = ", ".join(f"H{i}" for i in range(1, depth + 1))
    return of(
        f"inputs: {{x: [{2 * growth}]}}\nlayers:\n"
        + "\n".join(layers)
        + f"\noutputs: [{outputs}]\n{HE}"
    )


def batch_norm_factor(batch: int) -> float:
    """By what a BatchNorm and a ReLU multiply the energy, per layer."""
    c = -1 / (batch - 1)
    slope = (math.pi - math.acos(c)) / math.pi
    moment = (math.sqrt(1 - c * c) + (math.pi - math.acos(c)) * c) / math.pi
    return ((batch - 1 + slope) / (1 - moment) - 1) / (batch - 3)


# --- closed forms -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Form:
    """A closed form: the network, what is asked of it, and its value at infinite width."""

    title: str
    formula: str
    exact: float
    graph: Graph
    node: str
    networks: int
    batch: int = 2
    over: str | None = None
    """Relative to this node, instead of the output."""
    root: int = 1
    """Of the ratio the so many-th root."""


def closed_forms() -> Iterator[Form]:
    """Yield the closed forms."""
    relu, tanh = "{z: Linear(n), a: ReLU()}", "{z: Linear(n), a: Tanh()}"
    graph = repeated(relu, HE, depth=20, width=256)
    yield Form("ReLU, He init, depth 20", "1", 1, graph, "x", 400)
    graph = repeated(tanh, XAVIER, depth=50, width=256)
    yield Form("tanh, Xavier init, depth 50", "–", 0.01434, graph, "x", 150)
    for width, networks in ((128, 600), (512, 100)):
        graph = repeated("{z: Linear(n), a: Sigmoid()}", "", depth=20, width=width)
        yield Form(
            f"sigmoid, PyTorch's default init, depth 20, width {width}",
            "9.1–9.5e-35",
            9.3e-35,
            graph,
            "x",
            networks,
        )
    for scale in (0.5, 1, 1.1):
        layers = f"{{a: ReLU(), F: Linear(n), out: {scale}*input + F}}"
        graph = repeated(layers, HE, depth=10, width=256)
        value = (scale**2 + 1) ** 10
        yield Form(f"pre-activation, 10 blocks, λ = {scale}", "(λ²+1)^10", value, graph, "x", 400)
    graph = repeated("{l: LayerNorm(), F: Linear(n), out: input + F}", XAVIER, depth=10, width=256)
    yield Form("pre-LN, 10 blocks", "L + 1", 11, graph, "x", 400)
    graph = dense(5, 64)
    for i in (1, 3):
        exact = 7 / (i + 2)
        yield Form(f"dense block of 5, layer {i}", "(L+2)/(ℓ+2)", exact, graph, f"H{i}", 400)
    layers = "{z: Linear(n), b: BatchNorm1d(), a: ReLU()}"
    graph = repeated(layers, HE, depth=8, width=256)
    for batch in (8, 16, 32, 64):
        yield Form(
            f"BatchNorm and ReLU, per layer, batch {batch}",
            "see below",
            batch_norm_factor(batch),
            graph,
            "h.1.a",
            100,
            batch=batch,
            over="h.6.a",
            root=5,
        )
    graph = of(
        "inputs: {x: [256]}\nlayers: {z: Linear(256), r: ReLU(), s: z + r, y: Linear(256)}\n"
        + XAVIER
    )
    yield Form("z + relu(z), then a matrix", "5/2", 2.5, graph, "z", 400)


def closed_form_lines() -> Iterator[Line]:
    """Yield a line per closed form."""
    for form in closed_forms():
        limit = predict(form.graph, method="limit", batch=form.batch, seed=1)
        finite = predict(
            form.graph, method="finite", batch=form.batch, samples=form.networks, seed=1
        )
        measured = measure(form.graph, seeds=form.networks, batch=form.batch)
        values = []
        for nodes in (limit.nodes, finite.nodes, measured.nodes):
            node = nodes[form.node]
            assert node.energy is not None
            value, relative = node.energy, (node.standard_error or 0.0) / node.energy
            if form.over is not None:
                base = nodes[form.over]
                assert base.energy is not None
                relative = math.hypot(relative, (base.standard_error or 0.0) / base.energy)
                value /= base.energy
            value **= 1 / form.root
            values.append((value, relative / form.root * value))
        yield (
            form.title,
            form.formula,
            f"{form.exact:.4g}",
            *(_with_error(*pair) for pair in values),
            str(form.networks),
        )


def grade_lines() -> Iterator[Line]:
    """Yield energies by number of branches, against the binomial distribution."""
    scale, depth = 0.5, 6
    layers = f"{{a: ReLU(), F: Linear(n), out: {scale}*input + F}}"
    graph = repeated(layers, HE, depth=depth, width=256)
    limit = predict(graph, method="limit", batch=2, grade="branches")
    finite = predict(graph, method="finite", batch=2, grade="branches", samples=400)
    for k in range(depth + 1):
        exact = math.comb(depth, k) * scale ** (2 * (depth - k))
        yield (
            str(k),
            f"{exact:.4g}",
            f"{limit.grades['x'][k]:.4g}",
            f"{finite.grades['x'][k]:.4g}",
        )


# --- real networks ------------------------------------------------------------------------------


def sampler_lines() -> Iterator[Line]:
    """Yield the finite-width sampler against networks that are written out in torch."""
    for name in [*LAYERS, "dense"]:
        for width, networks in ((32, 4000), (64, 2000), (128, 800)):
            graph = architecture(name, width)
            predicted = predict(
                graph,
                method="finite",
                batch=BATCH,
                samples=networks,
                seed=width,
                matrices="conditioned",
            )
            found = real(name, width, networks)
            base = found["output"].mean()
            value = float(found["x"].mean() / base)
            residuals = (found["x"] - value * found["output"]) / base
            error = float(residuals.std()) / math.sqrt(networks)
            node = predicted.nodes["x"]
            assert node.energy is not None
            assert node.standard_error is not None
            z = (node.energy - value) / math.hypot(node.standard_error, error)
            yield (
                name.replace("_", " "),
                str(width),
                str(networks),
                _with_error(node.energy, node.standard_error),
                _with_error(value, error),
                f"{z:+.1f}",
            )


def program_lines() -> Iterator[Line]:
    """Yield rms ‖∂L/∂W‖ of the note's ten-layer program, and of 1,200 runs of it."""
    columns = []
    for act in ("Tanh", "ReLU", "Sigmoid"):
        graph = load("gradient_flow_demo", act=act)
        predicted = predict(graph, method="finite", batch=32, samples=1200, seed=1)
        function = {"Tanh": torch.tanh, "ReLU": torch.relu, "Sigmoid": torch.sigmoid}[act]
        measured = oracle.note_program(function, networks=1200, seed=1)
        columns.append((predicted, measured))
    names = [*(f"fc{i}.weight" for i in range(1, 11)), "head.weight"]
    for i, name in enumerate(names):
        cells = []
        for predicted, measured in columns:
            norm = predicted.parameters[name].norm
            cells += [f"{norm:.3g}", f"{measured[i]:.3g}", f"{norm / measured[i]:.2f}"]
        yield (name, *cells)


# --- what independence gets wrong ---------------------------------------------------------------

JOINS: Final[Sequence[tuple[str, str, str, str, float | None]]] = (
    (
        "x + x: the same value twice",
        "adds kernels, and warns that independence is not verified",
        "layers: {z: Linear(256), s: z + z, y: Linear(256)}",
        "z",
        2.0,
    ),
    (
        "z + relu(z): a value and its activation",
        "`FanInSum` raises: inputs are not Gaussian",
        "layers: {z: Linear(256), r: ReLU(), s: z + r, y: Linear(256)}",
        "z",
        1.5,
    ),
    (
        "post-activation add, three times relu(z) + relu(W·), then tanh",
        "`FanInSum` raises: inputs are not Gaussian",
        "layers:\n  z0: Linear(256)\n  a0: ReLU()\n"
        + "".join(
            f"  z{i}: Linear(256)(s{i - 1})\n  a{i}: ReLU()(z{i})\n  s{i}: a{i} + s{i - 1}\n"
            for i in range(1, 4)
        ).replace("s0", "a0")
        + "  w: Linear(256)\n  t: Tanh()\n  y: Linear(256)",
        "a0",
        None,
    ),
    (
        "concat → nonlinearity: tanh([z, relu(z)])",
        "no nonlinearity after `FanInConcat`",
        "layers: {z: Linear(256), r: ReLU(), c: 'concat(z, r)', t: Tanh(), y: Linear(256)}",
        "z",
        None,
    ),
)


def join_lines() -> Iterator[Line]:
    """Yield what happens where branches meet that are not independent."""
    for title, refusal, layers, node, independent in JOINS:
        graph = of(f"inputs: {{x: [256]}}\n{layers}\n{XAVIER}")
        limit = predict(graph, method="limit", batch=2)
        finite = predict(graph, method="finite", batch=2, samples=1000, seed=1)
        measured = measure(graph, seeds=500, batch=2)
        yield (
            title,
            refusal,
            "–" if independent is None else f"{independent:g}",
            *(_energy(found, node) for found in (limit, finite)),
            _with_error(measured.nodes[node].energy, measured.nodes[node].standard_error or 0.0),
            *(
                _with_error(found.second_moment or 0.0, found.second_moment_error or 0.0)
                for found in (limit.nodes[_before(graph)], measured.nodes[_before(graph)])
            ),
        )


def _before(graph: Graph) -> str:
    """Return what the last layer reads."""
    return graph.edges_into("y")[0].source


def _energy(found: Prediction, node: str) -> str:
    item = found.nodes[node]
    assert item.energy is not None
    return _with_error(item.energy, item.standard_error or 0.0)


# --- the page -----------------------------------------------------------------------------------


def _with_error(value: float, error: float) -> str:
    return f"{value:.4g} ± {float(f'{error:.1g}'):g}"


def table(columns: Sequence[str], lines: Iterator[Line]) -> str:
    """Return a table as Markdown."""
    rows = [columns, ["---"] * len(columns), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


TEXT: Final = """\
# Predicted, exact, measured

Written by `python -m benchmarks.predictions`. Energies are E‖∂L/∂V‖² relative to the output's,
± is one standard error, and every number is of fixed seeds. *Limit* is infinite width; *finite*
is the network's own width, without its matrices where these are Gaussian; *measured* is
`archgraph measure`: real networks, run and differentiated.

## Closed forms

{closed}
The closed forms hold at infinite width; at width n a ReLU network's typical ln energy is lower by
about 5/2n per layer, and a mean over few networks misses the rare ones that carry it. For
BatchNorm in a batch of B, c = −1/(B−1): [(B−1+J₁'(c))/(1−J₁(c)) − 1]/(B−3), with
J₁(c) = (√(1−c²) + (π − arccos c)c)/π and J₁'(c) = (π − arccos c)/π.

Energy by number of branches on a path, of six pre-activation blocks with λ = ½: Binomial.

{grades}
## The finite-width sampler against real networks

No matrix is made on the predicted side; the real networks are written out in torch and share no
code with archgraph. `relu features` has the loss ‖x_L − y‖², which reads features directly.

{sampler}
## A program predicted before it runs

Ten times Linear(64) and an activation, Linear(1), mean squared error, batch 32, PyTorch's own
init: √E‖∂L/∂W‖² by layer, predicted, measured in 1,200 runs, and their ratio.

{program}
## Where branches meet that are not independent

neural-tangents derives a kernel for the same networks, and refuses or assumes here: its
`FanInSum` raises `NotImplementedError` unless all inputs are mean-zero Gaussian, a nonlinearity
after a channelwise `FanInConcat` is not allowed, and independence "is not verified in the code"
(`neural_tangents/_src/stax/branching.py`; read, not run). archgraph runs elementwise blocks on
particles, so what is dependent stays so. *Independent* is what adding energies gives; the last
two columns are the mean square of what the last matrix reads.

{joins}"""


def page() -> str:
    """Return the page as Markdown."""
    torch.set_num_threads(1)
    return TEXT.format(
        closed=table(
            ("network", "formula", "exact", "limit", "finite", "measured", "networks"),
            closed_form_lines(),
        ),
        grades=table(("branches", "exact", "limit", "finite, width 256"), grade_lines()),
        sampler=table(
            ("architecture", "width", "networks", "predicted", "real", "z"), sampler_lines()
        ),
        program=table(
            (
                "layer",
                *(
                    f"{act} {what}"
                    for act in ("tanh", "ReLU", "sigmoid")
                    for what in ("predicted", "measured", "ratio")
                ),
            ),
            program_lines(),
        ),
        joins=table(
            (
                "join",
                "neural-tangents",
                "independent",
                "limit",
                "finite, width 256",
                "measured, width 256",
                "E value², limit",
                "measured",
            ),
            join_lines(),
        ),
    )


def main() -> int:
    """Write the page."""
    text = page()
    PAGE.write_text(text, encoding="utf-8")
    print(f"docs/{PAGE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
