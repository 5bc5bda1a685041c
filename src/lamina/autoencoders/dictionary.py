"""A dictionary of atoms, learnt from examples without targets."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn.functional import normalize

from lamina.autoencoders.matching_pursuit import orthogonal_matching_pursuit
from lamina.errors import ConfigError

_AT_ONCE = 2_000  # examples that are coded together
_TWINS = 0.99  # the cosine from which on two atoms are one


@torch.no_grad()
def learn_dictionary(
    x: Float[Tensor, "N D"], atoms: int, k: int = 1, *, rounds: int = 20, generator: Generator | None = None
) -> Float[Tensor, "D K"]:
    """Return atoms of length 1 of which a few represent each example.

        argmin_{W, h} Σ_n ‖x_n - W h_n‖²   with at most k non-zero entries in each h_n and ‖w_j‖ = 1

    By turns: codes by orthogonal matching pursuit, then all atoms at once by least squares, W = XᵀH (HᵀH)⁺ (the method
    of optimal directions). Atoms start as examples; one that no example uses, or that is another's twin, becomes the
    example that is represented worst. For k = 1 this is k-means with lines for centroids. Costs N K D k a round.

    Args:
        x: Examples, centred or standardised.
        atoms: K, at least 1.
        k: Most non-zero entries of a code, from 1 to min(D, K).
        rounds: How often, at least 1.
        generator: Source of the first atoms, on the CPU; None is PyTorch's default generator.

    Returns:
        W, an atom in each column.

    Raises:
        ConfigError: If a number is out of range, or all examples are zero.

    References: Engan, Aase & Husøy, "Method of Optimal Directions for Frame Design", ICASSP 1999; Coates & Ng, "The
    Importance of Encoding Versus Training", ICML 2011, section 3.1 (OMP-k).
    """
    if atoms < 1 or rounds < 1 or not 1 <= k <= min(atoms, x.shape[1]):
        raise ConfigError(
            f"{k!r} of {atoms!r} atoms of {x.shape[1]} numbers in {rounds!r} rounds cannot be",
            where="learn_dictionary",
            mend="use k=1",
        )
    some = x[(x != 0).any(1)]
    if not len(some):
        raise ConfigError("all examples are zero", where="learn_dictionary", mend="give others")
    order = torch.randperm(max(len(some), atoms), generator=generator).to(x.device)[:atoms] % len(some)
    # Where atoms are more than examples, or examples occur twice, noise keeps two from being one.
    noise = torch.randn(atoms, x.shape[1], generator=generator).to(x)
    w = normalize(some[order] + 1e-3 * some.std() * noise, dim=1).mT
    for _ in range(rounds):
        products, gram, left = x.new_zeros(atoms, x.shape[1]), x.new_zeros(atoms, atoms), []
        for part in torch.split(some, _AT_ONCE):
            codes = orthogonal_matching_pursuit(part, w, k)
            products += codes.mT @ part
            gram += codes.mT @ codes
            left.append((part - codes @ w.mT).norm(dim=1))
        used = gram.diagonal() > 0
        w[:, used] = torch.linalg.lstsq(gram[used][:, used].double(), products[used].double()).solution.mT.to(x)
        w = normalize(w, dim=0)
        twins = (w.mT @ w).abs().triu(1).amax(0) > _TWINS
        vanished = (~used | twins | (w.norm(dim=0) < 0.5)).nonzero().flatten()
        worst = torch.cat(left).argsort(descending=True)[: len(vanished)]
        w[:, vanished[: len(worst)]] = some[worst].mT
        w = normalize(w, dim=0)
    return w
