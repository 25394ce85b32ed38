"""Veit et al. 2016 done exactly: which lengths of paths carry the gradient of a residual network.

They drew paths of each length, took the mean norm of the gradient along one path, and multiplied by
the number of such paths. Norms add up like that only if gradients do not cancel.
"""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Any, Final

import torch
from torch import Tensor, nn

from archgraph.gradient import decompose, record, sample_norms
from archgraph.graph import Graph
from archgraph.module import Batch, compile
from archgraph.spec import load
from benchmarks.studies.common import COLOURS, ROOT, figure, mean, said, save, spec

__all__ = ["draw", "measure", "section"]

START: Final = "stem"
TEST: Final = 297
STATES: Final = {"init": "at initialisation", "trained": "after training"}
FILES: Final = ROOT / "out" / "studies"


def measure(
    *,
    networks: int = 4,
    blocks: int = 54,
    batch: int = 64,
    epochs: int = 8,
    paths: int = 400,
    keep: bool = True,
) -> dict[str, Any]:
    """Split the gradient at the stem by the number of branches, before and after training.

    Args:
        networks: How many are trained, from different initial weights.
        blocks: Units of each.
        batch: Images whose gradient is split.
        epochs: Of training.
        paths: How many are drawn for the estimate by count × norm.
        keep: Whether the last network and its batch are written to out/studies/.
    """
    graph = load(spec("veit"), blocks=blocks)
    images, digits = _digits()
    seen = Batch((images[TEST : TEST + batch],), (digits[TEST : TEST + batch],))
    found: dict[str, list[dict[str, Any]]] = {state: [] for state in STATES}
    accuracies = []
    for seed in range(networks):
        module = compile(graph, seed=seed, dtype=torch.float32)
        found["init"].append(_split(graph, module, seen, paths, seed))
        _train(module, images[TEST:], digits[TEST:], epochs, seed)
        found["trained"].append(_split(graph, module, seen, paths, seed))
        accuracies.append(_accuracy(module, images[:TEST], digits[:TEST]))
        if keep:
            FILES.mkdir(parents=True, exist_ok=True)
            torch.save(module.state_dict(), FILES / "veit.pt")
            torch.save({"image": seen.inputs[0], "loss": seen.targets[0]}, FILES / "digits.pt")
    return {
        "networks": networks,
        "blocks": blocks,
        "batch": batch,
        "epochs": epochs,
        "paths": paths,
        "accuracy": mean(accuracies),
        **{state: _summary(splits) for state, splits in found.items()},
    }


def _digits() -> tuple[Tensor, Tensor]:
    """The images of scikit-learn's digits, of mean 0 and variance 1, and what they show."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    images = torch.tensor(loaded.images, dtype=torch.float32)[:, None]
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    images = (images - images.mean()) / images.std()
    return images[order], torch.tensor(loaded.target)[order]


def _train(module: nn.Module, images: Tensor, digits: Tensor, epochs: int, seed: int) -> None:
    module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for chosen in torch.randperm(len(images), generator=generator).split(100):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(images[chosen]), digits[chosen]).backward()
            optimizer.step()


def _accuracy(module: nn.Module, images: Tensor, digits: Tensor) -> float:
    with torch.no_grad():
        right = module.eval()(images).argmax(1) == digits
    return float(right.double().mean())


def _split(graph: Graph, module: nn.Module, batch: Batch, paths: int, seed: int) -> dict[str, Any]:
    """Return share and energy by the number of branches, and what count × norm says of them."""
    tape = record(graph, module, batch, train=True, seed=0)
    parts = decompose(tape, START, "branches", headlines=False).parts
    sampled = sample_norms(tape, START, "branches", samples=paths, random_seed=seed).sums
    estimate = [float(sampled[k].value) if k in sampled else 0.0 for k in range(len(parts))]
    energies = [part.norm**2 for part in parts]
    return {
        "share": [part.share for part in parts],
        "energy": [energy / sum(energies) for energy in energies],
        "estimate": [size / sum(estimate) for size in estimate],
    }


def _summary(splits: list[dict[str, Any]]) -> dict[str, Any]:
    kinds = ("share", "energy", "estimate")
    columns = {
        kind: [math.fsum(c) / len(splits) for c in zip(*(s[kind] for s in splits), strict=True)]
        for kind in kinds
    }
    lengths = {kind: mean([_mean_length(split[kind]) for split in splits]) for kind in kinds}
    return {**columns, "length": lengths}


def _mean_length(shares: list[float]) -> float:
    return math.fsum(k * share for k, share in enumerate(shares))


def _middle(shares: list[float], part: float = 0.95) -> tuple[int, int]:
    """Return the lengths between which all but the shortest and longest few per cent lie."""
    sums = list(accumulate(shares))
    tail = (1 - part) / 2
    first = next(k for k, total in enumerate(sums) if total > tail)
    last = next(k for k, total in enumerate(sums) if total >= 1 - tail)
    return first, last


# --- the page -----------------------------------------------------------------------------------


def section(found: dict[str, Any]) -> str:
    """Return the section, as Markdown."""
    rows = "".join(_row(name, found[state]) for state, name in STATES.items())
    blocks, state = found["blocks"], found["trained"]
    accuracy = 100 * found["accuracy"]["mean"]
    first, last = _middle(state["share"])
    low, high = _middle(state["estimate"])
    return f"""\
## Which paths carry the gradient of a residual network

Veit et al. 2016 (1605.06431) drew paths of each length through a trained ResNet, took the norm of
the gradient along one of them alone, and multiplied it by the number of such paths. By that
estimate nearly all of the gradient comes along paths of 5 to 17 of 54 blocks. But it adds norms, as
if the gradients of different paths pointed the same way. They do not: split exactly, ‖g‖² comes
along shorter paths.

| mean branches on a path | by share of ‖g‖² | by energy | by count × norm |
|---|---:|---:|---:|
{rows}
![Share of the gradient by number of branches](studies/veit.svg)

After training, 95 % of ‖g‖² come along paths of {first} to {last} branches; by count × norm it
would be {low} to {high}. By energy is Σ k·‖g_k‖² ÷ Σ ‖g_k‖², where g_k is the sum of all paths of k
branches: that it nearly agrees with the share says that the g_k are nearly orthogonal.

The network, [studies/veit.yaml](studies/veit.yaml), has {blocks} pre-activation units.
{found["networks"]} of them are trained on scikit-learn's digits, {found["epochs"]} epochs of SGD
each, after which {accuracy:.0f} % of the test images are right. The gradient is that of a batch of
{found["batch"]} at the stem, with the batch's own statistics; {found["paths"]} paths are drawn for
the estimate. The command writes the last network to `out/studies/`, so that its split can be had
alone:

```sh
python -m benchmarks.studies veit
archgraph decompose docs/studies/veit.yaml --wrt stem --by branches --train \\
    --weights out/studies/veit.pt --data out/studies/digits.pt
archgraph decompose docs/studies/veit.yaml --wrt stem --sample {found["paths"]} --train \\
    --weights out/studies/veit.pt --data out/studies/digits.pt
```
"""


def _row(name: str, state: dict[str, Any]) -> str:
    lengths = state["length"]
    cells = (said(lengths[kind]) for kind in ("share", "energy", "estimate"))
    return f"| {name} | {' | '.join(cells)} |\n"


def draw(found: dict[str, Any]) -> None:
    """Write the picture."""
    made, panels = figure(7.2, 2.6, columns=2)
    for panel, (state, name) in zip(panels, STATES.items(), strict=True):
        shares, estimate = found[state]["share"], found[state]["estimate"]
        shown = range(min(len(shares), 31))
        panel.bar(shown, [100 * shares[k] for k in shown], color=COLOURS["branch"], label="exact")
        panel.plot(
            shown,
            [100 * estimate[k] for k in shown],
            color=COLOURS["law"],
            label="count × norm",
        )
        panel.set(title=name, xlabel="branches on the path")
        panel.sharey(panels[0])
    panels[0].set_ylabel("share of ‖g‖², %")
    panels[0].legend()
    save(made, "veit")
