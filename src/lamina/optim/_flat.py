"""The parameters of an optimiser as one vector, and a batch's loss, gradient and curvature in its coordinates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from lamina.curvature._modes import pullback
from lamina.curvature._vectors import Tensors
from lamina.curvature.batch_loss import BatchLoss
from lamina.errors import ConfigError
from lamina.optim.line_search import Trial

Groups = Sequence[Mapping[str, Any]]
Closure = Callable[[], Any]
Kind = Literal["gauss-newton", "hessian"]
CHUNK = 64  # columns of a matrix that are formed at once


class Flat:
    """Parameters of all groups as one vector: those that have a gradient now, in groups whose ``lr`` is not 0.

    Attributes:
        layout: Their places among all parameters; what was kept of other ones does not fit.
        parameters: The tensors.

    Args:
        groups: An optimiser's ``param_groups``.
    """

    def __init__(self, groups: Groups) -> None:
        here = [(p, group) for group in groups for p in group["params"]]
        self.layout = [i for i, (p, group) in enumerate(here) if p.grad is not None and float(group["lr"]) != 0.0]
        self.parameters: list[Tensor] = [here[i][0] for i in self.layout]
        self._groups = [here[i][1] for i in self.layout]

    @property
    def rounding(self) -> float:
        """What a mean of losses may be wrong by, relative to itself."""
        return 16.0 * torch.finfo(self.parameters[0].dtype).eps if self.parameters else 0.0

    def values(self) -> Tensor:
        """Return a copy of the parameters."""
        return _joined([p.detach() for p in self.parameters])

    def gradient(self) -> Tensor:
        """Return a copy of the gradients; one that is missing now is 0."""
        return _joined([torch.zeros_like(p) if p.grad is None else p.grad.to_dense() for p in self.parameters])

    @torch.no_grad()
    def place(self, vector: Tensor) -> None:
        """Write the parameters, in place."""
        torch._foreach_copy_(self.parameters, self.split(vector))

    def split(self, vector: Tensor) -> list[Tensor]:
        """Return views of a vector in the parameters' shapes."""
        parts = torch.split(vector, [p.numel() for p in self.parameters])
        return [part.view(p.shape) for part, p in zip(parts, self.parameters, strict=True)]

    def option(self, name: str) -> Tensor:
        """Return a group's number, as often as the group has elements."""
        each = [
            torch.full_like(p, float(g[name])).reshape(-1) for p, g in zip(self.parameters, self._groups, strict=True)
        ]
        return torch.cat(each)

    def rates(self) -> tuple[float, Tensor | None]:
        """Return the largest ``lr``, and every element's as a share of it; None where all are the same."""
        numbers = [float(group["lr"]) for group in self._groups]
        largest = max(numbers, default=0.0)
        if not numbers or min(numbers) == largest:
            return largest, None
        return largest, self.option("lr") / largest

    def along(self, closure: Closure, origin: Tensor, direction: Tensor) -> Callable[[float], Trial]:
        """Return φ(α) = f(origin + α direction) with its slope and gradient; it leaves the parameters there."""

        def phi(step: float) -> Trial:
            self.place(torch.add(origin, direction, alpha=step))
            loss, gradient = closure(), self.gradient()
            return trial(step, loss, gradient, direction)

        return phi


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors]) if tensors else torch.zeros(0)


def trial(step: float, loss: Any, gradient: Tensor, direction: Tensor) -> Trial:
    """Return a point of φ, by one wait for the device.

    Returns:
        Value and slope as numbers, the gradient as it is.
    """
    slope = (gradient @ direction).double()
    value, slope_number = torch.stack([torch.as_tensor(loss).to(slope), slope]).tolist()
    return Trial(step, value, slope_number, gradient)


def whole_state(optimizer: Optimizer) -> dict[str, Any]:
    """Return what a copy of an optimiser is made of: all of it, where PyTorch's own leaves out what a subclass adds."""
    return dict(vars(optimizer))


def evaluated(owner: str, closure: Closure | None) -> Closure:
    """Return the closure with gradients switched on.

    Returns:
        A function that gives the loss and leaves gradients.

    Raises:
        ConfigError: If there is none.
    """
    if closure is None:
        raise ConfigError(
            "step needs a closure that clears the gradients, computes the loss, calls backward and returns the loss",
            where=owner,
            mend="optimizer.step(curvature.BatchLoss(net, likelihood, x, y)), or a function of your own",
        )
    found: Closure = torch.enable_grad()(closure)
    return found


class FlatBatch:
    """The loss of a batch as a function of an optimiser's parameters, one vector, where they stand now.

    Attributes:
        batch: What ``step`` was given.
        loss: L, detached.
        gradient: ∇L, (P,).
        flat: The parameters.

    Args:
        owner: Who asks, for messages.
        groups: An optimiser's ``param_groups``.
        closure: What ``step`` was given.

    Raises:
        ConfigError: If it is no ``BatchLoss``, or one of another network.
    """

    def __init__(self, owner: str, groups: Groups, closure: object) -> None:
        if not isinstance(closure, BatchLoss):
            raise ConfigError(
                f"step needs the loss of a batch, got {type(closure).__name__}",
                where=owner,
                mend="optimizer.step(curvature.BatchLoss(net, likelihood, x, y))",
            )
        names = {id(p): name for name, p in closure.named.items()}
        if any(id(p) not in names for group in groups for p in group["params"] if p.requires_grad):
            raise ConfigError(
                "a parameter of the optimiser is not one of the batch's network",
                where=owner,
                mend="give the optimiser model.parameters() of the model that the BatchLoss has",
            )
        self.batch = closure
        self.loss = closure()
        self.flat = Flat(groups)
        self.gradient = self.flat.gradient()
        self.names = [names[id(p)] for p in self.flat.parameters]

    @property
    def stuck(self) -> str:
        """Why no step can be made, or nothing."""
        size = float(self.gradient.abs().sum() + self.loss.to(self.gradient) * 0.0)
        return "zero-gradient" if size == 0.0 else "" if math.isfinite(size) else "non-finite"

    def product(self, kind: Kind) -> Callable[[Tensor], Tensor]:
        """Return v to C v, C the curvature of this kind at the present parameters."""
        multiply = self.batch.product(kind)

        def flat(vector: Tensor) -> Tensor:
            return self.as_vector(multiply(self.as_named(vector)))

        return flat

    def matrix(self, kind: Kind) -> Tensor:
        """Return C itself, (P, P), by as many products as there are parameters."""
        like = self.flat.values()
        product = self.product(kind)
        unit = torch.eye(like.numel(), dtype=like.dtype, device=like.device)
        columns = torch.func.vmap(product, chunk_size=CHUNK, randomness="same")(unit)
        return 0.5 * (columns + columns.mT)

    def residuals(self, scale: float) -> tuple[Tensor, Tensor]:
        """Return J √w / s, (N K, P), and √w (t - f) / s, (N K,), of outputs that are means with a fixed spread s."""
        outputs, pull = pullback(self.batch.outputs_at, dict(self.batch.parameters))
        weights = self.batch.weights
        each = outputs.new_ones(len(outputs)) if weights is None else weights.to(outputs)
        factor = (each.sqrt() / scale).unsqueeze(1).expand_as(outputs)
        error = factor * (self.batch.targets.reshape(outputs.shape) - outputs)
        unit = torch.diag(factor.reshape(-1)).view(-1, *outputs.shape)
        rows = torch.func.vmap(lambda u: self.as_vector(pull(u)[0]), chunk_size=CHUNK, randomness="same")(unit)
        return rows, error.reshape(-1)

    def ratio(self, after: float, predicted: float, step: Tensor) -> float:
        """Return what the loss fell by, over what a model promised; -inf where it is no number.

        Where rounding may hide the fall of the values, it is taken from the gradients, -½ (g + g')·p, at the cost of
        one more; and where it may hide that, the ratio is near 1.

        Args:
            after: The loss at the end of the step, where the parameters stand.
            predicted: Its change by the model, below 0.
            step: p, (P,).

        Returns:
            ρ.

        References: Conn, Gould & Toint, "Trust-Region Methods", 2000, section 17.4.2; Hager & Zhang, 2005, section 3.
        """
        if not math.isfinite(after):
            return -math.inf
        fall, rounding = float(self.loss) - after, self.flat.rounding
        if abs(fall) > rounding * max(abs(after), abs(fall + after)):
            return -fall / predicted
        self.batch()
        both = torch.stack([(self.gradient + self.flat.gradient()) @ step, self.gradient.norm() * step.norm()])
        change, size = (float(number) for number in both)
        hidden = float(torch.finfo(step.dtype).eps) * size
        return (hidden - 0.5 * change) / (hidden - predicted)

    def value_at(self, vector: Tensor) -> Tensor:
        """Return the loss elsewhere; the parameters stay there."""
        self.flat.place(vector)
        return self.batch.value()

    def as_named(self, vector: Tensor) -> Tensors:
        parts = dict(zip(self.names, self.flat.split(vector), strict=True))
        return {name: parts.get(name, torch.zeros_like(p)) for name, p in self.batch.parameters.items()}

    def as_vector(self, tensors: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([tensors[name].reshape(-1) for name in self.names])
