"""What every optimiser that takes a closure must do, by table: a new one is one row."""

from __future__ import annotations

import copy
import io
import itertools
import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lamina.curvature.batch_loss import BatchLoss
from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.errors import ConfigError
from lamina.likelihoods import Gaussian
from lamina.optim import linear
from lamina.optim.extended_kalman import ExtendedKalman
from lamina.optim.hessian_free import HessianFree
from lamina.optim.kfac import KFAC
from lamina.optim.lbfgs import LBFGS
from lamina.optim.levenberg_marquardt import LevenbergMarquardt
from lamina.optim.newton import Newton
from lamina.optim.nonlinear_conjugate_gradient import NonlinearConjugateGradient
from lamina.optim.tonga import TONGA
from lamina.optim.trust_region import TrustRegionNewton
from lamina.training import ClosureStep, Supervised, fit
from lamina.training.learning_rate import LearningRate
from optim.closure_problems import classification, regression, rosenbrock, weights_of

Params = Iterable[Tensor] | Iterable[dict[str, Any]]


@dataclass(frozen=True)
class Row:
    """An optimiser.

    Attributes:
        make: From parameters or groups; given a module in place of them where ``module`` is set.
        batch: Whether it needs a ``BatchLoss`` and not any closure.
        module: Whether it is made from the module, and takes no groups.
        classes: Whether it takes likelihoods other than the Gaussian of fixed scale.
        monotone: Whether the loss of one batch never rises (but for rounding).
        settles: Whether it stays at the minimum of one batch that is shown again and again.
        apart: How far groups in another order may lead by rounding.
        rosenbrock: Steps to Rosenbrock's minimum within 1e-3, None where it is not made for that.
    """

    make: Callable[[Any], Optimizer]
    batch: bool = True
    module: bool = False
    classes: bool = True
    monotone: bool = True
    settles: bool = True
    apart: float = 1e-6
    rosenbrock: int | None = None

    def of(self, model: nn.Module) -> Optimizer:
        """The optimiser of a whole model."""
        return self.make(model if self.module else model.parameters())


TABLE: dict[str, Row] = {
    "lbfgs": Row(LBFGS, batch=False, rosenbrock=45),
    "lbfgs-memoryless": Row(lambda p: LBFGS(p, memory=1), batch=False, rosenbrock=80),
    "lbfgs-iterations": Row(lambda p: LBFGS(p, iterations=2), batch=False, rosenbrock=23),
    "lbfgs-fixed": Row(lambda p: LBFGS(p, lr=0.5, line_search=None, damping=0.2), batch=False, monotone=False),
    "cg-fletcher-reeves": Row(
        lambda p: NonlinearConjugateGradient(p, beta="fletcher-reeves"), batch=False, rosenbrock=60
    ),
    "cg-polak-ribiere": Row(NonlinearConjugateGradient, batch=False, rosenbrock=60),
    "cg-hestenes-stiefel": Row(
        lambda p: NonlinearConjugateGradient(p, beta="hestenes-stiefel"), batch=False, rosenbrock=60
    ),
    "newton-dense": Row(lambda p: Newton(p, damping=1.0, dense=True), monotone=False),
    "newton-cg": Row(lambda p: Newton(p, damping=1.0, dense=False), monotone=False),
    "newton-gauss-newton": Row(lambda p: Newton(p, damping=0.1, curvature="gauss-newton"), monotone=False),
    "trust-region-steihaug": Row(TrustRegionNewton, rosenbrock=35),
    "trust-region-exact": Row(lambda p: TrustRegionNewton(p, subproblem="exact"), rosenbrock=35),
    "levenberg-marquardt": Row(LevenbergMarquardt, rosenbrock=25),
    "levenberg-marquardt-plain": Row(lambda p: LevenbergMarquardt(p, scaled=False, rule="marquardt"), rosenbrock=30),
    "extended-kalman": Row(
        lambda p: ExtendedKalman(p, variance=0.1, forgetting=0.99, process_noise=1e-5),
        classes=False,
        monotone=False,
        settles=False,
    ),
    "hessian-free": Row(lambda p: HessianFree(p, damping=0.1), apart=1e-5),  # where CG stops is a matter of rounding
    "kfac": Row(lambda m: KFAC(m, damping=0.1, fisher="exact"), module=True, monotone=False),
    "tonga": Row(lambda p: TONGA(p, lr=0.01, every=5), monotone=False, settles=False),
}
ALL = pytest.mark.parametrize("name", list(TABLE))
GROUPED = pytest.mark.parametrize("name", [name for name, row in TABLE.items() if not row.module])


def problem(row: Row, dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[nn.Sequential, BatchLoss]:
    """A classification net, or a regression where that is all there is."""
    return classification(dtype=dtype, seed=seed) if row.classes else regression(dtype=dtype, seed=seed)


def another(model: nn.Module, loss: BatchLoss) -> tuple[nn.Module, BatchLoss]:
    """The same again, sharing nothing."""
    twin = copy.deepcopy(model)
    return twin, BatchLoss(twin, loss.likelihood, loss.inputs, loss.targets, weights=loss.weights)


@ALL
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_returns_the_loss_at_the_beginning_and_lowers_it(name: str, dtype: torch.dtype) -> None:
    row = TABLE[name]
    model, loss = problem(row, dtype)
    optimizer = row.of(model)
    places = [p.data_ptr() for p in model.parameters()]
    values = []
    for _ in range(8):
        before = loss.value()
        value = optimizer.step(loss)  # type: ignore[arg-type]
        assert value.shape == ()
        assert not value.requires_grad
        torch.testing.assert_close(value, before)
        values.append(float(value))
    values.append(float(loss.value()))
    assert values[-1] < 0.9 * values[0] if row.classes else values[-1] < values[0] - 0.05
    if row.monotone:
        assert all(b <= a + 1e-6 * abs(a) for a, b in itertools.pairwise(values))
    for p, place in zip(model.parameters(), places, strict=True):
        assert p.data_ptr() == place
        assert p.dtype == dtype
        assert p.is_leaf
        assert p.requires_grad
    assert optimizer.last is not None  # type: ignore[attr-defined]


@ALL
def test_it_refuses_what_it_cannot_use(name: str) -> None:
    row = TABLE[name]
    model, loss = problem(row)
    optimizer = row.of(model)
    with pytest.raises(ConfigError, match="step needs") as refusal:
        optimizer.step()
    assert "BatchLoss(net, likelihood, x, y)" in refusal.value.mend
    if not row.batch:
        return
    with pytest.raises(ConfigError, match="the loss of a batch, got function") as refusal:
        optimizer.step(lambda: loss())
    assert "BatchLoss(net, likelihood, x, y)" in refusal.value.mend
    before = weights_of(model)
    with pytest.raises(ConfigError, match=r"not (one|that) of the batch"):
        optimizer.step(another(model, loss)[1])  # type: ignore[arg-type]
    assert torch.equal(weights_of(model), before)


@ALL
def test_a_plain_closure_does_as_well_as_a_batch_loss(name: str) -> None:
    row = TABLE[name]
    if row.batch:
        return
    model, loss = problem(row)
    twin, theirs = another(model, loss)
    optimizer, other = row.of(model), row.of(twin)

    def closure() -> Tensor:
        other.zero_grad()
        value = theirs.total(twin(theirs.inputs))
        value.backward()
        return value

    for _ in range(4):
        torch.testing.assert_close(optimizer.step(loss), other.step(closure).detach())  # type: ignore[arg-type]
    torch.testing.assert_close(weights_of(model), weights_of(twin))


def only_plain(value: object) -> bool:
    """Whether a state is made of tensors, numbers, strings, lists and dictionaries."""
    if isinstance(value, dict):
        return all(isinstance(key, int | str) and only_plain(part) for key, part in value.items())
    if isinstance(value, list | tuple):
        return all(map(only_plain, value))
    return value is None or type(value) in {int, float, bool, str, Tensor}


@ALL
def test_a_resumed_run_is_bit_equal_to_one_that_was_not_stopped(name: str) -> None:
    """In the training loop, on mini-batches, through a file."""
    row = TABLE[name]

    def build() -> tuple[ClosureStep, InMemory]:
        model, loss = problem(row, torch.float32)
        data = InMemory(Batch(loss.inputs, loss.targets), batch_size=30, seed=1)
        return ClosureStep(model, Supervised(loss.likelihood), row.of(model)), data

    step, data = build()
    fit(step, data, max_epochs=4)
    first, data = build()
    fit(first, data, max_epochs=2)
    assert only_plain(first.optimizer.state_dict())
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second, data = build()
    second.load_state_dict(torch.load(file, weights_only=True))
    for epoch in (2, 3):
        for batch in data.batches(epoch):
            second(batch)
    assert torch.equal(weights_of(step.model), weights_of(second.model))
    assert not torch.equal(weights_of(step.model), weights_of(first.model))


@ALL
def test_copies_and_pickles_go_on_alike(name: str) -> None:
    row = TABLE[name]
    model, loss = problem(row)
    optimizer = row.of(model)
    optimizer.step(loss)  # type: ignore[arg-type]
    twins = [copy.deepcopy((model, optimizer)), pickle.loads(pickle.dumps((model, optimizer)))]
    optimizer.step(loss)  # type: ignore[arg-type]
    for twin, other in twins:
        other.step(BatchLoss(twin, loss.likelihood, loss.inputs, loss.targets))
        assert torch.equal(weights_of(model), weights_of(twin))


@GROUPED
def test_two_groups_of_equal_options_are_one(name: str) -> None:
    row = TABLE[name]
    model, loss = problem(row)
    twin, theirs = another(model, loss)
    optimizer = row.make(model.parameters())
    other = row.make([{"params": list(twin[2].parameters())}, {"params": list(twin[0].parameters())}])
    for _ in range(4):
        optimizer.step(loss)  # type: ignore[arg-type]
        other.step(theirs)  # type: ignore[arg-type]
    torch.testing.assert_close(weights_of(model), weights_of(twin), rtol=1e-5, atol=row.apart)


@GROUPED
def test_a_rate_of_zero_set_from_outside_holds_a_group_and_all_of_them(name: str) -> None:
    row = TABLE[name]
    model, loss = problem(row)
    optimizer = row.make([{"params": list(layer.parameters())} for layer in (model[0], model[2])])
    optimizer.step(loss)  # type: ignore[arg-type]
    optimizer.param_groups[0]["lr"] = 0.0
    held, free = model[0].weight.detach().clone(), model[2].weight.detach().clone()
    for _ in range(3):
        optimizer.step(loss)  # type: ignore[arg-type]
    assert torch.equal(model[0].weight, held)
    assert not torch.equal(model[2].weight, free)
    optimizer.param_groups[1]["lr"] = 0.0
    everything = weights_of(model)
    optimizer.step(loss)  # type: ignore[arg-type]
    assert torch.equal(weights_of(model), everything)


@GROUPED
def test_a_part_of_a_network_is_trained_as_if_the_rest_were_constant(name: str) -> None:
    row = TABLE[name]
    model, loss = problem(row)
    twin, theirs = another(model, loss)
    for p in twin[0].parameters():
        p.requires_grad_(False)
    theirs = BatchLoss(twin, loss.likelihood, loss.inputs, loss.targets)
    optimizer, other = row.make(model[2].parameters()), row.make(twin.parameters())
    for _ in range(4):
        optimizer.step(loss)  # type: ignore[arg-type]
        other.step(theirs)  # type: ignore[arg-type]
    torch.testing.assert_close(weights_of(model), weights_of(twin), rtol=1e-6, atol=1e-7)
    assert not torch.equal(model[2].weight, problem(row)[0][2].weight)


class WithIdle(nn.Module):
    """A net with a parameter that it does not use."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.idle = nn.Parameter(torch.full((2,), 7.0, dtype=torch.float64))
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        return out


@GROUPED
def test_a_parameter_without_gradient_is_left_alone(name: str) -> None:
    row = TABLE[name]
    inner, loss = problem(row)
    model = WithIdle(copy.deepcopy(inner))
    theirs = BatchLoss(model, loss.likelihood, loss.inputs, loss.targets)
    optimizer, other = row.of(inner), row.of(model)
    for _ in range(3):
        optimizer.step(loss)  # type: ignore[arg-type]
        other.step(theirs)  # type: ignore[arg-type]
    assert model.idle.tolist() == [7.0, 7.0]
    torch.testing.assert_close(weights_of(inner), weights_of(model.inner))


@ALL
def test_a_loss_that_is_no_number_changes_nothing_and_is_survived(name: str) -> None:
    row = TABLE[name]
    model, loss = problem(row)
    optimizer = row.of(model)
    optimizer.step(loss)  # type: ignore[arg-type]
    state, before = copy.deepcopy(optimizer.state_dict()), weights_of(model)
    spoilt = loss.inputs.clone()
    spoilt[3] = float("nan")
    value = optimizer.step(BatchLoss(model, loss.likelihood, spoilt, loss.targets))  # type: ignore[arg-type]
    assert value.isnan()
    assert torch.equal(weights_of(model), before)
    assert optimizer.last.reason == "non-finite"  # type: ignore[attr-defined]
    twin, theirs = another(model, loss)
    other = row.of(twin)
    other.load_state_dict(state)
    optimizer.step(loss)  # type: ignore[arg-type]
    other.step(theirs)  # type: ignore[arg-type]
    assert torch.equal(weights_of(model), weights_of(twin))
    assert not torch.equal(weights_of(model), before)


@ALL
def test_a_constant_loss_leaves_the_parameters(name: str) -> None:
    row = TABLE[name]
    model, loss = problem(row)
    nothing = torch.zeros(len(loss.inputs), dtype=loss.inputs.dtype)
    before = weights_of(model)
    optimizer = row.of(model)
    for _ in range(2):
        flat = BatchLoss(model, loss.likelihood, loss.inputs, loss.targets, weights=nothing)
        assert float(optimizer.step(flat)) == 0.0  # type: ignore[arg-type]
    assert torch.equal(weights_of(model), before)
    assert optimizer.last.reason in {"zero-gradient", "filtered"}  # type: ignore[attr-defined]


@ALL
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_at_the_minimum_it_stays(name: str, dtype: torch.dtype) -> None:
    """A linear net on its own predictions: no residual, no gradient."""
    row = TABLE[name]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2)).to(dtype)
    x = torch.randn(10, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    loss = BatchLoss(model, Gaussian(2, scale=1.0), x, model(x).detach())
    before = weights_of(model)
    optimizer = row.of(model)
    for _ in range(3):
        optimizer.step(loss)  # type: ignore[arg-type]
    torch.testing.assert_close(weights_of(model), before, rtol=0, atol=1e-6)
    assert weights_of(model).isfinite().all()


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row.settles])
def test_it_ends_where_it_can_go_no_further_and_stays_there(name: str) -> None:
    """In float32, long after the loss stopped showing any descent, nothing breaks and nothing wanders off."""
    row = TABLE[name]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 1))
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(20, 3, generator=generator), torch.randn(20, 1, generator=generator)
    loss = BatchLoss(model, Gaussian(1, scale=1.0), x, y)
    optimizer = row.of(model)
    for _ in range(30):
        optimizer.step(loss)  # type: ignore[arg-type]
    best = torch.linalg.lstsq(torch.cat([x, torch.ones(20, 1)], dim=1).double(), y.double()).solution[:, 0]
    found = torch.cat([model[0].weight.detach()[0], model[0].bias.detach()]).double()
    torch.testing.assert_close(found, best, atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row.rosenbrock is not None])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rosenbrocks_minimum(name: str, dtype: torch.dtype) -> None:
    row = TABLE[name]
    model, loss = rosenbrock([-1.2, 1.0], dtype)
    optimizer = row.of(model)
    assert row.rosenbrock is not None
    for _ in range(row.rosenbrock):
        optimizer.step(loss)  # type: ignore[arg-type]
    torch.testing.assert_close(model.x.detach(), torch.ones(2, dtype=dtype), atol=1e-3, rtol=0)


@ALL
def test_the_loop_trains_on_mini_batches_with_a_schedule(name: str) -> None:
    row = TABLE[name]
    model, loss = problem(row, torch.float32)
    step = ClosureStep(model, Supervised(loss.likelihood), row.of(model))
    data = InMemory(Batch(loss.inputs, loss.targets), batch_size=30, seed=0)
    before = float(loss.value())
    history = fit(step, data, max_epochs=6, callbacks=[LearningRate(linear)])
    after = float(loss.value())
    assert after < before
    assert len(history.records) == 6
    assert step.optimizer.param_groups[0]["lr"] < 0.05 * step.optimizer.param_groups[0]["initial_lr"]


@ALL
def test_noise_of_the_network_is_held_still_during_a_step(name: str) -> None:
    """Dropout: the loss at the end that a step reports is the one that the same closure gives."""
    row = TABLE[name]
    inner, loss = problem(row)
    torch.manual_seed(0)
    model = nn.Sequential(inner[0], inner[1], nn.Dropout(0.3), inner[2])
    optimizer = row.of(model)
    for _ in range(3):
        noisy = BatchLoss(model, loss.likelihood, loss.inputs, loss.targets)
        optimizer.step(noisy)  # type: ignore[arg-type]
        told = getattr(optimizer.last, "loss", None)  # type: ignore[attr-defined]
        if told is not None:
            assert float(noisy.value()) == pytest.approx(told, rel=1e-9)


@GROUPED
def test_a_group_may_be_added_later(name: str) -> None:
    row = TABLE[name]
    model, loss = problem(row)
    optimizer = row.make(model[0].parameters())
    optimizer.step(loss)  # type: ignore[arg-type]
    optimizer.add_param_group({"params": list(model[2].parameters())})
    before = model[2].weight.detach().clone()
    optimizer.step(loss)  # type: ignore[arg-type]
    assert not torch.equal(model[2].weight, before)
