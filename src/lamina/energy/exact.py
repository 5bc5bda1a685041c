"""Enumeration: a sum over all states of a layer, in pieces, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from lamina.energy.units import Units
from lamina.errors import ConfigError

MOST_STATES = 2**25
_NUMBERS = 2**21  # in one piece


def count_states(units: Units, n: int) -> float:
    """Return how many states n units have; infinity if they cannot be counted."""
    values = units.values()
    return float("inf") if values is None else float(len(values)) ** (n // values.shape[1])


def all_states(units: Units, n: int, like: Tensor, at_once: int) -> Iterator[Tensor]:
    """Go through all states of n units.

    Args:
        units: Their type.
        n: How many.
        like: A tensor of the type and device wanted.
        at_once: States a piece, at most.

    Yields:
        ``(states, n)``, every state once.

    Raises:
        ConfigError: If they cannot be counted or are more than 2^25.
    """
    number, values = count_states(units, n), units.values()
    if values is None or number > MOST_STATES:
        what = "without number" if values is None else f"{number:.3g}"
        raise ConfigError(
            f"the states of {n} {type(units).__name__} units are {what}, more than {MOST_STATES}",
            where="all_states",
            mend="estimate the sum by lamina.samplers.annealed_importance",
        )
    table = values.to(like)
    places = len(table) ** torch.arange(n // table.shape[1], device=like.device)
    for start in range(0, int(number), at_once):
        index = torch.arange(start, min(start + at_once, int(number)), device=like.device)
        yield table[index[:, None] // places % len(table)].flatten(1)


def log_sum_over_states(units: Units, n: int, term: Callable[[Tensor], Tensor], like: Tensor, width: int) -> Tensor:
    """Return log Σ_x exp(term(x)) over all states x of n units.

    Args:
        units: Their type.
        n: How many.
        term: Takes ``(states, n)`` and returns ``(states,)``.
        like: A tensor of the type and device wanted.
        width: Numbers that ``term`` needs a state, which decides how many states go into a piece.

    Returns:
        A scalar.
    """
    total = like.new_full((), -torch.inf)
    for states in all_states(units, n, like, max(1, _NUMBERS // max(width, n))):
        total = torch.logaddexp(total, term(states).logsumexp(0))
    return total
