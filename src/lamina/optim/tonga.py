"""TONGA: online natural gradient with a low-rank, block-diagonal covariance of the gradients of mini-batches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from lamina.curvature.blocks import By, block_places
from lamina.curvature.low_rank import principal
from lamina.errors import ConfigError
from lamina.optim._flat import Closure, FlatBatch, whole_state


@dataclass(frozen=True, slots=True)
class TONGAReport:
    """The last step.

    Attributes:
        length: ‖Δθ‖; 0 where the parameters have not moved.
        rows: Gradients and directions that each block's covariance was made of.
        reason: ``moved``, or why not: ``zero-gradient``, ``non-finite``.
    """

    length: float
    rows: int
    reason: str


class TONGA(Optimizer):
    """θ ← θ - lr (C_t + λI)⁻¹ g_t in each block of parameters, C_t the mean of g gᵀ over the mini-batches of late.

        C_t = Σ_{i ≤ t} γ^(t-i) g_i g_iᵀ / Σ_{i ≤ t} γ^(t-i) = Rᵀ W R
        (C_t + λI)⁻¹ g_t = Rᵀ (W R Rᵀ + λI)⁻¹ e_t,   g_t = Rᵀ e_t

    A direction along which the gradients of the mini-batches disagree is gone along less far. R holds one row for each
    of the last gradients; after ``every`` more of them its rows are replaced by the ``rank`` greatest directions of
    Rᵀ W R, from the eigenvectors of the small matrix R Rᵀ. Only numbers of rows by rows are solved and decomposed. Per
    step some 4 (rank + every) multiplications a parameter, beside the gradient; the memory is (rank + every) numbers a
    parameter, whatever the blocks are. A block is all that belongs to one unit (its incoming weights and its bias), one
    parameter, or one layer.

    C is not centred, as in the paper; unlike there it is divided by the weights' sum, so that λ and lr mean the same
    from the first step on and for every γ: λ is in squared units of the gradient, lr / λ the rate where C is 0.

    When not to use it: far from fitting, the covariance of the gradients says little of the curvature, and where all
    examples are fitted it vanishes while the curvature does not (``KFAC``, ``HessianFree``); on full batches, where the
    gradients of successive steps are nearly one direction; where Adam's memory of two numbers a parameter is the limit.

    Args:
        params: Parameters or groups.
        lr: Learning rate of each group; 0 keeps a group where it is.
        damping: λ, above 0.
        decay: γ in (0, 1]; 1 forgets nothing.
        rank: k, at least 1.
        every: b, steps from one decomposition to the next, at least 1.
        by: What a block is: "unit", "parameter" or "layer".

    Raises:
        ConfigError: If an argument does not fit.

    Reference: Le Roux, Manzagol & Bengio, "Topmoumoute Online Natural Gradient Algorithm", NIPS 2007, sections 3 and 4.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-2,
        *,
        damping: float = 1e-2,
        decay: float = 0.995,
        rank: int = 5,
        every: int = 50,
        by: By = "unit",
    ) -> None:
        if not lr >= 0.0 or not 0.0 < damping < math.inf or not 0.0 < decay <= 1.0 or rank < 1 or every < 1:
            raise ConfigError(
                "lr must be at least 0, damping above 0, decay in (0, 1], rank and every at least 1, got "
                f"{lr!r}, {damping!r}, {decay!r}, {rank!r} and {every!r}",
                where="TONGA",
                mend="correct the one that is not",
            )
        block_places({"weight": torch.zeros(1)}, by)  # refuses what is no block
        super().__init__(params, {"lr": lr})
        self.damping, self.decay, self.rank, self.every, self.by = damping, decay, rank, every, by
        self.last: TONGAReport | None = None
        self._places: tuple[list[str], tuple[Tensor, ...]] = ([], ())

    __getstate__ = whole_state

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Tensor:  # type: ignore[override]
        """Make one step.

        Args:
            closure: A ``lamina.curvature.BatchLoss``, whose network's names tell which parameters belong together.

        Returns:
            The loss at the beginning.
        """
        here = FlatBatch("TONGA", self.param_groups, closure)
        if here.stuck:
            self.last = TONGAReport(0.0, 0, here.stuck)
            return here.loss
        places = self._blocks(here)
        state = self._state(here, places)
        self._add(state, here.gradient, places)
        weights = state["weights"]
        share = torch.tensor(weights, dtype=torch.float64) / state["total"]
        direction = torch.zeros_like(here.gradient)
        for place, rows, gram in zip(places, state["rows"], state["grams"], strict=True):
            count = len(weights)
            root = share.sqrt().to(gram)
            small = root.unsqueeze(1) * gram[:, :count, :count] * root
            small.diagonal(dim1=1, dim2=2).add_(self.damping)
            last = torch.zeros_like(small[:, :, :1])
            last[:, -1] = 1.0 / root[-1]
            mixture = root.unsqueeze(1) * torch.linalg.solve(small, last)
            direction[place] = (rows[:, :count].mT @ mixture).squeeze(2)
        step = -here.flat.option("lr") * direction
        length = float(torch.linalg.vector_norm(step))
        if not math.isfinite(length):
            self.last = TONGAReport(0.0, len(weights), "non-finite")
            return here.loss
        here.flat.place(here.flat.values() + step)
        self.last = TONGAReport(length, len(weights), "moved")
        if len(weights) == self.rank + self.every:
            self._decompose(state)
        return here.loss

    def _blocks(self, here: FlatBatch) -> tuple[Tensor, ...]:
        """Return where the blocks' elements stand in the vector of parameters."""
        if self._places[0] != here.names:
            named = dict(zip(here.names, here.flat.parameters, strict=True))
            self._places = here.names, block_places(named, self.by)
        return self._places[1]

    def _state(self, here: FlatBatch, places: tuple[Tensor, ...]) -> dict[str, Any]:
        """Return rows, their weights and their inner products; new ones where other parameters take part."""
        state: dict[str, Any] = self.state[self.param_groups[0]["params"][0]]
        if state.get("layout") != here.flat.layout:
            most, like = self.rank + self.every, here.gradient
            state.clear()
            state.update(
                layout=here.flat.layout,
                weights=[],
                total=0.0,
                rows=[like.new_zeros(len(place), most, place.shape[1]) for place in places],
                grams=[like.new_zeros(len(place), most, most) for place in places],
            )
        return state

    def _add(self, state: dict[str, Any], gradient: Tensor, places: tuple[Tensor, ...]) -> None:
        """Add g as a row of weight 1 and let the others fade."""
        new = len(state["weights"])
        state["weights"] = [self.decay * weight for weight in state["weights"]] + [1.0]
        state["total"] = self.decay * state["total"] + 1.0
        for place, rows, gram in zip(places, state["rows"], state["grams"], strict=True):
            rows[:, new] = gradient[place]
            inner = (rows[:, : new + 1] @ rows[:, new].unsqueeze(2)).squeeze(2)
            gram[:, new, : new + 1] = gram[:, : new + 1, new] = inner

    def _decompose(self, state: dict[str, Any]) -> None:
        """Put the greatest directions of Rᵀ W R in the place of the rows."""
        root = torch.tensor(state["weights"], dtype=torch.float64).sqrt()
        for rows, gram in zip(state["rows"], state["grams"], strict=True):
            kept = principal(root.to(rows).unsqueeze(1) * rows, self.rank)
            rows[:, : self.rank] = kept
            gram[:, : self.rank, : self.rank] = kept @ kept.mT
        state["weights"] = [1.0] * self.rank
