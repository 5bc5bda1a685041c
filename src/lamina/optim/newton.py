"""Newton's method, damped: the step to where the quadratic model has its critical point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from lamina.curvature.conjugate_gradient import conjugate_gradient
from lamina.errors import ConfigError
from lamina.optim._flat import Closure, FlatBatch, whole_state

Curvature = Literal["hessian", "gauss-newton"]
DENSE = 1000  # parameters up to which the matrix is formed where nothing is said


@dataclass(frozen=True, slots=True)
class NewtonReport:
    """The last step.

    Attributes:
        length: ‖Δθ‖; 0 where the parameters have not moved.
        products: With the curvature.
        residual: ‖(C + Λ) p + g‖ / ‖g‖ of the direction p.
        reason: ``solved``; ``steps``: conjugate gradients reached their limit, and went as far as they had come;
            ``negative-curvature``: they met a direction along which C + Λ is not positive, and went as far as they had
            come, which may be nowhere: raise the damping; ``singular``, ``non-finite``, ``zero-gradient``: no step.
    """

    length: float
    products: int
    residual: float
    reason: str


class Newton(Optimizer):
    """θ ← θ - lr ⊙ (C + Λ)⁻¹ ∇L,  C the Hessian of the batch's loss, Λ = diag(damping).

    On a quadratic with lr = 1 and no damping one step ends at its critical point, be it a minimum, a maximum or a
    saddle: undamped, the method is drawn to saddles, which in networks outnumber the minima. With a damping above the
    size of the Hessian's lowest eigenvalue the direction descends, and leaves a saddle along its negative curvature. λ
    can be read as the multiplier of a step that is kept within a radius r (``TrustRegionNewton``, which finds λ by
    itself): the larger λ, the smaller r; towards infinity the step is -∇L/λ. Texts that add λ²I mean this λ by λ².

    The step is plain, without search, and may raise the loss. Dense, it costs P products (vectorised), P²
    numbers and P³/3 multiplications; with conjugate gradients up to ``max_steps`` products, each about two gradients.

    When not to use it: undamped on any network; on mini-batches, where (C + Λ)⁻¹ magnifies the noise of the gradient
    (batches of 10,000 and more are usual); where a loss must not rise, as ``TrustRegionNewton`` sees to it at the same
    cost; with kinked units (ReLU), whose Hessian lacks most of the curvature: ``curvature="gauss-newton"``.

    Args:
        params: Parameters or groups.
        lr: Share of the step that is taken; 0 keeps a group where it is.
        damping: λ of each group, at least 0.
        curvature: "hessian", or "gauss-newton", which is positive semi-definite (without penalty).
        dense: Solve with the whole matrix (True) or by conjugate gradients (False), which need C + Λ positive definite;
            None is dense for up to 1,000 parameters.
        max_steps: Of conjugate gradients.
        tolerance: On their residual, relative to the gradient.

    Raises:
        ConfigError: If an argument does not fit.

    References: Nocedal & Wright, Numerical Optimization, 2006, sections 3.3 and 7.1; Dauphin et al., "Identifying and
    attacking the saddle point problem", NeurIPS 2014.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1.0,
        *,
        damping: float = 0.0,
        curvature: Curvature = "hessian",
        dense: bool | None = None,
        max_steps: int = 250,
        tolerance: float = 1e-5,
    ) -> None:
        if not lr >= 0.0 or not damping >= 0.0 or max_steps < 1 or not tolerance >= 0.0:
            raise ConfigError(
                f"lr, damping and tolerance must be at least 0 and max_steps at least 1, got {lr!r}, {damping!r}, "
                f"{tolerance!r} and {max_steps!r}",
                where="Newton",
                mend="correct the one that is not",
            )
        check_curvature("Newton", curvature)
        super().__init__(params, {"lr": lr, "damping": damping})
        self.curvature, self.dense, self.max_steps, self.tolerance = curvature, dense, max_steps, tolerance
        self.last: NewtonReport | None = None

    __getstate__ = whole_state

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Tensor:  # type: ignore[override]
        """Make one step.

        Args:
            closure: A ``lamina.curvature.BatchLoss``.

        Returns:
            The loss at the beginning.
        """
        here = FlatBatch("Newton", self.param_groups, closure)
        if here.stuck:
            self.last = NewtonReport(0.0, 0, 0.0, here.stuck)
            return here.loss
        flat, gradient = here.flat, here.gradient
        damping = flat.option("damping")
        dense = self.dense if self.dense is not None else len(gradient) <= DENSE
        if dense:
            matrix = here.matrix(self.curvature)
            matrix.diagonal().add_(damping)
            step, failed = torch.linalg.solve_ex(matrix, -gradient)
            products, reason = len(gradient), "singular" if failed else "solved"
            residual = float(torch.linalg.vector_norm(matrix @ step + gradient) / torch.linalg.vector_norm(gradient))
        else:
            product = here.product(self.curvature)
            solution = conjugate_gradient(
                lambda v: {"": torch.addcmul(product(v[""]), damping, v[""])},
                {"": -gradient},
                max_steps=self.max_steps,
                tolerance=self.tolerance,
            )
            step, products, residual = solution.vector[""], solution.steps, solution.residual
            reason = "negative-curvature" if solution.negative_curvature else "steps"
            reason = "solved" if solution.converged else reason
        step = step * flat.option("lr")
        length = float(torch.linalg.vector_norm(step))
        if reason != "singular" and not length < float("inf"):
            reason = "non-finite"
        if reason in {"singular", "non-finite"}:
            length = 0.0
        else:
            flat.place(flat.values() + step)
        self.last = NewtonReport(length, products, residual, reason)
        return here.loss


def check_curvature(owner: str, curvature: str) -> None:
    """Refuse a matrix that is no curvature of a step.

    Raises:
        ConfigError: If it is neither "hessian" nor "gauss-newton".
    """
    if curvature not in {"hessian", "gauss-newton"}:
        raise ConfigError(
            f'curvature must be "hessian" or "gauss-newton", got {curvature!r}', where=owner, mend='use "hessian"'
        )
