"""Residual connection."""

from typing import Any

from torch import Tensor, nn

from lamina.errors import ConfigError


class Residual(nn.Module):
    """Add a branch's output to its input.

        y = S(x) + F(x),   ∂y/∂x = I + ∂F/∂x   for the identity shortcut S(x) = x

    so that the branch learns the residual F = H - S of the wanted map H, and the gradient reaches x unattenuated.

    Args:
        branch: F, a module whose output has the shape of S(x).
        shortcut: S; None is the identity. A projection where the branch changes the shape.

    Raises:
        ConfigError: In the forward pass, if the two shapes differ (nothing is broadcast).

    Reference: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, eqs. 1 and 2.
    """

    def __init__(self, branch: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = nn.Identity() if shortcut is None else shortcut

    def forward(self, x: Tensor, *args: Any) -> Tensor:
        """Return S(x) + F(x).

        Returns:
            A tensor of the branch's shape.

        Raises:
            ConfigError: If the shapes differ.
        """
        straight, residue = self.shortcut(x), self.branch(x, *args)
        if straight.shape != residue.shape:
            raise ConfigError(
                f"the branch gives {tuple(residue.shape)} where the shortcut gives {tuple(straight.shape)}",
                where="Residual",
                mend="give a shortcut that changes the shape likewise",
            )
        summed: Tensor = straight + residue
        return summed
