"""What K-FAC says of its last step, and the checks of the numbers it is built with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lamina.curvature._vectors import Tensors
from lamina.errors import ConfigError
from lamina.likelihoods.base import Likelihood
from lamina.optim._groups import NOT_NEGATIVE, SHARE, check_groups


@dataclass(frozen=True, slots=True)
class KFACReport:
    """The last step.

    Attributes:
        damping: λ after the step.
        rate: What the direction was multiplied by: α of the quadratic model, or lr with the clipping.
        momentum: µ.
        ratio: ρ, the change of the loss over what the quadratic model foretold; None where it was not measured.
        reason: ``moved``; ``zero-gradient``: the model finds nothing to gain; ``non-finite`` loss, gradient or factors,
            or a loss that is not finite where the step ends: the parameters stay.
    """

    damping: float
    rate: float
    momentum: float
    ratio: float | None
    reason: str


def reason(rate: float, speed: float) -> str:
    """Return why a step with finite numbers ended as it did."""
    return "moved" if rate or speed else "zero-gradient"


def check_metric(likelihood: Likelihood, outputs: Tensor) -> None:
    """Refuse a likelihood whose Fisher matrix has no closed form, before it is needed for a rate or the damping.

    Args:
        likelihood: Of the batch.
        outputs: (N, K), its outputs.

    Raises:
        ConfigError: For a Gaussian mixture.
    """  # noqa: DOC502
    some = outputs.detach()[:1]
    likelihood.fisher_product(some, torch.zeros_like(some))


def check_options(optimizer: Any) -> None:
    """Check the numbers that K-FAC was built with.

    Args:
        optimizer: A ``KFAC`` with its groups.

    Raises:
        ConfigError: If one is out of range, or goes with another form.
    """
    numbers = {
        "damping": (optimizer.damping, optimizer.damping > 0.0),
        "statistics_every": (optimizer.statistics_every, optimizer.statistics_every >= 1),
        "inverse_every": (optimizer.inverse_every, optimizer.inverse_every >= 1),
        "adapt_every": (optimizer.adapt_every, optimizer.adapt_every >= 0),
        "adapt_split_every": (optimizer.adapt_split_every, optimizer.adapt_split_every >= 0),
        "statistics_share": (optimizer.statistics_share, 0.0 < optimizer.statistics_share <= 1.0),
        "decay": (optimizer.decay, 0.0 <= optimizer.decay < 1.0),
        "kl_clip": (optimizer.kl_clip, optimizer.kl_clip is None or optimizer.kl_clip > 0.0),
        "bounds": (optimizer.bounds, 0.0 < optimizer.bounds[0] <= optimizer.bounds[1]),
    }
    for name, (value, fine) in numbers.items():
        if not fine:
            raise ConfigError(f"{name} is out of range: {value!r}", where="KFAC", mend=f"see {name} in help(KFAC)")
    if optimizer.exact_rate and optimizer.kl_clip is not None:
        raise ConfigError("kl_clip goes with a rate", where="KFAC", mend="give lr, or leave kl_clip out")
    if not optimizer.exact_rate and optimizer.adapt_split_every:
        raise ConfigError("adapt_split_every goes without a rate", where="KFAC", mend="use lr=None")
    check_groups(optimizer, {"lr": NOT_NEGATIVE, "momentum": SHARE, "weight_decay": NOT_NEGATIVE})


def check_factors(ours: Mapping[str, Tensors], theirs: Mapping[str, Tensors]) -> None:
    """Refuse factors that are read for another network than they were measured on.

    Raises:
        ConfigError: If a block has none, or others.
    """
    for name, pair in ours.items():
        if {s: f.shape for s, f in pair.items()} != {s: f.shape for s, f in theirs.get(name, {}).items()}:
            raise ConfigError(
                f'the factors of "{name}" are not those of this network',
                where="KFAC",
                mend="build the network and the optimiser as they were",
            )
