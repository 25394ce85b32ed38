"""Which names a layer, input or param may bear."""

from __future__ import annotations

import keyword
import re
from typing import Final

from archgraph.expression import FUNCTIONS
from archgraph.spec.values import TENSOR_FUNCTIONS

__all__ = ["MODULE_ATTRIBUTES", "RESERVED", "name_problem"]

RESERVED: Final = frozenset(
    {"input", "i", "j", "cin", "L", "required", *FUNCTIONS, *TENSOR_FUNCTIONS}
)
"""Words with a meaning of their own in formulas."""

MODULE_ATTRIBUTES: Final = frozenset(
    re.findall(
        r"\w+",
        """
        T_destination add_module apply bfloat16 buffers call_super_init children compile cpu cuda
        double dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter
        get_submodule half ipu load_state_dict modules mtia named_buffers named_children
        named_modules named_parameters parameters register_backward_hook register_buffer
        register_forward_hook register_forward_pre_hook register_full_backward_hook
        register_full_backward_pre_hook register_load_state_dict_post_hook
        register_load_state_dict_pre_hook register_module register_parameter
        register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state
        set_submodule share_memory state_dict to to_empty train training type xpu zero_grad
        """,
    )
)
"""Public attributes of `nn.Module`: a layer of that name would hide one."""

_LAYER: Final = re.compile(r"(?:[A-Za-z_]\w*|\d+)(?:\.(?:[A-Za-z_]\w*|\d+))*(?:~\d+)?\Z", re.ASCII)
_WORD: Final = re.compile(r"[A-Za-z_]\w*\Z", re.ASCII)


def name_problem(name: str, what: str) -> tuple[str, str] | None:
    """Return (message, why) if `name` cannot be the name of a `what`, else None.

    Args:
        name: The name.
        what: `layer`, `input` or `param`. Layers may also bear the names of the flat form:
            dots, digits, and `~k` for inner merges.
    """
    pattern = _LAYER if what == "layer" else _WORD
    if not pattern.match(name):
        return (
            f"'{name}' cannot be the name of a {what}",
            "a name is a Python name: ASCII letters, digits and _, no digit first",
        )
    parts = re.split(r"[.~]", name)
    if any(keyword.iskeyword(part) for part in parts):
        return f"'{name}' cannot be the name of a {what}", "it is a word of Python itself"
    if name in RESERVED and not (name == "input" and what == "input"):
        return f"'{name}' cannot be the name of a {what}", "the word has a meaning in formulas"
    if what == "layer" and any(part in MODULE_ATTRIBUTES for part in parts):
        return (
            f"'{name}' cannot be the name of a layer",
            "nn.Module has an attribute of that name, which the layer would hide",
        )
    return None
