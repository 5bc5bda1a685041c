"""The contrastive-divergence step: statistics, difference and update in place, no autograd."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor
from torch.optim import SGD

from lamina.data.batch import Batch
from lamina.energy.contrastive_divergence import Reconstruction, chains_of, check_sweeps
from lamina.energy.rbm import RBM
from lamina.energy.units import Bernoulli, Gaussian
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

    Bernoulli hidden units with Bernoulli visible ones (inputs between 0 and 1 are probabilities) or Gaussian ones of
    variance 1 (standardise the data, and take a tenth of the rate). Others, other optimisers, and autograd:
    ``GradientStep`` with ``ContrastiveDivergence``.

    ``loss`` is how well the last reconstruction foretells the data: the cross-entropy in nats an example, or half the
    squared distance for Gaussian units; with persistent chains, which reconstruct nothing, the free-energy gap
    mean F(v) - mean F(chains). Neither is the likelihood.

    Centring, for data whose units are mostly on or mostly off, takes the statistics about offsets μ and λ, running
    means of v and ĥ over the data:

        ΔW = ⟨(ĥ - λ)(v - μ)ᵀ⟩ - ⟨…⟩,   Δb = ⟨v⟩ - ⟨v⟩ - ΔWᵀ λ,   Δc = ⟨ĥ⟩ - ⟨ĥ⟩ - ΔW μ

    so that flipping what 0 and 1 mean changes nothing.

    Args:
        rbm: The machine, on its device.
        rate: η; ``optimizer.param_groups[i]["lr"]`` afterwards.
        sweeps: k, at least 1.
        persistent: Go on with ``rbm.chains`` instead of starting from the data; needs a smaller rate.
        reconstruction: "sample" draws visible units, "mean" sets them to their means (faster, less noise, biased).
        momentum: m, in [0, 1).
        weight_decay: Of the weights, not the biases: adds decay · W to the gradient.
        sparsity: Wanted mean of the hidden units; adds sparsity_cost · (mean ĥ over the batch - wanted) to the hidden
            biases' gradient. None leaves them alone.
        sparsity_cost: See there; at least 0.
        centred: Take the statistics about running means.
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
        reconstruction: Reconstruction = "sample",
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        sparsity: float | None = None,
        sparsity_cost: float = 1.0,
        centred: bool = False,
        generator: Generator | None = None,
    ) -> None:
        check_sweeps("ContrastiveDivergenceStep", sweeps, persistent, reconstruction)
        _check_units(rbm)
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
            chains_of(rbm, "ContrastiveDivergenceStep")
        self.model, self.sweeps, self.persistent, self.reconstruction = rbm, sweeps, persistent, reconstruction
        self.sparsity, self.sparsity_cost, self.centred, self.generator = sparsity, sparsity_cost, centred, generator
        self.optimizer = SGD(
            [
                {"params": [rbm.weight], "weight_decay": weight_decay},
                {"params": [rbm.visible_bias, rbm.hidden_bias], "weight_decay": 0.0},
            ],
            lr=rate,
            momentum=momentum,
        )
        self._offsets: tuple[Tensor, Tensor] | None = None
        self._buffers: dict[int, _Buffers] = {}

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Mapping[str, Tensor]:
        """Make one update.

        Returns:
            ``loss``, on the device.

        Raises:
            ConfigError: If the inputs do not fit the visible units.
        """
        inputs = batch.inputs.flatten(1)
        if inputs.shape[1] != self.model.n_visible:
            raise ConfigError(
                f"got {inputs.shape[1]} inputs for {self.model.n_visible} visible units",
                where="ContrastiveDivergenceStep",
            )
        at = self._buffers.get(len(inputs)) or self._new_buffers(len(inputs))
        weights = batch.weights
        # Sums over a buffer are taken right after it was filled, while it lies in the cache.
        at.v_data.copy_(inputs)
        mean_v = _mean(at.v_data, weights)
        self._means(at.v_data, at.a_data, at.h_data)
        mean_h = _mean(at.h_data, weights)
        loss = self._sample(at, weights)
        toward_b = mean_v - _mean(at.v_sample, None if self.persistent else weights)
        toward_c = mean_h - _mean(at.h_sample, None if self.persistent else weights)
        if loss is None:
            loss = self._free_energy_gap(at, weights)
        at.h_sample.mul_(-len(inputs) / len(at.h_sample))
        if weights is not None:
            at.h_data.mul_(weights[:, None])
            if not self.persistent:
                at.h_sample.mul_(weights[:, None])
        self._update(at, weights, _Means(mean_v, mean_h, toward_b, toward_c))
        return {"loss": loss}

    def _means(self, v: Tensor, a: Tensor, h: Tensor) -> None:
        """Fill in the hidden units' inputs and means."""
        torch.addmm(self.model.hidden_bias, v, self.model.weight.t(), out=a)
        torch.sigmoid(a, out=h)  # in place where the inputs are not wanted: a is h

    def _sample(self, at: _Buffers, weights: Tensor | None) -> Tensor | None:
        """Fill in the samples' half: k sweeps from the data or from the chains.

        Returns:
            How well the last means foretell the data; None with persistent chains.
        """
        rbm, chance, loss = self.model, at.h_data, None
        if self.persistent:
            at.v_sample.copy_(chains_of(rbm, "ContrastiveDivergenceStep"))
            self._means(at.v_sample, at.a_sample, at.h_sample)
            chance = at.h_sample
        for sweep in range(1, self.sweeps + 1):
            torch.lt(at.h_state.uniform_(generator=self.generator), chance, out=at.h_state)
            torch.addmm(rbm.visible_bias, at.h_state, rbm.weight, out=at.v_input)
            binary = isinstance(rbm.visible, Bernoulli)
            if binary:
                torch.sigmoid(at.v_input, out=at.v_mean)
            if sweep == self.sweeps and not self.persistent:
                loss = self._cross_entropy(at, weights) if binary else _half_squared(at, weights)
            if self.reconstruction == "mean":
                at.v_sample.copy_(at.v_mean if binary else at.v_input)
            elif binary:
                torch.lt(at.v_sample.uniform_(generator=self.generator), at.v_mean, out=at.v_sample)
            else:
                at.v_sample.normal_(generator=self.generator).add_(at.v_input)
            self._means(at.v_sample, at.a_sample, at.h_sample)
            chance = at.h_sample
        if self.persistent:
            chains_of(rbm, "ContrastiveDivergenceStep").copy_(at.v_sample)
        return loss

    def _cross_entropy(self, at: _Buffers, weights: Tensor | None) -> Tensor:
        """Return mean Σ_i log(1 + e^x_i) - v_i x_i, using the place of the samples that are still to be drawn.

        log(1 + e^x) = max(x, 0) - log max(σ(x), σ(-x)): the logarithm of a number in [½, 1], exact in both tails and
        far quicker than softplus.

        Returns:
            A scalar.
        """
        x, v, space = at.v_input, at.v_data, at.v_sample
        torch.sub(at.v_mean, 0.5, out=space).abs_().add_(0.5).log_()
        if weights is not None:
            return (weights @ (x.clamp_min(0.0) - v * x - space).sum(1)) / len(v)
        logs = space.sum()
        above = torch.clamp_min(x, 0.0, out=space).sum()
        return (above - torch.dot(v.view(-1), x.view(-1)) - logs) / len(v)

    def _free_energy_gap(self, at: _Buffers, weights: Tensor | None) -> Tensor:
        """Return mean F(v) - mean F(chains), as far as the biases and hidden inputs at hand tell it.

        Returns:
            A scalar.
        """
        rbm = self.model
        data, samples = rbm.hidden.log_partition(at.a_data), rbm.hidden.log_partition(at.a_sample)
        if isinstance(rbm.visible, Bernoulli):
            own_data, own_samples = -(at.v_data @ rbm.visible_bias), -(at.v_sample @ rbm.visible_bias)
        else:
            own_data = 0.5 * (at.v_data - rbm.visible_bias).square().sum(1)
            own_samples = 0.5 * (at.v_sample - rbm.visible_bias).square().sum(1)
        return weighted_mean(own_data - data, weights) - (own_samples - samples).mean()

    def _update(self, at: _Buffers, weights: Tensor | None, means: _Means) -> None:
        """Add the difference of the statistics, which lie in the buffers with their signs, to the parameters."""
        rbm, n, group = self.model, len(at.v_data), self.optimizer.param_groups[0]
        rate, momentum, decay = float(group["lr"]), float(group["momentum"]), float(group["weight_decay"])
        toward_b, toward_c = means.toward_b, means.toward_c
        if self.centred:
            mu, lam = self._follow(means.v, means.h)
            difference = torch.mm(at.h.t(), at.v).div_(n)
            # Σ ± (ĥ - λ)(v - μ)ᵀ; the term λ μᵀ is the same in both halves.
            difference.addr_(toward_c, mu, alpha=-1.0).addr_(lam, toward_b, alpha=-1.0)
            toward_b.addmv_(difference.t(), lam, alpha=-1.0)
            toward_c.addmv_(difference, mu, alpha=-1.0)
            self._move(rbm.weight, difference.sub_(rbm.weight, alpha=decay) if decay else difference, group)
        elif momentum:
            velocity = self._velocity(rbm.weight).addmm_(at.h.t(), at.v, beta=momentum, alpha=-1.0 / n)
            if decay:
                velocity.add_(rbm.weight, alpha=decay)
            rbm.weight.add_(velocity, alpha=-rate)
        else:
            rbm.weight.addmm_(at.h.t(), at.v, beta=1.0 - rate * decay, alpha=rate / n)
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

    def _new_buffers(self, n: int) -> _Buffers:
        if len(self._buffers) >= _KEPT:
            self._buffers.clear()
        m = len(chains_of(self.model, "ContrastiveDivergenceStep")) if self.persistent else n
        return self._buffers.setdefault(n, _Buffers.make(n, m, self.model.weight.detach(), self.persistent))

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


class _Buffers(NamedTuple):
    """Where a step of N examples and M samples works.

    Attributes:
        v: ``(N + M, n_visible)``: the data, then the samples.
        h: ``(N + M, n_hidden)``: the hidden means of both.
        v_data, v_sample, h_data, h_sample: Their halves.
        a_data, a_sample: Inputs of the hidden units, or the same memory as their means where nobody reads them.
        h_state: ``(M, n_hidden)``, what was drawn.
        v_input, v_mean: ``(M, n_visible)``, inputs and means of the visible units.
    """

    v: Tensor
    h: Tensor
    v_data: Tensor
    v_sample: Tensor
    h_data: Tensor
    h_sample: Tensor
    a_data: Tensor
    a_sample: Tensor
    h_state: Tensor
    v_input: Tensor
    v_mean: Tensor

    @classmethod
    def make(cls, n: int, m: int, like: Tensor, inputs: bool) -> _Buffers:
        """Return buffers of the weights' type and device."""
        n_hidden, n_visible = like.shape
        v, h = like.new_empty(n + m, n_visible), like.new_empty(n + m, n_hidden)
        a = torch.empty_like(h) if inputs else h
        state, space = like.new_empty(m, n_hidden), like.new_empty(2, m, n_visible)
        return cls(v, h, v[:n], v[n:], h[:n], h[n:], a[:n], a[n:], state, space[0], space[1])


def _mean(x: Tensor, weights: Tensor | None) -> Tensor:
    return x.mean(0) if weights is None else weights @ x / len(x)


def _half_squared(at: _Buffers, weights: Tensor | None) -> Tensor:
    return weighted_mean(0.5 * torch.sub(at.v_data, at.v_input, out=at.v_mean).square_().sum(1), weights)


def _check_units(rbm: RBM) -> None:
    learnt = rbm.visible_log_variance is not None
    if learnt or not isinstance(rbm.visible, (Bernoulli, Gaussian)) or not isinstance(rbm.hidden, Bernoulli):
        raise ConfigError(
            f"cannot train visible {rbm.visible} with hidden {rbm.hidden}: it takes Bernoulli or "
            "Gaussian(learn_variance=False) visible units and Bernoulli hidden ones",
            where="ContrastiveDivergenceStep",
            mend="use GradientStep with ContrastiveDivergence",
        )
