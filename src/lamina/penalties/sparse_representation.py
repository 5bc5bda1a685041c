"""Sparse representation: a penalty on what the hidden units do, not on the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.nn import units
from lamina.penalties.base import Context, Penalty


@dataclass(frozen=True)
class SparseRepresentation(Penalty):
    """(1/N) Σ_n ‖h_n‖₁ of the hidden activities h of N examples, summed over all watched layers.

    A term on the representation, where L1 is one on the weights: most units are to be silent for any one example.

    The activities come from the objective's own forward pass where the network is watched:

        with penalty.watch(model):
            fit(step, ...)

    Otherwise each call makes a second forward pass, which leaves the running averages of batch normalisation as they
    are, but draws dropout masks of its own.

    Attributes:
        layers: Pattern of module names, shell style: ``"relu*"``, ``"encoder.*"``. Empty, all modules of
            ``torch.nn.modules.activation`` and ``lamina.nn.units`` but attention and softmax; an output unit among them
            does not count.

    Raises:
        ConfigError: When called or watched, if no module fits.

    Reference: Goodfellow et al., Deep Learning, 2016, eq. 7.48.
    """

    layers: str = ""
    _watched: WeakKeyDictionary[nn.Module, _Recorder] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False, compare=False
    )

    def __call__(self, context: Context) -> Float[Tensor, ""]:
        """Return the mean L1 norm of an example's hidden activities.

        Returns:
            A scalar.
        """
        model: nn.Module = getattr(context.model, "_orig_mod", context.model)
        recorder = self._watched.get(model)
        if recorder is not None and recorder.outputs is context.outputs:
            activities, outputs = recorder.activities, recorder.outputs
            self._watched[model].clear()  # the graph of this pass is not kept longer than its owner keeps it
        else:
            activities, outputs = _second_pass(model, self._modules(model), context.inputs)
        sums = [h.abs().sum() for h in activities if h is not outputs]
        n = context.outputs.shape[0]
        return torch.stack(sums).sum() / n if sums else context.outputs.new_zeros(())

    @contextmanager
    def watch(self, model: nn.Module) -> Iterator[None]:
        """Within the block, note the hidden activities of every forward pass of a network that has a gradient.

        Yields:
            Nothing.
        """
        model = getattr(model, "_orig_mod", model)
        recorder = _Recorder()
        with ExitStack() as stack:
            for handle in recorder.attach(model, self._modules(model)):
                stack.callback(handle.remove)
            self._watched[model] = recorder
            stack.callback(self._watched.pop, model, None)
            yield

    def _modules(self, model: nn.Module) -> list[nn.Module]:
        if self.layers:
            found = [m for name, m in model.named_modules() if name and fnmatchcase(name, self.layers)]
        else:
            found = [m for m in model.modules() if _is_unit(m)]
        if not found:
            what = f'no module is named "{self.layers}"' if self.layers else "the network has no activation modules"
            names = [name for name, _ in model.named_modules() if name]
            raise ConfigError(
                what,
                where="SparseRepresentation",
                mend=f"set layers= to one of {', '.join(names[:8]) or 'its modules'}",
            )
        return found


class _Recorder:
    """What the watched modules gave in the last forward pass."""

    def __init__(self) -> None:
        self.activities: list[Tensor] = []
        self.outputs: Tensor | None = None

    def clear(self) -> None:
        """Forget the last pass."""
        self.activities, self.outputs = [], None

    def attach(self, model: nn.Module, modules: Sequence[nn.Module]) -> Iterator[torch.utils.hooks.RemovableHandle]:
        """Register the hooks, one at a time."""
        yield model.register_forward_pre_hook(lambda *_: self.clear())
        for module in modules:
            yield module.register_forward_hook(self._note)
        yield model.register_forward_hook(self._end)

    def _note(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        if torch.is_grad_enabled():
            self.activities.append(output)

    def _end(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.outputs = output if torch.is_grad_enabled() else None


def _second_pass(model: nn.Module, modules: Sequence[nn.Module], inputs: Tensor) -> tuple[list[Tensor], Tensor]:
    recorder = _Recorder()
    handles = list(recorder.attach(model, modules))
    try:
        # On copies of the buffers, so that batch normalisation counts a batch once.
        outputs = torch.func.functional_call(model, {k: b.clone() for k, b in model.named_buffers()}, (inputs,))
    finally:
        for handle in handles:
            handle.remove()
    return recorder.activities, outputs


_NO_UNITS: tuple[Callable[..., nn.Module], ...] = (
    nn.MultiheadAttention,
    nn.Softmax,
    nn.Softmax2d,
    nn.LogSoftmax,
    nn.Softmin,
    units.SoftmaxSelector,
)


def _is_unit(module: nn.Module) -> bool:
    home = type(module).__module__
    unit = home == "torch.nn.modules.activation" or home.startswith(f"{units.__name__}.")
    return unit and type(module) not in _NO_UNITS
