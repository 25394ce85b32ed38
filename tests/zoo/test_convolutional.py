"""The papers' convolutional networks, against what is published of them.

Sums of parameters are written out here from the papers' tables; where the paper prints a total, the
sum is held against it too.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
import torch

from archgraph.errors import SpecError
from archgraph.module import compile
from archgraph.module.shapes import infer
from archgraph.paths import count_histograms, count_paths, iter_paths
from archgraph.spec import load, zoo
from tests.zoo.sums import conv, linear, norm, skips, total

# --- residual networks for CIFAR ----------------------------------------------------------------


def preact_parameters(n: int, *, bottleneck: bool) -> int:
    """resnet-pre-act.lua of the authors, of n units a stage."""
    sum_, c_in = conv(3, 16, 3), 16
    for w in (16, 32, 64):
        c_out = 4 * w if bottleneck else w
        for _ in range(n):
            sum_ += norm(c_in) + norm(w)
            if bottleneck:
                sum_ += conv(c_in, w) + conv(w, w, 3) + norm(w) + conv(w, c_out)
            else:
                sum_ += conv(c_in, w, 3) + conv(w, w, 3)
            sum_ += conv(c_in, c_out) if c_in != c_out else 0
            c_in = c_out
    return sum_ + norm(c_in) + linear(c_in, 10)


@pytest.mark.parametrize(
    ("depth", "units", "bottleneck", "millions"),
    # Identity Mappings, Table 4, which counts the weights without the norms.
    [(110, 54, False, "1.7"), (164, 54, True, "1.7"), (1001, 333, True, "10.2")],
)
def test_preact_resnet(depth, units, bottleneck, millions):
    graph = load("preact_resnet", depth=depth)
    assert total(graph) == preact_parameters(units // 3, bottleneck=bottleneck)
    shapes = infer(graph)
    norms = sum(shapes.count(n.module) for n in graph.nodes if n.op and n.op.name == "BatchNorm2d")
    assert f"{(total(graph) - norms) / 1e6:.1f}" == millions
    assert count_paths(graph, "image") == 2**units
    weights = [node for node in graph.nodes if node.op and node.op.op.weight_layer]
    projections = 3 if bottleneck else 2
    assert len(weights) == depth + projections


def test_the_first_unit_of_a_stage_activates_before_it_splits():
    # "common BN, ReLU" of resnet-pre-act.lua; with 6n + 2 layers the first stage keeps its width.
    deep, plain = load("preact_resnet", depth=20, bottleneck=True), load("preact_resnet", depth=14)
    for graph, projected in ((deep, (1, 2, 3)), (plain, (2, 3))):
        for stage in (1, 2, 3):
            ends = graph.edges_out_of(f"stage{stage}.0.relu1")
            names = {edge.target.rpartition(".")[2] for edge in ends}
            assert names == {"conv1", "shortcut" if stage in projected else "out"}
            follows = graph.edges_into(f"stage{stage}.1.out")[1]
            assert (follows.source, follows.role) == (f"stage{stage}.0.out", "skip")


def test_preact_resnet_refuses_a_depth_that_is_none():
    with pytest.raises(SpecError, match="repeat"):
        load("preact_resnet", depth=1000)


def basic_parameters(n: int) -> int:
    """ResNet of He et al. 2016 (1512.03385), §4.2, option A, of n units a stage."""
    sum_, c_in = conv(3, 16, 3) + norm(16), 16
    for c in (16, 32, 64):
        for _ in range(n):
            sum_ += conv(c_in, c, 3) + norm(c) + conv(c, c, 3) + norm(c)
            c_in = c
    return sum_ + linear(64, 10)


def per_unit(n: int, of) -> int:
    sizes = [(16, 16)] * n + [(16, 32)] + [(32, 32)] * (n - 1) + [(32, 64)] + [(64, 64)] * (n - 1)
    return sum(of(c_in, c) for c_in, c in sizes)


UNITS = 54  # of ResNet-110: the paper's Table 1 and 2
GATE = per_unit(18, lambda c_in, c: conv(c_in, c, bias=True))
PROJECTION = per_unit(18, lambda c_in, c: conv(c_in, c) + norm(c))
# The first unit of full pre-activation has no norm before its split, and a last norm follows all;
# a unit's first norm is as wide as what it reads.
MOVED = per_unit(18, lambda c_in, c: norm(c_in) - norm(c)) - norm(16) + norm(64)
IDENTITY_MAPPINGS = {
    # name: (ways through a unit, parameters beyond the original's)
    "original": (2, 0),
    "constant_scaling": (2, 0),
    "exclusive_gating": (4, GATE),
    "shortcut_only_gating": (3, GATE),
    "conv_shortcut": (2, PROJECTION),
    "dropout_shortcut": (2, 0),
    "bn_after_addition": (2, 0),
    "relu_before_addition": (2, 0),
    "relu_only_preactivation": (2, 0),
    "full_preactivation": (2, MOVED),
}


def test_the_six_shortcuts_and_five_orders_are_all_there():
    names = [name.removeprefix("identity_mappings/") for name in zoo() if "/" in name]
    assert sorted(names) == sorted(IDENTITY_MAPPINGS)


@pytest.mark.parametrize("name", IDENTITY_MAPPINGS)
def test_identity_mappings(name):
    graph = load(f"identity_mappings/{name}")
    ways, more = IDENTITY_MAPPINGS[name]
    assert count_paths(graph, "image") == ways**UNITS
    assert total(graph) == basic_parameters(18) + more
    assert basic_parameters(18) == 1_727_962  # "1.7M" in 1512.03385, Table 6
    assert len(skips(graph)) == UNITS


def test_what_stands_on_the_shortcut():
    """The op of each node on the path of 54 shortcuts, from the first unit to the head."""

    def ops(name: str) -> set[str]:
        graph = load(f"identity_mappings/{name}", depth=8)
        path = max(iter_paths(graph, "relu1"), key=lambda path: path.skips)
        assert path.skips == 3
        return {str(op.name) for n in path.nodes[:-4] if (op := graph.node(n).op) is not None}

    plain = {"ReLU", "AvgPool2d", "ConstantPad3d"}
    assert ops("original") == ops("constant_scaling") == plain
    assert ops("bn_after_addition") == plain | {"BatchNorm2d"}
    assert ops("dropout_shortcut") == plain | {"Dropout"}
    assert ops("conv_shortcut") == {"ReLU", "Conv2d", "BatchNorm2d"}
    shortest = min(count_histograms(load("identity_mappings/conv_shortcut"), "image").weights)
    assert shortest == UNITS + 2
    assert min(count_histograms(load("identity_mappings/original"), "image").weights) == 2


def test_constant_scaling_multiplies_along_the_shortcuts():
    graph = load("identity_mappings/constant_scaling", depth=8)
    scales = {path.skips: path.scale for path in iter_paths(graph, "relu1")}
    assert scales[3] == Fraction(1, 8)
    graph = load("identity_mappings/constant_scaling", depth=8, shortcut_scale=1, branch_scale=1)
    original = load("identity_mappings/original", depth=8)
    assert [(e.id, e.scale) for e in graph.edges] == [(e.id, e.scale) for e in original.edges]


def test_gates_start_where_the_paper_puts_them():
    module = compile(load("identity_mappings/exclusive_gating", depth=8), seed=0)
    biases = {n: p for n, p in module.named_parameters() if n.endswith("gate.bias")}
    assert len(biases) == 3
    assert all(torch.equal(bias, torch.full_like(bias, -6)) for bias in biases.values())


def test_fixup():
    # fixup_resnet_cifar.py has scalars where this has biases per channel.
    graph = load("fixup")
    sizes = conv(3, 16, 3, bias=True) + linear(64, 10)
    sizes += per_unit(18, lambda i, c: conv(i, c, 3, bias=True) + conv(c, c, 3, bias=True) + 1)
    assert total(graph) == sizes
    assert count_paths(graph, "image") == 2**UNITS
    module = compile(graph, seed=0)
    state = module.state_dict()
    assert not any(v.abs().max() for k, v in state.items() if k.endswith(("conv2.weight", "bias")))
    assert not state["fc.weight"].abs().max()
    # He's init times L^(−1/(2m − 2)), for L = 54 branches of m = 2 weight layers.
    weight = state["stage3.1.conv1.weight"]
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 64)) * 54**-0.5, rel=0.02)
    assert torch.equal(state["stage3.1.scale"], torch.tensor(1.0))


# --- other convolutional networks ---------------------------------------------------------------


@pytest.mark.parametrize("depth", [2, 4])
def test_unet(depth):
    def double(c_in: int, c: int) -> int:
        return conv(c_in, c, 3) + norm(c) + conv(c, c, 3) + norm(c)

    graph = load("unet", depth=depth)
    widths = [64 * 2**k for k in range(depth + 1)]
    sizes = double(3, 64) + conv(64, 2, bias=True)
    for c, below in itertools.pairwise(widths):
        sizes += double(c, below) + conv(below, c, 2, bias=True) + double(2 * c, c)
    assert total(graph) == sizes
    assert count_paths(graph, "x") == depth + 1
    assert len(skips(graph)) == depth
    # A level deeper adds two convolutions down, one that widens and two up; the last has no two up.
    lengths = [*(5 * level + 5 for level in range(depth)), 5 * depth + 3]
    assert list(count_histograms(graph, "x").weights) == lengths


def test_unet_has_the_published_number_of_parameters():
    assert total(load("unet")) == 31_037_698  # as printed for the PyTorch U-Net in most use


def test_densenet_block():
    graph = load("densenet_block", depth=7)
    assert count_paths(graph, "H0") == 2**7
    assert total(graph) == sum(norm(c := 24 + 12 * k) + conv(c, 12, 3) for k in range(7))
    assert infer(graph)["H.cat"].shape[0] == 24 + 7 * 12


def test_csp():
    graph = load("csp")
    assert count_paths(graph, "image") == (1 + 2**6) * (1 + 2**12) * (1 + 2**24)
    sizes, c = conv(3, 64, 7), 64
    for n, c_out in ((6, 128), (12, 256), (24, 512)):
        part = c // 2
        for k in range(n):
            c_in = part + 32 * k
            sizes += norm(c_in) + conv(c_in, 128) + norm(128) + conv(128, 32, 3)
        end = part + 32 * n
        sizes += norm(end) + conv(end, c_out // 2)
        both = c // 2 + c_out // 2
        sizes += norm(both) + conv(both, c_out)
        c = c_out
    assert total(graph) == sizes + norm(512) + linear(512, 1000)


@pytest.mark.parametrize("stacks", [2, 3])
def test_elan(stacks):
    graph = load("elan", stacks=stacks)
    assert count_paths(graph, "image") == (stacks + 2) ** 4
    # One stage: the branches pass 1, 1, 3, 5, … convolutions between `down` and `out`.
    weights = count_histograms(graph, "stage4.down.act", "stage4.out.act").weights
    assert weights == {2: 2, **{2 * k + 2: 1 for k in range(1, stacks + 1)}}

    def unit(c_in: int, c: int, size: int = 1) -> int:
        return conv(c_in, c, size) + norm(c)

    sizes, c_in = unit(3, 32, 3), 32
    for c in (32, 64, 128, 256):
        sizes += unit(c_in, 2 * c, 3) + 2 * unit(2 * c, c) + 2 * stacks * unit(c, c, 3)
        sizes += unit((stacks + 2) * c, 4 * c)
        c_in = 4 * c
    assert total(graph) == sizes + linear(c_in, 1000)
