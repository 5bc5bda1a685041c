"""Networks that start at random or pre-trained, are fine-tuned with early stopping on the validation error, and scored.

The stack of a depth is the beginning of that of a greater depth, so depths share the pre-training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from lamina.autoencoders.autoencoder_layer import AutoencoderLayer
from lamina.autoencoders.corruption import Masking
from lamina.data.batch import Batch
from lamina.data.generated.parts import Parts
from lamina.data.stream import InMemory
from lamina.energy.rbm_layer import RBMLayer
from lamina.initialisers import initialise
from lamina.likelihoods.categorical import Categorical
from lamina.nn.mlp import MLP
from lamina.optim.schedules import linear
from lamina.recipes.pretraining.sets import SETS, load_parts
from lamina.recipes.recipe import Result
from lamina.training.callback import Callback
from lamina.training.choose import choose_step
from lamina.training.early_stopping import EarlyStopping
from lamina.training.evaluation import Validation, outputs_of
from lamina.training.fit import fit
from lamina.training.greedy import ByPlace, LayerLearner, pretrain_greedy
from lamina.training.learning_rate import LearningRate
from lamina.training.objective import Supervised
from lamina.training.transfer import learning_rate_groups

Setting = Mapping[str, Any]
"""What a phase of training is given, in JSON's types."""


def _machines(setting: Setting) -> LayerLearner:
    sparse, centred = setting["sparsity"], setting["sparsity"] is not None
    machine = RBMLayer(setting["rate"], momentum=setting["momentum"], sparsity=sparse, centred=centred, draw_data=True)
    return ByPlace(replace(machine, weight_decay=setting.get("first_decay", 0.0)), machine)


LEARNERS: Mapping[str, Callable[[Setting], LayerLearner]] = {
    "rbm": _machines,
    "autoencoder": lambda s: AutoencoderLayer(s["rate"], optimizer=_sgd(s)),
    "denoising": lambda s: AutoencoderLayer(s["rate"], corruption=Masking(s["corruption"]), optimizer=_sgd(s)),
}
"""How a layer learns from its inputs, by name: CD-1 on drawn inputs, centred where the hidden units are to be sparse;
tied weights and cross-entropy, without or with masking noise."""

OPTIMIZERS: Mapping[str, tuple[type[Adam] | type[SGD], Callable[[], list[Callback]]]] = {
    "adam": (Adam, list),
    "adam-falling": (Adam, lambda: [LearningRate(linear)]),
    "sgd": (SGD, lambda: [LearningRate(linear)]),
}
"""What all layers are tuned with, by name, and what makes its rate fall."""


def _sgd(setting: Setting) -> Callable[..., Optimizer]:
    return partial(SGD, momentum=setting["momentum"], fused=True)


def networks(
    *,
    name: str,
    digits: str,
    sizes: Sequence[int],
    start: str,
    depths: Sequence[int],
    setting: Setting,
    seed: int,
    data_dir: str | None = None,
) -> Result:
    """Train a network of each depth on a set, and look at the test part once each is trained.

    Args:
        name: Of ``SETS``.
        digits: ``mnist`` or ``digits``.
        sizes: Examples for training, validation and test.
        start: ``random``; one of ``LEARNERS``; or ``today``: random, with rectified units, batch normalisation and
            dropout.
        depths: Numbers of hidden layers.
        setting: ``widths`` of the hidden layers, as many as the greatest depth; ``pretrain`` for a pre-trained start,
            ``dropout`` and ``input_dropout`` for today's; ``tune``, see ``fine_tuned``.
        seed: Decides starting weights, order, and what is drawn. The set is always the same.
        data_dir: Where named data sets lie.

    Returns:
        ``depths``, what ``fine_tuned`` returns by depth; ``pretrain_loss``, nats an example in the last epoch, by
        layer.
    """
    train, valid, test = sizes
    parts = load_parts(name, digits, (train, valid, test), data_dir)
    widths = [parts.train.inputs.shape[1], *setting["widths"][: max(depths)]]
    classes = SETS[name].classes
    losses: list[float] = []
    taught = None
    if start in LEARNERS:
        taught = logistic(widths, classes, seed)
        losses = pretrained(taught, parts.train, start, setting["pretrain"], seed)
    found = {}
    for depth in depths:
        if start == "today":
            network = rectified(widths[: depth + 1], classes, setting, seed)
        else:
            network = logistic(widths[: depth + 1], classes, seed)
        if taught is not None:
            network[: 2 * depth].load_state_dict(taught[: 2 * depth].state_dict())
        found[str(depth)] = fine_tuned(network, parts, setting["tune"], seed)
    return {"depths": found, "pretrain_loss": losses}


def logistic(widths: Sequence[int], classes: int, seed: int) -> nn.Sequential:
    """Return a network of logistic units, weights uniform in ± 1/√in, biases 0.

    Args:
        widths: Of the inputs and the hidden layers.
        classes: Outputs.
        seed: Decides the weights.

    Returns:
        An ``MLP``.
    """
    generator = Generator().manual_seed(seed)
    network = MLP(widths[0], classes, widths[1:], "sigmoid", generator=generator)
    initialise(network, "uniform", generator)
    return network


def rectified(widths: Sequence[int], classes: int, setting: Setting, seed: int) -> nn.Sequential:
    """Return a network as one would build it now: rectified units, batch normalisation, dropout.

    Args:
        widths: Of the inputs and the hidden layers.
        classes: Outputs.
        setting: ``dropout`` and ``input_dropout``, probabilities.
        seed: Decides the weights.

    Returns:
        An ``MLP``.
    """
    return MLP(
        widths[0],
        classes,
        widths[1:],
        "relu",
        setting["dropout"],
        input_dropout=setting["input_dropout"],
        normalisation="batch",
        generator=Generator().manual_seed(seed),
    )


def pretrained(network: nn.Sequential, train: Batch, kind: str, setting: Setting, seed: int) -> list[float]:
    """Pre-train all hidden layers of a network, in place.

    Args:
        network: Of logistic units.
        train: Examples; targets are not looked at.
        kind: Of ``LEARNERS``.
        setting: ``epochs``, ``rate``, which falls to a hundredth, ``momentum``, ``batch``; ``sparsity`` for machines,
            ``first_decay``, weight decay of the first of them, 0 if not named; ``corruption`` for denoising.
        seed: Decides the order of the examples and what is drawn.

    Returns:
        The last epoch's loss of each layer's model, nats an example.
    """
    stream = InMemory(Batch(train.inputs), setting["batch"], seed=seed)
    generator = Generator().manual_seed(seed)
    done = pretrain_greedy(
        network,
        stream,
        LEARNERS[kind](setting),
        epochs=setting["epochs"],
        callbacks=lambda _: [LearningRate(linear)],
        generator=generator,
    )
    return [float(each.history.series("loss")[-1]) for each in done]


def fine_tuned(network: nn.Sequential, parts: Parts, setting: Setting, seed: int) -> Result:
    """Train all layers for the targets; score the network of the epoch with the least validation error.

    Args:
        network: As it starts; changed in place.
        parts: The set.
        setting: ``epochs`` at most; ``patience``, epochs without a smaller validation error; ``batch``; ``rate`` of
            ``optimizer``: ``adam``, as where none is named; ``adam-falling`` or ``sgd``, plain gradient descent, whose
            rates fall in a straight line to a hundredth; ``first``, the first layer's share of the rate, 1 if not
            named.
        seed: Decides the order of the examples, and dropout.

    Returns:
        ``valid_error`` and ``test_error`` (shares), ``train_loss`` (nats) and ``epoch`` then, ``epochs`` made.
    """
    assert parts.test.targets is not None
    output = list(network.children())[-1]
    assert isinstance(output, nn.Linear)
    likelihood = Categorical(output.out_features)
    watched = Validation(parts.valid, likelihood, {"error": error})
    stopping = EarlyStopping("valid_error", setting["patience"])
    stream = InMemory(parts.train, setting["batch"], seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout
        optimizer, falling = OPTIMIZERS[setting.get("optimizer", "adam")]
        shares = {"linear1": setting["first"]} if "first" in setting else {}
        groups = learning_rate_groups(network, setting["rate"], shares)
        step = choose_step(network, Supervised(likelihood), lambda _: optimizer(groups, fused=True))
        history = fit(step, stream, max_epochs=setting["epochs"], callbacks=[watched, stopping, *falling()])
    return {
        "valid_error": stopping.best_value,
        "test_error": error(outputs_of(network, parts.test.inputs), parts.test.targets).item(),
        "train_loss": stopping.best_train_loss,
        "epoch": stopping.best_epoch,
        "epochs": len(history.records),
    }


def error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the share of errors; outputs that are not finite are errors."""
    wrong = (outputs.argmax(1) != targets) | ~outputs.isfinite().all(1)
    return wrong.double().mean()
