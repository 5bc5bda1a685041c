"""Examples without a target: of archives, of folders of pictures, and of any source by ``labels``."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lamina.cli.main import main
from lamina.data.images import ImageSet
from lamina.errors import ConfigError, DataError
from lamina.methodology.baseline import complete
from lamina.methodology.image_problem import problem_of_pictures
from lamina.methodology.problem import Problem
from lamina.methodology.regularise import WITHOUT_TARGETS
from lamina.methodology.train import train
from lamina.runs.predictor import Predictor
from lamina.runs.settings import Settings
from lamina.workflows.evaluate import evaluate
from lamina.workflows.fit import FitResult, fit
from lamina.workflows.source import open_source
from workflows.made import QUICK, shapes

VAT = {"penalty": "virtual-adversarial:1"}
SMALL = {"width": 4, "epochs": 2, "importance": "false", "monitor": "loss", "schedule": "constant"}


def settings_of(**changes: object) -> Settings:
    return QUICK.with_changes({**SMALL, **changes}, where="test")


def fitted(source: Path | str, out: Path, **changes: object) -> FitResult:
    return fit(str(source), settings=settings_of(**changes), out=str(out))


def weights(run: FitResult) -> bytes:
    return (run.folder / "model" / "model.safetensors").read_bytes()


def data_card(run: FitResult) -> dict:
    return json.loads((run.folder / "report.json").read_text())["data"]


def parts_of(run: FitResult) -> dict[str, int]:
    return {part["name"]: part["size"] for part in data_card(run)["parts"]}


def noted(run: FitResult) -> str:
    return " ".join(note["text"] for note in data_card(run)["notes"])


def pictures(n: int = 60, seed: int = 0, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Squares that are bright in one third of their rows."""
    random = np.random.default_rng(seed)
    y = np.arange(n) % classes
    x = random.integers(0, 90, (n, 9, 9), dtype=np.uint8)
    for row, code in zip(x, y, strict=True):
        row[3 * code : 3 * code + 3] += 120
    return x, y


def vectors(n: int = 80, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(seed).normal(size=(n, 4))
    return x, np.digitize(x[:, 0], [-0.4, 0.4])


def archive(path: Path, kind: str, gone: slice = slice(50, None), **other: int) -> Path:
    """Write an archive whose last targets are missing."""
    x, y = (pictures if kind == "pictures" else vectors)(**other)
    if kind == "numbers":
        y = x[:, 0] + 0.1 * x[:, 1]
    y[gone] = np.nan if kind == "numbers" else -1
    np.savez(path, x=x, y=y)
    return path


KINDS = ("pictures", "classes", "numbers")
TAUGHT = {"pictures": VAT, "classes": VAT, "numbers": {"penalty": "contractive:0.1"}}


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_with_missing_targets_is_refused_or_learnt_from(kind: str, tmp_path: Path) -> None:
    source = archive(tmp_path / "a.npz", kind)
    with pytest.raises(DataError, match=r"the (class|target) is missing in \d+ (picture|row)s \(") as caught:
        fitted(source, tmp_path / "run")
    assert "--drop-unlabelled" in caught.value.mend
    assert not (tmp_path / "run").exists()
    dropped = fitted(source, tmp_path / "a", drop_unlabelled=True, **TAUGHT[kind])
    learnt = fitted(source, tmp_path / "b", learn_unlabelled=True, **TAUGHT[kind])
    gone = 10 if kind == "pictures" else 30
    assert f"{gone} {'pictures' if kind == 'pictures' else 'rows'} without a target left out" in noted(dropped)
    assert "training without a target" not in parts_of(dropped)
    parts = parts_of(learnt)
    assert parts["training without a target"] == gone
    assert parts["training"] + parts["validation"] + parts["test"] == 50
    assert f"{parts['training']} training " in noted(learnt) and "learnt from as well" in noted(learnt)
    model = Predictor.load(learnt.folder)
    assert "-1" not in [str(label) for label in getattr(model.targets[0], "classes", ())]
    assert weights(dropped) != weights(learnt)


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_without_a_target_have_influence_only_where_they_are_learnt_from(kind: str, tmp_path: Path) -> None:
    source = archive(tmp_path / "a.npz", kind)
    with np.load(source) as arrays:
        x, y = arrays["x"].copy(), arrays["y"]
    x[-1] = x[-1][::-1]
    np.savez(tmp_path / "b.npz", x=x, y=y)
    ways = {"dropped": {"drop_unlabelled": True}, "learnt": {"learn_unlabelled": True}}
    for name, way in ways.items():
        runs = [
            fitted(tmp_path / f"{one}.npz", tmp_path / f"{name}-{one}", **way, **TAUGHT[kind]) for one in ("a", "b")
        ]
        assert (weights(runs[0]) == weights(runs[1])) == (name == "dropped")


def bare(problem: Problem, replaced: int | float) -> Problem:
    """The problem with another target for every example that is in no part."""
    inside = np.concatenate([problem.split.train, problem.split.valid, problem.split.test])
    outside = np.setdiff1d(np.arange(len(problem.inputs)), inside)
    assert len(outside) > 10
    encoded = problem.encoded.clone()
    encoded[torch.from_numpy(outside)] = replaced
    assert not torch.equal(encoded, problem.encoded)
    return replace(problem, encoded=encoded)


@pytest.mark.parametrize(
    "way", [VAT, {"penalty": "entropy:0.5"}, {"pairs": "1:neighbours=2", "augment": False}], ids=str
)
def test_the_target_of_an_example_that_lost_it_is_never_looked_at(way: dict) -> None:
    x, y = pictures()
    images = ImageSet("made", x[:, None], y, ("a", "b", "c"))
    problem = problem_of_pictures(images, settings_of(labels=6, learn_unlabelled=True))
    asked, _ = complete(settings_of(labels=6, learn_unlabelled=True, **way), problem)
    models = [train(one, asked).predictor.model for one in (problem, bare(problem, 0), bare(problem, 2))]
    states = [torch.cat([p.detach().flatten() for p in model.parameters()]) for model in models]
    assert torch.equal(states[0], states[1]) and torch.equal(states[0], states[2])
    # The check can fail: the target of an example that keeps it does matter.
    changed = problem.encoded.clone()
    changed[problem.split.train[0]] = (changed[problem.split.train[0]] + 1) % 3
    other = train(replace(problem, encoded=changed), asked).predictor.model
    assert not torch.equal(states[0], torch.cat([p.detach().flatten() for p in other.parameters()]))


@pytest.mark.parametrize("learn", [True, False], ids=["learnt", "left out"])
def test_numbers_of_rows_that_lost_theirs_can_be_anything(learn: bool, tmp_path: Path) -> None:
    """Mean and scale of the target are those of the rows that keep it, and so are the bits of the weights."""
    x, _ = vectors(120)
    y = x[:, 0] + 0.1 * x[:, 1]
    asked = {"labels": 20, "learn_unlabelled": learn, "task": "number", "penalty": "contractive:0.1"}
    np.savez(tmp_path / "a.npz", x=x, y=y)
    opened = open_source(str(tmp_path / "a.npz"), settings_of())
    run = fitted(tmp_path / "a.npz", tmp_path / "a", **asked)
    # Which rows keep theirs is read off the run itself: those whose change is felt.
    target = Predictor.load(run.folder).targets[0]
    values = np.asarray(opened.data.column("y"))  # type: ignore[union-attr]
    from lamina.methodology.table_problem import problem_of_table

    problem, _ = problem_of_table(opened.data, ["y"], settings_of(**asked))  # type: ignore[arg-type]
    split = problem.split
    assert len(split.train) == 20 and target.mean == pytest.approx(values[split.train].mean(), rel=1e-12)  # type: ignore[union-attr]
    hidden = np.setdiff1d(np.arange(120), np.concatenate([split.train, split.valid, split.test]))
    other = y.copy()
    other[hidden] = 1e3 * np.arange(len(hidden)) + 0.5
    np.savez(tmp_path / "b.npz", x=x, y=other)
    assert weights(run) == weights(fitted(tmp_path / "b.npz", tmp_path / "b", **asked))
    other[split.train[0]] += 1.0
    np.savez(tmp_path / "c.npz", x=x, y=other)
    assert weights(run) != weights(fitted(tmp_path / "c.npz", tmp_path / "c", **asked))


def test_labels_leaves_as_many_of_each_class_chosen_by_the_seed(tmp_path: Path) -> None:
    images = open_source("digits", settings_of()).data
    assert isinstance(images, ImageSet) and images.labels is not None
    whole = problem_of_pictures(images, settings_of())
    problem = problem_of_pictures(images, settings_of(labels=30))
    assert np.bincount(images.labels[problem.split.train]).tolist() == [3] * 10
    assert set(problem.split.train) < set(whole.split.train)
    for part in ("valid", "test"):
        assert np.array_equal(getattr(problem.split, part), getattr(whole.split, part))
    assert problem.unlabelled is None and problem.n_training == 30
    again, other = (problem_of_pictures(images, settings_of(labels=30, seed=seed)) for seed in (0, 1))
    assert np.array_equal(problem.split.train, again.split.train)
    assert not np.array_equal(problem.split.train, other.split.train)
    learnt = problem_of_pictures(images, settings_of(labels=30, learn_unlabelled=True))
    assert np.array_equal(learnt.split.train, problem.split.train)
    assert learnt.unlabelled is not None
    rest = np.setdiff1d(whole.split.train, problem.split.train)
    assert np.array_equal(learnt.unlabelled.numpy(), images.pixels[rest])
    assert learnt.n_training == len(whole.split.train)
    # What is left out has no influence on the preparation, what is learnt from has.
    means = [one.preparation.mean for one in (problem, learnt, whole)]  # type: ignore[union-attr]
    assert means[1] == means[2] != means[0]
    run = fitted("digits", tmp_path / "run", labels=30, model="mlp", epochs=1)
    left = len(whole.split.train) - 30
    assert f"30 training pictures have a target; {left:,} pictures without a target left out (labels=30)" in noted(run)


def test_labels_of_tables(tmp_path: Path) -> None:
    run = fitted("wine", tmp_path / "a", labels=9, learn_unlabelled=True, **VAT)
    assert parts_of(run)["training"] == 9
    target = Predictor.load(run.folder).targets[0]
    assert target.counts == (3, 3, 3)  # type: ignore[union-attr]
    assert "9 training rows have a target" in noted(run)
    left_out = fitted("wine", tmp_path / "b", labels=9, **VAT)
    assert parts_of(left_out)["training"] == 9 and "left out (labels=9)" in noted(left_out)
    assert weights(run) != weights(left_out)


@pytest.mark.parametrize(("layout", "name"), [("plain", "unlabelled"), ("parts", "Unlabeled")])
def test_a_folder_of_pictures_without_a_class(layout: str, name: str, tmp_path: Path) -> None:
    root = shapes(tmp_path / "train" if layout == "parts" else tmp_path / "shapes", 12)
    source = root
    if layout == "parts":
        source = root.rename(tmp_path / "inner")
        (tmp_path / "shapes").mkdir()
        root = source.rename(tmp_path / "shapes" / "train")
        shapes(tmp_path / "shapes" / "test", 6, seed=5)
        source = tmp_path / "shapes"
    shapes(tmp_path / "more", 5, seed=9)
    (root / name).mkdir()
    for picture in (tmp_path / "more" / "above").iterdir():
        shutil.copy(picture, root / name / picture.name)
    learnt = fitted(source, tmp_path / "a", learn_unlabelled=True, **VAT)
    dropped = fitted(source, tmp_path / "b", drop_unlabelled=True, **VAT)
    for run in (learnt, dropped):
        assert Predictor.load(run.folder).targets[0].classes == ("above", "below")  # type: ignore[union-attr]
    assert parts_of(learnt)["training without a target"] == 5
    assert "5 pictures without a target left out (drop_unlabelled)" in noted(dropped)
    assert weights(learnt) != weights(dropped)
    if layout == "plain":  # not asked for, it is a class
        plain = fitted(source, tmp_path / "c")
        assert len(Predictor.load(plain.folder).targets[0].classes) == 3  # type: ignore[union-attr]
    else:
        assert parts_of(learnt)["test"] == 12


def test_a_folder_without_classes_beside_the_parts_is_refused(tmp_path: Path) -> None:
    shapes(tmp_path / "s" / "train", 4)
    shapes(tmp_path / "s" / "test", 4)
    shapes(tmp_path / "s" / "unlabelled", 4)
    with pytest.raises(DataError, match="unlabelled/ lies beside train/") as caught:
        fitted(tmp_path / "s", tmp_path / "run", learn_unlabelled=True, **VAT)
    assert "move it into train/" in caught.value.mend
    shutil.rmtree(tmp_path / "s" / "train")
    shutil.rmtree(tmp_path / "s" / "test")
    with pytest.raises(DataError, match="all pictures are without a class"):
        fitted(tmp_path / "s", tmp_path / "run", learn_unlabelled=True, **VAT)


def test_pictures_of_the_test_part_without_a_class_are_not_learnt_from() -> None:
    x, y = pictures()
    y[::7] = -1
    images = ImageSet("made", x[:, None], y, ("a", "b", "c"), part=(np.arange(60) % 3 == 0).astype(np.int8) * 2)
    problem = problem_of_pictures(images, settings_of(learn_unlabelled=True))
    assert problem.unlabelled is not None
    mine = (y < 0) & (images.part == 0)
    assert np.array_equal(problem.unlabelled.numpy()[:, 0], x[mine])
    assert "3 pictures without a class in the validation and test part left out" in problem.notes[0]
    assert (y[np.concatenate([problem.split.train, problem.split.valid, problem.split.test])] >= 0).all()


@pytest.mark.parametrize("name", [name for name in WITHOUT_TARGETS if name != "curvature"])
def test_a_convolutional_network_learns_by_each_penalty_that_needs_no_target(name: str) -> None:
    x, y = pictures()
    images = ImageSet("made", x[:, None], y, ("a", "b", "c"))
    line = {"manifold-tangent": "manifold-tangent:0.1:units=6:epochs=2:rank=2"}.get(name, f"{name}:0.1")
    states = []
    for turned in (False, True):
        problem = problem_of_pictures(images, settings_of(labels=9, learn_unlabelled=True))
        if turned:
            assert problem.unlabelled is not None
            problem = replace(problem, unlabelled=problem.unlabelled.flip(-1))
        asked, _ = complete(settings_of(labels=9, learn_unlabelled=True, penalty=line, epochs=1), problem)
        assert asked.model == "resnet" and asked.augment
        trained = train(problem, asked)
        assert all(np.isfinite(record["loss"]) for record in trained.history.records)
        states.append(torch.cat([p.detach().flatten() for p in trained.predictor.model.parameters()]))
    assert not torch.equal(*states)


def test_a_run_with_few_targets_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    x, y = pictures()
    np.savez(tmp_path / "a.npz", x=x, y=y)
    asked = {"labels": 9, "learn_unlabelled": True, "patience": 50, "augmentation": "shift=1:noise=0.05", **VAT}
    short = fitted(tmp_path / "a.npz", tmp_path / "short", **asked)
    longer = settings_of(**asked, epochs=5)
    fit("", settings=longer, resume=str(short.folder))
    whole = fit(str(tmp_path / "a.npz"), settings=longer, out=str(tmp_path / "whole"))
    assert weights(short) == weights(whole)
    with pytest.raises(ConfigError, match="labels: 9 -> 12"):
        fit("", settings=longer.with_changes({"labels": 12}, where="test"), resume=str(short.folder))
    loaded = Predictor.load(whole.folder)
    assert "9 training pictures have a target" in loaded.facts["targets"]
    found = evaluate(str(whole.folder), str(tmp_path / "a.npz"))
    assert found["rows"] == 60


def test_pictures_without_a_class_cannot_be_evaluated(tmp_path: Path) -> None:
    source = archive(tmp_path / "a.npz", "pictures")
    run = fitted(source, tmp_path / "run", drop_unlabelled=True, epochs=1)
    with pytest.raises(DataError, match="the class is missing in 10 pictures"):
        evaluate(str(run.folder), str(source))


REFUSED = {
    "fewer than classes": ("wine", {"labels": 2}, 2, "2 examples with a target leave some of the 3 classes"),
    "more than there are": ("wine", {"labels": 500}, 2, "500 examples cannot keep their target"),
    "a second pass": ("wine", {"labels": 9, "second_pass": "retrain"}, 2, "the targets of the validation part too"),
    "nothing that learns": ("wine", {"labels": 9, "learn_unlabelled": "true"}, 2, "teach nothing without a penalty"),
    "nothing to learn": (
        "digits", {"learn_unlabelled": "true", "penalty": "entropy:1"}, 2, "none is without a target"),
    "pairs that move": (
        "digits", {"labels": 40, "learn_unlabelled": "true", "pairs": "1", "augment": "true"}, 2, "as they are"),
    "none": ("wine", {"labels": 0}, 2, "labels must be"),
    "missing classes": ("a.npz", {}, 3, "the class is missing in 10 pictures"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_are_one_line_and_an_exit_code(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, changes, code, text = REFUSED[name]
    monkeypatch.chdir(tmp_path)
    archive(tmp_path / "a.npz", "pictures")
    words = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    assert main(["fit", source, "--epochs", "1", "--out", "run", *words]) == code
    lines = capsys.readouterr().err.splitlines()
    assert sum(text in line for line in lines) == 1
    assert not (tmp_path / "run").exists()
