"""Contrastive divergence: the gradient of a free-energy difference between data and samples near them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, nn

from lamina.data.batch import Batch
from lamina.energy.binary_draws import draw_binary
from lamina.energy.rbm import RBM
from lamina.energy.tempering import check_temperatures, parallel_tempering, rows_a_rung
from lamina.energy.units import Bernoulli
from lamina.errors import ConfigError
from lamina.likelihoods.mean_nll import weighted_mean
from lamina.training.objective import Loss

Reconstruction = Literal["sample", "mean"]
RECONSTRUCTIONS = ("sample", "mean")


@dataclass(frozen=True)
class ContrastiveDivergence:
    """Mean of F(v) - F(v_k), v_k being k Gibbs sweeps from v and held fixed: its gradient is CD-k's.

        ∂/∂θ mean[F(v)] - ∂/∂θ mean[F(v_k)]   →   the gradient of -mean log p(v) as k grows

    The value is no likelihood and need not fall; follow the pseudo-likelihood, or the exact or estimated likelihood.
    Persistent contrastive divergence goes on with the machine's own chains instead of starting from the data: less
    biased, and it sees modes far from the data, but it needs a small learning rate, so that the chains keep up. With
    ``temperatures`` the chains are tempered (``parallel_tempering``) and so leave modes in which Gibbs sweeps get stuck
    late in training; a step costs as many times more as there are temperatures.

    Any pair of unit types; through ``GradientStep`` with any optimiser. ``ContrastiveDivergenceStep`` is the same for
    Bernoulli hidden units, and takes some three fifths of the time.

    Attributes:
        sweeps: k, at least 1.
        persistent: Go on with ``model.chains``; the machine is made with ``RBM(..., chains=100)``.
        reconstruction: "sample" draws the visible units in every sweep, "mean" sets them to their means; hidden units
            are always drawn, and their means enter the gradient.
        generator: Source of the samples. None is PyTorch's default generator, whose state ``fit`` keeps: a resumed run
            draws the same numbers, which it would not from one of yours.
        temperatures: Inverse temperatures 1 = β_1 > … > β_R ≥ 0 of persistent chains, which are then R blocks of equal
            size, ``RBM(..., chains=R * 100)``, the first of which is used; none by default.
        draw_data: Draw Bernoulli visible units with the inputs as their probabilities, anew in every pass. False takes
            the inputs for values, which have less variance than the machine's samples by p (1 - p) a unit: of no
            moment where they are nearly 0 or 1, but with grey inputs the weights are drawn to 0.

    Raises:
        ConfigError: If k is below 1, the reconstruction unknown, means are asked of persistent chains, or temperatures
            do not fall from 1 or are asked of chains that are not persistent; when called, if the model is no RBM,
            lacks the chains, or data are to be drawn for visible units that are not Bernoulli.

    Reference: Hinton, "Training Products of Experts by Minimizing Contrastive Divergence", Neural Computation 14(8),
    2002; Tieleman, "Training Restricted Boltzmann Machines using Approximations to the Likelihood Gradient", ICML 2008;
    Desjardins et al., "Parallel Tempering for Training of Restricted Boltzmann Machines", AISTATS 2010.
    """

    sweeps: int = 1
    persistent: bool = False
    reconstruction: Reconstruction = "sample"
    generator: Generator | None = None
    temperatures: tuple[float, ...] = ()
    draw_data: bool = False

    def __post_init__(self) -> None:
        check_sweeps("ContrastiveDivergence", self.sweeps, self.persistent, self.reconstruction, self.temperatures)

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        """Return the free-energy difference, and move the chains on if they are persistent.

        Returns:
            The total and its parts ``data`` and ``samples``, mean free energies in nats.

        Raises:
            ConfigError: If the model is no RBM, lacks the chains, or has no data to draw.
        """
        if not isinstance(model, RBM):
            raise ConfigError(f"trains an RBM, got a {type(model).__name__}", where="ContrastiveDivergence")
        start = batch.inputs.flatten(1)
        if self.draw_data:
            check_drawn("ContrastiveDivergence", model)
            start = draw_binary(start, self.generator)
        data = weighted_mean(model.free_energy(start), batch.weights)
        if self.persistent:
            samples = move_chains(model, "ContrastiveDivergence", self.sweeps, self.temperatures, self.generator)
            negative = model.free_energy(samples).mean()
        else:
            samples = model.gibbs(start, self.sweeps, self.generator, reconstruction=self.reconstruction)
            negative = weighted_mean(model.free_energy(samples), batch.weights)
        return Loss(data - negative, {"data": data.detach(), "samples": negative.detach()})


def check_sweeps(
    owner: str, sweeps: int, persistent: bool, reconstruction: str, temperatures: Sequence[float] = ()
) -> None:
    """Refuse options of contrastive divergence that have no meaning.

    Raises:
        ConfigError: For the first such.
    """
    if sweeps < 1:
        raise ConfigError(f"sweeps must be at least 1, got {sweeps}", where=owner)
    if reconstruction not in RECONSTRUCTIONS:
        raise ConfigError(
            f"reconstruction must be one of {', '.join(RECONSTRUCTIONS)}, got {reconstruction!r}", where=owner
        )
    if persistent and reconstruction == "mean":
        raise ConfigError(
            "persistent chains of means are no chains of the machine", where=owner, mend='use reconstruction="sample"'
        )
    if temperatures:
        check_temperatures(owner, temperatures)
        if not persistent:
            raise ConfigError("only persistent chains have temperatures", where=owner, mend="use persistent=True")


def check_drawn(owner: str, model: RBM) -> None:
    """Refuse to draw data for units that are not binary.

    Raises:
        ConfigError: Then.
    """
    if not isinstance(model.visible, Bernoulli):
        raise ConfigError(
            f"draw_data is for Bernoulli visible units, these are {type(model.visible).__name__}",
            where=owner,
            mend="use draw_data=False",
        )


def move_chains(
    model: RBM, owner: str, sweeps: int, temperatures: Sequence[float], generator: Generator | None
) -> torch.Tensor:
    """Move the machine's persistent chains on, tempered or not.

    Returns:
        ``(M, n_visible)``, draws of the machine.

    Raises:
        ConfigError: If it has none, or they are not whole rungs.
    """  # noqa: DOC502
    chains = chains_of(model, owner)
    if temperatures:
        rows = rows_a_rung(owner, len(chains), len(temperatures))
        chains.copy_(parallel_tempering(model, chains, temperatures, sweeps, generator).v)
        return chains[:rows].clone()
    moved = model.gibbs(chains, sweeps, generator)
    chains.copy_(moved)
    return moved


def chains_of(model: RBM, owner: str) -> torch.Tensor:
    """Return the machine's persistent chains.

    Returns:
        ``(chains, n_visible)``, the buffer itself.

    Raises:
        ConfigError: If it has none.
    """
    if model.chains is None:
        raise ConfigError("the machine keeps no chains", where=owner, mend="make it with RBM(..., chains=100)")
    return model.chains
