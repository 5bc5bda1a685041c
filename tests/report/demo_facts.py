"""Rich facts from scikit-learn's digits and diabetes and a quick linear model, for the tests and for looking at.

``python tests/report/demo_facts.py FOLDER`` writes the pages there.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lamina.methodology.diagnosis import diagnose
from lamina.report import gather
from lamina.report.facts import (
    Column,
    DataCard,
    FitFacts,
    Importance,
    LeftOut,
    Part,
    Remark,
    RunCard,
    ScoreRow,
    Target,
    TargetFacts,
)
from lamina.report.page import render_to


def run_card(**changes: Any) -> RunCard:
    """A finished run."""
    card: dict[str, Any] = {
        "name": "digits-1",
        "title": "digits: class",
        "state": "finished",
        "command": "lamina fit digits --seed 0 --out runs/digits-1",
        "started": "2026-11-20T16:20:00+00:00",
        "seconds": 14.25,
        "seed": 0,
        "device": "cpu",
        "threads": 2,
        "lamina": "0.1.0",
        "torch": "2.13.0",
        "python": "3.11.9",
        "model": "resnet 16-32-64, relu, batch norm",
        "n_parameters": 77_418,
        "epochs": 40,
        "best_epoch": 28,
        "stopped": "no better valid_loss in 12 epochs",
        "settings": {
            "batch_size": 32,
            "dropout": 0.1,
            "epochs": 100,
            "hidden": [128, 128],
            "learning_rate": 1e-3,
            "patience": 12,
            "seed": 0,
            "split": [0.65, 0.1, 0.25],
            "weight_decay": 0.01,
        },
        "chosen": {"hidden": "1,168 training rows", "learning_rate": "the default of AdamW"},
        "platform": "Linux x86_64",
    }
    return RunCard(**{**card, **changes})


def history(n: int = 40, best: int = 28, scale: float = 2.2) -> tuple[dict[str, Any], ...]:
    """Curves of a run that over-fits a little after its best epoch."""
    rng = np.random.default_rng(0)
    epochs = np.arange(1, n + 1)
    loss = scale * np.exp(-epochs / (0.2 * n)) + 0.02
    valid = scale * np.exp(-epochs / (0.2 * n)) + 0.09 + 0.00002 * np.clip(epochs - best, 0, None) ** 2
    gradient = 2.0 * np.exp(-epochs / (0.4 * n)) * rng.lognormal(0, 0.2, n)
    return tuple(
        {
            "epoch": int(e),
            "loss": float(loss[i]),
            "valid_loss": float(valid[i] + 0.008 * rng.standard_normal()),
            "valid_accuracy": float(0.975 - 0.6 * np.exp(-e / (0.1 * n)) + 0.003 * rng.standard_normal()),
            "learning_rate": 1e-3 if e < 0.8 * n else 1e-4,
            "grad_norm": float(gradient[i]),
            "update_ratio": float(0.012 * np.exp(-e / n)),
            "dead_layers": 0.0,
        }
        for i, e in enumerate(epochs)
    )


@cache
def digits() -> FitFacts:
    """Ten classes of pictures."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    train, valid, test = order[:1168], order[1168:1348], order[1348:]
    model = LogisticRegression(C=0.02, max_iter=2000).fit(x[train], y[train])
    weak = LogisticRegression(C=1e-5, max_iter=2000).fit(x[train], y[train])
    classes = tuple(str(i) for i in range(10))
    shares = np.bincount(y[train], minlength=10) / len(train)
    parts = {"training": train, "validation": valid, "test": test}
    scores: list[ScoreRow] = [
        ScoreRow(
            "this model", name, True, gather.scores_for("classes", y[rows], probabilities=model.predict_proba(x[rows]))
        )
        for name, rows in parts.items()
    ]
    others = {
        "logistic regression": weak.predict_proba(x),
        'always "3"': np.tile(shares, (len(x), 1)),
    }
    scores += [
        ScoreRow(name, "test", False, gather.scores_for("classes", y[test], probabilities=p[test]))
        for name, p in others.items()
    ]
    on_valid = {
        name: gather.scores_for("classes", y[valid], probabilities=p[valid]) for name, p in reversed(others.items())
    }
    p = model.predict_proba(x[test])
    target = TargetFacts(
        target=Target("digit", "classes", classes, tuple(int(c) for c in np.bincount(y))),
        metric="accuracy",
        scores=tuple(scores),
        diagnosis=diagnose(
            history(),
            metric="accuracy",
            train=scores[0].scores,
            valid=scores[1].scores,
            baselines=on_valid,
            n_train=len(train),
            n_parameters=77_418,
            max_epochs=100,
            best_epoch=28,
            settings=run_card().settings,
        ),
        paired=gather.compare("classes", y[test], p.argmax(1), weak.predict(x[test]), baseline="logistic regression"),
        classes=gather.class_facts(y[test], p, classes),
        mistakes=gather.worst_mistakes(
            "classes",
            y[test],
            probabilities=p,
            classes=classes,
            label=lambda i: f"picture {test[i] + 1}",
            image=lambda i: gather.picture(255 - (x[test[i]].reshape(8, 8) * 15.9).astype(np.uint8)),
        ),
    )
    data = DataCard(
        source="digits",
        unit="pictures",
        n_examples=len(x),
        shape="8 x 8 pixels, grey",
        parts=tuple(Part(name, len(rows)) for name, rows in parts.items()),
        split="65/10/25 by class, shuffled with seed 0",
        warnings=(Remark("3 pictures stand both in the training and in the test part", "W-DUP", "--group digest"),),
        sha256="0f" * 32,
    )
    return FitFacts(run_card(), data, (target,), history())


@cache
def diabetes() -> FitFacts:
    """A number from a table."""
    from sklearn.datasets import load_diabetes
    from sklearn.linear_model import Ridge

    bunch = load_diabetes(scaled=False)
    x, y, names = bunch.data, bunch.target, bunch.feature_names
    order = np.random.default_rng(1).permutation(len(x))
    train, valid, test = order[:287], order[287:331], order[331:]
    scaled = (x - x[train].mean(0)) / x[train].std(0)
    model = Ridge(1.0).fit(scaled[train], y[train])
    mean = model.predict(scaled)
    sigma = float((y[train] - mean[train]).std())
    nll = 0.5 * np.log(2 * np.pi * sigma**2) + (y - mean) ** 2 / (2 * sigma**2)
    parts = {"training": train, "validation": valid, "test": test}
    constant = np.full(len(y), y[train].mean())
    scores = [
        ScoreRow("this model", name, True, gather.scores_for("number", y[r], mean=mean[r], nll=nll[r]))
        for name, r in parts.items()
    ] + [ScoreRow("the mean", "test", False, gather.scores_for("number", y[test], mean=constant[test]))]
    importance = []
    rng = np.random.default_rng(0)
    for i, name in enumerate(names):
        drops = []
        for _ in range(5):
            shuffled = scaled[valid].copy()
            shuffled[:, i] = rng.permutation(shuffled[:, i])
            worse = np.sqrt(np.mean((y[valid] - model.predict(shuffled)) ** 2))
            drops.append(worse - np.sqrt(np.mean((y[valid] - mean[valid]) ** 2)))
        importance.append(Importance(name, float(np.mean(drops)), float(min(drops)), float(max(drops))))
    target = TargetFacts(
        target=Target("progression", "number"),
        metric="rmse",
        scores=tuple(scores),
        diagnosis=diagnose(
            history(60, 40, 5.0),
            metric="rmse",
            train=scores[0].scores,
            valid=scores[1].scores,
            baselines={"the mean": gather.scores_for("number", y[valid], mean=constant[valid])},
            n_train=len(train),
            n_parameters=18_818,
        ),
        paired=gather.compare("number", y[test], mean[test], constant[test], baseline="the mean"),
        numbers=gather.number_facts(y[test], mean[test], mean[test] - 1.645 * sigma, mean[test] + 1.645 * sigma),
        mistakes=gather.worst_mistakes(
            "number",
            y[test],
            mean=mean[test],
            label=lambda i: f"row {test[i] + 2}",
            values=lambda i: {n: f"{v:.5g}" for n, v in zip(names, x[test[i]], strict=True)},
        ),
        importance=tuple(sorted(importance, key=lambda row: -(row.drop or 0))),
        importance_metric="rmse",
    )
    data = DataCard(
        source="diabetes.csv",
        unit="rows",
        n_examples=len(x),
        shape="12 columns",
        parts=tuple(Part(name, len(rows)) for name, rows in parts.items()),
        split="65/10/25, shuffled with seed 0",
        columns=tuple(
            Column(n, "number", 0, len(np.unique(x[:, i])), f"{x[:, i].min():.4g} to {x[:, i].max():.4g}")
            for i, n in enumerate(names)
        ),
        left_out=(LeftOut("patient_id", "442 different values in 442 rows, an identifier", "--use patient_id"),),
        notes=(Remark("bmi: 3 blank cells (lines 12, 80, 201), read as missing"),),
        sha256="a1" * 32,
    )
    run = run_card(name="diabetes-1", title="progression, from diabetes.csv", epochs=60, best_epoch=40)
    return FitFacts(run, data, (target,), history(60, 40, 5.0))


if __name__ == "__main__":
    for made in (digits(), diabetes()):
        place = Path(sys.argv[1]) / made.run.name
        place.mkdir(parents=True, exist_ok=True)
        print(render_to(place, made))
