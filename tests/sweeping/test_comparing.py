"""Networks side by side, and signals along them, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from archgraph.errors import SpecError, UsageError
from archgraph.spec import parse
from archgraph.sweeping import compare, parse_grid
from archgraph.sweeping.comparing import Variant, variants_of
from archgraph.sweeping.profile import profile_of, states_of
from archgraph.sweeping.signals import measure_signals, places_of
from archgraph.sweeping.source import Source
from tests.sweeping.networks import RESIDUAL

SOURCE = Source(RESIDUAL, "by_depth.yaml")


def test_specs_are_called_what_they_call_themselves():
    one = Source(b"archgraph: 1\nname: net\ninputs: {x: [2]}\nlayers: {y: Linear(2)}\n", "a.yaml")
    other = Source(one.text.replace(b"name: net\n", b""), "b.yaml")
    found = variants_of([one, other], parse_grid([]))
    assert [(v.label, v.spec) for v in found] == [("net", "net"), ("b", "b")]
    alike = variants_of([one, Source(one.text, "c.yaml")], parse_grid([]))
    assert [variant.label for variant in alike] == ["a", "c"]


def test_labels_and_params_of_several_specs():
    grid = parse_grid(["depth=2,3", "lam=0.5"])
    other = Source(RESIDUAL.replace(b", lam: 1.0", b"").replace(b"lam*", b""), "plain.yaml")
    found = variants_of([SOURCE, other], grid)
    assert [variant.label for variant in found] == [
        "by_depth, depth=2",
        "by_depth, depth=3",
        "plain, depth=2",
        "plain, depth=3",
    ]
    assert found[0].graph.params["lam"] == 0.5
    assert "lam" not in found[2].graph.params
    assert [v.label for v in variants_of([SOURCE], parse_grid(["act=ReLU,Tanh"]))] == [
        "ReLU",
        "Tanh",
    ]


def test_what_cannot_be_compared():
    with pytest.raises(UsageError, match=r"by_depth\.yaml has no param 'dpth'"):
        variants_of([SOURCE], parse_grid(["dpth=1"]))
    other = Source(RESIDUAL, "other.yaml")
    with pytest.raises(UsageError, match="none of the specs has a param 'dpth'"):
        variants_of([SOURCE, other], parse_grid(["dpth=1"]))
    with pytest.raises(UsageError, match="at most 24 networks"):
        variants_of([SOURCE], parse_grid(["depth=1:25"]))
    with pytest.raises(UsageError, match="are both by_depth"):
        variants_of([SOURCE, SOURCE], parse_grid([]))
    with pytest.raises(SpecError, match="depth"):
        variants_of([SOURCE], parse_grid(["depth=-1"]))


def test_weights_against_autograd():
    graph = SOURCE.load()
    found = compare([SOURCE], batch=2, samples=200)
    (variant,) = found.variants
    assert variant.predicted is not None
    assert variant.predicted.names == ("h.0.F", "h.1.F")
    squares = torch.zeros(2, dtype=torch.float64)
    from archgraph.gradient import run_once

    for seed in range(100):
        tape = run_once(graph, batch=2, seed=seed)
        pulled = tape.cotangents().parameters
        squares += torch.stack([pulled[f"h.{i}.F.weight"].square().sum() for i in range(2)])
    measured = (squares / 100).sqrt()
    for k, value in enumerate(variant.predicted.values):
        error = variant.predicted.errors[k]
        # 200 networks against 100: the difference has three times the variance.
        assert abs(value - measured[k]) < 4 * math.sqrt(3) * error
        assert 0 < error < 0.2 * value


def test_states_follow_the_closed_form():
    # E‖∂L/∂x_l‖² = (λ² + T)^(L − l), T = 1 under He's init.
    found = compare(["scaled_residual"], {"lam": [0.5, 1.1], "width": 256}, at="states", samples=32)
    for variant, lam in zip(found.variants, (0.5, 1.1), strict=True):
        assert variant.predicted is not None
        assert len(variant.predicted.names) == 9
        for k, value in enumerate(variant.predicted.values):
            assert value == pytest.approx((lam**2 + 1) ** ((8 - k) / 2), rel=0.15)
        assert variant.gain_db == pytest.approx(20 * math.log10(variant.profile.values[0]))


def test_errors_of_states_are_of_norms():
    from archgraph.prediction import predict

    graph = SOURCE.load()
    found = predict(graph, samples=64)
    profile = profile_of(graph, found, "states")
    for name, value, error in zip(profile.names, profile.values, profile.errors, strict=True):
        node = found.nodes[name]
        assert value**2 == pytest.approx(node.energy)
        if node.standard_error:  # the reference has none
            low, high = node.energy - node.standard_error, node.energy + node.standard_error
            assert error == pytest.approx((math.sqrt(high) - math.sqrt(low)) / 2, rel=0.02)


def test_states_without_a_spec_of_them_are_between_blocks():
    assert states_of(SOURCE.load()) == ("x", "h.0.out", "h.1.out")


def test_a_network_without_weights_has_states_only():
    bare = Source(b"{archgraph: 1, inputs: {x: [2]}, layers: {y: ReLU()}}", "bare.yaml")
    with pytest.raises(UsageError, match="has no weight layer; its states"):
        compare([bare], samples=4)
    (variant,) = compare([bare], at="states", samples=4).variants
    assert variant.profile.names == ("x", "y")


def test_shared_weights_are_one_place():
    from archgraph.prediction import predict
    from archgraph.spec import load

    graph = load("rnn")
    profile = profile_of(graph, predict(graph, samples=4), "weights")
    assert len(set(profile.names)) == len(profile.names)
    modules = {graph.node(name).module for name in profile.names}
    assert len(modules) == len(profile.names)


def test_measured_stands_beside_predicted():
    found = compare([SOURCE], batch=2, samples=400, networks=300, seed=1)
    (variant,) = found.variants
    predicted, measured = variant.predicted, variant.measured
    assert predicted.names == measured.names
    for k in range(len(predicted.names)):
        error = math.hypot(predicted.errors[k], measured.errors[k])
        assert abs(predicted.values[k] - measured.values[k]) < 4 * error
        assert 0 < measured.errors[k] < 0.2 * measured.values[k]


def test_json_is_complete():
    found = compare([SOURCE], {"lam": [0.5, 1]}, samples=4).to_dict()
    assert [variant["settings"] for variant in found["variants"]] == [{"lam": 0.5}, {"lam": 1}]
    place = found["variants"][0]["predicted"][0]
    assert set(place) == {"name", "value", "standard_error"}
    assert found["variants"][0]["measured"] is None


# --- signals -----------------------------------------------------------------------------------


def _variant(source: Source, **settings: object) -> Variant:
    (found,) = variants_of([source], parse_grid([f"{k}={v}" for k, v in settings.items()]))
    return found


HE = RESIDUAL + b"init: {weight: kaiming_normal(nonlinearity='relu'), bias: 0}\n"


def test_branch_variance_of_he_is_that_of_the_paper():
    # Brock et al. 2021: Var(W·relu(x)) over examples is 1 − 1/π, and E of the square 1.
    variant = _variant(Source(HE, "he.yaml"), width=128, depth=1, lam=0.5)
    found = measure_signals(variant, networks=8, batch=256)
    assert found.branches is not None
    (branch,) = found.branches.values
    assert branch == pytest.approx(1 - 1 / math.pi, rel=0.03)
    (mean_square,) = found.mean_squares.values
    assert mean_square == pytest.approx(1 / math.pi, rel=0.12)
    # x0 and the branch are uncorrelated over networks: λ²·1 + (1 − 1/π).
    (variance,) = found.variances.values
    assert variance == pytest.approx(0.25 + 1 - 1 / math.pi, rel=0.05)


def test_a_scaled_branch_is_measured_with_its_scale():
    text = HE.replace(b"lam*input + F", b"input + lam*F")
    found = {
        lam: measure_signals(_variant(Source(text, "s.yaml"), depth=1, lam=lam), networks=1)
        for lam in (0.5, 1)
    }
    half, one = (found[lam].branches.values[0] for lam in (0.5, 1))
    assert half == pytest.approx(one / 4, rel=1e-12)


def test_the_statistics_of_one_network():
    variant = _variant(SOURCE, depth=2)
    found = measure_signals(variant, networks=1, batch=8, seed=3)
    from archgraph.module import compile, draw

    module = compile(variant.graph, seed=3, dtype=torch.float64)
    (x,) = draw(variant.graph, batch=8, seed=3, dtype=torch.float64).inputs
    with torch.no_grad():
        out = module(x)
    mean, spread = out.mean(0), out.var(0, correction=0)
    assert found.mean_squares.values[-1] == pytest.approx(float(mean.square().mean()), rel=1e-12)
    assert found.variances.values[-1] == pytest.approx(float(spread.mean()), rel=1e-12)
    assert found.variances.errors == (None, None)


def test_channels_of_a_convolution_are_its_own():
    text = b"{archgraph: 1, inputs: {x: [2, 4, 4]}, layers: {y: 'Conv2d(3, 1)', z: y + y}}"
    (variant,) = variants_of([Source(text, "conv.yaml")], parse_grid([]))
    found = measure_signals(variant, networks=1, batch=2)
    assert found.branches is None
    from archgraph.gradient import run_once

    value = run_once(variant.graph, batch=2, seed=0, train=True).outputs()[0]
    rows = value.transpose(0, 1).reshape(3, -1)
    assert found.variances.values[-1] == pytest.approx(
        float(rows.var(1, correction=0).mean()), rel=1e-12
    )


def test_a_layer_with_an_op_is_looked_at_before_the_op():
    from archgraph.spec import load

    places = dict(places_of(load("residual")))
    assert list(places) == ["x3", "x5"]
    assert [edge.source for edge in places["x3"]] == ["F2"]


def test_a_call_without_a_sum_is_a_gap_where_most_have_one():
    text = (
        "{archgraph: 1, inputs: {x: [2]}, blocks: {unit: {params: {skip: true}, layers: {"
        "z: Linear(2), out: 'input + z if skip else z'}}}, "
        "layers: {h: {op: 'unit(i != 1)', repeat: 3}, y: Linear(2)}}"
    )
    places = dict(places_of(parse(text)))
    assert list(places) == ["h.0.out", "h.1.out", "h.2.out"]
    assert places["h.1.out"] is None
    few = dict(places_of(parse(text.replace("i != 1", "i == 1"))))
    assert list(few) == ["h.1.out"]


def test_signals_refuse_what_has_no_variance():
    with pytest.raises(UsageError, match="batch of at least 2"):
        measure_signals(_variant(SOURCE), batch=1)
