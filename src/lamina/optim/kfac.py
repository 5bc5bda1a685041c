"""K-FAC: natural gradient with a Kronecker-factored Fisher matrix."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from lamina.curvature.batch_loss import BatchLoss
from lamina.curvature.kronecker.factors import KroneckerFactors
from lamina.curvature.kronecker.inverse import KroneckerInverse
from lamina.curvature.kronecker.packed import store
from lamina.curvature.kronecker.quadratic import QuadraticModel
from lamina.errors import ConfigError
from lamina.optim._flat import whole_state
from lamina.optim._kfac_blocks import OptimisedBlocks, finite
from lamina.optim._kfac_checks import KFACReport, check_factors, check_metric, check_options, reason
from lamina.optim._kfac_gradient import Gradients, accumulate, gradients
from lamina.optim._kfac_rate import Objective, adapted, best_multiples, inner

LEAST = 100  # examples that factors and model are measured on, where there are as many: fewer are noise
FIRST = 3  # updates of the factors that are followed by an inversion each, as they change fast


class KFAC(Optimizer):
    """Δ = -(F̂ + (λ + η) I)⁻¹ ∇h,  F̂ ≈ A ⊗ G for each layer,  h = L + ½ η ‖θ‖².

    The factors are running means with the weight ε = min(1 - 1/k, decay) on the past; they are measured on a part of
    the batch at some steps and inverted at fewer, with factored damping (see ``lamina.curvature.KroneckerFactors``
    and ``KroneckerInverse``). How far to go along Δ has two forms. With a rate,

        v ← µ v + ν Δ,   θ ← θ + lr v,   ν = min(1, √(kl_clip / (-lr² Δᵀ∇h)))       (ν = 1 without ``kl_clip``)

    and without one (``lr=None``), θ ← θ + δ with

        δ = α Δ + µ δ₀,   [α, µ] the minimum of ½ δᵀ(C + (λ + η) I) δ + ∇hᵀδ

    where δ₀ is the last step and C the exact Gauss-Newton matrix, of which only products along Δ and δ₀ are needed.
    Every ``adapt_every`` steps λ follows the Levenberg-Marquardt rule on the ratio ρ of what the loss changed by to
    what ½ δᵀ(C + η I) δ + ∇hᵀδ foretold: λ ω where ρ > ¾, λ/ω where ρ < ¼, ω = 0.95^adapt_every.

    When not to use it: for small networks, where ``LevenbergMarquardt`` or L-BFGS on the whole data are simpler; where
    Adam's steps already do (an image classifier trained once); for layers wider than a few thousand, whose factors take
    M² + N² numbers and whose inversion N³ steps; where most of the weights are embeddings; with batches of a few dozen
    examples, which are not enough to measure factors by, with ``lr=None`` least of all: its model fits a batch, and on
    small ones the noise. Recurrent layers are unrolled step by step, which costs several times their fused gradient.

    Differs from Martens & Grosse: block-diagonal only; ρ leaves the damping out of the model, as their later programs
    do; the products C and ρ are taken on the part of the batch that measures the factors.

    Args:
        model: The network. Its layers are watched during a step and at no other time.
        params: Its parameters to train, or groups of them with own ``lr``, ``momentum`` and ``weight_decay``; None is
            all that ask for a gradient. Others of its parameters stay. A weight and its bias have one running mean,
            with the µ of the weight's group; without a rate, µ is the first group's.
        lr: Rate; None finds it, and then a group's ``lr``, 1 at first, multiplies α Δ.
        momentum: µ in [0, 1). None is 0.9 with a rate, and without one finds it too.
        damping: λ at first, above 0.
        weight_decay: η, at least 0. A penalty within the batch's loss does as well, with ordinary gradients.
        kl_clip: Bound on lr² ΔᵀF̂Δ, about twice the divergence from the network before the step; with a rate only.
        adapt_every: Steps between changes of λ; 0 leaves it.
        adapt_split_every: Steps between trials of three strengths γ of the factored damping (now, and times and divided
            by 0.95^(steps/2)), of which the best by the model is taken; 0 keeps γ = √(λ + η). With ``lr=None`` only.
        statistics_every: Steps between measurements of the factors.
        inverse_every: Steps between inversions.
        statistics_share: Part of the batch's examples, in (0, 1], that factors, C and ρ are measured on, but at least
            100; a window that moves along from measurement to measurement. The first is on the whole batch.
        decay: Limit of ε, in [0, 1).
        bounds: Least and largest λ. On mini-batches the rule lowers λ as long as the model foretells the batch, until
            the steps follow its noise and the loss rises: the least λ holds that off. On whole data it may be 1e-8.
        fisher: "sampled", "exact" or "empirical"; see ``KroneckerFactors``.
        sharing: "expand" or "reduce", likewise.
        fallback: "diagonal", or None to refuse layers that are not covered; likewise.
        compact: Keep factors and inverses in half the memory, unpacked one by one where they are used.
        generator: Source of drawn targets; None is PyTorch's default generator.

    Raises:
        ConfigError: If an argument is out of range, or a layer is not covered.

    References: Martens & Grosse, "Optimizing Neural Networks with Kronecker-factored Approximate Curvature", ICML 2015,
    sections 4 to 7; Ba, Grosse & Martens, "Distributed Second-Order Optimization using Kronecker-Factored
    Approximations", ICLR 2017, section 5 (clipping).
    """

    def __init__(
        self,
        model: nn.Module,
        params: Iterable[Any] | None = None,
        lr: float | None = None,
        *,
        momentum: float | None = None,
        damping: float = 1.0,
        weight_decay: float = 0.0,
        kl_clip: float | None = None,
        adapt_every: int = 5,
        adapt_split_every: int = 0,
        statistics_every: int = 5,
        inverse_every: int = 20,
        statistics_share: float = 0.25,
        decay: float = 0.95,
        bounds: tuple[float, float] = (1e-3, 1e8),
        fisher: str = "sampled",
        sharing: str = "expand",
        fallback: str | None = None,
        compact: bool = False,
        generator: Generator | None = None,
    ) -> None:
        given = [p for p in model.parameters() if p.requires_grad] if params is None else params
        defaults = {
            "lr": 1.0 if lr is None else lr,
            "momentum": (0.0 if lr is None else 0.9) if momentum is None else momentum,
            "weight_decay": weight_decay,
        }
        super().__init__(given, defaults)
        self.model, self.generator = model, generator
        self.exact_rate, self.find_momentum = lr is None, lr is None and momentum is None
        self.kl_clip, self.adapt_every, self.adapt_split_every = kl_clip, adapt_every, adapt_split_every
        self.statistics_every, self.inverse_every = statistics_every, inverse_every
        self.statistics_share, self.decay, self.bounds = statistics_share, decay, bounds
        self.damping, self.steps = damping, 0
        self.split: float | None = None  # γ, once it goes its own way
        check_options(self)
        mine = [p for group in self.param_groups for p in group["params"]]
        self.compact = compact
        self.factors = KroneckerFactors(
            model, parameters=mine, fisher=fisher, sharing=sharing, fallback=fallback, compact=compact
        )
        missing = {id(p) for p in mine if p.requires_grad} - {id(p) for p in self.factors.parameters.values()}
        if missing:
            raise ConfigError(
                f"{len(missing)} of the parameters are not the model's", where="KFAC", mend="pass the whole network"
            )
        self.blocks = OptimisedBlocks(self, self.factors)
        self.inverse = KroneckerInverse(self.factors.blocks, compact=self.compact)
        self._unchecked = True
        self.last: KFACReport | None = None

    __getstate__ = whole_state

    @torch.no_grad()
    def step(self, closure: BatchLoss | None = None) -> Tensor:  # type: ignore[override]
        """Make one step. ``p.grad`` is neither read nor written.

        Args:
            closure: A ``lamina.curvature.BatchLoss`` of the same network.

        Returns:
            The batch's loss at the beginning.

        Raises:
            ConfigError: If the closure is anything else, or its likelihood has no closed Fisher matrix and λ adapts.
        """
        if not isinstance(closure, BatchLoss) or closure.model is not self.model:
            got = f"step needs the loss of a batch, got {type(closure).__name__}"
            raise ConfigError(
                "the optimiser's network is not that of the batch" if isinstance(closure, BatchLoss) else got,
                where="KFAC",
                mend="optimizer.step(curvature.BatchLoss(net, likelihood, x, y)), net being the optimiser's",
            )
        measure = self.steps % self.statistics_every == 0
        part = self._part(closure)
        whole = part.size == closure.size
        found = gradients(closure, self.factors, keep=measure and whole, check=self._unchecked)
        if self._unchecked and (self.exact_rate or self.adapt_every):
            check_metric(closure.likelihood, found.outputs)
        self._unchecked = False
        if not bool(found.loss.isfinite()):
            return self._stay(found.loss)
        if measure:
            k = self.factors.updates + 1
            self.factors.update(
                part,
                decay=min(1.0 - 1.0 / k, self.decay),
                generator=self.generator,
                seen=(found.outputs, found.uses) if whole else None,
            )
        if self.steps % self.inverse_every == 0 or (measure and self.factors.updates <= FIRST):
            done = self.inverse.update(self.factors.factors, self._damping())
            if not done and not self.inverse.inverses:
                return self._stay(found.loss)
        # A penalty may look at the inputs that the outputs came from, so its batch is not taken apart.
        measured = part if closure.penalty is None else closure
        objective = Objective(measured, self.blocks.option("weight_decay"))
        moved = self._exact(found, objective) if self.exact_rate else self._with_rate(found, objective)
        self.steps += 1
        if not moved:
            return self._stay(found.loss)
        return found.loss

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, while the optimiser is built.

        Raises:
            ConfigError: If it is built already.
        """
        if hasattr(self, "factors"):
            raise ConfigError("its groups are those it was built with", where="KFAC", mend="build it again")
        super().add_param_group(param_group)

    def _with_rate(self, found: Gradients, objective: Objective) -> bool:
        """Go along the running mean of the directions.

        Returns:
            Whether all numbers were finite; the parameters stay where not.
        """
        matrices = self.blocks.gradients(found, every=self.kl_clip is not None)
        rates, speeds = self.blocks.option("lr"), self.blocks.option("momentum")
        if not finite([*matrices.values(), *(rows.delta for rows in found.rows.values())]):
            return False
        shrink = 1.0
        directions = {name: self.inverse.apply(name, matrix) for name, matrix in matrices.items()}
        if self.kl_clip is not None:
            pulls = self.blocks.slopes(matrices, self.blocks.tensors(directions))
            size = sum(rates[own] ** 2 * pull for own, pull in pulls.items())
            shrink = math.sqrt(self.kl_clip / size) if size > self.kl_clip else 1.0
        for name, block in self.factors.blocks.items():
            if name in directions:
                torch.add(
                    directions[name].mul_(shrink),
                    self.blocks.speed(name),
                    alpha=speeds[name],
                    out=self.blocks.speed(name),
                )
            elif name in found.rows:
                accumulate(block, found.rows[name], self.inverse, self.blocks.speed(name), speeds[name])
        names = [name for name in self.factors.blocks if name in directions or name in found.rows]
        steps = self.blocks.tensors({name: self.blocks.speed(name) for name in names})
        first = next(iter(rates))
        if not self._due(self.adapt_every):
            for own, step in steps.items():
                self.factors.parameters[own].add_(step, alpha=-rates[own])
            self.last = KFACReport(self.damping, rates[first] * shrink, speeds[first], None, "moved")
            return True
        update = {own: step * -rates[own] for own, step in steps.items()}
        model = objective.model([update])
        one = torch.ones(1, dtype=torch.float64)
        return self._move(objective, update, model, one, rate=rates[first] * shrink, speed=speeds[first])

    def _exact(self, found: Gradients, objective: Objective) -> bool:
        """Go to the minimum of the quadratic model along the direction and the last step.

        Returns:
            Whether all numbers were finite; the parameters stay where not.
        """
        matrices = self.blocks.gradients(found, every=True)
        if self._due(self.adapt_split_every):
            self._choose_split(matrices, objective)
        rates = self.blocks.option("lr")
        most = max(rates.values())
        directions = self._along(matrices, rates, most)
        if not finite(list(directions[0].values())):
            return False
        model, multiples = self._best(matrices, objective, directions)
        multiples[0] *= most
        alpha, speed = float(multiples[0]), float(multiples[1]) if len(multiples) == 2 else 0.0
        update = {}
        for name in matrices:
            step = self.blocks.tensors({name: self.blocks.speed(name)})
            for own, part in step.items():
                update[own] = part.mul_(speed).add_(directions[0][own], alpha=alpha)
        if self._due(self.adapt_every):
            return self._move(objective, update, model, multiples, rate=alpha, speed=speed)
        for own, change in update.items():
            self.factors.parameters[own].add_(change)
        self.last = KFACReport(self.damping, alpha, speed, None, reason(alpha, speed))
        return True

    def _along(
        self, matrices: Mapping[str, Tensor], rates: Mapping[str, float], most: float
    ) -> list[dict[str, Tensor]]:
        """Return Δ, each group's by its share of the largest rate, and δ₀ where there is one."""
        now = self.blocks.tensors({name: self.inverse.apply(name, matrix).neg_() for name, matrix in matrices.items()})
        if most > 0.0:
            now = {own: d if rates[own] == most else d * (rates[own] / most) for own, d in now.items()}
        if self.steps == 0:
            return [now]
        return [now, self.blocks.tensors({name: self.blocks.speed(name) for name in matrices})]

    def _best(
        self, matrices: Mapping[str, Tensor], objective: Objective, directions: list[dict[str, Tensor]]
    ) -> tuple[QuadraticModel, Tensor]:
        """Return the model on the part, and α and µ: by the whole batch's gradient, the part's C, and the damping."""
        model = objective.model(directions)
        slopes = torch.tensor([sum(self.blocks.slopes(matrices, d).values()) for d in directions], dtype=torch.float64)
        curvature = model.curvature + self.damping * inner(directions, 1.0)
        fixed = None if self.find_momentum else next(iter(self.blocks.option("momentum").values()))
        return model, best_multiples(slopes, curvature, fixed)

    def _choose_split(self, matrices: Mapping[str, Tensor], objective: Objective) -> None:
        """Try γ as it is, larger and smaller; keep the one whose step the model likes best."""
        now = math.sqrt(self.damping) if self.split is None else self.split
        factor = 0.95 ** (self.adapt_split_every / 2)
        best = math.inf
        rates = self.blocks.option("lr")
        kept = self.inverse
        for split in (now, now / factor, now * factor):
            self.inverse = KroneckerInverse(self.factors.blocks, compact=self.compact)
            if self.inverse.update(self.factors.factors, split):
                directions = self._along(matrices, rates, max(rates.values()))
                model, multiples = self._best(matrices, objective, directions)
                change = model.change(multiples) + 0.5 * self.damping * float(
                    multiples @ inner(directions, 1.0) @ multiples
                )
                if change < best:
                    best, self.split, kept = change, split, self.inverse
        self.inverse = kept

    def _move(
        self,
        objective: Objective,
        update: Mapping[str, Tensor],
        model: QuadraticModel,
        multiples: Tensor,
        *,
        rate: float,
        speed: float,
    ) -> bool:
        """Go the step, compare what the loss does with what the model foretold, and change λ by it.

        Returns:
            Whether the loss is finite there; if not, the parameters are put back and λ has grown.
        """
        before = {own: self.factors.parameters[own].clone() for own in update}
        for own, step in update.items():
            self.factors.parameters[own].add_(step)
        foretold, factor = model.change(multiples), 0.95**self.adapt_every
        change = objective.value() - model.value
        if not math.isfinite(change):
            for own, p in before.items():
                self.factors.parameters[own].copy_(p)
            for name in self.factors.blocks:
                self.blocks.speed(name).zero_()
            self.damping = min(self.damping / factor, self.bounds[1])
            return False
        ratio = change / foretold if foretold < 0.0 else None  # uphill, by momentum: the ratio would say nothing
        if ratio is not None:
            self.damping = adapted(self.damping, ratio, factor, self.bounds)
        self.last = KFACReport(self.damping, rate, speed, ratio, reason(rate, speed))
        return True

    def _part(self, batch: BatchLoss) -> BatchLoss:
        """Return the rows that factors and model are measured on."""
        count = max(LEAST, math.ceil(self.statistics_share * batch.size))
        if self.factors.updates == 0 or count >= batch.size:
            return batch
        start = (self.factors.updates * count) % (batch.size - count + 1)
        return batch.rows(start, start + count)

    def _damping(self) -> dict[str, float]:
        """Return γ of each block."""
        decay = self.blocks.option("weight_decay")
        if self.split is not None:
            return dict.fromkeys(self.factors.blocks, self.split)
        return {name: math.sqrt(self.damping + decay[name]) for name in self.factors.blocks}

    def _due(self, every: int) -> bool:
        return every > 0 and (self.steps + 1) % every == 0

    def _stay(self, loss: Tensor) -> Tensor:
        self.last = KFACReport(self.damping, 0.0, 0.0, None, "non-finite")
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return PyTorch's state, and under ``kfac`` factors, inverses, damping, counters and the generator's state."""
        return super().state_dict() | {
            "kfac": {
                "factors": {name: dict(pair) for name, pair in self.factors.factors.items()},
                "inverses": {name: dict(pair) for name, pair in self.inverse.inverses.items()},
                "updates": self.factors.updates,
                "steps": self.steps,
                "damping": self.damping,
                "split": self.split,
                "generator": None if self.generator is None else self.generator.get_state(),
            }
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go back to a state that ``state_dict`` returned, for the same network.

        Raises:
            ConfigError: If the factors are those of another network.
        """  # noqa: DOC502
        kept = state_dict["kfac"]
        check_factors(self.factors.factors, kept["factors"])
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "kfac"})
        like = self.factors.parameters
        for name in self.factors.factors:
            store(self.factors.factors, name, {s: f.to(like[name]) for s, f in kept["factors"][name].items()})
        self.inverse = KroneckerInverse(self.factors.blocks, compact=self.compact)
        for name, pair in kept["inverses"].items():
            self.inverse.inverses[name] = {side: f.to(like[name], copy=True) for side, f in pair.items()}
        self.factors.updates, self.steps = kept["updates"], kept["steps"]
        self.damping, self.split = kept["damping"], kept["split"]
        if kept["generator"] is not None and self.generator is not None:
            self.generator.set_state(kept["generator"].cpu())
