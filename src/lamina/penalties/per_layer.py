"""Weight decay with a coefficient of its own for each layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from lamina.errors import ConfigError
from lamina.penalties.base import Context, Penalty
from lamina.penalties.weights import fits, named_parameters, weights_hint

_WHERE = "PerLayerDecay"


@dataclass(frozen=True, slots=True)
class PerLayerDecay(Penalty):
    """Σ_l γ_l ½ Σ w(l)² over the weights w(l) of layers l; biases and scales are left out.

    A gradient step of rate η shrinks the weights of layer l by the factor 1 - ηγ_l. A weight belongs to the first
    pattern that fits its name or that of a module it is in; one that no pattern fits is not decayed.

    Attributes:
        coefficients: γ_l by pattern of names, shell style: ``{"linear1": 0.1, "output": 0.01, "*": 0.001}``, or the
            same in one line, ``"linear1=0.1,output=0.01,*=0.001"``.

    Raises:
        ConfigError: If a coefficient is no number of at least 0; when called, if a pattern fits no weight at all.

    Reference: Hinton, "Learning translation invariant recognition in massively parallel networks", PARLE 1987 (decay);
    Goodfellow et al., Deep Learning, 2016, section 7.1 (a coefficient for each layer).
    """

    coefficients: Mapping[str, float] | str = "*=1"

    def __post_init__(self) -> None:
        for pattern, value in self.pairs:
            if not value >= 0.0:
                raise ConfigError(
                    f'the coefficient of "{pattern}" must be at least 0, got {value!r}', where=_WHERE, mend="use 0.001"
                )

    @property
    def pairs(self) -> tuple[tuple[str, float], ...]:
        """Patterns with their coefficients, in order."""
        given = self.coefficients
        return _parse(given) if isinstance(given, str) else tuple(given.items())

    def __call__(self, context: Context) -> Float[Tensor, ""]:
        """Return half the squared norms of the layers' weights, each times its coefficient.

        Returns:
            A scalar.

        Raises:
            ConfigError: If a pattern fits no weight: a misspelt name is not passed over.
        """
        weights = [(name, p) for name, p in named_parameters(context.model) if p.ndim >= 2]
        gammas, unused = _assigned(tuple(name for name, _ in weights), self.pairs)
        if unused is not None:
            raise ConfigError(
                f'no weights are named "{unused}"', where=_WHERE, mend=weights_hint(context.model, unused)
            )
        sums = [0.5 * gamma * p.square().sum() for gamma, (_, p) in zip(gammas, weights, strict=True) if gamma]
        return torch.stack(sums).sum() if sums else context.outputs.new_zeros(())


@lru_cache(maxsize=64)
def _assigned(names: tuple[str, ...], pairs: tuple[tuple[str, float], ...]) -> tuple[tuple[float, ...], str | None]:
    """Return the coefficient of each weight, 0 where no pattern fits, and a pattern that fits none of them, if any."""
    gammas = tuple(next((value for pattern, value in pairs if fits(name, pattern)), 0.0) for name in names)
    return gammas, next((pattern for pattern, _ in pairs if not any(fits(name, pattern) for name in names)), None)


@lru_cache(maxsize=64)
def _parse(text: str) -> tuple[tuple[str, float], ...]:
    """Read ``"linear1=0.1,output=0.01"``.

    Returns:
        Patterns with their coefficients.

    Raises:
        ConfigError: If a part is not of that form.
    """
    pairs = []
    for part in text.split(","):
        pattern, _, number = part.strip().partition("=")
        try:
            pairs.append((pattern.strip(), float(number)))
        except ValueError:
            pattern = ""
        if not pattern:
            raise ConfigError(
                f'cannot read "{part.strip()}" as pattern=number', where=_WHERE, mend='write "linear1=0.1,output=0.01"'
            ) from None
    return tuple(pairs)
