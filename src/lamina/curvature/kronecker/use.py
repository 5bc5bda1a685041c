"""The calls of supported layers in one forward pass: what went in, and where the gradient of what came out is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.func import functional_call
from torch.nn.functional import linear

from lamina.curvature.kronecker.patches import patches
from lamina.curvature.kronecker.recurrent import replay
from lamina.curvature.kronecker.sites import Plan, Site
from lamina.errors import ConfigError


@dataclass(frozen=True)
class Use:
    """One multiplication by a block's matrix, z = W a, at R places of N examples.

    Attributes:
        block: The block's name.
        edge: Where in autograd's graph ∂/∂z is found; taken before anything can change z in place.
        kind: "rows" gives A and G from inputs and from δ = ∂/∂z; "codes" too, with the inputs one-hot and said by
            their codes; "examples" gives A from the derivatives by the entries of W, an example a row; "squares" gives
            a diagonal A at once.
        inputs: a without the homogeneous coordinate, (R, in) or (groups, R, in); codes (R,) for "codes".
        outputs: δ in the same form, from δ as it is found; the rows (N, entries) or squares (entries,) for the others.
        plain: Whether the gradient is δᵀ a with these rows as they are (an affine layer under "expand").
    """

    block: str
    edge: GradientEdge
    kind: Literal["rows", "codes", "examples", "squares"]
    inputs: Callable[[], Tensor] | None
    outputs: Callable[[Tensor], Tensor]
    plain: bool = False


@contextmanager
def recorded(plan: Plan, sharing: str) -> Iterator[list[Use]]:
    """Record the calls of the plan's layers while the context lasts; hooks are gone after it, whatever happens.

    Recurrent layers and ``LowRankLinear`` give outputs that are computed a second time, with their inner sums in the
    open; they are the same to rounding.

    Args:
        plan: The layers.
        sharing: How the places of an example are taken together.

    Yields:
        The list that is filled.
    """
    recorder = _Recorder(plan, sharing)
    by_layer: dict[str, list[Site]] = {}
    for site in plan.sites:
        if any(own is not None and (site.layer, own) in plan.places for own in (site.weight, site.bias)):
            by_layer.setdefault(site.layer, []).append(site)
    handles = []
    try:
        for sites in by_layer.values():
            handles.append(sites[0].module.register_forward_hook(recorder.hook(sites), with_kwargs=True))
        yield recorder.uses
    finally:
        for handle in handles:
            handle.remove()


class _Recorder:
    """Turns calls of modules into uses of blocks."""

    def __init__(self, plan: Plan, sharing: str) -> None:
        self.plan, self.reduce = plan, sharing == "reduce"
        self.uses: list[Use] = []
        self.busy = False  # while a layer is called again to look into it

    def hook(self, sites: Sequence[Site]) -> Callable[..., Any]:
        """Return the hook of one module."""

        def hook(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> Any:
            if self.busy or not torch.is_grad_enabled():
                return None
            self.busy = True
            try:
                if sites[0].kind == "recurrent":
                    return self.recurrent(sites[0].layer, module, arguments, keywords)
                given: Tensor = arguments[0] if arguments else next(iter(keywords.values()))
                return self.call(sites[0], given, output) if output.requires_grad else None
            finally:
                self.busy = False

        return hook

    def call(self, site: Site, x: Tensor, output: Tensor) -> Tensor | None:
        """Record one call of a layer that is not recurrent.

        Returns:
            An output to take the place of the layer's, or None.
        """
        if site.kind == "affine":
            self.affine(site.layer, (site.weight, site.bias), x, output)
        elif site.kind == "low_rank":
            module: Any = site.module
            middle = linear(x, module.v)
            output = linear(middle, module.u, module.bias)
            self.affine(site.layer, ("v", None), x, middle)
            self.affine(site.layer, ("u", "bias"), middle, output)
            return output
        elif site.kind == "convolution":
            self.convolution(site, x.detach(), output)
        elif site.kind == "embedding":
            self.embedding(site, x, output)
        elif site.kind == "normalisation":
            self.normalisation(site, x.detach(), output)
        else:
            self.columns(site, x.detach(), output)
        return None

    def recurrent(self, layer: str, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Record all products of a recurrent layer.

        Returns:
            Outputs to take the place of the layer's.
        """
        replayed, products = replay(layer, module, arguments, keywords)
        for product in products:
            if product.outputs.requires_grad:
                pair = (product.weight, product.weight.replace("weight", "bias", 1))
                self.affine(layer, pair, product.inputs, product.outputs)
        return replayed

    def affine(self, layer: str, pair: tuple[str | None, str | None], inputs: Tensor, outputs: Tensor) -> None:
        """Record z = W a + b at the places of all axes but the first and the last."""
        a, width, reduce = inputs.detach(), outputs.shape[-1], self.reduce and inputs.ndim > 2

        def rows_in() -> Tensor:
            return a.reshape(a.shape[0], -1, a.shape[-1]).mean(1) if reduce else a.reshape(-1, a.shape[-1])

        def rows_out(delta: Tensor) -> Tensor:
            return delta.reshape(delta.shape[0], -1, width).sum(1) if reduce else delta.reshape(-1, width)

        self.add(layer, pair, Use("", get_gradient_edge(outputs), "rows", rows_in, rows_out, plain=not reduce))

    def convolution(self, site: Site, x: Tensor, output: Tensor) -> None:
        """Record z = W a at every place that the filters stop at."""
        module: Any = site.module
        groups, axes, reduce = module.groups, len(module.kernel_size), self.reduce

        def split(rows: Tensor) -> Tensor:  # (N, T, D) to (R, D) or (groups, R, D / groups)
            rows = (rows.mean(1) if reduce else rows).reshape(-1, rows.shape[-1])
            return rows if groups == 1 else rows.reshape(rows.shape[0], groups, -1).transpose(0, 1)

        def rows_out(delta: Tensor) -> Tensor:
            places = delta.reshape(-1, *delta.shape[delta.ndim - axes - 1 :]).flatten(2).mT
            return split(places) * places.shape[1] if reduce else split(places)

        use = Use("", get_gradient_edge(output), "rows", lambda: split(patches(module, x)), rows_out)
        self.add(site.layer, (site.weight, site.bias), use)

    def embedding(self, site: Site, codes: Tensor, output: Tensor) -> None:
        """Record z = W e with e one-hot; padding has no part in it.

        Raises:
            ConfigError: If the layer changes its gradient or its weights by rules of its own.
        """
        module = site.module
        assert isinstance(module, nn.Embedding)
        if module.sparse or module.scale_grad_by_freq or module.max_norm is not None:
            raise ConfigError(
                f'the embedding "{site.layer}" has sparse, scale_grad_by_freq or max_norm on',
                where="KroneckerFactors",
                mend="build it without them",
            )
        flat = codes.reshape(-1)
        keep = slice(None) if module.padding_idx is None else flat != module.padding_idx
        self.add(
            site.layer,
            ("weight", None),
            Use(
                "",
                get_gradient_edge(output),
                "codes",
                lambda: flat[keep],
                lambda delta: delta.reshape(-1, delta.shape[-1])[keep],
            ),
        )

    def normalisation(self, site: Site, x: Tensor, output: Tensor) -> None:
        """Record y = γ û + β: û is what the layer gives for γ = 1 and β = 0, its running means left alone."""
        own = dict(site.module.named_parameters(recurse=False))
        plain = {name: torch.ones_like(p) if name == "weight" else torch.zeros_like(p) for name, p in own.items()}
        buffers = {name: b.clone() for name, b in site.module.named_buffers()}
        with torch.no_grad():
            standard = functional_call(site.module, {**plain, **buffers}, (x,))
        size = next(iter(own.values())).numel()
        trailing = isinstance(site.module, nn.LayerNorm | nn.RMSNorm)

        def of_example(values: Tensor) -> Tensor:
            if trailing:
                return values.reshape(values.shape[0], -1, size).sum(1)
            return values.flatten(2).sum(2) if values.ndim > 2 else values

        scale, shift = self.blocks(site.layer, (site.weight, site.bias))
        joint = scale is not None and shift is None and (site.layer, "bias") in self.plan.places
        edge = get_gradient_edge(output)

        def derivatives(delta: Tensor) -> Tensor:
            by_scale = of_example(delta * standard)
            return torch.cat([by_scale, of_example(delta)], dim=1) if joint else by_scale

        if scale is not None:
            self.uses.append(Use(scale, edge, "examples", None, derivatives))
        if shift is not None:
            self.uses.append(Use(shift, edge, "examples", None, of_example))

    def columns(self, site: Site, x: Tensor, output: Tensor) -> None:
        """Record the embedding of a table's columns: a row of it takes each weight once at most."""
        module: Any = site.module
        edge = get_gradient_edge(output)
        use = Use("", edge, "squares", None, lambda delta: module.weight_gradient(x, delta.square()))
        self.add(site.layer, ("weight", None), use)

    def blocks(self, layer: str, pair: tuple[str | None, str | None]) -> tuple[str | None, str | None]:
        """Return the weight's block, and the bias's where it is another."""
        weight, bias = (None if own is None else self.plan.places.get((layer, own)) for own in pair)
        return weight, None if bias == weight else bias

    def add(self, layer: str, pair: tuple[str | None, str | None], use: Use) -> None:
        """Add the use for the blocks of a weight and its bias; a bias by itself has no inputs."""
        weight, bias = self.blocks(layer, pair)
        if weight is not None:
            self.uses.append(Use(weight, use.edge, use.kind, use.inputs, use.outputs, use.plain))
        if bias is not None:
            self.uses.append(Use(bias, use.edge, use.kind, None, use.outputs))
