"""Skip connections over several layers."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lamina.errors import ConfigError


class SkipConnections(nn.Module):
    """A chain of modules in which some see, beside their predecessor's output, outputs from further back.

        h⁰ = x,   hᵏ = Fᵏ(join(hᵏ⁻¹, hˢ for each skip (s, k))),   k = 1 … L

    The join is the sum or the concatenation, predecessor first and then the sources in rising order. A skip (s, t)
    leads from node s (0 is the chain's input, k the output of the k-th module) to the input of the t-th module, or for
    t = L + 1 to the chain's output. One layer that is skipped is ``lamina.nn.Residual``; the skip of a concatenation
    before an affine map is a sum of two affine maps.

    The speech network of convolutions C, recurrent layers L and affine layers D, whose input also reaches L and whose
    convolutions also reach D, is ``SkipConnections([C, L, D], [(0, 2), (1, 3)], "concat")``.

    Args:
        modules: F¹ … Fᴸ, at least one; each takes and gives one tensor.
        skips: Pairs (source, target), target at least source + 2, none twice.
        join: "sum" of tensors of one shape, or "concat".
        dim: Axis of the concatenation: -1 for features, 1 for the channels of images. Unused for sums.

    Raises:
        ConfigError: If there is no module or a skip does not fit the chain; in the forward pass, if shapes that meet
            differ (nothing is broadcast).

    References: Sainath et al., "Convolutional, Long Short-Term Memory, Fully Connected Deep Neural Networks", ICASSP
    2015, section 2; Goodfellow, Bengio & Courville, "Deep Learning", 2016, section 6.4.2.
    """

    def __init__(
        self, modules: Sequence[nn.Module], skips: Sequence[tuple[int, int]], join: str = "sum", *, dim: int = -1
    ) -> None:
        super().__init__()
        if not modules:
            raise ConfigError("needs at least one module", where="SkipConnections", mend="give the chain's modules")
        if join not in {"sum", "concat"}:
            raise ConfigError(
                f'join must be "sum" or "concat", got {join!r}', where="SkipConnections", mend='use "sum"'
            )
        last = len(modules) + 1
        for skip in skips:
            source, target = skip
            if not 0 <= source <= target - 2 <= last - 2 or list(skips).count(skip) > 1:
                raise ConfigError(
                    f"the skip {skip} does not fit a chain of {len(modules)} modules, or stands there twice",
                    where="SkipConnections",
                    mend=f"lead it from a node, 0 to {last - 2}, to one at least two further, at most {last}",
                )
        self.chain = nn.ModuleList(modules)
        self.join = join
        self.dim = dim
        self.skips = tuple(sorted((source, target) for source, target in skips))

    def forward(self, x: Tensor) -> Tensor:
        """Return the chain's output."""
        sources = {source for source, _ in self.skips}
        kept = {0: x} if 0 in sources else {}
        h = x
        for k, module in enumerate(self.chain, start=1):
            h = module(self._joined(h, kept, k))
            if k in sources:
                kept[k] = h
        return self._joined(h, kept, len(self.chain) + 1)

    def _joined(self, h: Tensor, kept: dict[int, Tensor], target: int) -> Tensor:
        met = [h, *(kept[source] for source, to in self.skips if to == target)]
        if len(met) == 1:
            return h
        shapes = [list(tensor.shape) for tensor in met]
        alike: list[Any] = shapes
        if self.join == "concat":
            alike = [
                (len(shape), *(n for axis, n in enumerate(shape) if axis != self.dim % len(shape))) for shape in shapes
            ]
        if any(shape != alike[0] for shape in alike):
            raise ConfigError(
                f"tensors of shapes {', '.join(str(tuple(shape)) for shape in shapes)} meet before "
                + (f"module {target}" if target <= len(self.chain) else "the output"),
                where="SkipConnections",
                mend="let a module bring them to one shape" if self.join == "sum" else "correct dim or the modules",
            )
        return torch.cat(met, self.dim) if self.join == "concat" else torch.stack(met).sum(0)

    def extra_repr(self) -> str:
        """Return the skips and how they are joined."""
        return f"skips={self.skips}, join={self.join!r}"
