"""A row of the table of derivatives: a function, where it is differentiated, and what public names it stands for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class GradientCase:
    """One function to be checked against central differences in float64.

    Attributes:
        name: Stands in the test's name.
        covers: Public names that it checks, for instance ``("lamina.nn.Maxout",)``.
        make: Returns the function and its float64 arguments; those that require a gradient are checked, so let the
            parameters be among them (``torch.func.functional_call`` takes a module's parameters as arguments).
        second: Also check the second derivatives (``gradgradcheck``): where a penalty differentiates it again.
    """

    name: str
    covers: tuple[str, ...]
    make: Callable[[], tuple[Callable[..., Tensor], tuple[Tensor, ...]]]
    second: bool = False
