"""Soft parameter tying: parameters that are to be near one another, or near a reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lamina.errors import ConfigError, nearest
from lamina.penalties.base import Context, Penalty
from lamina.penalties.weights import fits, named_parameters


@dataclass(frozen=True, slots=True)
class Tying(Penalty):
    """‖w_A - w_B‖² between two parameters of a network, or two layers of the same shapes.

        gradient: 2 (w_A - w_B) by w_A, and the opposite by w_B

    Hard sharing, the limit of a large coefficient, is one parameter used twice: in PyTorch, assigned to both places.

    Attributes:
        first: Name of a parameter (``"linear1.weight"``) or of a module, all of whose parameters are meant.
        second: The other; a module needs parameters of the same names and shapes.

    Raises:
        ConfigError: When called, if a name is not there or the two do not fit together.

    Reference: Lasserre, Bishop & Minka, "Principled Hybrids of Generative and Discriminative Models", CVPR 2006;
    Goodfellow et al., Deep Learning, 2016, section 7.9.
    """

    first: str
    second: str

    def __call__(self, context: Context) -> Float[Tensor, ""]:
        """Return the squared distance.

        Returns:
            A scalar.

        Raises:
            ConfigError: If a name is not there or the shapes differ.
        """
        named = dict(named_parameters(context.model))
        a, b = _below(named, self.first), _below(named, self.second)
        if {name: p.shape for name, p in a.items()} != {name: p.shape for name, p in b.items()}:
            raise ConfigError(
                f"{self.first} and {self.second} have parameters of different names or shapes: "
                f"{_shapes(a)} and {_shapes(b)}",
                where="Tying",
                mend="tie two parameters or two layers of one shape",
            )
        return torch.stack([(p - b[name]).square().sum() for name, p in a.items()]).sum()


@dataclass(frozen=True, slots=True)
class TyingTo(Penalty):
    """‖w - w_ref‖² to a reference that stays as it is: the weights of an earlier task, say.

    Attributes:
        reference: w_ref by parameter name, as in a ``state_dict``; parameters that it does not name are left alone,
            and so are the buffers that it may hold.
        parameters: Pattern of names, shell style; ``"*"`` is all that the reference names.

    Raises:
        ConfigError: When called, if no parameter is named or a shape differs.

    Reference: Goodfellow et al., Deep Learning, 2016, section 7.9; Li, Grandvalet & Davoine, "Explicit Inductive Bias
    for Transfer Learning with Convolutional Networks", ICML 2018, eq. 2 (with ½).
    """

    reference: Mapping[str, Tensor]
    parameters: str = "*"

    def __call__(self, context: Context) -> Float[Tensor, ""]:
        """Return the squared distance to the reference.

        Returns:
            A scalar.

        Raises:
            ConfigError: If no parameter is named or a shape differs.
        """
        sums = []
        for name, p in named_parameters(context.model):
            if name not in self.reference or not fits(name, self.parameters):
                continue
            wanted = self.reference[name]
            if wanted.shape != p.shape:
                raise ConfigError(
                    f"{name} is {tuple(p.shape)} and {tuple(wanted.shape)} in the reference",
                    where="TyingTo",
                    mend="leave it out by parameters=, or take a reference of the same network",
                )
            sums.append((p - wanted.detach().to(p.device, p.dtype)).square().sum())
        if not sums:
            raise ConfigError(
                f'no parameter of the network is in the reference and fits "{self.parameters}"',
                where="TyingTo",
                mend="give the state_dict of a network with the same names",
            )
        return torch.stack(sums).sum()


def _below(named: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the parameter of a name, or those of the module of that name by their names within it.

    Raises:
        ConfigError: If there is neither.
    """
    if name in named:
        return {"": named[name]}
    found = {key[len(name) + 1 :]: p for key, p in named.items() if key.startswith(f"{name}.")}
    if not found:
        modules = [key.rpartition(".")[0] for key in named]
        raise ConfigError(
            f'no parameter or layer is named "{name}"{nearest(name, [*named, *modules])}',
            where="Tying",
            mend=f"the network has {', '.join(list(named)[:8])}",
        )
    return found


def _shapes(parameters: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {tuple(p.shape)}".strip() for name, p in parameters.items())
