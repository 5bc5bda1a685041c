"""Writes the pages of docs/ that follow from the code: the settings and the canon. A test compares them."""

from __future__ import annotations

from pathlib import Path

from lamina.runs.settings import describe
from lamina.workflows.canon import load_canon

DOCS = Path(__file__).resolve().parent.parent / "docs"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def settings_page() -> str:
    """Return docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Every setting of a training run, with the same name everywhere: `--set NAME=VALUE` on the command line,",
        "`NAME = VALUE` in the file given with `--config`, `Settings(NAME=VALUE)` in Python. Many have an option of",
        "their own (`lamina fit --help`). A misspelt name is an error that says the nearest right one. *Chosen* means:",
        "chosen from the data, and said on the screen and in the report.",
        "",
        "| setting | type | default | meaning |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| `{name}` | {_cell(kind)} | {default} | {_cell(text)} |" for name, kind, default, text in describe()]
    return "\n".join(lines) + "\n"


def canon_page() -> str:
    """Return docs/canon.md."""
    lines = [
        "# The canon",
        "",
        "The methods that work, each with the test that verifies it. `lamina canon NAME` shows equation, source, an",
        "example, and the command and the lines of a settings file that ask for it; `lamina canon --json` gives all of",
        "it to a program.",
        "",
        "| method | what | import | canon | verified by |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in load_canon():
        ids = ", ".join(row.ids)
        lines.append(f"| `{row.name}` | {_cell(row.title)} | `{row.import_path}` | {ids} | `{row.test}` |")
    return "\n".join(lines) + "\n"


PAGES = {"settings.md": settings_page, "canon.md": canon_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
        print(f"docs/{name}")
