"""Checks that the layers share."""

from lamina.errors import ConfigError


def at_least(least: int, *, owner: str, **sizes: int) -> None:
    """Refuse sizes that are not whole numbers of at least ``least``.

    Raises:
        ConfigError: For the first that is not.
    """
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(
                f"{name} must be a whole number of at least {least}, got {value!r}", where=owner, mend=f"correct {name}"
            )


def fraction(*, owner: str, **values: float) -> None:
    """Refuse values outside [0, 1).

    Raises:
        ConfigError: For the first that is.
    """
    for name, value in values.items():
        if not 0.0 <= value < 1.0:
            raise ConfigError(f"{name} must be at least 0 and below 1, got {value!r}", where=owner, mend="use 0.1")
