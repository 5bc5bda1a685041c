"""What every first-order optimiser must do, one row a method in the table."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.errors import ConfigError
from lamina.likelihoods import Categorical
from lamina.training import GradientStep, Supervised, fit
from lamina.training.closure_step import ClosureStep
from lamina.training.state import copy_state, flatten_state, unflatten_state
from optim.problems import FIRST_ORDER, Make, network, state_of

ALL = pytest.mark.parametrize("make", FIRST_ORDER.values(), ids=FIRST_ORDER)


def blobs(dtype: torch.dtype = torch.float32) -> Batch:
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 3, (60,), generator=generator)
    centres = 2.0 * torch.randn(3, 5, generator=generator)
    return Batch((centres[y] + torch.randn(60, 5, generator=generator)).to(dtype), y)


def loss_of(model: nn.Module, batch: Batch) -> Tensor:
    return nn.functional.cross_entropy(model(batch.inputs), batch.targets)  # type: ignore[arg-type]


def steps(model: nn.Module, optimizer: Optimizer, n: int, batch: Batch | None = None, *, closed: bool = False) -> float:
    batch = batch or blobs()

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(model, batch)
        loss.backward()
        return loss.detach()

    loss = torch.zeros(())
    for _ in range(n):
        if closed:
            loss = optimizer.step(closure)  # type: ignore[arg-type, assignment]
        else:
            loss = closure()
            optimizer.step()
    return float(loss)


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@ALL
@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_resumed_is_uninterrupted_to_the_bit(make: Make, closed: bool, dtype: torch.dtype) -> None:
    whole, batch = network(dtype=dtype), blobs(dtype)
    optimizer = make(whole.parameters(), weight_decay=0.01)
    steps(whole, optimizer, 4, batch, closed=closed)
    # Through the file format: a tree of JSON and tensors.
    saved = copy_state(flatten_state([whole.state_dict(), optimizer.state_dict()]))
    steps(whole, optimizer, 4, batch, closed=closed)
    part = network(seed=1, dtype=dtype)
    resumed = make(part.parameters(), lr=0.5)
    weights, state = unflatten_state(*saved, where="test")
    part.load_state_dict(weights)
    resumed.load_state_dict(state)
    steps(part, resumed, 4, batch, closed=closed)
    assert equal(whole, part)
    for a, b in zip(state_of(optimizer), state_of(resumed), strict=True):
        assert torch.equal(a, b) if isinstance(a, Tensor) else a == b


@ALL
def test_groups_with_their_own_rates_are_two_optimizers(make: Make) -> None:
    together, apart = network(), network()
    optimizer = make([{"params": together[0].parameters(), "lr": 0.01}, {"params": together[2].parameters()}], lr=0.04)
    first, second = make(apart[0].parameters(), lr=0.01), make(apart[2].parameters(), lr=0.04)
    for _ in range(5):
        for model in (together, apart):
            model.zero_grad()
            loss_of(model, blobs()).backward()
        optimizer.step()
        first.step()
        second.step()
    assert equal(together, apart)


@ALL
@pytest.mark.parametrize("closed", [False, True])
def test_parameters_without_a_gradient_are_left_alone(make: Make, closed: bool) -> None:
    """To the bit, with their state, before and after they first had a gradient."""
    model = network()
    optimizer = make(model.parameters())
    model[0].requires_grad_(False)
    before = copy.deepcopy(model[0].state_dict())
    steps(model, optimizer, 3, closed=closed)
    assert all(torch.equal(before[name], value) for name, value in model[0].state_dict().items())
    assert not optimizer.state.get(model[0].weight)
    model[0].requires_grad_(True)
    steps(model, optimizer, 3, closed=closed)
    model[0].requires_grad_(False)
    model.zero_grad(set_to_none=True)
    model[0].weight.grad = None
    before = copy.deepcopy(model[0].state_dict())
    kept = copy_state(optimizer.state[model[0].weight])
    steps(model, optimizer, 3, closed=closed)
    assert all(torch.equal(before[name], value) for name, value in model[0].state_dict().items())
    now = optimizer.state[model[0].weight]
    assert all(torch.equal(kept[k], now[k]) if isinstance(kept[k], Tensor) else kept[k] == now[k] for k in kept)


@ALL
def test_a_rate_changed_from_outside_takes_effect_at_the_next_step(make: Make) -> None:
    """One change of the rate by 2, seen in the first step that follows, which for all is linear in the rate."""
    moved = []
    for rate in (0.01, 0.02):
        model = network(dtype=torch.float64)
        optimizer = make(model.parameters(), lr=0.01)
        before = torch.cat([p.detach().flatten() for p in model.parameters()])
        optimizer.param_groups[0]["lr"] = rate
        steps(model, optimizer, 1, blobs(torch.float64), closed=True)
        moved.append(torch.cat([p.detach().flatten() for p in model.parameters()]) - before)
    torch.testing.assert_close(moved[1], 2 * moved[0], rtol=1e-9, atol=1e-13)


@ALL
def test_float32_follows_float64(make: Make) -> None:
    """A few steps, where rounding has had no time to grow: the arithmetic is that of the parameters' type."""
    single, double = network(), network(dtype=torch.float64)
    for model in (single, double):
        steps(model, make(model.parameters()), 3, blobs(next(model.parameters()).dtype))
    for p, q in zip(single.parameters(), double.parameters(), strict=True):
        assert p.dtype == torch.float32 and q.dtype == torch.float64
        torch.testing.assert_close(p.double(), q, rtol=1e-3, atol=1e-4)


@ALL
def test_step_returns_what_the_closure_gave_and_none_without(make: Make) -> None:
    model = network()
    optimizer = make(model.parameters())
    first = loss_of(model, blobs()).item()
    assert steps(model, optimizer, 1, closed=True) == pytest.approx(first, rel=1e-6)
    assert optimizer.step() is None


@ALL
def test_weight_decay_is_the_gradient_of_half_the_square(make: Make) -> None:
    decayed, penalised = network(dtype=torch.float64), network(dtype=torch.float64)
    one, other = make(decayed.parameters(), weight_decay=0.3), make(penalised.parameters())
    batch = blobs(torch.float64)
    for _ in range(4):
        decayed.zero_grad()
        loss_of(decayed, batch).backward()
        one.step()
        penalised.zero_grad()
        square = sum((p**2).sum() for p in penalised.parameters())
        (loss_of(penalised, batch) + 0.5 * 0.3 * square).backward()
        other.step()
    for p, q in zip(decayed.parameters(), penalised.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-10)


@ALL
@pytest.mark.parametrize("step_type", [GradientStep, ClosureStep])
def test_learns_in_the_training_loop_and_resumes_there(make: Make, step_type: type) -> None:
    def build(seed: int) -> tuple[GradientStep, InMemory]:
        model = network(seed)
        step = step_type(model, Supervised(Categorical(3)), make(model.parameters()))
        return step, InMemory(blobs(), batch_size=60)

    step, data = build(0)
    history = fit(step, data, max_epochs=40)
    losses = history.series("loss")
    assert losses[-1] < 0.3 * losses[0]
    half, _ = build(0)
    fit(half, data, max_epochs=20)
    state = copy_state(half.state_dict())
    resumed, _ = build(1)
    resumed.load_state_dict(state)
    for epoch in range(20, 40):
        for batch in data.batches(epoch):
            resumed(batch)
    assert equal(step.model, resumed.model)


@ALL
@pytest.mark.parametrize("bad", [{"lr": -0.1}, {"lr": float("nan")}, {"weight_decay": -1.0}])
def test_bad_numbers_are_named_also_in_a_group(make: Make, bad: dict[str, float]) -> None:
    weight = nn.Parameter(torch.zeros(2))
    with pytest.raises(ConfigError, match=next(iter(bad))):
        make([weight], **bad)
    with pytest.raises(ConfigError, match=next(iter(bad))):
        make([{"params": [weight], **bad}])


@ALL
def test_sparse_gradients_are_refused(make: Make) -> None:
    table = nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(ConfigError, match="sparse"):
        make(table.parameters()).step()
