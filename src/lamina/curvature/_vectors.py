"""Named tensors as one vector and back, and checks that the room shares."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from lamina.errors import ConfigError

Tensors = dict[str, Tensor]


def flatten(tensors: Mapping[str, Tensor]) -> Float[Tensor, " P"]:
    """Return the elements of all tensors, in the mapping's order."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors.values()])


def unflatten(vector: Float[Tensor, "*batch P"], like: Mapping[str, Tensor]) -> Tensors:
    """Return tensors of ``like``'s names and shapes; leading axes of the vector lead each of them."""
    parts = torch.split(vector, [tensor.numel() for tensor in like.values()], dim=-1)
    return {
        name: part.reshape((*vector.shape[:-1], *tensor.shape))
        for (name, tensor), part in zip(like.items(), parts, strict=True)
    }


def ordered(owner: str, name: str, tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> Tensors:
    """Return the tensors in ``like``'s order.

    Raises:
        ConfigError: If there are none, or names or shapes differ.
    """
    if not like:
        raise ConfigError("there are no parameters", where=owner, mend="give a module that has some")
    theirs, ours = ({n: tuple(t.shape) for n, t in some.items()} for some in (tensors, like))
    if theirs != ours:
        wrong = sorted(n for n in theirs.keys() | ours.keys() if theirs.get(n) != ours.get(n))
        raise ConfigError(
            f'{name} differs from the parameters at "{wrong[0]}": {theirs.get(wrong[0])} for {ours.get(wrong[0])}',
            where=owner,
            mend="give one tensor of the same shape for each parameter",
        )
    return {n: tensors[n] for n in like}
