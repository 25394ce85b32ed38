"""What the catalogue says of each op, held against torch: one row per op in `rows.py`."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
import torch
from torch.autograd.functional import jacobian

from archgraph.ops import catalogue, parse_call, track_channel_axis
from archgraph.ops.families import FACTS, FAMILIES
from tests.ops.rows import LOSSES, ROWS, Row, build, draw_inputs, is_integer

torch.set_num_threads(1)

ONE_ROW_EACH = list({row.op: row for row in ROWS}.values())
# SyncBatchNorm trains on accelerators alone; it is built, but not run.
RUNNABLE = [row for row in ROWS if row.op != "SyncBatchNorm"]
FLOATING = [
    row
    for row in RUNNABLE
    if row not in LOSSES
    and row.shapes
    and not any(is_integer(parse_call(row.call), p.name) for p in parse_call(row.call).op.ports)
]
TOLERANCE = 1e-9
"""Float64 maps of a few dozen terms round at 1e-14; what is not linear misses by 1e-3 and more."""


def each(rows: list[Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", rows, ids=[row.call for row in rows])


def runner(row: Row) -> Callable[..., torch.Tensor]:
    """Return the layer as a function of its ports' values, the same at every call."""
    call = parse_call(row.call)
    module = build(call, tuple(row.shapes), row.axis)
    ports = [port.name for port in call.op.ports if port.required]

    def run(*values: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)  # the same dropout mask
        output = module(**dict(zip(ports, values, strict=True)))
        return output[0] if call.returns_tuple else output

    return run


def test_every_op_and_family_has_a_row() -> None:
    assert {row.op for row in ROWS} == set(catalogue.names()) == set(FACTS)
    assert {catalogue.get(row.op).family for row in ROWS} == {family.name for family in FAMILIES}


@each(ONE_ROW_EACH)
def test_ports_are_those_of_forward(row: Row) -> None:
    call = parse_call(row.call)
    module = build(call, tuple(row.shapes), row.axis)
    accepted = inspect.signature(module.forward).parameters
    required = [name for name, p in accepted.items() if p.default is p.empty]
    assert [port.name for port in call.op.ports if port.required] == required
    assert {port.name for port in call.op.ports} <= set(accepted)


# torch says that it will not use a fast path, which matters to nobody here.
@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize(
    ("row", "text"), [(row, text) for row in ROWS for text in (row.call, *row.variants)]
)
def test_parameters_are_the_modules(row: Row, text: str) -> None:
    call = parse_call(text)
    module = build(call, tuple(row.shapes), row.axis)
    assert sorted(call.parameter_names()) == sorted(dict(module.named_parameters()))


@each(ONE_ROW_EACH)
def test_arguments_are_accepted_with_their_defaults(row: Row) -> None:
    """Every default that the catalogue names is one that torch takes, given by name."""
    call = parse_call(row.call)
    filled = {a.name: a.default for a in call.op.arguments if not a.required} | dict(call.arguments)
    filled = {k: v for k, v in filled.items() if v is not None or k not in call.op.inferred}
    full = type(call)(call.op, tuple(filled.items()))
    build(full, tuple(row.shapes), row.axis)


@each(FLOATING)
def test_linear_means_affine(row: Row) -> None:
    run = runner(row)
    x = list(draw_inputs(row).values())
    y = [torch.roll(value, 1, dims=-1).flip(0) * 2 - 1 for value in x]
    between = run(*(3 * a - 2 * b for a, b in zip(x, y, strict=True)))
    straight = 3 * run(*x) - 2 * run(*y)
    error = (between - straight).abs().max() / straight.abs().max()
    assert parse_call(row.call).op.linear == bool(error < TOLERANCE)


@each(FLOATING)
def test_elementwise_means_a_diagonal_jacobian(row: Row) -> None:
    run = runner(row)
    x = list(draw_inputs(row).values())[:1]
    small = [value[..., :3] if value.dim() == 5 else value for value in x]
    output = run(*x, *list(draw_inputs(row).values())[1:])
    claimed = parse_call(row.call).op.elementwise
    if output.shape != x[0].shape or len(draw_inputs(row)) > 1:
        assert not claimed
        return
    rows = jacobian(run, small[0]).reshape(small[0].numel(), -1)
    off_diagonal = rows - torch.diag(rows.diagonal())
    assert claimed == bool(off_diagonal.abs().max() == 0)


@each(ROWS)
def test_an_activation_is_elementwise_and_not_linear(row: Row) -> None:
    op = parse_call(row.call).op
    assert not op.activation or (op.elementwise and not op.linear)
    # The converse: what is elementwise and no activation is an affine map.
    assert not op.elementwise or op.activation or op.linear


@each(ONE_ROW_EACH)
def test_weight_layers_have_a_matrix_that_meets_a_float_input(row: Row) -> None:
    call = parse_call(row.call)
    module = build(call, tuple(row.shapes), row.axis)
    has_matrix = any(parameter.dim() >= 2 for parameter in module.parameters())
    reads_floats = any(p.required and not is_integer(call, p.name) for p in call.op.ports)
    assert call.op.weight_layer == (has_matrix and reads_floats)


@each(RUNNABLE)
def test_channel_axis_holds_the_channels(row: Row) -> None:
    call = parse_call(row.call)
    if row.channels is None:
        assert row.op not in ("Linear", "Conv2d")
        return
    inputs = list(draw_inputs(row).values())
    output = runner(row)(*inputs)
    rank = inputs[0].dim() if inputs else output.dim()
    axis = track_channel_axis(call, row.axis, rank)
    assert axis is not None
    assert output.shape[axis] == row.channels
    assert sorted(output.shape).count(row.channels) == 1, "the row cannot tell the axes apart"


@each(RUNNABLE)
def test_gradient_flag_and_tuples(row: Row) -> None:
    if row in LOSSES and parse_call(row.call).op.target:
        return  # the next test
    call = parse_call(row.call)
    module = build(call, tuple(row.shapes), row.axis)
    inputs = draw_inputs(row)
    for value in inputs.values():
        value.requires_grad_(value.is_floating_point())
    output = module(**inputs)
    assert call.returns_tuple == isinstance(output, tuple)
    first = output[0] if isinstance(output, tuple) else output
    assert call.op.gradient == first.requires_grad


def draw_target(kind: str, output: torch.Tensor) -> torch.Tensor:
    noise = torch.rand(output.shape, dtype=output.dtype)
    return {
        "classes": lambda: torch.arange(output.shape[0]) % output.shape[1],
        "normal": lambda: torch.randn(output.shape, dtype=output.dtype),
        "binary": lambda: noise.round(),
        "sign": lambda: noise.round() * 2 - 1,
        "distribution": lambda: noise.softmax(1),
        "counts": lambda: (4 * noise).floor(),
        "labels": lambda: torch.tensor([[1, 3, -1, -1]] * output.shape[0]),
    }[kind]()


@each([row for row in LOSSES if parse_call(row.call).op.target])
def test_a_loss_takes_the_target_it_names(row: Row) -> None:
    call = parse_call(row.call)
    module = build(call, tuple(row.shapes), row.axis)
    output = torch.rand(row.shapes[0], dtype=torch.float64).requires_grad_()
    loss = module(output, draw_target(call.op.target, output))
    assert call.op.loss
    assert loss.shape == ()
    loss.backward()
    assert torch.isfinite(output.grad).all()
    assert output.grad.any()


def test_losses_are_those_that_torch_calls_so() -> None:
    losses = {name for name in catalogue.names() if catalogue.get(name).loss}
    named = {name for name in catalogue.names() if name.endswith("Loss")}
    assert losses == named - {"AdaptiveLogSoftmaxWithLoss"}  # returns a tuple


@pytest.mark.parametrize("name", ["MaxPool2d", "AdaptiveMaxPool1d", "FractionalMaxPool2d"])
def test_return_indices_makes_a_tuple(name: str) -> None:
    text = f"{name}(2, output_size=2" if name.startswith("Frac") else f"{name}(2"
    assert not parse_call(f"{text})").returns_tuple
    call = parse_call(f"{text}, return_indices=True)")
    shape = (2, 4, 6) if name.endswith("1d") else (2, 4, 6, 8)
    output = build(call, (shape,), 1)(torch.randn(shape, dtype=torch.float64))
    assert call.returns_tuple
    assert isinstance(output, tuple)
