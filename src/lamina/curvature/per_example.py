"""Gradients example by example: the rows whose squares and products are the Gauss-Newton and Fisher matrices."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import cast

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call, vjp, vmap

from lamina.curvature._linear import twice_differentiable
from lamina.curvature._vectors import Tensors, flatten
from lamina.curvature.batch_loss import BatchLoss
from lamina.curvature.output_metric import Kind, output_columns
from lamina.errors import ConfigError

_MOST = 1 << 24  # numbers held at once


def curvature_rows(
    batch: BatchLoss,
    kind: Kind = "empirical-fisher",
    *,
    draws: int | None = None,
    generator: Generator | None = None,
    chunk: int | None = None,
) -> Iterator[Tensor]:
    """Give the rows of a matrix A, some examples at a time, with Aᵀ A the curvature of the mean loss.

        "empirical-fisher"            a row an example: √(w_n / N) g_n,  g_n = ∇(-log p(t_n | f(x_n; θ)))
        "gauss-newton", "fisher"      K rows an example: √(w_n / N) sᵀ J_n for each column s of a root of M_n

    The penalty is not among them. Every example goes through the network alone, all of a chunk at once by
    ``torch.func.vmap`` (one after another where an operation has no rule for it), so the examples must not know one
    another: put a network that normalises by the batch or draws noise in ``eval`` mode.

    Args:
        batch: The loss.
        kind: Which curvature; see ``BatchLoss.product``.
        draws: For "fisher" and "gauss-newton": so many rows of drawn targets in place of the closed form.
        generator: Source of the draws, which depend on the size of the chunks.
        chunk: Examples at a time; None is as many as keep the rows below 2²⁴ numbers.

    Yields:
        (rows, P), P elements in the order of ``batch.named``.

    Raises:
        ConfigError: If the network normalises by the batch or drops units, or an argument does not fit.
    """
    _refuse_coupled(batch.model)
    size = sum(p.numel() for p in batch.named.values())
    if chunk is None:
        width = batch.likelihood.n_outputs if kind != "empirical-fisher" and draws is None else (draws or 1)
        chunk = max(1, _MOST // (size * width))
    if chunk < 1:
        raise ConfigError(f"chunk must be at least 1, got {chunk!r}", where="curvature_rows", mend="use None")
    parameters, alone = batch.parameters, False
    for start in range(0, batch.size, chunk):
        part = batch.rows(start, start + chunk)
        with torch.no_grad(), twice_differentiable(batch.model):
            outputs = part.outputs().detach()
        columns = torch.stack(
            list(
                output_columns(
                    kind,
                    batch.likelihood,
                    outputs,
                    part.targets,
                    weights=part.weights,
                    draws=draws,
                    generator=generator,
                )
            ),
            dim=1,
        )
        columns = columns * (1.0 / batch.size) ** 0.5
        found = None if alone else _together(batch.model, parameters, part.inputs, columns)
        alone = found is None
        yield _one_by_one(batch.model, parameters, part.inputs, columns) if found is None else found


def _together(model: nn.Module, parameters: Tensors, inputs: Tensor, columns: Tensor) -> Tensor | None:
    """Return columns (N, C, K) pulled back through each example, (N C, P), or None where ``vmap`` has no rule."""

    def rows(x: Tensor, own: Tensor) -> Tensor:
        def outputs(values: Tensors) -> Tensor:
            return cast(Tensor, functional_call(model, values, (x.unsqueeze(0),))).squeeze(0)

        pull = vjp(outputs, parameters)[1]
        found: Tensors = vmap(lambda u: pull(u)[0])(own)
        return torch.cat([g.reshape(len(own), -1) for g in found.values()], dim=1)

    with twice_differentiable(model), warnings.catch_warnings():
        warnings.filterwarnings("error", message="There is a performance drop")
        try:
            found: Tensor = vmap(rows)(inputs, columns)
        except (RuntimeError, UserWarning):
            return None
    return found.detach().flatten(0, 1)


def _one_by_one(model: nn.Module, parameters: Tensors, inputs: Tensor, columns: Tensor) -> Tensor:
    """Return the same for layers that ``vmap`` has no rule for."""
    found = []
    leaves = {name: p.clone().requires_grad_() for name, p in parameters.items()}
    with twice_differentiable(model):
        for n in range(len(inputs)):
            outputs = functional_call(model, leaves, (inputs[n : n + 1],))
            for u in columns[n]:
                parts = torch.autograd.grad(
                    outputs, list(leaves.values()), u.unsqueeze(0), retain_graph=True, materialize_grads=True
                )
                found.append(flatten(dict(zip(leaves, parts, strict=True))))
    return torch.stack(found)


def _refuse_coupled(model: nn.Module) -> None:
    """Refuse layers through which the examples of a batch know one another, or that draw noise.

    Raises:
        ConfigError: If there is one in training mode.
    """
    for name, module in model.named_modules():
        coupled = isinstance(module, nn.modules.batchnorm._BatchNorm | nn.modules.dropout._DropoutNd)
        if coupled and module.training:
            raise ConfigError(
                f'"{name}" ({type(module).__name__}) in training mode has no gradient of one example alone',
                where="curvature_rows",
                mend="call model.eval() first",
            )
