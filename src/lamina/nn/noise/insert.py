"""Noise modules put into a chain of layers."""

from collections import OrderedDict
from typing import NamedTuple

from torch import Generator, nn
from torch.nn.modules import activation

from lamina.errors import ConfigError
from lamina.nn.column_embedding import ColumnEmbedding
from lamina.nn.noise._draw import check_std
from lamina.nn.noise.gaussian_noise import GaussianNoise
from lamina.nn.noise.multiplicative_noise import MultiplicativeNoise
from lamina.nn.pixels import PixelScaling
from lamina.nn.residual import Residual

# Modules that make numbers of codes or bytes: noise on the inputs stands behind them.
_READERS = (nn.Embedding, nn.EmbeddingBag, ColumnEmbedding, PixelScaling)
_NO_UNITS = {"MultiheadAttention", "Softmax", "Softmax2d", "LogSoftmax", "Softmin"}


def insert_noise(
    model: nn.Module,
    inputs: float = 0.0,
    hidden: float = 0.0,
    generator: Generator | None = None,
    *,
    multiplicative: float = 0.0,
) -> nn.Sequential:
    """Put ``GaussianNoise`` before the first layer of a chain, it or ``MultiplicativeNoise`` behind each hidden unit.

    Hidden units are the activation modules of PyTorch and of ``lamina.nn``, also in chains and residual branches within
    the chain, that are followed by a layer with weights in the same chain: the output unit stays clean. Noise on the
    inputs stands behind an embedding or the scaling of pixels, where the inputs are codes or bytes before it.

    The layers are the given ones, not copies, under the same names, so that the state has the same keys; the noise
    modules are called ``noise0``, ``noise1``, …, the multiplicative ones ``factor1``, …, and have no state.

    Args:
        model: A chain, for instance an ``MLP``.
        inputs: Standard deviation on the inputs, at least 0; 0 puts nothing there.
        hidden: Standard deviation on the hidden units, at least 0; 0 puts nothing there.
        generator: Source of the noise; None is PyTorch's default generator.
        multiplicative: Standard deviation of the factor on the hidden units, at least 0; 0 puts nothing there.

    Returns:
        A plain ``nn.Sequential`` of the same layers with noise between them.

    Raises:
        ConfigError: If a standard deviation is below 0, the model is no chain, or hidden noise is asked for and there
            is no hidden unit.
    """
    check_std("insert_noise", inputs)
    check_std("insert_noise", hidden)
    check_std("insert_noise", multiplicative)
    if not _is_chain(model):
        raise ConfigError(
            f"{type(model).__name__} is not a chain of layers",
            where="insert_noise",
            mend="give an nn.Sequential, or put GaussianNoise modules in by hand",
        )
    kinds = _Kinds(hidden, multiplicative, generator)
    anywhere = bool(hidden or multiplicative)
    layers = OrderedDict(_with_hidden(model, kinds) if anywhere else _named(model))
    if anywhere and len(list(nn.Sequential(layers).modules())) == len(list(model.modules())):
        raise ConfigError(
            "found no hidden unit in the chain", where="insert_noise", mend="put GaussianNoise modules in by hand"
        )
    if inputs:
        names = list(layers)
        at = next((i for i, name in enumerate(names) if not isinstance(layers[name], _READERS)), len(names))
        layers["noise0"] = GaussianNoise(inputs, generator)
        for name in names[at:]:
            layers.move_to_end(name)
    return nn.Sequential(layers)


class _Kinds(NamedTuple):
    """What is put behind a hidden unit."""

    hidden: float
    multiplicative: float
    generator: Generator | None

    def behind(self, count: int) -> list[tuple[str, nn.Module]]:
        found: list[tuple[str, nn.Module]] = []
        if self.hidden:
            found.append((f"noise{count}", GaussianNoise(self.hidden, self.generator)))
        if self.multiplicative:
            found.append((f"factor{count}", MultiplicativeNoise(self.multiplicative, self.generator)))
        return found


def _is_chain(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Sequential) and type(layer).forward is nn.Sequential.forward


def _named(chain: nn.Module) -> list[tuple[str, nn.Module]]:
    # Unlike named_children(), which leaves out a module that stands there a second time.
    return [(name, layer) for name, layer in chain._modules.items() if layer is not None]


def _with_hidden(chain: nn.Module, kinds: _Kinds) -> list[tuple[str, nn.Module]]:
    """Return the layers of a chain with noise behind the units."""
    named = _named(chain)
    weighted = [i for i, (_, layer) in enumerate(named) if next(layer.parameters(), None) is not None]
    made: list[tuple[str, nn.Module]] = []
    count = 0
    for i, (name, layer) in enumerate(named):
        made.append((name, _within(layer, kinds)))
        if _is_unit(layer) and weighted and i < weighted[-1]:
            count += 1
            made += kinds.behind(count)
    return made


def _within(layer: nn.Module, kinds: _Kinds) -> nn.Module:
    """Return the layer, or its like with noise inside if it is a chain or a residual connection of one."""
    if _is_chain(layer):
        return nn.Sequential(OrderedDict(_with_hidden(layer, kinds)))
    if type(layer) is Residual:
        return Residual(_within(layer.branch, kinds), layer.shortcut)
    return layer


def _is_unit(layer: nn.Module) -> bool:
    kind = type(layer)
    if kind.__module__ == activation.__name__:
        return kind.__name__ not in _NO_UNITS
    return kind.__module__.startswith("lamina.nn.units.")
