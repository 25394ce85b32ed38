"""Verbs about what a network is: validate, show, expand, compile."""

from __future__ import annotations

import argparse

from archgraph.cli.printing import print_json, print_table, say, write_text
from archgraph.cli.specs import load_spec
from archgraph.graph.outline import Line, outline
from archgraph.graph.summary import Summary, summarize
from archgraph.spec.dump import dump

__all__ = ["run_compile", "run_expand", "run_show", "run_validate"]


def run_validate(arguments: argparse.Namespace) -> int:
    """Say everything that is wrong with a spec, shapes included."""
    graph = load_spec(arguments, warnings=not arguments.json)
    if not arguments.no_shapes:
        from archgraph.module import infer

        infer(graph)
    if arguments.json:
        print_json({"ok": True, "problems": [problem.to_dict() for problem in graph.warnings]})
    else:
        say(f"{graph.name}: {len(graph.nodes)} nodes, {len(graph.edges)} edges, nothing wrong")
    return 0


def run_show(arguments: argparse.Namespace) -> int:
    """List a network's layers."""
    graph = load_spec(arguments)
    summary = summarize(graph)
    if arguments.shapes:
        from archgraph.module import infer

        shapes = infer(graph)
        layers = [node for node in graph.nodes if node.kind == "layer"]
        summary = summarize(
            graph,
            {node.name: shapes[node.name].shape for node in layers},
            {node.name: shapes.count(node.module) for node in layers},
            shapes.total,
        )
    if arguments.json:
        print_json(summary.to_dict())
    else:
        _print_summary(summary, flat=arguments.flat)
    return 0


def _print_summary(summary: Summary, *, flat: bool) -> None:
    facts = summary.to_dict()
    columns = ["layer", "op", "reads"]
    known = facts["parameters"] is not None
    columns += ["shape", "parameters"] if known else []
    rows = [
        [row["name"], row["op"], ", ".join(row["from"])]
        + ([_shape(row["shape"]), row["parameters"] or ""] if known else [])
        for row in facts["layers"]
    ]
    if len(summary.graph.instances) > 1 and not flat:
        rows = [_line(summary, line) for line in outline(summary.graph)]
    say(f"{facts['name']}: {facts['nodes']} nodes, {facts['edges']} edges")
    if summary.graph.about:
        say(summary.graph.about)
    inputs = ", ".join(f"{node.name} {_shape(node.shape)}" for node in summary.graph.inputs)
    say(f"inputs {inputs}; outputs {', '.join(facts['outputs'])}")
    print_table(columns, rows, right=["parameters"])
    if known:
        say(f"{facts['parameters']:,} parameters")
    else:
        say("shapes and parameter counts: --shapes (loads torch)")


def _line(summary: Summary, line: Line) -> list[str]:
    """Return a line of the folded table; what a block holds is indented below it."""
    row = ["  " * line.depth + line.name, line.what, ", ".join(line.reads)]
    if summary.shapes is None or summary.parameters is None:
        return row
    shape = _shape(summary.shapes.get(line.nodes[-1])) if line.nodes else ""
    graph, counts = summary.graph, summary.parameters
    modules = {graph.node(name).module or name: name for name in line.nodes}
    weights = sum(counts.get(name, 0) for name in modules.values())
    return [*row, shape, f"{weights:,}" if weights else ""]


def _shape(shape: tuple[int, ...] | list[int] | None) -> str:
    return "×".join(map(str, shape)) if shape else ("scalar" if shape is not None else "")


def run_expand(arguments: argparse.Namespace) -> int:
    """Print the flat form."""
    text = dump(load_spec(arguments))
    path = write_text(arguments.output, text) if arguments.output else None
    if arguments.json:
        print_json({"text": text, "path": None if path is None else str(path)})
    else:
        say(text.rstrip("\n") if path is None else str(path))
    return 0


def run_compile(arguments: argparse.Namespace) -> int:
    """Print the network as PyTorch source, or write it."""
    from archgraph.module import source

    text = source(load_spec(arguments))
    path = write_text(arguments.output, text) if arguments.output else None
    if arguments.json:
        print_json({"source": text, "path": None if path is None else str(path)})
    elif path is not None:
        say(str(path))
    else:
        say(text.rstrip("\n"))
    return 0
