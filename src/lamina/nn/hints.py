"""Training with hints: outputs that exist only while training."""

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from lamina.errors import ConfigError
from lamina.nn._checks import at_least
from lamina.nn.linear import linear


class HintedOutput(nn.Module):
    """An output layer with a second one beside it for the hints while training: z = [W h + b, V h + c].

    Input (..., in_features); output (..., main outputs + hint outputs), the main ones first; in evaluation mode the
    main ones alone.

    Args:
        main: The network's own output layer, as it is.
        n_hints: Outputs of the second one, at least 1.
        generator: Source of its weights (Glorot's rule); None is PyTorch's default generator.
    """

    def __init__(self, main: nn.Linear, n_hints: int, generator: Generator | None = None) -> None:
        super().__init__()
        self.main = main
        self.hints = linear(main.in_features, n_hints, "glorot", generator).to(main.weight)

    @property
    def out_features(self) -> int:
        """Main and hint outputs together."""
        return self.main.out_features + self.hints.out_features

    def forward(self, h: Float[Tensor, "... D"]) -> Float[Tensor, "... outputs"]:
        """Return the main outputs, and while training the hints' beside them.

        Returns:
            (..., main outputs + hint outputs), or (..., main outputs) in evaluation.
        """
        main: Tensor = self.main(h)
        return torch.cat((main, self.hints(h)), dim=-1) if self.training else main


def with_hints(
    model: nn.Module, n_hints: int, *, layer: str = "output", generator: Generator | None = None
) -> nn.Module:
    """Give a network outputs for hints beside its own, in place: targets that are known only while training.

    The severity of a fault, say, beside its kind: what predicts the hint is worth having in the hidden layers, and the
    test needs no hint. Train with ``Heads((main, *hints), names)``, then ``without_hints`` puts the network back.

    Args:
        model: A network whose last layer is ``torch.nn.Linear``.
        n_hints: Outputs that the hints' likelihoods read, at least 1.
        layer: Name of the last layer.
        generator: Source of the new weights; None is PyTorch's default generator.

    Returns:
        The same network, now with the main outputs first and the hints' after them.

    Raises:
        ConfigError: If there is no such layer or it is no affine layer.

    Reference: Abu-Mostafa, "Learning from hints in neural networks", Journal of Complexity 6, 1990; Caruana,
    "Multitask Learning", Machine Learning 28, 1997.
    """
    at_least(1, owner="with_hints", n_hints=n_hints)
    parent, name = _place(model, layer)
    main = parent._modules.get(name)
    if not isinstance(main, nn.Linear):
        found = "missing" if main is None else f"a {type(main).__name__}"
        raise ConfigError(
            f'the layer "{layer}" is {found}, not an affine output layer',
            where="with_hints",
            mend="name the last torch.nn.Linear of the network by layer=",
        )
    parent._modules[name] = HintedOutput(main, n_hints, generator)
    return model


def without_hints(model: nn.Module) -> nn.Module:
    """Drop the hints' outputs and their weights, in place; the main outputs keep every bit.

    Args:
        model: A network that ``with_hints`` returned.

    Returns:
        The same network with its own outputs only.

    Raises:
        ConfigError: If it has no hints.
    """
    for name, module in list(model.named_modules()):
        if isinstance(module, HintedOutput):
            parent, last = _place(model, name)
            parent._modules[last] = module.main
            return model
    raise ConfigError("the network has no hints", where="without_hints", mend="add them with with_hints")


def _place(model: nn.Module, path: str) -> tuple[nn.Module, str]:
    """Return the module that holds a layer, and the layer's name within it.

    Raises:
        ConfigError: If there is no such module.
    """
    parent, _, name = path.rpartition(".")
    try:
        return model.get_submodule(parent), name
    except AttributeError:
        raise ConfigError(
            f'the network has no part "{parent}"', where="with_hints", mend="see model.named_modules()"
        ) from None
