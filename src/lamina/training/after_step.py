"""What is done to the weights after each update: projection onto a norm constraint, the proximal step of L1."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lamina.errors import ConfigError
from lamina.optim.norm_constraint import GROUPS, project_norm_
from lamina.optim.proximal import proximal_step_
from lamina.penalties.weights import weights_of
from lamina.training.callback import Callback
from lamina.training.run import Run


class AfterStep(Callback):
    """Calls ``apply(weights, learning_rate)`` after each update, to change the weights in place. Override ``apply``.

    It works on the model's own parameters, so the step that makes the update may keep them as it likes. It must stand
    before what reads the weights (averages, checkpoints) and before ``LearningRate``, which sets the next update's
    rate. Weights whose groups have different rates are handed over group by group.

    Args:
        parameters: Pattern of names, shell style: ``"linear1"``, ``"*.weight"``; ``"*"`` is all weights. Biases and
            scales are left out.
    """

    def __init__(self, parameters: str = "*") -> None:
        self.parameters = parameters
        self._weights: list[tuple[list[Tensor], dict[str, Any]]] = []

    def on_start(self, run: Run) -> None:
        """Find the weights and the optimizer's groups that they are in."""
        groups = run.step.optimizer.param_groups
        home = {id(p): i for i, group in enumerate(groups) for p in group["params"]}
        found: dict[int, list[Tensor]] = {}
        for w in weights_of(run.step.model, self.parameters, owner=type(self).__name__):
            found.setdefault(home.get(id(w), 0), []).append(w)
        self._weights = [(weights, groups[i]) for i, weights in found.items()]

    def on_step(self, run: Run) -> None:
        """Change the weights."""
        groups = run.step.optimizer.param_groups
        if self._weights and not any(self._weights[0][1] is group for group in groups):
            self.on_start(run)  # a state was loaded, and the optimizer has new groups
        for weights, group in self._weights:
            self.apply(weights, group["lr"])

    def apply(self, weights: list[Tensor], learning_rate: float | Tensor) -> None:
        """Change weights in place; ``learning_rate`` is that of the update just made."""
        raise NotImplementedError


class NormConstraint(AfterStep):
    """After each update, projects weights onto ‖w‖₂ ≤ k: training by projected gradient descent.

        w ← w min(1, k / ‖w‖₂)

    At a constrained minimum with ‖w‖ = k the gradient of the loss is -α* w, so that it is the minimum of the loss plus
    α*/2 ‖w‖² as well, with the α* that belongs to k (the multiplier of ‖w‖ - k itself is α* k). See
    ``lamina.optim.project_norm_``.

    Args:
        limit: k, above 0.
        per: One norm for all of the weights together ("whole"), for each weight matrix or filter bank ("layer"), each
            unit's incoming weights ("unit"), or each input's outgoing ones ("column").
        parameters: Pattern of names; ``"*"`` is all weights.

    Raises:
        ConfigError: If k is not above 0 or ``per`` is unknown; at the start, if the pattern fits no weight.

    Reference: Goodfellow et al., Deep Learning, 2016, section 7.2; Hinton et al., arXiv:1207.0580, 2012.
    """

    def __init__(self, limit: float, per: str = "unit", parameters: str = "*") -> None:
        super().__init__(parameters)
        if not limit > 0.0 or per not in GROUPS:
            raise ConfigError(
                f"limit must be above 0 and per one of {', '.join(GROUPS)}, got {limit!r} and {per!r}",
                where="NormConstraint",
                mend='use limit=3.0, per="unit"',
            )
        self.limit, self.per = limit, per

    def on_start(self, run: Run) -> None:
        """Find the weights; all in one group, as the whole norm has nothing to do with rates."""
        super().on_start(run)
        self._weights = [
            ([w for weights, _ in self._weights for w in weights], group) for _, group in self._weights[:1]
        ]

    def apply(self, weights: list[Tensor], learning_rate: float | Tensor) -> None:
        """Project."""
        project_norm_(weights, self.limit, self.per)


class ProximalStep(AfterStep):
    """After each update of rate η, applies the proximal operator of η (l1 ‖w‖₁ + ½ l2 ‖w‖²): weights exactly zero.

        w ← sign(w) max(|w| - η l1, 0) / (1 + η l2)

    It stands in place of the penalties ``l1 * L1()`` and ``l2 * L2()`` in the objective. With gradient descent without
    momentum the two make the same minimum; see ``lamina.optim.proximal_step_`` for other optimisers.

    Args:
        l1: Coefficient of ‖w‖₁, at least 0.
        l2: Coefficient of ½ ‖w‖², at least 0; above 0 for the elastic net.
        parameters: Pattern of names; ``"*"`` is all weights.

    Raises:
        ConfigError: If a coefficient is negative; at the start, if the pattern fits no weight.

    Reference: Parikh & Boyd, "Proximal Algorithms", 2014, section 4.2; Goodfellow et al., 2016, eq. 7.23.
    """

    def __init__(self, l1: float, l2: float = 0.0, parameters: str = "*") -> None:
        super().__init__(parameters)
        if not (l1 >= 0.0 and l2 >= 0.0):
            raise ConfigError(
                f"l1 and l2 must be at least 0, got {l1!r} and {l2!r}", where="ProximalStep", mend="use l1=0.001"
            )
        self.l1, self.l2 = l1, l2

    def apply(self, weights: list[Tensor], learning_rate: float | Tensor) -> None:
        """Threshold."""
        proximal_step_(weights, self.l1, learning_rate, l2=self.l2)
