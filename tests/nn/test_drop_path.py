"""DropPath: the draws of torchvision's stochastic depth, and those of its definition."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import archgraph.nn as own
from tests.references import MissingReferenceError, torchvision_models

torch.set_num_threads(1)

SHAPES = [(5, 3), (4, 2, 3), (6, 2, 3, 3)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("mode", ["row", "batch"])
@pytest.mark.parametrize("p", [0.0, 0.2, 0.7, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_draws_as_torchvision(
    shape: tuple[int, ...], p: float, mode: str, dtype: torch.dtype
) -> None:
    theirs = stochastic_depth(p, mode)
    ours = own.DropPath(p, mode)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    for training in (True, False):
        torch.manual_seed(7)
        expected = [theirs.train(training)(x) for _ in range(3)]
        state = torch.get_rng_state()
        torch.manual_seed(7)
        found = [ours.train(training)(x) for _ in range(3)]
        assert all(map(torch.equal, found, expected))
        assert torch.equal(torch.get_rng_state(), state)


def stochastic_depth(p: float, mode: str) -> torch.nn.Module:
    try:
        torchvision_models()
    except MissingReferenceError as error:
        pytest.skip(str(error))
    from torchvision.ops import StochasticDepth

    return StochasticDepth(p, mode)


def test_a_row_is_kept_whole_or_not_at_all_and_the_mean_stays() -> None:
    torch.manual_seed(0)
    rows = own.DropPath(0.25)(torch.ones(20_000, 3, dtype=torch.float64))
    assert set(rows.flatten().tolist()) == {0.0, 1 / 0.75}
    assert torch.equal(rows, rows[:, :1].expand_as(rows))
    # 20,000 draws of deviation (0.25 / 0.75)^½: the mean is within 5 standard errors of 1.
    assert abs(rows.mean() - 1) < 5 * (0.25 / 0.75 / 20_000) ** 0.5


def test_a_batch_is_kept_or_dropped_as_one() -> None:
    torch.manual_seed(0)
    kept = {tuple(own.DropPath(0.5, "batch")(torch.ones(3, 2)).unique().tolist()) for _ in range(9)}
    assert kept == {(0.0,), (2.0,)}


def test_for_a_mask_it_is_linear() -> None:
    def run(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)
        return own.DropPath(0.5)(x)

    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(run, (x,))
    assert gradgradcheck(run, (x,))
