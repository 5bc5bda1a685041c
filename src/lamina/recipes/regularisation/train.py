"""One training of the recipe's network with a regulariser, and the two kinds of job: a trial and a measurement."""

from __future__ import annotations

from collections import OrderedDict
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
from lamina.recipes.regularisation.digits import drawn, load_digits
from lamina.recipes.regularisation.regularisers import CLASSES, Parts, regulariser
from lamina.training.evaluation import outputs_of
from lamina.training.fit import fit
from lamina.training.gradient_step import GradientStep
from lamina.training.learning_rate import LearningRate
from lamina.training.objective import Supervised

HIDDEN = (256, 256)
BATCH = 64
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
            parts = regulariser(name).change(Parts(network, digits.valid), **setting)
            wanted = parts.members
            some = examples if wanted == 1 else _bootstrapped(examples, generator)
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
    model = parts.trained
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM, fused=True)
    step = GradientStep(model, Supervised(parts.likelihood, parts.penalty), optimizer)
    change = parts.augment
    augment = None if change is None else lambda x, rows, epoch: change(x, rows, epoch, seed)
    stream = InMemory(examples, BATCH, seed=seed, augment=augment)
    with parts.around:
        fit(step, stream, max_epochs=steps, max_steps=steps, callbacks=[*parts.callbacks, LearningRate(cosine)])
    return model


def _figures(network: nn.Module, part: Batch) -> tuple[float, float]:
    """Return the share of errors and the mean negative log-likelihood, nats; not finite outputs are errors."""
    assert part.targets is not None
    outputs = outputs_of(network, part.inputs)
    wrong = (outputs.argmax(1) != part.targets) | ~outputs.isfinite().all(1)
    loss = -Categorical(CLASSES).log_prob(outputs, part.targets).mean()
    return wrong.double().mean().item(), loss.item()
