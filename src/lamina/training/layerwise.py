"""Discriminative layer-by-layer pre-training: a deep network grown from a shallow one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from lamina.data.stream import Stream
from lamina.errors import ConfigError
from lamina.nn.linear import linear
from lamina.training.callback import Callback
from lamina.training.fit import fit
from lamina.training.gradient_step import GradientStep
from lamina.training.hidden_layers import HiddenLayer, hidden_layers
from lamina.training.objective import Objective
from lamina.training.transfer import hold_in_evaluation

MakeOptimizer = Callable[[list[nn.Parameter]], Optimizer]


def pretrain_layerwise(
    network: nn.Sequential,
    data: Stream,
    objective: Objective,
    *,
    epochs: int = 1,
    train_lower: bool = True,
    make_optimizer: MakeOptimizer = torch.optim.Adam,
    callbacks: Callable[[HiddenLayer], Sequence[Callback]] | None = None,
    generator: Generator | None = None,
) -> nn.Sequential:
    """Train a network of one hidden layer briefly, then of two, and so on up to the whole.

        for k = 1 … L:   outputs = V_k h_k(… h_1(x)),   V_k new,   train for some epochs,   drop V_k unless k = L

    The hidden layers are those of ``network``, random as it was built; V_k is a fresh affine layer with Glorot's
    weights (over the flattened maps behind a convolution), and in the last round the network's own output layer. What
    is left is a start for ordinary training of the whole, not its end.

    A hidden layer begins with a module that holds a weight of two axes or more; normalisation, activations, dropout and
    pooling that follow belong to it, and what stands before the first one (an embedding of columns) belongs to that.

    Args:
        network: The whole network, a chain with at least one hidden layer; changed in place.
        data: Training examples; each round sees them in the order of the same epochs.
        objective: What each round makes small.
        epochs: Of each round, at least 1; few are enough.
        train_lower: Whether the layers of earlier rounds learn on; if not, they stand still in evaluation mode, as in
            greedy pre-training.
        make_optimizer: Makes a round's optimizer from the parameters that learn; None of its state outlives the round.
        callbacks: What to tell while a round lasts, whose new layer is given.
        generator: Source of the output layers; None is PyTorch's default generator.

    Returns:
        ``network``, in the mode it had.

    Raises:
        ConfigError: If there is no hidden layer, ``epochs`` is below 1, or the outputs are not a matrix.

    References: Seide, Li, Chen & Yu, "Feature Engineering in Context-Dependent Deep Neural Networks", ASRU 2011,
    section 3; Bengio et al., "Greedy Layer-Wise Training of Deep Networks", NeurIPS 2006 (lower layers fixed).
    """
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
        raise ConfigError(
            f"epochs must be a whole number of at least 1, got {epochs!r}", where="pretrain_layerwise", mend="use 1"
        )
    layers, output = hidden_layers(network, "pretrain_layerwise")
    mode = network.training
    some = next(iter(data.batches(0))).rows(0, 2).inputs
    n_outputs = _width(network, some, "the network's outputs")
    lower: OrderedDict[str, nn.Module] = OrderedDict()
    for layer in layers:
        grown = OrderedDict([*lower.items(), *layer.modules.items()])
        model = network if layer is layers[-1] else _with_output(grown, output, some, n_outputs, generator)
        learnt = nn.ModuleList(lower.values())
        flags = [(p, p.requires_grad) for p in learnt.parameters()]
        handles = [] if train_lower else hold_in_evaluation(learnt)
        try:
            for p, _ in flags if not train_lower else ():
                p.requires_grad_(False)
            learning = [p for p in model.parameters() if p.requires_grad]
            step = GradientStep(model, objective, make_optimizer(learning))
            fit(step, data, max_epochs=epochs, callbacks=callbacks(layer) if callbacks else ())
        finally:
            for p, flag in flags:
                p.requires_grad_(flag)
            for handle in handles:
                handle.remove()
        lower = grown
    for p in network.parameters():
        p.grad = None
    return network.train(mode)


def _with_output(
    hidden: OrderedDict[str, nn.Module], name: str, some: Tensor, n_outputs: int, generator: Generator | None
) -> nn.Sequential:
    """Return the hidden layers under a new output layer, on their device and in their type."""
    body = nn.Sequential(hidden)
    like = next(body.parameters())
    width = _width(nn.Sequential(body, nn.Flatten()), some, "a hidden layer")
    new = linear(width, n_outputs, "glorot", generator).to(like)
    flat = OrderedDict[str, nn.Module]() if _outputs(body, some).ndim == 2 else OrderedDict(flatten=nn.Flatten())
    return nn.Sequential(OrderedDict([*hidden.items(), *flat.items(), (name, new)]))


@torch.no_grad()
def _outputs(model: nn.Module, some: Tensor) -> Tensor:
    mode = [(module, module.training) for module in model.modules()]
    outputs: Tensor = model.eval()(some.to(next(model.parameters()).device))
    for module, was in mode:
        module.training = was
    return outputs


def _width(model: nn.Module, some: Tensor, what: str) -> int:
    """Return the size of the last axis of a model's outputs.

    Returns:
        The size.

    Raises:
        ConfigError: If the outputs are not a matrix.
    """
    outputs = _outputs(model, some)
    if outputs.ndim != 2:
        raise ConfigError(
            f"{what} must have shape (N, features), got {tuple(outputs.shape)}",
            where="pretrain_layerwise",
            mend="end the network with nn.Flatten() and an affine layer",
        )
    return outputs.shape[1]
