"""Which parameters a penalty or a constraint is about: the weights, or those that a pattern names."""

from __future__ import annotations

from fnmatch import fnmatchcase

from torch import Tensor, nn

from lamina.errors import ConfigError, nearest


def named_parameters(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Return the parameters by name, each once, as the model was before ``torch.compile``."""
    return [(name, p) for name, p in getattr(model, "_orig_mod", model).named_parameters()]


def fits(name: str, pattern: str) -> bool:
    """Return whether a pattern names a parameter, or a module that it is in.

    Args:
        name: As in ``named_parameters``, for instance ``"linear1.weight"``.
        pattern: Shell style: ``"linear1.weight"``, ``"linear1"``, ``"*.weight"``, ``"*"``.
    """
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def weights_of(model: nn.Module, pattern: str = "*", *, owner: str = "weights_of") -> list[Tensor]:
    """Return the weights, the parameters of two or more axes, that a pattern names; biases and scales are left out.

    Args:
        model: The network.
        pattern: See ``fits``; ``"*"`` names all.
        owner: Who asks, for the message.

    Returns:
        Parameters; none only where the pattern is ``"*"`` and the model has no weights.

    Raises:
        ConfigError: If the pattern fits no weight.
    """
    if pattern == "*":
        return [p for p in model.parameters() if p.ndim >= 2]
    found: list[Tensor] = [p for name, p in named_parameters(model) if p.ndim >= 2 and fits(name, pattern)]
    if not found:
        raise ConfigError(f'no weights are named "{pattern}"', where=owner, mend=weights_hint(model, pattern))
    return found


def weights_hint(model: nn.Module, pattern: str) -> str:
    """Return the mend for a pattern that fits nothing: the name that was meant, perhaps, and those there are."""
    names = [name for name, p in named_parameters(model) if p.ndim >= 2]
    few = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    return f"the network has {few}{nearest(pattern, names)}" if names else "the network has no weights"
