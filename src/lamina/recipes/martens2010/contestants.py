"""The optimisers of the race, each with its settings: batch size, learning rate, momentum's schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Generator, nn
from torch.optim import Adam, Optimizer

from lamina.optim.hessian_free import HessianFree
from lamina.optim.kfac import KFAC
from lamina.optim.lbfgs import LBFGS
from lamina.optim.nesterov import NesterovMomentum
from lamina.recipes.martens2010.stopwatch import Stopwatch
from lamina.training.callback import Callback
from lamina.training.run import Run


@dataclass(frozen=True, slots=True)
class Contestant:
    """An optimiser with its settings.

    Attributes:
        name: As in the tables.
        settings: What it is run with, in words.
        batch: Pictures an update, by problem.
        build: ``build(network, problem, generator) -> optimizer``.
        order: ``first`` sees one gradient an update, ``quasi`` differences of gradients, ``second`` products with the
            Gauss-Newton matrix.
        closure: Whether its step takes a closure (``ClosureStep``).
        schedule: ``schedule(stopwatch) -> callback`` that sets its rates while it runs.
    """

    name: str
    settings: str
    batch: Mapping[str, int]
    build: Callable[[nn.Module, str, Generator], Optimizer]
    order: str
    closure: bool = True
    schedule: Callable[[Stopwatch], Callback] | None = None


class SutskeverMomentum(Callback):
    """Momentum that grows with the number of updates, and is taken back for the last tenth of the time.

        µ_t = min(1 - ½ / (⌊t / 250⌋ + 1), µ_max),   0.9 at the end

    Reference: Sutskever, Martens, Dahl & Hinton, "On the importance of initialization and momentum in deep learning",
    ICML 2013, eq. 5; there the last 1,000 of 750,000 updates are made with 0.9.

    Args:
        most: µ_max.
        watch: Knows how much of the time is used.
    """

    LAST, CALM = 0.1, 0.9

    def __init__(self, most: float, watch: Stopwatch) -> None:
        self.most, self.watch = most, watch

    def on_start(self, run: Run) -> None:
        """Set the first momentum."""
        self.on_step(run)

    def on_step(self, run: Run) -> None:
        """Set the momentum of the next update."""
        momentum = min(1.0 - 0.5 / (run.steps // 250 + 1), self.most)
        if self.watch.used >= (1.0 - self.LAST) * self.watch.seconds:
            momentum = min(momentum, self.CALM)
        for group in run.step.optimizer.param_groups:
            group["momentum"] = momentum


class CosineByTime(Callback):
    """The rate falls along half a cosine over the time that there is.

    Args:
        watch: Knows how much of the time is used.
    """

    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch

    def on_start(self, run: Run) -> None:
        """Note the first rates."""
        for group in run.step.optimizer.param_groups:
            group["initial_lr"] = group["lr"]

    def on_step(self, run: Run) -> None:
        """Set the rate of the next update."""
        share = min(1.0, self.watch.used / self.watch.seconds)
        for group in run.step.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * 0.5 * (1.0 + math.cos(math.pi * share))


_SMALL = {"mnist": 200, "curves": 200, "digits": 50}
_RATES = {"mnist": 0.01, "curves": 0.01, "digits": 0.01}

CONTESTANTS = (
    Contestant(
        "SGD, Nesterov momentum",
        "rate 0.01; momentum 1 - ½/(⌊t/250⌋ + 1), at most 0.99; 0.9 for the last tenth of the time",
        _SMALL,
        lambda network, problem, generator: NesterovMomentum(network.parameters(), lr=_RATES[problem]),
        "first",
        schedule=lambda watch: SutskeverMomentum(0.99, watch),
    ),
    Contestant(
        "Adam",
        "rate 0.003 falling along a cosine over the time, β = 0.9, 0.999",
        _SMALL,
        lambda network, problem, generator: Adam(network.parameters(), lr=3e-3, fused=True),
        "first",
        closure=False,
        schedule=CosineByTime,
    ),
    Contestant(
        "L-BFGS",
        "20 pairs, strong Wolfe search, 10 iterations on each batch",
        {"mnist": 2_000, "curves": 2_000, "digits": 1_437},
        lambda network, problem, generator: LBFGS(network.parameters(), memory=20, iterations=10),
        "quasi",
    ),
    Contestant(
        "Hessian-free",
        "curvature on a tenth of the batch, λ = 45 at first, preconditioned, at most 100 steps of conjugate gradients",
        {"mnist": 10_000, "curves": 10_000, "digits": 1_437},
        lambda network, problem, generator: HessianFree(network.parameters(), damping=45.0, share=0.1, max_steps=100),
        "second",
    ),
    Contestant(
        "Hessian-free, K-FAC's factors",
        "preconditioned by Kronecker factors, measured every second update; curvature on an eighth of the batch, whose "
        "loss the iterates are judged by; λ = 10 at first, at least 0.2; at most 10 steps of conjugate gradients",
        {"mnist": 4_000, "curves": 4_000, "digits": 1_437},
        lambda network, problem, generator: HessianFree(
            network.parameters(),
            damping=10.0,
            bounds=(0.2, 1e8),
            share=0.125,
            preconditioner="kronecker",
            precondition_every=2,
            judge="part",
            max_steps=10,
            generator=generator,
        ),
        "second",
    ),
    Contestant(
        "K-FAC",
        "rate and momentum from the quadratic model; λ = 10 at first, adapted, at least 0.3, for below that the loss "
        "of batches this small falls at the cost of the rest; factors every 5 steps, inverses every 20",
        {"mnist": 500, "curves": 500, "digits": 500},
        lambda network, problem, generator: KFAC(
            network, lr=None, momentum=None, damping=10.0, bounds=(0.3, 1e8), generator=generator
        ),
        "second",
    ),
)


def contestant(name: str) -> Contestant:
    """Return the contestant of that name."""
    return next(one for one in CONTESTANTS if one.name == name)
