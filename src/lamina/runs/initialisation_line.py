"""Starting weights written in one line, ``SCHEME[:OPTION=VALUE...]``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lamina.errors import ConfigError
from lamina.initialisers import Rule, Scheme, find_rule, gaussian, sparse
from lamina.io.option_lines import options_of, read_options

# Scheme -> what makes its rule of options; the others have none but the bias.
_MAKERS: dict[str, Callable[..., Rule]] = {"small": gaussian, "sparse": sparse}


@dataclass(frozen=True)
class InitialisationChoice:
    """What ``initialisation=SCHEME:OPTION=VALUE`` asks for.

    Attributes:
        name: Of the scheme.
        scheme: For ``lamina.initialisers.initialise``.
        bias: Every bias of the layers that it fills.
    """

    name: str
    scheme: Scheme
    bias: float = 0.0


def read_initialisation(line: str) -> InitialisationChoice:
    """Read ``SCHEME[:OPTION=VALUE...]``: each takes ``bias``, ``small`` also ``std``, ``sparse`` ``k`` and ``std``.

    Args:
        line: For instance ``sparse:k=10``, ``small:std=0.1`` or ``he:bias=0.1``.

    Returns:
        The choice.

    Raises:
        ConfigError: If there is no such scheme or option, or a value cannot be.
    """
    name, *parts = line.split(":")
    name = name.strip()
    try:
        find_rule(name)
        make = _MAKERS.get(name)
        known: dict[str, Any] = {**({} if make is None else options_of(make)), "bias": float}
        given = read_options(name, parts, known, where="initialisation")
        bias = given.pop("bias", 0.0)
        return InitialisationChoice(name, make(**given) if make is not None and given else name, bias)
    except ConfigError as error:
        raise ConfigError(error.what, where="initialisation", mend=error.mend) from None
