"""Explain one op: what it does, what it reads, what the input decides, and how to write it.

The sentence about an op is the first of its class's docstring, read from the source file: torch is
not imported, and what it says is what the installed torch says.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten

from archgraph.ops import Op

__all__ = ["example", "facts", "inferred_texts", "parameters_text", "sentence"]

MAX_SENTENCE = 160
_SIZES = {
    "channels": "the size of its channel axis",
    "last": "the size of its last axis",
    "axis": "the number of its channel axis",
}
_VALUES = {
    "out_features": "64",
    "out_channels": "64",
    "kernel_size": "3",
    "num_embeddings": "1000",
    "embedding_dim": "64",
    "chunks": "3",
    "index": "0",
    "num_heads": "8",
    "heads": "8",
    "hidden_size": "64",
    "dims": "0, 2, 1",
    "shape": "4, 16",
}
_BY_TYPE = {
    "int": "2",
    "size": "2",
    "float": "0.5",
    "numbers": "0.5",
    "bool": "True",
    "tensor": "[1, 2]",
    "any": "2",
}


def sentence(op: Op) -> str:
    """Return one sentence on what an op does."""
    text = _docstring(op.origin, op.name) or f"See torch.nn.{op.name}."
    paragraphs = [p for p in re.split(r"\n\s*\n", text.strip()) if not p.startswith("__init__(")]
    first = paragraphs[0] if paragraphs else ""
    first = re.sub(r":\w+:`~?([^`<]*)[^`]*`", lambda match: match[1].strip(), first)
    first = re.sub(r"`+", "", re.sub(r"\s+", " ", first))
    return shorten(re.split(r"(?<=[.!])\s", first, maxsplit=1)[0], MAX_SENTENCE, placeholder=" …")


@cache
def _docstring(origin: str, name: str) -> str:
    for path in _sources(origin):
        text = path.read_text(encoding="utf-8")
        if f"class {name}(" not in text and f"class {name}:" not in text:
            continue
        for statement in ast.parse(text).body:
            if isinstance(statement, ast.ClassDef) and statement.name == name:
                return ast.get_docstring(statement) or _assigned(statement)
    return ""


def _assigned(statement: ast.ClassDef) -> str:
    """Return the beginning of a docstring that is put together by a class's own `__doc__ = …`."""
    for inner in statement.body:
        if isinstance(inner, ast.Assign) and ast.unparse(inner.targets[0]) == "__doc__":
            texts = [part.value for part in ast.walk(inner) if isinstance(part, ast.Constant)]
            return next((text for text in texts if isinstance(text, str)), "")
    return ""


def _sources(origin: str) -> list[Path]:
    """Return the files in which the classes of an origin stand."""
    package, folder = ("torch", "nn/modules") if origin == "torch.nn" else ("archgraph", "nn")
    spec = find_spec(package)
    if origin not in ("torch.nn", "archgraph") or spec is None or spec.origin is None:
        return []
    return sorted((Path(spec.origin).parent / folder).glob("[!_]*.py"))


def facts(op: Op) -> list[str]:
    """Return what kind of layer it is, for the paths that pass it."""
    found = [f"from {op.origin}", f"family {op.family}"]
    if op.weight_layer:
        found.append("a weight layer (it counts as a weight on a path)")
    elif op.parameters:
        found.append("has parameters, but is no weight layer")
    if op.activation:
        found.append("an activation")
    elif op.elementwise:
        found.append("elementwise")
    if op.linear and not op.weight_layer:
        found.append("linear in its input")
    found.append("passes the gradient on" if op.gradient else "carries no gradient")
    if op.tuple_output:
        found.append("returns a tuple: name[1] is its second element, the bare name the first")
    return found


def inferred_texts(op: Op) -> list[str]:
    """Return each argument that the input decides, and how."""
    texts = []
    for name, rule in op.inferred.items():
        size, _, port = rule.partition(":")
        whose = f"of '{port}' " if port else ""
        given = " (may be given instead)" if any(a.name == name for a in op.arguments) else ""
        size = _SIZES[size].replace("its ", "the ") if port else _SIZES[size]
        texts.append(f"{name}: {size} {whose}".strip() + given)
    return texts


def parameters_text(op: Op) -> str:
    """Return the names of its parameters; `*` stands for what the arguments decide."""
    names = [re.sub(r"(\{[^}]*\})+", "*", name) for name, _ in op.parameters]
    return ", ".join(dict.fromkeys(names))


def example(op: Op) -> str | None:
    """Return a layer of this op as a spec would have it; None for a loss that no spec can use.

    A loss in a spec is given an output and one target.
    """
    required = [port.name for port in op.ports if port.required]
    if op.loss and len(required) != 2:
        return None
    values = []
    for argument in op.arguments:
        if argument.required:
            value = _VALUES.get(argument.name) or (
                f"'{argument.choices[0]}'"
                if argument.choices
                else _BY_TYPE.get(argument.type.removesuffix("?"), "2")
            )
            values.append(f"{argument.name}={value}" if argument.keyword_only else value)
    call = f"{op.name}({', '.join(values)})"
    if len(required) > 1 and not op.loss:
        call += f"({', '.join(f'{port}={chr(97 + i)}' for i, port in enumerate(required))})"
    if op.loss:
        return f"loss: {call}"
    quoted = f'"{call}"' if ": " in call else call
    return f"y: {quoted}"
