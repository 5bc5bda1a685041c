"""The deep belief network: a restricted Boltzmann machine on top, directed sigmoid layers below it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import one_hot

from lamina.energy.directed import DirectedLayers
from lamina.energy.joined_units import Joined
from lamina.energy.rbm import RBM
from lamina.energy.units import Bernoulli, Gaussian, Softmax, Units
from lamina.energy.variational import VariationalBound, enumerated_bound, enumerated_log_sum, sampled_log_weights
from lamina.errors import ConfigError
from lamina.nn.mlp import MLP


class DeepBeliefNetwork(nn.Module):
    """p(x, h¹ … hᴸ) = p(hᴸ⁻¹, hᴸ) p(hᴸ⁻² | hᴸ⁻¹) … p(x | h¹): a generative model, not a feed-forward network.

        p(hᴸ⁻¹, hᴸ) = e^-E / Z      ``top``, an RBM whose visible units are hᴸ⁻¹ (and the label's, joined to them)
        P(hᵏ⁻¹_j = 1 | hᵏ) = σ(b + G hᵏ)_j      ``layers.generative``, for k < L
        q(hᵏ_j = 1 | hᵏ⁻¹) = σ(c + R hᵏ⁻¹)_j    ``layers.recognition``, a guess at the posterior
        log p(x) ≥ E_q[log p(x, h¹ … hᴸ⁻¹) - log q(h¹ … hᴸ⁻¹ | x)],   the gap being KL(q, p(h | x))

    hᴸ is summed out: log p(hᴸ⁻¹) = -F(hᴸ⁻¹) - log Z. With labels the top's visible side is [hᴸ⁻¹, y], y one of C; as a
    model of x alone y is summed out too. ``pretrain_deep_belief`` trains it layer by layer, ``UpDown`` all together,
    ``to_classifier`` makes it the start of an ordinary network. Called, it returns the means of hᴸ.

    Not to classify with, apart from as a start: today's networks with rectified units and normalisation need no
    pre-training where there are labels. Not for likelihoods of pictures to report: newer families are better.

    Args:
        sizes: Units of x, h¹, …, hᴸ, from below; two sizes give an RBM.
        n_classes: C, of labels joined to the top's visible side; 0 for none.
        visible: Type of x; Gaussian units have variance 1. Hidden units are Bernoulli.
        std: Standard deviation of the weights at the start; biases start at 0.
        generator: Source of the weights; None is PyTorch's default generator.

    Raises:
        ConfigError: If there is no hidden layer, a number is out of range, or the variances of x are to be learnt.

    Reference: Hinton, Osindero & Teh, "A Fast Learning Algorithm for Deep Belief Nets", Neural Computation 18, 2006;
    Salakhutdinov & Murray, "On the Quantitative Analysis of Deep Belief Networks", ICML 2008, section 5.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        n_classes: int = 0,
        visible: Units = Bernoulli(),  # noqa: B008  frozen
        *,
        std: float = 0.01,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        if len(sizes) < 2:
            raise ConfigError(f"needs at least one hidden layer, got sizes {tuple(sizes)}", where="DeepBeliefNetwork")
        if n_classes < 0 or n_classes == 1:
            raise ConfigError(f"n_classes must be 0 for none or at least 2, got {n_classes}", where="DeepBeliefNetwork")
        if isinstance(visible, Gaussian) and visible.learn_variance:
            raise ConfigError(
                "the directed layers have Gaussian units of variance 1",
                where="DeepBeliefNetwork",
                mend="standardise the data and use visible=Gaussian(learn_variance=False)",
            )
        self.sizes, self.n_classes = tuple(sizes), n_classes
        self.layers = DirectedLayers(sizes[:-1], visible, std=std, generator=generator)
        below = visible if len(sizes) == 2 else Bernoulli()
        units = Joined(((below, sizes[-2]), (Softmax(n_classes), n_classes))) if n_classes else below
        self.top = RBM(sizes[-2] + n_classes, sizes[-1], units, std=std, generator=generator)

    @classmethod
    def from_machines(cls, machines: Sequence[RBM], n_classes: int = 0) -> DeepBeliefNetwork:
        """Stack trained machines: the last is the top, of the others W and the biases become both directions' layers.

        Args:
            machines: From below; the hidden units of each are the visible ones of the next.
            n_classes: How many of the last machine's visible units, its last ones, are the label's.

        Returns:
            A network with copies of their parameters, on their device.

        Raises:
            ConfigError: If they do not fit together.
        """
        if not machines:
            raise ConfigError("needs at least one machine", where="DeepBeliefNetwork.from_machines")
        *lower, top = machines
        sizes = [*(rbm.n_visible for rbm in lower), top.n_visible - n_classes, top.n_hidden]
        fits = all(rbm.n_hidden == n for rbm, n in zip(lower, sizes[1:], strict=False))
        # A network of one machine has that one's visible units, less the label's.
        first = machines[0].visible
        visible = first.parts[0][0] if isinstance(first, Joined) else first
        network = cls(sizes, n_classes, visible, std=0.0).to(top.weight)
        binary = all(isinstance(rbm.hidden, Bernoulli) for rbm in machines)
        if not (fits and binary and top.visible == network.top.visible):
            raise ConfigError(
                "machines must have Bernoulli hidden units and each as many as the next one has visible units, "
                f"got {', '.join(f'{rbm.n_visible}-{rbm.n_hidden}' for rbm in machines)}",
                where="DeepBeliefNetwork.from_machines",
            )
        for k, rbm in enumerate(lower):
            network.set_layer(k + 1, rbm)
        with torch.no_grad():
            for ours, theirs in zip(network.top.parameters(), top.parameters(), strict=True):
                ours.copy_(theirs)
        return network

    @property
    def depth(self) -> int:
        """L, hidden layers."""
        return len(self.sizes) - 1

    @torch.no_grad()
    def set_layer(self, k: int, rbm: RBM) -> None:
        """Give both directions of the k-th layer, 1 ≤ k < L, a machine's weights and biases."""
        down, up = self.layers.down[k - 1], self.layers.up[k - 1]
        down.weight.copy_(rbm.weight.t())
        down.bias.copy_(rbm.visible_bias)
        up.weight.copy_(rbm.weight)
        up.bias.copy_(rbm.hidden_bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the means of hᴸ, each layer given the means below and no label, ``(N, n_L)``."""
        weight = self.top.weight[:, : self.sizes[-2]]
        return torch.sigmoid(torch.addmm(self.top.hidden_bias, self.layers.means(x)[-1], weight.t()))

    def log_joint(self, units: Sequence[Tensor], log_z: Tensor | float) -> Tensor:
        """Return log p(x, h¹ … hᴸ⁻¹) in nats, hᴸ and the label summed out.

        Args:
            units: x, h¹, …, hᴸ⁻¹, rows that belong together; leading axes broadcast.
            log_z: Of ``top``, exact (``top.log_partition``) or estimated (``annealed_importance``).

        Returns:
            ``(...)``.
        """
        return self.layers.log_p(units) - self.top_free_energy(units[-1]) - log_z

    def top_free_energy(self, h: Tensor) -> Tensor:
        """Return -log Σ_y Σ_hᴸ e^-E([hᴸ⁻¹, y], hᴸ), the label summed out where there is one, ``(...)``."""
        rows = h.reshape(-1, h.shape[-1])
        energy = -self._label_scores(rows).logsumexp(1) if self.n_classes else self.top.free_energy(rows)
        return energy.view(h.shape[:-1])

    def _label_scores(self, h: Tensor) -> Tensor:
        """Return -F([h, y]) for each label y, ``(N, C)``."""
        labels = torch.eye(self.n_classes, dtype=h.dtype, device=h.device)
        return torch.stack([-self.top.free_energy(torch.cat([h, y.expand(len(h), -1)], 1)) for y in labels], 1)

    def label_log_prob(self, x: Tensor) -> Tensor:
        """Return log p(y | hᴸ⁻¹) for each label, hᴸ⁻¹ being the means that the recognition weights give.

        Args:
            x: ``(N, n_0)``.

        Returns:
            ``(N, C)``, in nats.

        Raises:
            ConfigError: If the network has no labels.
        """
        if not self.n_classes:
            raise ConfigError(
                "the network has no labels", where="DeepBeliefNetwork.label_log_prob", mend="make it with n_classes=C"
            )
        return self._label_scores(self.layers.means(x)[-1]).log_softmax(1)

    def log_likelihood(self, x: Tensor, log_z: Tensor | float) -> Tensor:
        """Return log p(x) in nats by enumerating h¹ … hᴸ⁻¹, at most 25 units in all, ``(N,)``."""
        if self.depth == 1:
            return self.log_joint([x], log_z)
        return enumerated_log_sum(
            lambda h: self.log_joint(self._with(x, h), log_z), self.layers.n_hidden, x, sum(self.sizes)
        )

    def exact_bound(self, x: Tensor, log_z: Tensor | float) -> VariationalBound:
        """Return log p(x), its bound by the recognition weights and their gap, by enumerating h¹ … hᴸ⁻¹.

        Args:
            x: ``(N, n_0)``.
            log_z: Of ``top``.

        Returns:
            A number an example, in nats.
        """
        if self.depth == 1:
            return VariationalBound(self.log_joint([x], log_z), self.log_joint([x], log_z))
        return enumerated_bound(
            lambda h: self.log_joint(self._with(x, h), log_z),
            lambda h: self.layers.log_q(self._with(x, h)),
            self.layers.n_hidden,
            x,
            sum(self.sizes),
        )

    def log_weights(
        self, x: Tensor, log_z: Tensor | float, samples: int = 100, generator: Generator | None = None
    ) -> Tensor:
        """Return log p(x, h) - log q(h | x) of states drawn from q.

            mean over samples   →   the bound, without bias
            log mean exp        →   between the bound and log p(x) on average, nearer to the latter with more samples

        With an estimated log Z the error of that comes on top: Ẑ is too small on average, and so both are too large.

        Args:
            x: ``(N, n_0)``.
            log_z: Of ``top``.
            samples: Draws an example.
            generator: Their source; None is PyTorch's default generator.

        Returns:
            ``(samples, N)``, in nats.
        """

        def weigh(rows: Tensor) -> Tensor:
            units = self.layers.infer(rows, generator)
            return self.log_joint(units, log_z) - self.layers.log_q(units)

        return sampled_log_weights(weigh, x, samples, sum(self.sizes))

    @torch.no_grad()
    def sample(
        self,
        n: int,
        sweeps: int = 1000,
        generator: Generator | None = None,
        *,
        labels: Tensor | None = None,
        start: Tensor | None = None,
    ) -> list[Tensor]:
        """Draw states: Gibbs sweeps of the top machine, then one pass down.

        Args:
            n: How many.
            sweeps: Of the top; the draws are those of the network as far as its chains have come.
            generator: Source of all draws; None is PyTorch's default generator.
            labels: ``(n,)`` class codes to clamp the label to in every sweep: then they are draws given the label.
            start: ``(n, top.n_visible)``, where the chains start; without, at random.

        Returns:
            x, h¹, …, hᴸ⁻¹, each ``(n, units)``; the means of x are ``layers.down[0].mean`` of h¹.

        Raises:
            ConfigError: If labels are given and the network has none.
        """  # noqa: DOC502
        v = start
        if v is None:
            v = self.top.visible.sample(torch.zeros_like(self.top.visible_bias).expand(n, -1), generator)
        if labels is None:
            v = self.top.gibbs(v, sweeps, generator)
        else:
            for _ in range(sweeps):
                v = self.top.gibbs(self.joined(self.without_label(v), labels), 1, generator)
        return self.layers.generate(self.without_label(v), generator)

    def joined(self, h: Tensor, labels: Tensor | None) -> Tensor:
        """Return the top's visible units: h, and where there are classes the label's units beside it.

        Args:
            h: ``(N, n_{L-1})``.
            labels: ``(N,)`` class codes; where there are classes and no labels the label's units are 0, as if the
                machine lacked them.

        Returns:
            ``(N, top.n_visible)``.

        Raises:
            ConfigError: If labels are given and the network has none.
        """
        if not self.n_classes:
            if labels is not None:
                raise ConfigError(
                    "the network has no labels", where="DeepBeliefNetwork", mend="make it with n_classes=C"
                )
            return h
        none = h.new_zeros(len(h), self.n_classes)
        return torch.cat([h, none if labels is None else one_hot(labels.long(), self.n_classes).to(h)], 1)

    def without_label(self, v: Tensor) -> Tensor:
        """Return hᴸ⁻¹ of the top's visible units, ``(N, n_{L-1})``."""
        return v[..., : self.sizes[-2]]

    @torch.no_grad()
    def to_classifier(self, n_outputs: int, generator: Generator | None = None) -> nn.Sequential:
        """Unroll the recognition weights and the top into a network with a new output layer, to be trained with labels.

        Args:
            n_outputs: Outputs that a likelihood reads.
            generator: Source of the output layer's weights; None is PyTorch's default generator.

        Returns:
            ``lamina.nn.MLP`` of sigmoid units: ``linear1``, ``sigmoid1``, …, ``output``, on this network's device. The
            hidden units get no input from a label.
        """
        network = MLP(self.sizes[0], n_outputs, self.sizes[1:], "sigmoid", generator=generator)
        starts = [(up.weight, up.bias) for up in self.layers.up]
        starts.append((self.top.weight[:, : self.sizes[-2]], self.top.hidden_bias))
        for k, (weight, bias) in enumerate(starts, start=1):
            linear = network.get_submodule(f"linear{k}")
            assert isinstance(linear, nn.Linear)
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
        return network.to(self.top.weight)

    def extra_repr(self) -> str:
        """Return what is printed between the brackets."""
        return f"{'-'.join(map(str, self.sizes))}, n_classes={self.n_classes}"

    def _with(self, x: Tensor, hidden: Tensor) -> list[Tensor]:
        return [x[:, None], *(h[None] for h in self.layers.split(hidden))]


def tied_machine(below: RBM) -> RBM:
    """Return a machine to stand on another one, W² = W¹ᵀ with the biases crossed, so that nothing changes at first.

    A deep belief network of the two has the same p(x) as the one below alone, and its bound is tight. So each step up
    the bound from there is one up a lower bound on the likelihood.

    Args:
        below: A trained machine.

    Returns:
        The new one: its visible units are the hidden ones below, its hidden units copies of the visible ones below.

    Raises:
        ConfigError: If the types of the units cannot change sides.

    Reference: Hinton, Osindero & Teh, 2006, section 4 and appendix A.
    """
    if below.visible_log_variance is not None:
        raise ConfigError("learnt variances belong to the visible side", where="tied_machine")
    above = RBM(below.n_hidden, below.n_visible, below.hidden, below.visible, std=0.0).to(below.weight)
    with torch.no_grad():
        above.weight.copy_(below.weight.t())
        above.visible_bias.copy_(below.hidden_bias)
        above.hidden_bias.copy_(below.visible_bias)
    return above


def alternates(sizes: Sequence[int], first: int = 2) -> bool:
    """Return whether each layer from the ``first``-th on is as wide as the one two below, so that it can be tied."""
    return all(sizes[k] == sizes[k - 2] for k in range(first, len(sizes)))
