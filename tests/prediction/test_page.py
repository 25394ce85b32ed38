"""docs/predictions.md, as it was last written, says what the text around its tables promises."""

from __future__ import annotations

from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "predictions.md"


def rows_of(first: str, last: str) -> list[dict[str, str]]:
    """The rows of the table whose first and last columns have these headings."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    start = next(i for i, row in enumerate(cells) if (row[0], row[-1]) == (first, last))
    heading, body = cells[start], cells[start + 2 :]
    end = next((i for i, row in enumerate(body) if set(row) == {"---"}), len(body) + 1)
    return [dict(zip(heading, row, strict=True)) for row in body[: end - 1]]


def number(cell: str) -> tuple[float, float]:
    """A value and its standard error."""
    value, _, error = cell.partition(" ± ")
    return float(value), float(error or 0)


def test_closed_forms() -> None:
    rows = rows_of("network", "networks")
    assert len(rows) == 15
    for row in rows:
        exact = float(row["exact"])
        for column, rounding in (("limit", 0.002), ("finite", 0.06), ("measured", 0.06)):
            value, error = number(row[column])
            assert abs(value - exact) <= 4 * error + rounding * exact, (row["network"], column)


def test_grades() -> None:
    for row in rows_of("branches", "finite, width 256"):
        assert float(row["limit"]) == pytest.approx(float(row["exact"]), rel=0.04)
        assert float(row["finite, width 256"]) == pytest.approx(float(row["exact"]), rel=0.06)


def test_the_sampler_is_within_three_standard_errors() -> None:
    rows = rows_of("architecture", "z")
    assert {row["width"] for row in rows} == {"32", "64", "128"}
    assert len({row["architecture"] for row in rows}) == 7
    assert all(abs(float(row["z"])) < 3 for row in rows)


def test_the_program_is_within_ten_per_cent() -> None:
    rows = rows_of("layer", "sigmoid ratio")
    assert len(rows) == 11
    for row in rows:
        for act in ("tanh", "ReLU", "sigmoid"):
            assert 0.9 < float(row[f"{act} ratio"]) < 1.1, (row["layer"], act)


def test_joins_that_are_not_independent() -> None:
    rows = rows_of("join", "measured")
    assert len(rows) == 4
    for row in rows:
        limit, measured = number(row["limit"]), number(row["measured, width 256"])
        error = (limit[1] ** 2 + measured[1] ** 2) ** 0.5
        assert abs(limit[0] - measured[0]) < 4 * error + 0.02 * measured[0]
        if row["independent"] != "–":
            assert abs(float(row["independent"]) - measured[0]) > 20 * measured[1]
