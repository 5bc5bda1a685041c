"""The guard names what broke, goes back, and takes the same path after a resume."""

import pytest
import torch

from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.errors import DataError, DivergedError
from lamina.training import Callback, Run, fit
from lamina.training.divergence import DivergenceGuard
from training.problems import blobs, make_step, stream, weights_of


class Poison(Callback):
    """Sets a weight to infinity after one update, once."""

    def __init__(self, at: int, times: int = 1) -> None:
        self.at, self.left = at, times

    def on_step(self, run: Run) -> None:
        if run.steps == self.at and self.left:
            self.left -= 1
            with torch.no_grad():
                run.step.model[3].weight[0, 0] = float("inf")  # type: ignore[index]


def test_goes_back_to_the_epochs_start_with_a_quarter_of_the_rate() -> None:
    said: list[str] = []
    step = make_step(lr=1e-2)
    history = fit(step, stream(), max_epochs=3, callbacks=[DivergenceGuard(say=said.append), Poison(9)])
    assert len(said) == 1 and "update 10" in said[0] and "back to update 7" in said[0]
    assert torch.isfinite(weights_of(step.model)).all()
    assert len(history.records) == 3
    assert history.series("learning_rate") == pytest.approx([1e-2, 2.5e-3, 2.5e-3])


@pytest.mark.parametrize("options", [{}, {"clip_value": 1e9}])
def test_huge_rate_ends_with_one_error_that_names_update_layer_and_mend(options: dict[str, float]) -> None:
    step = make_step(lr=1e36, **options)
    with pytest.raises(DivergedError, match=r"at update \d+: layer \"\d\" \(Linear\)") as info:
        fit(step, stream(), max_epochs=3, callbacks=[DivergenceGuard()])
    assert "learning_rate" in info.value.mend and info.value.exit_code == 6


def test_a_bad_batch_is_named_as_such() -> None:
    data = blobs()
    data.inputs[17, 2] = float("nan")
    with pytest.raises(DataError, match=r"inputs of examples \[\d+\] of batch \d"):
        fit(make_step(), InMemory(data, 32), max_epochs=1, callbacks=[DivergenceGuard()])


def test_guard_changes_nothing_when_all_is_well() -> None:
    runs = []
    for callbacks in ([], [DivergenceGuard()]):
        step = make_step(dropout=0.5)
        torch.manual_seed(3)
        fit(step, stream(), max_epochs=3, callbacks=callbacks)
        runs.append(weights_of(step.model))
    assert torch.equal(*runs)


def test_targets_out_of_scale_are_told_from_layers() -> None:
    from lamina.likelihoods import Gaussian
    from lamina.training import GradientStep, Supervised

    model = torch.nn.Linear(5, 1)
    data = Batch(blobs().inputs, torch.full((200,), 1e30))
    step = GradientStep(model, Supervised(Gaussian(scale=1.0)), torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(DivergedError, match=r"overflows while every layer is finite|targets"):
        fit(step, InMemory(data, 32), max_epochs=1, callbacks=[DivergenceGuard()])
