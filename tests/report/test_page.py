"""The page: whole, self-contained, true to its facts, and drawn for every odd input (RELIABILITY 4.K)."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lamina.errors import CheckpointError
from lamina.methodology.score import Score
from lamina.report import figures, gather
from lamina.report.facts import Column, FitFacts, Importance, NumberFacts, ScoreRow, Target, TargetFacts
from lamina.report.page import read_facts, render, render_to
from report.demo_facts import diabetes, digits, history, run_card
from report.parsed import Parsed


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without figures, where a test is about something else."""
    monkeypatch.setattr(figures, "_draw", lambda *_, **__: "<svg></svg>")


LONG = "x" * 10_000


def flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in flat(inner)]
    return [leaf for inner in value for leaf in flat(inner)] if isinstance(value, list) else [value]


@cache
def drawn(make: Any) -> str:
    return render(make())


def bare(**changes: Any) -> FitFacts:
    """Facts without any target."""
    return replace(digits(), targets=(), history=(), **changes)


def both() -> FitFacts:
    """Two targets of different kinds."""
    return replace(diabetes(), targets=(diabetes().targets[0], digits().targets[0]))


@pytest.mark.parametrize("make", [digits, diabetes, bare, both])
def test_page_is_one_self_contained_file(make: Any) -> None:
    page = drawn(make)
    parsed = Parsed(page)
    assert page.startswith("<!doctype html>")
    assert "script" not in parsed.elements and "link" not in parsed.elements
    for tag, name, value in parsed.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in {"src", "href"}:
            assert value.startswith("#" if name == "href" else "data:image/png;base64,"), (tag, name, value)
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org)", page)
    assert (
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">" in page
    )
    ids = [value for _, name, value in parsed.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    wanted = {value[1:] for _, name, value in parsed.attributes if name == "href"}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", page))
    assert wanted <= set(ids)
    assert len(page.encode()) < 3_000_000


@pytest.mark.parametrize("make", [digits, diabetes])
def test_figures_have_titles_and_are_small(make: Any) -> None:
    svgs = re.findall(r"<svg.*?</svg>", drawn(make), re.S)
    assert len(svgs) >= 6
    for svg in svgs:
        assert len(svg.encode()) < 100_000
        assert 'role="img"' in svg and "<title " in svg and "<desc " in svg
        assert not re.search(r"(?:fill|stroke): ?#0[1-4]0", svg), "a stand-in colour is left"


@pytest.mark.parametrize("make", [digits, diabetes, both])
def test_k9_every_number_in_the_page_is_in_the_json_to_the_digits_shown(make: Any, tmp_path: Path) -> None:
    parsed = Parsed(render_to(tmp_path, make()).read_text(encoding="utf-8"))
    leaves = flat(json.loads((tmp_path / "report.json").read_text()))
    known = {float(leaf) for leaf in leaves if isinstance(leaf, int | float)}
    assert len(parsed.numbers) > 100
    for exact, text in parsed.numbers:
        assert float(exact) in known, (exact, text)
        if text.endswith((" s", " min")):
            continue
        digits_shown = text.replace(",", "").replace("\u2212", "-").removesuffix("\u00a0%")
        scale = 100 if text.endswith("%") else 1
        mantissa, _, power = digits_shown.partition("e")
        half = 0.5 * 10.0 ** (int(power or 0) - len(mantissa.partition(".")[2]))
        assert abs(float(digits_shown) - scale * float(exact)) <= half * 1.0001, (exact, text)
    # digits that are not in a <data> element: words of the template, counts of rows shown, texts of the facts
    prose = " ".join(" ".join(parsed.prose).split())
    for leaf in sorted({leaf for leaf in leaves if isinstance(leaf, str) and len(leaf) > 20}, key=len, reverse=True):
        prose = prose.replace(" ".join(leaf.split()), "")
    allowed = {"95", "90", "80", "100", "0.01", "0.5", "0.00001", "256", "1", "2", "5"}
    allowed |= {str(len(t.mistakes)) for t in make().targets}
    assert set(re.findall(r"\d[\d.,]*\d|\d", prose)) <= allowed


@pytest.mark.parametrize("make", [digits, diabetes])
def test_report_json_draws_the_same_page(make: Any, tmp_path: Path) -> None:
    render_to(tmp_path, make())
    assert render(read_facts(tmp_path)) == (tmp_path / "report.html").read_text(encoding="utf-8") == drawn(make)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]


def test_damaged_report_json_is_refused(tmp_path: Path) -> None:
    render_to(tmp_path, bare())
    path = tmp_path / "report.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1', 1))
    with pytest.raises(CheckpointError):
        read_facts(tmp_path)
    with pytest.raises(CheckpointError):
        read_facts(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("state", "said"),
    [("interrupted", "This run was interrupted."), ("failed", "This run failed."), ("running", "still going on")],
)
@pytest.mark.usefixtures("undrawn")
def test_k8_a_run_that_is_not_finished_says_so_at_the_top(state: Any, said: str) -> None:
    run = run_card(state=state, message="SIGTERM at step 812", mend="lamina fit --resume runs/digits-1")
    page = render(replace(digits(), run=run))
    assert said in page and page.index(said) < page.index('class="verdict"')
    assert "SIGTERM at step 812" in page and "lamina fit --resume runs/digits-1" in page
    assert said not in render(digits())


@pytest.mark.usefixtures("undrawn")
def test_g16_worse_than_a_baseline_is_the_first_sentence() -> None:
    target = digits().targets[0]
    assert target.diagnosis is not None
    bad = replace(target.diagnosis, regime="worse than baseline", verdict="On validation it is worse than x.")
    page = render(replace(digits(), targets=(replace(target, diagnosis=bad),)))
    verdict = page[page.index('class="verdict"') :]
    assert verdict.index("worse than x") < verdict.index("It is right on")


@pytest.mark.usefixtures("undrawn")
def test_k3_undefined_scores_say_why() -> None:
    scores = gather.scores_for("classes", np.zeros(9, dtype=int), probabilities=np.tile([0.7, 0.3], (9, 1)))
    row = ScoreRow("this model", "test", True, {**scores, "accuracy": Score(float("nan"), reason="not finite")})
    target = TargetFacts(Target("y", "classes", ("a", "b")), "accuracy", (row,))
    page = render(replace(bare(), targets=(target,)))
    text = "".join(Parsed(page).texts)
    assert "not defined because only one class occurs in this part" in text
    assert not re.search(r"\b(nan|inf)\b", text)


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("constant", [False, True])
def test_k4_one_point_and_constant_series_are_drawn(n: int, constant: bool) -> None:
    rng = np.random.default_rng(0)
    truth = np.full(n, 3.0) if constant else rng.normal(size=n)
    p = np.tile([0.5, 0.5], (n, 1)).reshape(n, 2)
    row = ScoreRow("this model", "test", True, gather.scores_for("number", truth, mean=truth))
    targets = (
        TargetFacts(Target("v", "number"), "rmse", (row,), numbers=gather.number_facts(truth, truth, truth, truth)),
        TargetFacts(
            Target("y", "classes", ("a", "b")),
            "accuracy",
            (ScoreRow("m", "test", True, gather.scores_for("classes", np.zeros(n, dtype=int), probabilities=p)),),
            classes=gather.class_facts(np.zeros(n, dtype=int), p, ("a", "b")),
            importance=(Importance("a", 0.0, 0.0, 0.0), Importance("b", None)),
        ),
    )
    page = render(replace(digits(), targets=targets, history=history(max(1, n), 1)[:n]))
    assert ("Loss over epochs" in page) == (n > 0)
    assert "nan" not in page.replace("nance", "")
    zeros = history(3, 2)
    flat_history = tuple({**record, "loss": 0.0, "valid_loss": 0.0, "grad_norm": 0.0} for record in zeros)
    Parsed(render(replace(digits(), history=flat_history)))


def test_k4_all_zero_confusion() -> None:
    classes = gather.class_facts(np.array([-1, -1]), np.array([[0.4, 0.6], [0.5, 0.5]]), ("a", "b"))
    assert classes.matrix == ((0, 0), (0, 0)) and classes.n_wrong == 2
    target = replace(digits().targets[0], classes=classes)
    Parsed(render(replace(digits(), targets=(target,))))


def test_extreme_values_are_drawn() -> None:
    huge = NumberFacts(3, (-1e300, 0.0, 1e300), (1, 2), (-1e300, 0.0, 1e300), (1e300, 1e-300, 0.0))
    target = TargetFacts(Target("v", "number"), "rmse", numbers=huge)
    records = tuple({"epoch": e, "loss": 10.0 ** (300 - e), "valid_loss": 1e-300} for e in range(1, 9))
    Parsed(render(replace(digits(), targets=(target,), history=records)))


@pytest.mark.parametrize(
    "label",
    [LONG, "顧客の満足度", "עזיבה", "👩‍👩‍👧 🇩🇪", "Z̸̢̛͚a̶l̴g̵o̷", "$x^2$ \\frac{1}{0", "", " ", "a b", "\u202eevil"],
)
@pytest.mark.usefixtures("undrawn")
def test_k5_labels_of_every_kind_stand_readable_in_the_page(label: str) -> None:
    facts = digits()
    target = facts.targets[0]
    assert target.classes is not None
    truth, p = np.array([0, 1, 1]), np.array([[0.2, 0.8], [0.3, 0.7], [0.9, 0.1]])
    classes = gather.class_facts(truth, p, (label, "other"))
    changed = replace(target, target=replace(target.target, name=label), classes=classes)
    page = render(replace(facts, targets=(changed,), run=run_card(name=label, title=label)))
    parsed = Parsed(page)
    if label == LONG:
        assert ("bdi", "title", LONG) in parsed.attributes
        assert all(len(text) < 5_000 for text in parsed.texts)
        assert len(page) < 3_000_000
    elif label.isprintable() or "\u200d" in label:
        assert not label.strip() or any(label.strip() in text for text in parsed.texts)
    assert "\u202e" not in page


@pytest.mark.usefixtures("undrawn")
def test_s13_no_control_character_reaches_the_page() -> None:
    nasty = "\x1b]0;title\x07\x1b[31m\u202e\x00\ud800\x85"
    page = render(replace(digits(), run=run_card(name=nasty, title=nasty, command=nasty)))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", page)
    assert "\\x1b]0;title\\x07" in page


@pytest.mark.usefixtures("undrawn")
def test_s24_the_page_says_which_examples_it_shows_or_that_it_shows_none() -> None:
    assert "This page shows" in render(digits()) and "--set examples=false" in render(digits())
    hidden = render(replace(digits(), examples=False))
    assert "are not shown in this report" in hidden and "data:image/png" not in hidden


def test_k2_thousand_classes_ten_thousand_columns_a_million_epochs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    k, n = 1000, 10_000
    truth = rng.integers(0, k, n)
    p = rng.dirichlet(np.ones(k), 10)[rng.integers(0, 10, n)]
    names = [f"class number {i}" for i in range(k)]
    columns = tuple(Column(f"column {i}", "number", 0, 5, "0 to 1") for i in range(10_000))
    facts = digits()
    target = replace(
        facts.targets[0],
        target=Target("y", "classes", tuple(names), (10,) * k),
        classes=gather.class_facts(truth, p, names),
        importance=tuple(Importance(c.name, 1.0 / (i + 1), 0.0, 1.0) for i, c in enumerate(columns)),
    )
    records = tuple({"epoch": e, "loss": 1.0 / e, "valid_loss": 1.0 / e} for e in range(1, 1_000_001))
    big = replace(facts, data=replace(facts.data, columns=columns), targets=(target,), history=records)
    render_to(tmp_path, big)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert all(size < 5_000_000 for size in sizes.values())
    page = (tmp_path / "report.html").read_text()
    assert "of 10000 columns; the rest is in" in page and "of 1000 classes" in page


@pytest.mark.usefixtures("undrawn")
def test_twelve_pictures_stay_below_three_megabytes() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 640, 640)).astype(np.uint8)
    facts = digits()
    target = facts.targets[0]
    mistakes = tuple(replace(target.mistakes[0], image=gather.picture(noise)) for _ in range(12))
    assert len(render(replace(facts, targets=(replace(target, mistakes=mistakes),))).encode()) < 3_000_000
