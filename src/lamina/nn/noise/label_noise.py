"""Noise on labels."""

import torch
from jaxtyping import Int
from torch import Generator, Tensor

from lamina.errors import ConfigError
from lamina.nn._checks import at_least


def label_noise(
    target: Int[Tensor, "*batch"], rate: float, n_classes: int, generator: Generator | None = None
) -> Int[Tensor, "*batch"]:
    """Replace each label, with probability ε, by another class drawn at random.

        p(t̃ = t) = 1 - ε,   p(t̃ = k) = ε / (K - 1)  for each k ≠ t

    In expectation the cross-entropy with t̃ is that with label smoothing of ε / (K - 1), which needs no drawing and
    has less variance: to be preferred where a mean is wanted and not mislabelled data.

    Args:
        target: Class codes, 0 to K - 1.
        rate: ε, from 0 to 1.
        n_classes: K, at least 2.
        generator: Source of the draws; None is PyTorch's default generator.

    Returns:
        New labels, in the shape and type of the old.

    Raises:
        ConfigError: If the rate is outside [0, 1] or there are fewer than two classes.

    Reference: Goodfellow, Bengio & Courville, "Deep Learning", 2016, section 7.5.1.
    """
    at_least(2, owner="label_noise", n_classes=n_classes)
    if not 0.0 <= rate <= 1.0:
        raise ConfigError(f"rate must be from 0 to 1, got {rate!r}", where="label_noise", mend="use 0.1")
    device = target.device if generator is None else generator.device
    wrong = torch.rand(target.shape, generator=generator, device=device) < rate
    # A step of 1 to K - 1 around the circle of classes reaches each other class alike, and never the same.
    step = torch.randint(1, n_classes, target.shape, generator=generator, device=device)
    return (target + (step * wrong).to(target)) % n_classes
