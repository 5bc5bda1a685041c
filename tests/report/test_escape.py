"""K1, S11, R20: forty payloads in every place where data can stand, seen by a parser and by a real browser."""

from __future__ import annotations

import html
import itertools
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lamina.report import page
from lamina.report.facts import FitFacts
from lamina.report.page import render
from report.demo_facts import diabetes, digits, run_card
from report.parsed import Parsed
from report.payloads import PAYLOADS

# what the records choose from a closed list, or check themselves
_FIXED = {"state", "kind", "regime", "image", "metric", "importance_metric"}


def everywhere(facts: FitFacts, texts: Any) -> FitFacts:
    """Every text and every key of the facts replaced by the next of ``texts``."""
    source, keys = itertools.cycle(texts), list(texts)

    def change(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            if key in {"values", "settings", "chosen"}:
                return {f"{keys[i % len(keys)]}{i}": change(inner) for i, inner in enumerate(value.values())}
            return {name: change(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [change(inner) for inner in value]
        return next(source) if isinstance(value, str) and key not in _FIXED else value

    changed = change(facts.to_json())
    for target, original in zip(changed["targets"], facts.to_json()["targets"], strict=True):
        for row, before in zip(target["scores"], original["scores"], strict=True):
            row["part"] = before["part"]
    return FitFacts.from_json(changed)


def small() -> FitFacts:
    """Facts without curves, which hold no text from the data, so that they render in milliseconds."""
    made = replace(diabetes(), history=())
    number, classes = diabetes().targets[0], digits().targets[0]
    assert classes.classes is not None and number.numbers is not None
    empty = replace(number.numbers, truth=(), predicted=(), low=(), high=(), counts=(), edges=())
    plain = replace(classes.classes, pr=(), calibration=(), coverage=replace(classes.classes.coverage, x=(), y=()))
    return replace(made, targets=(replace(number, numbers=empty), replace(classes, classes=plain)))


def _run(**changes: str) -> Callable[[FitFacts, str], FitFacts]:
    return lambda facts, text: replace(facts, run=replace(facts.run, **{name: text for name in changes}))


def _target(change: Callable[[Any, str], Any], place: int = 0) -> Callable[[FitFacts, str], FitFacts]:
    def changed(facts: FitFacts, text: str) -> FitFacts:
        targets = list(facts.targets)
        targets[place] = change(targets[place], text)
        return replace(facts, targets=tuple(targets))

    return changed


def _first(items: tuple[Any, ...], **changes: Any) -> tuple[Any, ...]:
    return (replace(items[0], **changes), *items[1:])


PLACES: dict[str, Callable[[FitFacts, str], FitFacts]] = {
    "run name and title": _run(name="", title=""),
    "command line": _run(command=""),
    "message and mend": lambda f, s: replace(f, run=replace(f.run, state="failed", message=s, mend=s)),
    "setting": lambda f, s: replace(f, run=replace(f.run, settings={s: s}, chosen={s: s})),
    "source": lambda f, s: replace(f, data=replace(f.data, source=s, split=s, shape=s, unit=s)),
    "column name and summary": lambda f, s: replace(
        f, data=replace(f.data, columns=_first(f.data.columns, name=s, summary=s, role=s))
    ),
    "left out": lambda f, s: replace(f, data=replace(f.data, left_out=_first(f.data.left_out, name=s, why=s, mend=s))),
    "note": lambda f, s: replace(f, data=replace(f.data, notes=_first(f.data.notes, text=s, code=s, mend=s))),
    "target and its unit": _target(lambda t, s: replace(t, target=replace(t.target, name=s, unit=s))),
    "class": _target(
        lambda t, s: replace(
            t,
            classes=replace(
                t.classes,
                matrix_classes=(s, *t.classes.matrix_classes[1:]),
                rows=_first(t.classes.rows, name=s),
                confusions=_first(t.classes.confusions, truth=s, prediction=s, count=2),
            ),
        ),
        1,
    ),
    "baseline": _target(
        lambda t, s: replace(
            t, paired=replace(t.paired, baseline=s), scores=(*t.scores[:-1], replace(t.scores[-1], name=s))
        )
    ),
    "file name, cell, column of a mistake": _target(
        lambda t, s: replace(
            t,
            mistakes=_first(t.mistakes, label=s, truth=s, prediction=s, values={s: s}),
            importance=_first(t.importance, column=s),
        )
    ),
}
assert len(PLACES) == 12


def check_harmless(whole: str, benign: Parsed) -> None:
    parsed = Parsed(whole)
    # as many of each, since settings stand sorted by name; the parser has checked that they nest
    assert Counter(parsed.elements) == Counter(benign.elements), "the payload made or removed an element"
    assert {(tag, name) for tag, name, _ in parsed.attributes} <= {
        (tag, name) for tag, name, _ in benign.attributes
    } | {("bdi", "title")}
    for tag, name, value in parsed.attributes:
        assert not name.startswith("on")
        if name in {"src", "href", "action", "data", "srcdoc", "formaction"}:
            assert re.match(r"#|data:image/png;base64,[A-Za-z0-9+/=]*$", value), (tag, name, value)
        if name == "style":
            assert re.fullmatch(r"[-\w.:;%()#, \u0027]*", value), value


@pytest.mark.parametrize("place", PLACES)
def test_k1_forty_payloads_change_nothing_but_text(place: str) -> None:
    change = PLACES[place]
    benign = Parsed(render(change(small(), "harmless text")))
    assert any("harmless text" in text for text in benign.texts), "the place is not on the page"
    for payload in PAYLOADS:
        check_harmless(render(change(small(), payload)), benign)


@pytest.mark.parametrize("make", [digits, diabetes])
@pytest.mark.parametrize("turn", [0, 13])
def test_k1_payloads_in_all_places_at_once(make: Any, turn: int) -> None:
    payloads = PAYLOADS[turn:] + PAYLOADS[:turn]
    check_harmless(render(everywhere(make(), payloads)), Parsed(render(everywhere(make(), ["harmless"]))))


@pytest.mark.parametrize(
    ("place", "filters"),
    [("command line", {}), ("class", {"t": lambda value, limit=60: page.trusted(f"<bdi>{value}</bdi>")})],
)
def test_k1_a_page_that_does_not_escape_is_found(place: str, filters: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    benign = Parsed(render(PLACES[place](small(), "harmless text")))
    pages = page.pages.__wrapped__()  # a fresh engine, so that nothing of it stays
    pages.autoescape = bool(filters)
    pages.filters.update(filters)
    monkeypatch.setattr(page, "pages", lambda: pages)
    found = 0
    for payload in PAYLOADS:
        try:
            check_harmless(render(PLACES[place](small(), payload)), benign)
        except AssertionError:
            found += 1
    assert found > 20


def test_k1_the_check_can_fail() -> None:
    benign = Parsed(render(small()))
    whole = render(small())
    for broken in ("<script>x</script>", "<img src=x onerror=y>", '<a href="javascript:x">x</a>'):
        with pytest.raises(AssertionError):
            check_harmless(whole.replace("lamina report", "lamina report" + broken, 1), benign)


# --- R20: in a real browser ---

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


def dumped(whole: str, folder: Path, width: int = 1200) -> str:
    """The document after scripts have run, as chromium writes it."""
    (folder / "page.html").write_text(whole, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update"]
    flags += ["--virtual-time-budget=2000", "--dump-dom"]
    found = subprocess.run(
        [str(CHROMIUM), *flags, f"--window-size={width},900", f"--user-data-dir={folder / 'profile'}",
         (folder / "page.html").as_uri()],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    return found.stdout.decode("utf-8", "replace")


def title_of(dump: str) -> str:
    found = re.search(r"<title>(.*?)</title>", dump, re.S)
    return html.unescape(found[1]) if found else ""


@pytest.mark.browser
@browser
@pytest.mark.parametrize("policy", ["with its policy", "policy taken out"])
def test_r20_nothing_runs_in_chromium(policy: str, tmp_path: Path) -> None:
    facts = everywhere(digits(), PAYLOADS)
    facts = replace(facts, run=replace(facts.run, title="the title", state="failed"))
    for i, payload in enumerate(PAYLOADS):  # and each payload in each of the twelve places
        facts = list(PLACES.values())[i % 12](facts, payload) if i % 12 not in {0, 5, 6, 7, 9, 11} else facts
    facts = replace(facts, run=replace(facts.run, title="the title"))
    whole = render(facts)
    if policy == "policy taken out":
        whole = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", whole)
        assert "Content-Security-Policy" not in whole
    dump = dumped(whole, tmp_path)
    assert title_of(dump) == "the title"
    assert not re.search(r"<(script|iframe|object|embed|base|form|link|math|video)\b", dump.split("<body", 1)[1])


def looked_at(pages: list[str], folder: Path) -> str:
    """All pages in frames of one, without their policies: how many loaded, how many ran something."""
    frames = [re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page) for page in pages]
    body = "".join(f'<iframe srcdoc="{html.escape(page)}"></iframe>' for page in frames)
    count = """<title>none</title><script>alert=()=>0;onload=()=>{let ok=0,bad=0;for(const f of
    document.querySelectorAll("iframe")){const d=f.contentDocument;if(!d||!d.querySelector("h1")){continue}
    if(d.title=="PWNED"||d.querySelector("script,iframe,object,embed,base,form,link,[onload],[onerror],[onfocus]"))bad++
    else ok++}if(document.title!="PWNED")document.title=ok+" harmless, "+bad+" alive"}</script>"""
    return title_of(dumped(count + body, folder))


@pytest.mark.slow
@pytest.mark.browser
@browser
@pytest.mark.parametrize("place", PLACES)
def test_r20_forty_payloads_in_chromium(place: str, tmp_path: Path) -> None:
    pages = [render(PLACES[place](small(), payload)) for payload in PAYLOADS]
    assert looked_at(pages, tmp_path) == "40 harmless, 0 alive"


@pytest.mark.browser
@browser
def test_r20_the_frames_show_what_runs(tmp_path: Path) -> None:
    page = render(small())
    # An alert would wait for somebody to close it.
    payloads = [payload.replace(";alert(1)", "") for payload in PAYLOADS[:12]]
    pages = [page.replace("lamina report", "lamina report" + payload, 1) for payload in payloads]
    assert looked_at([page, *pages], tmp_path) == "1 harmless, 12 alive"


@pytest.mark.browser
@browser
def test_r20_the_harness_sees_what_runs(tmp_path: Path) -> None:
    whole = render(digits()).replace("lamina report", "<script>document.title='PWNED'</script>", 1)
    assert title_of(dumped(whole, tmp_path)) != "PWNED", "the policy of the page stops scripts"
    free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", whole)
    (tmp_path / "free").mkdir()
    assert title_of(dumped(free, tmp_path / "free")) == "PWNED"


@pytest.mark.browser
@browser
@pytest.mark.parametrize("make", [digits, diabetes])
def test_k7_the_page_fits_its_window(make: Any, tmp_path: Path) -> None:
    long = replace(everywhere(make(), ["word " * 30, "unbroken" * 40]), run=run_card())
    frames, widths = [], [320, 390, 1200]
    for facts in (make(), long):
        whole = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", render(facts))
        for width in widths:
            over = "let d=document.documentElement;parent.postMessage(d.scrollWidth-d.clientWidth,'*')"
            measure = f"<script>onload=()=>{{{over}}}</script>"
            inner = html.escape(whole.replace("</body>", measure + "</body>"))
            frames.append(f'<iframe style="border:0;width:{width}px;height:900px" srcdoc="{inner}"></iframe>')
    collect = "<title>0 of </title><script>onmessage=e=>{document.title+=' '+e.data}</script>"
    title = title_of(dumped(collect + "".join(frames), tmp_path, 1300))
    assert title.split("of ")[-1].split() == ["0"] * len(frames), title
