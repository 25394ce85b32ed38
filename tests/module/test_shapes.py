from __future__ import annotations

import copy
import gc
import inspect
import random
import weakref
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from torch import nn

from archgraph.errors import Mark, SpecError
from archgraph.graph import GraphBuilder, Scale, Term, learnable
from archgraph.graph.build import assemble
from archgraph.module import compile, draw, infer
from archgraph.module import shapes as shapes_module
from archgraph.ops import opaque, parse_call
from tests.module.networks import GOLDEN, initialiser
from tests.strategies import graphs


def one_layer(call, *inputs, dtype="float", below=None, **attributes):
    builder = GraphBuilder("one")
    names = [
        builder.input(f"x{i}", shape, dtype=dtype, below=below) for i, shape in enumerate(inputs)
    ]
    ports = parse_call(call).op.ports if isinstance(call, str) else ()
    reads = {p.name: [n] for p, n in zip(ports, names, strict=False)} if len(names) > 1 else names
    builder.layer("y", parse_call(call) if isinstance(call, str) else call, reads, **attributes)
    return builder.build()


def message(graph) -> str:
    with pytest.raises(SpecError) as caught:
        infer(graph)
    return str(caught.value)


@pytest.mark.parametrize(
    ("call", "shape", "expected", "axis"),
    [
        ("Linear(4)", (3, 8), (3, 4), 2),
        ("Conv2d(4, 3, stride=2)", (3, 9, 9), (4, 4, 4), 1),
        ("ConvTranspose1d(4, 2, stride=2)", (3, 9), (4, 18), 1),
        ("LayerNorm", (3, 8), (3, 8), 2),
        ("LayerNorm(normalized_shape=(3, 8))", (3, 8), (3, 8), 2),
        ("BatchNorm2d", (3, 4, 4), (3, 4, 4), 1),
        ("MaxPool2d(2)", (3, 9, 9), (3, 4, 4), 1),
        ("Flatten", (3, 4, 4), (48,), 1),
        ("GRU(5)", (7, 3), (7, 5), 2),
        ("Reshape(2, -1)", (8,), (2, 4), None),
        ("Mean(1)", (7, 3), (3,), 1),
        ("ReLU", (7, 3), (7, 3), None),
    ],
)
def test_what_one_op_gives(call, shape, expected, axis):
    value = infer(one_layer(call, shape))["y"]
    assert (value.shape, value.channel_axis) == (expected, axis)


@pytest.mark.parametrize("limit", [0, 10**9], ids=["on meta", "on the CPU"])
@pytest.mark.parametrize("name", GOLDEN)
def test_large_and_small_layers_give_the_same(name, limit, monkeypatch):
    expected = infer(GOLDEN[name]())
    monkeypatch.setattr("archgraph.module.instances.SMALL", limit)
    assert infer(GOLDEN[name]()) == expected


@settings(max_examples=40, deadline=None)
@given(graph=graphs())
def test_shapes_are_those_of_the_compiled_module(graph):
    """The oracle is torch: hooks on the layers of the compiled module."""
    network, seen = compile(graph, seed=0), {}
    for name, layer in network.named_modules():
        layer.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
    network(*draw(graph, batch=3, dtype=torch.float32).inputs)
    shapes = infer(graph)
    layers = [node for node in graph.nodes if node.op is not None]
    assert {n.name: tuple(seen[n.module].shape) for n in layers} == {
        n.name: (3, *shapes[n.name].shape) for n in layers
    }
    named = dict(network.named_parameters())
    assert {n: tuple(p.shape) for n, p in named.items()} == dict(shapes.parameters)
    assert shapes.total == sum(p.numel() for p in named.values())
    for node in layers:
        own = network.get_submodule(node.module).parameters()
        assert shapes.count(node.module) == sum(p.numel() for p in own)


def test_the_largest_sizes_take_no_memory():
    graph = one_layer("Linear(1000000)", (1_000_000,))
    assert infer(graph).total == 10**12 + 10**6


def test_cin_is_the_size_of_the_channels():
    arguments = infer(one_layer("Conv2d(2*cin, 3, groups=cin)", (6, 8, 8))).arguments["y"]
    assert (arguments["out_channels"], arguments["groups"]) == (12, 6)


def test_inferred_sizes_are_among_the_arguments():
    arguments = infer(one_layer("MultiheadAttention(2)", (5, 8), (5, 8), (5, 8))).arguments["y"]
    assert arguments == {"batch_first": True, "embed_dim": 8, "num_heads": 2}


def test_elements_of_a_tuple():
    graph = one_layer("MultiheadAttention(2)", (5, 8), (7, 8), (7, 8))
    shapes = infer(graph)
    assert (shapes["y"].shape, shapes.element("y", 1).shape) == ((5, 8), (5, 7))
    assert shapes.tuples == {"y"}


def test_an_element_without_a_batch_is_refused():
    builder = GraphBuilder("states")
    net = builder.layer("net", parse_call("LSTM(4)"), [builder.input("x", (5, 3))])
    builder.layer("state", parse_call("ReLU"), [Term(net, element=1)])
    builder.layer("none", parse_call("ReLU"), [Term(net, element=2)])
    text = message(builder.build())
    assert "'state' reads element 1 of 'net', which has no tensor with the batch in front" in text
    assert "'none' reads element 2 of 'net', which has elements 0 … 1" in text


def test_a_parameter_is_expanded_over_the_batch():
    builder = GraphBuilder("token")
    x = builder.input("x", (4, 6))
    token = builder.layer("token", parse_call("Parameter(1, 6)"), {})
    joined = builder.layer("joined", None, [token, x], merge="concat", dim=1)
    graph = builder.build()
    shapes = infer(graph)
    assert (shapes[token].batched, shapes[joined].batched) == (False, True)
    assert shapes[joined].shape == (5, 6)
    assert shapes.dims[joined, "input"] == 1


# --- what is refused ----------------------------------------------------------------------------


def terms_of(builder: GraphBuilder, *shapes: tuple[int, ...]) -> list[str | Term]:
    return [builder.input(name, shape) for name, shape in zip("abc", shapes, strict=False)]


@pytest.mark.parametrize(
    ("merge", "dim", "shapes", "expected"),
    [
        (
            "add",
            None,
            ((32,), (16,)),
            "<bad>:1:1: error[shape-mismatch]: 'y' adds (32,) from 'a' and (16,) from 'b'\n"
            "  why:  add is elementwise, so its terms must have one shape (batch axis excluded)\n"
            "  help: put Linear(32) on the skip, or use concat, which would give (48,)",
        ),
        (
            "add",
            None,
            ((8, 4, 4), (3, 4, 4)),
            "<bad>:1:1: error[shape-mismatch]: 'y' adds (8, 4, 4) from 'a' and (3, 4, 4) from 'b'\n"
            "  why:  add is elementwise, so its terms must have one shape (batch axis excluded)\n"
            "  help: put Conv2d(8, 1) on the skip, or use concat, which would give (11, 4, 4)",
        ),
        (
            "add",
            None,
            ((4, 3), (1, 3)),
            "<bad>:1:1: error[shape-mismatch]: 'y' adds (4, 3) from 'a' and (1, 3) from 'b'\n"
            "  why:  add is elementwise, so its terms must have one shape (batch axis excluded)\n"
            "  help: put Conv1d(4, 1) on the skip, or use concat, which would give (5, 3)",
        ),
        (
            "multiply",
            None,
            ((4, 3), (2, 3)),
            "<bad>:1:1: error[shape-mismatch]: 'y' multiplies (4, 3) from 'a' and (2, 3) from 'b'\n"
            "  why:  a product is elementwise: each axis must have one size, or size 1 in one "
            "factor",
        ),
        (
            "concat",
            2,
            ((3, 4), (5, 4)),
            "<bad>:1:1: error[shape-mismatch]: 'y' concatenates (3, 4) from 'a' and (5, 4) from "
            "'b' along axis 2\n"
            "  why:  all axes but the one of the concat must have equal sizes (the batch is axis "
            "0, and is not shown)\n"
            "  help: along axis 1 they would fit: dim=1",
        ),
        (
            "concat",
            0,
            ((3, 4), (3, 4)),
            "<bad>:1:1: error[concat-axis]: 'y' concatenates along axis 0 of (3, 4) from 'a'\n"
            "  why:  axis 0 is the batch, so these values have the axes 1 … 2, or -1 … -2 from the "
            "back",
        ),
        (
            "concat",
            None,
            ((3, 4), (3, 4)),
            "<bad>:1:1: error[unknown-axis]: 'y' concatenates (3, 4) from 'a' and (3, 4) from 'b', "
            "and which axis holds the channels is not known\n"
            "  why:  the default axis of a concat is that of the channels, which the layer before "
            "sets\n"
            "  help: give dim: concat(…, dim=1) for channels before pixels, dim=-1 for the last "
            "axis",
        ),
    ],
)
def test_merges_that_do_not_fit(merge, dim, shapes, expected):
    builder = GraphBuilder("bad")
    builder.layer("y", None, terms_of(builder, *shapes), merge=merge, dim=dim)
    assert message(builder.build()) == expected


def test_a_product_broadcasts_over_axes_of_size_one():
    builder = GraphBuilder("gate")
    terms = terms_of(builder, (4, 1, 3), (4, 5, 1))
    builder.layer("y", None, terms, merge="multiply")
    assert infer(builder.build())["y"].shape == (4, 5, 3)


def test_what_torch_refuses_is_said_in_its_words():
    assert message(one_layer("Conv2d(8, 3, groups=2)", (3, 9, 9))) == (
        "<one>:1:1: error[op-refused]: 'y' cannot be Conv2d(8, 3, groups=2) of (3, 9, 9) from "
        "'x0'\n"
        "  why:  in_channels must be divisible by groups"
    )
    assert (
        "why:  Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of size:"
        in (message(one_layer("Conv2d(8, 3)", (3,))))
    )


@pytest.mark.parametrize("limit", [0, 10**9], ids=["on meta", "on the CPU"])
def test_integers_are_refused_by_what_computes(limit, monkeypatch):
    monkeypatch.setattr("archgraph.module.instances.SMALL", limit)
    text = message(one_layer("Linear(3)", (5,), dtype="int64", below=4))
    assert "'y' cannot be Linear(3) of (5,) from 'x0'" in text
    assert "help: integers are read through an Embedding first" in text
    builder = GraphBuilder("scaled")
    builder.layer("y", None, [Term(builder.input("i", (3,), dtype="int64", below=4), Scale(2))])
    assert "'y' multiplies the integers of 'i' by 2" in message(builder.build())


def test_every_problem_is_reported_and_nothing_of_what_follows():
    builder = GraphBuilder("bad")
    x = builder.input("x", (8,))
    builder.layer("one", parse_call("Conv2d(8, 3)"), [x])
    builder.layer("two", None, [builder.layer("wide", parse_call("Linear(9)"), [x]), x])
    builder.layer("after", parse_call("Linear(9)"), ["two"])
    builder.layer("last", None, ["one", "after"])
    with pytest.raises(SpecError) as caught:
        infer(builder.build())
    assert [p.code for p in caught.value.problems] == ["op-refused", "shape-mismatch"]


def test_a_problem_is_at_the_mark_of_its_edge():
    builder = GraphBuilder("marked")
    builder.layer("y", None, terms_of(builder, (3,), (4,)))
    graph = builder.build()
    edges = [replace(e, mark=Mark("net.yaml", 7, 3)) for e in graph.edges if e.target == "y"]
    marked = assemble("marked", graph.nodes[:-1], edges, graph.outputs, graph.loss)
    assert message(marked).startswith("net.yaml:7:3: error[shape-mismatch]")


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda x: [1], "it returns int, not a tensor"),
        (lambda x: (), "it returns an empty tuple"),
        (lambda x: x.sum(), "it returns a single number, and the first axis must be the batch"),
        (
            lambda x: x.T,
            r"it returns a tensor of shape (3, batch), and the first axis must be the batch",
        ),
        (lambda x: x.no_such_thing, "'Tensor' object has no attribute 'no_such_thing'"),
    ],
)
def test_callables_that_give_no_batch(function, why):
    assert message(one_layer(opaque(function), (3,))).endswith(f"why:  {why}")


@pytest.mark.parametrize("limit", [0, 10**9], ids=["on meta", "on the CPU"])
def test_a_callable_that_needs_real_numbers(limit, monkeypatch):
    monkeypatch.setattr("archgraph.module.instances.SMALL", limit)
    through_numpy = opaque(lambda x: torch.from_numpy(x.numpy().repeat(2, axis=1)))
    assert infer(one_layer(through_numpy, (3,)))["y"].shape == (6,)


@pytest.mark.parametrize("limit", [0, 10**9], ids=["on meta", "on the CPU"])
def test_a_users_module_is_left_alone(limit, monkeypatch):
    monkeypatch.setattr("archgraph.module.instances.SMALL", limit)
    norm = nn.BatchNorm1d(3)
    before = copy.deepcopy(norm.state_dict())
    assert infer(one_layer(norm, (3,)))["y"].shape == (3,)
    assert all(torch.equal(norm.state_dict()[name], value) for name, value in before.items())


def test_one_module_in_two_layers_is_refused():
    layer, builder = nn.Linear(3, 3), GraphBuilder("twice")
    first = builder.layer("first", layer, [builder.input("x", (3,))])
    builder.layer("second", layer, [first])
    assert "this very module is layer 'first' already: copy it" in message(builder.build())


def test_inplace_over_a_value_that_is_read_again():
    builder = GraphBuilder("overwritten")
    x = builder.layer("x", parse_call("Linear(3)"), [builder.input("input_", (3,))])
    act = builder.layer("act", parse_call("ReLU(inplace=True)"), [x])
    builder.layer("y", None, [act, x])
    assert "error[in-place]: 'act' overwrites 'x', which 'y' reads too" in message(builder.build())
    alone = GraphBuilder("alone")
    x = alone.layer("x", parse_call("Linear(3)"), [alone.input("input_", (3,))])
    alone.layer("act", parse_call("ReLU(inplace=True)"), [x])
    assert infer(alone.build())["act"].shape == (3,)


def test_shared_weights_of_two_shapes():
    builder = GraphBuilder("shared")
    x = builder.input("x", (3,))
    a = builder.layer("a", parse_call("Linear(4)"), [x])
    builder.layer("b", parse_call("Linear(4)"), [a])
    graph = builder.build()
    nodes = [replace(n, module="a") if n.name == "b" else n for n in graph.nodes[:-1]]
    edges = [e for e in graph.edges if e.target != "L"]
    shared = assemble("shared", nodes, edges, graph.outputs, graph.loss)
    assert "why:  it shares the weights of 'a', which have another shape" in message(shared)


def test_learnable_scales():
    builder = GraphBuilder("learnt")
    image = builder.input("image", (3, 4, 4))
    conv = builder.layer("conv", parse_call("Conv2d(3, 1)"), [image])
    each = learnable("each", 1, per_channel=True)
    builder.layer("y", None, [Term(conv, each), Term(image, learnable("all"))])
    assert infer(builder.build()).parameters["each"] == (3, 1, 1)
    unknown = GraphBuilder("unknown")
    unknown.layer("y", None, [Term(unknown.input("image", (3, 4, 4)), each)])
    assert "'each' has a number per channel of 'image', whose channel axis" in (
        message(unknown.build())
    )


def test_names_that_would_stand_in_each_other():
    builder = GraphBuilder("nested")
    x = builder.input("x", (3,))
    inner = builder.layer("fc.weight", parse_call("Linear(3)"), [x])
    builder.layer("fc", parse_call("Linear(3)"), [inner])
    assert "'fc.weight' would stand inside the layer 'fc'" in message(builder.build())
    builder = GraphBuilder("same")
    fc = builder.layer("fc", parse_call("Linear(3)"), [builder.input("x", (3,))])
    builder.layer("y", None, ["x", Term(fc, learnable("fc"))])
    assert "a layer and a learnable number are both called 'fc'" in message(builder.build())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"init": (("bias", initialiser("kaiming_normal")),)},
            "'y.bias' of shape (4,) cannot start as kaiming_normal()",
        ),
        ({"ties": (("y.weight", "z.weight"),)}, "the tie names 'z.weight', which is no parameter"),
        (
            {"ties": (("y.weight", "y.bias"),)},
            "'y.weight' of shape (4, 3) cannot be tied to 'y.bias' of shape (4,)",
        ),
    ],
)
def test_what_is_said_of_parameters(changes, expected):
    assert expected in message(replace(one_layer("Linear(4)", (3,)), **changes))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (10**200, "1e+200"),
        (-1e39, "-1e+39"),
        (initialiser("normal", std=1e200), "normal(std=1e+200)"),
    ],
)
def test_an_initialiser_that_float32_cannot_hold(value, shown):
    found = message(one_layer("Linear(4)", (3,), init=(("weight", value),)))
    assert f"'y.weight' of shape (4, 3) cannot start as {shown}\n" in found
    assert "why:  float32 holds numbers up to 3.4e+38" in found


def test_an_initialiser_of_no_parameter():
    graph = one_layer("Linear(4)", (3,), init=(("wieght", 0),))
    assert "'y' has no parameter 'wieght' to initialise" in message(graph)
    assert "why:  its parameters are: weight, bias" in message(graph)


@pytest.mark.parametrize(
    ("loss", "shape", "expected"),
    [
        ("CrossEntropyLoss", (3, 4, 4), "the class axis is the channel axis, and which one"),
        ("CTCLoss", (3,), "it compares more than an output and one target"),
        ("MultiMarginLoss", (3, 4), "which one that is is not known"),
    ],
)
def test_losses_that_do_not_fit(loss, shape, expected):
    builder = GraphBuilder("bad")
    builder.layer("y", parse_call("ReLU"), [builder.input("x", shape)])
    builder.loss("y", parse_call(loss))
    text = message(builder.build())
    assert f"the loss 'loss' cannot be {loss}() of {shape} from 'y'" in text
    assert expected in text


# --- and what is left as it was -----------------------------------------------------------------


def test_random_state_is_untouched_and_the_result_is_kept_as_long_as_the_graph():
    graph = GOLDEN["attention"]()
    state = torch.get_rng_state()
    found = infer(graph)
    assert torch.equal(torch.get_rng_state(), state)
    assert infer(graph) is found
    key, gone = id(graph), weakref.ref(graph)
    del graph
    gc.collect()
    assert gone() is None
    assert key not in shapes_module._CACHE


def test_no_op_has_a_shape_rule_of_its_own():
    """Shapes come from running the op: no op's name stands in the code that infers them."""
    text = inspect.getsource(shapes_module) + inspect.getsource(
        inspect.getmodule(shapes_module.run)
    )
    code = "\n".join(
        line for line in text.splitlines() if ">>>" not in line and "help=" not in line
    )
    assert not [name for name in ("Conv", "LSTM", "Pool", "Flatten") if name in code]


def test_random_graphs_have_equal_shapes_by_seed():
    from tests.strategies import random_graph

    one, other = (random_graph(random.Random(5)) for _ in range(2))
    assert infer(one) == infer(other)
