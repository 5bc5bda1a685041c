"""Small tables for training runs, made on the spot."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from lamina.data.tables.table import Table
from lamina.methodology.baseline import complete
from lamina.methodology.problem import Problem
from lamina.methodology.table_problem import problem_of_table
from lamina.methodology.train import Trained, train
from lamina.runs.settings import Settings

FEW = Settings().with_changes(
    {"epochs": 5, "hidden": "8", "threads": 1, "batch_size": 32, "second_pass": "none", "importance": "false"},
    where="test",
)


def settings(**changes: object) -> Settings:
    return FEW.with_changes(changes, where="test")


def table(columns: Mapping[str, np.ndarray | list]) -> Table:
    return Table("made", {name: pa.chunked_array([pa.array(column)]) for name, column in columns.items()})


def write(path: Path, columns: Mapping[str, np.ndarray | list]) -> Path:
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(columns)
        out.writerows(zip(*columns.values(), strict=True))
    return path


def problem(columns: Mapping[str, np.ndarray | list], targets: list[str], asked: Settings) -> tuple[Problem, Settings]:
    made, _ = problem_of_table(table(columns), targets, asked)
    whole, _ = complete(asked, made)
    return made, whole


def trained(columns: Mapping[str, np.ndarray | list], targets: list[str], asked: Settings) -> Trained:
    return train(*problem(columns, targets, asked))


def line(n: int, seed: int = 0, noise: float = 0.3) -> dict[str, np.ndarray]:
    """x and y = 3 x + 1 with noise."""
    chance = np.random.default_rng(seed)
    x = chance.normal(size=n)
    return {"x": x, "y": 3 * x + 1 + noise * chance.normal(size=n)}


def moons(n_labelled: int, n_free: int, seed: int = 0) -> tuple[dict[str, list], np.ndarray, np.ndarray]:
    """Two half circles; only a few rows carry their class. Beside the table, 400 new rows with their classes."""
    from sklearn.datasets import make_moons

    x, code = make_moons(n_labelled + n_free, noise=0.06, random_state=seed)
    names = np.where(code == 1, "in", "out").astype(object)
    known = np.zeros(len(x), bool)
    for k in (0, 1):
        known[np.flatnonzero(code == k)[: n_labelled // 2]] = True
    names[~known] = ""
    new, truth = make_moons(400, noise=0.06, random_state=seed + 1)
    return {"a": list(x[:, 0]), "b": list(x[:, 1]), "moon": list(names)}, new, np.where(truth == 1, "in", "out")
