"""Up-down (contrastive wake-sleep) fine-tuning of a deep belief network."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, nn

from lamina.data.batch import Batch
from lamina.energy.deep_belief import DeepBeliefNetwork
from lamina.errors import ConfigError
from lamina.likelihoods.mean_nll import weighted_mean
from lamina.training.objective import Loss


@dataclass(frozen=True)
class UpDown:
    """The up-down algorithm as an objective: wake below, contrastive divergence on top, and a short sleep.

        up:    h¹ … hᴸ⁻¹ ~ q(· | x)                   generative weights down  -∂ Σ_k log p(hᵏ⁻¹ | hᵏ)
        top:   h̃ᴸ⁻¹, k Gibbs sweeps from hᴸ⁻¹         top down                 ∂ F(hᴸ⁻¹) - ∂ F(h̃ᴸ⁻¹)
        down:  h̃ᴸ⁻² … x̃ ~ p(· | h̃ᴸ⁻¹)                recognition weights down -∂ Σ_k log q(h̃ᵏ | h̃ᵏ⁻¹)

    The three terms share no parameters, and what was drawn is held fixed. Recognition weights, tied to the generative
    ones by the greedy training, go their own way. The dream starts near the data instead of from the top's own
    distribution ("contrastive"): no chain has to mix, and recognition learns where it is needed. Through
    ``GradientStep`` with any optimiser; small rates, for each term sees noise of the others.

    The value is no likelihood. ``exact_bound`` or ``log_weights`` tell how it goes.

    Attributes:
        sweeps: k, at least 1; the paper raised it from 3 to 10.
        generator: Source of all draws. None is PyTorch's default generator, whose state ``fit`` keeps: a resumed run
            draws the same numbers, which it would not from one of yours.

    Raises:
        ConfigError: If k is below 1.

    Reference: Hinton, Osindero & Teh, "A Fast Learning Algorithm for Deep Belief Nets", Neural Computation 18, 2006,
    section 5 and appendix B.
    """

    sweeps: int = 3
    generator: Generator | None = None

    def __post_init__(self) -> None:
        if self.sweeps < 1:
            raise ConfigError(f"sweeps must be at least 1, got {self.sweeps}", where="UpDown")

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        """Return the three terms' sum.

        Returns:
            The total and its parts ``wake``, ``top`` and ``sleep``, in nats.

        Raises:
            ConfigError: If the model is no deep belief network, or has labels and the batch none.
        """
        if not isinstance(model, DeepBeliefNetwork):
            raise ConfigError(f"trains a DeepBeliefNetwork, got a {type(model).__name__}", where="UpDown")
        if model.n_classes and batch.targets is None:
            raise ConfigError("the network has labels, and the batch has none", where="UpDown")
        layers, top, weights = model.layers, model.top, batch.weights
        units = layers.infer(batch.inputs.flatten(1), self.generator)
        wake = -weighted_mean(layers.log_p(units), weights)
        data = model.joined(units[-1], batch.targets if model.n_classes else None)
        samples = top.gibbs(data, self.sweeps, self.generator)
        gap = weighted_mean(top.free_energy(data), weights) - weighted_mean(top.free_energy(samples), weights)
        dream = layers.generate(model.without_label(samples), self.generator)
        sleep = -weighted_mean(layers.log_q(dream), weights)
        parts = {"wake": wake.detach(), "top": gap.detach(), "sleep": sleep.detach()}
        return Loss(wake + gap + sleep, parts)
