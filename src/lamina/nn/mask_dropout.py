"""Dropout as first published: plain masks while training, scaled units in evaluation."""

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from lamina.errors import ConfigError


class MaskDropout(nn.Module):
    """Set units to zero while training, scale them by the probability of keeping in evaluation.

        training:    y = x ⊙ m,   m_j ~ Bernoulli(keep)
        evaluation:  y = keep · x     (the masks replaced by their expectation)

    To scale a unit is to scale the weights that lead out of it: the weight-scaling rule. ``torch.nn.Dropout(p)`` is
    the inverted form, which divides by 1 - p while training and does nothing in evaluation; the two differ by the
    factor 1/keep in both modes, hence in the scale that the next layer's weights learn.

    The parameter is said by name, since courses mean either: give ``keep`` (customary: 0.8 for inputs, 0.5 for hidden
    units) or ``drop`` = 1 - keep.

    Args:
        keep: Probability of keeping a unit, above 0 and at most 1.
        drop: Probability of dropping a unit, at least 0 and below 1.
        generator: Source of the masks; None is PyTorch's default generator.

    Raises:
        ConfigError: If not exactly one of keep and drop is given, or it is out of range.

    References: Hinton et al., "Improving neural networks by preventing co-adaptation of feature detectors",
    arXiv:1207.0580; Srivastava et al., "Dropout", Journal of Machine Learning Research 2014, section 4.
    """

    def __init__(
        self, *, keep: float | None = None, drop: float | None = None, generator: Generator | None = None
    ) -> None:
        super().__init__()
        if (keep is None) is (drop is None):
            raise ConfigError("give either keep or drop", where="MaskDropout", mend="use keep=0.5")
        kept = keep if keep is not None else 1.0 - (drop or 0.0)
        if not 0.0 < kept <= 1.0:
            given = f"keep={keep!r}" if keep is not None else f"drop={drop!r}"
            raise ConfigError(
                f"the probability of keeping must be above 0 and at most 1, got {given}",
                where="MaskDropout",
                mend="use keep=0.5",
            )
        self.keep, self.generator = kept, generator

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return x ⊙ m while training, keep · x in evaluation."""
        if self.keep == 1.0:
            return x
        if not self.training:
            return x * self.keep
        device = x.device if self.generator is None else self.generator.device
        mask = torch.rand(x.shape, generator=self.generator, dtype=x.dtype, device=device) < self.keep
        return x * mask.to(x.device)

    def extra_repr(self) -> str:
        """Return the probability of keeping."""
        return f"keep={self.keep}"
