"""Derivatives of the objectives by the network's parameters, and what of training and metrics has none."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gradients.case import GradientCase, Made, asked, numbers
from lamina.data.batch import Batch
from lamina.likelihoods import Gaussian
from lamina.penalties import L2
from lamina.training import Loss, Objective, PairwiseSemiSupervised, SemiSupervised, Siamese, Supervised

WEIGHTS = torch.tensor([0.5, 0.0, 1.5, 2.0, 1.0, 1.0], dtype=torch.float64)


def objective(made: Callable[[], Objective], targets: Tensor) -> Callable[[], Made]:
    """The total on six weighted examples."""

    def total(net: nn.Module, x: Tensor) -> Tensor:
        return made()(net, Batch(x, targets, WEIGHTS)).total

    return lambda: asked(nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2)), total, numbers(6, 3))


def spread(model: nn.Module, batch: Batch) -> Loss:
    """A criterion that looks at the inputs alone."""
    return Loss(model(batch.inputs).logsumexp(1).square().mean())


REAL = numbers(6, 2, seed=3).detach()
CODES = torch.tensor([0, 1, 0, 1, 2, 2])
UNIT = Gaussian(2, scale=1.0)

CASES: list[GradientCase] = [
    GradientCase(
        "supervised", ("lamina.training.Supervised",), objective(lambda: Supervised(UNIT, 0.3 * L2()), REAL), True
    ),
    GradientCase(
        "semi-supervised",
        ("lamina.training.SemiSupervised",),
        objective(lambda: SemiSupervised(UNIT, spread, 0.7, 0.3 * L2()), REAL),
        True,
    ),
    *(
        GradientCase(
            f"siamese-{form}",
            ("lamina.training.Siamese",),
            objective(lambda form=form: Siamese(3.0, form, 0.3 * L2()), CODES),  # type: ignore[misc]
            True,
        )
        for form in ("hinge", "hadsell")
    ),
    *(
        GradientCase(
            f"pairwise-semi-supervised-{form}",
            ("lamina.training.PairwiseSemiSupervised",),
            objective(lambda form=form: PairwiseSemiSupervised(UNIT, 2, 1, 1, 0.7, 3.0, form, L2()), REAL),  # type: ignore[misc]
            True,
        )
        for form in ("hinge", "hadsell")
    ),
]

_ACTS = "acts on a run or on weights, and gives no number to differentiate"
_ARRAYS = "statistics of NumPy arrays"
_RECORD = "a record"
_STEP = "gives gradients itself: tested against autograd's in tests/training"

NOT_DIFFERENTIABLE: dict[str, str] = {
    **{
        f"lamina.training.{name}": _ACTS
        for name in (
            "AfterStep",
            "AveragedWeights",
            "BoldDriverByEpoch",
            "MomentumSchedule",
            "NormConstraint",
            "ProximalStep",
            "StepCostMonitor",
            "choose_step",
            "depth_factors",
            "fit",
            "freeze",
            "full_state",
            "hidden_layers",
            "hogwild",
            "initialise_from",
            "layers_by_depth",
            "learning_rate_groups",
            "learning_rate_range_test",
            "multi_start",
            "pretrain_greedy",
            "pretrain_layerwise",
            "unfreeze",
        )
    },
    **{
        f"lamina.training.{name}": _RECORD
        for name in ("GreedyLayer", "HiddenLayer", "History", "MultiStart", "RangeTest", "Restart", "Run", "StepCost")
    },
    "lamina.training.Transfer": _RECORD,
    "lamina.training.BackpropStep": _STEP,
    "lamina.training.ClosureStep": _STEP,
    "lamina.training.GradientStep": _STEP,
    "lamina.training.encoded": "what a finished layer gives, without gradients",
    "lamina.training.step_cost": "a product of detached derivatives, tested in tests/training",
    **{
        f"lamina.metrics.{name}": _ARRAYS
        for name in (
            "bootstrap_interval",
            "calibration_bins",
            "coverage_curve",
            "expected_calibration_error",
            "interval_coverage",
            "interval_score",
            "interval_width",
            "mcnemar",
            "mean_interval",
            "paired_difference",
        )
    },
    **{f"lamina.metrics.{name}": _RECORD for name in ("CalibrationBins", "CoverageCurve", "Interval", "McNemar")},
}
