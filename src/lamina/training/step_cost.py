"""Step-cost check: what a step of gradient descent should gain, and whether curvature eats the gain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from lamina.curvature.batch_loss import BatchLoss
from lamina.curvature.products import hessian_vector
from lamina.data.batch import Batch
from lamina.errors import ConfigError
from lamina.likelihoods.base import Likelihood
from lamina.training.callback import Callback
from lamina.training.run import Run


@dataclass(frozen=True)
class StepCost:
    """What a step -ε g changes the loss by, to second order.

        L(θ - ε g) - L(θ) ≈ ½ ε² gᵀ H g - ε gᵀ g

    Attributes:
        gain: ε gᵀ g, what the slope takes off.
        cost: ½ ε² gᵀ H g, what curvature puts back on; negative where the loss curves down.
        sharpness: gᵀ H g / gᵀ g, the curvature along the gradient; NaN where the gradient is zero.
    """

    gain: float
    cost: float
    sharpness: float

    @property
    def change(self) -> float:
        """The change of the loss that is to be expected."""
        return self.cost - self.gain

    @property
    def curvature_wins(self) -> bool:
        """Whether the step makes the loss rise: ε above 2 / sharpness. The best ε of this step is 1 / sharpness."""
        return self.cost > self.gain


def step_cost(batch: BatchLoss, rate: float) -> StepCost:
    """Return what a step of gradient descent of this rate would change the batch's loss by.

    Costs a gradient and a product with the Hessian. Leaves weights, gradients, running statistics and random generators
    as they are.

    Args:
        batch: The loss; its parameters' gradient is g.
        rate: ε, at least 0.

    Returns:
        Gain, cost and sharpness.

    Raises:
        ConfigError: If ε is negative.

    Reference: Goodfellow, Bengio & Courville, Deep Learning, 2016, section 8.2.1, eq. 8.10.
    """
    if not rate >= 0.0:
        raise ConfigError(f"rate must be at least 0, got {rate!r}", where="step_cost", mend="use 0.01")
    device = batch.inputs.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        parameters = batch.parameters
        gradient = torch.func.grad(batch.at)(parameters)
        turned = hessian_vector(batch.at, parameters, gradient)
    square = sum(float(g.double().square().sum()) for g in gradient.values())
    bent = sum(float((g.double() * turned[name].double()).sum()) for name, g in gradient.items())
    return StepCost(rate * square, 0.5 * rate * rate * bent, bent / square if square else float("nan"))


class StepCostMonitor(Callback):
    """After each epoch records ``step_gain``, ``step_cost`` and ``sharpness``, and warns when curvature wins.

    The check is that of a plain gradient step of the present rate on examples that stay the same. Other optimisers make
    other steps: with momentum α a rate is too large above 2 (1 + α) / (largest curvature), and for Adam the rate is no
    ε of this kind at all. There take ``sharpness`` as a diagnosis: one that grows to 2/ε while the gradient norm does
    not fall is ill-conditioning.

    Args:
        data: Some hundred examples.
        likelihood: Gives the loss, without penalties.
        every: Epochs from one check to the next, at least 1.
        say: Receives a line for each check at which curvature won.

    Raises:
        ConfigError: If ``every`` is below 1 or the data have no targets.
    """

    def __init__(
        self, data: Batch, likelihood: Likelihood, every: int = 1, say: Callable[[str], None] = lambda text: None
    ) -> None:
        if every < 1 or data.targets is None:
            raise ConfigError("wants examples with targets and every at least 1", where="StepCostMonitor")
        self.data, self.likelihood, self.every, self.say = data, likelihood, every, say

    def on_epoch(self, run: Run) -> None:
        """Look at the weights as they are now."""
        if run.epoch % self.every:
            return
        model, data = run.step.model, self.data
        assert data.targets is not None
        training = model.training
        model.eval()  # as the network will be used: no noise, and statistics that do not depend on the batch
        try:
            rate = float(run.step.optimizer.param_groups[0]["lr"])
            found = step_cost(BatchLoss(model, self.likelihood, data.inputs, data.targets, weights=data.weights), rate)
        finally:
            model.train(training)
        run.history.current |= {"step_gain": found.gain, "step_cost": found.cost, "sharpness": found.sharpness}
        if found.curvature_wins:
            self.say(
                f"epoch {run.epoch}: curvature wins: a gradient step of rate {rate:.3g} would raise the loss; "
                f"it falls below rates of {2.0 / found.sharpness:.3g}"
            )
