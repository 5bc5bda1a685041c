"""A row of the table of derivatives: a function, where it is differentiated, and what public names it stands for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call

Made = tuple[Callable[..., Tensor], tuple[Tensor, ...]]


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


class Asked(nn.Module):
    """A question to a module, so that its parameters can be arguments."""

    def __init__(self, part: nn.Module, question: Callable[..., Tensor]) -> None:
        super().__init__()
        self.part, self.question = part, question

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the answer."""
        return self.question(self.part, *inputs)


def numbers(*shape: int, seed: int = 0, size: float = 1.0) -> Tensor:
    """Normal numbers that want a gradient."""
    generator = Generator().manual_seed(seed)
    return (size * torch.randn(*shape, generator=generator, dtype=torch.float64)).requires_grad_()


def asked(part: nn.Module, question: Callable[..., Tensor], *inputs: Tensor) -> Made:
    """A question to a module as a function of the inputs and the parameters, which are drawn anew.

    Buffers are copies in every call, and what the question draws has to come from a generator that it makes itself.
    """
    whole = Asked(part.double(), question)
    parameters = {name: numbers(*p.shape, seed=k + 9, size=0.7) for k, (name, p) in enumerate(whole.named_parameters())}
    buffers = dict(whole.named_buffers())

    def function(*values: Tensor) -> Tensor:
        given = dict(zip(parameters, values[len(inputs) :], strict=True))
        given |= {name: buffer.clone() for name, buffer in buffers.items()}
        answer: Tensor = functional_call(whole, given, values[: len(inputs)])
        return answer

    return function, (*inputs, *parameters.values())
