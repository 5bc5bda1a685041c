"""One training of the recipe's network with a regulariser, and the two kinds of job: a trial and a measurement."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.likelihoods.categorical import Categorical
from lamina.nn.ensemble import Ensemble
from lamina.nn.mlp import MLP
from lamina.optim.schedules import cosine
from lamina.recipes.recipe import Result
from lamina.recipes.regularisation.changes import watching
from lamina.recipes.regularisation.digits import drawn, load_digits
from lamina.recipes.regularisation.parts import BATCH, CLASSES, Parts, SecondPass
from lamina.recipes.regularisation.regularisers import regulariser
from lamina.training.callback import Callback
from lamina.training.early_stopping import EarlyStopping
from lamina.training.evaluation import outputs_of
from lamina.training.fit import fit
from lamina.training.gradient_step import GradientStep
from lamina.training.history import History
from lamina.training.learning_rate import LearningRate
from lamina.training.stop_below import StopBelow

HIDDEN = (256, 256)
RATE, MOMENTUM = 0.1, 0.9


@dataclass(frozen=True, slots=True)
class Runs:
    """On what one training runs.

    Attributes:
        data: ``mnist`` or ``digits``.
        size: Training examples.
        steps: Updates.
        seed: Decides which examples, the starting weights, their order, and the noise.
        data_dir: Where named data sets lie.
    """

    data: str
    size: int
    steps: int
    seed: int
    data_dir: str | None = None


def trial(*, name: str, setting: dict[str, Any], **runs: Any) -> Result:
    """Train once to judge a setting; the test part is not looked at.

    Args:
        name: Of the regulariser.
        setting: One of its candidates.
        runs: See ``Runs``.

    Returns:
        ``valid_error`` (a share) and ``valid_loss`` (nats).
    """
    on = Runs(**runs)
    network, _ = _train(name, setting, on)
    error, loss = _figures(network, load_digits(on.data, on.data_dir).valid)
    return {"valid_error": error, "valid_loss": loss}


def measurement(*, name: str, setting: dict[str, Any], **runs: Any) -> Result:
    """Train once with the setting that was chosen, and look at the test part.

    Args:
        name: Of the regulariser.
        setting: The chosen one.
        runs: See ``Runs``.

    Returns:
        ``test_error`` and ``train_error`` (shares), ``test_loss`` (nats).
    """
    on = Runs(**runs)
    network, examples = _train(name, setting, on)
    error, loss = _figures(network, load_digits(on.data, on.data_dir).test)
    return {"test_error": error, "test_loss": loss, "train_error": _figures(network, examples)[0]}


def _train(name: str, setting: dict[str, Any], on: Runs) -> tuple[nn.Module, Batch]:
    """Return the trained network, in evaluation mode, and the examples that it learnt from."""
    digits = load_digits(on.data, on.data_dir)
    generator = torch.Generator().manual_seed(on.seed)
    examples = drawn(digits.pool, on.size, generator)
    members: list[nn.Module] = []
    wanted = 1
    # Dropout, noise and random directions draw from the default generator: it is set here and put back.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(on.seed)
        while len(members) < wanted:
            network = _network(examples.inputs, generator)
            parts = regulariser(name).change(Parts(network, digits.valid, examples, on.seed), **setting)
            wanted = parts.members
            some = parts.examples if wanted == 1 else _bootstrapped(examples, generator)
            members.append(_fitted(parts, some, on.steps, on.seed + 1_000_000 * len(members)))
    return (members[0] if wanted == 1 else Ensemble(members, "softmax")).eval(), examples


def _network(inputs: Tensor, generator: Generator) -> nn.Sequential:
    chain = MLP(inputs[0].numel(), CLASSES, HIDDEN, "silu", generator=generator)
    return nn.Sequential(OrderedDict([("flatten", nn.Flatten()), *chain.named_children()]))


def _bootstrapped(examples: Batch, generator: Generator) -> Batch:
    assert examples.targets is not None
    rows = torch.randint(examples.size, (examples.size,), generator=generator)
    return Batch(examples.inputs[rows], examples.targets[rows])


def _fitted(parts: Parts, examples: Batch, steps: int, seed: int) -> nn.Module:
    if parts.second is None:
        _pass(parts, examples, steps, seed, [*parts.callbacks, LearningRate(cosine)])
    else:
        _twice(parts, parts.second, examples, steps, seed)
    return parts.answering(parts.trained)


def _pass(parts: Parts, examples: Batch, steps: int, seed: int, callbacks: Sequence[Callback]) -> History:
    model = parts.trained
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM, fused=True)
    step = GradientStep(model, parts.objective(parts.likelihood, parts.penalty), optimizer)
    change = parts.augment
    augment = None if change is None else lambda x, rows, epoch: change(x, rows, epoch, seed)
    stream = parts.stream(InMemory(examples, BATCH, seed=seed, augment=augment))
    with parts.around:
        return fit(step, stream, max_epochs=steps, max_steps=steps, callbacks=callbacks)


def _twice(parts: Parts, second: SecondPass, examples: Batch, steps: int, seed: int) -> None:
    """Train on four fifths with early stopping by the rest, then on all.

    Reference: Goodfellow et al., Deep Learning, 2016, algorithms 7.2 and 7.3.
    """
    start = copy.deepcopy(parts.network.state_dict())
    kept = examples.size - examples.size // 5
    watch = watching(examples.rows(kept, examples.size), parts)
    early = EarlyStopping(f"valid_{second.monitor}", second.patience)
    first = _pass(parts, examples.rows(0, kept), steps, seed, [watch, early, LearningRate(cosine)])
    if second.way == "retrain":
        parts.network.load_state_dict(start)
        # the course of the first pass up to its best weights
        share = early.best_steps / steps
        _pass(parts, examples, early.best_steps, seed, [LearningRate(lambda progress: cosine(share * progress))])
        return
    # the cosine may have come down to nothing by the best epoch; a tenth of the first rate still learns
    at_best = max(0.1, first.records[early.best_epoch - 1]["learning_rate"] / RATE)
    until = StopBelow("valid_loss", early.best_train_loss)
    _pass(parts, examples, steps, seed, [watch, until, LearningRate(lambda progress: at_best)])


def _figures(network: nn.Module, part: Batch) -> tuple[float, float]:
    """Return the share of errors and the mean negative log-likelihood, nats; not finite outputs are errors."""
    assert part.targets is not None
    outputs = outputs_of(network, part.inputs)
    wrong = (outputs.argmax(1) != part.targets) | ~outputs.isfinite().all(1)
    loss = -Categorical(CLASSES).log_prob(outputs, part.targets).mean()
    return wrong.double().mean().item(), loss.item()
