"""Divergence guard: notices a loss that is no number, names the step, the layer and the likely cause, and goes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from lamina.data.batch import Batch
from lamina.errors import DataError, DivergedError
from lamina.training.callback import Callback
from lamina.training.run import Run
from lamina.training.state import all_finite, copy_state
from lamina.training.step import scale_learning_rate


class DivergenceGuard(Callback):
    """Looks at every loss, a block of steps at a time, and never lets a NaN stand.

    A copy of the state is kept from the start of each epoch. When a loss is not finite, the run is taken back there and
    replayed up to the offending update to find the first layer whose output is not finite; then it is taken back again
    and goes on with a quarter of the learning rate, ``retries`` times at most. Stands first among the callbacks.

    Args:
        retries: How often to go back before giving up.
        say: Receives one line each time.

    Raises:
        DivergedError: From the hooks, when the retries are used up.
        DataError: From the hooks, when the batch itself holds a number that is not finite.
    """

    FACTOR = 0.25

    def __init__(self, retries: int = 3, say: Callable[[str], None] = lambda text: None) -> None:
        self.retries, self.say = retries, say
        self.count = 0
        self._good: dict[str, Any] | None = None

    def on_start(self, run: Run) -> None:
        """Keep the starting state; a resumed run keeps the one it was saved with, to take the same path."""
        if self._good is None:
            self._good = copy_state(run.state_dict())

    def on_epoch_start(self, run: Run) -> None:
        """Keep the state that the epoch starts from."""
        self._good = copy_state(run.state_dict())

    def on_block(self, run: Run) -> None:
        """Look at the losses of the last block."""
        self._look(run)

    def on_epoch(self, run: Run) -> None:
        """Look at the losses of the epoch's last, shorter block, and at the weights."""
        self._look(run)

    def _look(self, run: Run) -> None:
        losses = run.history.last_block["loss"]
        finite = losses.isfinite()
        if bool(finite.all()):
            if all_finite(list(run.step.model.state_dict().values())):
                return
            step = run.steps
        else:
            step = run.steps - len(losses) + int((~finite).nonzero()[0]) + 1
        cause = self._find(run, step)
        self.count += 1
        rate = float(run.step.optimizer.param_groups[0]["lr"])
        if self.count > self.retries:
            raise DivergedError(
                f"the loss is not a number at update {step}: {cause}",
                where="training",
                mend=f"lower --set learning_rate (it was {rate:.3g} after {self.retries} cuts), or set clip_norm=1",
            )
        assert self._good is not None
        run.rewind(copy_state(self._good))
        scale_learning_rate(run.step.optimizer, self.FACTOR)
        self._good = copy_state(run.state_dict())
        self.say(f"update {step} diverged ({cause}); back to update {run.steps} with a quarter of the learning rate")

    def _find(self, run: Run, step: int) -> str:
        """Replay from the good state to the offending update.

        Returns:
            What went wrong there.
        """
        assert self._good is not None
        run.load_state_dict(copy_state(self._good))
        largest = _largest(run.step.model)
        for batch in run.data.batches(run.epoch, run.position):
            if run.steps + 1 >= step:
                return self._blame(run, batch, largest)
            run.step(batch)
            run.steps += 1
        return "the weights are not finite"

    @staticmethod
    def _blame(run: Run, batch: Batch, largest_before: float) -> str:
        for name, part in (("inputs", batch.inputs), ("targets", batch.targets), ("weights", batch.weights)):
            if part is not None and part.is_floating_point() and not bool(part.isfinite().all()):
                rows = (~part.flatten(1).isfinite().all(1) if part.ndim > 1 else ~part.isfinite()).nonzero().flatten()
                raise DataError(
                    f"the {name} of examples {rows[:5].tolist()} of batch {run.position} hold a number "
                    "that is not finite",
                    where=f"update {run.steps + 1}",
                    mend="correct the data set that gives these batches",
                )
        now = _largest(run.step.model)
        grown = f"weights grew from {largest_before:.3g} to {now:.3g}" if now > 10 * largest_before else ""
        layer = first_not_finite(run.step.model, batch)
        if layer:
            return f"{layer} gives numbers that are not finite; " + (grown or "its inputs or weights overflow")
        run.step(batch)
        named = run.step.model.named_parameters()
        bad = next((n for n, p in named if p.grad is not None and not bool(p.grad.isfinite().all())), None)
        if bad:
            return f"the gradient of {bad} is not finite; " + (grown or "the loss overflows backwards")
        return "the loss overflows while every layer is finite; " + (grown or "the targets may be far out of scale")

    def state_dict(self) -> dict[str, Any]:
        """Return the retries used, and the state to go back to."""
        return {"count": self.count, "good": self._good}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state that ``state_dict`` returned."""
        self.count, self._good = int(state["count"]), state["good"]


def _largest(model: nn.Module) -> float:
    sizes = [p.detach().abs().max() for p in model.parameters() if p.numel()]
    return float(torch.stack(sizes).max()) if sizes else 0.0


def first_not_finite(model: nn.Module, batch: Batch) -> str:
    """Return the first layer, in the order of computation, whose output is not finite.

    Returns:
        For instance ``layer "3" (Linear)``, or nothing if all are finite.
    """
    found: list[str] = []

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def look(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and not found and not bool(output.isfinite().all()):
                found.append(f'layer "{name or "model"}" ({type(module).__name__})')

        return look

    with ExitStack() as stack, torch.no_grad():
        for name, module in model.named_modules():
            if not list(module.children()):
                stack.callback(module.register_forward_hook(hook(name)).remove)
        model(batch.inputs)
    return found[0] if found else ""
