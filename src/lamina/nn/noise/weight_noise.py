"""Noise on the weights."""

from collections.abc import Sequence
from typing import Any

from torch import Generator, Tensor, nn
from torch.func import functional_call

from lamina.errors import ConfigError, nearest
from lamina.nn.noise._draw import check_std, standard_normal


class WeightNoise(nn.Module):
    """Run a module with noise on its weights while training, with the exact weights in evaluation.

        ŷ = f(x; W + ε_W),   ε_W ~ N(0, η I),   η = σ²

    One draw a forward pass: the examples of a batch and the steps of a sequence share it. The gradient is that at
    W + ε_W and updates W. For squared error and small η it adds the penalty η E‖∇_W ŷ‖² (summed over outputs), which
    leads to places where the output hardly changes with the weights.

    Works for any module: linear, convolutional, recurrent, or a whole network. Its parameters are called
    ``module.…`` in the state.

    Args:
        module: f.
        std: σ, a standard deviation in units of the weights, at least 0. The course's η is its square.
        names: Parameters that get noise, as ``module.named_parameters()`` calls them; None takes all with two axes or
            more: matrices and kernels, neither biases nor the scales of normalisation.
        generator: Source of the noise; None is PyTorch's default generator, whose state a training checkpoint holds.

    Raises:
        ConfigError: If std is no finite number of at least 0, a name is unknown, or no parameter is left.

    References: Graves, "Practical Variational Inference for Neural Networks", NIPS 2011; Goodfellow, Bengio &
    Courville, "Deep Learning", 2016, section 7.5.
    """

    def __init__(
        self, module: nn.Module, std: float, names: Sequence[str] | None = None, *, generator: Generator | None = None
    ) -> None:
        super().__init__()
        check_std("WeightNoise", std)
        known = dict(module.named_parameters())
        for name in names or ():
            if name not in known:
                raise ConfigError(
                    f'the module has no parameter "{name}"{nearest(name, list(known))}',
                    where="WeightNoise",
                    mend=f"choose among {', '.join(known)}",
                )
        self.names = tuple(names) if names is not None else tuple(name for name, w in known.items() if w.ndim > 1)
        if not self.names:
            raise ConfigError("the module has no weights to make noisy", where="WeightNoise", mend="give names")
        self.module, self.std, self.generator = module, std, generator

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return f(…; W + ε_W) while training, f(…; W) in evaluation."""
        if not self.training or self.std == 0.0:
            return self.module(*args, **kwargs)
        weights = dict(self.module.named_parameters())
        noisy: dict[str, Tensor] = {}
        for name in self.names:
            noisy[name] = weights[name].add(standard_normal(weights[name], self.generator), alpha=self.std)
        return functional_call(self.module, noisy, args, kwargs)

    def extra_repr(self) -> str:
        """Return σ."""
        return f"std={self.std}"
