"""Weights and data from files: what is read, and what is refused."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch

from archgraph.errors import UsageError
from archgraph.gradient import decompose, run_once
from archgraph.gradient.files import read_batch, read_tensors, read_weights
from archgraph.graph import GraphBuilder
from archgraph.module.build import compile as compile_graph
from archgraph.module.loss import draw
from archgraph.ops import parse_call as call
from tests.gradient.networks import HARD


def classifier():
    b = GraphBuilder("classifier")
    b.input("x", (4,))
    b.layer("h", call("Linear(5)"), ["x"])
    b.layer("n", call("BatchNorm1d()"), ["h"])
    b.layer("y", call("Linear(3)"), ["n"])
    b.output("y")
    b.loss("y", call("CrossEntropyLoss()"))
    return b.build()


def safetensors(tensors, names=None):
    """The bytes of a file, written by hand."""
    names = names or {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64"}
    header, body = {}, b""
    for name, tensor in tensors.items():
        data = tensor.contiguous().numpy().tobytes()
        header[name] = {
            "dtype": names[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [len(body), len(body) + len(data)],
        }
        body += data
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    return len(text).to_bytes(8, "little") + text + body


@pytest.mark.parametrize("kind", [".safetensors", ".pt", "checkpoint.pth"])
def test_weights_are_those_of_the_file(tmp_path, kind):
    graph = classifier()
    given = compile_graph(graph, seed=7, dtype=torch.float32).state_dict()
    file = tmp_path / f"weights{kind}"
    if kind == ".safetensors":
        file.write_bytes(safetensors(given))
    else:
        torch.save({"state_dict": given} if "checkpoint" in kind else given, file)
    tape = run_once(graph, weights=file, seed=1)
    assert tape.dtype == torch.float64
    for name, tensor in tape.module.state_dict().items():
        assert torch.equal(tensor, given[name].to(tensor))
    assert decompose(tape, "x", "edge").residual <= 1e-12


def test_files_of_the_library_itself_are_read(tmp_path):
    library = pytest.importorskip("safetensors.torch")
    tensors = {
        "a": torch.randn(2, 3),
        "b": torch.arange(4),
        "c": torch.randn(3).bfloat16(),
        "d": torch.tensor([True, False]),
        "e": torch.zeros(0, 2),
        "f": torch.tensor(2.5, dtype=torch.float64),
    }
    library.save_file(tensors, tmp_path / "x.safetensors")
    found = read_tensors(tmp_path / "x.safetensors")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert all(found[name].dtype == tensor.dtype for name, tensor in tensors.items())


def test_weights_that_do_not_fit_are_all_named(tmp_path):
    module = compile_graph(classifier(), seed=0)
    given = module.state_dict()
    del given["y.bias"]
    given["h.weigth"] = given["h.weight"]
    given["y.weight"] = torch.zeros(2, 5)
    torch.save(given, tmp_path / "w.pt")
    with pytest.raises(UsageError) as caught:
        read_weights(tmp_path / "w.pt", module)
    assert str(caught.value).endswith(
        "do not fit: 'h.weigth' is no weight of this network (did you mean 'h.weight'?); "
        "'y.bias' is missing; 'y.weight' has shape (2, 5), and not (3, 5)"
    )


class Evil:
    def __reduce__(self):
        return print, ("ran",)


def test_code_in_a_file_is_not_run(tmp_path, capsys):
    torch.save({"x": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(UsageError, match="holds more than tensors, and reading that could run"):
        read_tensors(tmp_path / "evil.pt")
    np.save(tmp_path / "evil.npy", np.array([Evil()], dtype=object), allow_pickle=True)
    with pytest.raises(UsageError, match="cannot read"):
        read_tensors(tmp_path / "evil.npy")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UsageError):
        read_tensors(tmp_path / "plain.pt")
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 7,
        (10**12).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"{x",
        safetensors({"a": torch.zeros(3)})[:-4],
        safetensors({"a": torch.zeros(3)}, {torch.float32: "F64"}),
        safetensors({"a": torch.zeros(3)}, {torch.float32: "F8_E5M2"}),
        (40).to_bytes(8, "little") + b'{"a": {"dtype": "F32", "shape": [1]}}   ',
    ],
    ids=["empty", "short", "huge", "list", "json", "cut", "size", "type", "keys"],
)
def test_broken_files_are_refused(tmp_path, data):
    file = tmp_path / "broken.safetensors"
    file.write_bytes(data)
    with pytest.raises(UsageError, match="cannot read"):
        read_tensors(file)


def test_files_that_are_not_there_or_of_another_kind(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read .*no\.npy': No such file"):
        read_tensors(tmp_path / "no.npy")
    with pytest.raises(UsageError, match=r"ends in neither \.npy"):
        read_tensors(tmp_path / "x.csv")


def test_a_batch_of_one_array(tmp_path):
    x = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    graph = classifier()
    tape = run_once(graph, data=tmp_path / "x.npy")
    assert tape.batch.inputs[0].dtype == torch.float64
    assert torch.equal(tape.batch.inputs[0], torch.from_numpy(x).double())
    assert tape.batch.targets[0].shape == (6,)


def test_a_batch_with_targets(tmp_path):
    graph = classifier()
    given = {"x": torch.randn(3, 4), "loss": torch.tensor([2, 0, 1])}
    torch.save(given, tmp_path / "batch.pt")
    found = read_batch(tmp_path / "batch.pt", graph, dtype=torch.float32)
    assert torch.equal(found.inputs[0], given["x"])
    assert torch.equal(found.targets[0], given["loss"])


def test_integers_keep_their_type(tmp_path):
    graph = HARD["language"]
    idx = torch.tensor([[0, 1, 2, 3, 6]], dtype=torch.int32)
    torch.save(idx, tmp_path / "idx.pt")
    found = read_batch(tmp_path / "idx.pt", graph)
    assert found.inputs[0].dtype == draw(graph).inputs[0].dtype
    torch.save(idx + 1, tmp_path / "idx.pt")
    with pytest.raises(UsageError, match=r"'idx' holds 1 … 7, and must hold 0 … 6"):
        read_batch(tmp_path / "idx.pt", graph)
    torch.save(idx / 2, tmp_path / "idx.pt")
    with pytest.raises(UsageError, match=r"'idx' has torch.float32 where torch.int64 is read"):
        read_batch(tmp_path / "idx.pt", graph)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.zeros(2, 5), r"'x' has shape \(2, 5\), and not \(2, 4\)"),
        ({"z": torch.zeros(2, 4)}, "holds 'z', which 'classifier' does not read; its inputs are"),
        ({"loss": torch.zeros(2, dtype=torch.int64)}, "lacks the input 'x'"),
        ({"x": torch.zeros(2, 4), "loss": torch.zeros(3)}, "holds '2' and '3' examples"),
        ({"x": torch.full((2, 4), torch.nan)}, "'x' holds numbers that are not finite"),
        ({"x": torch.zeros(1, 4), "loss": torch.tensor([3])}, "'loss' holds 3 … 3, and must"),
        ([1, 2], "it holds neither a tensor nor tensors by name"),
    ],
    ids=["shape", "name", "missing", "examples", "nan", "class", "list"],
)
def test_data_that_does_not_fit_is_refused(tmp_path, given, message):
    torch.save(given, tmp_path / "data.pt")
    with pytest.raises(UsageError, match=message):
        read_batch(tmp_path / "data.pt", classifier())


def test_a_device_that_is_not_there():
    for name in ("gpu", "meta", "cuda:99"):
        with pytest.raises(UsageError, match="device"):
            run_once(classifier(), device=name)
