"""Where the contrastive-divergence step works, and what it does to visible units of each type."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from lamina.energy.binary_draws import BinaryDraws
from lamina.energy.contrastive_divergence import Reconstruction
from lamina.energy.rbm import RBM
from lamina.energy.units import Bernoulli, Gaussian
from lamina.likelihoods.mean_nll import weighted_mean

_MULTIPLIED = 100  # rows; ½ to this power is a normal number in single precision


class Buffers(NamedTuple):
    """Where a step of N examples and M samples works.

    Attributes:
        v: ``(N + M, n_visible)``: the data, then the samples; v / σ² where variances are learnt.
        h: ``(N + M, n_hidden)``: the hidden means of both.
        v_data, v_sample, h_data, h_sample: Their halves.
        a_data, a_sample: Inputs of the hidden units, or the same memory as their means where nobody reads them.
        h_state: ``(M, n_hidden)``, what was drawn.
        v_input: ``(M, n_visible)``, inputs of the visible units.
        v_mean: Their means, in the place of ``v_sample``, which are drawn last.
        signs: ``(N + M,)``, 1/N and -1/M.
        v_t, h_t: v and h transposed.
        one, share: 1 and 1/N; numbers of Python would be made tensors anew at every use.
        draw_h, draw_v: Fill in ``h_state`` and the samples.
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
    signs: Tensor
    v_t: Tensor
    h_t: Tensor
    one: Tensor
    share: Tensor
    draw_h: BinaryDraws
    draw_v: BinaryDraws

    @classmethod
    def make(cls, n: int, m: int, like: Tensor, inputs: bool) -> Buffers:
        """Return buffers of the weights' type and device."""
        n_hidden, n_visible = like.shape
        v, h = like.new_empty(n + m, n_visible), like.new_empty(n + m, n_hidden)
        a = torch.empty_like(h) if inputs else h
        state, v_input = like.new_empty(m, n_hidden), like.new_empty(m, n_visible)
        signs = torch.cat([like.new_full((n,), 1.0 / n), like.new_full((m,), -1.0 / m)])
        halves = v[:n], v[n:], h[:n], h[n:], a[:n], a[n:]
        draws = BinaryDraws(state), BinaryDraws(v_input)
        return cls(v, h, *halves, state, v_input, v[n:], signs, v.t(), h.t(), like.new_ones(()), signs[0], *draws)


class VisibleSide:
    """The visible units of a machine, in buffers: Bernoulli and Gaussian ones without memory of their own.

    Args:
        rbm: The machine.
    """

    def __init__(self, rbm: RBM) -> None:
        self.rbm = rbm
        self.binary = isinstance(rbm.visible, Bernoulli)
        self.gaussian = isinstance(rbm.visible, Gaussian)

    def scale_(self, v: Tensor) -> Tensor:
        """Return v / σ², in place: what the hidden units see and the statistics are of."""
        s = self.rbm.visible_log_variance
        return v if s is None else v.mul_(torch.exp(-s))

    def unscaled(self, u: Tensor) -> Tensor:
        """Return v of v / σ²."""
        s = self.rbm.visible_log_variance
        return u if s is None else u * torch.exp(s)

    def means(self, at: Buffers) -> None:
        """Fill in the means, in the place of the inputs where they are the same."""
        if self.binary:
            torch.sigmoid(at.v_input, out=at.v_mean)
        elif not self.gaussian:
            at.v_mean.copy_(self.rbm.visible.mean(at.v_input))

    def draw(self, at: Buffers, reconstruction: Reconstruction, generator: Generator | None) -> None:
        """Fill in the samples: drawn, or set to their means."""
        if reconstruction == "mean":
            if self.gaussian:
                at.v_sample.copy_(at.v_input)  # else the means lie there
        elif self.binary:
            at.draw_v(at.v_mean, generator, at.v_sample, at.v_input)
        elif self.gaussian:
            at.v_sample.normal_(generator=generator)
            s = self.rbm.visible_log_variance
            if s is not None:
                at.v_sample.mul_(torch.exp(0.5 * s))
            at.v_sample.add_(at.v_input)
        else:
            at.v_sample.copy_(self.rbm.visible.sample(at.v_input, generator))

    def foretold(self, at: Buffers, weights: Tensor | None) -> Tensor:
        """Return how badly the inputs foretell the data, -mean log p(v | h) but for a constant of Gaussian units.

        Returns:
            A scalar.
        """
        if self.binary:
            return self._cross_entropy(at, weights)
        units, s = self.rbm.visible, self.rbm.visible_log_variance
        if self.gaussian and s is None:
            away = torch.sub(at.v_data, at.v_input, out=at.v_mean).square_().sum(1)
            return weighted_mean(0.5 * away, weights)
        if s is not None:
            away = self._squares(self.unscaled(at.v_data) - at.v_input)
            return weighted_mean(away.sum(1) + 0.5 * s.sum(), weights)
        v, theta = at.v_data, at.v_input
        return weighted_mean(units.log_partition(theta) - units.log_base(v) - (v * theta).sum(1), weights)

    def _cross_entropy(self, at: Buffers, weights: Tensor | None) -> Tensor:
        """Return mean Σ_i log(1 + e^x_i) - v_i x_i; the inputs x are used up.

        log(1 + e^x) = max(x, 0) - log max(σ(x), σ(-x)): exact in both tails and far quicker than softplus. Of the
        maxima, numbers in [½, 1], those of a hundred rows are multiplied before the logarithm is taken.

        Returns:
            A scalar.
        """
        x, v, p = at.v_input, at.v_data, at.v_mean
        if weights is not None:
            logs = torch.maximum(p, 1.0 - p).log_()
            return (weights @ (x.clamp_min(0.0) - v * x - logs).sum(1)) / len(v)
        foretold = torch.dot(v.view(-1), x.view(-1))
        above = x.clamp_min_(0.0).sum()
        likelier = torch.maximum(torch.sub(at.one, p, out=x), p, out=x)
        for rows in (likelier,) if len(v) <= _MULTIPLIED else torch.split(likelier, _MULTIPLIED):
            above.sub_(rows.prod(0).log_().sum())
        return above.sub_(foretold).mul_(at.share)

    def half_squares(self, u: Tensor) -> Tensor:
        """Return ½ (v - b)² / σ² of v / σ², ``(N, n_visible)``."""
        return self._squares(self.unscaled(u) - self.rbm.visible_bias)

    def _squares(self, away: Tensor) -> Tensor:
        s = self.rbm.visible_log_variance
        assert s is not None
        return away.square() * (0.5 * torch.exp(-s))
