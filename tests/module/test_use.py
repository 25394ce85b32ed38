"""What a module of blocks has to do for those who use it: compile, export, copy, send, train."""

from __future__ import annotations

import copy
import inspect
import io
import os
import pickle
import socket
import sys
import traceback
import warnings
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from archgraph.module import compile, draw, source
from archgraph.spec import load
from tests.module.specs import spec

SKETCHES = Path(__file__).parents[1] / "sketches"
GPT2 = {"depth": 2, "d": 12, "heads": 2, "vocab": 17, "context": 5}
NETWORKS = {
    name: (lambda name=name: spec(name))
    for name in ("optional", "dense", "added", "shared", "pyramid", "mixed", "groups", "several")
} | {"gpt2": lambda: load(SKETCHES / "gpt2.yaml", **GPT2)}


def made(name: str):
    """Return a network in eval mode, and the inputs of a batch."""
    graph = NETWORKS[name]()
    return compile(graph, seed=0).eval(), draw(graph, dtype=torch.float32).inputs


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("name", NETWORKS)
def test_torch_compile_takes_the_whole_graph(name, backend):
    network, inputs = made(name)
    torch.compiler.reset()
    compiled = torch.compile(network, fullgraph=True, backend=backend)
    torch.testing.assert_close(compiled(*inputs), network(*inputs))


@pytest.mark.parametrize("name", NETWORKS)
def test_torch_export(name):
    network, inputs = made(name)
    exported = torch.export.export(network, inputs)
    torch.testing.assert_close(exported.module()(*inputs), network(*inputs))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("way", ["pickle", "deepcopy", "torch.save", "state_dict"])
def test_copies_are_equal_and_independent(name, way):
    network, inputs = made(name)
    if way == "deepcopy":
        twin = copy.deepcopy(network)
    elif way == "pickle":
        twin = pickle.loads(pickle.dumps(network))
    elif way == "torch.save":
        file = io.BytesIO()
        torch.save(network, file)
        file.seek(0)
        twin = torch.load(file, weights_only=False)
    else:
        twin = compile(NETWORKS[name](), seed=1).eval()
        twin.load_state_dict(network.state_dict())
    assert [type(m) for m in twin.modules()] == [type(m) for m in network.modules()]
    torch.testing.assert_close(twin(*inputs), network(*inputs), rtol=0, atol=0)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(twin(*inputs), network(*inputs))


def test_a_block_alone_is_copied_and_printed():
    network, _ = made("optional")
    unit = network.layer1[0]
    twin = pickle.loads(pickle.dumps(unit))
    assert type(twin) is type(unit)
    assert type(twin.downsample) is type(unit.downsample) is not nn.Identity
    assert inspect.getsource(type(unit)).startswith("class Unit(nn.Module):\n")
    assert inspect.getsource(sys.modules[type(unit).__module__]) == source(spec("optional"))


def test_a_traceback_shows_the_line_inside_a_block():
    network, _ = made("optional")
    with pytest.raises(RuntimeError) as caught:
        network(torch.zeros(2, 4))
    shown = "".join(traceback.format_exception(caught.value))
    assert "x = self.layer1(x)" in shown
    assert "relu1 = self.relu1(self.bn1(self.conv1(x)))" in shown


# --- other processes ------------------------------------------------------------------------------


def _run_elsewhere(rank, unit, network, inputs, found) -> None:
    torch.set_num_threads(1)
    head = inspect.getsource(type(unit))[:10]
    found.put((head, unit(*inputs).tolist(), network(*inputs).tolist()))


def test_a_spawned_process_rebuilds_the_classes():
    """A block comes first, before the text of the network could have been run."""
    network, inputs = made("optional")
    found = mp.get_context("spawn").SimpleQueue()
    mp.spawn(_run_elsewhere, (network.layer1[0], network, inputs, found), nprocs=1)
    head, unit, whole = found.get()
    assert head == "class Unit"
    torch.testing.assert_close(torch.tensor(unit), network.layer1[0](*inputs))
    torch.testing.assert_close(torch.tensor(whole), network(*inputs))


def _train(rank, port, network, inputs, found) -> None:
    torch.set_num_threads(1)
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.update(address, GLOO_SOCKET_IFNAME="lo")
    dist.init_process_group("gloo", rank=rank, world_size=2)
    network = copy.deepcopy(network)  # what comes from the parent is the parent's own memory
    parallel = DistributedDataParallel(network)
    parallel(inputs[0][rank::2]).square().mean().backward()
    torch.optim.SGD(parallel.parameters(), lr=0.1).step()
    found.put((rank, {n: p.tolist() for n, p in network.named_parameters()}))
    dist.destroy_process_group()


def test_a_step_on_two_processes_is_a_step_on_one():
    """Without BatchNorm, the mean of the gradients of two halves is the gradient of all."""
    network, inputs = made("mixed")
    inputs = (torch.cat([inputs[0], inputs[0].flip(1)]),)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    found = mp.get_context("spawn").SimpleQueue()
    mp.spawn(_train, (port, network.train(), inputs, found), nprocs=2)
    results = dict(found.get() for _ in range(2))
    network(inputs[0]).square().mean().backward()
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    for name, parameter in network.named_parameters():
        for rank in (0, 1):
            torch.testing.assert_close(torch.tensor(results[rank][name]), parameter.detach())


# --- ONNX -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["optional", "dense", "shared", "gpt2"])
def test_onnx_gives_the_same(name, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    network, inputs = made(name)
    path = tmp_path / "network.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(network, inputs, path, dynamo=True, verbose=False)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    fed = {n: t.numpy() for n, t in zip(names, inputs, strict=True)}
    (found,) = session.run(None, fed)
    torch.testing.assert_close(torch.from_numpy(found), network(*inputs), rtol=1e-4, atol=1e-5)
