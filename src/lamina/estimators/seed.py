"""The seed of a scikit-learn random state."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.errors import ConfigError, shown


def seed_of(random_state: Any) -> int:
    """Return the seed of a random state; the global generators are neither read nor moved.

    Returns:
        A whole number of at least 0.

    Raises:
        ConfigError: If it is none of those that scikit-learn knows, or a Generator.
    """
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint32)[0])
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31 - 1))
    if isinstance(random_state, int | np.integer) and not isinstance(random_state, bool) and random_state >= 0:
        return int(random_state)
    raise ConfigError(
        f"random_state must be None, a whole number, a RandomState or a Generator, got {shown(random_state)}",
        where="random_state",
    )
