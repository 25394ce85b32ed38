"""Each shipped spec in a size that every verb can be tried on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SIZES: Mapping[str, Mapping[str, Any]] = {
    "convnext": {"units": [1, 1, 2, 1], "width": 8, "size": 32, "classes": 5},
    "csp": {"blocks_per_stage": [2, 1, 1], "growth": 4, "classes": 5, "size": 32},
    "deepnorm": {"depth": 2, "width": 8, "heads": 2, "length": 3},
    "denseformer": {"depth": 3, "width": 8},
    "densenet": {"units": [2, 1, 1, 1], "k": 4, "size": 32, "classes": 5},
    "efficientnet_b0": {"size": 32, "classes": 5},
    "elan": {"c": 8, "classes": 5, "size": 32},
    "fixup": {"depth": 8},
    "googlenet": {"size": 32, "classes": 5},
    "gpt2": {"depth": 2, "d": 8, "heads": 2, "vocab": 11, "context": 4},
    "highway": {"depth": 3, "width": 8},
    "hyper_connections": {"depth": 2, "width": 8},
    "mlp": {"depth": 4, "width": 8},
    "mobilenet_v2": {"size": 32, "classes": 5},
    "mobilenet_v3": {"large": False, "size": 32, "classes": 5},
    "post_ln": {"depth": 2, "width": 8, "heads": 2, "length": 3},
    "pre_ln": {"depth": 2, "width": 8, "heads": 2, "length": 3},
    "preact_resnet": {"depth": 11, "bottleneck": True},
    "resnet": {"depth": 18, "size": 32, "classes": 5},
    "rezero": {"depth": 3, "width": 8},
    "rnn": {"steps": 4, "width": 8},
    "squeezenet": {"size": 64, "classes": 5},
    "unet": {"depth": 2, "c": 4, "size": 16},
    "value_residual": {"depth": 2, "width": 8, "heads": 2, "length": 3},
    "vgg_bn": {"size": 32, "classes": 5, "hidden": 16},
    "vit_b_16": {"depth": 2, "width": 8, "attention_heads": 2, "size": 32, "classes": 5},
}


def small(name: str) -> Mapping[str, Any]:
    """Return the settings with which a spec is small; most specs are small as they are."""
    if name.startswith("identity_mappings/"):
        return {"depth": 8}
    return SIZES.get(name, {})
