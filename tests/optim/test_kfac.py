"""K-FAC against recursions written out with dense matrices, exact cases, and interrupted runs."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from lamina.curvature.batch_loss import BatchLoss
from lamina.curvature.kronecker import KroneckerFactors
from lamina.curvature.kronecker.quadratic import quadratic_model
from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.errors import ConfigError
from lamina.likelihoods import Bernoulli, Categorical, Gaussian, GaussianMixture
from lamina.optim._kfac_rate import adapted, best_multiples
from lamina.optim.kfac import KFAC
from lamina.training import Supervised, fit
from lamina.training.closure_step import ClosureStep

pytestmark = pytest.mark.usefixtures("double")


WHOLE = {"statistics_every": 1, "inverse_every": 1, "statistics_share": 1.0, "fisher": "exact", "adapt_every": 0}


def small(widths: tuple[int, ...] = (4, 5, 3)) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def flat(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in net.parameters()])


def problem(n: int = 6) -> tuple[nn.Sequential, Tensor, Tensor]:
    return small(), torch.randn(n, 4), torch.arange(n) % 3


def test_one_step_of_rate_one_solves_a_linear_regression():
    net, x, y = nn.Linear(3, 2), torch.randn(20, 3), torch.randn(20, 2)
    optimizer = KFAC(net, lr=1.0, momentum=0.0, damping=1e-12, **WHOLE)
    loss = optimizer.step(BatchLoss(net, Gaussian(2, scale=0.5), x, y))
    ones = torch.cat([x, torch.ones(20, 1)], dim=1)
    best = torch.linalg.lstsq(ones, y).solution
    assert torch.allclose(net.weight, best[:3].T, atol=1e-4)
    assert torch.allclose(net.bias, best[3], atol=1e-4)
    assert float(loss) > float(BatchLoss(net, Gaussian(2, scale=0.5), x, y).value())
    assert optimizer.last is not None and optimizer.last.reason == "moved"


def test_steps_with_a_rate_are_the_recursion_written_out():
    net, x, y = problem()
    hand = copy.deepcopy(net)
    eta, lam, rate, mu = 0.02, 0.3, 0.2, 0.7
    optimizer = KFAC(net, lr=rate, momentum=mu, damping=lam, weight_decay=eta, decay=0.4, **WHOLE)
    means: dict[str, Tensor] = {}
    speed = {name: torch.zeros(0) for name in ("0", "2")}
    for k in range(1, 5):
        batch = BatchLoss(hand, Categorical(3), x, y)
        now = KroneckerFactors(hand, fisher="exact").update(batch).factors
        keep = min(1 - 1 / k, 0.4)
        for layer in ("0", "2"):
            for side in ("inputs", "outputs"):
                value = now[f"{layer}.weight"][side]
                means[layer + side] = value if k == 1 else keep * means[layer + side] + (1 - keep) * value
        batch()
        with torch.no_grad():
            for layer in ("0", "2"):
                module = hand[int(layer)]
                w = torch.cat([module.weight, module.bias[:, None]], dim=1)
                gradient = torch.cat([module.weight.grad, module.bias.grad[:, None]], dim=1) + eta * w
                a, g = means[layer + "inputs"], means[layer + "outputs"]
                pi = math.sqrt((a.trace() / len(a)) / (g.trace() / len(g)))
                gamma = math.sqrt(lam + eta)
                step = -torch.linalg.inv(g + gamma / pi * torch.eye(len(g))) @ gradient
                step = step @ torch.linalg.inv(a + pi * gamma * torch.eye(len(a)))
                speed[layer] = step if k == 1 else mu * speed[layer] + step
                w = w + rate * speed[layer]
                module.weight.copy_(w[:, :-1])
                module.bias.copy_(w[:, -1])
        optimizer.step(BatchLoss(net, Categorical(3), x, y))
        assert torch.allclose(flat(net), flat(hand), rtol=1e-9, atol=1e-11), k


@pytest.mark.parametrize("n", [2, 5, 8, 40])
def test_thin_factors_and_whole_gradients_give_the_same_step(n):
    """A bound that never binds makes every gradient whole; without it each inverse goes where it is cheaper."""
    net = small((7, 6, 9, 3))
    x, y = torch.randn(n, 7), torch.arange(n) % 3
    other = copy.deepcopy(net)
    thin = KFAC(net, lr=0.3, damping=0.2, **WHOLE)
    whole = KFAC(other, lr=0.3, damping=0.2, kl_clip=1e9, **WHOLE)
    for _ in range(3):
        thin.step(BatchLoss(net, Categorical(3), x, y))
        whole.step(BatchLoss(other, Categorical(3), x, y))
    assert torch.allclose(flat(net), flat(other), rtol=1e-10, atol=1e-12)


def test_clipping_bounds_what_the_step_does_to_the_distribution():
    net, x, y = problem()
    start = copy.deepcopy(net)
    free = KFAC(copy.deepcopy(net), lr=0.5, momentum=0.0, damping=0.1, **WHOLE)
    free.step(BatchLoss(free.model, Categorical(3), x, y))
    batch = BatchLoss(start, Categorical(3), x, y)
    batch()
    gradient = torch.cat([p.grad.reshape(-1) for p in start.parameters()])
    direction = (flat(free.model) - flat(start)) / 0.5
    size = -0.25 * float(direction @ gradient)
    clipped = KFAC(net, lr=0.5, momentum=0.0, damping=0.1, kl_clip=size / 9, **WHOLE)
    clipped.step(BatchLoss(net, Categorical(3), x, y))
    assert torch.allclose(flat(net) - flat(start), direction * 0.5 / 3, rtol=1e-8)
    assert clipped.last is not None and clipped.last.rate == pytest.approx(0.5 / 3)


def explicit(net: nn.Module, likelihood, x: Tensor, y: Tensor, eta: float) -> tuple[Tensor, Tensor]:
    """Gradient of h, and the Gauss-Newton matrix with η I, each by name order."""
    batch = BatchLoss(net, likelihood, x, y)
    batch()
    gradient = torch.cat([p.grad.reshape(-1) for p in net.parameters()]) + eta * flat(net)
    names = {name: p.detach() for name, p in net.named_parameters()}
    jacobian = torch.func.jacrev(lambda v: torch.func.functional_call(net, v, (x,)))(names)
    j = torch.cat([jacobian[name].flatten(2) for name in names], dim=2)
    p = net(x).softmax(1).detach()
    h = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    matrix = torch.einsum("nka,nkl,nlb->ab", j, h, j) / len(x)
    return gradient, matrix + eta * torch.eye(len(gradient))


def test_without_a_rate_the_step_is_the_best_along_the_direction_and_the_last_step():
    net, x, y = problem()
    eta, lam = 0.01, 0.2
    optimizer = KFAC(net, lr=None, momentum=None, damping=lam, weight_decay=eta, **WHOLE)
    optimizer.step(BatchLoss(net, Categorical(3), x, y))
    before = flat(net)
    last = torch.cat([p.reshape(-1) for p in _steps(optimizer, net)])
    gradient, matrix = explicit(net, Categorical(3), x, y, eta)
    optimizer.step(BatchLoss(net, Categorical(3), x, y))
    found = flat(net) - before
    inverse = optimizer.inverse
    views = dict(zip(dict(net.named_parameters()), _split(gradient, net), strict=True))
    turned = inverse.precondition(views)
    direction = -torch.cat([turned[name].reshape(-1) for name in turned])
    both = torch.stack([direction, last], dim=1)
    damped = matrix + lam * torch.eye(len(gradient))
    best = -torch.linalg.solve(both.T @ damped @ both, both.T @ gradient)
    assert torch.allclose(found, both @ best, rtol=1e-7, atol=1e-10)
    assert optimizer.last is not None
    assert (optimizer.last.rate, optimizer.last.momentum) == (
        pytest.approx(float(best[0])),
        pytest.approx(float(best[1])),
    )


def _split(vector: Tensor, net: nn.Module) -> list[Tensor]:
    parts = vector.split([p.numel() for p in net.parameters()])
    return [part.view(p.shape) for part, p in zip(parts, net.parameters(), strict=True)]


def _steps(optimizer: KFAC, net: nn.Module) -> list[Tensor]:
    found = optimizer.blocks.tensors({name: optimizer.blocks.speed(name).clone() for name in optimizer.factors.blocks})
    return [found[name] for name, _ in net.named_parameters()]


@pytest.mark.parametrize("exact", [True, False])
def test_the_ratio_is_one_on_a_quadratic_and_the_damping_falls(exact):
    net, x, y = nn.Linear(3, 2), torch.randn(20, 3), torch.randn(20, 2)
    rate = {"lr": None, "momentum": None} if exact else {"lr": 0.1}
    options = WHOLE | {"adapt_every": 3}
    optimizer = KFAC(net, damping=5.0, weight_decay=0.1, **rate, **options)
    for k in range(1, 7):
        optimizer.step(BatchLoss(net, Gaussian(2, scale=0.5), x, y))
        assert optimizer.last is not None
        if k % 3:
            assert optimizer.last.ratio is None
        else:
            assert optimizer.last.ratio == pytest.approx(1.0, abs=1e-8)
    assert optimizer.damping == pytest.approx(5.0 * 0.95**6)


def test_the_ratio_is_measured_with_the_exact_matrix():
    net, x, y = problem()
    eta = 0.05
    optimizer = KFAC(net, lr=0.8, momentum=0.0, damping=0.1, weight_decay=eta, **(WHOLE | {"adapt_every": 1}))
    gradient, matrix = explicit(net, Categorical(3), x, y, eta)
    before, h = flat(net), float(BatchLoss(net, Categorical(3), x, y).value())
    optimizer.step(BatchLoss(net, Categorical(3), x, y))
    step = flat(net) - before
    after = float(BatchLoss(net, Categorical(3), x, y).value())
    change = after + 0.5 * eta * float(flat(net).square().sum()) - h - 0.5 * eta * float(before.square().sum())
    assert optimizer.last is not None
    assert optimizer.last.ratio == pytest.approx(change / float(gradient @ step + 0.5 * step @ matrix @ step), rel=1e-7)


def test_the_rule_of_the_damping_and_the_best_multiples():
    assert adapted(2.0, 0.8, 0.5, (1e-3, 1e3)) == 1.0
    assert adapted(2.0, 0.7, 0.5, (1e-3, 1e3)) == 2.0
    assert adapted(2.0, 0.2, 0.5, (1e-3, 1e3)) == 4.0
    assert adapted(2.0, -1.0, 0.5, (1e-3, 3.0)) == 3.0
    assert adapted(2.0, 0.9, 0.5, (1.5, 3.0)) == 1.5
    curvature, slopes = torch.tensor([[2.0, 0.5], [0.5, 1.0]]), torch.tensor([-1.0, 0.3])
    assert torch.allclose(best_multiples(slopes, curvature, None), torch.linalg.solve(curvature, -slopes))
    assert best_multiples(slopes, curvature, 0.4).tolist() == pytest.approx([(1.0 - 0.2) / 2.0, 0.4])
    parallel = torch.tensor([[1.0, 2.0], [2.0, 4.0]])
    assert best_multiples(torch.tensor([-1.0, -2.0]), parallel, None).tolist() == [1.0, 0.0]
    assert best_multiples(torch.tensor([-1.0]), torch.tensor([[0.0]]), None).tolist() == [0.0]


def test_a_penalty_in_the_loss_does_what_weight_decay_does():
    """The same gradients and the same model; the damping of the factors knows of η only where it is weight_decay."""
    net, x, y = problem()
    other, eta = copy.deepcopy(net), 0.05
    options = WHOLE | {"adapt_every": 2, "bounds": (1e-8, 1e8)}
    inside = KFAC(net, lr=0.3, damping=0.2 + eta, **options)
    outside = KFAC(other, lr=0.3, damping=0.2, weight_decay=eta, **options)

    def penalty(_: Tensor) -> Tensor:
        return 0.5 * eta * sum(p.square().sum() for p in net.parameters())

    for k in range(2):
        inside.step(BatchLoss(net, Categorical(3), x, y, penalty=penalty))
        outside.step(BatchLoss(other, Categorical(3), x, y))
        assert torch.allclose(flat(net), flat(other), rtol=1e-9, atol=1e-12), k
    assert inside.last is not None and outside.last is not None
    assert inside.last.ratio == pytest.approx(outside.last.ratio, rel=1e-8)


@pytest.mark.parametrize("rate", [None, 0.1])
def test_a_penalty_is_given_the_outputs_of_its_own_batch(rate):
    net, x, y = problem(8)
    optimizer = KFAC(net, lr=rate, statistics_share=0.25, adapt_every=1)

    def penalty(outputs: Tensor) -> Tensor:
        return 0.01 * (outputs * x[:, :3]).square().mean()

    for _ in range(3):
        optimizer.step(BatchLoss(net, Categorical(3), x, y, penalty=penalty))
    assert optimizer.last is not None and optimizer.last.reason == "moved"


def test_the_model_along_directions_is_that_of_the_dense_matrix():
    net, x, y = problem()
    gradient, matrix = explicit(net, Categorical(3), x, y, 0.0)
    d = [{name: torch.randn_like(p) for name, p in net.named_parameters()} for _ in range(2)]
    d[1].pop("2.bias")
    rows = [torch.cat([t.get(n, torch.zeros_like(p)).reshape(-1) for n, p in net.named_parameters()]) for t in d]
    model = quadratic_model(BatchLoss(net, Categorical(3), x, y), d)
    for i in range(2):
        assert float(model.slopes[i]) == pytest.approx(float(gradient @ rows[i]), rel=1e-9)
        for j in range(2):
            assert float(model.curvature[i, j]) == pytest.approx(float(rows[i] @ matrix @ rows[j]), rel=1e-9)


def test_the_best_of_three_strengths_of_the_factored_damping_is_taken():
    net, x, y = problem()
    lam, every = 0.5, 2
    optimizer = KFAC(net, lr=None, momentum=None, damping=lam, **(WHOLE | {"adapt_split_every": every}))
    optimizer.step(BatchLoss(net, Categorical(3), x, y))
    assert optimizer.split is None
    last = torch.cat([p.reshape(-1) for p in _steps(optimizer, net)])
    gradient, matrix = explicit(net, Categorical(3), x, y, 0.0)
    damped = matrix + lam * torch.eye(len(gradient))
    batch = BatchLoss(net, Categorical(3), x, y)
    factors = KroneckerFactors(net, fisher="exact")
    factors.factors = copy.deepcopy(optimizer.factors.factors)
    factors.update(batch, decay=0.5)
    values = {}
    for split in (math.sqrt(lam), math.sqrt(lam) * 0.95, math.sqrt(lam) / 0.95):
        turned = factors.inverse(split).precondition(
            dict(zip(dict(net.named_parameters()), _split(gradient, net), strict=True))
        )
        both = torch.stack([-torch.cat([t.reshape(-1) for t in turned.values()]), last], dim=1)
        best = -torch.linalg.solve(both.T @ damped @ both, both.T @ gradient)
        step = both @ best
        values[split] = float(gradient @ step + 0.5 * step @ damped @ step)
    optimizer.step(batch)
    assert optimizer.split == pytest.approx(min(values, key=lambda s: values[s]))


def test_groups_have_rates_of_their_own_which_can_change_between_steps():
    net, x, y = problem()
    groups = [{"params": net[0].parameters(), "lr": 0.0}, {"params": net[2].parameters()}]
    optimizer = KFAC(net, groups, lr=0.1, **WHOLE)
    first, last = net[0].weight.clone(), net[2].weight.clone()
    optimizer.step(BatchLoss(net, Categorical(3), x, y))
    assert torch.equal(net[0].weight, first) and not torch.equal(net[2].weight, last)
    optimizer.param_groups[0]["lr"] = 0.1
    optimizer.step(BatchLoss(net, Categorical(3), x, y))
    assert not torch.equal(net[0].weight, first)
    only = KFAC(net, net[2].parameters(), lr=0.1, **WHOLE)
    first = net[0].weight.clone()
    only.step(BatchLoss(net, Categorical(3), x, y))
    assert torch.equal(net[0].weight, first)
    exact = KFAC(net, lr=None, momentum=0.5, **WHOLE)
    exact.param_groups[0]["lr"] = 0.0
    before = flat(net)
    exact.step(BatchLoss(net, Categorical(3), x, y))
    assert torch.equal(flat(net), before)


class _Everything(nn.Module):
    """A convolution, normalisation, a recurrent layer and an affine one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv1d(2, 4, 3, padding=1), nn.BatchNorm1d(4)
        self.memory, self.head = nn.LSTM(4, 3, batch_first=True), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.memory(torch.relu(self.norm(self.conv(x))).transpose(1, 2))[0][:, -1])


OPTIONS = [
    {"lr": 0.1, "statistics_every": 2, "inverse_every": 3, "adapt_every": 2, "statistics_share": 0.5},
    {"lr": None, "momentum": None, "adapt_every": 2, "adapt_split_every": 3, "inverse_every": 2, "weight_decay": 1e-3},
    {"lr": 0.1, "statistics_every": 2, "inverse_every": 3, "adapt_every": 0, "compact": True},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_an_interrupted_run_goes_on_to_the_same_bits(options):
    x, y = torch.randn(12, 2, 5), torch.arange(12) % 3
    batches = [Batch(x[i : i + 6], y[i : i + 6]) for i in (0, 6)] * 4

    def built() -> ClosureStep:
        torch.manual_seed(1)
        net = _Everything()
        optimizer = KFAC(net, generator=torch.Generator().manual_seed(5), **options)
        return ClosureStep(net, Supervised(Categorical(3)), optimizer)

    whole, first = built(), built()
    for batch in batches:
        whole(batch)
    for batch in batches[:5]:
        first(batch)
    state = copy.deepcopy(first.state_dict())
    again = built()
    again.load_state_dict(state)
    for batch in batches[5:]:
        again(batch)
    assert torch.equal(flat(again.model), flat(whole.model))
    assert again.optimizer.state_dict()["kfac"]["damping"] == whole.optimizer.state_dict()["kfac"]["damping"]
    for name, pair in whole.optimizer.factors.factors.items():
        for side, factor in pair.items():
            assert torch.equal(factor, again.optimizer.factors.factors[name][side])
    with pytest.raises(ConfigError, match="not those of this network"):
        KFAC(small()).load_state_dict(state["optimizer"])


@pytest.mark.parametrize("options", [{"lr": 0.1, "adapt_every": 0}, {"lr": None, "adapt_split_every": 2}])
def test_compact_state_gives_the_same_steps(options):
    x, y = torch.randn(12, 2, 5), torch.arange(12) % 3
    ends = []
    for compact in (False, True):
        torch.manual_seed(1)
        net = _Everything()
        optimizer = KFAC(net, generator=torch.Generator().manual_seed(5), compact=compact, **options)
        for _ in range(5):
            optimizer.step(BatchLoss(net, Categorical(3), x, y))
        ends.append(flat(net))
    assert float((ends[0] - ends[1]).abs().max()) < 1e-9 * float(ends[0].abs().max())


def test_training_through_fit_lowers_the_loss():
    torch.set_default_dtype(torch.float32)
    x = torch.randn(120, 4)
    y = (x.sum(1) > 0).long() + (x[:, 0] > 0.5).long()
    net = nn.Sequential(nn.Linear(4, 12), nn.BatchNorm1d(12), nn.ReLU(inplace=True), nn.Linear(12, 3))
    optimizer = KFAC(net, generator=torch.Generator().manual_seed(0))
    before = float(BatchLoss(net, Categorical(3), x, y).value())
    fit(ClosureStep(net, Supervised(Categorical(3)), optimizer), InMemory(Batch(x, y), batch_size=40), max_epochs=8)
    after = float(BatchLoss(net, Categorical(3), x, y).value())
    assert after < 0.4 < 0.9 < before


def test_numbers_that_are_not_finite_leave_the_parameters_where_they_are():
    net, x, y = problem()
    optimizer = KFAC(net, **(WHOLE | {"adapt_every": 1}))
    optimizer.step(BatchLoss(net, Categorical(3), x, y))
    before = flat(net)
    broken = x.clone()
    broken[0, 0] = math.inf
    optimizer.step(BatchLoss(net, Categorical(3), broken, y))
    assert optimizer.last is not None and optimizer.last.reason == "non-finite"
    assert torch.equal(flat(net), before)
    optimizer.step(BatchLoss(net, Categorical(3), x, y))
    assert optimizer.last.reason == "moved" and bool(flat(net).isfinite().all())


class _Cliff(nn.Module):
    """Finite where it starts, and nowhere else."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.seen = nn.Linear(2, 1, bias=False), None

    def forward(self, x: Tensor) -> Tensor:
        start = self.layer.weight.detach().clone() if self.seen is None else self.seen
        self.seen = start
        return self.layer(x) * (1.0 if torch.equal(start, self.layer.weight) else math.inf)


def test_a_step_over_a_cliff_is_taken_back_and_the_damping_grows():
    net = _Cliff()
    optimizer = KFAC(net, lr=0.1, damping=1.0, **(WHOLE | {"adapt_every": 1}))
    before = flat(net)
    optimizer.step(BatchLoss(net, Gaussian(1, scale=1.0), torch.randn(4, 2), torch.randn(4, 1)))
    assert torch.equal(flat(net), before)
    assert optimizer.damping == pytest.approx(1.0 / 0.95)
    assert optimizer.last is not None and optimizer.last.reason == "non-finite"


def test_hooks_gradients_and_running_means_are_left_as_they_should_be():
    net = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(inplace=True), nn.Linear(5, 3))
    x, y = torch.randn(8, 4), torch.arange(8) % 3
    other = copy.deepcopy(net)
    optimizer = KFAC(net, statistics_share=0.5, adapt_every=1)
    for k in range(1, 4):
        optimizer.step(BatchLoss(net, Categorical(3), x, y))
        assert net[1].num_batches_tracked == k
    other(x)
    assert not any(module._forward_hooks for module in net.modules())
    assert all(p.grad is None for p in net.parameters())
    twin = copy.deepcopy(optimizer)  # copies are whole
    assert twin.steps == 3 and twin.factors.updates == optimizer.factors.updates


def test_what_does_not_fit_is_refused():
    net, x, y = problem()
    optimizer = KFAC(net)
    for closure in (None, lambda: torch.zeros(()), BatchLoss(small(), Categorical(3), x, y)):
        with pytest.raises(ConfigError, match=r"the loss of a batch|not that of the batch") as caught:
            optimizer.step(closure)
        assert "BatchLoss(net, likelihood, x, y)" in caught.value.mend
    for options in (
        {"damping": 0.0},
        {"statistics_every": 0},
        {"inverse_every": 0},
        {"adapt_every": -1},
        {"statistics_share": 0.0},
        {"decay": 1.0},
        {"kl_clip": 0.0},
        {"bounds": (1.0, 0.5)},
        {"lr": -0.1},
        {"momentum": 1.0},
        {"weight_decay": -1.0},
        {"lr": None, "kl_clip": 1.0},
        {"lr": 0.1, "adapt_split_every": 5},
        {"fisher": "none"},
    ):
        with pytest.raises(ConfigError):
            KFAC(net, **options)
    with pytest.raises(ConfigError, match="built with"):
        optimizer.add_param_group({"params": small().parameters()})
    with pytest.raises(ConfigError, match="not the model's"):
        KFAC(net, small().parameters())


def test_a_mixture_is_refused_at_the_first_step_unless_nothing_asks_for_its_matrix():
    torch.manual_seed(0)
    net = nn.Linear(3, 6)
    batch = BatchLoss(net, GaussianMixture(2, 1), torch.randn(20, 3), torch.randn(20, 1))
    for options in ({}, {"lr": 0.01}):
        before = flat(net)
        with pytest.raises(ConfigError, match="mixture"):
            KFAC(net, **options).step(batch)
        assert torch.equal(flat(net), before)
    optimizer = KFAC(net, lr=0.01, adapt_every=0)
    values = [float(optimizer.step(batch)) for _ in range(12)]
    assert values[-1] < values[0]


def test_a_weight_used_beside_its_layer_is_found_at_the_first_step():
    class Sly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) + nn.functional.linear(x, self.layer.weight)

    net = Sly()
    with pytest.raises(ConfigError, match="used outside the call of its layer"):
        KFAC(net).step(BatchLoss(net, Gaussian(3, scale=1.0), torch.randn(2, 3), torch.randn(2, 3)))


def test_soft_targets_and_example_weights_train():
    net, x = small((4, 6, 4)), torch.rand(10, 4)
    weights = torch.rand(10) * 2
    optimizer = KFAC(net, lr=0.3, damping=0.1, **WHOLE)
    batch = BatchLoss(net, Bernoulli(4), x, x, weights=weights)
    before = float(batch.value())
    for _ in range(5):
        optimizer.step(BatchLoss(net, Bernoulli(4), x, x, weights=weights))
    assert float(batch.value()) < before
