"""Back-propagation by hand on graphs: against autograd, finite differences and equations written out in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lamina.data.batch import Batch
from lamina.errors import ConfigError
from lamina.likelihoods import Categorical, Gaussian
from lamina.nn import MLP, Highway, Residual, SkipConnections
from lamina.penalties import L2
from lamina.training import GradientStep, Supervised
from lamina.training.backprop import BackpropStep
from lamina.training.choose import choose_step
from training.backprop_problems import ACTIVATIONS, D, N, batches_for, compare

THREE = Supervised(Categorical(3), 0.1 * L2())


def block(unit: Callable[[], nn.Module] = nn.Tanh, width: int = D) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), unit())


def skips(join: str, *pairs: tuple[int, int], modules: int = 3) -> SkipConnections:
    chain, widths = [], [D]
    for k in range(1, modules + 1):
        met = [widths[k - 1], *(widths[s] for s, to in pairs if to == k)]
        chain.append(nn.Sequential(nn.Linear(sum(met) if join == "concat" else met[0], D), nn.Tanh()))
        widths.append(D)
    return SkipConnections(chain, pairs, join)


GRAPHS: dict[str, Callable[[], nn.Sequential]] = {
    "residual": lambda: nn.Sequential(block(), Residual(block()), nn.Linear(D, 3)),
    "residual, in place behind weights": lambda: nn.Sequential(
        block(), Residual(nn.Sequential(nn.Linear(D, D), nn.ReLU(inplace=True))), nn.Linear(D, 3)
    ),
    "residual, its unit overwrites delta": lambda: nn.Sequential(block(), Residual(block(nn.ReLU)), nn.Linear(D, 3)),
    "residual first": lambda: nn.Sequential(Residual(block()), nn.Linear(D, 3)),
    "residual last": lambda: nn.Sequential(block(), Residual(block()), nn.Linear(D, 3), Residual(block(width=3))),
    "residual of a unit alone": lambda: nn.Sequential(block(), Residual(nn.Sigmoid()), nn.Linear(D, 3)),
    "residual of the inputs": lambda: nn.Sequential(Residual(nn.Tanh()), nn.Linear(D, 3)),
    "residual, projected": lambda: nn.Sequential(
        block(), Residual(nn.Sequential(nn.Linear(D, 4), nn.ReLU()), nn.Linear(D, 4)), nn.Linear(4, 3)
    ),
    "residual within residual": lambda: nn.Sequential(
        Residual(nn.Sequential(block(), Residual(block()))), nn.Linear(D, 3)
    ),
    "highway": lambda: nn.Sequential(block(), Highway(D, block()), nn.Linear(D, 3)),
    "highway first": lambda: nn.Sequential(Highway(D, block(nn.ReLU)), Highway(D), nn.Linear(D, 3)),
    "highway around residual": lambda: nn.Sequential(Highway(D, Residual(block())), nn.Linear(D, 3)),
    "skips, concatenated": lambda: nn.Sequential(skips("concat", (0, 2), (0, 3), (0, 4), (1, 3)), nn.Linear(2 * D, 3)),
    "skips, summed": lambda: nn.Sequential(block(), skips("sum", (0, 2), (0, 4), (1, 3), (1, 4)), nn.Linear(D, 3)),
    "skips to the end": lambda: nn.Sequential(nn.Linear(D, D), skips("sum", (0, 3), modules=2), nn.Linear(D, 3)),
    "mlp, residual": lambda: MLP(D, 3, (6, 6, 6), connections="residual"),
    "mlp, highway": lambda: MLP(D, 3, (6, 6, 6), "tanh", connections="highway"),
    "mlp, skip": lambda: MLP(D, 3, (6, 4, 7), "elu", connections="skip"),
}


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_every_graph_equals_autograd(graph: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = GRAPHS[graph]().to(dtype)
    assert compare(model, THREE, batches_for(Categorical(3), dtype)) < (2e-6 if dtype is torch.float32 else 1e-10)
    assert isinstance(choose_step(model, THREE, sgd), BackpropStep)


def sgd(groups: list[dict]) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=0.05, momentum=0.9)


def bare(rate: float) -> Callable[[list[dict]], torch.optim.Optimizer]:
    return lambda groups: torch.optim.SGD(groups, lr=rate)


# An affine map with a bias or without, or a unit; one that works in place may stand where autograd itself refuses it.
LEAVES = st.one_of(st.booleans(), st.sampled_from(sorted(set(ACTIVATIONS) - {"relu in place"})))
TREES = st.recursive(
    LEAVES,
    lambda parts: st.one_of(
        st.tuples(st.just("chain"), st.lists(parts, min_size=1, max_size=3)),
        st.tuples(st.just("sum"), st.lists(parts, min_size=1, max_size=2)),
        st.tuples(st.just("highway"), st.lists(parts, min_size=1, max_size=1)),
        st.tuples(st.just("skips"), st.lists(parts, min_size=1, max_size=3)),
    ),
    max_leaves=6,
)
"""Graphs of nested parts, every one of D inputs and D outputs."""


def built(tree: object) -> nn.Module:
    """Return the module that a tree says."""
    if isinstance(tree, bool):
        return nn.Linear(D, D, bias=tree)
    if isinstance(tree, str):
        return ACTIVATIONS[tree]()
    assert isinstance(tree, tuple)
    kind, parts = tree[0], [built(part) for part in tree[1]]
    match kind:
        case "sum":
            return Residual(*parts)
        case "highway":
            return Highway(D, *parts)
        case "skips":
            n = len(parts)
            return SkipConnections(parts, [(s, t) for s in range(n) for t in range(s + 2, n + 2)], "sum")
    return nn.Sequential(*parts)


@settings(max_examples=60, deadline=None)
@given(
    trees=st.lists(TREES, min_size=1, max_size=3),
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=3),
    weighted=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_any_graph_equals_autograd(trees: list[object], sizes: list[int], weighted: bool, seed: int) -> None:
    torch.manual_seed(seed)
    model = nn.Sequential(*map(built, trees), nn.Linear(D, 3)).double()
    batches = batches_for(Categorical(3), torch.float64, sizes=tuple(sizes), weighted=weighted)
    assert compare(model, THREE, batches) < 1e-8


def test_C31_a_diamond_written_out_in_numpy() -> None:
    """One update of z = W₂ (h + tanh(V h)) with h = tanh(W₁ x): the two ways back to h are added."""
    rng = np.random.default_rng(0)
    w1, v, w2 = rng.normal(size=(4, D)), rng.normal(size=(4, 4)), rng.normal(size=(1, 4))
    x, t, eta = rng.normal(size=(N, D)), rng.normal(size=N), 0.3
    h = np.tanh(x @ w1.T)
    a = np.tanh(h @ v.T)
    z = ((h + a) @ w2.T)[:, 0]
    d_z = ((z - t) / N)[:, None]
    d_sum = d_z @ w2
    d_a = d_sum * (1 - a**2)
    d_h = (d_sum + d_a @ v) * (1 - h**2)
    after = [w1 - eta * d_h.T @ x, v - eta * d_a.T @ h, w2 - eta * d_z.T @ (h + a)]

    first, inner, last = (nn.Linear(*sizes, bias=False) for sizes in ((D, 4), (4, 4), (4, 1)))
    model = nn.Sequential(first, nn.Tanh(), Residual(nn.Sequential(inner, nn.Tanh())), last).double()
    with torch.no_grad():
        for layer, value in zip((first, inner, last), (w1, v, w2), strict=True):
            layer.weight.copy_(torch.from_numpy(value))
    step = BackpropStep(model, Supervised(Gaussian(scale=1.0)), bare(eta))
    step(Batch(torch.from_numpy(x), torch.from_numpy(t)))
    for layer, value in zip((first, inner, last), after, strict=True):
        np.testing.assert_allclose(layer.weight.detach().numpy(), value, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("graph", GRAPHS)
def test_gradient_equals_finite_differences(graph: str) -> None:
    torch.manual_seed(1)
    model = GRAPHS[graph]().double()
    (batch,) = batches_for(Categorical(3), torch.float64, sizes=(N,))
    step = BackpropStep(model, THREE, bare(0.0))
    step(batch)
    gradient, start, h = step.flat.gradient.clone(), step.flat.vector.clone(), 1e-6
    direction = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    values = []
    for sign in (1, -1):
        step.flat.vector.copy_(start + sign * h * direction)
        with torch.no_grad():
            values.append(float(THREE(model, batch).total))
    assert math.isclose((values[0] - values[1]) / (2 * h), float(gradient @ direction), rel_tol=1e-6)


class Doubled(Residual):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def hooked() -> Residual:
    found = Residual(block())
    found.branch[1].register_forward_hook(lambda *_: None)
    return found


UNFIT: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "no node within": (lambda: Residual(nn.Sequential(nn.Linear(D, D), nn.BatchNorm1d(D))), "BatchNorm1d"),
    "own forward": (lambda: Doubled(block()), "forward function of its own"),
    "in place": (lambda: Residual(nn.ReLU(inplace=True)), "overwrites what others read"),
    "in place, after dropout": (lambda: Highway(D, nn.Sequential(nn.Dropout(), nn.SiLU(inplace=True))), "overwrites"),
    "a hook within": (hooked, "hook"),
    "another axis": (lambda: SkipConnections([block(), block()], [(0, 3)], "concat", dim=0), "axis 0"),
    "flatten within": (lambda: Residual(nn.Flatten()), "Flatten"),
    "not a sequence within": (lambda: Highway(D, nn.Bilinear(D, D, D)), "Bilinear"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_says_why_not(case: str) -> None:
    build, words = UNFIT[case]
    model = nn.Sequential(nn.Linear(D, D), build(), nn.Linear(D, 3))
    reason = BackpropStep.supports(model, THREE)
    assert reason is not None and words in reason
    assert isinstance(choose_step(model, THREE, sgd), GradientStep)


def test_widths_that_do_not_meet_are_named() -> None:
    (batch,) = batches_for(Categorical(3), torch.float32, sizes=(N,))
    narrower = nn.Sequential(nn.Linear(D, 4), nn.Tanh())
    for part in (Residual(narrower), Highway(D, narrower), SkipConnections([narrower, block(width=4)], [(0, 3)])):
        with pytest.raises(ConfigError, match="meet"):
            BackpropStep(nn.Sequential(block(), part, nn.Linear(D, 3)), THREE, sgd)(batch)
    last = nn.Sequential(block(), Residual(block()))
    with pytest.raises(ConfigError, match="reads 3 outputs and the stack has 5"):
        BackpropStep(last, THREE, sgd)(batch)
