"""The loss of a network on one batch as a closure: what every optimiser that looks more than once is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Generator, Tensor, nn
from torch.func import functional_call

from lamina.curvature._linear import Linearised, SecondDerivative, twice_differentiable
from lamina.curvature._vectors import Tensors, ordered
from lamina.curvature.output_metric import output_metric
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
    the same in every evaluation. Running means (batch normalisation) are moved once, by the first evaluation at the
    network's own parameters.

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
        self._moved = False  # whether the running means have been

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
        with torch.enable_grad(), self._same_noise():
            loss = self.total(self._forward())
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def value(self) -> Float[Tensor, ""]:
        """Return L alone: one pass forward."""
        with torch.no_grad(), self._same_noise():
            return self.total(self._forward())

    def outputs(self) -> Float[Tensor, "N outputs"]:
        """Return f(x; θ), with its graph where gradients are on."""
        with self._same_noise():
            return self._forward()

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

    def product(
        self,
        kind: Literal["gauss-newton", "hessian", "fisher", "empirical-fisher"] = "gauss-newton",
        *,
        draws: int | None = None,
        generator: Generator | None = None,
    ) -> Callable[[Tensors], Tensors]:
        """Return v to C v for the curvature C of L at the present parameters, the penalty's exact Hessian included.

            "hessian"            C = ∇²L, exact and often indefinite
            "gauss-newton"       C = (1/N) Σ_n w_n J_nᵀ M_n J_n + ∇²penalty,  M the Fisher information of the outputs
            "fisher"             the same; with ``draws``, from targets drawn from the network's own distribution
            "empirical-fisher"   C = (1/N) Σ_n w_n g_n g_nᵀ + ∇²penalty,  g_n = ∇(-log p(t_n | f(x_n; θ)))

        J_n = ∂f(x_n)/∂θ; see ``output_metric`` for M. All but the first are positive semi-definite as far as the
        penalty is convex. The network is gone through once, here; from then on a product costs one tangent and one
        adjoint sweep, 1.2 gradients for a deep net (for the Hessian, a sweep through the gradient: 2). The graph is
        kept as long as the function is; parameters that are changed in place make further products an error of PyTorch.

        Args:
            kind: Which curvature.
            draws: For "fisher" and "gauss-newton": targets drawn for each example in place of the closed form.
            generator: Source of the draws.

        Returns:
            A linear function of one tensor for each parameter.

        Raises:
            ConfigError: If an argument does not fit, the likelihood has no closed form and there are no draws, or, for
                second derivatives, the network uses PyTorch's weight normalisation, whose own are wrong.
        """
        if kind == "hessian" and draws is not None:
            raise ConfigError("the Hessian draws no targets", where="BatchLoss.product", mend='use "fisher"')
        with twice_differentiable(self.model):
            outputs = self.outputs()
            if kind == "hessian":
                return self._checked(SecondDerivative(self.total(outputs), self.named, "BatchLoss.product"))
            metric = output_metric(
                kind,
                self.likelihood,
                outputs,
                self.targets,
                weights=self.weights,
                draws=draws,
                generator=generator,
            )
            jacobian, bend = Linearised(outputs, self.named), self.penalty_hessian(outputs)

            def product(vector: Tensors) -> Tensors:
                return bend(jacobian.pull(metric(jacobian.push(vector))), vector)

            return self._checked(product)

    def penalty_hessian(self, outputs: Tensor) -> Callable[[Tensors, Tensors], Tensors]:
        """Return (C v, v) to C v + ∇²penalty v, given the outputs with their graph."""
        if self.penalty is None:
            return lambda turned, _: turned
        second = SecondDerivative(self.penalty(outputs), self.named, "BatchLoss.product")

        def added(turned: Tensors, vector: Tensors) -> Tensors:
            more = second(vector)
            return {name: value + more[name] for name, value in turned.items()}

        return added

    def _checked(self, product: Callable[[Tensors], Tensors]) -> Callable[[Tensors], Tensors]:
        return lambda vector: product(ordered("BatchLoss.product", "vector", vector, self.named))

    def rows(self, start: int, stop: int) -> BatchLoss:
        """Return the loss of the examples from ``start`` up to ``stop``."""
        weights = None if self.weights is None else self.weights[start:stop]
        inputs, targets = self.inputs[start:stop], self.targets[start:stop]
        part = BatchLoss(self.model, self.likelihood, inputs, targets, weights=weights, penalty=self.penalty)
        part._moved = self._moved
        return part

    def _forward(self) -> Tensor:
        if self._moved:
            return self._with({})
        self._moved = True
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
    def _same_noise(self) -> Iterator[None]:
        """Draw what the first evaluation drew.

        Yields:
            Nothing.
        """
        device = self.inputs.device
        if self._noise is None:
            self._noise = _generator_state(device)
            yield
            return
        now = _generator_state(device)
        _set_generator_state(device, self._noise)
        try:
            yield
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
