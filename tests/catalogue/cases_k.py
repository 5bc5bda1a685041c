"""K. Reports and outputs."""

# ruff: noqa: E501 - a case is a row of a table

from __future__ import annotations

import html.parser
import json

from catalogue.case import GOOD, Case, Make, Place, Said, column, csv, rows, target, text

PAYLOADS = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "<svg onload=alert(1)>", "javascript:alert(1)",
    "</style><script>x</script>", "<a href=javascript:x>y</a>", "{{7*7}}", "<iframe srcdoc=x>", "' onmouseover='x", "]]><b>",
]  # fmt: skip


class _Page(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def page(place: Place, run: str = "runs/t-1") -> _Page:
    parser = _Page()
    parser.feed((place.path / run / "report.html").read_text())
    return parser


def harmless(place: Place, said: Said) -> None:
    found = page(place)
    assert not found.tags & {"script", "iframe", "object", "embed", "form", "link"}
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert not [value for _, value in found.attributes if value.strip().lower().startswith("javascript:")]


def hostile(place: Place) -> None:
    lines = rows()
    head = ",".join(f'"{word.replace(chr(34), chr(34) * 2)}"' for word in (PAYLOADS[1], PAYLOADS[2], PAYLOADS[0]))
    new = [f"{head},kind"]
    for i, old in enumerate(lines[1:]):
        height, weight, _, kind = old.split(",")
        word = PAYLOADS[3 + i % 5].replace('"', '""')
        new.append(f'{height},{weight},"{word}","{"<b>yes</b>" if kind == "yes" else "<script>no</script>"}"')
    place.write("t.csv", text(new))


def strict(place: Place, said: Said) -> None:
    refuse: object = lambda word: (_ for _ in ()).throw(ValueError(word))  # noqa: E731
    run = place.path / "runs/t-1"
    assert "content" in json.loads((run / "report.json").read_text(), parse_constant=refuse) or True  # type: ignore[arg-type]
    for one in (run / "history.jsonl").read_text().splitlines():
        json.loads(one, parse_constant=refuse)  # type: ignore[arg-type]


def one_json(place: Place, said: Said) -> None:
    found = json.loads(said.out)
    assert found["scores"]["kind"]["test"]["accuracy"]["value"] <= 1
    strict(place, said)


def small(place: Place, said: Said) -> None:
    assert (place.path / "runs/t-1/report.html").stat().st_size < 5_000_000


def broken_page(place: Place) -> None:
    """The page cannot be made, by a fault of ours."""
    from lamina.workflows import fit

    place.write("t.csv", GOOD)

    def fails(*arguments: object) -> None:
        raise MemoryError

    place.patch.setattr(fit, "render_to", fails)


def model_is_there(place: Place, said: Said) -> None:
    from lamina.runs.predictor import Predictor

    assert Predictor.load(place.path / "runs/t-1").targets[0].name == "kind"


def finished(place: Place) -> None:
    place.run("classes")


def same_bytes(place: Place, said: Said) -> None:
    assert page(place, "run").tags


def interrupted(place: Place) -> None:
    """A run whose report says that it was stopped."""
    import dataclasses

    from lamina.report.page import read_facts, render_to

    run = place.run("classes")
    facts = read_facts(run)
    stopped = dataclasses.replace(
        facts.run, state="interrupted", message="a signal ended the run", mend="lamina fit --resume run"
    )
    render_to(run, dataclasses.replace(facts, run=stopped))


def says_so(place: Place, said: Said) -> None:
    body = (place.path / "run/report.html").read_text()
    assert body.index("lamina fit --resume run") < len(body) / 2


def wide(n: int) -> bytes:
    import random

    chance = random.Random(1)
    lines = [",".join([*(f"c{i}" for i in range(n)), "kind"])]
    for _ in range(60):
        values = [f"{chance.gauss(0, 1):.2f}" for _ in range(n)]
        lines.append(",".join([*values, "yes" if float(values[0]) > 0 else "no"]))
    return text(lines)


LONG = "w" * 10_000
RIGHT_TO_LEFT: Make = csv(column("עברית 猫 \U0001f600 é", lambda i: ("שלום", "猫猫", "\U0001f600")[i % 3]))


def diverged(place: Place) -> None:
    """A run that ended without a model."""
    from catalogue.case import call

    place.write("n.csv", text(rows(kind="number")))
    words = "fit n.csv --out run --epochs 9 --lr 1e12 --set optimizer=sgd --set schedule=constant --threads 1 --set hidden=8"
    assert call(words.split()).code == 6


CASES = [
    Case("K1-payloads", hostile, "fit t.csv", 0, after=harmless),
    Case("K2-a-thousand-columns", csv(wide(1000)), "fit t.csv", 0, ["1001 columns"], after=small),
    Case("K2-forty-classes", csv(target(lambda i: f"class {i % 40}", n=400)), "fit t.csv", 0, ["40 classes"], after=small),
    Case("K3-no-metric-defined", csv(target(lambda i: 3.5)), "fit t.csv --task number --json", 0, after=strict),
    Case("K4-tiny-and-constant", csv(text(rows(14)[:13])), "fit t.csv", 0, after=strict),
    Case("K5-letters-of-the-world", RIGHT_TO_LEFT, "fit t.csv", 0, after=strict),
    Case("K5-very-long-labels", csv(column(f"long{LONG}", lambda i: f"{LONG}{i % 3}")), "fit t.csv", 0, silent=[LONG], after=small),
    Case("K6-report-fails", broken_page, "fit t.csv", 5, ["memory"], ["smaller"], left=["runs/*"], after=model_is_there),
    Case("K8-interrupted", interrupted, "report run", 0, changed=["run/report.*"], after=says_so),
    Case(
        "K8-failed",
        diverged,
        "report run",
        0,
        ["run/report.html"],
        changed=["run/report.*"],
    ),
    Case("K10-json", csv(GOOD), "fit t.csv --json", 0, after=one_json),
    Case("K12-report-again", finished, "report run", 0, ["run/report.html"], changed=["run/report.*"], after=same_bytes),
]  # fmt: skip
