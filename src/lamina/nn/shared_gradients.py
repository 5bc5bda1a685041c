"""Hard parameter sharing: the gradient of a parameter that is used in several places."""

from collections import Counter
from collections.abc import Mapping

from torch import nn
from torch.utils.hooks import RemovableHandle

from lamina.errors import ConfigError, nearest
from lamina.nn._checks import at_least


def average_shared_gradients(module: nn.Module, uses: Mapping[str, int] | None = None) -> list[RemovableHandle]:
    """Let a parameter that stands in several places get the mean over its uses as gradient, not their sum.

        shared by PyTorch:  ∂L/∂w = Σ_u ∂L/∂w_u       w_u: the parameter as the u-th place uses it, u = 1 … U
        averaged:           g = 1/U Σ_u ∂L/∂w_u

    In PyTorch a parameter is shared by being assigned twice (``decoder.weight = encoder.weight``) or by calling its
    module twice; its gradient is the sum, which is the derivative. Some texts say to *average* the updates over the
    shared weights: the same direction at 1/U of the learning rate, which is no longer the gradient of the loss, but
    keeps the step of a much-used weight the size of one that is used once.

    Counted are the places in the module tree. Uses that it does not show (a module called in a loop, a kernel at each
    place of an image) are given in ``uses``.

    Args:
        module: A network with shared parameters; the hooks lie on them, not on copies of the network.
        uses: U by parameter name, at least 1, for those whose places in the tree are not its uses.

    Returns:
        A handle for each parameter whose gradient is divided; ``handle.remove()`` gives back the sum.

    Raises:
        ConfigError: If a name is unknown or a number of uses is below 1.

    References: LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, section 2 (the sum); the
    average as taught in Pattipati, multilayer perceptrons and deep networks.
    """
    everywhere = dict(module.named_parameters(remove_duplicate=False))
    times = Counter(id(parameter) for _, parameter in module.named_parameters(remove_duplicate=False))
    for name, number in (uses or {}).items():
        at_least(1, owner="average_shared_gradients", uses=number)
        if name not in everywhere:
            raise ConfigError(
                f'the module has no parameter "{name}"{nearest(name, list(everywhere))}',
                where="average_shared_gradients",
                mend="use a name of module.named_parameters()",
            )
        times[id(everywhere[name])] = number
    handles = []
    for parameter in module.parameters():
        n = times[id(parameter)]
        if n > 1 and parameter.requires_grad:
            # On a leaf the hook sees the sum over all uses, once a backward pass.
            handles.append(parameter.register_hook(lambda gradient, n=n: gradient / n))  # type: ignore[no-untyped-call]
    return handles
