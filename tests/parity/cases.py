"""Which spec, with which params, is which network of which reference."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from tests.references import left_as_it_was, torchvision_models, transformers

__all__ = ["CASES", "SMALL_GPT2", "Case", "gpt2_state", "gpt2_with_loss"]

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Case:
    """A network of the zoo and its reference."""

    spec: str
    reference: Callable[[], nn.Module]
    """Makes the reference, with random weights."""
    params: Mapping[str, Any] = field(default_factory=dict)
    state: Callable[[State], dict[str, Tensor]] = dict
    """Renames the reference's weights (or their gradients) to ours, and lays them out as ours."""
    output: Callable[[Any], Tensor] = lambda value: value
    """Takes the tensor out of what the reference returns."""

    @property
    def name(self) -> str:
        """The command line's words for it: `resnet --set depth=18`."""
        shown = {k: v for k, v in self.params.items() if k not in ("size", "context")}
        values = (f"{k}={str(v).replace(' ', '').lower()}" for k, v in shown.items())
        return " ".join([self.spec, *(["--set", *values] if shown else [])])


def _torchvision(spec: str, name: str, *, size: int = 64, **params: Any) -> Case:
    def make() -> nn.Module:
        # Its own initial weights take long to draw, and are random all the same.
        options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
        network: nn.Module = getattr(torchvision_models(), name)(**options)
        return network

    return Case(spec, make, {**params, "size": size})


def _vision_transformer() -> nn.Module:
    # vit_b_16, for smaller images.
    network: nn.Module = torchvision_models().VisionTransformer(
        image_size=64, patch_size=16, num_layers=12, num_heads=12, hidden_dim=768, mlp_dim=3072
    )
    return network


# --- GPT-2 ---------------------------------------------------------------------------------------

SMALL_GPT2 = {"depth": 3, "d": 48, "heads": 4, "vocab": 97, "context": 24}

_TRANSPOSED = re.compile(r"(c_attn|c_fc|c_proj)\.weight\Z")


def gpt2_state(state: State) -> dict[str, Tensor]:
    """Return the state of `GPT2LMHeadModel` under our names, its Conv1D weights transposed.

    The key map: "transformer." goes; `c_attn`, `c_fc` and `c_proj` of shape (in, out) become those
    of `nn.Linear`, of shape (out, in).
    """
    return {
        key.removeprefix("transformer."): value.t() if _TRANSPOSED.search(key) else value
        for key, value in state.items()
    }


def _gpt2(*, depth: int, d: int, heads: int, vocab: int, context: int) -> nn.Module:
    library = transformers()
    config = library.GPT2Config(
        n_layer=depth,
        n_embd=d,
        n_head=heads,
        vocab_size=vocab,
        bos_token_id=None,
        eos_token_id=None,
        n_positions=context,
        use_cache=False,
        # The default, "gelu_new", is the same function, rounded after each of its steps.
        activation_function="gelu_pytorch_tanh",
    )
    with left_as_it_was(nn.Module):
        network: nn.Module = library.GPT2LMHeadModel(config)
    return network


def gpt2_with_loss() -> nn.Module:
    """Return the reference of `gpt2 --set` with `SMALL_GPT2`."""
    return _gpt2(**SMALL_GPT2)


def _gpt2_small() -> nn.Module:
    return _gpt2(depth=12, d=768, heads=12, vocab=997, context=32)


# --- all of them ---------------------------------------------------------------------------------

CASES: tuple[Case, ...] = (
    _torchvision("resnet", "resnet18", depth=18),
    _torchvision("resnet", "resnet34", depth=34),
    _torchvision("resnet", "resnet50"),
    _torchvision("resnet", "resnet101", depth=101),
    _torchvision("resnet", "resnet152", depth=152),
    _torchvision("resnet", "resnext50_32x4d", groups=32, width_per_group=4),
    _torchvision("resnet", "wide_resnet50_2", width_per_group=128),
    _torchvision("densenet", "densenet121"),
    _torchvision("densenet", "densenet161", depth=161),
    _torchvision("densenet", "densenet169", depth=169),
    _torchvision("densenet", "densenet201", depth=201),
    _torchvision("vgg_bn", "vgg11_bn", size=32, depth=11),
    _torchvision("vgg_bn", "vgg16_bn", size=32),
    _torchvision("squeezenet", "squeezenet1_0"),
    _torchvision("squeezenet", "squeezenet1_1", early=True),
    _torchvision("googlenet", "googlenet"),
    _torchvision("mobilenet_v2", "mobilenet_v2"),
    _torchvision("mobilenet_v3", "mobilenet_v3_large"),
    _torchvision("mobilenet_v3", "mobilenet_v3_small", large=False),
    _torchvision("efficientnet_b0", "efficientnet_b0"),
    _torchvision("convnext", "convnext_tiny"),
    _torchvision("convnext", "convnext_small", units=[3, 3, 27, 3], drop=0.4),
    Case("vit_b_16", _vision_transformer, {"size": 64}),
    Case(
        "gpt2", _gpt2_small, {"vocab": 997, "context": 32}, gpt2_state, lambda value: value.logits
    ),
)
