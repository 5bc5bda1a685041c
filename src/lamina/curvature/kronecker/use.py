"""The calls of supported layers in one forward pass: what went in, and where the gradient of what came out is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
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
from lamina.nn.tied_linear import TiedLinear


@dataclass(frozen=True)
class Use:
    """One multiplication by a block's matrix, z = W a or z = Wᵀ a, at R places of N examples.

    Attributes:
        block: The block's name.
        edge: Where in autograd's graph ∂/∂z is found; taken before anything can change z in place.
        kind: "rows" gives A and G from inputs and from δ = ∂/∂z; "codes" too, with inputs that are mostly zeros, of
            which the diagonal of A is taken; "examples" gives A from the derivatives by the entries of W, an example a
            row; "squares" gives a diagonal A at once.
        inputs: a without the homogeneous coordinate, (R, in) or (groups, R, in); sparse and coalesced for "codes".
        outputs: δ in the same form, from δ as it is found; the rows (N, entries) or squares (entries,) for the others.
        plain: Whether the gradient is δᵀ a with these rows as they are (an affine layer under "expand").
        turned: Whether it is Wᵀ that multiplies, so that a belongs to the rows of W and δ to its columns.
    """

    block: str
    edge: GradientEdge
    kind: Literal["rows", "codes", "examples", "squares"]
    inputs: Callable[[], Tensor] | None
    outputs: Callable[[Tensor], Tensor]
    plain: bool = False
    turned: bool = False


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
                if not output.requires_grad:
                    return None
                if sites[0].kind == "bag":
                    return self.bag(sites[0], *arguments, **keywords, output=output)
                given: Tensor = arguments[0] if arguments else next(iter(keywords.values()))
                return self.call(sites[0], given, output)
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
        elif isinstance(site.module, TiedLinear):
            self.affine(site.layer, ("weight", "bias"), x, output, turned=True)
        elif site.kind in {"convolution", "transposed"}:
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

    def affine(
        self,
        layer: str,
        pair: tuple[str | None, str | None],
        inputs: Tensor,
        outputs: Tensor,
        *,
        turned: bool = False,
    ) -> None:
        """Record z = W a + b, or Wᵀ a + b, at the places of all axes but the first and the last."""
        a, width, reduce = inputs.detach(), outputs.shape[-1], self.reduce and inputs.ndim > 2

        def rows_in() -> Tensor:
            return a.reshape(a.shape[0], -1, a.shape[-1]).mean(1) if reduce else a.reshape(-1, a.shape[-1])

        def rows_out(delta: Tensor) -> Tensor:
            return delta.reshape(delta.shape[0], -1, width).sum(1) if reduce else delta.reshape(-1, width)

        plain = not (reduce or turned)
        self.add(layer, pair, Use("", get_gradient_edge(outputs), "rows", rows_in, rows_out, plain, turned))

    def convolution(self, site: Site, x: Tensor, output: Tensor) -> None:
        """Record z = W a at every place that the filters stop at, or y = Wᵀ a at every place that is spread over z.

        A transposed convolution is z = Σ_t S_t Wᵀ a_t with S_t fixed: the gradient of y_t = Wᵀ a_t is the patch of δ
        that the place t is spread over. Its bias is added at the places of z.
        """
        module: Any = site.module
        groups, axes, reduce = module.groups, len(module.kernel_size), self.reduce

        def split(rows: Tensor) -> Tensor:  # (N, T, D) to (R, D) or (groups, R, D / groups)
            rows = (rows.mean(1) if reduce else rows).reshape(-1, rows.shape[-1])
            return rows if groups == 1 else rows.reshape(rows.shape[0], groups, -1).transpose(0, 1)

        def gathered(rows: Tensor) -> Tensor:  # gradients add up over the places where inputs are averaged
            return split(rows) * rows.shape[1] if reduce else split(rows)

        def places(maps: Tensor) -> Tensor:  # (N, C, places) to (N, T, C)
            return maps.reshape(-1, *maps.shape[maps.ndim - axes - 1 :]).flatten(2).mT

        edge = get_gradient_edge(output)
        if site.kind == "convolution":
            use = Use("", edge, "rows", lambda: split(patches(module, x)), lambda delta: gathered(places(delta)))
            self.add(site.layer, ("weight", "bias"), use)
            return
        size = x.shape[x.ndim - axes :]
        spread = Use(
            "",
            edge,
            "rows",
            lambda: split(places(x)),
            lambda delta: gathered(patches(module, delta, size)),
            turned=True,
        )
        self.add(site.layer, ("weight", None), spread)
        self.add(site.layer, (None, "bias"), Use("", edge, "rows", None, lambda delta: gathered(places(delta))))

    def embedding(self, site: Site, codes: Tensor, output: Tensor) -> None:
        """Record z = W e with e one-hot; padding has no part in it."""
        module = _plain_gradient(site)
        flat = codes.reshape(-1)
        keep = slice(None) if module.padding_idx is None else flat != module.padding_idx

        def one_hot() -> Tensor:
            kept = flat[keep]
            rows = torch.arange(len(kept), device=kept.device)
            return _sparse(rows, kept, output.new_ones(len(kept)), (len(kept), module.num_embeddings))

        self.codes(site.layer, output, one_hot, lambda delta: delta.reshape(-1, delta.shape[-1])[keep])

    def bag(
        self,
        site: Site,
        input: Tensor,  # the layer's own name of it, which a caller may use
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
        *,
        output: Tensor,
    ) -> None:
        """Record z = W a with a_c the sum of the weights of the code c in a bag; padding has no part in it.

        Raises:
            ConfigError: If the bag takes the largest of its vectors, or as ``_plain_gradient``.
        """
        module: Any = _plain_gradient(site)
        if module.mode == "max":
            raise ConfigError(
                f'the embedding "{site.layer}" takes the largest entries of a bag, which is no product with its weight',
                where="KroneckerFactors",
                mend='build it with mode="sum" or "mean", or freeze it by requires_grad_(False)',
            )

        def inputs() -> Tensor:
            codes = input.reshape(-1)
            if offsets is None:
                bags = torch.arange(len(input), device=codes.device).repeat_interleave(input.shape[1])
            else:
                starts = (offsets[:-1] if module.include_last_offset else offsets).long()
                bags = torch.searchsorted(starts, torch.arange(len(codes), device=codes.device), right=True) - 1
            values = output.new_ones(len(codes)) if per_sample_weights is None else per_sample_weights.reshape(-1)
            if module.padding_idx is not None:
                values = values * (codes != module.padding_idx)
            if module.mode == "mean":
                lengths = output.new_zeros(len(output)).index_add_(0, bags, values)
                values = values / lengths[bags].clamp(min=1.0)
            shape = (len(output), module.num_embeddings)
            return _sparse(bags, codes, values.detach(), shape, repeated=True).coalesce()

        self.codes(site.layer, output, inputs, lambda delta: delta)

    def codes(
        self, layer: str, output: Tensor, inputs: Callable[[], Tensor], outputs: Callable[[Tensor], Tensor]
    ) -> None:
        """Record a product with inputs that are mostly zeros; the block of an embedding's own is of its transpose."""
        name = self.plan.places[layer, "weight"]
        turned = not self.plan.blocks[name].turned
        self.uses.append(Use(name, get_gradient_edge(output), "codes", inputs, outputs, turned=turned))

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
            self.uses.append(replace(use, block=weight))
        if bias is not None:
            self.uses.append(Use(bias, use.edge, use.kind, None, use.outputs))


def _plain_gradient(site: Site) -> nn.Embedding | nn.EmbeddingBag:
    """Return the embedding of a site.

    Raises:
        ConfigError: If the layer changes its gradient or its weights by rules of its own.
    """
    module = site.module
    assert isinstance(module, nn.Embedding | nn.EmbeddingBag)
    if module.sparse or module.scale_grad_by_freq or module.max_norm is not None:
        raise ConfigError(
            f'the embedding "{site.layer}" has sparse, scale_grad_by_freq or max_norm on',
            where="KroneckerFactors",
            mend="build it without them",
        )
    return module


def _sparse(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int], *, repeated: bool = False) -> Tensor:
    """Return a sparse matrix; unless an entry may be repeated, its rows are in order and have one entry each."""
    places = torch.stack([rows, columns.long()])
    found: Tensor = torch.sparse_coo_tensor(
        places, values, shape, check_invariants=False, is_coalesced=None if repeated else True
    )
    return found
