"""Greedy layer-wise pre-training: each hidden layer learns, without targets, what the layers below it give."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Generator, Tensor, nn

from lamina.data.batch import Batch
from lamina.data.images.augmentation.hashed import uniforms
from lamina.data.stream import InMemory, Stream, steps_in
from lamina.errors import ConfigError
from lamina.training.callback import Callback
from lamina.training.fit import fit
from lamina.training.hidden_layers import HiddenLayer, hidden_layers
from lamina.training.history import History
from lamina.training.step import Step

Passing = Literal["means", "samples"]

_AT_ONCE = 1_000  # examples that are encoded together
_SAMPLES = 1 << 43  # lanes of ``hashed.uniforms``, one a unit


@runtime_checkable
class LayerLearner(Protocol):
    """How one hidden layer learns from its inputs alone: a restricted Boltzmann machine, an autoencoder …."""

    def step(self, layer: HiddenLayer, inputs: Stream, generator: Generator) -> Step:
        """Return the step that trains a model of the layer's inputs.

        Its model may hold the layer's own modules, which then learn in place, or be a new one. A layer that it cannot
        train (by its unit, its kind of weight) is a ``ConfigError`` that names it.
        """
        ...

    def adopt(self, model: nn.Module, layer: HiddenLayer) -> None:
        """Give the layer what the model has learnt."""
        ...


@dataclass(frozen=True, slots=True)
class ByPlace:
    """A ``LayerLearner``: the first layer, which sees the data, learns in one way, the others in another."""

    first: LayerLearner
    others: LayerLearner

    def step(self, layer: HiddenLayer, inputs: Stream, generator: Generator) -> Step:
        """Return the step of the layer's own learner."""
        return self._of(layer).step(layer, inputs, generator)

    def adopt(self, model: nn.Module, layer: HiddenLayer) -> None:
        """Give the layer what the model has learnt, as its own learner does."""
        self._of(layer).adopt(model, layer)

    def _of(self, layer: HiddenLayer) -> LayerLearner:
        return self.first if layer.number == 1 else self.others


@dataclass(frozen=True, slots=True)
class GreedyLayer:
    """What became of one hidden layer.

    Attributes:
        layer: The layer, of the network's own modules.
        model: What modelled its inputs, in evaluation mode: a machine, an autoencoder.
        history: A record an epoch.
    """

    layer: HiddenLayer
    model: nn.Module
    history: History


def pretrain_greedy(
    network: nn.Sequential,
    data: Stream,
    learner: LayerLearner,
    *,
    epochs: int | Sequence[int],
    passing: Passing = "means",
    layers: int | None = None,
    callbacks: Callable[[HiddenLayer], Sequence[Callback]] | None = None,
    generator: Generator | None = None,
) -> list[GreedyLayer]:
    """Train the hidden layers one after the other, each on what the finished ones below it give.

        D₀ = data;   for k = 1 … L:   train a model of D_{k-1},   copy its weights into layer k,   D_k = h_k(D_{k-1})

    A finished layer is never touched again, and computes as in evaluation (no dropout, running averages of batch
    normalisation). The output layer stays as it was drawn. Fine-tuning follows: ordinary training of the network.

    What a layer gives is computed once and kept where the data are in memory, of which it takes as much again for each
    layer in turn; other streams are encoded batch by batch, at the cost of the lower layers' forward pass each time.

    Args:
        network: A chain with at least one hidden layer; changed in place, on its device.
        data: The examples; targets are carried along, a learner may use them.
        learner: How a layer learns.
        epochs: Passes of every layer, or of each.
        passing: "means" gives the next layer the units' values, "samples" draws 0 or 1 with these as probabilities,
            anew in each epoch, as a function of (epoch, example) alone.
        layers: How many hidden layers, from the first on; None is all of them.
        callbacks: What to tell while a layer learns.
        generator: Source of what a learner draws; None is PyTorch's default generator.

    Returns:
        A record a layer.

    Raises:
        ConfigError: If the network is no such chain, a number is out of range, or samples are asked of values that are
            no probabilities.

    References: Hinton, Osindero & Teh, "A Fast Learning Algorithm for Deep Belief Nets", Neural Computation 18, 2006,
    section 5; Bengio, Lamblin, Popovici & Larochelle, "Greedy Layer-Wise Training of Deep Networks", NeurIPS 2006.
    """  # noqa: DOC502
    chain, _ = hidden_layers(network, "pretrain_greedy")
    chain = chain[: _count(layers, len(chain))]
    lengths = _lengths(epochs, len(chain))
    generator = generator or torch.default_generator
    mode = network.training
    network.eval()
    done: list[GreedyLayer] = []
    try:
        for layer, length in zip(chain, lengths, strict=True):
            below = nn.Sequential(OrderedDict([*_all(done), *layer.before.named_children()]))
            inputs = encoded(below, data, passing if done else "means")
            step = learner.step(layer, inputs, generator)
            history = fit(step, inputs, max_epochs=length, callbacks=callbacks(layer) if callbacks else ())
            learner.adopt(step.model, layer)
            done.append(GreedyLayer(layer, step.model.eval(), history))
    finally:
        for p in network.parameters():
            p.grad = None
        network.train(mode)
    return done


def encoded(body: nn.Module, data: Stream, passing: Passing = "means") -> Stream:
    """Return a stream whose inputs are what a module gives for those of another.

    Args:
        body: Computes in the mode that it is in, without gradients.
        data: The examples.
        passing: See ``pretrain_greedy``.

    Returns:
        The same batches in the same order, with other inputs: in memory where ``data`` are (and are not augmented).

    Raises:
        ConfigError: If ``passing`` is unknown, or samples are asked of values beyond 0 to 1.
    """
    if passing not in ("means", "samples"):
        raise ConfigError(f'passing must be "means" or "samples", got {passing!r}', where="pretrain_greedy")
    if not isinstance(data, InMemory) or data.augment is not None:
        return _Encoded(body, data, passing)
    kept = data.data if data.rows is None else Batch(*(None if p is None else p[data.rows] for p in data.data))  # type: ignore[arg-type]
    inputs = [_values(body, some.to(data.device), passing) for some in torch.split(kept.inputs, _AT_ONCE)]
    return InMemory(
        Batch(torch.cat(inputs), *kept[1:]),
        data.batch_size,
        seed=data.seed,
        shuffle=data.shuffle,
        augment=_drawn if passing == "samples" else None,
        device=data.device,
    )


class _Encoded:
    # Encodes each batch when it is asked for.

    def __init__(self, body: nn.Module, data: Stream, passing: Passing) -> None:
        self.body, self.data, self.passing = body, data, passing
        self.n_examples = data.n_examples

    def __len__(self) -> int:
        return len(self.data)

    def steps(self, epoch: int) -> int:
        return steps_in(self.data, epoch)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for place, batch in enumerate(self.data.batches(epoch, start), start):
            inputs = _values(self.body, batch.inputs, self.passing)
            if self.passing == "samples":
                # The examples have no numbers of their own here: a place in the epoch stands for them.
                rows = torch.arange(len(inputs), device=inputs.device)
                inputs = _drawn(inputs, (place << 32) + rows, epoch)
            yield batch._replace(inputs=inputs)


@torch.no_grad()
def _values(body: nn.Module, inputs: Tensor, passing: Passing) -> Tensor:
    values: Tensor = body(inputs)
    if passing == "samples" and not bool(((values >= 0) & (values <= 1)).all()):
        raise ConfigError(
            f"samples need units that are probabilities, these lie from {float(values.min()):g} to "
            f"{float(values.max()):g}",
            where="pretrain_greedy",
            mend='use sigmoid units, or passing="means"',
        )
    return values


def _drawn(values: Tensor, indices: Tensor, epoch: int) -> Tensor:
    flat = values.flatten(1)
    lanes = range(_SAMPLES, _SAMPLES + flat.shape[1])
    return (uniforms(indices, epoch, 0, lanes).t() < flat).to(values.dtype).view_as(values)


def _all(done: Sequence[GreedyLayer]) -> list[tuple[str, nn.Module]]:
    return [item for each in done for item in each.layer.modules.items()]


def _count(layers: int | None, there: int) -> int:
    if layers is None:
        return there
    if isinstance(layers, bool) or not isinstance(layers, int) or not 1 <= layers <= there:
        raise ConfigError(f"layers must lie between 1 and {there}, got {layers!r}", where="pretrain_greedy")
    return layers


def _lengths(epochs: int | Sequence[int], n: int) -> list[int]:
    lengths = [epochs] * n if isinstance(epochs, int) else list(epochs)
    if len(lengths) != n or any(isinstance(e, bool) or not isinstance(e, int) or e < 1 for e in lengths):
        raise ConfigError(
            f"epochs must be whole numbers of at least 1, one or one for each of {n} layers, got {epochs!r}",
            where="pretrain_greedy",
        )
    return lengths
