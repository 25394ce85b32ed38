"""The verb `paths`: its tables, files of weights, and routes."""

from __future__ import annotations

import json

import pytest

from archgraph.cli import main
from archgraph.cli.paths import _whole
from archgraph.cli.printing import short_count


def run(capsys, *arguments, code=0):
    assert main(["paths", *map(str, arguments)]) == code
    return capsys.readouterr()


def as_json(capsys, *arguments):
    return json.loads(run(capsys, *arguments, "--json").out)


def test_routes_are_shown_where_the_paths_are_ties(capsys):
    out = run(capsys, "preact_resnet", "--set", "depth=1001", "--wrt", "image", "--top", 2).out
    assert str(2**333) in out
    assert "image → conv1 → stage1.0…110 → stage2.0…110 → stage3.0…109 → (stage3.110) → bn" in out
    assert "2 of 1.75e+100 paths; --limit N lists more" in out
    assert "these paths all have the same |λ|, so here are classes of paths by the branches" in out
    assert "stage1 55/111 · stage2 55/111 · stage3 55/111   7.449e+96   0.0426 %" in out
    assert "497 … 500" in out


def test_routes_in_json(capsys):
    found = as_json(capsys, "preact_resnet", "--set", "depth=1001", "--wrt", "image", "--top", 2)
    assert len(found["routes"]) == 10
    assert found["routes"][0]["taken"] == {"stage1": 55, "stage2": 55, "stage3": 55}
    assert as_json(capsys, "residual", "--wrt", "x1")["routes"] == []
    few = as_json(capsys, "resnet", "--wrt", "x", "--routes", 2, "--grade", "weights")["routes"]
    assert [route["grade"] for route in few] == ["weights"] * 2


def test_routes_where_they_are_asked_for(capsys):
    arguments = ("resnet", "--set", "lam=0.5", "--wrt", "x", "--limit", 1)
    assert "classes of paths" not in run(capsys, *arguments).out
    out = run(capsys, *arguments, "--routes").out
    assert "classes of paths by the branches taken of each stage, the largest Σ|λ| first" in out
    assert "Σ|λ| \n" in out
    assert "16.875" in out
    assert out.count(" · layer4 ") == 10


def test_weights_from_a_file(capsys, tmp_path):
    weights = tmp_path / "weights.json"
    weights.write_text('{"x1->x3": 0.1, "x3->x5": 0.30}')
    found = as_json(capsys, "residual", "--wrt", "x1", "--rank-by", weights, "--routes", 3)
    assert [path["skips"] for path in found["paths"]] == [0, 1, 1, 2]
    assert "x1->x3" in found["paths"][2]["edges"]
    # 0.1 + 0.3, the decimals exact.
    assert [route["total"] for route in found["routes"]] == [1, 0.4, 0.03]
    out = run(capsys, "residual", "--wrt", "x1", "--rank-by", weights, "--routes").out
    assert "the largest Σ weight first" in out


def test_shares_from_decompose(capsys, tmp_path):
    main(["decompose", "residual", "--wrt", "x1", "--by", "edge", "--json"])
    printed = capsys.readouterr().out
    shares = {part["key"]: part["share"] for part in json.loads(printed)["parts"]}
    file = tmp_path / "shares.json"
    file.write_text(printed)
    found = as_json(capsys, "residual", "--wrt", "x1", "--rank-by", file, "--routes", 3)

    def part(*edges):
        sizes = {edge: abs(shares[edge]) for edge in ("x1->F1", "x1->x3", "x3->F3", "x3->x5")}
        first = sizes["x1->F1"] + sizes["x1->x3"]
        second = sizes["x3->F3"] + sizes["x3->x5"]
        return sizes[edges[0]] / first * sizes[edges[1]] / second

    products = sorted(
        (part(a, b) for a in ("x1->F1", "x1->x3") for b in ("x3->F3", "x3->x5")), reverse=True
    )
    ranked = [
        part(
            "x1->x3" if "x1->x3" in path["edges"] else "x1->F1",
            "x3->x5" if "x3->x5" in path["edges"] else "x3->F3",
        )
        for path in found["paths"]
    ]
    assert ranked == products
    assert sum(route["total"] for route in found["routes"]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[1]", "must be one object"),
        ('{"x1->x9": 1}', "no edge here; did you mean 'x1->x3'"),
        ('{"x1->x3": -1}', "need at least 0"),
        ('{"x1->x3": "a"}', "no finite number"),
        ('{"x1->x3": NaN}', "no finite number"),
        ('{"by": "node", "parts": []}', "by node; edges take --by edge"),
        ('{"by": "edge", "parts": [{"key": "x1->x3", "share": null}]}', "a part has no share"),
    ],
)
def test_files_that_are_no_weights(capsys, tmp_path, text, message):
    file = tmp_path / "weights.json"
    file.write_text(text)
    found = run(capsys, "residual", "--wrt", "x1", "--rank-by", file, code=2)
    assert message in found.err


def test_a_file_that_is_not_there(capsys, tmp_path):
    found = run(capsys, "residual", "--wrt", "x1", "--rank-by", tmp_path / "no.json", code=2)
    assert "cannot read" in found.err


def test_counts_of_any_size_are_written():
    short = {
        7: "7",
        10**15 - 1: "999999999999999",
        10**15: "1e+15",
        2**333: "1.75e+100",
        99_999_999 * 10**12: "1e+20",
        10**5000 * 123: "1.23e+5002",
    }
    assert [short_count(count) for count in short] == list(short.values())
    assert _whole(10**5000) == "1" + "0" * 5000


def test_more_terms_of_a_derivation(capsys):
    main(["derive", "dense_block", "--wrt", "H0", "--max-terms", "3", "--json"])
    assert len(json.loads(capsys.readouterr().out)["terms"]) == 3
