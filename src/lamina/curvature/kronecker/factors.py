"""K-FAC: the Fisher matrix of a network as one Kronecker product a layer, from the layers' inputs and gradients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.autograd.graph import get_gradient_edge

from lamina.curvature._vectors import Tensors
from lamina.curvature.batch_loss import BatchLoss
from lamina.curvature.kronecker.inverse import KroneckerInverse
from lamina.curvature.kronecker.packed import PackedPairs, Pairs, held, opened
from lamina.curvature.kronecker.sites import plan
from lamina.curvature.kronecker.targets import KINDS, output_gradients
from lamina.curvature.kronecker.use import Use, recorded
from lamina.errors import ConfigError


class KroneckerFactors:
    """F ≈ A ⊗ G for each layer z = W a of a network, where F is the Fisher matrix of the mean loss of a batch.

        A = E[a aᵀ],   G = E[g gᵀ],   g = ∂(-log p(y | f(x)))/∂z,   y as ``fisher`` says

    so that the block of a layer with M inputs and N outputs takes M² + N² numbers in place of M² N², and its inverse is
    A⁻¹ ⊗ G⁻¹. It is exact for one example; for a linear network with fixed output curvature; and wherever a aᵀ and g gᵀ
    are uncorrelated over the data. Blocks between layers are zero.

    Covered: affine layers, convolutions and transposed ones, embeddings and bags of them, normalisation's scales and
    shifts (exactly, up to 512 of them), recurrent cells and layers, ``LowRankLinear`` and ``ColumnEmbedding`` of
    ``lamina.nn``, ``lamina.autoencoders.TiedLinear``; see ``Block`` for the kind of their factors. A weight used as W
    and as Wᵀ (tied autoencoders; an embedding that is the output layer's too) has two such products, for which the one
    with the same trace and partial traces stands in. Where a weight is used at T places of an example (a convolution, a
    sequence, a recurrent layer's steps, layers that share it), ``expand`` takes the places for independent and alike,

        A = 1/(N T) Σ_nt a_nt a_ntᵀ,   G = 1/N Σ_nt g_nt g_ntᵀ

    and ``reduce`` sums over them first, a_n = 1/T Σ_t a_nt, g_n = Σ_t g_nt, which is exact where the outputs are
    averaged over places; different calls of a weight are taken as by ``expand`` in either case. In a recurrent layer
    that is the assumption of stationary, uncorrelated steps. An example's weight counts in G.

    Normalisation in training mode makes an example's output depend on the others; the factors leave that out.

    Args:
        model: The network.
        parameters: Which to cover; None takes all that ask for a gradient.
        fisher: "sampled" draws targets from the network, "exact" takes their expectation at as many passes back as the
            likelihood has outputs, "empirical" takes the data's own.
        sharing: "expand" or "reduce".
        fallback: What to do with parameters of other layers: None refuses them, "diagonal" takes the diagonal of F by
            an estimate that is right on average, N ĝ² with ĝ the mean of the examples' gradients under random signs.

        compact: Keep the factors in half the memory; see ``PackedPairs``.

    Raises:
        ConfigError: If an argument is unknown, or a parameter is not covered.

    References: Martens & Grosse, ICML 2015, section 3; Grosse & Martens, ICML 2016 (convolutions); Martens, Ba &
    Johnson, ICLR 2018 (recurrent); Eschenhagen et al., NeurIPS 2023 (expand and reduce).
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        parameters: Iterable[nn.Parameter] | None = None,
        fisher: str = "sampled",
        sharing: str = "expand",
        fallback: str | None = None,
        compact: bool = False,
    ) -> None:
        for name, value, known in (
            ("fisher", fisher, KINDS),
            ("sharing", sharing, ("expand", "reduce")),
            ("fallback", fallback, (None, "diagonal")),
        ):
            if value not in known:
                raise ConfigError(
                    f"{name} must be one of {', '.join(map(str, known))}, got {value!r}",
                    where="KroneckerFactors",
                    mend=f"use {name}={known[0]!r}",
                )
        wanted = None if parameters is None else {id(p) for p in parameters}
        self.model, self.fisher, self.sharing = model, fisher, sharing
        self.parameters = {
            name: p for name, p in model.named_parameters() if p.requires_grad and (wanted is None or id(p) in wanted)
        }
        self.plan = plan(model, self.parameters, fallback)
        self.blocks = self.plan.blocks
        self._guessed = set(self.blocks) - set(self.plan.places.values())
        self.factors: Pairs = PackedPairs(self.blocks) if compact else {}
        for name, block in self.blocks.items():
            self.factors[name] = block.zero_factors(self.parameters[name])
        self.updates = 0

    def update(
        self,
        batch: BatchLoss,
        *,
        decay: float = 0.0,
        generator: Generator | None = None,
        seen: tuple[Tensor, Sequence[Use]] | None = None,
    ) -> KroneckerFactors:
        """Measure the factors on a batch: A ← decay · A + (1 - decay) · A of the batch, and G likewise.

        Args:
            batch: The batch; only its network's outputs and its likelihood are used, not its penalty.
            decay: What the factors so far keep, in [0, 1); 0 forgets them.
            generator: Source of drawn targets and signs; None is PyTorch's default generator.
            seen: The outputs of a forward pass already made under ``recorded``, with their graph, and what was
                recorded. None makes a pass, which moves no running means.

        Returns:
            Itself. A weight that has a gradient though its layer was not called as a module is an error (ConfigError).
        """
        if seen is None:
            with torch.enable_grad(), recorded(self.plan, self.sharing) as calls:
                seen = batch.outputs_at({}), calls
        outputs, uses = seen
        share = 1.0 - decay
        with torch.no_grad():
            for pair in held(self.factors).values():
                for factor in pair.values():
                    factor.mul_(decay) if decay else factor.zero_()
            ways = _Ways(self.factors, uses)
            self._add_inputs(ways, share)
        self._add_gradients(batch, outputs, ways, share, generator)
        with torch.no_grad():
            ways.join()
        self.updates += 1
        return self

    def product(self, vector: Mapping[str, Tensor]) -> Tensors:
        """Return F̂ v, tensors by parameter name."""
        found: Tensors = {}
        for name, block in self.blocks.items():
            pair = self.factors[name]
            matrix = block.multiply(pair.get("inputs"), pair.get("outputs"), block.matrix(vector))
            found.update(block.tensors(matrix))
        return {name: found[name] for name in vector}

    def dense(self, name: str) -> Float[Tensor, "entries entries"]:
        """Return one block as the matrix that it stands for: entries in the order of its parameters, each flattened.

        For tests and for looking at small layers: its size is the square of the number of entries.
        """
        block = self.blocks[name]
        like = self.parameters[name]
        columns = []
        for place in range(block.entries):
            unit = like.new_zeros(block.entries)
            unit[place] = 1.0
            sizes = [self.parameters[own].numel() for own in block.names]
            parts = dict(zip(block.names, torch.split(unit, sizes), strict=True))
            given = {own: part.reshape(self.parameters[own].shape) for own, part in parts.items()}
            pair = self.factors[name]
            turned = block.tensors(block.multiply(pair.get("inputs"), pair.get("outputs"), block.matrix(given)))
            columns.append(torch.cat([turned[own].reshape(-1) for own in block.names]))
        return torch.stack(columns, dim=1)

    def inverse(self, damping: float) -> KroneckerInverse:
        """Return (F̂ + γ² I)⁻¹ by factored damping.

        Args:
            damping: γ, above 0.

        Returns:
            The inverse as it is now; later updates of the factors do not reach it.

        Raises:
            ConfigError: If γ is not above 0 or the factors are not finite.
        """
        if not damping > 0.0:
            raise ConfigError(f"damping must be above 0, got {damping!r}", where="KroneckerFactors", mend="use 0.1")
        found = KroneckerInverse(self.blocks, compact=isinstance(self.factors, PackedPairs))
        if not found.update(self.factors, float(damping)):
            raise ConfigError(
                "the factors are not finite", where="KroneckerFactors", mend="look for inf or nan in the inputs"
            )
        return found

    def _add_inputs(self, ways: _Ways, share: float) -> None:
        """Add share · E[a aᵀ] of the blocks whose inputs are seen without a gradient."""
        by_way: dict[tuple[str, bool], list[tuple[Use, Tensor]]] = {}
        for use in ways.uses:
            if use.inputs is not None and self.blocks[use.block].inputs != "none":
                by_way.setdefault((use.block, use.turned), []).append((use, use.inputs()))
        for (name, _), found in by_way.items():
            total = sum(len(a) if use.kind == "codes" else a.shape[-2] for use, a in found)
            for use, a in found:
                with ways.opened(use, "inputs") as factor:
                    _add_inputs(factor, use, a, share / max(total, 1), ones=self.blocks[name].ones)

    def _add_gradients(
        self, batch: BatchLoss, outputs: Tensor, ways: _Ways, share: float, generator: Generator | None
    ) -> None:
        """Add share · E[g gᵀ], by as many passes back as the kind of Fisher matrix takes."""
        n, uses = outputs.shape[0], ways.uses
        called = {use.block for use in uses}
        asked = [name for name in self.blocks if name not in called]
        columns = list(
            output_gradients(
                self.fisher, batch.likelihood, outputs.detach(), batch.targets, batch.weights, generator=generator
            )
        )
        for place, column in enumerate(columns):
            u = column
            if self._guessed and self.fisher != "sampled":
                coins = torch.randint(0, 2, (n, 1), generator=generator, device=u.device)
                u = u * (2 * coins - 1).to(u.dtype)
            edges = [use.edge for use in uses]
            found = torch.autograd.grad(
                outputs,
                edges + [get_gradient_edge(self.parameters[name]) for name in asked],
                u,
                retain_graph=place + 1 < len(columns),
                allow_unused=True,
            )
            with torch.no_grad():
                for use, delta in zip(uses, found, strict=False):
                    if delta is not None:
                        self._add_use(use, delta, share / n, ways)
                for name, g in zip(asked, found[len(uses) :], strict=True):
                    if g is not None:
                        self._add_guess(name, g, share / n)

    def _add_use(self, use: Use, delta: Tensor, scale: float, ways: _Ways) -> None:
        rows = use.outputs(delta)
        with ways.opened(use, "inputs" if use.kind in {"squares", "examples"} else "outputs") as factor:
            if use.kind == "squares":
                factor.add_(rows, alpha=scale)
            elif factor.ndim == 1:
                factor.add_(rows.square().sum(0), alpha=scale)
            else:
                _add_square(factor, rows, scale)

    def _add_guess(self, name: str, total: Tensor, scale: float) -> None:
        """Add the square of Σ_n ± g_n, whose mean is Σ_n g_n².

        Raises:
            ConfigError: If the block is one of a layer, which should have been called.
        """
        if name not in self._guessed:
            raise ConfigError(
                f'the layer "{self.blocks[name].layers[0]}" of the parameter "{name}" was not called in the forward '
                "pass, but the parameter was used",
                where="KroneckerFactors",
                mend="call it as a module, or freeze the parameter by requires_grad_(False)",
            )
        with opened(self.factors, name, "inputs") as factor:
            factor.add_(total.reshape(-1).square(), alpha=scale)


class _Ways:
    """Where the uses of a batch add to: to the factors, or, of a weight used as W and as Wᵀ, to factors of either way.

    Args:
        factors: Of all blocks; what they hold already stays.
        uses: Of the batch.
    """

    def __init__(self, factors: Pairs, uses: Sequence[Use]) -> None:
        self.factors, self.uses = factors, uses
        ways: dict[str, set[bool]] = {}
        for use in uses:
            ways.setdefault(use.block, set()).add(use.turned)
        self.apart: dict[str, dict[bool, Tensors]] = {
            name: {turned: {side: torch.zeros_like(f) for side, f in factors[name].items()} for turned in both}
            for name, both in ways.items()
            if len(both) == 2
        }

    @contextmanager
    def opened(self, use: Use, side: str) -> Iterator[Tensor]:
        """Open the factor of a use's own inputs or outputs to be added to: for Wᵀ the other one of its block.

        Yields:
            The factor.
        """
        own = {"inputs": "outputs", "outputs": "inputs"}[side] if use.turned else side
        if use.block in self.apart:
            yield self.apart[use.block][use.turned][own]
            return
        with opened(self.factors, use.block, own) as factor:
            yield factor

    def join(self) -> None:
        """Add to the factors of the weights used both ways the A ⊗ G with all traces of A₁ ⊗ G₁ + A₂ ⊗ G₂.

            A = Σ_i tr(G_i) A_i / Σ_i tr(G_i),   G = Σ_i tr(A_i) G_i · Σ_i tr(G_i) / Σ_i tr(A_i) tr(G_i)

        The trace is the sum's, and so are the partial ones, over the inputs and over the outputs.
        """
        for name, pairs in self.apart.items():
            widths = [_trace(pair["inputs"]) for pair in pairs.values()]
            heights = [_trace(pair["outputs"]) for pair in pairs.values()]
            height = torch.stack(heights).sum(0)
            whole = torch.stack([w * h for w, h in zip(widths, heights, strict=True)]).sum(0)
            for pair, w, h in zip(pairs.values(), widths, heights, strict=True):
                for side, share in (("inputs", _ratio(h, height)), ("outputs", _ratio(w * height, whole))):
                    with opened(self.factors, name, side) as factor:
                        factor.add_(pair[side] * share)


def _trace(factor: Tensor) -> Tensor:
    return factor.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Return part / whole, and 0 where both are."""
    return part / whole.masked_fill(whole == 0, 1.0)


def _add_inputs(factor: Tensor, use: Use, a: Tensor, scale: float, *, ones: bool) -> None:
    """Add scale · Σ a aᵀ, or its diagonal for codes; with ones the last coordinate of a is 1."""
    if use.kind == "codes":
        diagonal = factor if factor.ndim == 1 else factor.diagonal()
        diagonal.index_add_(0, a.indices()[1], a.values().square(), alpha=scale)
        return
    width = a.shape[-1]
    _add_square(factor[..., :width, :width], a, scale)
    if ones:
        mean = a.sum(-2).mul_(scale)
        factor[..., :width, width].add_(mean)
        factor[..., width, :width].add_(mean)
        factor[..., width, width].add_(scale * a.shape[-2])


def _add_square(factor: Tensor, rows: Tensor, scale: float) -> None:
    """Add scale · rowsᵀ rows, in place; for groups (groups, R, D) of each group."""
    if rows.ndim == 2:
        factor.addmm_(rows.mT, rows, alpha=scale)
    else:
        factor.baddbmm_(rows.mT, rows, alpha=scale)
