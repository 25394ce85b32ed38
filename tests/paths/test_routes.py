import itertools
import math
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archgraph.errors import TargetError, UsageError
from archgraph.graph import GraphBuilder, Scale, Term
from archgraph.ops import parse_call
from archgraph.paths import count_paths, iter_paths, iter_routes, rank_routes
from archgraph.paths.stage import MAX_STAGES, find_stages
from archgraph.paths.view import view
from archgraph.paths.walk import walk
from archgraph.spec import load
from tests.paths import networks
from tests.paths.oracle import brute_paths, brute_product, brute_users, cases
from tests.strategies import residual_graph

GRADES = ("branches", "weights", "skips")
NUMBERS = (1, 0, 2, 0.5, 0.1, Fraction(1, 3), 1e-300)


def binomials(n):
    return [math.comb(n, k) for k in range(n + 1)]


# --- against enumeration --------------------------------------------------------------------------


def brute_classes(graph, wrt, stages, weight):
    """By what is taken of each stage: [count, λ products, weight layers, sum of weights]."""
    own = len(graph.edges)
    classes = {}
    learnt = any(e.scale.learn and e.scale.learn.name == wrt for e in graph.edges)
    users = brute_users(graph, wrt)
    for path in brute_paths(graph, wrt):
        taken = [0] * len(stages.names)
        for hop in path:
            if stages.of_hop[hop] is not None:
                taken[stages.of_hop[hop]] += stages.degrees[hop]
        entered = [graph.edges[i].target if i < own else users[i - own] for i in path]
        if path and path[0] >= own and not learnt:
            entered = entered[1:]
        layers = sum(
            (op := graph.node(name).op) is not None and op.name == "Linear" for name in entered
        )
        found = classes.setdefault(tuple(taken), ([], [], []))
        found[0].append(brute_product(graph, path, lambda e: e.scale.value))
        found[1].append(layers)
        found[2].append(brute_product(graph, path, weight))
    return classes


@settings(deadline=None)
@given(cases(), st.sampled_from(GRADES), st.randoms(use_true_random=False), st.booleans())
def test_routes_are_the_classes_of_all_paths(case, grade, rng, weighted):
    graph, wrt = case
    chosen = {e.id: NUMBERS[rng.randint(0, len(NUMBERS) - 1)] for e in graph.edges}
    by = chosen if weighted else "lambda"
    paths = walk(graph, wrt)
    stages = find_stages(graph, paths, grade, lambda stages: True, paths.hops.__getitem__)
    expected = brute_classes(
        graph, wrt, stages, lambda e: chosen[e.id] if weighted else abs(e.scale.value)
    )
    routes = list(iter_routes(graph, wrt, by, grade=grade))
    if not paths.order:
        assert routes == []
        return
    assert {route.taken for route in routes} == set(expected)
    for route in routes:
        scales, layers, weights = expected[route.taken]
        assert route.count == len(scales)
        assert route.scale == pytest.approx((float(min(scales)), float(max(scales))), rel=1e-12)
        assert route.weights == (min(layers), max(layers))
        assert route.total == sum(weights)
    totals = [route.total for route in routes]
    assert totals == sorted(totals, reverse=True)


def test_scales_are_exact_where_they_can_be_and_floats_where_they_cannot():
    graph = residual_graph(3, Fraction(1, 10))
    scales = {r.taken: r.scale for r in iter_routes(graph, "x")}
    assert scales == {(k,): (Fraction(1, 10 ** (3 - k)),) * 2 for k in range(4)}
    (first, *_) = rank_routes(residual_graph(3, 0.5), "x", 1)
    assert [type(scale) for scale in first.scale] == [float, float]


def test_a_range_where_the_paths_of_a_route_differ():
    b = GraphBuilder("uneven")
    state = b.input("s0", (4,))
    for i, scale in enumerate((2, Fraction(1, 2), -3), start=1):
        fc = b.layer(f"F{i}", parse_call("Linear(4)"), [state])
        state = b.layer(f"s{i}", None, [fc, Term(state, Scale(scale))])
    routes = {r.taken: (r.count, r.scale) for r in iter_routes(b.build(), "s0")}
    assert routes == {
        (0,): (1, (-3, -3)),
        (1,): (3, (-6, 1)),
        (2,): (3, (-3, 2)),
        (3,): (1, (1, 1)),
    }


# --- against closed forms and counts by name -----------------------------------------------------


def test_the_routes_of_two_to_the_333_paths_are_products_of_binomials():
    graph = load("preact_resnet", depth=1001)
    ways = binomials(111)
    every = sorted(
        (
            (-ways[a] * ways[b] * ways[c], (a, b, c))
            for a, b, c in itertools.product(range(112), repeat=3)
        )
    )
    routes = rank_routes(graph, "image", 30)
    assert [route.count for route in routes] == [-count for count, _ in every[:30]]
    assert all(route.count == math.prod(ways[taken] for taken in route.taken) for route in routes)
    first = routes[0]
    assert str(first) == "stage1 55/111 · stage2 55/111 · stage3 55/111"
    assert first.most == (111, 111, 111)
    # 3 convolutions in each of 165 branches, the first and last layer, and 0 to 3 projections.
    assert first.weights == (497, 500)
    # Ties: the order is fixed.
    assert [route.taken for route in routes[:3]] == [(55, 55, 55), (55, 55, 56), (55, 56, 55)]


def test_routes_are_all_the_paths():
    graph = load("preact_resnet", depth=56, bottleneck=False)
    routes = list(iter_routes(graph, "image"))
    assert len(routes) == 10**3
    assert sum(route.count for route in routes) == 2**27 == count_paths(graph, "image")


def by_names(graph, wrt, stage_of, grade="branch"):
    """The number of paths by how many edges of a role they take of each stage, enumerated."""
    found = Counter()
    for path in iter_paths(graph, wrt):
        taken = Counter(stage_of(edge) for edge in path.edges if edge.role == grade)
        found[frozenset(taken.items())] += 1
    return found


def as_counter(routes):
    return Counter(
        {
            frozenset((s, n) for s, n in zip(r.stages, r.taken, strict=True) if n): r.count
            for r in routes
        }
    )


def test_the_stages_of_a_resnet_are_its_repeats():
    graph = load("resnet", depth=18, lam=Fraction(1, 2))
    routes = list(iter_routes(graph, "x", "lambda"))
    assert routes[0].stages == ("layer1", "layer2", "layer3", "layer4")
    assert as_counter(routes) == by_names(graph, "x", lambda e: e.target.partition(".")[0])
    for route in routes:
        assert route.scale == (Fraction(1, 2 ** (8 - sum(route.taken))),) * 2
        assert route.total == route.count * route.scale[0]


def test_attention_and_mlp_of_a_transformer_are_two_stages():
    graph = load("gpt2", depth=2)
    routes = list(iter_routes(graph, "drop"))
    assert routes[0].stages == ("h.attn", "h.mlp")
    expected = by_names(graph, "drop", lambda e: "h." + e.source.split(".")[2])
    assert as_counter(routes) == expected
    # Each attention is entered by q, k or v.
    assert str(routes[0]) == "h.attn 2/2 · h.mlp 1/2"
    assert routes[0].count == 3**2 * 2


def test_a_part_is_called_by_its_weight_layer():
    routes = rank_routes(load("vit_b_16"), "conv_proj", 1)
    assert routes[0].stages == ("encoder.layers.self_attention", "encoder.layers.mlp")


def test_where_branches_are_read_again_and_again_weight_layers_are_counted():
    graph = load("densenet")
    routes = rank_routes(graph, "x", 1)
    assert routes[0].grade == "weights"
    assert routes[0].stages == tuple(f"features.denseblock{i}" for i in (1, 2, 3, 4))
    assert routes[0].most == (12, 24, 48, 32)
    # Two convolutions in each layer: half of them are taken in most ways.
    assert routes[0].taken == (6, 12, 24, 16)
    assert routes[0].count == math.prod(math.comb(n, n // 2) for n in (6, 12, 24, 16))
    assert rank_routes(graph, "x", 1, grade="branches")[0].grade == "branches"


@pytest.mark.parametrize(
    ("spec", "wrt", "stages"),
    [
        ("unet", "x", ("dec",)),
        ("mobilenet_v2", "x", ("features",)),
        ("elan", "image", ("stage1…stage4.cross", "stage1…stage4.stack")),
        ("googlenet", "x", ("inception3a…inception5b",)),
        ("highway", None, ("body",)),
        ("mlp", None, ()),
    ],
)
def test_stages(spec, wrt, stages):
    graph = load(spec)
    wrt = wrt or graph.inputs[0].name
    routes = list(iter_routes(graph, wrt))
    assert routes[0].stages == stages
    assert sum(route.count for route in routes) == count_paths(graph, wrt)


def test_flat_layers_that_are_numbered_are_a_stage():
    (first, *_) = rank_routes(networks.residual(), "x1", 1)
    assert str(first) == "x3…x5 1/2"
    flat = residual_graph(4)
    assert str(rank_routes(flat, "x", 1)[0]) == "out 2/4"
    nested = GraphBuilder("flattened")
    state = nested.input("x", (4,))
    for name in ("a.0.y", "a.1.y", "b.0.y"):
        fc = nested.layer(name.replace("y", "f"), parse_call("Linear(4)"), [state])
        state = nested.layer(name, None, [fc, state])
    assert str(rank_routes(nested.build(), "x", 1)[0]) == "a 1/2 · b 0/1"


def test_one_path_takes_no_part_of_a_stage():
    (only,) = iter_routes(load("mlp"), "x")
    assert (str(only), only.count, only.taken) == ("every path", 1, ())


# --- too many stages -----------------------------------------------------------------------------


def named_residual(names):
    b = GraphBuilder("named")
    state = b.input("x", (4,))
    for name in names:
        fc = b.layer(f"{name}.f", parse_call("Linear(4)"), [state])
        state = b.layer(f"{name}.y", None, [fc, state])
    return b.build()


def test_with_too_many_stages_they_are_taken_together():
    parts = [f"{top}.{i}.{letter}" for top in "pq" for i in (0, 1) for letter in "abcde"]
    (first, *_) = rank_routes(named_residual(parts[: 2 * MAX_STAGES]), "x", 1)
    assert first.stages == ("p", "q")
    letters = "abcdefghijklm"
    assert len(letters) > MAX_STAGES
    routes = list(iter_routes(named_residual(letters), "x"))
    assert [route.stages for route in routes] == [("all",)] * 14
    assert sorted(route.count for route in routes) == sorted(binomials(13))


def test_stages_that_nothing_separates_are_told_apart_only_if_they_make_few_classes():
    b = GraphBuilder("entangled")
    left = right = b.input("x", (4,))
    for i in range(70):
        f = b.layer(f"f{i}", parse_call("Linear(4)"), [left])
        g = b.layer(f"g{i}", parse_call("Linear(4)"), [right])
        left, right = b.layer(f"l{i}", None, [f, left]), b.layer(f"r{i}", None, [g, right])
    b.layer("y", None, [left, right])
    graph = b.build()
    routes = list(iter_routes(graph, "x"))
    assert {route.stages for route in routes} == {("all",)}
    assert sum(route.count for route in routes) == 2**71 == count_paths(graph, "x")


def test_stages_that_meet_the_same_others_belong_together():
    # First a and b side by side, then b and c.
    b = GraphBuilder("chain of pairs")
    state = b.input("x", (4,))
    for i, pair in enumerate(("a.0 b.0", "b.1 c.0")):
        ends = []
        for name in pair.split():
            fc = b.layer(f"{name}.f", parse_call("Linear(4)"), [state])
            ends.append(b.layer(f"{name}.y", None, [fc, state]))
        state = b.layer(f"sum{i}", None, ends)
    routes = {route.taken: route.count for route in iter_routes(b.build(), "x")}
    # Through each pair: past it on either side (2 ways), by one branch or by the other.
    assert routes == {
        (0, 0, 0): 4,
        (1, 0, 0): 2,
        (0, 1, 0): 2 + 2,
        (0, 0, 1): 2,
        (1, 1, 0): 1,
        (1, 0, 1): 1,
        (0, 2, 0): 1,
        (0, 1, 1): 1,
    }
    assert rank_routes(b.build(), "x", 1)[0].stages == ("a", "b", "c")


def test_what_every_path_takes_as_much_of_is_no_stage():
    b = GraphBuilder("side by side")
    b.input("x", (4,))
    b.layer("f1", parse_call("Linear(4)"), ["x"])
    b.layer("f2", parse_call("Linear(4)"), ["x"])
    b.layer("y", None, ["f1", "f2"])
    (only,) = iter_routes(b.build(), "x")
    assert (str(only), only.count, only.weights) == ("every path", 2, (1, 1))


# --- targets, views, errors -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["op", "state", "block"])
def test_routes_of_a_view_are_its_paths(kind):
    graph = load("resnet")
    seen = view(graph, kind, "layer2.0")
    routes = list(iter_routes(seen))
    assert routes[0].stages == ("layer2", "layer3", "layer4")
    assert sum(route.count for route in routes) == count_paths(seen, "layer2.0") == 2**12
    assert [route.count for route in iter_routes(seen, "layer4.1")] == [1, 1]


def test_parameters_and_whole_blocks():
    graph = load("resnet")
    for wrt in ("layer2.0.conv2.weight", "layer2.*"):
        routes = list(iter_routes(graph, wrt))
        assert sum(route.count for route in routes) == count_paths(graph, wrt)
    alpha = load("rezero")
    routes = list(iter_routes(alpha, "body.0.alpha", grade="weights"))
    assert sum(route.count for route in routes) == count_paths(alpha, "body.0.alpha")


def test_ends():
    graph = residual_graph(3)
    assert rank_routes(graph, "out.0", 9, of="x") == []
    assert [route.count for route in rank_routes(graph, "x", 9, of="x")] == [1]
    assert sum(r.count for r in iter_routes(graph, "x", of="out.1")) == 4


def test_json():
    (first, *_) = rank_routes(residual_graph(2, Fraction(1, 2)), "x", 1, "lambda")
    assert first.to_dict() == {
        "route": "out 1/2",
        "grade": "branches",
        "taken": {"out": 1},
        "most": {"out": 2},
        "count": 2,
        "lambda": [0.5, 0.5],
        "weights": [1, 1],
        "total": 1,
    }


def test_what_cannot_be_asked_for():
    graph = residual_graph(2)
    with pytest.raises(UsageError, match="by 'lamda'; did you mean 'lambda'"):
        rank_routes(graph, "x", 1, "lamda")
    with pytest.raises(UsageError, match="not 'branch'; did you mean 'branches'"):
        rank_routes(graph, "x", 1, grade="branch")
    with pytest.raises(UsageError, match="asked for the -1 first routes"):
        rank_routes(graph, "x", -1)
    with pytest.raises(UsageError, match="need at least 0"):
        rank_routes(graph, "x", 1, lambda edge: -1)
    with pytest.raises(TargetError, match="'x9'"):
        rank_routes(graph, "x9")


def test_names_of_stages_tell_them_apart():
    b = GraphBuilder("twice")
    state = b.input("x", (4,))
    for name in ("s.0.y", "s.1.y", "s"):
        fc = b.layer(f"{name}f", parse_call("Linear(4)"), [state])
        state = b.layer(name, None, [fc, state])
    routes = rank_routes(replace(b.build(), name="twice"), "x", 1)
    assert len(set(routes[0].stages)) == len(routes[0].stages)
