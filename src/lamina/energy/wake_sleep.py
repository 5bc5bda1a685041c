"""Wake-sleep learning of a sigmoid belief network and its recognition weights."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, nn

from lamina.data.batch import Batch
from lamina.energy.sigmoid_belief import SigmoidBeliefNetwork
from lamina.errors import ConfigError
from lamina.likelihoods.mean_nll import weighted_mean
from lamina.training.objective import Loss


@dataclass(frozen=True)
class WakeSleep:
    """Mean of -log p(x, h), h drawn by q from data, plus mean of -log q(h | x) of dreams, x and h drawn from p.

        wake:   h ~ q(h | x)      generative weights down   -∂ log p(x, h)
        sleep:  x, h ~ p(x, h)    recognition weights down  -∂ log q(h | x)

    The two terms share no parameters, and what was drawn is held fixed, so each layer learns by the delta rule.
    Waking raises the bound E_q[log p - log q] in p; sleeping does not raise it in q, as it lowers KL(p, q) instead
    of KL(q, p), over dreams instead of data. So there is no one function that the algorithm makes small, and
    ``exact_bound`` or ``log_weights`` tell how it goes.

    Attributes:
        generator: Source of all draws. None is PyTorch's default generator, whose state ``fit`` keeps: a resumed run
            draws the same numbers, which it would not from one of yours.

    Reference: Hinton, Dayan, Frey & Neal, "The Wake-Sleep Algorithm for Unsupervised Neural Networks", Science 268,
    1995.
    """

    generator: Generator | None = None

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        """Return the two terms' sum.

        Returns:
            The total and its parts ``wake`` and ``sleep``, in nats.

        Raises:
            ConfigError: If the model is no sigmoid belief network.
        """
        if not isinstance(model, SigmoidBeliefNetwork):
            raise ConfigError(f"trains a SigmoidBeliefNetwork, got a {type(model).__name__}", where="WakeSleep")
        x = batch.inputs.flatten(1)
        wake = -weighted_mean(model.log_joint(model.layers.infer(x, self.generator)), batch.weights)
        sleep = -model.layers.log_q(model.sample(len(x), self.generator)).mean()
        return Loss(wake + sleep, {"wake": wake.detach(), "sleep": sleep.detach()})
