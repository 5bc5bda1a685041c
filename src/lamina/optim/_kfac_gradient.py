"""The gradient of a batch by the layers' inputs and pre-activations, and its product with the inverse factors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lamina.curvature.batch_loss import BatchLoss
from lamina.curvature.kronecker.block import Block
from lamina.curvature.kronecker.factors import KroneckerFactors
from lamina.curvature.kronecker.inverse import KroneckerInverse
from lamina.curvature.kronecker.use import Use, recorded
from lamina.errors import ConfigError

AGREES = 1e-2  # how near the two ways to the gradient must come, relative to it; float32 alone leaves about 1e-5


@dataclass(frozen=True)
class Rows:
    """A gradient δᵀ [a, 1] that is not multiplied out: a (R, in) and δ (R, out)."""

    a: Tensor
    delta: Tensor


@dataclass(frozen=True)
class Gradients:
    """One batch, gone through forward and back.

    Attributes:
        loss: L, detached.
        outputs: The network's outputs with their graph where it was kept.
        uses: The calls of the layers.
        rows: For each block whose gradient is made from rows, the rows.
        matrices: For each other block that has a gradient, the gradient in the form of its W.
    """

    loss: Tensor
    outputs: Tensor
    uses: list[Use]
    rows: dict[str, Rows]
    matrices: dict[str, Tensor]


def gradients(batch: BatchLoss, factors: KroneckerFactors, *, keep: bool, check: bool) -> Gradients:
    """Go forward and back once; the weights of affine layers get no gradient of their own, their pre-activations do.

    Where the loss has a penalty, which may act on the weights directly, every gradient is autograd's.

    Args:
        batch: The batch.
        factors: Whose blocks.
        keep: Whether to keep the graph.
        check: Whether to compare with autograd's gradients of the same weights.

    Returns:
        Loss and gradients. A weight used outside the call of its layer too, so that the rows miss a part of its
        gradient, is found by the check, and is an error (ConfigError).
    """
    with torch.enable_grad():
        with recorded(factors.plan, factors.sharing) as uses:
            outputs = batch.outputs()
        loss, cotangent = _loss(batch, outputs)
        by_block: dict[str, list[Use]] = {}
        for use in uses:
            by_block.setdefault(use.block, []).append(use)
        alone = {} if batch.penalty is not None else {n: u[0] for n, u in by_block.items() if _plain(factors, n, u)}
        others = [(n, own) for n, block in factors.blocks.items() if n not in alone for own in block.names]
        checked = [(n, own) for n in alone for own in factors.blocks[n].names] if check else []
        parameters = [factors.parameters[own] for _, own in others + checked]
        places: list[Any] = [*(use.edge for use in alone.values()), *parameters]  # edges, then tensors
        found = torch.autograd.grad(
            outputs if cotangent is not None else loss,
            places,
            cotangent,
            retain_graph=keep,
            allow_unused=True,
        )
    deltas, direct = found[: len(alone)], found[len(alone) :]
    rows = {
        name: Rows(use.inputs(), use.outputs(delta))
        for (name, use), delta in zip(alone.items(), deltas, strict=True)
        if delta is not None and use.inputs is not None
    }
    tensors = {own: g for (_, own), g in zip(others + checked, direct, strict=True) if g is not None}
    matrices = {}
    for name, block in factors.blocks.items():
        if any(own in tensors for own in block.names):
            whole = {own: tensors.get(own, torch.zeros_like(factors.parameters[own])) for own in block.names}
            matrices[name] = block.matrix(whole)
    for name in alone:
        if check:
            _compare(factors.blocks[name], rows.get(name), matrices.pop(name, None))
    return Gradients(loss.detach(), outputs, uses, rows, matrices)


def _loss(batch: BatchLoss, outputs: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return L, and ∂L/∂outputs in closed form where no penalty stands beside the likelihood."""
    if batch.penalty is not None:
        return batch.total(outputs), None
    with torch.no_grad():
        at = outputs.detach()
        pull = batch.likelihood.nll_gradient(at, batch.targets)
        share = 1.0 / len(at) if batch.weights is None else batch.weights.to(pull).unsqueeze(1) / len(at)
        return batch.total(at), pull * share


def multiplied(block: Block, rows: Rows) -> Tensor:
    """Return the gradient δᵀ [a, 1], (out, in + 1)."""
    width = rows.a.shape[1]
    found = rows.a.new_empty(rows.delta.shape[1], block.columns)
    torch.mm(rows.delta.mT, rows.a, out=found[:, :width])
    if block.ones:
        found[:, width] = rows.delta.sum(0)
    return found


def accumulate(block: Block, rows: Rows, inverse: KroneckerInverse, into: Tensor, keep: float) -> None:
    """Do into ← keep · into + G⁻¹ δᵀ [a, 1] A⁻¹, each inverse applied to the thin factor where that is cheaper.

        (δ G⁻¹)ᵀ ([a, 1] A⁻¹)                       2 R (out² + in² + out · in) flops
        G⁻¹ (δᵀ [a, 1]) A⁻¹                         2 (R out in + out² in + out in²)

    so that G⁻¹ goes to δ if R < in, and A⁻¹ to a if R < out.
    """
    kept = inverse.inverses[block.name]
    of_inputs, of_outputs = kept["inputs"], kept["outputs"]
    count, width = rows.a.shape
    thin_out, thin_in = count < block.columns, count < block.rows
    delta = rows.delta @ of_outputs if thin_out else rows.delta
    if not thin_in:
        found = multiplied(block, Rows(rows.a, delta))
        into.addmm_(found if thin_out else of_outputs @ found, of_inputs, beta=keep)
        return
    right = torch.addmm(of_inputs[width], rows.a, of_inputs[:width]) if block.ones else rows.a @ of_inputs
    if thin_out:
        into.addmm_(delta.mT, right, beta=keep)
    else:
        into.addmm_(of_outputs, delta.mT @ right, beta=keep)


def thin(block: Block, rows: Rows) -> bool:
    """Return whether at least one inverse is cheaper to apply to the rows than to the gradient."""
    return rows.a.shape[0] < max(block.columns, block.rows)


def _plain(factors: KroneckerFactors, name: str, uses: list[Use]) -> bool:
    block = factors.blocks[name]
    both = block.inputs == "full" and block.outputs == "full" and block.groups == 1 and not block.turned
    return both and len(uses) == 1 and uses[0].plain and uses[0].inputs is not None


def _compare(block: Block, rows: Rows | None, direct: Tensor | None) -> None:
    if direct is None:
        return
    ours = torch.zeros_like(direct) if rows is None else multiplied(block, rows)
    size = torch.linalg.vector_norm(direct)
    if bool(torch.linalg.vector_norm(ours - direct) > AGREES * size) and bool(size.isfinite()):
        raise ConfigError(
            f'the parameter "{block.name}" is used outside the call of its layer "{block.layers[0]}"',
            where="KFAC",
            mend="call the layer as a module, everywhere",
        )
