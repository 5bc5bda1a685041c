"""Learning-rate schedules: factor = schedule(progress), progress from 0 to 1 over the planned updates."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence

from lamina.errors import ConfigError

Schedule = Callable[[float], float]


def constant(progress: float) -> float:
    """Return 1 throughout."""
    return 1.0


def linear(progress: float, floor: float = 0.01, until: float = 1.0) -> float:
    """Fall from 1 to ``floor`` in a straight line, and stay there.

        ε_k = (1 - α) ε_0 + α ε_τ,   α = min(1, k/τ),   ε_τ = floor · ε_0

    Args:
        progress: k over the planned updates.
        floor: ε_τ / ε_0.
        until: τ over the planned updates, above 0; after it the factor is ``floor``.

    Returns:
        The factor.

    Reference: Goodfellow et al., Deep Learning, 2016, eq. 8.14, with ε_τ at 1 % of ε_0 and τ a few hundred passes.
    """
    along = min(1.0, progress / until)
    return (1.0 - along) + along * floor


def step_decay(
    progress: float, factor: float = 0.1, milestones: Sequence[float] = (0.5, 0.75), every: float | None = None
) -> float:
    """Multiply by ``factor`` at each milestone.

    The same as ``torch.optim.lr_scheduler.MultiStepLR``, and with ``every`` as ``StepLR``, in shares of the training.

    Args:
        progress: From 0 to 1.
        factor: Of each fall.
        milestones: Where the factor falls, as shares of the training, rising.
        every: Fall after each such share of the training, in place of the milestones.

    Returns:
        The factor.
    """
    # The little that is added outweighs rounding: 0.3 / 0.1 is a little below 3.
    falls = bisect.bisect_right(milestones, progress + 1e-9) if every is None else int(progress / every + 1e-9)
    return float(factor**falls)


def exponential(progress: float, floor: float = 0.01) -> float:
    """Fall from 1 to ``floor``, by the same share at every update: floor^progress.

    Returns:
        The factor; ``torch.optim.lr_scheduler.ExponentialLR`` with gamma = floor^(1/K) for K updates.
    """
    return float(floor**progress)


def inverse_time(progress: float, floor: float = 0.01) -> float:
    """Fall from 1 to ``floor`` like 1/t: the decay that lets stochastic gradient descent converge.

        ε_k = ε_0 / (1 + c k/K),   c = 1/floor - 1

    Σ ε_k = ∞ and Σ ε_k² < ∞ (Robbins & Monro, 1951), if training went on for ever. In practice it is too slow at the
    end and too fast at the beginning; ``linear`` and ``cosine`` serve a planned number of updates better.

    Returns:
        The factor.
    """
    return 1.0 / (1.0 + (1.0 / floor - 1.0) * progress)


def cosine(progress: float, warmup: float = 0.0, floor: float = 0.0) -> float:
    """Rise linearly over the first ``warmup`` share, then fall along half a cosine to ``floor``.

    Returns:
        The factor.

    Reference: Loshchilov & Hutter, "SGDR", ICLR 2017, eq. 5, without restarts.
    """
    if progress < warmup:
        return progress / warmup
    along = (progress - warmup) / (1.0 - warmup) if warmup < 1.0 else 1.0
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * along))


def cosine_restarts(progress: float, cycles: int = 3, growth: float = 2.0, floor: float = 0.0) -> float:
    """Fall along half a cosine to ``floor`` and jump back to 1, several times, each fall longer than the one before.

    The same as ``torch.optim.lr_scheduler.CosineAnnealingWarmRestarts`` with T_mult = ``growth``, where the last cycle
    ends with the training. The weights before each jump are good ones to keep, for an ensemble.

    Args:
        progress: From 0 to 1.
        cycles: Number of falls, at least 1.
        growth: Length of each fall over that of the one before, above 0.
        floor: Smallest factor.

    Returns:
        The factor.

    Reference: Loshchilov & Hutter, "SGDR", ICLR 2017, eq. 5.
    """
    whole = sum(growth**i for i in range(cycles))
    start = 0.0
    for i in range(cycles):
        length = growth**i / whole
        if progress < start + length - 1e-9 or i == cycles - 1:
            break
        start += length
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, (progress - start) / length)))


def one_cycle(progress: float, peak: float = 0.25, start: float = 0.04, end: float = 1e-4) -> float:
    """Rise along half a cosine from ``start`` to 1 at ``peak`` of the way, fall along another to ``end``.

    Returns:
        The factor; the same curve as ``torch.optim.lr_scheduler.OneCycleLR`` with ``anneal_strategy="cos"``.

    Reference: Smith & Topin, "Super-Convergence", 2018.
    """
    if progress < peak:
        return 1.0 + (start - 1.0) * 0.5 * (1.0 + math.cos(math.pi * progress / peak))
    return end + (1.0 - end) * 0.5 * (1.0 + math.cos(math.pi * (progress - peak) / (1.0 - peak)))


def warmed_up(schedule: Schedule, share: float = 0.05) -> Schedule:
    """Return a schedule that rises from 0 in a straight line first, and then runs its whole course in the rest.

    For networks whose first gradients are wild: large batches, deep transformers, Adam before its averages are right.

    Args:
        schedule: What comes after the rise.
        share: Of the training that the rise takes, in [0, 1).

    Returns:
        A function of progress.

    Raises:
        ConfigError: If the share is out of its range.

    Reference: Goyal et al., "Accurate, Large Minibatch SGD", arXiv:1706.02677, 2017, section 2.2.
    """
    if not 0.0 <= share < 1.0:
        raise ConfigError(f"share must be at least 0 and below 1, got {share!r}", where="warmed_up", mend="use 0.05")

    def factor(progress: float) -> float:
        if progress < share:
            return schedule(0.0) * progress / share
        return schedule((progress - share) / (1.0 - share))

    return factor


def sutskever_momentum(updates: int, most: float = 0.99) -> float:
    """Return the momentum of the next update, which comes nearer to 1 every 250 updates.

        α_k = min(1 - 2^(-1 - log₂(⌊k/250⌋ + 1)), most) = min(1 - 1/(2 (⌊k/250⌋ + 1)), most)

    It begins at 0.5. For ``NesterovMomentum`` on long trainings of whole or large batches; with a constant momentum
    below 0.9 there is nothing to warm up. ``lamina.training.momentum_schedule`` applies it.

    Args:
        updates: k, made so far.
        most: Largest momentum.

    Returns:
        The momentum.

    Reference: Sutskever, Martens, Dahl & Hinton, ICML 2013, eq. 5.
    """
    return min(1.0 - 0.5 / (updates // 250 + 1), most)


def beginning(schedule: Schedule, share: float) -> Schedule:
    """Return the first ``share`` of a schedule as a schedule of its own.

    Returns:
        A function of progress that ends where the given one stands at ``share``.
    """
    return lambda progress: schedule(progress * share)


def recorded(ends: Sequence[float], factors: Sequence[float]) -> Schedule:
    """Return a schedule that repeats what was recorded: ``factors[i]`` up to the progress ``ends[i]``.

    Args:
        ends: Rising, the last one 1.
        factors: As many.

    Returns:
        A step function of progress.
    """
    return lambda progress: factors[min(bisect.bisect_right(ends, progress), len(factors) - 1)]


def by_name(name: str) -> Schedule:
    """Return a schedule of this module with its default constants.

    Returns:
        A function of progress.

    Raises:
        ConfigError: If there is none of that name.
    """
    schedules: dict[str, Schedule] = {
        "constant": constant,
        "linear": linear,
        "cosine": cosine,
        "one-cycle": one_cycle,
        "step": step_decay,
        "exponential": exponential,
        "inverse-time": inverse_time,
        "cosine-restarts": cosine_restarts,
        "warm-cosine": warmed_up(cosine),
        "warm-linear": warmed_up(linear),
    }
    if name not in schedules:
        raise ConfigError(f'no schedule "{name}"', where="schedule", mend="one of " + ", ".join(schedules))
    return schedules[name]
