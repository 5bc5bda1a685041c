"""Hand-wired networks: exclusive or in three ways, n-bit parity, and any Boolean function from its truth table."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from lamina.errors import ConfigError
from lamina.nn._checks import at_least
from lamina.nn.classics._checks import affine
from lamina.nn.units.heaviside import Heaviside

_XOR = {  # hidden weights and biases, output weights and bias
    "difference": (((-1.0, 1.0), (-1.0, 1.0)), (-0.5, 0.5), (1.0, -1.0), 0.5),
    "sum": (((1.0, 1.0), (1.0, 1.0)), (-1.5, -0.5), (-2.0, 1.0), -0.5),
    "relu": (((1.0, 1.0), (1.0, 1.0)), (0.0, -1.0), (1.0, -2.0), 0.0),
}


def xor_network(form: Literal["difference", "sum", "relu"] = "sum") -> nn.Sequential:
    """Build a 2-2-1 network whose output is x₁ XOR x₂ for bits x.

        difference:  z₁ = U(x₂ - x₁ - ½),   z₂ = U(x₂ - x₁ + ½),   y = U(z₁ - z₂ + ½)
        sum:         z₁ = U(x₁ + x₂ - 1½),  z₂ = U(x₁ + x₂ - ½),   y = U(z₂ - 2 z₁ - ½)
        relu:        z₁ = max(0, x₁ + x₂),  z₂ = max(0, x₁ + x₂ - 1),  y = z₁ - 2 z₂

    Args:
        form: Which of the three.

    Returns:
        Affine layer, unit, affine layer, and for the threshold forms a unit at the output: (N, 2) to (N, 1).

    Raises:
        ConfigError: If there is no such form.

    References: Minsky & Papert, "Perceptrons", 1969 (why one layer cannot); Goodfellow, Bengio & Courville, Deep
    Learning, 2016, section 6.1 (relu).
    """
    if form not in _XOR:
        raise ConfigError(f"form must be one of {', '.join(_XOR)}, got {form!r}", where="xor_network", mend='use "sum"')
    hidden, hidden_bias, output, output_bias = _XOR[form]
    first = affine(torch.tensor(hidden), torch.tensor(hidden_bias))
    last = affine(torch.tensor([output]), torch.tensor([output_bias]))
    if form == "relu":
        return nn.Sequential(first, nn.ReLU(), last)
    return nn.Sequential(first, Heaviside(), last, Heaviside())


def parity_network(n_bits: int) -> nn.Sequential:
    """Build a network of n hidden threshold units whose output is the parity of n bits: 1 for an odd count.

        z_k = U(Σ_j x_j - k + ½)   ("at least k bits are set"),  k = 1 … n
        y   = U(Σ_k (-1)^(k+1) z_k - ½)

    Of c set bits the first c units are on, so that the alternating sum is 1 for odd c and 0 for even. It extends the
    exclusive or, n = 2. One hidden layer of gates AND and OR alone would take 2^(n-1) units (``boolean_network``).

    Args:
        n_bits: n, at least 1.

    Returns:
        Affine layer, threshold, affine layer, threshold: (N, n) to (N, 1).

    Reference: Rumelhart, Hinton & Williams, "Learning Internal Representations by Error Propagation", 1986, parity.
    """
    at_least(1, owner="parity_network", n_bits=n_bits)
    k = torch.arange(1, n_bits + 1)
    first = affine(torch.ones(n_bits, n_bits), 0.5 - k)
    last = affine((1.0 - 2.0 * (k % 2 == 0)).unsqueeze(0), torch.tensor([-0.5]))
    return nn.Sequential(first, Heaviside(), last, Heaviside())


def boolean_network(truth_table: Sequence[bool | int]) -> nn.Sequential:
    """Build a network with one hidden layer that computes any Boolean function of n bits, given as its truth table.

        z_r = U(Σ_j s_rj x_j - (set bits of r) + ½),   s_rj = +1 where bit j of row r is set, else -1
        y   = U(Σ_r z_r - ½)

    A hidden unit is an AND that knows one row; the output is their OR. It takes a unit for each row that is true, or,
    where fewer are false, one for each of those and the output negated: up to 2^(n-1).

    Args:
        truth_table: 2^n values with n at least 1: entry r is the value for the bits of r, the first input being the
            highest bit: (0, 1, 1, 0) is the exclusive or.

    Returns:
        Affine layer, threshold, affine layer, threshold: (N, n) to (N, 1).

    Raises:
        ConfigError: If the length is no power of two, or an entry is not 0 or 1.
    """
    table = list(truth_table)
    n_bits = len(table).bit_length() - 1
    if n_bits < 1 or len(table) != 2**n_bits or any(value not in {0, 1} for value in table):
        raise ConfigError(
            f"the truth table must hold 2, 4, 8, ... entries, each 0 or 1, got {len(table)} entries",
            where="boolean_network",
            mend="give one entry for each combination of bits",
        )
    negated = sum(table) > len(table) // 2
    known = torch.tensor([row for row, value in enumerate(table) if bool(value) != negated] or [0])
    bits = (known.unsqueeze(1) >> torch.arange(n_bits - 1, -1, -1)) & 1
    # A constant function knows no row: one unit stands there with weight 0.
    weight = 0.0 if sum(table) in {0, len(table)} else (-1.0 if negated else 1.0)
    first = affine(2.0 * bits - 1.0, 0.5 - bits.sum(1))
    last = affine(torch.full((1, len(known)), weight), torch.tensor([0.5 if negated else -0.5]))
    return nn.Sequential(first, Heaviside(), last, Heaviside())
