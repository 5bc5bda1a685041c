"""Bagging: networks trained on bootstrap samples of the training part, whose answers are averaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from lamina.data.bootstrap import bootstrap_rows
from lamina.likelihoods import Bernoulli, Categorical, Likelihood
from lamina.methodology.phase import Plan
from lamina.methodology.trained import Trained
from lamina.nn import Ensemble
from lamina.runs.predictor import Predictor

_WAYS: dict[type[Likelihood], str] = {Categorical: "softmax", Bernoulli: "sigmoid"}


def bagged(plan: Plan, train_one: Callable[[Plan], Trained]) -> Trained:
    """Train the settings' number of networks, each on rows drawn with repetition, and average them.

    Probabilities of classes are averaged as such; of numbers, counts and several targets, the outputs are. With
    ``combine="vote"`` each network has one vote, and a class has the share of the votes for it as its probability. Each
    network has weights and an order of its own, stops early on the validation part by itself, and keeps its checkpoints
    beside the others', so that a killed run goes on where it was. The history is that of the first.

    Args:
        plan: What is trained and how.
        train_one: Trains one network.

    Returns:
        The ensemble and how it went; where a signal ended the training, of the networks there are.

    Reference: Breiman, "Bagging Predictors", Machine Learning 24(2), 1996.
    """
    rows, seed, n = torch.from_numpy(plan.problem.split.train), plan.settings.seed, plan.settings.bag
    samples = bootstrap_rows(len(rows), n, torch.Generator().manual_seed(seed))
    done: list[Trained] = []
    for k, sample in enumerate(samples):
        split = replace(plan.problem.split, train=rows[sample.sort().values].numpy())
        torch.manual_seed(seed + k)
        member = replace(
            plan,
            problem=replace(plan.problem, split=split),
            settings=replace(plan.settings, seed=seed + k),
            suffix="" if k == 0 else f"-{k + 1}",
        )
        done.append(train_one(member))
        if done[-1].signal:
            break
    first, last = done[0], done[-1]
    return replace(
        first,
        predictor=_together([one.predictor for one in done], plan.settings.combine),
        judged=_together([one.judged for one in done], plan.settings.combine),
        stopped=last.stopped,
        signal=last.signal,
        updates=sum(one.updates for one in done),
        notes=[
            f"{len(done)} of {n} networks on bootstrap samples; the curves are those of the first",
            *(note for one in done for note in one.notes),
        ],
    )


def _together(members: list[Predictor], way: str) -> Predictor:
    first = members[0]
    if len(members) == 1:
        return first
    combine = "vote" if way == "vote" else _WAYS.get(type(first.likelihood), "mean")
    card = replace(first.card, members=len(members), combine=combine)
    return replace(first, card=card, model=Ensemble([one.model for one in members], combine))
