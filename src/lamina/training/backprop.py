"""The courses' own back-propagation, for feed-forward networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lamina.data.batch import Batch
from lamina.errors import ConfigError
from lamina.penalties.base import Penalty, WeightedSum
from lamina.penalties.l2 import L2
from lamina.training.backprop_build import Builder, stack, why_not_stack, width_given, width_read
from lamina.training.backprop_loss import build_loss
from lamina.training.backprop_nodes import Sheet
from lamina.training.fused_update import fused_update
from lamina.training.objective import Objective, Supervised
from lamina.training.state import copy_state

OptimizerFactory = Callable[[list[dict[str, Any]]], Optimizer]
"""Makes an optimizer from parameter groups, which carry their own ``weight_decay``."""


class BackpropStep:
    """θ ← optimizer(θ, ∇_θ L) with ∇_θ L by back-propagation through a graph of nodes, no autograd.

        forward    y⁽⁰⁾ = x,  y⁽ᵏ⁾ = f⁽ᵏ⁾(y⁽ᵏ⁻¹⁾; w⁽ᵏ⁾)           L = loss(y⁽ᴷ⁾, target) + ½ c ‖W‖²
        backward   δ⁽ᴷ⁾ = ∂L/∂y⁽ᴷ⁾,  δ⁽ᵏ⁻¹⁾ = (∂y⁽ᵏ⁾/∂y⁽ᵏ⁻¹⁾)ᵀ δ⁽ᵏ⁾   and beside it  ∂L/∂w⁽ᵏ⁾ = (∂y⁽ᵏ⁾/∂w⁽ᵏ⁾)ᵀ δ⁽ᵏ⁾

    The nodes are in ``backprop_nodes``, the loss in ``backprop_loss``; residual, highway and skip connections, where a
    result has several readers and its δ is the sum of theirs, in ``backprop_graph``; which layers have nodes in
    ``backprop_build``. Results are those of
    ``GradientStep`` up to rounding; what is saved is the bookkeeping and the memory traffic of a general engine:
    buffers are made once for each batch size, and all parameters live in one vector, weights first and then biases,
    that is updated as two ranges. The model's own parameters become views of that vector and its gradient's:
    ``state_dict``, ``load_state_dict``, evaluation and ``p.grad`` work as ever, but moving the model to another device
    or dtype afterwards parts it from this step, and forward hooks are not called.

    Dropout masks come from PyTorch's global generator, as those of ``nn.Dropout`` do, but are other masks.

    Args:
        model: ``nn.Sequential`` (or a subclass with its ``forward``) of layers, ``Residual``, ``Highway`` and
            ``SkipConnections`` that ``supports`` accepts, on the CPU.
        objective: ``Supervised``, without a penalty or with a multiple of ``L2()``.
        make_optimizer: Called once with at most two groups: the vector of all parameters of two or more axes, with
            ``weight_decay``, and the vector of the others, without.
        weight_decay: Of the weights, as the optimizer understands it.
        clip_norm: Rescale the whole gradient to at most this Euclidean norm.
        clip_value: Clip each element of the gradient to ± this; comes before ``clip_norm``.

    Raises:
        ConfigError: If ``supports`` gives a reason against the model or the objective, or a clip is not above 0.

    Reference: Rumelhart, Hinton & Williams, "Learning representations by back-propagating errors", Nature 323, 1986;
    Goodfellow, Bengio & Courville, "Deep Learning", 2016, algorithms 6.3 and 6.4.
    """

    PLANS = 8  # batch sizes whose buffers are kept

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        make_optimizer: OptimizerFactory,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        reason = self.supports(model, objective)
        if reason is not None:
            raise ConfigError(f"cannot train this model: {reason}", where="BackpropStep", mend="use GradientStep")
        for name, value in {"clip_norm": clip_norm, "clip_value": clip_value}.items():
            if value is not None and not value > 0:
                raise ConfigError(f"{name} must be above 0, got {value}", where="BackpropStep")
        assert isinstance(objective, Supervised)
        self.model, self.objective = model, objective
        self.clip_norm, self.clip_value = clip_norm, clip_value
        self.flat = FlatParameters(model)
        self.optimizer = make_optimizer(self.flat.groups(weight_decay))
        self._l2 = l2_coefficient(objective.penalty)
        self._plans: dict[torch.Size, _Plan] = {}
        self._update: Callable[[], object] | None = None

    @staticmethod
    def supports(model: nn.Module, objective: Objective) -> str | None:
        """Return why a model with an objective cannot be trained by this step, or None if it can.

        Returns:
            A phrase for a person, or None.
        """
        if type(objective) is not Supervised:
            return f"the objective is {type(objective).__name__}, not Supervised"
        if l2_coefficient(objective.penalty) is None:
            return "the penalty is not a multiple of L2()"
        layers = stack(model)
        if isinstance(layers, str):
            return layers
        reason = why_not_stack(layers)
        if reason is not None:
            return reason
        width = width_given(layers)
        if width is not None and width != objective.likelihood.n_outputs:
            return _other_width(objective, width)
        return _why_not_parameters(model)

    def __call__(self, batch: Batch) -> Mapping[str, Tensor]:
        """Make one update.

        Returns:
            ``loss`` and, with a penalty, its parts ``nll`` and ``penalty``.

        Raises:
            ConfigError: If the batch has no targets, or its inputs do not fit the stack.
        """
        inputs, targets, weights = batch
        if targets is None:
            raise ConfigError("needs targets, and the batch has none", where="BackpropStep")
        plan = self._plans.get(inputs.shape) or self._new_plan(inputs)
        if inputs.dtype is not self.flat.dtype:
            inputs = inputs.to(self.flat.dtype)
        outputs = plan.chain.forward(Sheet(inputs, inputs.numpy()))
        loss, delta = plan.loss(outputs, targets, weights)
        plan.chain.parameter_gradient(delta)  # below the first layer with parameters nobody needs a derivative
        scalars = {"loss": loss}
        if self.objective.penalty is not None:
            scalars = self._add_penalty(loss)
        if self.clip_value is not None:
            self.flat.gradient.clamp_(-self.clip_value, self.clip_value)
        if self.clip_norm is not None:
            norm = torch.linalg.vector_norm(self.flat.gradient)
            self.flat.gradient.mul_((self.clip_norm / (norm + 1e-6)).clamp_max_(1.0))
        if self._update is None:
            self.optimizer.step()  # the first one makes the optimizer's state
            self._update = fused_update(self.optimizer)
        else:
            self._update()
        return scalars

    def _add_penalty(self, nll: Tensor) -> dict[str, Tensor]:
        """Add ½ c ‖W‖² to the loss and c W to the gradient.

        Returns:
            The total and its parts.
        """
        assert self._l2 is not None
        penalty = 0.5 * self._l2 * torch.dot(self.flat.weights, self.flat.weights)
        self.flat.gradient[: self.flat.n_weights].add_(self.flat.weights, alpha=self._l2)
        return {"loss": nll + penalty, "nll": nll, "penalty": penalty}

    def _new_plan(self, inputs: Tensor) -> _Plan:
        if len(self._plans) == self.PLANS:
            del self._plans[next(iter(self._plans))]
        plan = self._plans[inputs.shape] = _Plan(self.model, self.objective, self.flat, inputs)
        return plan

    def state_dict(self) -> dict[str, Any]:
        """Return model and optimizer state."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state that ``state_dict`` returned; parameters keep their place in memory."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(copy_state(state["optimizer"]))
        self._update = None


class _Plan:
    """The nodes of a stack with their buffers, for batches of one shape."""

    def __init__(self, model: nn.Module, objective: Supervised, flat: FlatParameters, inputs: Tensor) -> None:
        layers = stack(model)
        assert not isinstance(layers, str)
        n, width = inputs.shape[0], inputs[:1].numel()
        wanted = width_read(layers)
        flattened = any(isinstance(layer, nn.Flatten) for _, layer in layers)
        if width != wanted or (inputs.ndim != 2 and not flattened):
            raise ConfigError(
                f"the stack reads {wanted} numbers an example, got inputs of shape {tuple(inputs.shape)}",
                where="BackpropStep",
                mend="check the network's number of inputs",
            )
        self.loss = build_loss(objective.likelihood, n, flat.dtype)
        builder = Builder(flat.gradient_of, n, flat.dtype)
        self.chain, given = builder.chain(layers, width, by_columns=self.loss.by_columns)
        if given != objective.likelihood.n_outputs:
            raise ConfigError(_other_width(objective, given), where="BackpropStep", mend="check the last layer")


def _other_width(objective: Supervised, width: int) -> str:
    return f"the likelihood reads {objective.likelihood.n_outputs} outputs and the stack has {width}"


class FlatParameters:
    """All parameters of a model in one vector and their gradients in another, parameters of two or more axes first.

    The model's parameters become views of the one, their ``.grad`` of the other.
    """

    def __init__(self, model: nn.Module) -> None:
        parameters = sorted(model.parameters(), key=lambda p: p.ndim < 2)  # stable: otherwise the model's order
        self.vector = torch.cat([p.detach().reshape(-1) for p in parameters])
        self.gradient = torch.zeros_like(self.vector)
        self.dtype = self.vector.dtype
        self.n_weights = sum(p.numel() for p in parameters if p.ndim >= 2)
        self.weights = self.vector[: self.n_weights]
        start = 0
        for p in parameters:
            place = slice(start, start + p.numel())
            p.data, p.grad = self.vector[place].view(p.shape), self.gradient[place].view(p.shape)
            start += p.numel()

    def gradient_of(self, p: Tensor) -> Tensor:
        """Return where the gradient of one of the model's parameters is."""
        assert p.grad is not None
        return p.grad

    def groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Return the groups for an optimizer: the weights and the others, a vector each; all in one if none decays."""
        groups = []
        parts = [(slice(self.n_weights), weight_decay), (slice(self.n_weights, None), 0.0)]
        for place, decay in parts if weight_decay else [(slice(None), 0.0)]:
            if self.vector[place].numel():
                part = nn.Parameter(self.vector[place])
                part.grad = self.gradient[place]
                groups.append({"params": [part], "weight_decay": decay})
        return groups


def parameter_groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Return groups for an optimizer that decay parameters of two or more axes and no others.

    Returns:
        One or two groups, with ``params`` and ``weight_decay``.
    """
    wide: list[nn.Parameter] = []
    narrow: list[nn.Parameter] = []
    for p in parameters:
        (wide if p.ndim >= 2 else narrow).append(p)
    pairs = ((wide, weight_decay), (narrow, 0.0))
    return [{"params": part, "weight_decay": decay} for part, decay in pairs if part]


def _why_not_parameters(model: nn.Module) -> str | None:
    parameters = list(model.parameters())
    if not parameters:
        return "the model has no parameters"
    if len(parameters) != len(list(model.named_parameters(remove_duplicate=False))):
        return "two layers share a parameter"
    if not all(p.requires_grad for p in parameters):
        return "some parameters are frozen"
    if any(p.device.type != "cpu" for p in parameters):
        return f"the model is on {parameters[0].device}, not on the CPU"
    dtypes = {p.dtype for p in parameters}
    if len(dtypes) > 1 or not dtypes <= {torch.float32, torch.float64}:
        return "the parameters are not all float32 or all float64"
    return None


def l2_coefficient(penalty: Penalty | None) -> float | None:
    """Return c where the penalty is c times ``L2()``, 0 where there is none, and None for any other penalty."""
    if penalty is None:
        return 0.0
    if type(penalty) is L2:
        return penalty.slope
    if type(penalty) is WeightedSum:
        parts = [(factor, l2_coefficient(term)) for factor, term in penalty.terms]
        known = [factor * c for factor, c in parts if c is not None]
        return sum(known) if len(known) == len(parts) else None
    return None
