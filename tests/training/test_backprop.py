"""Back-propagation by hand against autograd, finite differences and a NumPy network written from the equations."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lamina.data.batch import Batch
from lamina.data.spec import VectorSpec
from lamina.data.stream import InMemory
from lamina.errors import ConfigError
from lamina.likelihoods import Bernoulli, Categorical, Gaussian
from lamina.nn import MLP, ColumnEmbedding
from lamina.penalties import L2, Context, Penalty
from lamina.training import Callback, GradientStep, Run, Supervised, fit, full_state, products
from lamina.training.backprop import BackpropStep
from lamina.training.backprop_nodes import Dropout as DropoutNode
from lamina.training.backprop_nodes import TorchAffine
from lamina.training.choose import choose_step
from lamina.training.state import copy_state
from lamina.training.threads import threads
from training.backprop_problems import ACTIVATIONS, LIKELIHOODS, D, N, batches_for, compare, joined, limit


def mlp(dtype: torch.dtype, outputs: int, activation: str = "tanh", seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    unit = ACTIVATIONS[activation]
    return nn.Sequential(nn.Linear(D, 7), unit(), nn.Linear(7, 6), unit(), nn.Linear(6, outputs)).to(dtype)


DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


@DTYPES
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_equals_autograd(activation: str, dtype: torch.dtype) -> None:
    model = mlp(dtype, 3, activation)
    assert compare(model, Supervised(Categorical(3)), batches_for(Categorical(3), dtype)) < limit(dtype)


@DTYPES
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_every_likelihood_equals_autograd(name: str, weighted: bool, dtype: torch.dtype) -> None:
    likelihood = LIKELIHOODS[name]
    model = mlp(dtype, likelihood.n_outputs)
    batches = batches_for(likelihood, dtype, weighted=weighted)
    assert compare(model, Supervised(likelihood), batches) < limit(dtype)


@DTYPES
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(
    "penalty", [None, L2(), 0.3 * L2() + 0.2 * (0.5 * L2()), 0.2 * L2("whole")], ids=["none", "L2", "sum", "whole"]
)
@pytest.mark.parametrize(
    "clips", [{}, {"clip_norm": 0.05}, {"clip_value": 0.01}, {"clip_norm": 0.02, "clip_value": 0.01}]
)
def test_penalty_clipping_and_optimizer_equal_autograd(
    clips: dict[str, float], penalty: L2 | None, optimizer: str, dtype: torch.dtype
) -> None:
    model = mlp(dtype, 3)
    worst = compare(
        model, Supervised(Categorical(3), penalty), batches_for(Categorical(3), dtype), optimizer=optimizer, **clips
    )
    # Adam divides by √v: rounding of an element near zero becomes an update of any size up to the rate
    assert worst < (limit(dtype) if optimizer == "sgd" or dtype is torch.float64 else 1e-4)


@DTYPES
def test_soft_targets_and_probabilities_equal_autograd(dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(N, D, generator=g, dtype=dtype)
    soft = torch.rand(N, 3, generator=g, dtype=dtype).softmax(1)
    assert compare(mlp(dtype, 3), Supervised(Categorical(3)), [Batch(x, soft)] * 3) < limit(dtype)
    assert compare(mlp(dtype, 1), Supervised(Bernoulli()), [Batch(x, soft[:, :1])] * 3) < limit(dtype)


@DTYPES
@pytest.mark.parametrize("bias", [True, False])
def test_embedding_equals_autograd(bias: bool, dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(0)
    shape = VectorSpec(2, (4, 3))
    model = nn.Sequential(
        ColumnEmbedding(shape, generator=g), nn.Linear(11, 6, bias=bias), nn.ReLU(), nn.Linear(6, 1, bias=bias)
    )
    model[1] = nn.Linear(model[0].out_features, 6, bias=bias)
    model.to(dtype)
    codes = torch.stack([torch.randint(0, 5, (N,), generator=g), torch.randint(0, 3, (N,), generator=g)], 1)
    x = torch.cat([torch.randn(N, 2, generator=g, dtype=dtype), codes.to(dtype)], 1)
    batches = [Batch(x, torch.randn(N, generator=g, dtype=dtype))] * 3
    assert compare(model, Supervised(Gaussian(scale=1.0), 0.1 * L2()), batches) < limit(dtype)


def test_pictures_are_flattened_and_wide_inputs_cast() -> None:
    g = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(18, 4), nn.ReLU()), nn.Linear(4, 3))
    batch = Batch(torch.randn(N, 2, 3, 3, generator=g), torch.randint(0, 3, (N,), generator=g))
    assert compare(model, Supervised(Categorical(3)), [batch] * 3) < 1e-6


@DTYPES
def test_with_two_threads_equals_autograd(dtype: torch.dtype) -> None:
    with threads(2):
        model = mlp(dtype, 3)
        assert compare(model, Supervised(Categorical(3)), batches_for(Categorical(3), dtype)) < limit(dtype)
    with threads(1):
        alone = mlp(dtype, 3)
        compare(alone, Supervised(Categorical(3)), batches_for(Categorical(3), dtype))
    torch.testing.assert_close(joined(model.parameters()), joined(alone.parameters()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("intel", "crossing", "by_torch"), [(True, 0, 3), (True, 36, 1), (False, 0, 0)])
def test_products_are_chosen_by_processor_and_size(
    intel: bool, crossing: int, by_torch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 5-7-6-3 with one row a batch: 35, 42 and 18 multiply-adds."""
    monkeypatch.setattr(products, "made_by_intel", lambda: intel)
    monkeypatch.setattr(products, "CROSSING", crossing)
    with threads(1):
        model = mlp(torch.float64, 3)
        (batch,) = batches_for(Categorical(3), torch.float64, sizes=(1,))
        step = BackpropStep(model, Supervised(Categorical(3)), sgd)
        step(batch)
        nodes = step._plans[batch.inputs.shape].chain.nodes
        assert sum(isinstance(node, TorchAffine) for node in nodes) == by_torch
        assert (
            compare(mlp(torch.float64, 3), Supervised(Categorical(3)), batches_for(Categorical(3), torch.float64))
            < 1e-10
        )


class SameMask(nn.Module):
    """Dropout with a mask given from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.ones(())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


@pytest.mark.parametrize("mutant", [False, True])
def test_dropout_with_shared_masks_equals_autograd(mutant: bool) -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Dropout(0.2), nn.Linear(D, 40), nn.Tanh(), nn.Dropout(0.5), nn.Linear(40, 3)).double()
    theirs = copy.deepcopy(model)
    theirs[0], theirs[3] = SameMask(), SameMask()
    objective = Supervised(Categorical(3))
    slow = GradientStep(theirs, objective, torch.optim.SGD(theirs.parameters(), lr=0.1))
    fast = BackpropStep(model, objective, lambda groups: torch.optim.SGD(groups, lr=0.1))
    for batch in batches_for(Categorical(3), torch.float64):
        found = fast(batch)["loss"]
        nodes = fast._plans[batch.inputs.shape].chain.nodes
        for i in (0, 3):
            node = nodes[i]
            assert isinstance(node, DropoutNode)
            theirs[i].factor = node.factor.tensor if not mutant else torch.ones_like(node.factor.tensor)
        expected = slow(batch)["loss"]
        if mutant:
            assert not torch.isclose(found, expected, rtol=1e-6)
            return
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    for p, q in zip(model.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 0.999, 1.0])
def test_dropout_keeps_the_right_share_and_mean(p: float) -> None:
    torch.manual_seed(0)
    node, x = DropoutNode(nn.Dropout(p), 400, 251, torch.float32), torch.ones(400, 251)
    from lamina.training.backprop_nodes import sheet

    y = node.forward(sheet(x)).tensor
    keep, n = 1 - p, x.numel()
    assert abs(float((y != 0).double().mean()) - keep) <= 5 * math.sqrt(keep * p / n) + 2**-16
    assert abs(float(y.mean()) - (p < 1)) <= 5 * math.sqrt(p / max(keep, 1e-9) / n) * (p < 1) + 1e-6
    # all four 16-bit words of a draw are used alike
    if 0 < p < 0.9:
        lanes = (y.flatten()[: n // 4 * 4].view(-1, 4) != 0).double().mean(0)
        assert float((lanes - keep).abs().max()) < 5 * math.sqrt(keep * p / (n / 4))


@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "elu", "silu", "gelu", "leaky"])
def test_gradient_equals_finite_differences(activation: str, wrong: bool) -> None:
    model = mlp(torch.float64, 3, activation, seed=5)
    objective = Supervised(Categorical(3), 0.1 * L2())
    (batch,) = batches_for(Categorical(3), torch.float64, weighted=True, sizes=(N,))
    step = BackpropStep(model, objective, lambda groups: torch.optim.SGD(groups, lr=0.0))
    step(batch)
    gradient = step.flat.gradient * (1.001 if wrong else 1.0)
    g = torch.Generator().manual_seed(2)
    direction = torch.randn(gradient.shape, generator=g, dtype=torch.float64)
    h, values = 1e-5, []
    start = step.flat.vector.clone()
    for sign in (1, -1):
        step.flat.vector.copy_(start + sign * h * direction)
        with torch.no_grad():
            values.append(float(objective(model, batch).total))
    difference = (values[0] - values[1]) / (2 * h)
    assert math.isclose(difference, float(gradient @ direction), rel_tol=1e-6) is not wrong


def test_two_layers_written_out_in_numpy() -> None:
    """One step of gradient descent of a tanh network, from the equations, nothing shared."""
    rng = np.random.default_rng(0)
    w1, b1, w2, b2 = rng.normal(size=(4, D)), rng.normal(size=4), rng.normal(size=(3, 4)), rng.normal(size=3)
    x, t, eta = rng.normal(size=(N, D)), rng.integers(0, 3, N), 0.3
    h = np.tanh(x @ w1.T + b1)
    z = h @ w2.T + b2
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    d2 = (p - np.eye(3)[t]) / N
    d1 = (d2 @ w2) * (1 - h**2)
    after = [w1 - eta * d1.T @ x, b1 - eta * d1.sum(0), w2 - eta * d2.T @ h, b2 - eta * d2.sum(0)]
    model = nn.Sequential(nn.Linear(D, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), (w1, b1, w2, b2), strict=True):
            parameter.copy_(torch.from_numpy(value))
    step = BackpropStep(model, Supervised(Categorical(3)), lambda groups: torch.optim.SGD(groups, lr=eta))
    loss = step(Batch(torch.from_numpy(x), torch.from_numpy(t)))["loss"]
    assert math.isclose(float(loss), -np.log(p[np.arange(N), t]).mean(), rel_tol=1e-12)
    for parameter, value in zip(model.parameters(), after, strict=True):
        np.testing.assert_allclose(parameter.detach().numpy(), value, rtol=1e-12, atol=1e-14)


@settings(max_examples=40, deadline=None)
@given(
    widths=st.lists(st.integers(1, 9), min_size=0, max_size=4),
    units=st.lists(st.sampled_from(sorted(ACTIVATIONS)), min_size=4, max_size=4),
    bias=st.booleans(),
    name=st.sampled_from(sorted(LIKELIHOODS)),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    weighted=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_any_stack_equals_autograd(
    widths: list[int], units: list[str], bias: bool, name: str, sizes: list[int], weighted: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    likelihood, layers, width = LIKELIHOODS[name], [], D
    for units_here, unit in zip(widths, units, strict=False):
        layers += [nn.Linear(width, units_here, bias=bias), ACTIVATIONS[unit]()]
        width = units_here
    model = nn.Sequential(*layers, nn.Linear(width, likelihood.n_outputs, bias=bias)).double()
    batches = batches_for(likelihood, torch.float64, weighted=weighted, sizes=tuple(sizes))
    assert compare(model, Supervised(likelihood, 0.01 * L2()), batches) < 1e-9


def adam(groups: list[dict]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=1e-2, fused=True)


def sgd(groups: list[dict]) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=0.05, momentum=0.9)


class KeepStateAt(Callback):
    def __init__(self, at: int) -> None:
        self.at, self.state = at, None

    def on_step(self, run: Run) -> None:
        if run.steps == self.at:
            self.state = copy_state(full_state(run, []))


@pytest.mark.parametrize("make", [adam, sgd])
@pytest.mark.parametrize("at", [1, 4, 7, 11])
def test_resumed_equals_uninterrupted_to_the_bit(make: Callable, at: int) -> None:
    g = torch.Generator().manual_seed(0)
    data = Batch(torch.randn(51, D, generator=g), torch.randint(0, 3, (51,), generator=g))

    def new_step() -> BackpropStep:
        g = torch.Generator().manual_seed(4)
        model = MLP(D, 3, (9, 8), dropout=0.3, generator=g)
        return BackpropStep(model, Supervised(Categorical(3), 0.01 * L2()), make, weight_decay=0.1, clip_norm=1.0)

    torch.manual_seed(8)
    whole, keep = new_step(), KeepStateAt(at)
    history = fit(whole, InMemory(data, 10), max_epochs=3, callbacks=[keep])
    torch.manual_seed(9)
    resumed = new_step()
    state = {"run": keep.state["run"], "callbacks": []}
    again = fit(resumed, InMemory(data, 10), max_epochs=3, state=state)
    assert history.records == again.records
    assert torch.equal(whole.flat.vector, resumed.flat.vector)
    for a, b in zip(whole.optimizer.state.values(), resumed.optimizer.state.values(), strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a if isinstance(a[name], Tensor))


def test_going_back_to_the_start_forgets_the_optimizer() -> None:
    batches = batches_for(Categorical(3), torch.float32)
    step = BackpropStep(mlp(torch.float32, 3), Supervised(Categorical(3)), adam)
    start = copy_state(step.state_dict())
    runs = []
    for _ in range(2):
        step.load_state_dict(copy_state(start))
        losses = [float(step(batch)["loss"]) for batch in batches * 2]
        runs.append((losses, step.flat.vector.clone()))
    assert runs[0][0] == runs[1][0] and torch.equal(runs[0][1], runs[1][1])


def test_a_loaded_state_is_not_changed_by_further_steps() -> None:
    batches = batches_for(Categorical(3), torch.float32)
    step = BackpropStep(mlp(torch.float32, 3), Supervised(Categorical(3)), adam)
    step(batches[0])
    saved = copy_state(step.state_dict())
    kept = copy_state(saved)
    step.load_state_dict(saved)
    for batch in batches:
        step(batch)
    assert all(
        torch.equal(a, b)
        for i in kept["optimizer"]["state"]
        for a, b in zip(kept["optimizer"]["state"][i].values(), saved["optimizer"]["state"][i].values(), strict=True)
    )


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_fused_update_is_the_optimizer_to_the_bit(kind: type, decay: float) -> None:
    batches = batches_for(Categorical(3), torch.float32) * 3
    steps = []
    for quick in (True, False):
        step = BackpropStep(
            mlp(torch.float32, 3),
            Supervised(Categorical(3)),
            lambda g: kind(g, lr=1e-2, fused=True),
            weight_decay=decay,
        )
        for i, batch in enumerate(batches):
            for group in step.optimizer.param_groups:
                group["lr"] = 1e-2 / (1 + i // 2)  # as a schedule does
            if not quick:
                step._update = None
            step(batch)
        steps.append(step)
    assert torch.equal(steps[0].flat.vector, steps[1].flat.vector)
    one, two = (step.optimizer.state_dict() for step in steps)
    assert one["param_groups"] == two["param_groups"]
    for i in two["state"]:
        assert all(torch.equal(one["state"][i][name], two["state"][i][name]) for name in two["state"][i])


def test_the_learning_rate_of_the_groups_is_used() -> None:
    (batch,) = batches_for(Categorical(3), torch.float32, sizes=(N,))
    step = BackpropStep(mlp(torch.float32, 3), Supervised(Categorical(3)), adam)
    step(batch)
    step(batch)
    before = step.flat.vector.clone()
    for group in step.optimizer.param_groups:
        group["lr"] = 0.0
    step(batch)
    assert torch.equal(before, step.flat.vector)


def test_parameters_are_views_and_the_model_still_works() -> None:
    model = mlp(torch.float32, 3)
    names = list(model.state_dict())
    step = BackpropStep(model, Supervised(Categorical(3)), adam)
    state = {name: torch.full_like(value, 0.25) for name, value in model.state_dict().items()}
    model.load_state_dict(state)
    assert list(model.state_dict()) == names and bool((step.flat.vector == 0.25).all())
    ends = {p.untyped_storage().data_ptr() for p in model.parameters()}
    assert ends == {step.flat.vector.untyped_storage().data_ptr()}
    assert [g["params"][0].numel() for g in step.optimizer.param_groups] == [D * 7 + 7 * 6 + 6 * 3 + 7 + 6 + 3]
    groups = step.flat.groups(0.1)
    assert [(g["params"][0].numel(), g["weight_decay"]) for g in groups] == [(D * 7 + 7 * 6 + 6 * 3, 0.1), (16, 0.0)]
    assert [g["weight_decay"] for g in step.optimizer.param_groups] == [0.0]


def test_only_so_many_batch_sizes_are_kept() -> None:
    step = BackpropStep(mlp(torch.float32, 3), Supervised(Categorical(3)), sgd)
    for batch in batches_for(Categorical(3), torch.float32, sizes=tuple(range(1, 30))):
        step(batch)
    assert len(step._plans) == BackpropStep.PLANS


def frozen() -> nn.Module:
    model = mlp(torch.float32, 3)
    model[0].requires_grad_(False)
    return model


def hooked() -> nn.Module:
    model = mlp(torch.float32, 3)
    model[1].register_forward_hook(lambda *_: None)
    return model


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    return model


def repeated() -> nn.Module:
    unit = nn.Linear(3, 3)
    return nn.Sequential(unit, nn.ReLU(), unit)


class Own(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1


class Outputs(Penalty):
    def __call__(self, context: Context) -> Tensor:
        return context.outputs.sum()


class Odd(Supervised):
    pass


UNFIT: dict[str, tuple[Callable[[], nn.Module], object, str]] = {
    "batch norm": (lambda: nn.Sequential(nn.BatchNorm1d(D), nn.Linear(D, 3)), None, "BatchNorm1d"),
    "one layer": (lambda: nn.Linear(D, 3), None, "no nn.Sequential"),
    "own forward": (lambda: Own(nn.Linear(D, 3)), None, "forward function of its own"),
    "frozen": (frozen, None, "frozen"),
    "hook": (hooked, None, "hook"),
    "tied": (tied, None, "share"),
    "twice": (repeated, None, "share"),
    "late flatten": (lambda: nn.Sequential(nn.Linear(D, 3), nn.Flatten()), None, "Flatten"),
    "gelu tanh": (lambda: nn.Sequential(nn.Linear(D, 3), nn.GELU("tanh")), None, "approximation"),
    "half": (lambda: mlp(torch.bfloat16, 3), None, "float32"),
    "width": (lambda: mlp(torch.float32, 4), None, "4"),
    "no weights": (lambda: nn.Sequential(nn.ReLU()), None, "no parameters"),
    "objective": (lambda: mlp(torch.float32, 3), Odd(Categorical(3)), "Odd"),
    "penalty": (lambda: mlp(torch.float32, 3), Supervised(Categorical(3), Outputs()), "penalty"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_says_why_not(case: str) -> None:
    build, objective, words = UNFIT[case]
    model, objective = build(), objective or Supervised(Categorical(3))
    reason = BackpropStep.supports(model, objective)
    assert reason is not None and words in reason
    with pytest.raises(ConfigError, match="cannot train this model"):
        BackpropStep(model, objective, sgd)
    if case != "no weights":
        assert isinstance(choose_step(model, objective, sgd), GradientStep)


def test_one_unit_object_used_twice_is_two_nodes() -> None:
    unit = nn.Tanh()
    model = nn.Sequential(nn.Linear(D, 7), unit, nn.Linear(7, 7), unit, nn.Linear(7, 3)).double()
    assert compare(model, Supervised(Categorical(3)), batches_for(Categorical(3), torch.float64)) < 1e-10


def test_choice_by_itself_and_on_request() -> None:
    objective = Supervised(Categorical(3))
    assert isinstance(choose_step(mlp(torch.float32, 3), objective, sgd), BackpropStep)
    assert isinstance(choose_step(mlp(torch.float32, 3), objective, sgd, kind="autograd"), GradientStep)
    assert isinstance(choose_step(mlp(torch.float32, 3), objective, sgd, accumulate=2), GradientStep)
    with pytest.raises(ConfigError, match="accumulate"):
        choose_step(mlp(torch.float32, 3), objective, sgd, kind="backprop", accumulate=2)
    with pytest.raises(ConfigError, match="BatchNorm1d"):
        choose_step(UNFIT["batch norm"][0](), objective, sgd, kind="backprop")
    decayed = choose_step(mlp(torch.float32, 3), objective, sgd, kind="autograd", weight_decay=0.5)
    assert [g["weight_decay"] for g in decayed.optimizer.param_groups] == [0.5, 0.0]


def test_inputs_that_do_not_fit_are_named() -> None:
    step = BackpropStep(mlp(torch.float32, 3), Supervised(Categorical(3)), sgd)
    with pytest.raises(ConfigError, match="reads 5 numbers"):
        step(Batch(torch.zeros(4, 6), torch.zeros(4, dtype=torch.int64)))
    with pytest.raises(ConfigError, match="has none"):
        step(Batch(torch.zeros(4, 5)))
    with pytest.raises(ConfigError, match="clip_norm"):
        BackpropStep(mlp(torch.float32, 3), Supervised(Categorical(3)), sgd, clip_norm=0.0)


def test_extreme_logits_stay_finite() -> None:
    for likelihood in (Categorical(3), Bernoulli()):
        model = nn.Sequential(nn.Linear(D, likelihood.n_outputs))
        with torch.no_grad():
            model[0].weight.mul_(1e4)
        (batch,) = batches_for(likelihood, torch.float32, sizes=(N,))
        step = BackpropStep(model, Supervised(likelihood), sgd)
        assert bool(step(batch)["loss"].isfinite()) and bool(step.flat.gradient.isfinite().all())


def test_pictures_are_scaled_flattened_and_learnt_as_by_autograd() -> None:
    from collections import OrderedDict

    from lamina.nn import MLP, PixelScaling

    def step(kind: str) -> BackpropStep | GradientStep:
        chain = MLP(2 * 3 * 4, 3, (8,), generator=torch.Generator().manual_seed(0))
        front = [("pixels", PixelScaling([0.3, 0.6], [0.2, 0.4])), ("flatten", nn.Flatten())]
        model = nn.Sequential(OrderedDict([*front, *chain.named_children()]))
        objective = Supervised(Categorical(3))
        if kind == "backprop":
            return BackpropStep(model, objective, lambda groups: torch.optim.SGD(groups, lr=0.1))
        return GradientStep(model, objective, torch.optim.SGD(model.parameters(), lr=0.1))

    generator = torch.Generator().manual_seed(1)
    one, other = step("backprop"), step("autograd")
    for size in (6, 6, 5):
        pixels = torch.randint(0, 256, (size, 2, 3, 4), dtype=torch.uint8, generator=generator)
        batch = Batch(pixels, torch.randint(0, 3, (size,), generator=generator))
        assert float(one(batch)["loss"]) == pytest.approx(float(other(batch)["loss"]), rel=1e-5)
    for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
