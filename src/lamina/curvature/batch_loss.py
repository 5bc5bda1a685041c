"""The loss of a network on one batch as a closure: what every optimiser that looks more than once is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call

from lamina.curvature._vectors import Tensors
from lamina.errors import ConfigError
from lamina.likelihoods.base import Likelihood
from lamina.likelihoods.mean_nll import mean_nll


class BatchLoss:
    """L(θ) = -(1/N) Σ_n w_n log p(t_n | f(x_n; θ)) + penalty(θ), in nats, on examples that stay the same.

    Called without arguments it is the closure that ``torch.optim`` asks for: it clears the gradients, goes forward and
    back, leaves ∇L in ``p.grad`` and returns L. Optimisers that need curvature take a ``BatchLoss`` in its place and
    ask it for more:

        loss = optimizer.step(BatchLoss(net, likelihood, inputs, targets))

    A function must give the same twice: noise that the network draws while training (dropout) is drawn once and is then
    the same in every evaluation. Running means (batch normalisation) are moved by the first evaluation alone.

    Args:
        model: The network.
        likelihood: What its outputs mean.
        inputs: (N, ...), as the network takes them.
        targets: As the likelihood takes them.
        weights: (N,) example weights, averaging 1 over the data; None is 1 each.
        penalty: A scalar function of the outputs, in which the network's parameters may occur too; None is no penalty.

    Raises:
        ConfigError: If the network has no parameters that ask for a gradient.
    """

    def __init__(
        self,
        model: nn.Module,
        likelihood: Likelihood,
        inputs: Shaped[Tensor, "N ..."],
        targets: Shaped[Tensor, "N ..."],
        *,
        weights: Float[Tensor, " N"] | None = None,
        penalty: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.model, self.likelihood, self.penalty = model, likelihood, penalty
        self.inputs, self.targets, self.weights = inputs, targets, weights
        self.named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not self.named:
            raise ConfigError(
                "the network has no parameters that ask for a gradient", where="BatchLoss", mend="unfreeze a layer"
            )
        self._noise: Tensor | None = None

    @property
    def size(self) -> int:
        """N, the number of examples."""
        return self.inputs.shape[0]

    @property
    def parameters(self) -> Tensors:
        """θ by name: the network's own parameters that ask for a gradient, detached; they share its memory."""
        return {name: p.detach() for name, p in self.named.items()}

    def __call__(self) -> Float[Tensor, ""]:
        """Leave ∇L in ``p.grad``.

        Returns:
            L, detached.
        """
        for p in self.named.values():
            p.grad = None
        with torch.enable_grad(), self._same_noise() as first:
            loss = self.total(self._forward(first))
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def value(self) -> Float[Tensor, ""]:
        """Return L alone: one pass forward."""
        with torch.no_grad(), self._same_noise() as first:
            return self.total(self._forward(first))

    def outputs(self) -> Float[Tensor, "N outputs"]:
        """Return f(x; θ), with its graph where gradients are on."""
        with self._same_noise() as first:
            return self._forward(first)

    def total(self, outputs: Float[Tensor, "N outputs"]) -> Float[Tensor, ""]:
        """Return L, given the outputs."""
        loss = mean_nll(self.likelihood, outputs, self.targets, self.weights)
        return loss if self.penalty is None else loss + self.penalty(outputs)

    def outputs_at(self, values: Tensors) -> Float[Tensor, "N outputs"]:
        """Return f(x; θ) for other values of the parameters; those not named stay as they are."""
        with self._same_noise():
            return self._with(values)

    def at(self, values: Tensors) -> Float[Tensor, ""]:
        """Return L for other values of the parameters, penalty included: a function to differentiate."""
        with self._same_noise():
            found: Tensor = functional_call(_Whole(self), self._named_for_whole(values), ())
            return found

    def rows(self, start: int, stop: int) -> BatchLoss:
        """Return the loss of the examples from ``start`` up to ``stop``."""
        weights = None if self.weights is None else self.weights[start:stop]
        inputs, targets = self.inputs[start:stop], self.targets[start:stop]
        return BatchLoss(self.model, self.likelihood, inputs, targets, weights=weights, penalty=self.penalty)

    def _forward(self, first: bool) -> Tensor:
        if not first:
            return self._with({})
        found: Tensor = self.model(self.inputs)
        return found

    def _with(self, values: Tensors) -> Tensor:
        buffers = {name: b.clone() for name, b in self.model.named_buffers()}
        found: Tensor = functional_call(self.model, {**buffers, **values}, (self.inputs,))
        return found

    def _named_for_whole(self, values: Tensors) -> Tensors:
        buffers = {name: b.clone() for name, b in self.model.named_buffers()}
        return {f"model.{name}": value for name, value in {**buffers, **values}.items()}

    @contextmanager
    def _same_noise(self) -> Iterator[bool]:
        """Draw what the first evaluation drew.

        Yields:
            Whether this is the first evaluation.
        """
        device = self.inputs.device
        if self._noise is None:
            self._noise = _generator_state(device)
            yield True
            return
        now = _generator_state(device)
        _set_generator_state(device, self._noise)
        try:
            yield False
        finally:
            _set_generator_state(device, now)


class _Whole(nn.Module):
    """The loss as a module, so that ``functional_call`` changes the parameters for network and penalty alike."""

    def __init__(self, batch: BatchLoss) -> None:
        super().__init__()
        self.model, self.batch = batch.model, batch

    def forward(self) -> Tensor:
        outputs = self.model(self.batch.inputs)
        return self.batch.total(outputs)


def _generator_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_generator_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
