"""The closure step against PyTorch's optimisers called by hand, and in the loop."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lamina.data.batch import Batch
from lamina.errors import ConfigError
from lamina.likelihoods import Categorical
from lamina.penalties import L2
from lamina.training import ClosureStep, Loss, Supervised, fit
from lamina.training.callback import Callback
from lamina.training.run import Run
from training.problems import blobs, network, stream, weights_of


def lbfgs(model: nn.Module) -> torch.optim.LBFGS:
    return torch.optim.LBFGS(model.parameters(), max_iter=4, line_search_fn="strong_wolfe")


def test_is_the_optimizer_called_with_the_loss_written_out() -> None:
    batch = blobs(60)
    ours, theirs = network(), network()
    step = ClosureStep(ours, Supervised(Categorical(3), 0.1 * L2()), lbfgs(ours))
    optimizer = lbfgs(theirs)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(theirs(batch.inputs), batch.targets)
        total = loss + 0.05 * sum(p.square().sum() for p in theirs.parameters() if p.ndim == 2)
        total.backward()
        return total.detach()

    for _ in range(3):
        scalars = step(batch)
        expected = optimizer.step(closure)
        assert float(scalars["loss"]) == pytest.approx(float(expected), rel=1e-5)
        assert float(scalars["nll"] + scalars["penalty"]) == pytest.approx(float(expected), rel=1e-5)
    torch.testing.assert_close(weights_of(ours), weights_of(theirs), rtol=1e-4, atol=1e-5)


def test_weights_of_examples_count() -> None:
    batch = blobs(40)
    keep = torch.zeros(40)
    keep[:10] = 4.0  # averages one
    some, few = network(), network()
    ClosureStep(some, Supervised(Categorical(3)), torch.optim.SGD(some.parameters(), 0.1))(
        Batch(batch.inputs, batch.targets, keep)
    )
    ClosureStep(few, Supervised(Categorical(3)), torch.optim.SGD(few.parameters(), 0.1))(batch.rows(0, 10))
    torch.testing.assert_close(weights_of(some), weights_of(few))


def test_dropout_is_drawn_once_for_all_evaluations_of_an_update_and_anew_for_the_next() -> None:
    model = network(dropout=0.5).train()
    losses: list[float] = []

    class Twice(torch.optim.SGD):
        def step(self, closure):  # type: ignore[no-untyped-def, override]
            first = closure()
            losses.extend([float(first), float(closure())])
            return first

    step = ClosureStep(model, Supervised(Categorical(3)), Twice(model.parameters(), 0.1))
    step(blobs())
    step(blobs())
    assert losses[0] == losses[1]
    assert losses[2] == losses[3]
    assert losses[0] != losses[2]


def test_running_means_move_once_an_update() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).train()
    ClosureStep(model, Supervised(Categorical(3)), lbfgs(model))(blobs())
    assert int(model[1].num_batches_tracked) == 1  # type: ignore[arg-type]


def test_takes_an_objective_of_any_kind() -> None:
    model = network()

    def objective(net: nn.Module, batch: Batch) -> Loss:
        return Loss(net(batch.inputs).square().mean())

    step = ClosureStep(model, objective, lbfgs(model))
    first, second = float(step(blobs())["loss"]), float(step(blobs())["loss"])
    assert 0 < second < 0.5 * first


def test_resumes_to_the_same_bits_in_the_loop() -> None:
    class Keep(Callback):
        state = None

        def on_step(self, run: Run) -> None:
            if run.steps == 9:
                from lamina.training.state import copy_state

                self.state = copy_state(run.state_dict())

    def fresh(seed: int) -> ClosureStep:
        model = network(seed, dropout=0.2)
        return ClosureStep(model, Supervised(Categorical(3)), lbfgs(model))

    keep, whole, rest = Keep(), fresh(0), fresh(1)
    torch.manual_seed(3)
    fit(whole, stream(), max_epochs=2, callbacks=[keep])
    fit(rest, stream(), max_epochs=2, state={"run": keep.state, "callbacks": []})
    assert torch.equal(weights_of(whole.model), weights_of(rest.model))


def test_a_batch_without_targets_is_refused() -> None:
    model = network()
    step = ClosureStep(model, Supervised(Categorical(3)), lbfgs(model))
    with pytest.raises(ConfigError, match="targets"):
        step(Batch(torch.zeros(4, 5)))
