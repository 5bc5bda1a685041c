"""Settings, fixed beforehand by validation error in pilot runs, and what the smaller form makes of them.

The references choose among some hundred settings a cell; here each kind of start has one for all sets, but for
turned digits and those on a background of noise. There plain descent in small batches at a large rate finds networks
that err less than those at which Adam's validation error stops falling; denoising autoencoders of turned digits do as
well by Adam at a larger rate. On noise a first layer of a machine is worth keeping: it learns at a fortieth of a rate
that is large for the layers above.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 1_000
"""Units of every hidden layer, as in the depth study of Larochelle et al. 2009."""

UPDATES = 100
"""Updates an epoch, whatever the size of the set: batches of 100 from 10,000 examples. Plain descent has batches of
its own."""

_PRETRAIN: Mapping[str, Mapping[str, Any]] = {
    "rbm": {"epochs": 50, "rate": 0.3, "momentum": 0.5, "sparsity": 0.05},
    "autoencoder": {"epochs": 50, "rate": 0.04, "momentum": 0.9},
    "denoising": {"epochs": 50, "rate": 0.04, "momentum": 0.9},
}

_TUNE: Mapping[str, Mapping[str, Any]] = {
    "random": {"epochs": 60, "patience": 8, "rate": 0.001},
    "rbm": {"epochs": 60, "patience": 8, "rate": 0.0003},
    "autoencoder": {"epochs": 60, "patience": 8, "rate": 0.0003},
    "denoising": {"epochs": 60, "patience": 8, "rate": 0.0003},
    "today": {"epochs": 100, "patience": 15, "rate": 0.001},
}

_DESCENT: Mapping[str, Any] = {"optimizer": "sgd", "epochs": 40, "patience": 40, "rate": 0.5, "batch": 10}

_SLOW_FIRST: Mapping[str, Any] = {
    "optimizer": "adam-falling",
    "epochs": 30,
    "patience": 30,
    "rate": 0.008,
    "first": 0.025,
}

ELSEWHERE: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
    "bg-rand": {
        "rbm": {"pretrain": {"first_decay": 0.001}, "tune": _SLOW_FIRST},
        "autoencoder": {"pretrain": {"epochs": 30, "rate": 0.1, "momentum": 0.0}, "tune": _DESCENT},
        "denoising": {"tune": _DESCENT},
    },
    "rot": {"autoencoder": {"tune": _DESCENT}, "denoising": {"tune": {"rate": 0.001}}},
}
"""What is otherwise on a set, by kind of start."""

_TODAY = {"dropout": 0.5, "input_dropout": 0.2}


def setting(
    name: str, start: str, depth: int, train: int, *, quick: bool, corruption: float | None = None
) -> dict[str, Any]:
    """Return what ``networks`` is to be called with.

    Args:
        name: Of the set.
        start: As there.
        depth: The greatest number of hidden layers.
        train: Training examples.
        quick: A tenth of the epochs.
        corruption: Share of the inputs that denoising autoencoders lose.

    Returns:
        ``widths`` and the settings of each phase.
    """
    other = ELSEWHERE.get(name, {}).get(start, {})
    tune = {**_TUNE[start], **other.get("tune", {})}
    made: dict[str, Any] = {"widths": [WIDTH] * depth, "tune": _sized(tune, train, quick)}
    if start in _PRETRAIN:
        made["pretrain"] = _sized({**_PRETRAIN[start], **other.get("pretrain", {})}, train, quick)
    if corruption is not None:
        made["pretrain"]["corruption"] = corruption
    if start == "today":
        made |= _TODAY
    return made


def _sized(phase: Mapping[str, Any], train: int, quick: bool) -> dict[str, Any]:
    made = {**phase, "batch": phase.get("batch", max(2, train // UPDATES))}
    if quick:
        made["epochs"] = max(1, made["epochs"] // 10)
    return made


def said(at: Mapping[str, Any]) -> str:
    """Return what ``setting`` gives, as words."""
    taught, tuned = at.get("pretrain"), at["tune"]
    before = ""
    if taught:
        sparse = f", hidden means {taught['sparsity']:g}" if taught.get("sparsity") else ""
        decay = f", weight decay {taught['first_decay']:g} in the first layer" if taught.get("first_decay") else ""
        before = (
            f"{taught['epochs']} epochs a layer at rate {taught['rate']:g}, falling to a hundredth, momentum "
            f"{taught['momentum']:g}{sparse}{decay}, then "
        )
    if tuned.get("optimizer") == "sgd":
        return (
            f"{before}plain descent in batches of {tuned['batch']}, {tuned['epochs']} epochs at rate "
            f"{tuned['rate']:g}, falling to a hundredth, the epoch with the least validation error kept"
        )
    if tuned.get("optimizer") == "adam-falling":
        return (
            f"{before}Adam, {tuned['epochs']} epochs at rate {tuned['rate']:g}, the first layer at {tuned['first']:g} "
            "of it, both falling to a hundredth, the epoch with the least validation error kept"
        )
    return f"{before}Adam, at most {tuned['epochs']} epochs at rate {tuned['rate']:g}, patience {tuned['patience']}"


def all_said(starts: Mapping[str, str], sets: Sequence[str], depth: int, train: int, *, quick: bool) -> str:
    """Return the settings of several kinds of start as words, and what is otherwise on some of the sets.

    Args:
        starts: Kinds of start by what they are to be called.
        sets: Names of the sets that were used.
        depth: As for ``setting``.
        train: As there.
        quick: As there.
    """
    parts = []
    for title, start in starts.items():
        for name in ("", *(name for name in sets if start in ELSEWHERE.get(name, {}))):
            at = setting(name, start, depth, train, quick=quick)
            parts.append(f"{title}{f' on {name}' if name else ''}: {said(at)}")
    return "; ".join(parts)


def seconds(name: str, start: str, depths: Sequence[int], train: int, *, quick: bool) -> float:
    """Return about how many processor seconds the networks of these depths take, on a core of 80 GFLOP/s and 10 GB/s.

    Args:
        name: Of the set.
        start: As for ``networks``.
        depths: As there.
        train: Training examples.
        quick: The smaller form.
    """
    at = setting(name, start, max(depths), train, quick=quick)
    weights = [WIDTH * (784 + WIDTH * (depth - 1)) for depth in depths]
    tuned = at["tune"]
    share = 1.0 if tuned["patience"] >= tuned["epochs"] else 0.4  # early stopping leaves out some epochs
    taken = share * _phase_seconds(tuned, train, 6 * sum(weights), sum(weights))
    if "pretrain" in at:
        taken += _phase_seconds(at["pretrain"], train, 10 * max(weights), max(weights))
    return taken + 5.0


def _phase_seconds(phase: Mapping[str, Any], train: int, flops: int, weights: int) -> float:
    """Return the seconds of all updates: ``flops`` an example; the weights go through memory six times an update."""
    batch = phase["batch"]
    update = batch * flops / 80e9 + 6 * 4 * weights / 10e9
    return float(phase["epochs"] * train / batch * update)
