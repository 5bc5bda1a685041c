"""Orthogonal matching pursuit: codes with at most k non-zero entries over a given dictionary."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lamina.errors import ConfigError


@torch.no_grad()
def orthogonal_matching_pursuit(
    x: Float[Tensor, "N D"], dictionary: Float[Tensor, "D K"], k: int, *, tolerance: float = 0.0
) -> Float[Tensor, "N K"]:
    """Return codes h that make ‖x - W h‖² small with at most k non-zero entries (OMP-k), example by example.

        r = x; k times:  j = argmax_j |w_j · r| / ‖w_j‖,  S ← S ∪ {j},  h_S = argmin ‖x - W_S h‖²,  r = x - W_S h_S

    Greedy: for orthogonal atoms exact, else not always the best set of k. The atoms chosen are kept as an orthogonal
    basis that grows by one each time (each new one made orthogonal twice, against rounding), so that the residual is
    orthogonal to all of them, and the coefficients follow from one triangular system at the end. An example that is
    already represented, to rounding or to ``tolerance``, takes no more atoms.

    Atoms need not have length 1 (scikit-learn's ``orthogonal_mp`` takes for granted that they have). Costs N K D k; all
    examples go together, so split a large set. No gradient is recorded: the choice of atoms has none.

    Args:
        x: Examples.
        dictionary: W, an atom in each column.
        k: Most non-zero entries, from 1 to min(D, K).
        tolerance: An example with ‖r‖ ≤ tolerance · ‖x‖ is done.

    Returns:
        Codes; float64 examples give float64's accuracy.

    Raises:
        ConfigError: If an argument does not fit, or an atom is zero.

    References: Pati, Rezaiifar & Krishnaprasad, "Orthogonal Matching Pursuit", Asilomar 1993; Coates & Ng, "The
    Importance of Encoding Versus Training", ICML 2011 (OMP-1 as features).
    """
    n, (d, n_atoms) = len(x), dictionary.shape
    _check_sparsity("orthogonal_matching_pursuit", k, dictionary)
    if x.shape[1] != d or x.dtype != dictionary.dtype or not tolerance >= 0:
        raise ConfigError(
            f"x {tuple(x.shape)} {x.dtype} must have rows as long as the atoms of W {tuple(dictionary.shape)} "
            f"{dictionary.dtype}, of one type, and tolerance be at least 0, got {tolerance!r}",
            where="orthogonal_matching_pursuit",
            mend="give W with an atom in each column",
        )
    lengths = dictionary.norm(dim=0)
    eps = torch.finfo(x.dtype).eps
    enough = x.norm(dim=1) * max(tolerance, 4 * eps * d**0.5)
    residual = x.clone()
    basis = x.new_zeros(n, k, d)
    # W_S = Qᵀ R with Q's rows orthonormal; where nothing more is taken, R has a 1 and the coordinate stays 0.
    triangle = torch.eye(k, dtype=x.dtype, device=x.device).repeat(n, 1, 1)
    coordinates = x.new_zeros(n, k)
    chosen = torch.zeros(n, k, dtype=torch.long, device=x.device)
    for step in range(k):
        # The residual is orthogonal to the atoms taken: one is the best match again by rounding alone, and not taken.
        atom = ((residual @ dictionary).abs() / lengths).argmax(1)
        vector = dictionary.mT[atom]  # (N, D)
        before = basis[:, :step]
        within = torch.bmm(before, vector.unsqueeze(2)).squeeze(2)
        rest = vector - torch.bmm(within.unsqueeze(1), before).squeeze(1)
        again = torch.bmm(before, rest.unsqueeze(2)).squeeze(2)
        rest = rest - torch.bmm(again.unsqueeze(1), before).squeeze(1)
        outside = rest.norm(dim=1)
        taken = (residual.norm(dim=1) > enough) & (outside > 8 * eps * d**0.5 * lengths[atom])
        unit = torch.where(taken, 1.0 / outside.clamp_min(torch.finfo(x.dtype).tiny), 0.0).unsqueeze(1) * rest
        basis[:, step] = unit
        triangle[:, :step, step] = torch.where(taken.unsqueeze(1), within + again, 0.0)
        triangle[:, step, step] = torch.where(taken, outside, 1.0)
        amount = (unit * residual).sum(1)
        coordinates[:, step] = amount
        residual = residual - amount.unsqueeze(1) * unit
        chosen[:, step] = atom
    weights = torch.linalg.solve_triangular(triangle, coordinates.unsqueeze(2), upper=True).squeeze(2)
    return x.new_zeros(n, n_atoms).scatter_add_(1, chosen, weights)


class MatchingPursuitFeatures(nn.Module):
    """OMP-k codes of a fixed dictionary as features, as for a deeper network to build on.

    With ``split_signs`` positive and negative coefficients are features of their own, max(0, h) and max(0, -h): a
    linear classifier behind them can then weigh the two differently.

    Args:
        dictionary: W, (D, K), an atom in each column; a buffer.
        k: Most non-zero entries; OMP-1 is the usual extractor.
        split_signs: Whether there are 2 K features.

    Raises:
        ConfigError: If k lies outside 1 … min(D, K), or an atom is zero.

    Reference: Coates & Ng, ICML 2011, section 3.2.
    """

    def __init__(self, dictionary: Float[Tensor, "D K"], k: int = 1, split_signs: bool = False) -> None:
        super().__init__()
        _check_sparsity("MatchingPursuitFeatures", k, dictionary)
        self.dictionary: Tensor
        self.register_buffer("dictionary", dictionary.detach().clone())
        self.k, self.split_signs = k, split_signs

    def forward(self, x: Float[Tensor, "N D"]) -> Float[Tensor, "N F"]:
        """Return the codes, F = K or 2 K."""
        codes = orthogonal_matching_pursuit(x, self.dictionary, self.k)
        if not self.split_signs:
            return codes
        positive = codes.relu()
        return torch.cat([positive, positive - codes], dim=1)


def _check_sparsity(owner: str, k: int, dictionary: Tensor) -> None:
    most = min(dictionary.shape)
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= most:
        raise ConfigError(f"k must be a whole number in 1 … {most}, got {k!r}", where=owner, mend=f"use at most {most}")
    if not dictionary.is_meta and not bool((dictionary != 0).any(0).all()):
        raise ConfigError("an atom of the dictionary is zero", where=owner, mend="leave that column out")
