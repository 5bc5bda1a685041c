"""The gradient step: forward, backward through autograd, clip, update."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lamina.data.batch import Batch
from lamina.errors import ConfigError
from lamina.optim.clipping import random_step_
from lamina.training.fused_update import fused_update
from lamina.training.objective import Loss, Objective

Precision = Literal["float32", "bfloat16", "float16"]


class GradientStep:
    """θ ← optimizer(θ, ∇_θ objective(model, batch)).

    The gradients of the last update stay in ``p.grad`` until the next call, for monitors to read.

    Args:
        model: The network, already on its device.
        objective: What to make small.
        optimizer: Any ``torch.optim.Optimizer`` over the model's parameters.
        clip_norm: Rescale the whole gradient to at most this Euclidean norm.
        clip_value: Clip each element of the gradient to ± this.
        clip_random: Replace a gradient whose Euclidean norm is above this, or no number, by a random one of this norm;
            comes before the other two. See ``lamina.optim.random_step_``.
        accumulate: Micro-batches per update: the batch is cut into this many pieces and their gradients, weighted by
            their sizes, add up to the gradient of the whole; memory falls, the update does not change (batch
            normalisation apart, which sees the pieces).
        precision: Arithmetic of the forward pass under autocast; weights and updates stay float32. ``float16`` scales
            the loss to keep small gradients, and skips an update whose gradient overflowed.
        compile_model: Pass the forward pass through ``torch.compile``.
        capture: Record the whole step as one CUDA graph and replay it; needs a CUDA device, full batches of one
            size and an optimizer built with ``capturable=True``. A batch of another size takes the ordinary path.

    Raises:
        ConfigError: If an argument is out of range or the device cannot do what is asked.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        optimizer: Optimizer,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        clip_random: float | None = None,
        accumulate: int = 1,
        precision: Precision = "float32",
        compile_model: bool = False,
        capture: bool = False,
    ) -> None:
        for name, value in {"clip_norm": clip_norm, "clip_value": clip_value, "clip_random": clip_random}.items():
            if value is not None and not value > 0:
                raise ConfigError(f"{name} must be above 0, got {value}", where="GradientStep")
        if accumulate < 1:
            raise ConfigError(f"accumulate must be at least 1, got {accumulate}", where="GradientStep")
        self.model, self.objective, self.optimizer = model, objective, optimizer
        self.clip_norm, self.clip_value, self.clip_random = clip_norm, clip_value, clip_random
        self.accumulate = accumulate
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.device = self.parameters[0].device
        self._forward: nn.Module = torch.compile(model) if compile_model else model  # type: ignore[assignment]
        self._cast = (
            None if precision == "float32" else {"bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
        )
        self.scaler = torch.amp.GradScaler(self.device.type) if precision == "float16" else None
        if capture and self.device.type != "cuda":
            raise ConfigError(
                f"whole-step capture needs a CUDA device, and the model is on {self.device}",
                where="GradientStep",
                mend="leave capture off, or move the model with --device cuda",
            )
        if capture and (accumulate > 1 or self.scaler is not None or clip_random is not None):
            raise ConfigError(
                "capture goes with accumulate=1, no float16 scaling and no clip_random", where="GradientStep"
            )
        self._graph = _CapturedStep(self._update) if capture else None
        self._quick: Callable[[], object] | None = None

    def __call__(self, batch: Batch) -> Mapping[str, Tensor]:
        """Make one update.

        Returns:
            ``loss`` and the objective's parts, detached, on the device.
        """
        if self._graph is not None:
            return self._graph(batch)
        return self._update(batch)

    def _update(self, batch: Batch) -> dict[str, Tensor]:
        if self._graph is None:
            for p in self.parameters:
                p.grad = None
        else:
            self.optimizer.zero_grad(set_to_none=False)
        scalars = self._gradient(batch, 1.0) if self.accumulate == 1 else self._accumulated(batch)
        if self.scaler is not None and (self.clip_norm or self.clip_value or self.clip_random):
            self.scaler.unscale_(self.optimizer)
        if self.clip_random is not None:
            random_step_(self.parameters, self.clip_random)
        if self.clip_value is not None:
            torch.nn.utils.clip_grad_value_(self.parameters, self.clip_value)
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        if self.scaler is None:
            self._apply()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return scalars

    def _apply(self) -> None:
        if self._quick is None:
            self.optimizer.step()  # the first one makes the optimizer's state
            self._quick = fused_update(self.optimizer)
        else:
            self._quick()

    def _gradient(self, batch: Batch, share: float) -> dict[str, Tensor]:
        if self._cast is None:
            loss = self.objective(self._forward, batch)
        else:
            with torch.autocast(self.device.type, self._cast):
                loss = self.objective(self._forward, batch)
        total = loss.total if share == 1.0 else loss.total * share
        (total if self.scaler is None else self.scaler.scale(total)).backward()  # type: ignore[no-untyped-call]
        return _record(loss, share)

    def _accumulated(self, batch: Batch) -> dict[str, Tensor]:
        size = -(-batch.size // self.accumulate)
        sums: dict[str, Tensor] = {}
        for start in range(0, batch.size, size):
            piece = batch.rows(start, start + size)
            for name, value in self._gradient(piece, piece.size / batch.size).items():
                sums[name] = sums[name] + value if name in sums else value
        return sums

    def state_dict(self) -> dict[str, Any]:
        """Return model, optimizer and loss-scale state."""
        state: dict[str, Any] = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        if self.scaler is not None:
            state["scaler"] = self.scaler.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state that ``state_dict`` returned; parameters keep their place in memory."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._quick = None
        if self.scaler is not None:
            self.scaler.load_state_dict(state["scaler"])


def _record(loss: Loss, share: float) -> dict[str, Tensor]:
    scalars = {"loss": loss.total.detach(), **loss.parts}
    return scalars if share == 1.0 else {name: value * share for name, value in scalars.items()}


class _CapturedStep:
    """Replays ``update`` as one CUDA graph over static copies of the batch.

    The warm-up runs on a side stream, as CUDA asks, and those three updates are real ones: they use the batch that was
    given and are counted, so no example is used twice or not at all.
    """

    WARM_UP = 3

    def __init__(self, update: Callable[[Batch], dict[str, Tensor]]) -> None:
        self.update = update
        self.graph: torch.cuda.CUDAGraph | None = None
        self.static: Batch | None = None
        self.scalars: dict[str, Tensor] = {}
        self.calls = 0

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        if self.static is not None and batch.inputs.shape != self.static.inputs.shape:
            return self.update(batch)
        if self.graph is None:
            if self.calls < self.WARM_UP:
                self.calls += 1
                return self._warm_up(batch)
            self._capture(batch)
        assert self.static is not None and self.graph is not None
        self._copy(batch)
        self.graph.replay()
        return {name: value.clone() for name, value in self.scalars.items()}

    def _warm_up(self, batch: Batch) -> dict[str, Tensor]:
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            scalars = self.update(batch)
        torch.cuda.current_stream().wait_stream(side)
        return scalars

    def _capture(self, batch: Batch) -> None:
        self.static = Batch(*(None if part is None else part.clone() for part in batch))  # type: ignore[arg-type]
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.scalars = self.update(self.static)

    def _copy(self, batch: Batch) -> None:
        assert self.static is not None
        for place, part in zip(self.static, batch, strict=True):
            if place is not None and part is not None:
                place.copy_(part, non_blocking=True)
