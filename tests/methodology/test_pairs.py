"""Pairs of rows without a target: which they are, and what they teach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lamina.data.batch import Batch
from lamina.data.pairs import LabelledAndPairs
from lamina.data.spec import VectorSpec
from lamina.errors import ConfigError
from lamina.methodology.pairs import neighbour_pairs, stream_of_pairs
from lamina.runs.lines import PairsChoice
from lamina.workflows.fit import fit
from methodology.tables import moons, problem, settings, table, trained, write

ROWS = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))


def as_sets(pairs: torch.Tensor) -> list[frozenset[int]]:
    return [frozenset(pair) for pair in pairs.tolist()]


def test_neighbours_are_alike_and_as_many_others_are_not() -> None:
    pairs, similar = neighbour_pairs(ROWS, VectorSpec(3), 2, 0)
    distance = ((ROWS[:, None] - ROWS[None]) ** 2).sum(-1) + torch.eye(30) * 1e9
    near = {frozenset((i, j)) for i in range(30) for j in distance[i].argsort()[:2].tolist()}
    alike, unlike = as_sets(pairs[similar]), as_sets(pairs[~similar])
    assert set(alike) == near and len(alike) == len(near)
    assert len(unlike) == len(alike) == len(set(unlike))
    assert not set(unlike) & near
    assert all(len(pair) == 2 for pair in unlike)


def test_the_seed_decides_which_are_not_alike_and_nothing_else() -> None:
    (a, same), (b, again), (c, _) = (neighbour_pairs(ROWS, VectorSpec(3), 2, seed) for seed in (4, 4, 5))
    assert torch.equal(a, b) and torch.equal(same, again)
    assert torch.equal(a[same], c[same]) and not torch.equal(a, c)


def test_categories_are_near_where_they_are_the_same() -> None:
    """By its code 0 the first would be nearest to the second, of code 1; as 0/1 columns all codes are equally far."""
    rows = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.4, 9.0]])
    pairs, similar = neighbour_pairs(rows, VectorSpec(1, (10,)), 1, 0)
    assert set(as_sets(pairs[similar])) == {frozenset((0, 2)), frozenset((1, 2))}
    assert as_sets(pairs[~similar]) == [frozenset((0, 1))]


def test_rows_that_are_all_neighbours_are_refused() -> None:
    with pytest.raises(ConfigError, match="all are neighbours of one another"):
        neighbour_pairs(ROWS[:4], VectorSpec(3), 3, 0)


def test_batches_hold_three_kinds() -> None:
    labelled = Batch(ROWS[:10], torch.arange(10) % 2)
    stream, counts = stream_of_pairs(labelled, ROWS[10:], VectorSpec(3), PairsChoice(1.0, 2), batch_size=4, seed=0)
    assert isinstance(stream, LabelledAndPairs)
    assert counts[0] == 4 and 1 <= counts[1] <= 4 and 1 <= counts[2] <= 4
    for batch in stream.batches(0):
        assert batch.size == counts[0] + 2 * (counts[1] + counts[2])
        assert (batch.weights[:4] > 0).all() and (batch.weights[4:] == 0).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "pairs are drawn from rows without a target, which are not learnt from"),
        ({"learn_unlabelled": True, "accumulate": 2}, "so not with accumulate"),
        ({"learn_unlabelled": True, "step": "backprop"}, "so not with step=backprop"),
    ],
)
def test_settings_that_do_not_go_with_pairs_are_refused(changes, words) -> None:
    columns, _, _ = moons(20, 40)
    asked = settings(**{"pairs": "1", "drop_unlabelled": True, **changes})
    with pytest.raises(ConfigError, match=words) as caught:
        problem(columns, ["moon"], asked)
    assert caught.value.mend


def test_without_such_rows_there_are_no_pairs() -> None:
    columns = {"x": list(ROWS[:, 0].tolist()), "kind": ["a", "b"] * 15}
    with pytest.raises(ConfigError, match="of which there are 0"):
        problem(columns, ["kind"], settings(pairs="1", learn_unlabelled=True))


ASKED = {"hidden": "32", "activation": "tanh", "dropout": 0.0, "learning_rate": 0.03, "split": (1.0, 0.0, 0.0)}


@pytest.mark.slow
def test_R20_pairs_beat_the_labelled_rows_alone_on_two_moons() -> None:
    right: dict[str, list[float]] = {"supervised": [], "pairs": []}
    for seed in range(2):
        columns, new, truth = moons(8, 200, seed)
        new_table = table({"a": new[:, 0], "b": new[:, 1]})
        free = {"learn_unlabelled": True, "pairs": "2:neighbours=10:margin=0.2"}
        for name, more in (("supervised", {"drop_unlabelled": True}), ("pairs", free)):
            asked = settings(**ASKED, **more, epochs=80, seed=seed, schedule="constant", weight_decay=0.0)
            (answer,) = trained(columns, ["moon"], asked).predictor.predict(new_table)
            right[name].append(float((answer.prediction == truth).mean()))
    assert np.mean(right["pairs"]) > np.mean(right["supervised"]) + 0.1, right
    assert np.mean(right["pairs"]) > 0.95, right


@pytest.mark.slow
def test_a_run_with_pairs_records_them_and_resumes_with_the_same_bits(tmp_path: Path) -> None:
    columns, _, _ = moons(60, 90)
    source = write(tmp_path / "moons.csv", columns)
    asked = settings(
        pairs="1:neighbours=3", learn_unlabelled=True, schedule="constant", patience=50, epochs=3, penalty="l1:1e-4"
    )
    short = fit(str(source), targets=["moon"], settings=asked, out=str(tmp_path / "short"))
    longer = asked.with_changes({"epochs": 5}, where="test")
    fit("", settings=longer, resume=str(short.folder))
    whole = fit(str(source), targets=["moon"], settings=longer, out=str(tmp_path / "whole"))
    files = [run.folder / "model" / "model.safetensors" for run in (short, whole)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert '"pairs"' in (whole.folder / "history.jsonl").read_text()
    assert "90 rows without a target learnt from" in (whole.folder / "report.json").read_text()
