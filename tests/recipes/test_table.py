"""Tables: aligned, safe in Markdown, and whole as data."""

from __future__ import annotations

from lamina.recipes.table import Column, Estimate, Table

TABLE = Table(
    "Errors",
    [Column("net"), Column("starts"), Column("error", ".2f"), Column("difference", "+.1f")],
    [("a|b", 1_000, Estimate(1.234, 1.0, 1.5), None), ("c", 7, 0.5, Estimate(-1.0, -2.0, 0.04))],
    "A note.",
)


def test_markdown_is_aligned_and_a_bar_in_a_cell_ends_no_cell() -> None:
    assert TABLE.to_markdown().splitlines() == [
        "**Errors**",
        "",
        "A note.",
        "",
        "| net  | starts | error             | difference        |",
        "|------|--------|-------------------|-------------------|",
        "| a\\|b | 1,000  | 1.23 [1.00, 1.50] |                   |",
        "| c    | 7      | 0.50              | -1.0 [-2.0, +0.0] |",
    ]


def test_data_are_not_rounded() -> None:
    assert TABLE.to_dict()["rows"] == [
        ["a|b", 1_000, {"value": 1.234, "low": 1.0, "high": 1.5}, None],
        ["c", 7, 0.5, {"value": -1.0, "low": -2.0, "high": 0.04}],
    ]
    assert TABLE.to_dict()["columns"] == ["net", "starts", "error", "difference"]
