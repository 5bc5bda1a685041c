"""The energy-based sparse coder: a code is inferred, and encoder and decoder are drawn to it in turn."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from lamina.autoencoders.autoencoder import Autoencoder
from lamina.autoencoders.sparsifying_logistic import SparsifyingLogistic
from lamina.data.batch import Batch
from lamina.errors import ConfigError
from lamina.likelihoods.gaussian import Gaussian
from lamina.likelihoods.mean_nll import weighted_mean
from lamina.nn._checks import at_least
from lamina.nn.linear import linear
from lamina.training.objective import Loss


class SparseCoder(Autoencoder):
    """An autoencoder whose code z is a variable of its own, tied to both sides by energies.

        E(x, z) = ½ ‖z - (W x + c)‖² + ½ ‖x - (V z̄ + b)‖²,   z̄ = sparsifying logistic of z

    ``encode`` gives the quick code W x + c, ``infer`` one of lower energy; ``features`` the sparse z̄ of the quick one.

    Args:
        n_inputs: Numbers of x.
        n_code: Units of z.
        eta: About the mean of z̄, in (0, 1).
        beta: Gain of the logistic.
        generator: Source of the weights; None is PyTorch's default generator.

    Raises:
        ConfigError: If an argument is out of range.

    Reference: Ranzato, Poultney, Chopra & LeCun, "Efficient Learning of Sparse Representations with an Energy-Based
    Model", NIPS 2006, section 2.
    """

    def __init__(
        self,
        n_inputs: int,
        n_code: int,
        *,
        eta: float = 0.02,
        beta: float = 1.0,
        generator: Generator | None = None,
    ) -> None:
        at_least(1, owner="SparseCoder", n_inputs=n_inputs, n_code=n_code)
        logistic = SparsifyingLogistic(n_code, eta, beta)
        decoder = OrderedDict(logistic=logistic, linear=linear(n_code, n_inputs, "glorot", generator))
        super().__init__(
            linear(n_inputs, n_code, "glorot", generator), nn.Sequential(decoder), Gaussian(n_inputs, scale=1.0)
        )

    @property
    def logistic(self) -> SparsifyingLogistic:
        """The unit between code and decoder."""
        logistic = self.decoder.get_submodule("logistic")
        assert isinstance(logistic, SparsifyingLogistic)
        return logistic

    def features(self, x: Float[Tensor, "N D"]) -> Float[Tensor, "N units"]:
        """Return z̄ of the encoder's code."""
        features: Tensor = self.logistic(self.encode(x))
        return features

    def energy(self, x: Float[Tensor, "N D"], z: Float[Tensor, "N units"]) -> Float[Tensor, " N"]:
        """Return E(x, z) of each example."""
        return 0.5 * ((z - self.encode(x)).square().sum(1) + (x - self.decode(z)).square().sum(1))

    def infer(self, x: Float[Tensor, "N D"], iterations: int = 20, rate: float = 0.1) -> Float[Tensor, "N units"]:
        """Return codes of lower energy than the encoder's, by gradient descent from these; ζ stands still.

        An example's step that would raise its energy is not made, and its rate halved; else its rate grows by a tenth.

        Args:
            x: Examples.
            iterations: Steps; 0 gives the encoder's codes.
            rate: Rate of the first step.
        """
        with torch.no_grad():
            z = self.encode(x)
            energy = self.energy(x, z)
        rates = z.new_full((len(z), 1), rate)
        for _ in range(iterations):
            with torch.enable_grad():
                at = z.detach().requires_grad_()
                (slope,) = torch.autograd.grad(self.energy(x, at).sum(), at)
            with torch.no_grad():
                trial = z - rates * slope
                there = self.energy(x, trial)
                lower = there < energy
                z, energy = torch.where(lower[:, None], trial, z), torch.where(lower, there, energy)
                rates = rates * torch.where(lower[:, None], 1.1, 0.5)
        return z


@dataclass(frozen=True)
class SparseCoding:
    """The coder's energy at inferred codes: an objective whose gradient leaves the codes fixed.

        z* = argmin_z E(x, z)  (some steps from the encoder's code),   L = (1/N) Σ_n w_n E(x_n, z*_n)

    A step of it is the reference's alternation: codes to the weights, then weights to the codes. The encoder learns to
    foretell the inferred codes, the decoder to rebuild the inputs from them; afterwards ζ moves on by the batch. Small
    batches keep near to the reference, which has one example each.

    Attributes:
        iterations: Steps of the inference, at least 0.
        rate: Rate of its first step, above 0.

    Raises:
        ConfigError: If an argument is out of range or, when called, the model is no ``SparseCoder``.

    Reference: Ranzato, Poultney, Chopra & LeCun, NIPS 2006, section 3.
    """

    iterations: int = 20
    rate: float = 0.1

    def __post_init__(self) -> None:
        at_least(0, owner="SparseCoding", iterations=self.iterations)
        if not self.rate > 0.0:
            raise ConfigError(f"rate must be above 0, got {self.rate!r}", where="SparseCoding", mend="use 0.1")

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        """Return the mean energy; in training mode ζ moves on.

        Returns:
            The total, and its two parts ``code`` and ``reconstruction``, in halves of squares.

        Raises:
            ConfigError: If the model is no ``SparseCoder``.
        """
        coder = getattr(model, "_orig_mod", model)
        if not isinstance(coder, SparseCoder):
            raise ConfigError(
                f"needs codes to infer, which {type(coder).__name__} has not",
                where="SparseCoding",
                mend="train a SparseCoder, or use Reconstruction",
            )
        x = batch.inputs
        z = coder.infer(x, self.iterations, self.rate)
        code = weighted_mean(0.5 * (z - coder.encode(x)).square().sum(1), batch.weights)
        reconstruction = weighted_mean(0.5 * (x - coder.decode(z)).square().sum(1), batch.weights)
        if coder.training:
            coder.logistic.follow(z)
        return Loss(code + reconstruction, {"code": code.detach(), "reconstruction": reconstruction.detach()})
