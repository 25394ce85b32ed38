"""All parameters of a block as one target, several loss terms, and several targets of one tape."""

from __future__ import annotations

import pytest
import torch

from archgraph.gradient import decompose, edge_flow, path_gradients
from archgraph.graph import GraphBuilder, Scale, Term
from archgraph.module.loss import loss
from archgraph.ops import parse_call as call
from archgraph.spec import load
from tests.gradient.networks import HARD, recorded
from tests.gradient.test_flow import assert_cuts_sum_to_one


def by_autograd(tape):
    """Autograd's gradient by every parameter, of an ordinary pass of the module."""
    tape.module.train(tape.train)
    outputs = tape.module(*tape.batch.inputs)
    total = loss(tape.graph, outputs, tape.batch)
    names, parameters = zip(*tape.module.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(total, parameters), strict=True))


def size(gradients):
    return float(torch.cat([gradient.flatten() for gradient in gradients]).norm())


@pytest.mark.parametrize("by", ["edge", "weights", "branches", "path"])
@pytest.mark.parametrize("target", ["layer1.*", "layer1.0.*", "*"])
def test_all_parameters_of_a_block(by, target):
    graph = load("resnet", depth=18, size=32, units=[1, 1, 1, 1])
    tape = recorded(graph, train=True, batch=3)
    found = decompose(tape, target, by)
    prefix = target.removesuffix("*")
    inside = [g for name, g in by_autograd(tape).items() if name.startswith(prefix)]
    assert found.norm == pytest.approx(size(inside), rel=1e-9)
    assert found.residual <= 1e-10
    if by != "edge":
        assert sum(part.share for part in found.parts) == pytest.approx(1)


def test_shares_of_a_block_are_the_means_of_those_of_its_parameters():
    graph = load("resnet", depth=18, size=32, units=[1, 1, 1, 1])
    tape = recorded(graph)
    whole = edge_flow(tape, "layer1.*")
    names = [n for n, _ in tape.module.named_parameters() if n.startswith("layer1.")]
    parts = [edge_flow(tape, name) for name in names]
    assert sum(part.norm**2 for part in parts) == pytest.approx(whole.norm**2)
    behind = "layer2.0.bn2->layer2.0.out"
    mean = sum(part.norm**2 * part.shares[behind] for part in parts) / whole.norm**2
    assert whole.shares[behind] == pytest.approx(mean)


def test_tied_and_shared_parameters_count_once():
    for name, target in (("language", "*"), ("recurrent", "W0.*")):
        tape = recorded(HARD[name])
        prefix = target.removesuffix("*")
        inside = [g for name, g in by_autograd(tape).items() if name.startswith(prefix)]
        found = decompose(tape, target, "weights")
        assert found.norm == pytest.approx(size(inside), rel=1e-9)
        assert decompose(tape, target, "edge").residual <= 1e-12


def test_parameters_that_are_nodes_are_among_them():
    tape = recorded(HARD["attention"])
    gradients = by_autograd(tape)
    assert {"token", "alpha"} <= set(gradients)
    whole = size(gradients.values())
    found = decompose(tape, "*", "edge")
    assert found.norm == pytest.approx(whole, rel=1e-9)
    shares = {part.key: part.share for part in found.parts}
    token = size([gradients["token"]]) ** 2 / whole**2
    assert shares["*->token"] == pytest.approx(token)
    first = [share for key, share in shares.items() if key.startswith("*->")]
    assert sum(first) == pytest.approx(1)


def test_a_block_s_name_stands_for_its_output():
    graph = load("resnet", depth=18, size=32)
    tape = recorded(graph)
    assert edge_flow(tape, "layer1").norm == edge_flow(tape, "layer1.1.out").norm
    assert_cuts_sum_to_one(graph, edge_flow(tape, "layer1").shares, "layer1.1.out")


def test_many_targets_of_one_tape_share_the_backward_sweep(monkeypatch):
    tape = recorded(load("resnet", depth=18, size=32))
    calls = []
    original = type(tape).pull
    monkeypatch.setattr(
        type(tape),
        "pull",
        lambda self, *args, **options: calls.append(args) or original(self, *args, **options),
    )
    for wrt in ("conv1.weight", "layer2.*", "layer3.0"):
        edge_flow(tape, wrt)
    assert not calls
    expected = edge_flow(tape, "conv1.weight")
    tape.swept = None  # its memory given back
    again = edge_flow(tape, "conv1.weight")
    assert calls
    assert again.shares == pytest.approx(expected.shares, rel=1e-9, abs=1e-12)


# --- loss terms -------------------------------------------------------------------------------


def two_terms(scale: float = 0.25):
    b = GraphBuilder("two")
    b.input("x", (4,))
    b.layer("h", call("Linear(4)"), ["x"])
    b.layer("main", call("Linear(3)"), ["h"])
    b.layer("aux", call("Linear(2)"), [Term("h", Scale(2)), "x"])
    b.output("main")
    b.output("aux")
    b.loss("main", call("CrossEntropyLoss()"), name="classes")
    b.loss("aux", call("MSELoss()"), scale=scale, name="values")
    return b.build()


def test_each_loss_term_s_gradient_is_that_of_the_term_alone():
    graph = two_terms()
    tape = recorded(graph, batch=5)
    module, x = tape.module, tape.batch.inputs[0].clone().requires_grad_()
    outputs = module(x)
    classes = torch.nn.functional.cross_entropy(outputs[0], tape.batch.targets[0])
    values = 0.25 * torch.nn.functional.mse_loss(outputs[1], tape.batch.targets[1])
    alone = {
        name: torch.autograd.grad(term, x, retain_graph=True)[0].flatten()
        for name, term in (("classes", classes), ("values", values))
    }
    found = decompose(tape, "x", "loss")
    whole = alone["classes"] + alone["values"]
    assert [part.key for part in found.parts] == ["classes", "values"]
    for part in found.parts:
        gradient = alone[part.key]
        assert part.norm == pytest.approx(float(gradient.norm()))
        assert part.share == pytest.approx(float(gradient @ whole / (whole @ whole)))
    cosine = torch.nn.functional.cosine_similarity(*alone.values(), dim=0)
    assert found.cosines == pytest.approx({("classes", "values"): float(cosine)})
    assert found.to_dict()["cosines"][0]["terms"] == ["classes", "values"]


def test_a_term_that_does_not_see_the_target_is_left_out():
    found = decompose(recorded(two_terms()), "main.weight", "loss")
    assert [(part.key, part.share) for part in found.parts] == [("classes", pytest.approx(1))]
    assert found.cosines == {}


def test_paths_of_several_elements_add_up():
    tape = recorded(load("resnet", depth=18, size=32, units=[1, 1, 1, 1]))
    total = sum(float(g.norm()) > 0 for _, g in path_gradients(tape, "layer4.0.bn2.*"))
    assert total
