"""Checks that the units share."""

import math

from lamina.errors import ConfigError


def positive(*, owner: str, **values: float) -> None:
    """Refuse values that are not finite numbers above 0.

    Raises:
        ConfigError: For the first that is not.
    """
    for name, value in values.items():
        if not 0.0 < value < math.inf:
            raise ConfigError(
                f"{name} must be a finite number above 0, got {value!r}", where=owner, mend=f"try {name}=1.0"
            )
