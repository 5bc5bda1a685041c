"""Random numbers that are a pure function of (seed, epoch, index of the example, lane)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

_MASK64 = (1 << 64) - 1

# Lanes: the numbers of what is drawn for one example. Those of one change are never those of another.
GEOMETRY = range(6)
WINDOW = range(6, 9)
COLOUR = range(9, 13)
ELASTIC = 1 << 32  # and those that follow, as many as there are pixels
NOISE = 1 << 33


def uniforms(indices: Int[Tensor, " N"], epoch: int, seed: int, lanes: range) -> Float[Tensor, "L N"]:
    """Return numbers in [0, 1), each a hash of (seed, epoch, index, its lane).

    Whole-number arithmetic (the finaliser of SplitMix64) gives the same bits on every device, in any order of the
    examples and for any size of the batch.

    Args:
        indices: Number of each example in the whole set.
        epoch: Number of the pass.
        seed: Any whole number.
        lanes: Which numbers.

    Returns:
        ``float64``, on the device of ``indices``, a row a lane.

    Reference: Steele, Lea & Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014, figure 16.
    """
    x = _hash(indices[None, :], epoch, seed, torch.arange(lanes.start, lanes.stop, device=indices.device)[:, None])
    return _shifted(x, 11).double() * 2.0**-53


def uniform_pairs(indices: Int[Tensor, " N"], epoch: int, seed: int, first: int, count: int) -> Float[Tensor, "2 N M"]:
    """Return ``count`` pairs of numbers in [0, 1) for each example, the halves of the hashes of lanes ``first`` on.

    Returns:
        ``float32`` multiples of 2^-24, on the device of ``indices``.
    """
    lanes = torch.arange(first, first + count, device=indices.device)[None, :]
    x = _hash(indices[:, None], epoch, seed, lanes)
    return torch.stack((_shifted(x, 40), x & 0xFFFFFF)).to(torch.float32) * 2.0**-24


def normals(indices: Int[Tensor, " N"], epoch: int, seed: int, first: int, count: int) -> Float[Tensor, "N count"]:
    """Return ``count`` standard normal numbers for each example, from the lanes from ``first`` on.

        z, z' = sqrt(-2 log(1 - u)) (cos 2πv, sin 2πv)

    Returns:
        ``float32``, on the device of ``indices``, at most 5.8 in size. The last bit may depend on the device.

    Reference: Box & Muller, Annals of Mathematical Statistics 29(2), 1958.
    """
    u, v = uniform_pairs(indices, epoch, seed, first, (count + 1) // 2)
    radius = u.neg_().add_(1).log_().mul_(-2).sqrt_()
    angle = v.mul_(2 * math.pi)
    return torch.cat((radius * angle.cos(), radius * angle.sin()), dim=1)[:, :count]


def _hash(indices: Tensor, epoch: int, seed: int, lanes: Tensor) -> Tensor:
    key = _mixed_int(_mixed_int(seed & _MASK64) ^ (epoch & _MASK64))
    return _mixed(_mixed(indices.long() ^ _signed(key)) + (lanes + 1) * _signed(0x9E3779B97F4A7C15))


def _mixed(x: Tensor) -> Tensor:
    # Mix the bits of 64-bit whole numbers (multiplication wraps around, as it should).
    x = (x ^ _shifted(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shifted(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, by: int) -> Tensor:
    # Shift right without the sign (torch's own shift copies it).
    return (x >> by) & ((1 << (64 - by)) - 1)


def _mixed_int(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & _MASK64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK64
    return x ^ (x >> 31)


def _signed(x: int) -> int:
    return x - (1 << 64) if x >> 63 else x
