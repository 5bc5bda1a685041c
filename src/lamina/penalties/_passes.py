"""What penalties share that send more than one pass through a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Generator, Tensor, nn

from lamina.errors import ConfigError
from lamina.likelihoods.base import Likelihood
from lamina.penalties.base import Context


@contextmanager
def running_statistics_held(*networks: nn.Module) -> Iterator[None]:
    """Keep the running statistics of batch normalisation where they are during extra passes.

    A layer in training mode still normalises by the statistics of the batch that it is given; in evaluation mode
    nothing changes. Layers are known by PyTorch's attribute ``track_running_stats``.

    Yields:
        Nothing; on leaving, the layers follow their batches again.
    """
    held = [
        layer
        for network in networks
        for layer in network.modules()
        if layer.training and getattr(layer, "track_running_stats", False)
    ]
    for layer in held:
        layer.track_running_stats = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for layer in held:
            layer.track_running_stats = True  # type: ignore[assignment]


def row_norms(x: Tensor) -> Tensor:
    """Return the Euclidean norm of each row of ``(N, ...)`` as ``(N, 1, ...)``, with 1 for a row of zeros.

    Returns:
        What to divide by.
    """
    norms: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1).reshape(-1, *[1] * (x.ndim - 1))
    return norms.masked_fill(norms == 0, 1.0)


def labelled(owner: str, context: Context) -> tuple[Likelihood, Tensor]:
    """Return the likelihood and the targets of a context.

    Returns:
        Both.

    Raises:
        ConfigError: If it has not both.
    """
    if context.likelihood is None or context.targets is None:
        raise ConfigError(
            "needs a likelihood and targets", where=owner, mend="use it in lamina.training.Supervised, with targets"
        )
    return context.likelihood, context.targets


def positive(owner: str, **values: float) -> None:
    """Refuse numbers that are not above 0.

    Raises:
        ConfigError: For the first that is not.
    """
    for name, value in values.items():
        if not value > 0:
            raise ConfigError(f"{name} must be above 0, got {value!r}", where=owner, mend=f"correct {name}")


def example_losses(owner: str, context: Context, outputs: Tensor) -> Tensor:
    """Return -w_n log p(t_n | outputs_n), one number an example.

    Returns:
        ``(N,)``, in nats.
    """
    likelihood, targets = labelled(owner, context)
    losses = -likelihood.log_prob(outputs, targets)
    return losses if context.weights is None else context.weights * losses


def signs(shape: tuple[int, ...], like: Tensor, generator: Generator | None) -> Tensor:
    """Draw independent signs (Rademacher numbers).

    Returns:
        ``shape``, each -1 or 1, in the type of ``like``.
    """
    drawn = torch.empty(shape, dtype=like.dtype, device=like.device).bernoulli_(0.5, generator=generator)
    return drawn.mul_(2.0).sub_(1.0)
