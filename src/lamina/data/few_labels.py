"""A few examples that keep their target, as many of each class, by the seed."""

from __future__ import annotations

import numpy as np

from lamina.errors import ConfigError


def few_labels(rows: np.ndarray, count: int, *, seed: int, codes: np.ndarray | None = None) -> np.ndarray:
    """Choose which of some examples keep their target.

    Of each class as many are chosen; what a class is too small for is shared among the others, and what does not divide
    goes to classes drawn by chance. Within a class the draw is one shuffled order cut off: more examples of the same
    seed hold the fewer, as long as no class runs out.

    Args:
        rows: ``(n,)`` positions of the examples.
        count: How many keep it, at most n.
        seed: Decides which.
        codes: ``(N,)`` class of every position; None draws without regard to classes.

    Returns:
        ``(count,)`` int64, rising.

    Raises:
        ConfigError: If there are not as many examples, or more classes than ``count``.
    """
    if count > len(rows):
        raise ConfigError(
            f"{count:,} examples cannot keep their target, the training part has {len(rows):,}",
            where="labels",
            mend=f"use at most labels={len(rows)}, or leave it out",
        )
    # Another stream than the one that the same seed divides the data by.
    generator = np.random.default_rng((seed, 1))
    order = generator.permutation(np.asarray(rows, np.int64))
    if codes is None:
        return np.sort(order[:count])
    classes, which = np.unique(codes[order], return_inverse=True)
    if count < len(classes):
        raise ConfigError(
            f"{count:,} examples with a target leave some of the {len(classes):,} classes without any",
            where="labels",
            mend=f"use labels={len(classes)} or more",
        )
    quota = _even(count, np.bincount(which), generator)
    kept = [order[which == k][:size] for k, size in enumerate(quota)]
    return np.sort(np.concatenate(kept))


def _even(count: int, sizes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Share ``count`` out among classes of some sizes as evenly as these allow.

    Returns:
        ``(K,)``, together ``count``, none above its size; those not at their size differ by at most 1.
    """
    shares = np.zeros_like(sizes)
    while (left := count - int(shares.sum())) > 0:
        open_ones = np.flatnonzero(shares < sizes)
        each = left // len(open_ones)
        if each == 0:
            shares[generator.permutation(open_ones)[:left]] += 1
        else:
            shares[open_ones] += np.minimum(each, (sizes - shares)[open_ones])
    return shares
