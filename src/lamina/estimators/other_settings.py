"""Settings of ``lamina fit`` that an estimator takes by name, beside those that are parameters of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from lamina.errors import ConfigError, nearest, shown

OTHERS = (
    "accumulate",
    "beta",
    "combine",
    "compile",
    "data_scale",
    "freeze",
    "hidden_noise",
    "initialisation",
    "input_dropout",
    "input_noise",
    "label_noise",
    "monitor",
    "multiplicative_noise",
    "norm_limit",
    "norm_per",
    "pairs",
    "pieces",
    "precision",
    "proximal",
    "share",
    "slower",
    "start_from",
    "tie_to_start",
    "weight_noise",
)
"""What says how a network over columns is built or trained, and is no parameter."""


def read_others(given: object, parameters: Collection[str], owner: str) -> dict[str, Any]:
    """Check the names of further settings.

    Args:
        given: Name to value, or None; ``norm-limit`` is ``norm_limit``.
        parameters: Names that are the estimator's own.
        owner: The estimator, for messages.

    Returns:
        Name to value.

    Raises:
        ConfigError: If it is no mapping, or a name is none of ``OTHERS``.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"settings must be a dictionary, got {shown(given)}", where=owner, mend='for instance {"hidden_noise": 0.1}'
        )
    found = {}
    for key, value in given.items():
        name = str(key).replace("-", "_")
        if name in parameters:
            raise ConfigError(
                f'"{name}" is a parameter of its own', where=f"{owner}, settings", mend=f"give {name}=... instead"
            )
        if name not in OTHERS:
            raise ConfigError(
                f'an estimator has no setting "{shown(name)}"{nearest(name, [*OTHERS, *parameters])}',
                where=f"{owner}, settings",
                mend=f"settings: {', '.join(OTHERS)}",
            )
        found[name] = value
    return found
