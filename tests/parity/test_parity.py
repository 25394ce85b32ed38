"""The zoo against its references."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from archgraph.module import Batch, compile, loss
from archgraph.spec import load, parse, zoo
from tests.parity.cases import CASES, SMALL_GPT2, gpt2_state, gpt2_with_loss
from tests.parity.comparing import compare, different_keys, shake
from tests.references import MissingReferenceError, torchvision_models, transformers


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def references():
    try:
        torchvision_models()
        transformers()
    except MissingReferenceError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_parity(case):
    row = compare(case)
    assert row.first_difference is None
    assert row.ok, row


def test_gpt2_has_the_loss_of_its_reference():
    graph = load("gpt2", **SMALL_GPT2)
    ours = compile(graph)
    reference = gpt2_with_loss()
    shake(reference)
    ours.load_state_dict(gpt2_state(reference.state_dict()))
    tokens = torch.randint(SMALL_GPT2["vocab"], (3, SMALL_GPT2["context"]))
    following = torch.nn.functional.pad(tokens[:, 1:], (0, 1), value=-100)
    value = loss(graph, ours.eval()(tokens), Batch((tokens,), (following,)))
    expected = reference.eval()(tokens, labels=tokens).loss
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("before", ["bn1", "relu1", "conv2", "conv3"])
def test_a_layer_inserted_into_a_block_changes_no_other_key(before):
    path: Path = zoo()["resnet"]
    head, bottleneck = path.read_text(encoding="utf-8").split("  bottleneck:\n")
    probed = bottleneck.replace(f"      {before}:", f"      probe: Identity()\n      {before}:", 1)
    assert probed != bottleneck
    graph = parse(f"{head}  bottleneck:\n{probed}", size=64)
    assert sum(node.name.endswith(".probe") for node in graph.nodes) == 16
    ours = compile(graph)
    reference = torchvision_models().resnet50()
    assert len(ours.state_dict()) == 320
    assert different_keys(ours.state_dict(), reference.state_dict()) is None
