"""Bootstrap samples of the rows of a data set, for bagging."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int64
from torch import Generator, Tensor

from lamina.errors import ConfigError


def bootstrap_rows(n_examples: int, sets: int, generator: Generator | None = None) -> Int64[Tensor, "sets N"]:
    """Draw bootstrap samples: each N rows out of N, with repetition.

    A sample holds a given row at least once with probability 1 - (1 - 1/N)^N, which tends to 1 - 1/e = 0.632.

    Args:
        n_examples: N, at least 1.
        sets: How many samples, at least 1.
        generator: Source of the draws; None is PyTorch's default generator.

    Returns:
        Row numbers, one sample a row: ``InMemory(data, batch_size, rows=samples[i])`` trains on one.

    Raises:
        ConfigError: If a count is below 1.

    Reference: Breiman, "Bagging Predictors", Machine Learning 24(2), 1996, section 2.
    """
    for name, value in {"n_examples": n_examples, "sets": sets}.items():
        if value < 1:
            raise ConfigError(f"{name} must be at least 1, got {value}", where="bootstrap_rows", mend=f"correct {name}")
    return torch.randint(n_examples, (sets, n_examples), generator=generator)


def out_of_bag(samples: Int64[Tensor, "sets N"], n_examples: int) -> Bool[Tensor, "sets n_examples"]:
    """Return which rows each sample lacks: examples on which the member that it trained can be tested.

    Args:
        samples: As ``bootstrap_rows`` returned them.
        n_examples: Rows of the data.

    Returns:
        True where the row is in no place of the sample; ``mask[i].nonzero()`` are the rows.

    Reference: Breiman, "Out-of-bag estimation", 1996.
    """
    mask = torch.ones(len(samples), n_examples, dtype=torch.bool, device=samples.device)
    return mask.scatter_(1, samples, False)
