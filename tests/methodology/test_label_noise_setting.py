"""Label noise as a setting: it reaches the training labels and no others, and is refused where there are no classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lamina.errors import ConfigError
from lamina.methodology.train import train
from lamina.workflows.fit import fit
from methodology.tables import line, moons, problem, settings, trained, write

X = np.random.default_rng(0).normal(size=(120, 2))
CLASSES = {"a": X[:, 0], "b": X[:, 1], "kind": np.where(X[:, 0] + 0.3 * X[:, 1] > 0, "yes", "no")}
MODEL = {"model": "mlp", "hidden": "6", "dropout": 0.0, "monitor": "loss", "patience": 100}


def test_with_two_classes_and_probability_one_it_is_training_on_the_opposite() -> None:
    opposite = {**CLASSES, "kind": np.where(CLASSES["kind"] == "yes", "no", "yes")}
    asked = settings(**MODEL, split=(1.0, 0.0, 0.0), epochs=4)
    noisy = trained(CLASSES, ["kind"], asked.with_changes({"label_noise": 1.0}, where="test")).predictor.model
    turned = trained(opposite, ["kind"], asked).predictor.model
    plain = trained(CLASSES, ["kind"], asked).predictor.model
    for name, p in noisy.named_parameters():
        assert torch.equal(p, turned.get_parameter(name)), name
    assert not torch.equal(noisy.linear1.weight, plain.linear1.weight)


@pytest.mark.parametrize("pretrain", ["none", "autoencoder:epochs=1", "discriminative:epochs=1"])
def test_the_validation_labels_stay_as_they_are(pretrain: str) -> None:
    asked = settings(**MODEL, epochs=30, label_noise=1.0, learning_rate=0.02, split=(0.7, 0.3, 0.0), pretrain=pretrain)
    record = trained(CLASSES, ["kind"], asked).history.records[-1]
    assert record["valid_accuracy"] < 0.1


def test_it_goes_with_smoothing_bagging_and_rows_without_a_target() -> None:
    columns, _, _ = moons(20, 40)
    free = {"learn_unlabelled": True, "penalty": "entropy:0.1"}
    for source, target, more in (
        (CLASSES, "kind", {"bag": 2}),
        (CLASSES, "kind", {"smoothing": 0.1}),
        (CLASSES, "kind", {"step": "backprop"}),
        (columns, "moon", free),
        (columns, "moon", {"learn_unlabelled": True, "pairs": "1:neighbours=3"}),
    ):
        made, whole = problem(source, [target], settings(**MODEL, epochs=2, label_noise=0.2, **more))
        assert all(torch.isfinite(p).all() for p in train(made, whole).predictor.model.parameters()), more


@pytest.mark.slow
def test_a_resumed_run_meets_the_same_labels(tmp_path: Path) -> None:
    source = write(tmp_path / "t.csv", CLASSES)
    asked = settings(**MODEL, label_noise=0.3, schedule="constant", epochs=2)
    short = fit(str(source), targets=["kind"], settings=asked, out=str(tmp_path / "short"))
    longer = asked.with_changes({"epochs": 4}, where="test")
    fit("", settings=longer, resume=str(short.folder))
    whole = fit(str(source), targets=["kind"], settings=longer, out=str(tmp_path / "whole"))
    files = [run.folder / "model" / "model.safetensors" for run in (short, whole)]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("columns", "targets", "more", "words"),
    [
        (line(60), ["y"], {}, "y is no class"),
        ({**CLASSES, "other": CLASSES["kind"]}, ["kind", "other"], {}, "not several targets"),
        ({**CLASSES, "other": CLASSES["kind"]}, ["kind"], {"hints": "other"}, "not hints"),
        (CLASSES, ["kind"], {"label_noise": 1.5}, "label_noise must be between 0 and 1"),
    ],
    ids=["number", "several", "hints", "range"],
)
def test_it_is_refused_where_no_single_class_is_learnt(columns: dict, targets: list, more: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        problem(columns, targets, settings(**{"label_noise": 0.1, **more}))
    assert caught.value.mend and "\n" not in str(caught.value)
