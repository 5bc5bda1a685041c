"""Derivatives of energies, free energies and exact likelihoods, and of the objectives with what they draw held fixed.

Samples are binary and come from a generator that is made anew for every call: within the steps of central differences
they do not change, which is what the objectives' definitions ask for.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from gradients.case import GradientCase, Made, asked, numbers
from lamina import energy
from lamina.data.batch import Batch
from lamina.energy import RBM, Bernoulli, Binomial, Gaussian, Joined, Rectified, Softmax, Units
from lamina.training import Objective

X = torch.tensor([[0.0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 0, 1]], dtype=torch.float64)
WEIGHTS = torch.tensor([0.5, 0.0, 1.5, 2.0], dtype=torch.float64)
ONE: Units = Bernoulli()


def seeded() -> Generator:
    return Generator().manual_seed(0)


def machine(visible: Units, hidden: Units, question: Callable[..., Tensor], *widths: int) -> Callable[[], Made]:
    """A question about given states of a machine of four visible and two hidden units."""
    rows = [numbers(3, width, seed=k) for k, width in enumerate(widths)]
    return lambda: asked(RBM(4, 2, visible, hidden), question, *rows)


PAIRS: list[tuple[str, Units, Units]] = [
    ("binary", ONE, ONE),
    ("gaussian", Gaussian(), ONE),
    ("gaussian-of-one-variance", Gaussian(False), ONE),
    ("gaussian-hidden", ONE, Gaussian(False)),
    ("counts", Binomial(3), Binomial(2)),
    ("groups", Softmax(2), Softmax(2)),
    ("joined", Joined(((ONE, 2), (Softmax(2), 2))), ONE),
]
COVERS = {
    "binary": ("lamina.energy.RBM", "lamina.energy.Bernoulli"),
    "gaussian": ("lamina.energy.Gaussian",),
    "counts": ("lamina.energy.Binomial",),
    "groups": ("lamina.energy.Softmax",),
    "joined": ("lamina.energy.Joined",),
}


def parts(rbm: RBM, v: Tensor, h: Tensor) -> Tensor:
    """All that is differentiable of given states; counts leave out E(v, h), whose log Γ is for whole numbers."""
    asked_for = [rbm.free_energy(v), rbm.hidden_given(v).flatten(), rbm.visible_given(h).flatten(), rbm.exponent(v, h)]
    return torch.cat([*asked_for, rbm.energy(v, h), rbm.visible_energy(v), rbm.hidden_free_energy(h)])


def inside(question: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Counts between their ends, where log Γ is defined."""
    return lambda rbm, v, h: question(rbm, 3.0 * v.sigmoid(), 2.0 * h.sigmoid())


def exact(rbm: RBM, v: Tensor) -> Tensor:
    return rbm.log_likelihood(v, rbm.log_partition(differentiable=True))


def objective(made: Callable[[], Objective], model: Callable[[], nn.Module]) -> Callable[[], Made]:
    def total(part: nn.Module) -> Tensor:
        return made()(part, Batch(X, torch.tensor([0, 1, 1, 0]), WEIGHTS)).total

    return lambda: asked(model(), total)


class Settled(energy.DeepBoltzmannMachine):
    """Mean fields that stand still, as the objective's definition has them."""

    def mean_field(self, x: Tensor, sweeps: int = 10) -> list[Tensor]:
        return [numbers(len(x), n, seed=n).detach().sigmoid() for n in self.sizes[1:]]


def layered(question: Callable[..., Tensor]) -> Callable[[], Made]:
    """A question about given states of three directed layers."""
    units = [numbers(4, n, seed=n) for n in (3, 2, 1)]
    return lambda: asked(
        energy.DirectedLayers((3, 2, 1), generator=seeded()), lambda part, *rows: question(part, rows), *units
    )


def bound(found: energy.VariationalBound) -> Tensor:
    return torch.cat([found.log_likelihood, found.bound, found.gap])


def tables(log_joint: Tensor, scores: Tensor) -> Tensor:
    return bound(energy.variational_bound(log_joint, scores.log_softmax(1)))


def belief(n_classes: int = 0) -> nn.Module:
    return energy.DeepBeliefNetwork((3, 2, 2), n_classes)


CASES: list[GradientCase] = [
    *(
        GradientCase(
            f"machine-{name}",
            COVERS.get(name, ()),
            machine(visible, hidden, inside(parts) if name == "counts" else parts, 4, 2),
            True,
        )
        for name, visible, hidden in PAIRS
    ),
    GradientCase(
        "machine-rectified",
        ("lamina.energy.Rectified",),
        machine(Gaussian(), Rectified(), lambda rbm, v: torch.cat([rbm.free_energy(v), rbm(v).flatten()]), 4),
        True,
    ),
    GradientCase("machine-likelihood", ("lamina.energy.RBM",), machine(ONE, ONE, exact, 4), True),
    GradientCase(
        "contrastive-divergence",
        ("lamina.energy.ContrastiveDivergence",),
        objective(lambda: energy.ContrastiveDivergence(2, generator=seeded()), lambda: RBM(3, 2)),
        True,
    ),
    GradientCase(
        "persistent-contrastive-divergence",
        ("lamina.energy.ContrastiveDivergence",),
        objective(
            lambda: energy.ContrastiveDivergence(1, True, generator=seeded(), draw_data=True),
            lambda: RBM(3, 2, chains=5, generator=seeded()),
        ),
        True,
    ),
    GradientCase(
        "stochastic-layer",
        ("lamina.energy.StochasticLayer",),
        lambda: asked(
            energy.StochasticLayer(2, 3, Gaussian(False)),
            lambda part, x, y: torch.cat([part.log_prob(x, y), part.mean(y).flatten()]),
            numbers(4, 3),
            numbers(4, 2, seed=1),
        ),
        True,
    ),
    GradientCase("directed-down", ("lamina.energy.DirectedLayers",), layered(lambda part, u: part.log_p(u)), True),
    GradientCase("directed-up", ("lamina.energy.DirectedLayers",), layered(lambda part, u: part.log_q(u)), True),
    GradientCase(
        "sigmoid-belief",
        ("lamina.energy.SigmoidBeliefNetwork", "lamina.energy.VariationalBound"),
        lambda: asked(energy.SigmoidBeliefNetwork((3, 2, 1)), lambda part: bound(part.exact_bound(X))),
        True,
    ),
    GradientCase(
        "sigmoid-belief-likelihood",
        ("lamina.energy.SigmoidBeliefNetwork",),
        lambda: asked(energy.SigmoidBeliefNetwork((3, 2, 1)), lambda part: part.log_likelihood(X)),
        True,
    ),
    GradientCase(
        "wake-sleep",
        ("lamina.energy.WakeSleep",),
        objective(lambda: energy.WakeSleep(seeded()), lambda: energy.SigmoidBeliefNetwork((3, 2, 1))),
        True,
    ),
    GradientCase(
        "deep-belief",
        ("lamina.energy.DeepBeliefNetwork",),
        lambda: asked(belief(), lambda part: bound(part.exact_bound(X, part.top.log_partition(differentiable=True)))),
        True,
    ),
    GradientCase(
        "deep-belief-labels",
        ("lamina.energy.DeepBeliefNetwork",),
        lambda: asked(belief(2), lambda part, x: torch.cat([part.label_log_prob(x), part(x)], 1), numbers(4, 3)),
        True,
    ),
    GradientCase(
        "up-down", ("lamina.energy.UpDown",), objective(lambda: energy.UpDown(2, seeded()), lambda: belief(2)), True
    ),
    GradientCase(
        "deep-boltzmann",
        ("lamina.energy.DeepBoltzmannMachine",),
        lambda: asked(
            Settled((3, 2, 2)),
            lambda part: torch.cat([part.log_likelihood(X, part.log_partition()), part.bound(X, part.log_partition())]),
        ),
        True,
    ),
    GradientCase(
        "mean-field-learning",
        ("lamina.energy.MeanFieldLearning",),
        objective(
            lambda: energy.MeanFieldLearning(3, 2, seeded()), lambda: Settled((3, 2, 2), chains=5, generator=seeded())
        ),
        True,
    ),
    GradientCase(
        "variational-bound",
        ("lamina.energy.variational_bound",),
        lambda: (tables, (numbers(3, 4), numbers(3, 4, seed=1))),
        True,
    ),
]

_DRAWS = "draws samples, which have no derivative"
_TRAINS = "trains: the objectives and machines have rows of their own"

NOT_DIFFERENTIABLE: dict[str, str] = {
    "lamina.energy.BinaryDraws": _DRAWS,
    "lamina.energy.ContrastiveDivergenceStep": "gives gradients itself: tested against the objective's",
    "lamina.energy.DeepBoltzmannPath": _DRAWS,
    "lamina.energy.RBMLayer": _TRAINS,
    "lamina.energy.RBMPath": _DRAWS,
    "lamina.energy.Tempered": "a record",
    "lamina.energy.all_states": "zeros and ones",
    "lamina.energy.draw_binary": _DRAWS,
    "lamina.energy.parallel_tempering": _DRAWS,
    "lamina.energy.pretrain_deep_belief": _TRAINS,
    "lamina.energy.pretrain_deep_boltzmann": _TRAINS,
    "lamina.energy.pseudo_likelihood": "a gauge of training, worked out without gradients",
    "lamina.energy.tied_machine": "copies weights into a new machine",
}
