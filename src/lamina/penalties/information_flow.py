"""Information-flow regulariser: what the loss says to a state shall reach the state before it undiminished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.nn.noise.weight_noise import WeightNoise
from lamina.penalties._jets import chain
from lamina.penalties._passes import example_losses, running_statistics_held
from lamina.penalties.base import Context, Penalty


def information_flow(loss: Tensor, states: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Return how far the gradient's length changes from each hidden state to the one before it.

        R = Σ_{t=1}^{T} mean_n ( ‖δ_t ∂h_t/∂h_{t-1}‖ / ‖δ_t‖ - 1 )²,   δ_t = ∂L/∂h_t, row n by row n

    It is 0 where every step turns the gradient without stretching it, as a linear recurrence with an orthogonal matrix
    does. δ_t is held constant: the parameters are to keep its length, not to choose it. A row that the loss does not
    reach (δ = 0) adds nothing. Cost: one pass back for δ, one for the steps, one more for the penalty's gradient.

    Differs from the reference: h_{t-1} itself moves with the parameters here, where the paper takes the immediate
    derivative alone; the mean over the rows is of the ratios, where the paper forms one ratio over the mini-batch.

    Args:
        loss: Scalar at the end of the graph.
        states: h_0, …, h_T, each ``(N, H)``, each made from the one before and part of the loss's graph; at least two.

    Returns:
        A scalar, at least 0, differentiable in the parameters.

    Raises:
        ConfigError: If there are fewer than two states, or h_t does not depend on h_{t-1}.

    Reference: Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks", ICML 2013, eq. 9.
    """
    if len(states) < 2:
        raise ConfigError(
            f"needs at least two hidden states, got {len(states)}",
            where="information_flow",
            mend="give h_0, …, h_T of the pass that made the loss",
        )
    wanted = torch.is_grad_enabled()
    deltas = torch.autograd.grad(loss, states[1:], retain_graph=True, materialize_grads=True)
    total = loss.new_zeros(())
    for before, after, delta in zip(states[:-1], states[1:], deltas, strict=True):
        try:
            (reached,) = torch.autograd.grad(after, before, delta, create_graph=wanted, retain_graph=True)
        except RuntimeError as error:
            raise ConfigError(
                "a hidden state does not depend on the one before it",
                where="information_flow",
                mend="give the states in order, each the tensor that the next one was made from",
            ) from error
        length = delta.flatten(1).norm(dim=1)
        squares = reached.flatten(1).square().sum(1)
        # Where nothing arrives the root has no derivative, and where nothing was sent there is no ratio.
        root = squares.clamp_min(torch.finfo(squares.dtype).tiny).sqrt()
        ratio = root / length.masked_fill(length == 0, 1.0)
        total = total + torch.where(length == 0, torch.zeros_like(ratio), (ratio - 1.0).square()).mean()
    return total


@dataclass(frozen=True, slots=True)
class InformationFlow(Penalty):
    """``information_flow`` of a recurrent model's last pass under the mean loss, or of a chain's hidden layers.

    A recurrent model leaves its hidden states h_0, …, h_T of that pass, ``(N, H)`` each, in an attribute: a list that
    it makes anew in every pass. ``torch.nn.RNN`` computes a whole sequence in one call and has no states one by one; a
    loop over ``torch.nn.RNNCell`` has them. h_0 must be part of the graph: where it is zeros, give it
    ``requires_grad_()``.

    A chain of layers (``torch.nn.Sequential``, ``lamina.nn.MLP``) without that attribute gets a pass of its own, in
    which h_0, …, h_T are what goes into each layer with weights but the first: its depth stands for time, and what
    vanishes or explodes from layer to layer is held the same way.

    Attributes:
        states: Name of the attribute.
    """

    states: str = "hidden_states"

    def __call__(self, context: Context) -> Float[Tensor, ""]:
        """Return the sum over the steps.

        Returns:
            A scalar, at least 0.

        Raises:
            ConfigError: If the model is no chain and has no such attribute, or without likelihood and targets.
        """
        model = getattr(context.model, "_orig_mod", context.model)
        states = getattr(model, self.states, None)
        if states is None and isinstance(model, nn.Sequential | WeightNoise):
            with running_statistics_held(model):
                outputs, layers = _through_layers(context)
            return information_flow(example_losses("InformationFlow", context, outputs).mean(), layers)
        if states is None:
            raise ConfigError(
                f'the model leaves no "{self.states}"',
                where="InformationFlow",
                mend="keep the hidden states of the last pass, h_0 to h_T, in a list of that name",
            )
        return information_flow(example_losses("InformationFlow", context, context.outputs).mean(), states)


def _through_layers(context: Context) -> tuple[Tensor, list[Tensor]]:
    # The outputs of a chain, and what went into its layers with weights, the first one left out.
    f, h = context.smooth()
    inputs = []
    for layer in chain(f):
        if any(p.ndim > 1 for p in layer.parameters()):
            inputs.append(h)
        h = layer(h)
    return h, inputs[1:]
