"""Learning of a deep Boltzmann machine: mean field for the data, persistent chains for the model."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, nn

from lamina.data.batch import Batch
from lamina.energy.deep_boltzmann import DeepBoltzmannMachine
from lamina.errors import ConfigError
from lamina.likelihoods.mean_nll import weighted_mean
from lamina.training.objective import Loss


@dataclass(frozen=True)
class MeanFieldLearning:
    """Mean of E(x, μ) over the data, μ the mean field, less that of E over persistent chains, both held fixed.

        ∂/∂θ mean[E(x, μ)] - ∂/∂θ mean[E(chains)]   →   the gradient of -mean bound, when the chains are draws of p

    The chains are the machine's own, ``DeepBoltzmannMachine(..., chains=100)``, and move by Gibbs sweeps before they
    are used. They keep up with a small rate only, which should fall; the value is no likelihood and need not fall.
    Through ``GradientStep`` with any optimiser.

    Attributes:
        mean_field_sweeps: Of coordinate ascent, at least 1.
        sweeps: Gibbs sweeps of the chains an update, at least 1.
        generator: Source of all draws. None is PyTorch's default generator, whose state ``fit`` keeps: a resumed run
            draws the same numbers, which it would not from one of yours.

    Raises:
        ConfigError: If a number is below 1.

    Reference: Salakhutdinov & Hinton, "Deep Boltzmann Machines", AISTATS 2009, section 3.1.
    """

    mean_field_sweeps: int = 10
    sweeps: int = 5
    generator: Generator | None = None

    def __post_init__(self) -> None:
        if min(self.mean_field_sweeps, self.sweeps) < 1:
            raise ConfigError(
                f"mean_field_sweeps and sweeps must be at least 1, got {self.mean_field_sweeps} and {self.sweeps}",
                where="MeanFieldLearning",
            )

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        """Return the energies' difference, and move the chains on.

        Returns:
            The total and its parts ``data`` and ``samples``, mean energies in nats.

        Raises:
            ConfigError: If the model is no deep Boltzmann machine, or keeps no chains.
        """
        if not isinstance(model, DeepBoltzmannMachine):
            raise ConfigError(f"trains a DeepBoltzmannMachine, got a {type(model).__name__}", where="MeanFieldLearning")
        if model.chains is None:
            raise ConfigError(
                "the machine keeps no chains",
                where="MeanFieldLearning",
                mend="make it with DeepBoltzmannMachine(..., chains=100)",
            )
        x = batch.inputs.flatten(1)
        data = weighted_mean(model.energy([x, *model.mean_field(x, self.mean_field_sweeps)]), batch.weights)
        moved = model.gibbs(model.split(model.chains), self.sweeps, self.generator)
        for place, units in zip(model.split(model.chains), moved, strict=True):
            place.copy_(units)
        samples = model.energy(moved).mean()
        return Loss(data - samples, {"data": data.detach(), "samples": samples.detach()})
