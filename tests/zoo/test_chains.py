"""The papers' chains, recurrences and transformers, against what is published of them.

Sums of parameters are written out here from the papers' tables; where the paper prints a total, the
sum is held against it too.
"""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from torch import nn

from archgraph.gradient import decompose, run_once
from archgraph.module import compile
from archgraph.paths import count_histograms, count_paths
from archgraph.spec import load
from tests.zoo.small import small
from tests.zoo.sums import linear, norm, skips, total

# --- chains, gates, recurrences -----------------------------------------------------------------


def test_mlp():
    graph = load("mlp")
    assert count_paths(graph, "x") == 1
    assert total(graph) == 20 * linear(64, 64) + linear(64, 1)
    norms = [decompose(run_once(load("mlp", depth=d)), "x", "path").norm for d in (5, 20)]
    assert norms[1] < 1e-6 * norms[0]


@pytest.mark.parametrize("depth", [1, 10])
def test_highway(depth):
    graph = load("highway", depth=depth)
    assert count_paths(graph, "x") == 4**depth
    assert len(skips(graph)) == depth
    assert total(graph) == 2 * depth * linear(64, 64) + linear(64, 1)
    state = compile(graph, seed=0).state_dict()
    assert torch.equal(state["body.0.t.bias"], torch.full((64,), -2.0))


def test_rezero_starts_with_one_path_alive():
    graph = load("rezero", depth=6)
    assert count_paths(load("rezero"), "x") == 2**32
    assert total(graph) == 6 * (linear(64, 64) + 1) + linear(64, 1)
    parts = decompose(run_once(graph), "x", "path").parts
    alive = [part for part in parts if part.norm]
    assert (len(parts), len(alive)) == (64, 1)
    assert alive[0].share == pytest.approx(1, abs=1e-12)
    assert not decompose(run_once(graph), "body.0.fc.weight").norm


def test_rnn_is_torchs_own():
    graph = load("rnn", steps=7, width=5)
    assert count_paths(graph, "x") == 7
    assert count_paths(load("rnn"), "x") == 20
    assert sorted(count_histograms(graph, "x").weights) == [2 + k for k in range(7)]
    module = compile(graph, seed=0)
    reference = nn.RNN(8, 5, batch_first=True)
    state = module.state_dict()
    assert sorted(state) == ["h.U.bias", "h.U.weight", "h.W.weight", "head.bias", "head.weight"]
    with torch.no_grad():
        reference.weight_ih_l0.copy_(state["h.U.weight"])
        reference.weight_hh_l0.copy_(state["h.W.weight"])
        reference.bias_ih_l0.copy_(state["h.U.bias"])
        reference.bias_hh_l0.zero_()
    x, h0 = torch.randn(3, 7, 8), torch.randn(3, 5)
    expected = module.head(reference(x, h0[None])[1][0])
    torch.testing.assert_close(module(x, h0), expected)


# --- transformers -------------------------------------------------------------------------------

SUBLAYERS = {
    "attn.qkv": "self_attn.in_proj_",
    "attn.proj": "self_attn.out_proj.",
    "mlp.fc1": "linear1.",
    "mlp.fc2": "linear2.",
    "ln1": "norm1.",
    "ln2": "norm2.",
}


@pytest.mark.parametrize("name", ["pre_ln", "post_ln"])
def test_transformers_are_torchs_own(name):
    layer = nn.TransformerEncoderLayer(
        16, 4, 64, dropout=0.0, batch_first=True, norm_first=name == "pre_ln"
    )
    final = nn.LayerNorm(16) if name == "pre_ln" else None
    reference = nn.TransformerEncoder(layer, 2, norm=final, enable_nested_tensor=False)
    module = compile(load(name, depth=2, width=16, heads=4, length=5), seed=0)
    theirs = reference.state_dict()
    for i in range(2):
        for ours, prefix in SUBLAYERS.items():
            for kind in ("weight", "bias"):
                source = module.state_dict()[f"h.{i}.{ours}.{kind}"]
                theirs[f"layers.{i}.{prefix}{kind}"].copy_(source)
    reference.load_state_dict(theirs)
    x = torch.randn(3, 5, 16)
    torch.testing.assert_close(module(x), reference(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "more"), [("pre_ln", norm(512)), ("post_ln", 0)])
def test_transformers_have_the_size_of_the_base_model(name, more):
    graph = load(name)
    layer = nn.TransformerEncoderLayer(512, 8, 2048, device="meta")
    assert total(graph) == 6 * sum(p.numel() for p in layer.parameters()) + more
    assert count_paths(graph, "x") == 8**6
    assert len(skips(graph)) == 12


@pytest.mark.parametrize(("name", "norms"), [("pre_ln", 1), ("post_ln", 12), ("deepnorm", 36)])
def test_norms_on_the_path_of_all_skips(name, norms):
    graph = load(name)
    edges = {edge.target: edge for edge in graph.edges if edge.role == "skip"}
    node, found, end = "x", 0, graph.nodes[-1].name
    while node != end:
        onward = graph.edges_out_of(node)
        edge = next((e for e in onward if edges.get(e.target) == e), onward[0])
        node = edge.target
        op = graph.node(node).op
        found += op is not None and op.name == "LayerNorm"
    assert found == norms


def test_deepnorm():
    graph = load("deepnorm")
    layer = nn.TransformerEncoderLayer(512, 8, 2048, device="meta")
    assert total(graph) == 18 * sum(p.numel() for p in layer.parameters())
    assert count_paths(graph, "x") == 8**18
    # DeepNet, Fig. 2: α = (2N)^(1/4) and β = (8N)^(−1/4) for an encoder of N layers.
    scales = [edge.scale.value for edge in graph.edges if edge.role == "skip"]
    assert scales == pytest.approx([(2 * 18) ** 0.25] * 36, rel=1e-15)
    state = compile(load("deepnorm", depth=2), seed=0).state_dict()
    xavier = math.sqrt(2 / (512 + 512))
    for name, gain in (("q", 1), ("k", 1), ("v", (8 * 2) ** -0.25), ("proj", (8 * 2) ** -0.25)):
        std = state[f"h.1.attn.{name}.weight"].std().item()
        assert std == pytest.approx(gain * xavier, rel=0.01)


def test_denseformer():
    graph = load("denseformer")
    assert count_paths(graph, "x") == 2 * 3**7
    assert [count_paths(load("denseformer", depth=d), "x") for d in (1, 2, 5)] == [2, 6, 2 * 3**4]
    block = norm(64) + linear(64, 256) + linear(256, 64)
    weights_of_sums = sum(range(1, 9))
    assert total(graph) == 8 * block + weights_of_sums + linear(64, 1)


def test_denseformer_starts_as_a_residual_network():
    graph = load("denseformer", depth=3, width=8)
    module = compile(graph, seed=0)
    x = torch.randn(4, 8)
    h = x
    for block in module.h.children():
        h = h + block.fc2(block.act(block.fc1(block.ln(h))))
    torch.testing.assert_close(module(x), module.head(h))


def test_hyper_connections():
    graph = load("hyper_connections")
    assert count_paths(graph, "x") == 4 * 8**8
    # Each layer adds n² + 2n numbers: A_r, A_m and B (Hyper-Connections, Eq. 1), n = 4.
    layer = norm(64) + linear(64, 256) + linear(256, 64) + 4 * 4 + 2 * 4
    assert total(graph) == 8 * layer + linear(64, 1)


def test_hyper_connections_start_as_a_residual_network():
    module = compile(load("hyper_connections", depth=5, width=8), seed=0)
    x = torch.randn(4, 8)
    h = x
    for layer in module.h.children():
        h = h + layer.fc2(layer.act(layer.fc1(layer.ln(h))))
    torch.testing.assert_close(module(x), module.head(4 * h))


@pytest.mark.parametrize("depth", [1, 2, 6])
def test_value_residual(depth):
    graph = load("value_residual", depth=depth)
    assert count_paths(graph, "x") == 8**depth + 2 * (8 ** (depth - 1) - 1) // 7
    block = 4 * linear(256, 256) + linear(256, 1024) + linear(1024, 256) + 2 * norm(256)
    assert total(graph) == depth * block + norm(256)


def test_values_are_mixed_with_those_of_the_first_layer():
    graph = load("value_residual", depth=3)
    assert [(e.source, e.scale.value) for e in graph.edges_into("h.2.v")] == [
        ("h.0.own", Fraction(1, 2)),
        ("h.2.own", Fraction(1, 2)),
    ]


@pytest.mark.parametrize("name", ["pre_ln", "post_ln", "deepnorm", "value_residual", "gpt2"])
def test_small_sizes_keep_the_closed_forms(name):
    graph = load(name, **small(name))
    extra = 2 if name == "value_residual" else 0
    wrt = "wte" if name == "gpt2" else "x"
    assert count_paths(graph, wrt) == 8**2 + extra
