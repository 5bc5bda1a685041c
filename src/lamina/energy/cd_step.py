"""The contrastive-divergence step: statistics, difference and update in place, no autograd."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor
from torch.optim import SGD

from lamina.data.batch import Batch
from lamina.energy._cd_visible import Buffers, VisibleSide
from lamina.energy.binary_draws import draw_binary
from lamina.energy.contrastive_divergence import Reconstruction, chains_of, check_drawn, check_sweeps, move_chains
from lamina.energy.rbm import RBM
from lamina.energy.tempering import rows_a_rung
from lamina.energy.units import Bernoulli
from lamina.errors import ConfigError
from lamina.likelihoods.mean_nll import weighted_mean

_KEPT = 8  # batch sizes whose buffers are kept
_OFFSETS_FOLLOW = 0.01  # share of the present batch in the centres


class ContrastiveDivergenceStep:
    """W ← W + η (⟨ĥ vᵀ⟩_data - ⟨ĥ vᵀ⟩_samples), b ← b + η (⟨v⟩ - ⟨v⟩), c ← c + η (⟨ĥ⟩ - ⟨ĥ⟩),   ĥ = σ(c + W v).

    Stochastic descent with ``ContrastiveDivergence``'s gradient, most of whose time is that of its matrix products:
    [v; v'] and [ĥ; -ĥ'] lie in two buffers, so statistics, difference and update are one product of 2N rows straight
    into W. ``optimizer`` is a plain ``torch.optim.SGD`` that holds rate, momentum, decay and velocities, in which
    schedules and checkpoints find them; its ``step`` is not called, the update is its own: u ← m u + g, w ← w - η u.

    Bernoulli hidden units; visible ones of any type: Bernoulli (inputs between 0 and 1 are probabilities) and Gaussian
    (standardise the data, and take a tenth of the rate) are the quickest. With learnt variances the statistics are of
    u = v / σ², and log σ² ← log σ² + η (⟨½ (v - b)² / σ²⟩ - ⟨…⟩ - Σ_j W ∘ (⟨ĥ uᵀ⟩ - ⟨…⟩)). Other hidden units, other
    optimisers, and autograd: ``GradientStep`` with ``ContrastiveDivergence``.

    ``loss`` is how well the last reconstruction foretells the data: the cross-entropy in nats an example, or half the
    squared distance for Gaussian units (over σ², plus log σ); with persistent chains, which reconstruct nothing, the
    free-energy gap mean F(v) - mean F(chains). Neither is the likelihood.

    Inputs between 0 and 1 are taken as they stand, or ``draw_data`` draws binary units with them: see
    ``ContrastiveDivergence``. Noise in shades of grey asks for it.

    Centring, for data whose units are mostly on or mostly off, takes the statistics about offsets μ and λ, running
    means of v and ĥ over the data:

        ΔW = ⟨(ĥ - λ)(v - μ)ᵀ⟩ - ⟨…⟩,   Δb = ⟨v⟩ - ⟨v⟩ - ΔWᵀ λ,   Δc = ⟨ĥ⟩ - ⟨ĥ⟩ - ΔW μ

    so that flipping what 0 and 1 mean changes nothing.

    Args:
        rbm: The machine, on its device.
        rate: η; ``optimizer.param_groups[i]["lr"]`` afterwards.
        sweeps: k, at least 1.
        persistent: Go on with ``rbm.chains`` instead of starting from the data; needs a smaller rate.
        temperatures: Inverse temperatures of persistent chains, see ``ContrastiveDivergence``.
        reconstruction: "sample" draws visible units, "mean" sets them to their means (faster, less noise, biased).
        momentum: m, in [0, 1).
        weight_decay: Of the weights, not the biases: adds decay · W to the gradient.
        sparsity: Wanted mean of the hidden units; adds sparsity_cost · (mean ĥ over the batch - wanted) to the hidden
            biases' gradient. None leaves them alone.
        sparsity_cost: See there; at least 0.
        centred: Take the statistics about running means.
        draw_data: Draw the visible units with the inputs as probabilities.
        generator: Source of the samples, on the machine's device, kept in ``state_dict``; None is PyTorch's default
            generator, which ``fit`` keeps.

    Raises:
        ConfigError: If an option is out of range, the units are others, or chains are missing.

    Reference: Hinton, "A Practical Guide to Training Restricted Boltzmann Machines", 2010; Tieleman, ICML 2008
    (persistent chains); Lee, Ekanadham & Ng, "Sparse Deep Belief Net Model for Visual Area V2", NIPS 2007, section 3.1;
    Montavon & Müller, "Deep Boltzmann Machines and the Centering Trick", 2012; Melchior, Fischer & Wiskott, "How to
    Center Deep Boltzmann Machines", JMLR 17, 2016, algorithm 1.
    """

    def __init__(
        self,
        rbm: RBM,
        rate: float = 0.1,
        *,
        sweeps: int = 1,
        persistent: bool = False,
        temperatures: Sequence[float] = (),
        reconstruction: Reconstruction = "sample",
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        sparsity: float | None = None,
        sparsity_cost: float = 1.0,
        centred: bool = False,
        draw_data: bool = False,
        generator: Generator | None = None,
    ) -> None:
        check_sweeps("ContrastiveDivergenceStep", sweeps, persistent, reconstruction, temperatures)
        _check_units(rbm, centred)
        if draw_data:
            check_drawn("ContrastiveDivergenceStep", rbm)
        if not (rate >= 0.0 and 0.0 <= momentum < 1.0 and weight_decay >= 0.0 and sparsity_cost >= 0.0):
            raise ConfigError(
                "rate, weight_decay and sparsity_cost must be at least 0 and momentum in [0, 1), "
                f"got {rate}, {weight_decay}, {sparsity_cost} and {momentum}",
                where="ContrastiveDivergenceStep",
            )
        if sparsity is not None and not 0.0 < sparsity < 1.0:
            raise ConfigError(
                f"sparsity must lie between 0 and 1, got {sparsity}", where="ContrastiveDivergenceStep", mend="use 0.05"
            )
        if persistent:
            rows_a_rung(
                "ContrastiveDivergenceStep", len(chains_of(rbm, "ContrastiveDivergenceStep")), len(temperatures) or 1
            )
        self.model, self.sweeps, self.persistent, self.reconstruction = rbm, sweeps, persistent, reconstruction
        self.sparsity, self.sparsity_cost, self.centred, self.generator = sparsity, sparsity_cost, centred, generator
        self.draw_data = draw_data
        self.temperatures, self._visible = tuple(temperatures), VisibleSide(rbm)
        others = [p for p in (rbm.visible_bias, rbm.hidden_bias, rbm.visible_log_variance) if p is not None]
        self.optimizer = SGD(
            [{"params": [rbm.weight], "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=rate,
            momentum=momentum,
        )
        self._offsets: tuple[Tensor, Tensor] | None = None
        self._buffers: dict[int, Buffers] = {}

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Mapping[str, Tensor]:
        """Make one update.

        Returns:
            ``loss``, on the device.

        Raises:
            ConfigError: If the inputs do not fit the visible units.
        """
        inputs = batch.inputs.flatten(1)
        n, width = inputs.shape
        if width != self.model.n_visible:
            raise ConfigError(
                f"got {width} inputs for {self.model.n_visible} visible units",
                where="ContrastiveDivergenceStep",
            )
        at = self._buffers.get(n) or self._new_buffers(n)
        if self.draw_data:
            inputs = draw_binary(inputs, self.generator)
        weights = batch.weights
        self._visible.scale_(at.v_data.copy_(inputs))
        self._means(at.v_data, at.a_data, at.h_data)
        loss = self._sample(at, weights)
        signs = at.signs if weights is None else self._weighted(at, weights)
        toward_b, toward_c = torch.mv(at.v_t, signs), torch.mv(at.h_t, signs)
        if loss is None:
            loss = self._free_energy_gap(at, weights)
            if weights is not None and self._visible.gaussian:  # (v - b) / σ² counts examples, as ½ (v - b)² does
                toward_b += self._visible.scale_((1.0 - weights.mean()) * self.model.visible_bias)
        asked = self.centred or self.sparsity is not None
        mean_v, mean_h = (_mean(x, weights) for x in (at.v_data, at.h_data)) if asked else (toward_b, toward_c)
        if weights is not None:
            at.h.mul_(signs[:, None] * n)
        elif len(at.h_sample) == n:
            at.h_sample.neg_()
        else:
            at.h_sample.mul_(-n / len(at.h_sample))
        self._update(at, weights, _Means(mean_v, mean_h, toward_b, toward_c))
        return {"loss": loss}

    def _weighted(self, at: Buffers, weights: Tensor) -> Tensor:
        """Return what each row of the buffers counts for, ``(N + M,)``."""
        data = weights / len(weights)
        return torch.cat([data, at.signs[len(weights) :] if self.persistent else -data])

    def _means(self, v: Tensor, a: Tensor, h: Tensor) -> None:
        """Fill in the hidden units' inputs and means."""
        torch.addmm(self.model.hidden_bias, v, self.model.weight.t(), out=a)
        torch.sigmoid(a, out=h)  # in place where the inputs are not wanted: a is h

    def _sample(self, at: Buffers, weights: Tensor | None) -> Tensor | None:
        """Fill in the samples' half: k sweeps from the data or from the chains.

        Returns:
            How well the last means foretell the data; None with persistent chains.
        """
        rbm, visible, chance, loss = self.model, self._visible, at.h_data, None
        if self.temperatures:
            moved = move_chains(rbm, "ContrastiveDivergenceStep", self.sweeps, self.temperatures, self.generator)
            self._means(visible.scale_(at.v_sample.copy_(moved)), at.a_sample, at.h_sample)
            return None
        if self.persistent:
            at.v_sample.copy_(chains_of(rbm, "ContrastiveDivergenceStep"))
            self._means(visible.scale_(at.v_sample), at.a_sample, at.h_sample)
            chance = at.h_sample
        for sweep in range(1, self.sweeps + 1):
            at.draw_h(chance, self.generator, at.h_state, at.h_sample)
            torch.addmm(rbm.visible_bias, at.h_state, rbm.weight, out=at.v_input)
            visible.means(at)
            if sweep == self.sweeps and not self.persistent:
                loss = visible.foretold(at, weights)
            visible.draw(at, self.reconstruction, self.generator)
            if sweep == self.sweeps and self.persistent:
                chains_of(rbm, "ContrastiveDivergenceStep").copy_(at.v_sample)
            self._means(visible.scale_(at.v_sample), at.a_sample, at.h_sample)
            chance = at.h_sample
        return loss

    def _free_energy_gap(self, at: Buffers, weights: Tensor | None) -> Tensor:
        """Return mean F(v) - mean F(chains), as far as the biases and hidden inputs at hand tell it.

        Returns:
            A scalar.
        """
        rbm = self.model
        data, samples = (
            rbm.visible_energy(self._visible.unscaled(v)) - rbm.hidden.log_partition(a)
            for v, a in ((at.v_data, at.a_data), (at.v_sample, at.a_sample))
        )
        return weighted_mean(data, weights) - samples.mean()

    def _update(self, at: Buffers, weights: Tensor | None, means: _Means) -> None:
        """Add the difference of the statistics, which lie in the buffers with their signs, to the parameters."""
        rbm, n, group = self.model, len(at.v_data), self.optimizer.param_groups[0]
        rate, momentum, decay = float(group["lr"]), float(group["momentum"]), float(group["weight_decay"])
        toward_b, toward_c = means.toward_b, means.toward_c
        if self.centred:
            mu, lam = self._follow(means.v, means.h)
            difference = torch.mm(at.h_t, at.v).div_(n)
            # Σ ± (ĥ - λ)(v - μ)ᵀ; the term λ μᵀ is the same in both halves.
            difference.addr_(toward_c, mu, alpha=-1.0).addr_(lam, toward_b, alpha=-1.0)
            toward_b.addmv_(difference.t(), lam, alpha=-1.0)
            toward_c.addmv_(difference, mu, alpha=-1.0)
            self._move(rbm.weight, difference.sub_(rbm.weight, alpha=decay) if decay else difference, group)
        elif rbm.visible_log_variance is not None:
            difference = torch.mm(at.h_t, at.v).div_(n)
            own = None if self.persistent else weights
            data, samples = (self._visible.half_squares(v) for v in (at.v_data, at.v_sample))
            toward_s = _mean(data, weights) - _mean(samples, own) - (rbm.weight * difference).sum(0)
            self._move(rbm.weight, difference.sub_(rbm.weight, alpha=decay) if decay else difference, group)
            self._move(rbm.visible_log_variance, toward_s, self.optimizer.param_groups[1])
        elif momentum:
            velocity = self._velocity(rbm.weight).addmm_(at.h_t, at.v, beta=momentum, alpha=-1.0 / n)
            if decay:
                velocity.add_(rbm.weight, alpha=decay)
            rbm.weight.add_(velocity, alpha=-rate)
        else:
            rbm.weight.addmm_(at.h_t, at.v, beta=1.0 - rate * decay, alpha=rate / n)
        if self.sparsity is not None:
            toward_c.sub_(means.h - self.sparsity, alpha=self.sparsity_cost)
        self._move(rbm.visible_bias, toward_b, self.optimizer.param_groups[1])
        self._move(rbm.hidden_bias, toward_c, self.optimizer.param_groups[1])

    def _move(self, p: Tensor, ascent: Tensor, group: Mapping[str, Any]) -> None:
        """Move a parameter as ``SGD`` would with the gradient -ascent."""
        momentum, rate = float(group["momentum"]), float(group["lr"])
        if momentum:
            p.sub_(self._velocity(p).mul_(momentum).sub_(ascent), alpha=rate)
        else:
            p.add_(ascent, alpha=rate)

    def _velocity(self, p: Tensor) -> Tensor:
        """Return the optimizer's velocity of a parameter, zeros the first time.

        Returns:
            The tensor that the optimizer's state holds.
        """
        state = self.optimizer.state[p]
        if state.get("momentum_buffer") is None:
            state["momentum_buffer"] = torch.zeros_like(p, requires_grad=False)
        velocity: Tensor = state["momentum_buffer"]
        return velocity

    def _follow(self, mean_v: Tensor, mean_h: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the offsets towards a batch's means; the first batch sets them.

        Returns:
            μ and λ.
        """
        if self._offsets is None:
            self._offsets = mean_v.clone(), mean_h.clone()
        else:
            self._offsets[0].lerp_(mean_v, _OFFSETS_FOLLOW)
            self._offsets[1].lerp_(mean_h, _OFFSETS_FOLLOW)
        return self._offsets

    def _new_buffers(self, n: int) -> Buffers:
        if len(self._buffers) >= _KEPT:
            self._buffers.clear()
        m = n
        if self.persistent:
            m = len(chains_of(self.model, "ContrastiveDivergenceStep")) // (len(self.temperatures) or 1)
        return self._buffers.setdefault(n, Buffers.make(n, m, self.model.weight.detach(), self.persistent))

    def state_dict(self) -> dict[str, Any]:
        """Return the machine with its chains, the velocities, the offsets and the generator's state."""
        state: dict[str, Any] = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        if self._offsets is not None:
            state["offsets"] = list(self._offsets)
        if self.generator is not None:
            state["generator"] = self.generator.get_state()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state that ``state_dict`` returned."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        offsets = state.get("offsets")
        self._offsets = None if offsets is None else tuple(o.to(self.model.weight, copy=True) for o in offsets)
        if self.generator is not None:
            self.generator.set_state(state["generator"].cpu())


class _Means(NamedTuple):
    """Means over the data, and what they exceed those over the samples by."""

    v: Tensor
    h: Tensor
    toward_b: Tensor
    toward_c: Tensor


def _mean(x: Tensor, weights: Tensor | None) -> Tensor:
    return x.mean(0) if weights is None else weights @ x / len(x)


def _check_units(rbm: RBM, centred: bool) -> None:
    if not isinstance(rbm.hidden, Bernoulli):
        raise ConfigError(
            f"cannot train hidden {rbm.hidden}: it takes Bernoulli hidden units",
            where="ContrastiveDivergenceStep",
            mend="use GradientStep with ContrastiveDivergence",
        )
    if centred and rbm.visible_log_variance is not None:
        raise ConfigError(
            "with learnt variances the visible offsets would have no fixed scale",
            where="ContrastiveDivergenceStep",
            mend="centre the data, or use Gaussian(learn_variance=False)",
        )
