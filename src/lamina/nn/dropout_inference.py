"""Prediction with a network trained with dropout: by its sub-networks, averaged two ways.

Beside them stands the rule that needs nothing: ``model.eval()`` scales the weights (see ``MaskDropout``).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from lamina.errors import ConfigError
from lamina.nn._checks import at_least
from lamina.nn.mask_dropout import MaskDropout

_MOST_UNITS = 20  # 2^20 sub-networks: about what enumeration is good for
_ROWS = 4096  # rows of one pass: sub-networks times examples
_CHANNELS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def monte_carlo_dropout(
    model: nn.Module,
    inputs: Float[Tensor, "N ..."],
    samples: int = 100,
    link: Callable[[Tensor], Tensor] | None = None,
    generator: Generator | None = None,
) -> Float[Tensor, "N ..."]:
    """Average the predictions of sub-networks that are drawn at random.

        p(y | x) ≈ 1/S Σ_s link(f(x; m_s)),   m_s ~ Bernoulli(keep), for each example anew

    Unbiased for the mean over all 2ⁿ sub-networks, with a standard error that falls as 1/√S. All but the dropout is as
    in evaluation: batch normalisation uses its running statistics.

    Args:
        model: A network with ``nn.Dropout``, its channel forms, or ``MaskDropout``, else ConfigError; left as it is.
        inputs: x.
        samples: S, at least 1.
        link: From outputs to what is averaged, as ``torch.sigmoid`` or ``torch.nn.Identity()``; None is the softmax
            over the last axis.
        generator: Source of the masks; None is PyTorch's default generator.

    Returns:
        The mean, without gradient.

    Reference: Gal & Ghahramani, "Dropout as a Bayesian Approximation", ICML 2016, eq. 6; Srivastava et al., "Dropout",
    Journal of Machine Learning Research 2014, section 7.5.
    """
    at_least(1, owner="monte_carlo_dropout", samples=samples)
    with torch.no_grad(), _as_evaluated(model):
        parts = [
            _linked(outputs, link).sum(0)
            for outputs in _drawn(model, inputs, samples, "monte_carlo_dropout", generator)
        ]
    return torch.stack(parts).sum(0) / samples


def geometric_mean_dropout(
    model: nn.Module,
    inputs: Float[Tensor, "N ..."],
    samples: int | None = None,
    generator: Generator | None = None,
) -> Float[Tensor, "N ... K"]:
    """Average the class probabilities of sub-networks geometrically, and normalise.

        p̃(k | x) ∝ Π_m p(k | x, m)^P(m) = exp Σ_m P(m) log p(k | x, m),   p(· | x, m) = softmax f(x; m)

    over all 2ⁿ masks m of the n units under dropout, P(m) the probability of the mask. This is what the weight-scaling
    rule (``model.eval()``) gives at the cost of one pass: exactly so where the outputs are affine in the masks, as for
    softmax regression with dropout on its inputs and for a network with dropout on its last hidden layer alone; not for
    masks before a ReLU.

    Args:
        model: A classifier with ``nn.Dropout``, its channel forms, or ``MaskDropout``, else ConfigError; it returns
            logits and is left as it is.
        inputs: x.
        samples: Masks drawn for each example; None enumerates all 2ⁿ, for at most 20 units.
        generator: Source of the masks; None is PyTorch's default generator.

    Returns:
        Probabilities over the last axis, without gradient.

    Reference: Hinton et al., arXiv:1207.0580; Goodfellow, Bengio & Courville, "Deep Learning", 2016, section 7.12.
    """
    if samples is not None:
        at_least(1, owner="geometric_mean_dropout", samples=samples)
    with torch.no_grad(), _as_evaluated(model):
        if samples is None:
            parts = [
                torch.einsum("s,s...->...", weight, outputs.log_softmax(-1))
                for weight, outputs in _enumerated(model, inputs)
            ]
        else:
            drawn = _drawn(model, inputs, samples, "geometric_mean_dropout", generator)
            parts = [outputs.log_softmax(-1).sum(0) / samples for outputs in drawn]
    return torch.stack(parts).sum(0).softmax(-1)


def _linked(outputs: Tensor, link: Callable[[Tensor], Tensor] | None) -> Tensor:
    return outputs.softmax(-1) if link is None else link(outputs)


def _keeping(layer: nn.Module) -> float:
    return layer.keep if isinstance(layer, MaskDropout) else 1.0 - float(layer.p)  # type: ignore[arg-type]


def _dropouts(model: nn.Module, owner: str) -> list[nn.Module]:
    kinds = (nn.Dropout, *_CHANNELS, MaskDropout)
    found: list[nn.Module] = [layer for layer in model.modules() if isinstance(layer, kinds) and _keeping(layer) < 1.0]
    if not found:
        raise ConfigError(
            "the model has no dropout at work", where=owner, mend="call it on a network with torch.nn.Dropout"
        )
    return found


@contextmanager
def _as_evaluated(model: nn.Module) -> Iterator[None]:
    """Switch to evaluation, and back to each module's own mode."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _masked(layers: list[nn.Module], mask: Callable[[nn.Module, Tensor], Tensor]) -> Iterator[None]:
    """Multiply what enters each dropout layer with a mask; without inversion where the layer does not invert."""

    def apply(layer: nn.Module, entered: tuple[Tensor, ...], _: Tensor) -> Tensor:
        keep = _keeping(layer)
        scale = 1.0 if isinstance(layer, MaskDropout) or keep == 0.0 else 1.0 / keep
        return entered[0] * (mask(layer, entered[0]) * scale)

    handles = [layer.register_forward_hook(apply) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _drawn(model: nn.Module, inputs: Tensor, samples: int, owner: str, generator: Generator | None) -> Iterator[Tensor]:
    """Run sub-networks drawn at random, several in a pass.

    Yields:
        Outputs (some samples, N, ...), ``samples`` in all.
    """

    def mask(layer: nn.Module, x: Tensor) -> Tensor:
        shape = (*x.shape[:2], *[1] * (x.ndim - 2)) if isinstance(layer, _CHANNELS) else x.shape
        device = x.device if generator is None else generator.device
        return (torch.rand(shape, generator=generator, device=device) < _keeping(layer)).to(x)

    n = len(inputs)
    at_once = max(1, _ROWS // max(n, 1))
    with _masked(_dropouts(model, owner), mask):
        for start in range(0, samples, at_once):
            s = min(at_once, samples - start)
            outputs: Tensor = model(inputs.repeat(s, *[1] * (inputs.ndim - 1)))
            yield outputs.reshape(s, n, *outputs.shape[1:])


def _enumerated(model: nn.Module, inputs: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Run all sub-networks, several in a pass.

    Yields:
        Probabilities (some masks) and outputs (some masks, N, ...).

    Raises:
        ConfigError: If there are too many.
    """
    layers = _dropouts(model, "geometric_mean_dropout")
    calls: list[tuple[nn.Module, Sequence[int]]] = []

    def look(layer: nn.Module, x: Tensor) -> Tensor:
        shape = (*x.shape[1:2], *[1] * (x.ndim - 2)) if isinstance(layer, _CHANNELS) else x.shape[1:]
        calls.append((layer, shape))
        return x.new_ones(())

    with _masked(layers, look):
        model(inputs[:1])
    sizes = [math.prod(shape) for _, shape in calls]
    units, n = sum(sizes), len(inputs)
    if units > _MOST_UNITS:
        raise ConfigError(
            f"{units} units under dropout have 2^{units} masks, enumeration goes to 2^{_MOST_UNITS}",
            where="geometric_mean_dropout",
            mend="give samples",
        )
    keeps = [_keeping(layer) for (layer, _), size in zip(calls, sizes, strict=True) for _ in range(size)]
    keep = torch.tensor(keeps, dtype=torch.float64)
    at_once = max(1, _ROWS // max(n, 1))
    for start in range(0, 2**units, at_once):
        codes = torch.arange(start, min(start + at_once, 2**units))
        bits = (codes[:, None] >> torch.arange(units)) & 1
        chance = torch.where(bits == 1, keep, 1.0 - keep).prod(1)
        waiting = list(zip(torch.split(bits, sizes, dim=1), (shape for _, shape in calls), strict=True))

        def mask(_: nn.Module, x: Tensor, waiting: list[tuple[Tensor, Sequence[int]]] = waiting) -> Tensor:
            chosen, shape = waiting.pop(0)  # in the order of the calls, which is that of the look before
            return chosen.to(x).repeat_interleave(n, dim=0).reshape(-1, *shape)

        with _masked(layers, mask):
            outputs: Tensor = model(inputs.repeat(len(codes), *[1] * (inputs.ndim - 1)))
        yield chance.to(outputs), outputs.reshape(len(codes), n, *outputs.shape[1:])
