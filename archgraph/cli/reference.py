"""Verbs about archgraph itself: zoo, ops, schema."""

from __future__ import annotations

import argparse
import json
from typing import Any

from archgraph.cli.explanation import example, facts, inferred_texts, parameters_text, sentence
from archgraph.cli.printing import print_json, print_table, say, write_text
from archgraph.errors import UsageError, suggest
from archgraph.ops import Op, catalogue
from archgraph.ops.op import format_value

__all__ = ["run_ops", "run_schema", "run_zoo"]


def run_zoo(arguments: argparse.Namespace) -> int:
    """List the specs that ship."""
    from archgraph.spec.load import zoo_folder

    # Parameter counts need shapes, and so torch: they are counted when the package is made.
    index = json.loads((zoo_folder() / "zoo.json").read_text(encoding="utf-8"))
    if arguments.json:
        print_json(index)
        return 0
    cells = [
        (s["name"], f"{s['parameters']:,}", s["depth"], _paths(s["paths"]), s["shows"])
        for s in index["specs"]
    ]
    right = ["parameters", "depth", "paths"]
    print_table(["spec", "parameters", "depth", "paths", "shows"], cells, right=right)
    say("depth: weight layers on the longest path; paths: from the first input to the loss")
    return 0


def _paths(count: int) -> str:
    """Return a count in full if it is short, else as a power of two or a decimal."""
    if count < 10**7:
        return f"{count:,}"
    power = count.bit_length() - 1
    if count == 1 << power:
        return f"2^{power}"
    digits = str(count)
    return f"{digits[0]}.{digits[1:3]}e{len(digits) - 1}"


def run_ops(arguments: argparse.Namespace) -> int:
    """List the ops, or explain one."""
    if arguments.name is None:
        ops = [op for name in catalogue.names() if (op := catalogue.get(name)) is not None]
        if arguments.json:
            print_json({"ops": [_describe(op) for op in ops]})
        else:
            print_table(["op", "family", "from"], [(_call(op), op.family, op.origin) for op in ops])
        return 0
    op = catalogue.get(arguments.name)
    if op is None:
        close = suggest(arguments.name, catalogue.names())
        hint = f"; did you mean {close!r}?" if close else ""
        raise UsageError(f"there is no op {arguments.name!r}{hint}")
    if arguments.json:
        print_json(_describe(op))
    else:
        _explain(op)
    return 0


def _call(op: Op) -> str:
    """Return the signature that a spec may write, the required arguments first."""
    arguments = [
        a.name if a.required else f"{a.name}={format_value(a.default)}" for a in op.arguments
    ]
    return f"{op.name}({', '.join(arguments)})"


def _describe(op: Op) -> dict[str, Any]:
    return {
        "name": op.name,
        "about": sentence(op),
        "example": example(op),
        "origin": op.origin,
        "family": op.family,
        "arguments": [
            {
                "name": a.name,
                "type": a.type,
                "required": a.required,
                "default": None if a.required else format_value(a.default),
            }
            for a in op.arguments
        ],
        "inferred": list(op.inferred),
        "inputs": [port.name for port in op.ports],
        "weight_layer": op.weight_layer,
        "gradient": op.gradient,
        "parameters": [name for name, _ in op.parameters],
    }


def _explain(op: Op) -> None:
    say(_call(op))
    if text := sentence(op):
        say(text)
    say(", ".join(facts(op)))
    rules = inferred_texts(op)
    if rules:
        say(f"decided by the input: {'; '.join(rules)}")
    listed = ", ".join(p.name if p.required else f"{p.name} (optional)" for p in op.ports)
    say(
        f"inputs: {listed or 'none'}" if len(op.ports) != 1 else "input: one value, the layer above"
    )
    if op.parameters:
        say(f"parameters: {parameters_text(op)}")
    shown = example(op)
    say(f"in a spec: {shown}" if shown else "no spec can use it: it needs more than one target")
    rows = [(a.name, a.type, "" if a.required else format_value(a.default)) for a in op.arguments]
    if rows:
        print_table(["argument", "type", "default"], rows)


def run_schema(arguments: argparse.Namespace) -> int:
    """Print the JSON Schema, or write it."""
    from archgraph.spec.schema import schema

    if arguments.output:
        text = json.dumps(schema(), ensure_ascii=False, indent=2) + "\n"
        say(str(write_text(arguments.output, text)))
    else:
        print_json(schema())
    return 0
