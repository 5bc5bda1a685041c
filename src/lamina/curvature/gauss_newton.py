"""One product with the Gauss-Newton matrix or a Fisher matrix of a batch, with nothing kept for the next."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator, Tensor
from torch.autograd import forward_ad

from lamina.curvature._linear import pulled, twice_differentiable
from lamina.curvature._modes import load_forward_mode
from lamina.curvature._vectors import Tensors, ordered
from lamina.curvature.batch_loss import BatchLoss
from lamina.curvature.output_metric import Kind, output_metric


def gauss_newton_vector(batch: BatchLoss, vector: Mapping[str, Tensor]) -> Tensors:
    """Return G v = (1/N) Σ_n w_n J_nᵀ M_n J_n v + ∇²penalty v, the generalised Gauss-Newton matrix of the mean loss.

    Equal to ``batch.product("gauss-newton")(v)``, where the matrix is described, and cheaper when one product is all
    that is wanted: values and tangents go forward together and one pass comes back, about 1.6 gradients for a deep net.
    Where an operation has no rule of forward mode in PyTorch, ``batch.product`` is what is called.

    Args:
        batch: The loss.
        vector: v, one tensor of the same shape for each parameter.

    Returns:
        One tensor for each parameter, of its shape.

    Reference: Schraudolph, Neural Computation 14, 2002.
    """
    return _alone("gauss-newton", batch, vector)


def fisher_vector(
    batch: BatchLoss, vector: Mapping[str, Tensor], *, draws: int | None = None, generator: Generator | None = None
) -> Tensors:
    """Return F v, F = (1/N) Σ_n w_n E[g_n g_nᵀ] + ∇²penalty, over targets from the network's own distribution.

    Without draws the expectation is exact, and F is the matrix of ``gauss_newton_vector``.

    Args:
        batch: The loss.
        vector: v, one tensor of the same shape for each parameter.
        draws: Targets drawn for each example in place of the closed form; None draws none.
        generator: Source of the draws; None is PyTorch's default generator.

    Returns:
        One tensor for each parameter, of its shape.

    Reference: Martens, "New Insights and Perspectives on the Natural Gradient Method", JMLR 21, 2020, section 9.
    """
    return _alone("fisher", batch, vector, draws, generator)


def empirical_fisher_vector(batch: BatchLoss, vector: Mapping[str, Tensor]) -> Tensors:
    """Return (1/N) Σ_n w_n g_n (g_n · v) + ∇²penalty v, g_n the gradient of example n's -log p at its own target.

    It is the second moment of the gradients that training meets, not a curvature: it vanishes where every example is
    fitted, whatever the loss curves like.

    Args:
        batch: The loss.
        vector: v, one tensor of the same shape for each parameter.

    Returns:
        One tensor for each parameter, of its shape.

    Reference: Kunstner, Balles & Hennig, "Limitations of the Empirical Fisher Approximation", NeurIPS 2019.
    """
    return _alone("empirical-fisher", batch, vector)


def _alone(
    kind: Kind,
    batch: BatchLoss,
    vector: Mapping[str, Tensor],
    draws: int | None = None,
    generator: Generator | None = None,
) -> Tensors:
    direction = ordered(f"{kind.replace('-', '_')}_vector", "vector", vector, batch.named)
    load_forward_mode()
    try:
        with twice_differentiable(batch.model):
            with forward_ad.dual_level():
                duals = {
                    name: forward_ad.make_dual(p, direction[name])  # type: ignore[no-untyped-call]
                    for name, p in batch.named.items()
                }
                outputs, moved = forward_ad.unpack_dual(batch.outputs_at(duals))  # type: ignore[no-untyped-call]
            bend = batch.penalty_hessian(outputs)
    except NotImplementedError:
        return batch.product(kind, draws=draws, generator=generator)(direction)
    metric = output_metric(
        kind, batch.likelihood, outputs, batch.targets, weights=batch.weights, draws=draws, generator=generator
    )
    cotangent = metric(torch.zeros_like(outputs) if moved is None else moved.detach())
    return bend(pulled(outputs, batch.named, cotangent), direction)
