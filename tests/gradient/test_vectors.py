"""λ that are elements of one vector, and layers that are parameters: what their gradients are."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from archgraph.checking import check
from archgraph.errors import SpecError
from archgraph.gradient import decompose, path_gradients
from archgraph.gradient.numbers import evaluate
from archgraph.graph import Graph, GraphBuilder, LossTerm, Term, assemble, learnable
from archgraph.module.build import compile as compile_graph
from archgraph.module.shapes import infer
from archgraph.ops import parse_call as call
from archgraph.paths import count_paths, iter_paths
from archgraph.paths.equations import derive
from tests.gradient.networks import attention, mixture, recorded

USES = ["w->m", "w->m#1", "w->m#2", "w->c", "w->y"]


def gradient_by_hand(tape) -> torch.Tensor:
    """∂L/∂w of `mixture`, from its formulas."""
    p = {name: t.detach() for name, t in tape.module.named_parameters()}
    w = p["w"].clone().requires_grad_()

    def linear(name, value):
        return value @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    x = tape.batch.inputs[0]
    f = linear("f", x)
    m = linear("m", w[0] * x + w[1] * f + w[2] * torch.tanh(f))
    y = linear("c", torch.cat([w[0] * m, f], dim=1)) + w[1] * x
    ((y * tape.batch.targets[0]).sum()).backward()
    return w.grad


def test_the_vector_has_the_gradient_of_all_its_edges() -> None:
    tape = recorded(mixture(), batch=3)
    expected = gradient_by_hand(tape)
    assert expected.shape == (3,)
    found = tape.cotangents().parameters["w"]
    torch.testing.assert_close(found, expected)
    for by in ("path", "edge", "node"):
        parts = decompose(tape, "w", by)
        assert parts.norm == pytest.approx(float(expected.norm()))
        assert parts.residual < 1e-12


def test_each_edge_is_a_path_of_its_own_and_moves_its_element_alone() -> None:
    graph = mixture()
    assert [path.edge_ids[0] for path in iter_paths(graph, "w")] == USES
    assert count_paths(graph, "w") == len(graph.parameter_users["w"]) == 5
    tape = recorded(graph)
    places = [int(g.nonzero().squeeze()) for _, g in path_gradients(tape, "w")]
    assert places == [0, 1, 2, 0, 1]


def test_equations_name_the_elements() -> None:
    graph = mixture()
    text = derive(graph, "x").text
    assert all(f"w[{i}]" in text for i in range(3))
    # As w[1] multiplies f in one term and x in another, both are in the same row.
    assert "x·e0ᵀ" in derive(graph, "w").text
    numbers = evaluate(derive(graph, "w"), recorded(graph))
    assert len(numbers.terms) == 5


def test_the_check_covers_vectors_and_parameters() -> None:
    for graph, name, shape in ((mixture(), "w", (3,)), (attention(), "token", (1, 1, 4))):
        result = check(graph, batch=2)
        assert result.ok
        assert result.targets[name].norm > 0
        assert tuple(infer(graph).parameters[name]) == shape


def vector(index: int, count: int = 2, *, per_channel: bool = False) -> Graph:
    b = GraphBuilder("vector")
    b.input("x", (3, 4))
    b.layer("conv", call("Conv1d(3, 1)"), ["x"])
    scale = learnable("w", 1, index=index, count=count, per_channel=per_channel)
    b.layer("y", None, ["conv", Term("conv", scale)])
    b.output("y")
    return b.build()


def test_shapes_of_vectors() -> None:
    assert infer(vector(1)).parameters["w"] == (2,)
    assert infer(vector(0, 5, per_channel=True)).parameters["w"] == (5, 3, 1)


@pytest.mark.parametrize("index", [-1, 2])
def test_an_element_that_is_not_there_is_refused(index: int) -> None:
    with pytest.raises(SpecError, match=f"'w' has 2 elements, and no element {index}"):
        infer(vector(index))


def test_a_vector_and_a_number_of_one_name_are_refused() -> None:
    b = GraphBuilder("both")
    b.input("x", (3,))
    terms = [Term("x", learnable("w", 1, index=0, count=2)), Term("x", learnable("w"))]
    b.layer("y", None, terms)
    with pytest.raises(SpecError, match=r"'w' has two shapes, \(2,\) and \(\)"):
        infer(b.build())


def test_a_learnable_scale_of_the_loss_is_refused() -> None:
    graph = mixture()
    term = LossTerm("main", "y", None, learnable("weight", 1))
    layers = [n for n in graph.nodes if n.kind != "loss"]
    edges = [e for e in graph.edges if e.kind != "loss"]
    message = "the loss 'main' is scaled by 'weight', which is learnable"
    with pytest.raises(SpecError, match=message):
        assemble("twice", layers, edges, [("y", "y")], [term])


def test_a_layer_that_ties_two_of_its_own_is_one_user() -> None:
    b = GraphBuilder("tied")
    b.input("x", (4,))
    b.layer("norm", call("LayerNorm()"), ["x"])
    b.layer("y", call("Linear(4)"), ["norm"])
    b.output("y")
    graph = replace(b.build(), ties=(("norm.bias", "norm.weight"),))
    assert graph.parameter_users["norm.bias"] == graph.parameter_users["norm.weight"]
    assert count_paths(graph, "norm.weight") == 1
    tape = recorded(graph)
    (part,) = decompose(tape, "norm.weight").parts
    assert part.share == pytest.approx(1)


# --- layers that are parameters -------------------------------------------------------------------


def shared_token() -> Graph:
    """One class token that two layers add, as copies of a block that share their weights do."""
    b = GraphBuilder("shared")
    b.input("x", (4,))
    for i in range(2):
        b.layer(f"h.{i}.token", call("Parameter(4)"), {})
    b.layer("a", call("Tanh()"), ["x", "h.0.token"])
    b.layer("y", None, ["a", "h.1.token"])
    b.output("y")
    graph = b.build()
    nodes = [replace(n, module="h.token") if "token" in n.name else n for n in graph.nodes]
    return replace(graph, nodes=tuple(nodes))


def test_a_shared_parameter_has_the_gradient_of_all_its_copies() -> None:
    graph = shared_token()
    tape = recorded(graph)
    assert {k: tuple(p.shape) for k, p in tape.module.named_parameters()} == {"h.token": (1, 4)}
    x, target = tape.batch.inputs[0], tape.batch.targets[0]
    token = tape.module.get_parameter("h.token")
    slope = 1 - torch.tanh(x + token) ** 2
    expected = (target * slope + target).sum(0, keepdim=True).detach()
    torch.testing.assert_close(tape.cotangents().parameters["h.token"], expected)
    assert decompose(tape, "h.token").norm == pytest.approx(float(expected.norm()))
    assert [path.edge_ids[0] for path in iter_paths(graph, "h.token")] == [
        "h.token->h.0.token",
        "h.token->h.1.token",
    ]
    assert check(graph).ok


def test_reading_a_parameter_by_another_layer_is_refused() -> None:
    graph = shared_token()
    nodes = [replace(n, module="h.0.token") if "token" in n.name else n for n in graph.nodes]
    with pytest.raises(SpecError, match=r"its value is that of 'h.0.token': read 'h.0.token'"):
        infer(replace(graph, nodes=tuple(nodes)))


def test_a_parameter_is_held_under_its_own_name_and_started_as_said() -> None:
    b = GraphBuilder("start")
    b.input("x", (4,))
    starts = ("0", "1", "0.5", "'zeros'", "'ones'", "'normal'", "'uniform'", "'trunc_normal'")
    for i, start in enumerate(starts):
        b.layer(f"p.{i}", call(f"Parameter(200, 4, init={start})"), {})
    b.layer("q", call("Parameter(200, 4)"), {}, init=(("weight", 3),))
    b.layer("y", None, ["q", *(f"p.{i}" for i in range(len(starts)))])
    b.output("y")
    module = compile_graph(b.build(), seed=0)
    assert list(module.state_dict()) == ["q", *(f"p.{i}" for i in range(len(starts)))]
    weights = [module.get_parameter(f"p.{i}").detach() for i in range(len(starts))]
    assert {tuple(w.shape) for w in weights} == {(1, 200, 4)}
    means = [float(w.mean()) for w in (*weights, module.q.detach())]
    deviations = [float(w.std()) for w in weights]
    # 800 draws: 0.2 is more than five standard errors of any of these.
    expected = [0, 1, 0.5, 0, 1, 0, 0.5, 0, 3]
    assert means == pytest.approx(expected, abs=0.2)
    assert deviations == pytest.approx([0] * 5 + [1, 12**-0.5, 1], abs=0.2)
