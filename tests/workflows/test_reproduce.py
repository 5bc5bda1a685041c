"""``lamina reproduce`` as a function: what it leaves, and going on where a run ended early."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.errors import CheckpointError, ConfigError, Interrupted
from lamina.io import read_json, write_json
from lamina.recipes.catalogue import Entry, find_entry
from lamina.workflows import reproduce as workflow
from lamina.workflows.reproduce import reproduce
from recipes import made

ENTRY = Entry("made", "Squares add up.", "this test", "recipes.made", 3, 0.1)


@pytest.fixture(autouse=True)
def recipe_of_the_tests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Put the made recipe beside the real ones, and work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(workflow, "find_entry", lambda name: ENTRY if name == "made" else find_entry(name))
    monkeypatch.setattr(workflow, "load_recipe", lambda name: (ENTRY, made.recipe))
    made.CALLS.clear()
    made.STOP_AFTER.clear()
    yield
    made.STOP_AFTER.clear()


def tables(folder: Path) -> list[object]:
    return list(read_json(folder / "result.json", "reproduction")["tables"])


def test_a_run_leaves_log_table_result_and_figures() -> None:
    done = reproduce("made")
    assert done.folder == Path("runs/reproduce-made-1")
    names = {path.name for path in done.folder.iterdir() if not path.name.startswith(".")}
    assert names == {"recipe.json", "results.jsonl", "result.json", "table.md", "line.svg", "line.png"}
    assert (done.folder / "table.md").read_text(encoding="utf-8") == done.text
    assert done.missed == ()
    assert "Squares add up." in done.text
    assert "- holds: the total is 14 (16.0)" in done.text
    content = read_json(done.folder / "result.json", "reproduction")
    assert content["seeds"] == 3
    assert content["facts"] == {"note": "settled"}
    assert content["jobs"] == 7
    assert reproduce("made").folder == Path("runs/reproduce-made-2")


@pytest.mark.parametrize("by", ["out", "resume"])
def test_a_run_that_was_stopped_goes_on_and_gives_the_same_table(by: str) -> None:
    expected = reproduce("made", out="whole")
    made.CALLS.clear()
    made.STOP_AFTER.append(2)
    with pytest.raises(Interrupted, match="finished jobs are kept") as stopped:
        reproduce("made", out="cut")
    assert stopped.value.exit_code == 130
    assert "lamina reproduce made --resume cut" in stopped.value.mend
    assert not Path("cut/table.md").exists()
    made.STOP_AFTER.clear()
    done = reproduce("made", out="cut") if by == "out" else reproduce(resume="cut")
    assert tables(done.folder) == tables(expected.folder)
    assert len(made.CALLS) == len(set(made.CALLS)) == 7
    assert Path("cut/line.png").read_bytes() == Path("whole/line.png").read_bytes()


def test_a_finished_run_is_only_drawn_again() -> None:
    first = reproduce("made", out="whole")
    made.CALLS.clear()
    (first.folder / "table.md").unlink()
    assert reproduce(resume="whole").text == first.text
    assert made.CALLS == []


def test_another_recipe_number_of_seeds_form_or_version_is_refused() -> None:
    reproduce("made", out="whole")
    for given, word in (({"seeds": 4}, "seeds 3, now 4"), ({"quick": True}, "quick False, now True")):
        with pytest.raises(ConfigError, match=word):
            reproduce("made", out="whole", **given)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="recipe made, now xor"):
        reproduce("xor", out="whole", seeds=3)
    card = read_json("whole/recipe.json", "recipe")
    card["versions"]["torch"] = "1.0"
    write_json("whole/recipe.json", card, "recipe")
    with pytest.raises(ConfigError, match=r"torch 1\.0, now"):
        reproduce(resume="whole")


def test_what_is_no_rerun_is_left_alone() -> None:
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("ten years")
    with pytest.raises(ConfigError, match="not empty"):
        reproduce("made", out="mine")
    with pytest.raises(CheckpointError, match=r"no recipe\.json"):
        reproduce(resume="mine")
    with pytest.raises(ConfigError, match="a folder is needed"):
        reproduce("made", out="mine/thesis.txt")
    assert [path.name for path in Path("mine").iterdir()] == ["thesis.txt"]


def test_wrong_arguments_are_refused_before_anything_is_written() -> None:
    for given in ({"seeds": 0}, {"jobs": 0}, {"out": "a", "resume": "b"}):
        with pytest.raises(ConfigError):
            reproduce("made", **given)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="did you mean"):
        reproduce("paritty")
    with pytest.raises(ConfigError, match="no recipe"):
        reproduce()
    assert list(Path().iterdir()) == []


def test_a_damaged_card_is_refused() -> None:
    reproduce("made", out="whole")
    card = Path("whole/recipe.json")
    card.write_text(card.read_text().replace('"seeds": 3', '"seeds": 4'))
    with pytest.raises(CheckpointError, match="SHA-256"):
        reproduce(resume="whole")


def test_quick_takes_fewer_seeds_and_says_so() -> None:
    done = reproduce("made", quick=True)
    assert json.loads(json.dumps(done.content))["seeds"] == 2
    assert "smaller form (--quick)" in done.text
