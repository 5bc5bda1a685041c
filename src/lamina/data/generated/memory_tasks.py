"""Memory tasks: sequences whose answer lies far back, with the loss of a model that remembers nothing."""

from __future__ import annotations

import math

import torch

from lamina.data.batch import Batch
from lamina.data.generated.parts import NOISE, ORDER
from lamina.data.images.augmentation.hashed import uniforms
from lamina.errors import ConfigError

ADDING_CHANCE = 1 / 6
"""Mean squared error of always answering 1: the variance of the sum of two U(0, 1)."""

ORDER_CHANCE = math.log(4.0)
"""Cross-entropy of guessing among the four orders, nats; an error of 3/4."""


def adding_problem(n: int, length: int, *, seed: int = 0) -> Batch:
    """Draw sequences of numbers of which two are marked; the answer is their sum.

        x_t = (u_t, m_t),   u_t ~ U(0, 1),   m marks one step of the first half and one of the second;   y = Σ m_t u_t

    Args:
        n: How many sequences.
        length: Steps T, at least 2. A longer sequence is a longer lag; 100 to 1,000 are usual.
        seed: Any whole number. Sequence i is a function of (seed, i) alone.

    Returns:
        Inputs (n, T, 2) float32, targets (n, 1) float32. Remembering nothing leaves a mean squared error of 1/6
        (``ADDING_CHANCE``); remembering only one of the two leaves 1/12.

    Raises:
        ConfigError: If ``n`` or ``length`` is too small.

    References:
        Hochreiter & Schmidhuber, "Long Short-Term Memory", Neural Computation 9, 1997 (numbers from -1 to
        1, marks near the beginning); in this form Le, Jaitly & Hinton, arXiv 1504.00941, 2015, section 4.1.
    """  # noqa: DOC502
    _check("adding_problem", n, length, 2)
    indices, half = torch.arange(n), length // 2
    values = uniforms(indices, 0, seed, range(NOISE, NOISE + length)).T.float()
    u = uniforms(indices, 0, seed, range(ORDER, ORDER + 2))
    marks = torch.zeros(n, length)
    marks[indices, (u[0] * half).long()] = 1.0
    marks[indices, half + (u[1] * (length - half)).long()] = 1.0
    return Batch(torch.stack((values, marks), dim=2), (values * marks).sum(1, keepdim=True))


def copy_memory(n: int, delay: int, *, symbols: int = 8, memory: int = 10, seed: int = 0) -> Batch:
    """Draw sequences that are to be said again after a delay.

        input:   s_1 … s_S,  blank × (delay - 1),  "now",  blank × S        s_i uniform over K symbols
        target:  blank × (delay + S),                      s_1 … s_S

    Symbols are 0 to K - 1, blank is K, "now" is K + 1.

    Args:
        n: How many sequences.
        delay: Steps from the last symbol to "now", at least 1.
        symbols: K, at least 2.
        memory: S, how many symbols are to be kept, at least 1.
        seed: Any whole number. Sequence i is a function of (seed, i) alone.

    Returns:
        Inputs and targets (n, delay + 2 S) int64. The loss of a model that remembers nothing is ``copy_chance``.

    Raises:
        ConfigError: If a number is too small.

    References:
        Hochreiter & Schmidhuber, Neural Computation 9, 1997; in this form Arjovsky, Shah & Bengio, "Unitary Evolution
        Recurrent Neural Networks", ICML 2016, section 4.1.
    """  # noqa: DOC502
    _check("copy_memory", n, min(delay, symbols - 1, memory), 1)
    kept = (uniforms(torch.arange(n), 0, seed, range(NOISE, NOISE + memory)).T * symbols).long()
    blank = torch.full((n, delay + memory), symbols)
    inputs = torch.cat((kept, blank), dim=1)
    inputs[:, memory + delay - 1] = symbols + 1
    return Batch(inputs, torch.cat((blank, kept), dim=1))


def copy_chance(delay: int, *, symbols: int = 8, memory: int = 10) -> float:
    """Return the cross-entropy a step, nats, of answering blank until "now" and guessing evenly after it.

    Returns:
        S ln K / (delay + 2 S).
    """
    return memory * math.log(symbols) / (delay + 2 * memory)


def temporal_order(n: int, length: int, *, seed: int = 0) -> Batch:
    """Draw sequences of noise in which two symbols stand; the answer is which, and in which order.

        symbols: 0 and 1 matter, 2 to 5 are noise, uniform
        one of the two at a step of [T/10, 2T/10), one at a step of [4T/10, 5T/10), each 0 or 1 with probability ½
        target:  2 × the first + the second

    Args:
        n: How many sequences.
        length: Steps T, at least 10.
        seed: Any whole number. Sequence i is a function of (seed, i) alone.

    Returns:
        Inputs (n, T) int64, targets (n,) int64 from 0 to 3. Guessing costs ln 4 (``ORDER_CHANCE``) and is wrong three
        times in four; who knows only one of the two symbols is wrong every second time and pays ln 2.

    Raises:
        ConfigError: If ``n`` or ``length`` is too small.

    References:
        Hochreiter & Schmidhuber, Neural Computation 9, 1997, (task 6a); the places as in Pascanu, Mikolov &
        Bengio, "On the Difficulty of Training Recurrent Neural Networks", ICML 2013, section 4.1.1.
    """  # noqa: DOC502
    _check("temporal_order", n, length, 10)
    indices = torch.arange(n)
    inputs = 2 + (4 * uniforms(indices, 0, seed, range(NOISE, NOISE + length)).T).long()
    u = uniforms(indices, 0, seed, range(ORDER, ORDER + 4))
    pair = (u[2:] < 0.5).long()
    for which, start in enumerate((length // 10, 4 * length // 10)):
        inputs[indices, start + (u[which] * (length // 10)).long()] = pair[which]
    return Batch(inputs, 2 * pair[0] + pair[1])


def _check(where: str, n: int, least: int, bound: int) -> None:
    if n < 1 or least < bound:
        raise ConfigError(
            f"n must be at least 1 and the lengths at least {bound}, got {n} and {least}",
            where=where,
            mend="ask for more, or longer, sequences",
        )
