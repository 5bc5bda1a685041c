"""The diagonal of a curvature: exactly, layer by layer, or as an estimate from products."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from lamina.curvature._linear import edges_to_leaves, twice_differentiable
from lamina.curvature._vectors import Tensors, flatten, ordered, unflatten
from lamina.curvature.batch_loss import BatchLoss
from lamina.curvature.kronecker.patches import patches
from lamina.curvature.output_metric import Kind, output_columns
from lamina.curvature.per_example import curvature_rows
from lamina.errors import ConfigError

_MOST = 1 << 24  # numbers held at once


class _Layer(NamedTuple):
    """One call of a layer.

    Attributes:
        module: The layer.
        inputs: What came in.
        outputs: What went out.
        edge: Where the outputs stood in the graph then; a unit in place moves them on.
        versions: How often inputs and outputs had been written to then.
    """

    module: nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
    inputs: Tensor
    outputs: Tensor
    edge: GradientEdge
    versions: tuple[int, int]

    @property
    def intact(self) -> bool:
        """Whether the inputs are what they were, and the edge is still on the way: not so if a view was written to."""
        before_in, before_out = self.versions
        viewed = self.outputs._is_view() and self.outputs._version != before_out
        return self.inputs._version == before_in and not viewed


def curvature_diagonal(
    batch: BatchLoss,
    kind: Kind = "gauss-newton",
    *,
    draws: int | None = None,
    generator: Generator | None = None,
) -> Tensors:
    """Return the exact diagonal of (1/N) Σ_n w_n J_nᵀ M_n J_n, the penalty left out.

        diag = (1/N) Σ_n w_n Σ_s (J_nᵀ s)²,   M_n = Σ_s s sᵀ

    A pass back for each column s: one for the empirical Fisher matrix, as many as there are draws, else K for K
    outputs. A linear layer's weight gets (Σ_s δ²)ᵀ x² by one matrix product for all examples, δ what comes back to its
    outputs and x its inputs; where a weight acts at several places (convolutions, sequences) the products are summed
    over the places before they are squared. One pass more tells which layers that holds for. Other parameters
    (recurrent, normalisation, attention's own, shared ones) are squared example by example, through
    ``curvature_rows``, which refuses a network that normalises by the batch.

    Args:
        batch: The loss.
        kind: Which curvature; see ``BatchLoss.product``.
        draws: For "gauss-newton" and "fisher": targets drawn for each example in place of the closed form.
        generator: Source of the draws.

    Returns:
        One tensor for each parameter, none of its elements negative.

    References: Becker & LeCun, "Improving the Convergence of Back-Propagation Learning with Second Order Methods", 1988
    (the diagonal through the layers, there approximate); Dangel, Kunstner & Hennig, "BackPACK", ICLR 2020.
    """
    with twice_differentiable(batch.model), _watched(batch.model) as seen:
        outputs = batch.outputs()
    layers = _whole_users(outputs, batch, seen)
    found = {name: torch.zeros_like(p) for name, p in batch.parameters.items()}
    names = {id(p): name for name, p in batch.named.items()}
    if layers:
        _through_layers(
            found,
            names,
            layers,
            outputs,
            output_columns(
                kind,
                batch.likelihood,
                outputs,
                batch.targets,
                weights=batch.weights,
                draws=draws,
                generator=generator,
            ),
        )
    done = {id(p) for layer in layers for p in layer.module.parameters(recurse=False)}
    if done >= set(names):
        return {name: value / batch.size for name, value in found.items()}
    squares = torch.zeros_like(flatten(found))
    for rows in curvature_rows(batch, kind, draws=draws, generator=generator):
        squares += rows.square().sum(0)
    others = unflatten(squares, found)
    return {name: found[name] / batch.size if id(p) in done else others[name] for name, p in batch.named.items()}


def hutchinson_diagonal(
    product: Callable[[Tensors], Mapping[str, Tensor]],
    like: Mapping[str, Tensor],
    *,
    draws: int = 100,
    generator: Generator | None = None,
) -> Tensors:
    """Return an estimate of a symmetric matrix's diagonal from products A v only: the mean of v ⊙ A v, v of signs.

    Unbiased; with R draws the variance of entry i is Σ_{j≠i} A_ij² / R, so that a diagonal matrix is found exactly by
    one product, and a row whose other elements outweigh its own is found badly by many: entries may come out negative
    where A has none. Where the exact diagonal of a network's curvature can be had (``curvature_diagonal``), it costs as
    much as K such products.

    Args:
        product: v to A v, both one tensor for each parameter.
        like: Tensors of the parameters' names, shapes and type.
        draws: R, at least 1.
        generator: Source of the signs; None is PyTorch's default generator.

    Returns:
        One tensor for each parameter.

    Raises:
        ConfigError: If draws is below 1.

    References: Hutchinson, Communications in Statistics 19, 1990; Bekas, Kokiopoulou & Saad, "An Estimator for the
    Diagonal of a Matrix", Applied Numerical Mathematics 57, 2007.
    """
    if draws < 1:
        raise ConfigError(f"draws must be at least 1, got {draws!r}", where="hutchinson_diagonal", mend="use 100")
    ordered("hutchinson_diagonal", "like", like, like)
    device = "cpu" if generator is None else generator.device
    total = {name: torch.zeros_like(t) for name, t in like.items()}
    for _ in range(draws):
        signs = {
            name: (torch.randint(0, 2, t.shape, generator=generator, device=device) * 2 - 1).to(t)
            for name, t in like.items()
        }
        turned = product(signs)
        for name, sign in signs.items():
            total[name].addcmul_(sign, turned[name].detach(), value=1.0 / draws)
    return total


@contextmanager
def _watched(model: nn.Module) -> Iterator[dict[nn.Module, list[_Layer]]]:
    """Note what goes in and out of every linear and convolutional layer.

    Yields:
        Layer -> its calls.
    """
    seen: dict[nn.Module, list[_Layer]] = {}

    def note(module: nn.Module, arguments: tuple[Tensor, ...], outputs: Tensor) -> None:
        assert isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)
        if outputs.requires_grad:
            versions = arguments[0]._version, outputs._version
            call = _Layer(module, arguments[0], outputs, get_gradient_edge(outputs), versions)
            seen.setdefault(module, []).append(call)

    known = [module for module in model.modules() if type(module) in {nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d}]
    handles = [module.register_forward_hook(note) for module in known]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _whole_users(outputs: Tensor, batch: BatchLoss, seen: dict[nn.Module, list[_Layer]]) -> list[_Layer]:
    """Return the layers that alone use their parameters, once, with an example a row: δ and x say all there is to say.

    Whether a row is an example shows by a pass back from the first example alone, which must reach no other row: in
    sequences that go by time first it does, and behind layers that normalise by the batch.
    """
    uses = edges_to_leaves(outputs)
    layers = [
        call
        for call, *more in seen.values()
        if not more
        and call.intact
        and len(call.inputs) == batch.size
        and all(uses.get(p, 0) == int(p.requires_grad) for p in call.module.parameters(recurse=False))
    ]
    if not layers:
        return layers
    first = torch.zeros_like(outputs)
    first[0] = torch.linspace(1.0, 2.0, outputs.shape[1])
    deltas = torch.autograd.grad(outputs, [layer.edge for layer in layers], first, retain_graph=True, allow_unused=True)
    return [layer for layer, d in zip(layers, deltas, strict=True) if d is None or not bool(d[1:].any())]


def _through_layers(
    found: Tensors, names: dict[int, str], layers: list[_Layer], outputs: Tensor, columns: Iterator[Tensor]
) -> None:
    """Add Σ_n Σ_s (J_nᵀ s)² of the layers' parameters."""
    flat = [isinstance(layer.module, nn.Linear) and layer.inputs.ndim == 2 for layer in layers]
    squares: dict[int, Tensor] = {}
    for column in columns:
        edges = [layer.edge for layer in layers]
        deltas = torch.autograd.grad(outputs, edges, column, retain_graph=True, allow_unused=True)
        for i, (layer, delta) in enumerate(zip(layers, deltas, strict=True)):
            if delta is None:
                continue
            if flat[i]:
                squares[i] = squares[i].addcmul_(delta, delta) if i in squares else delta.square()
                continue
            for parameter, value in _square_by_places(layer, delta):
                if id(parameter) in names:
                    found[names[id(parameter)]] += value
    for i, square in squares.items():
        weight, bias = layers[i].module.weight, layers[i].module.bias
        if id(weight) in names:
            found[names[id(weight)]] += square.mT @ layers[i].inputs.detach().square()
        if bias is not None and id(bias) in names:
            found[names[id(bias)]] += square.sum(0)


def _square_by_places(layer: _Layer, delta: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Give (parameter, Σ_n of its squared gradients) where a weight acts at several places, some examples at a time."""
    module = layer.module
    step = max(1, _MOST // max(1, module.weight.numel() * 2))
    for start in range(0, len(delta), step):
        d, x = delta[start : start + step], layer.inputs[start : start + step].detach()
        if isinstance(module, nn.Linear):
            groups, d, x = 1, d.flatten(1, -2), x.flatten(1, -2)
        else:
            groups, d, x = module.groups, d.flatten(2).mT, patches(module, x)
        d, x = (t.reshape(*t.shape[:2], groups, -1) for t in (d, x))
        both = torch.einsum("ntgo,ntgi->ngoi", d, x)
        yield module.weight, both.square().sum(0).reshape(module.weight.shape)
        if module.bias is not None:
            yield module.bias, d.sum(1).square().sum(0).flatten()
