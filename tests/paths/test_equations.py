import json
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import pytest

from archgraph.errors import TargetError, UsageError
from archgraph.graph import GraphBuilder, Scale, Term
from archgraph.ops import parse_call
from archgraph.paths.equations import derive, format_numbers
from tests.goldens import assert_golden
from tests.paths import networks
from tests.strategies import residual_graph


def lines(derivation, form):
    return derivation.equation(form).text.splitlines()


def test_four_terms_between_the_first_state_and_the_loss():
    derivation = derive(networks.residual(), "x1")
    assert derivation.count == 4
    assert lines(derivation, "partials") == [
        "∂L/∂x1 = ∂L/∂x5·∂⁺x5/∂x4·∂⁺x4/∂x3·∂⁺x3/∂x2·∂⁺x2/∂x1",
        "       + ∂L/∂x5·∂⁺x5/∂x3·∂⁺x3/∂x2·∂⁺x2/∂x1",
        "       + ∂L/∂x5·∂⁺x5/∂x4·∂⁺x4/∂x3·∂⁺x3/∂x1",
        "       + ∂L/∂x5·∂⁺x5/∂x3·∂⁺x3/∂x1",
    ]
    assert [term.nodes for term in derivation.terms][-1] == ("x1", "x3", "x5", "L")


def test_the_nested_form_goes_from_one_meeting_of_all_paths_to_the_next():
    assert lines(derive(networks.residual(), "x1"), "nested") == [
        "∂L/∂x1 = ∂L/∂x3·(∂⁺x3/∂x2·∂⁺x2/∂x1 + ∂⁺x3/∂x1)",
        "       = ∂L/∂x3·φ'(z_x3)·(W_F2·φ'(z_x2)·W_F1 + λI)",
        "∂L/∂x3 = ∂L/∂x5·(∂⁺x5/∂x4·∂⁺x4/∂x3 + ∂⁺x5/∂x3)",
        "       = ∂L/∂x5·φ'(z_x5)·(W_F4·φ'(z_x4)·W_F3 + λI)",
    ]


def test_the_local_form_shows_the_mask_on_the_skip():
    derivation = derive(networks.residual(), "x1")
    assert lines(derivation, "local")[-1] == "       + ∂L/∂x5·φ'(z_x5)·λ·φ'(z_x3)·λ"
    meanings = {atom.text: atom.meaning for atom in derivation.meanings}
    assert meanings["φ'(z_x3)"] == "diag(1[z > 0]) at z = F2 + λ·x1, the slope of ReLU"
    assert meanings["λ"] == "= 1"


def test_between_two_nodes():
    derivation = derive(networks.residual(), "x1", of="x5")
    assert lines(derivation, "local") == [
        "∂x5/∂x1 = φ'(z_x5)·W_F4·φ'(z_x4)·W_F3·φ'(z_x3)·W_F2·φ'(z_x2)·W_F1",
        "        + φ'(z_x5)·λ·φ'(z_x3)·W_F2·φ'(z_x2)·W_F1",
        "        + φ'(z_x5)·W_F4·φ'(z_x4)·W_F3·φ'(z_x3)·λ",
        "        + φ'(z_x5)·λ·φ'(z_x3)·λ",
    ]
    assert lines(derivation, "nested")[0] == ("∂x5/∂x1 = ∂x5/∂x3·(∂⁺x3/∂x2·∂⁺x2/∂x1 + ∂⁺x3/∂x1)")
    assert lines(derivation, "nested")[2] == "∂x5/∂x3 = ∂⁺x5/∂x4·∂⁺x4/∂x3 + ∂⁺x5/∂x3"


# --- what the notes get wrong, put right --------------------------------------------------------


def test_the_path_through_the_branch_is_counted_once():
    # The note's third term counts x1 → x2 → x3 a second time: there are two ways to x3.
    derivation = derive(networks.residual(), "x1", of="x3")
    assert lines(derivation, "partials") == [
        "∂x3/∂x1 = ∂⁺x3/∂x2·∂⁺x2/∂x1",
        "        + ∂⁺x3/∂x1",
    ]
    assert derive(networks.residual(), "x3").count == 2


def test_the_skips_factor_is_the_mask_times_lambda_and_not_one():
    (_, skip) = derive(networks.residual(), "x3", of="x5", form="local").terms
    assert skip.to_dict()["local"] == "φ'(z_x5)·λ"


def test_the_direct_edge_of_the_dense_block_is_not_missing():
    assert lines(derive(networks.dense_block(), "H3"), "partials") == [
        "∂L/∂H3 = ∂L/∂H5·∂⁺H5/∂H4·∂⁺H4/∂H3",
        "       + ∂L/∂H5·∂⁺H5/∂H3",
    ]
    assert derive(networks.dense_block(read_all=True), "H3").count == 4


def test_the_sum_over_later_layers_has_totals_times_direct_partials():
    derivation = derive(networks.dense_block(read_all=True), "H3", form="nested")
    assert lines(derivation, "nested")[::2] == [
        "∂L/∂H3 = ∂L/∂H4·∂⁺H4/∂H3 + ∂L/∂H5·∂⁺H5/∂H3 + ∂⁺L/∂H3",
        "∂L/∂H4 = ∂L/∂H5·∂⁺H5/∂H4 + ∂⁺L/∂H4",
    ]


def test_a_chain_of_weight_layers_reads_as_the_note_on_vanishing_gradients_has_it():
    derivation = derive(networks.mlp3(), "Z1.weight", form="local")
    assert lines(derivation, "local") == [
        "∂L/∂Z1.weight = ∂L/∂A3·φ'(z_A3)·W_Z3·φ'(z_A2)·W_Z2·φ'(z_A1)·∂⁺Z1/∂Z1.weight"
    ]
    assert r"\frac{\partial L}{\partial W_{Z_{1}}} &= " in derivation.latex


# --- other shapes -------------------------------------------------------------------------------


def test_several_edges_between_two_states_are_told_apart():
    derivation = derive(networks.parallel(), "x")
    assert lines(derivation, "partials")[1] == "      + ∂L/∂z·∂⁺z/∂y·∂⁺y/∂x|direct#1"
    assert lines(derivation, "local")[1] == "      − ∂L/∂z·φ'(z_y)"
    assert lines(derivation, "nested")[1] == ("      = ∂L/∂z·(φ'(z_y)·(1 − 1 + 1/3) − 0.5I)")
    assert "∂⁺b/∂a|t is its part" in derivation.text
    assert "∂⁺b/∂a|t is its part" not in derive(networks.residual(), "x1").text


def test_hidden_merges_show_as_their_formula():
    derivation = derive(networks.highway(), "x")
    assert lines(derivation, "partials")[1] == "      + ∂L/∂y·∂⁺y/∂x|(1 − T)·x"
    assert lines(derivation, "local")[1] == "      + ∂L/∂y·(−diag(x)·φ'(z_T)·W_t + diag(1 − T))"


def test_a_hidden_merge_of_a_long_formula_shows_its_implied_name():
    b = GraphBuilder("long")
    x = b.input("x", (4,))
    names = [b.layer(f"activation_{i}", parse_call("Tanh"), [x]) for i in range(3)]
    b.layer("y~1", None, names, merge="multiply")
    b.layer("y", None, ["y~1", x])
    assert lines(derive(b.build(), "x"), "partials")[0] == "∂L/∂x = ∂L/∂y·∂⁺y/∂x|y~1"


def test_a_hop_of_too_many_ways_keeps_its_partial():
    graph = replace(residual_graph(8), states=("x", "out.7"))
    derivation = derive(graph, "x")
    assert derivation.count == 2
    assert lines(derivation, "local")[1] == "      + ∂L/∂out.7·∂⁺out.7/∂x|out.6"
    assert {a.meaning for a in derivation.meanings} == {"the sum over 128 ways"}


def test_two_summands_of_the_loss_that_read_one_node():
    b = GraphBuilder("twice")
    b.layer("y", parse_call("Tanh"), [b.input("x", (2,))])
    b.loss("y", None, name="main")
    b.loss("y", None, name="aux", scale=Fraction(3, 10))
    derivation = derive(b.build(), "x")
    assert lines(derivation, "partials") == [
        "∂L/∂x = ∂⁺L/∂y|main·∂⁺y/∂x",
        "      + ∂⁺L/∂y|aux·∂⁺y/∂x",
    ]
    assert lines(derivation, "local") == [
        "∂L/∂x = ∂⁺L/∂y|main·φ'(z_y)",
        "      + 0.3·∂ℓ_aux/∂y·φ'(z_y)",
    ]


def test_a_long_region_inside_a_skip_is_named_and_a_short_one_is_not():
    def skip_over(blocks):
        b = GraphBuilder("over")
        state = b.input("x", (4,))
        for i in range(blocks):
            f = b.layer(f"f{i}", parse_call("Linear(4)"), [state])
            state = b.layer(f"s{i}", None, [f, state])
        b.layer("y", None, [state, "x"])
        return derive(b.build(), "x", view="op", form="nested")

    short, long = lines(skip_over(2), "nested"), lines(skip_over(40), "nested")
    assert short == [
        "∂L/∂x = ∂L/∂y·(∂⁺y/∂s1·(∂⁺s1/∂f1·∂⁺f1/∂s0 + ∂⁺s1/∂s0)·(∂⁺s0/∂f0·∂⁺f0/∂x + ∂⁺s0/∂x) "
        "+ ∂⁺y/∂x)",
        "      = ∂L/∂y·((W_f1 + I)·(W_f0 + I) + I)",
    ]
    assert 2 < len(long) < 40


def test_deep_nesting_ends_in_names_and_not_in_a_stack_overflow():
    b = GraphBuilder("fan")
    names = [b.input("x", (4,))]
    for i in range(600):
        names.append(b.layer(f"f{i}", parse_call("Tanh"), [names[-1]]))
    b.layer("y", None, names)
    derivation = derive(b.build(), "x", view="op", max_terms=1)
    assert derivation.count == 601
    text = derivation.equation("nested").text
    assert max(line.count("(") for line in text.replace("φ'(", "").splitlines()) <= 7


def test_no_path_and_the_node_itself():
    graph = networks.residual()
    nothing = derive(graph, "x5", of="x1")
    assert (nothing.count, nothing.terms) == (0, ())
    assert nothing.equation("nested").text == "∂x1/∂x5 = 0"
    assert "no gradient path leads from x5 to x1" in nothing.text
    same = derive(graph, "x3", of="x3")
    assert same.equation("partials").text == same.equation("nested").text == "∂x3/∂x3 = 1"


def test_a_target_next_to_the_end_still_has_its_line():
    assert lines(derive(networks.residual(), "x5"), "nested") == ["∂L/∂x5 = ∂L/∂x5"]
    assert lines(derive(networks.residual(), "x4", of="x5"), "nested") == [
        "∂x5/∂x4 = ∂⁺x5/∂x4",
        "        = φ'(z_x5)·W_F4",
    ]


# --- size ---------------------------------------------------------------------------------------


def test_beyond_the_budget_the_first_terms_and_the_count():
    derivation = derive(networks.scaled_residual(8), "s0", max_terms=2)
    assert (derivation.count, len(derivation.terms), derivation.hidden) == (256, 2, 254)
    assert lines(derivation, "local") == [
        "∂L/∂s0 = ∂L/∂s8·W_F8·W_F7·W_F6·W_F5·W_F4·W_F3·W_F2·W_F1",
        "       + ∂L/∂s8·0.5·W_F7·W_F6·W_F5·W_F4·W_F3·W_F2·W_F1",
        "       + … (254 more)",
    ]
    assert r"\cdots \text{ (254 more)}" in derivation.equation("local").latex
    assert len(lines(derivation, "nested")) == 16


def test_a_form_writes_fewer_terms_than_are_kept():
    derivation = derive(networks.scaled_residual(5), "s0")
    assert len(derivation.terms) == derivation.count == 32
    assert len(lines(derivation, "partials")) == 17
    assert lines(derivation, "partials")[-1] == "       + … (16 more)"


def test_a_network_of_more_paths_than_anyone_could_list():
    derivation = derive(residual_graph(333), "x", max_terms=3)
    assert derivation.count == 2**333
    assert "about 10^100 terms" in derivation.text
    assert len(lines(derivation, "nested")) == 2 * 333
    assert json.loads(json.dumps(derivation.to_dict()))["count"] == 2**333


# --- forms, JSON, errors ------------------------------------------------------------------------


def test_one_form_alone():
    derivation = derive(networks.residual(), "x1", form="nested")
    assert [equation.form for equation in derivation.equations] == ["nested"]
    assert derivation.latex == derivation.equation("nested").latex
    with pytest.raises(UsageError, match="the form 'local' was not derived"):
        derivation.equation("local")


def test_json_has_the_documented_keys():
    derivation = derive(networks.residual(), "x1")
    found = json.loads(json.dumps(derivation.to_dict()))
    assert {"wrt", "text", "latex", "terms"} <= set(found)
    assert found["wrt"] == "x1"
    assert found["text"] == str(derivation) == derivation.text
    assert found["terms"][-1] == {
        "nodes": ["x1", "x3", "x5", "L"],
        "text": "∂L/∂x5·∂⁺x5/∂x3·∂⁺x3/∂x1",
        "latex": r"\frac{\partial L}{\partial x_{5}}"
        r" \cdot \frac{\partial^{+} x_{5}}{\partial x_{3}}"
        r" \cdot \frac{\partial^{+} x_{3}}{\partial x_{1}}",
        "local": "∂L/∂x5·φ'(z_x5)·λ·φ'(z_x3)·λ",
        "local_latex": r"\frac{\partial L}{\partial x_{5}} \cdot \varphi'(z_{x_{5}}) \cdot \lambda"
        r" \cdot \varphi'(z_{x_{3}}) \cdot \lambda",
        "factors": [
            {"source": s, "target": t, "routes": 1, "symbol": symbol, "local": local}
            for s, t, symbol, local in (
                ("x5", "L", "∂L/∂x5", "∂L/∂x5"),
                ("x3", "x5", "∂⁺x5/∂x3", "φ'(z_x5)·λ"),
                ("x1", "x3", "∂⁺x3/∂x1", "φ'(z_x3)·λ"),
            )
        ],
    }


def test_what_is_asked_for_wrongly():
    graph = networks.residual()
    with pytest.raises(UsageError, match=r"no form 'nest': choose .*; did you mean 'nested'"):
        derive(graph, "x1", form="nest")
    with pytest.raises(UsageError, match="at least 1, not 0"):
        derive(graph, "x1", max_terms=0)
    with pytest.raises(TargetError, match="'x7'"):
        derive(graph, "x7")
    with pytest.raises(TargetError, match="'x7'"):
        derive(graph, "x1", of="x7")


# --- numbers ------------------------------------------------------------------------------------


def test_numbers_term_by_term_and_the_sum_beside_autograd():
    derivation = derive(networks.residual(1), "x1", of="x5")
    numbers = {"∂⁺x5/∂x4": 0.5, "∂⁺x4/∂x3": -2.0, "∂⁺x3/∂x2": 3.0, "∂⁺x2/∂x1": 0.25}
    numbers |= {"∂⁺x5/∂x3": 1.0, "∂⁺x3/∂x1": 1.0}
    values = [
        [(f.symbol.text, numbers[f.symbol.text]) for f in t.factors] for t in derivation.terms
    ]
    assert format_numbers(derivation, values, reference=0.0).splitlines() == [
        "∂⁺x5/∂x4·∂⁺x4/∂x3·∂⁺x3/∂x2·∂⁺x2/∂x1 = 0.5 · (−2) · 3 · 0.25 = −0.75",
        "∂⁺x5/∂x3·∂⁺x3/∂x2·∂⁺x2/∂x1          = 1 · 3 · 0.25          = 0.75",
        "∂⁺x5/∂x4·∂⁺x4/∂x3·∂⁺x3/∂x1          = 0.5 · (−2) · 1        = −1",
        "∂⁺x5/∂x3·∂⁺x3/∂x1                   = 1 · 1                 = 1",
        "sum, ∂x5/∂x1                                                = 0",
        "autograd                                                    = 0",
        "difference                                                  = 0.0e+00",
    ]


def test_numbers_of_some_terms_are_not_held_against_the_whole():
    derivation = derive(networks.residual(1), "x1", max_terms=1)
    text = format_numbers(derivation, [[("a", 2.0)]], reference=5.0)
    assert text.splitlines()[-1].startswith("sum of these 1, 3 more left out")
    with pytest.raises(UsageError, match="1 terms need as many lists of numbers, not 0"):
        format_numbers(derivation, [])


# --- golden files, borders ----------------------------------------------------------------------

GOLDEN = {
    "residual_x1": lambda: derive(networks.residual(), "x1"),
    "residual_x5_by_x1": lambda: derive(networks.residual(lam=Fraction(-1, 2)), "x1", of="x5"),
    "residual_op_x3": lambda: derive(networks.residual(), "x3", view="op"),
    "dense_block_H3": lambda: derive(networks.dense_block(), "H3"),
    "dense_block_all_H3": lambda: derive(networks.dense_block(read_all=True), "H3"),
    "dense_block_H0": lambda: derive(networks.dense_block(), "H0", max_terms=4),
    "highway_x": lambda: derive(networks.highway(), "x"),
    "highway_op_x": lambda: derive(networks.highway(), "x", view="op"),
    "projection_x": lambda: derive(networks.projection(), "x"),
    "mlp3_Z1_weight": lambda: derive(networks.mlp3(), "Z1.weight", view="op"),
    "scaled_residual_s0": lambda: derive(networks.scaled_residual(3), "s0"),
    "parallel_x": lambda: derive(networks.parallel(), "x"),
    "rezero_alpha": lambda: derive(networks.rezero(), "alpha"),
    "rezero_x": lambda: derive(networks.rezero(), "x"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name):
    derivation = GOLDEN[name]()
    assert_golden(f"equations/{name}.txt", f"{derivation.text}\n{derivation.latex}\n")


def test_no_torch_is_imported():
    code = """
import sys
sys.modules["torch"] = sys.modules["numpy"] = None
from archgraph.graph import GraphBuilder
from archgraph.ops import parse_call
from archgraph.paths.equations import derive
b = GraphBuilder("toy")
b.layer("y", parse_call("Tanh"), [b.input("x", (2,))])
print(derive(b.build(), "x").equation("local").latex)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert r"\varphi'(z_{y})" in done.stdout


def test_symbols_in_the_users_words():
    b = GraphBuilder("own")
    x = b.input("x", (2,))
    b.layer(
        "hidden_state",
        parse_call("Tanh"),
        [x, Term(x, Scale(Fraction(1, 3), text="gamma/3"))],
        symbol=r"h_{t}",
    )
    derivation = derive(b.build(), "x", form="local")
    assert lines(derivation, "local")[1] == "      + ∂L/∂h_t·φ'(z_h_t)·γ/3"
    assert r"\varphi'(z_{h_{t}}) \cdot \tfrac{\gamma}{3}" in derivation.latex
