from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch.nn import functional as F

from archgraph.errors import UsageError
from archgraph.graph import GraphBuilder
from archgraph.module import compile, draw, loss, term_loss
from archgraph.ops import parse_call
from tests.module.networks import attention, residual


def network_with(call: str, *shape: int, layer: str = "Linear(3)"):
    builder = GraphBuilder("loss")
    builder.layer("y", parse_call(layer), [builder.input("x", shape)])
    builder.loss("y", parse_call(call))
    return builder.build()


def test_same_seed_same_numbers_and_the_global_state_is_untouched():
    graph = attention()
    state = torch.get_rng_state()
    one, other, third = draw(graph, seed=3), draw(graph, seed=3), draw(graph, seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(map(torch.equal, one.inputs + one.targets, other.inputs + other.targets))
    assert not any(map(torch.equal, one.inputs + one.targets, third.inputs + third.targets))
    torch.manual_seed(99)
    assert torch.equal(draw(graph, seed=3).inputs[1], one.inputs[1])


def test_numbers_do_not_depend_on_the_dtype():
    wide, narrow = draw(residual()), draw(residual(), dtype=torch.float32)
    assert (wide.inputs[0].dtype, narrow.inputs[0].dtype) == (torch.float64, torch.float32)
    torch.testing.assert_close(wide.inputs[0].float(), narrow.inputs[0], rtol=0, atol=0)
    assert torch.equal(wide.targets[0], narrow.targets[0])


def test_shapes_and_ranges():
    batch = draw(attention(), batch=200)
    tokens, hint = batch.inputs
    assert tokens.dtype == torch.int64
    assert tokens.shape == (200, 5)
    assert (tokens.min(), tokens.max()) == (0, 10)
    assert hint.shape == (200, 6)
    # 1200 draws of N(0, 1): both bounds are 5 standard errors wide.
    assert abs(hint.mean()) < 0.15
    assert abs(hint.var() - 1) < 0.21
    classes, readout = batch.targets
    assert classes.shape == (200,)
    assert (classes.min(), classes.max()) == (0, 10)
    assert readout.shape == (200, 6, 6)


def test_a_batch_has_examples():
    with pytest.raises(UsageError, match="at least one example, not 0"):
        draw(residual(), batch=0)


@pytest.mark.parametrize("axis", ["channels first", "channels last"])
def test_the_class_axis_is_the_channel_axis(axis):
    if axis == "channels first":
        graph = network_with("CrossEntropyLoss", 2, 5, 5, layer="Conv2d(7, 1)")
        value = torch.randn(4, 7, 5, 5, dtype=torch.float64)
    else:
        graph = network_with("CrossEntropyLoss", 5, 5, 2, layer="Linear(7)")
        value = torch.randn(4, 5, 5, 7, dtype=torch.float64)
    target = draw(graph, batch=4).targets[0]
    assert target.shape == (4, 5, 5)
    log_p = value.log_softmax(1 if axis == "channels first" else 3)
    if axis == "channels last":
        log_p = log_p.permute(0, 3, 1, 2)
    by_hand = -log_p.gather(1, target[:, None]).mean()
    torch.testing.assert_close(term_loss(graph, 0, value, target), by_hand)


@pytest.mark.parametrize(
    "call",
    [
        "CrossEntropyLoss(weight=(1.0, 2.0, 0.5), label_smoothing=0.1)",
        "NLLLoss",
        "MultiMarginLoss",
        "MSELoss(reduction='sum')",
        "L1Loss",
        "SmoothL1Loss",
        "BCEWithLogitsLoss",
        "SoftMarginLoss",
        "HingeEmbeddingLoss",
        "KLDivLoss(reduction='batchmean')",
        "PoissonNLLLoss",
        "MultiLabelMarginLoss",
        "MultiLabelSoftMarginLoss",
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_kind_of_target_fits_its_loss(call, dtype):
    graph = network_with(call, 4)
    batch = draw(graph, dtype=dtype, batch=6)
    value = loss(graph, compile(graph, seed=0, dtype=dtype)(*batch.inputs), batch)
    assert value.shape == ()
    assert value.dtype == dtype
    assert value.isfinite()
    value.backward()


def test_targets_are_of_their_kind():
    def target(call: str) -> torch.Tensor:
        return draw(network_with(call, 4), batch=300).targets[0]

    assert set(target("BCEWithLogitsLoss").unique().tolist()) == {0, 1}
    assert set(target("SoftMarginLoss").unique().tolist()) == {-1, 1}
    assert set(target("PoissonNLLLoss").unique().tolist()) == {0, 1, 2, 3, 4}
    probabilities = target("KLDivLoss")
    torch.testing.assert_close(probabilities.sum(1), torch.ones(300, dtype=torch.float64))
    assert (probabilities > 0).all()
    labels = target("MultiLabelMarginLoss")
    assert (labels[:, 2] == -1).all()
    assert all(len(set(row.tolist())) == 3 for row in labels)


def test_the_loss_is_the_weighted_sum_of_its_terms():
    graph = attention()
    batch = draw(graph)
    outputs = compile(graph, seed=0, dtype=torch.float64).eval()(*batch.inputs)
    expected = (
        F.cross_entropy(outputs[0], batch.targets[0])
        + float(Fraction(1, 10)) * (outputs[1] * batch.targets[1]).sum()
    )
    torch.testing.assert_close(loss(graph, outputs, batch), expected, rtol=1e-14, atol=0)


def test_a_target_that_does_not_fit():
    graph = residual()
    batch = draw(graph)
    with pytest.raises(UsageError, match=r"the loss '.*' cannot be taken: "):
        term_loss(graph, 0, torch.zeros(3, 16, dtype=torch.float64), batch.targets[0])
