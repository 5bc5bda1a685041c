"""Which examples of an array have no target: NaN, an empty text, and -1 beside class codes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

NO_CLASS = -1
"""The code of an example without a class."""


def without_target(values: NDArray[Any], *, asked: bool, most: float = math.inf) -> NDArray[np.bool_]:
    """Return which targets stand for none.

    NaN among floating-point numbers does, and an empty text. Among whole numbers -1 does where the others can be class
    codes, and how sure that must be depends on what was asked for:

    - To leave out such examples, or to learn from them: the others are of two different values or more, all 0 or above.
    - Neither: the others are 0, 1, ..., K - 1, all of them, with K from 3 to ``most``; nobody numbers K + 1 classes
      from -1.

    So -1 is always a class beside 1 alone, as in binary coding, and beside 0 and 1 unless asked otherwise: there it may
    mean negative, neutral and positive.

    Args:
        values: ``(N,)``, of any kind.
        asked: Whether examples without a target are to be left out, or to be learnt from.
        most: More different whole numbers are not taken as class codes, unless asked.

    Returns:
        ``(N,)``; False for truth values.
    """
    kind = values.dtype.kind
    gone: NDArray[np.bool_] = np.zeros(len(values), bool)
    if kind == "f":
        gone = np.isnan(values)
    elif kind in "US":
        gone = np.char.str_len(np.char.strip(values)) == 0
    elif kind == "i":
        gone = values == NO_CLASS
    if kind != "i" or not gone.any():
        return gone
    others = np.unique(values[~gone])
    counted = others.astype(np.int64)
    codes = len(others) >= 2 and counted[0] >= 0
    if not asked:
        codes = codes and 3 <= len(others) <= most and counted[-1] == len(others) - 1
    return gone if codes else np.zeros(len(values), bool)
