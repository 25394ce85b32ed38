from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from archgraph.errors import UsageError
from archgraph.graph import GraphBuilder, Scale, Term, learnable, records
from archgraph.ops import parse_call
from archgraph.paths import iter_paths
from archgraph.paths.algebra import Atom, Literal, add, multiply, write
from archgraph.paths.equations import derive
from archgraph.paths.factors import Factors, parse_assumption, path_factor
from tests.paths import networks
from tests.paths.reference import Reference, evaluate
from tests.strategies import graphs, target_names


def factors_of(graph, wrt, *assumptions):
    return [path_factor(graph, path.edges, assumptions) for path in iter_paths(graph, wrt)]


def hop(graph, edge_id):
    return write(Factors(graph).hop(graph.edge(edge_id))).text


def test_symbols_of_a_residual_network_in_the_order_of_backprop():
    graph = networks.residual()
    symbols = [symbol for _, symbol in factors_of(graph, "x1")]
    assert symbols == [
        "∂L/∂x5·φ'(z_x5)·W_F4·φ'(z_x4)·W_F3·φ'(z_x3)·W_F2·φ'(z_x2)·W_F1",
        "∂L/∂x5·φ'(z_x5)·λ·φ'(z_x3)·W_F2·φ'(z_x2)·W_F1",
        "∂L/∂x5·φ'(z_x5)·W_F4·φ'(z_x4)·W_F3·φ'(z_x3)·λ",
        "∂L/∂x5·φ'(z_x5)·λ·φ'(z_x3)·λ",
    ]


def test_symbols_of_each_kind_of_merge():
    dense, highway, rezero = networks.dense_block(), networks.highway(), networks.rezero()
    assert hop(dense, "H3->H5") == "W_H5·S_H3"
    assert hop(dense, "H0->H1") == "W_H1"
    assert hop(networks.dense_block(read_all=True), "H3->L") == "∂⁺L/∂H3"
    assert hop(highway, "H->y~1") == "diag(T)"
    assert hop(highway, "x->y~3") == "diag(1 − T)"
    assert hop(highway, "T->y~2") == "−1"
    assert hop(highway, "y~1->y") == "1"
    assert hop(rezero, "act->y") == "α"
    assert hop(rezero, "act->L") == "0.3·∂ℓ_aux/∂act"
    assert hop(networks.scaled_residual(2), "s0->s1") == "0.5"
    assert hop(networks.parallel(), "x->y#2") == "φ'(z_y)·1/3"


def test_symbols_of_ops_that_are_no_matrix_and_no_activation():
    b = GraphBuilder("many")
    x = b.input("x", (4, 8))
    norm = b.layer("ln", parse_call("LayerNorm"), [x])
    lstm = b.layer("lstm", parse_call("LSTM(8)"), [norm])
    terms = {"query": [Term(lstm, Scale(2))], "key": [norm], "value": [x]}
    sdpa = b.layer("sdpa", parse_call("ScaledDotProductAttention(2)"), terms)
    b.layer("mine", lambda value: value, [sdpa])
    b.layer(
        "gate",
        None,
        [Term("mine", Scale(3)), Term(norm, Scale(Fraction(1, 2))), x],
        merge="multiply",
    )
    b.layer("twice", None, [x, "gate", x], merge="concat")
    graph = b.build()
    assert hop(graph, "x->ln") == "J_ln"
    assert hop(graph, "ln->lstm") == "J_lstm"
    assert hop(graph, "lstm->sdpa[query]") == "J_sdpa[query]·2·E_0"
    assert hop(graph, "sdpa->mine") == "J_mine"
    assert hop(graph, "mine->gate") == "3·0.5·diag(ln·x)"
    assert hop(graph, "x->twice") == "S_x,1"
    assert hop(graph, "x->twice#1") == "S_x,2"


def test_a_multiplier_is_written_as_the_spec_spells_it():
    def written(text, value=Fraction(1, 2)):
        b = GraphBuilder("toy")
        b.layer("y", None, [Term(b.input("x", (2,)), Scale(value, text=text)), "x"])
        return hop(b.build(), "x->y")

    assert written("lam") == "λ"
    assert written("1 - lam") == "(1 − λ)"
    assert written("alpha**2 / (2 * k1)") == "α²/(2·k1)"
    assert written("-lam", Fraction(-1, 2)) == "(−λ)"
    assert written("1/2") == "0.5"
    assert written("1 if deep else 0") == "0.5"
    assert written("sqrt(k)", 0.25) == "0.25"
    assert written(None, Fraction(-2, 3)) == "−2/3"


def test_the_users_symbol_is_used():
    b = GraphBuilder("toy")
    x = b.input("x", (2,))
    b.layer("act", parse_call("Tanh"), [x], symbol=r"\hat{y}")
    b.layer("out", parse_call("Tanh"), ["act"], symbol=r"\sigma_{2}")
    graph = b.build()
    factor = write(Factors(graph).symbol([graph.edge("act->out"), graph.edge("out->L")]))
    assert factor.text == "∂L/∂σ_2·φ'(z_σ_2)"
    assert factor.latex == (
        r"\frac{\partial L}{\partial \sigma_{2}} \cdot \varphi'(z_{\sigma_{2}})"
    )
    partial = Factors(graph).partial("out", "act")
    assert partial.text == "∂⁺σ_2/∂act"
    assert partial.latex.endswith(r"{\partial \hat{y}}")


def test_a_symbol_that_is_no_latex_is_taken_as_text():
    b = GraphBuilder("toy")
    b.layer("y", None, [b.input("x", (2,)), "x"], symbol="50 % {")
    assert Factors(b.build()).names("y").latex == r"\text{50 \% \{}"


def test_two_signs_make_none():
    w = Atom("w", "w")
    assert write(multiply(Literal(-1), w, Literal(-2))).text == "w·2"
    assert write(multiply(Literal(-1), w, Literal(2))).text == "−w·2"
    assert (
        write(add([multiply(w, Literal(-1)), Literal(-3), multiply(w, w)])).text == "−w − 3I + w·w"
    )


def test_names_that_would_look_alike_are_spelt_out():
    b = GraphBuilder("toy")
    b.layer("x_1", parse_call("Tanh"), [b.input("x1", (2,))])
    names = Factors(b.build()).names
    assert {names("x1").latex, names("x_1").latex} == {r"\mathrm{x1}", r"\text{x\_1}"}


# --- numbers ----------------------------------------------------------------------------------


def chain(depth):
    b = GraphBuilder("chain")
    name = b.input("x", (4,))
    for i in range(depth):
        name = b.layer(f"act{i}", parse_call("Sigmoid"), [name])
    return b.build()


def test_the_quarter_of_the_notes_is_exact_over_nineteen_layers():
    ((number, _),) = factors_of(chain(19), "x", "act*=0.25", "L=1")
    assert number == Fraction(1, 4**19)
    assert isinstance(number, Fraction)


def test_without_an_assumption_a_jacobian_has_no_number():
    assert [number for number, _ in factors_of(chain(2), "x", "act*=0.5")] == [None]
    assert [number for number, _ in factors_of(chain(2), "x", "act0=0.5", "L=2")] == [None]


def test_the_last_match_counts_and_a_star_matches_the_loss():
    assert factors_of(chain(3), "x", "*=3", "act?=2")[0][0] == 24
    assert factors_of(chain(3), "x", "act?=2", "*=3")[0][0] == 81
    assert factors_of(chain(3), "x", "*=2", "act[12]=0")[0][0] == 0


def test_scales_multiply_what_is_assumed_of_a_node_but_not_of_an_edge():
    graph = networks.scaled_residual(8)
    numbers = [number for number, _ in factors_of(graph, "s0", "*=1")]
    assert numbers[-1] == Fraction(1, 2) ** 8
    assert max(numbers) == 1
    last = factors_of(graph, "s0", "*=1", "s0->s1=3")[-1][0]
    assert last == 3 * Fraction(1, 2) ** 7


def test_products_of_scales_stay_exact_over_the_blocks_from_l_to_the_loss():
    # With λ = 0.5, l = 3 and L = 6 the product over i = l … L − 1 is an eighth.
    graph = networks.scaled_residual(6)
    assert factors_of(graph, "s3", "L=1", "F*=0")[-1][0] == Fraction(1, 8)


def test_affine_and_merges_have_numbers_and_products_do_not():
    graph = networks.highway()
    edges = [graph.edge(i) for i in ("T->y~2", "y~3->y")]
    assert path_factor(graph, edges)[0] == -1
    assert path_factor(graph, [graph.edge("y~2->y~3")])[0] is None
    assert path_factor(graph, [graph.edge("y~2->y~3")], ["y~2->y~3=0.5"])[0] == Fraction(1, 2)


def test_a_parameters_own_step_has_no_number():
    assert factors_of(networks.mlp3(), "Z3.weight", "*=1")[0] == (
        None,
        "∂L/∂A3·φ'(z_A3)·∂⁺Z3/∂Z3.weight",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("F*", r"reads PATTERN=NUMBER, as in 'F\*=0.25', not 'F\*'"),
        ("=2", "reads PATTERN=NUMBER"),
        ("F*=lots", r"in the assumption 'F\*=lots': .*'lots'"),
        ("F*=None", "'None' is not a number"),
        ("F*=True", "'True' is not a number"),
    ],
)
def test_an_assumption_that_cannot_be_read(text, message):
    with pytest.raises(UsageError, match=message):
        parse_assumption(text)


def test_an_assumption_that_matches_nothing_is_a_mistake():
    with pytest.raises(
        UsageError, match="no layer and no edge is called 'ac0'; did you mean 'act0'"
    ):
        Factors(chain(2), ["ac0=1"])
    with pytest.raises(UsageError, match="no layer and no edge is called 'x'"):
        Factors(chain(2), ["x=1"])


# --- symbols against autograd -----------------------------------------------------------------


def assert_symbols_are_the_gradient(graph, wrt):
    reference = Reference(graph)
    derivation = derive(graph, wrt, view="op", form="local", max_terms=10_000)
    expected = reference.gradient(wrt)
    found, size = torch.zeros_like(expected), 1e-30
    for term in derivation.terms:
        product = 1
        for factor in term.factors:
            edge = derivation.view.base.hops[factor.hop.last]
            value = evaluate(factor.local, lambda atom, e=edge: reference.matrix(atom, e, wrt))
            if isinstance(product, torch.Tensor) and isinstance(value, torch.Tensor):
                product = product @ value if value.dim() == 2 else product * value
            else:
                product = product * (float(value) if not isinstance(value, torch.Tensor) else value)
        found = found + product.flatten()
        size += product.norm().item()
    assert (found - expected).norm().item() <= 1e-12 * size


@settings(deadline=None, max_examples=60)
@given(graphs(max_layers=6), st.data())
def test_local_derivatives_evaluate_to_autograds_gradient(graph, data):
    assert_symbols_are_the_gradient(graph, data.draw(st.sampled_from(target_names(graph))))


@pytest.mark.parametrize("wrt", ["x1", "x2", "F1.weight", "F3.bias"])
def test_local_derivatives_of_the_residual_network(wrt):
    assert_symbols_are_the_gradient(networks.residual(5, Fraction(-3, 2)), wrt)


@pytest.mark.parametrize("wrt", ["H0", "H3", "H1.weight"])
def test_local_derivatives_of_the_dense_block(wrt):
    assert_symbols_are_the_gradient(networks.dense_block(k=3), wrt)


def test_a_learnable_multiplier_of_one_factor_is_in_the_others_factor():
    b = GraphBuilder("gated")
    x, y = b.input("x", (3,)), b.input("y", (3,))
    terms = [Term(x, learnable("alpha1", 1)), Term(y, learnable("alpha2", 1, per_channel=True)), x]
    b.layer("out", None, terms, merge="multiply")
    graph = b.build()
    assert hop(graph, "y->out") == "diag(α2)·α1·diag(x·x)"
    for wrt in ("x", "y", "alpha1", "alpha2"):
        assert_symbols_are_the_gradient(graph, wrt)


def test_a_zero_multiplier_stays_in_sight():
    b = GraphBuilder("off")
    b.layer("y", None, [Term(b.input("x", (2,)), Scale(0)), "x"])
    graph = b.build()
    assert Factors(graph).hop(graph.edge("x->y")) == Literal(0)
    assert records.ONE.is_one
