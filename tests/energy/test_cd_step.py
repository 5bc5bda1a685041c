"""The in-place step against autograd and SGD with the same samples, and its own promises."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from energy.machines import arrays, bars_and_stripes, machine
from energy.oracle import Enumerated
from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.energy import (
    RBM,
    Bernoulli,
    Binomial,
    ContrastiveDivergence,
    ContrastiveDivergenceStep,
    Gaussian,
    Softmax,
)
from lamina.energy.binary_draws import draw_binary
from lamina.energy.joined_units import Joined
from lamina.errors import ConfigError
from lamina.training import Callback, GradientStep, MomentumSchedule, Run, Step, fit, full_state

G = torch.Generator


def some(n: int = 9, width: int = 6, seed: int = 3) -> torch.Tensor:
    return (torch.rand(n, width, generator=G().manual_seed(seed)) < 0.6).double()


def drawn(visible: Any, number: int) -> torch.Tensor:
    """Data that the units can be."""
    if visible is None or isinstance(visible, Gaussian):
        return some(seed=number) if visible is None else torch.randn(9, 6, generator=G().manual_seed(number)).double()
    return visible.sample(torch.zeros(9, 6).double(), G().manual_seed(number))


def parameters(rbm: RBM) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1) for p in rbm.parameters()])


CASES: list[dict[str, Any]] = [
    {},
    {"sweeps": 3},
    {"reconstruction": "mean"},
    {"reconstruction": "mean", "sweeps": 2},
    {"momentum": 0.7},
    {"weight_decay": 0.1},
    {"momentum": 0.7, "weight_decay": 0.1},
    {"persistent": True},
    {"persistent": True, "sweeps": 2, "momentum": 0.5},
    {"gaussian": True},
    {"gaussian": True, "reconstruction": "mean"},
    {"gaussian": True, "persistent": True},
    {"visible": Gaussian()},
    {"visible": Gaussian(), "sweeps": 2, "momentum": 0.5, "weight_decay": 0.1},
    {"visible": Gaussian(), "persistent": True},
    {"visible": Gaussian(), "persistent": True, "weighted": True},
    {"visible": Gaussian(), "weighted": True, "reconstruction": "mean"},
    {"visible": Binomial(2)},
    {"visible": Softmax(3), "sweeps": 2},
    {"visible": Joined(((Bernoulli(), 3), (Softmax(3), 3))), "persistent": True},
    {"persistent": True, "temperatures": (1.0, 0.6, 0.1), "sweeps": 2},
    {"visible": Gaussian(), "persistent": True, "temperatures": (1.0, 0.0)},
    {"gaussian": True, "weighted": True, "persistent": True},
    {"weighted": True},
    {"weighted": True, "persistent": True},
    {"draw_data": True},
    {"draw_data": True, "weighted": True, "persistent": True, "momentum": 0.5},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_U02_it_is_sgd_on_the_objective_with_the_same_samples(case: dict[str, Any]) -> None:
    options = dict(case)
    visible = Gaussian(learn_variance=False) if options.pop("gaussian", False) else options.pop("visible", None)
    weights = torch.linspace(0.2, 2.1, 9).double() if options.pop("weighted", False) else None
    rungs = len(options.get("temperatures", (1.0,)))
    extra: dict[str, Any] = {"chains": 7 * rungs, "size": 0.5} | ({} if visible is None else {"visible": visible})
    ours, theirs = (machine(6, 4, **extra) for _ in range(2))
    step = ContrastiveDivergenceStep(ours, 0.3, generator=G().manual_seed(1), **options)
    objective = ContrastiveDivergence(
        options.get("sweeps", 1),
        options.get("persistent", False),
        options.get("reconstruction", "sample"),
        G().manual_seed(1),
        options.get("temperatures", ()),
        options.get("draw_data", False),
    )
    others = [p for name, p in theirs.named_parameters() if name != "weight"]
    groups = [
        {"params": [theirs.weight], "weight_decay": options.get("weight_decay", 0.0)},
        {"params": others},
    ]
    slow = GradientStep(theirs, objective, torch.optim.SGD(groups, lr=0.3, momentum=options.get("momentum", 0.0)))
    for number in range(4):
        grey = torch.rand(9, 6, generator=G().manual_seed(number)).double()
        batch = Batch(grey if "draw_data" in options else drawn(visible, number), weights=weights)
        loss, gap = step(batch)["loss"], slow(batch)["loss"]
        torch.testing.assert_close(parameters(ours), parameters(theirs), rtol=1e-8, atol=1e-9)
        if options.get("persistent"):
            torch.testing.assert_close(loss, gap)
            torch.testing.assert_close(ours.chains, theirs.chains, rtol=1e-8, atol=1e-9)


def test_batches_of_other_sizes_take_their_own_buffers() -> None:
    ours, theirs = machine(6, 4), machine(6, 4)
    step = ContrastiveDivergenceStep(ours, 0.3, generator=G().manual_seed(1))
    objective = ContrastiveDivergence(generator=G().manual_seed(1))
    slow = GradientStep(theirs, objective, torch.optim.SGD(theirs.parameters(), 0.3))
    for n in [9, 4, 10, 9, 1, 2, 3, 5, 6, 7, 8, 9]:
        batch = Batch(some(n))
        step(batch)
        slow(batch)
    torch.testing.assert_close(parameters(ours), parameters(theirs), rtol=1e-10, atol=1e-12)


def test_single_precision_is_the_rule_written_out() -> None:
    rbm = machine(6, 4).float()
    w, b, c = (p.detach().clone() for p in (rbm.weight, rbm.visible_bias, rbm.hidden_bias))
    v, generator = some().float(), G().manual_seed(2)
    ContrastiveDivergenceStep(rbm, 0.3, generator=G().manual_seed(2))(Batch(v))
    h = torch.sigmoid(v @ w.t() + c)
    state = draw_binary(h, generator)
    mean = torch.sigmoid(state @ w + b)
    v2 = draw_binary(mean, generator)
    h2 = torch.sigmoid(v2 @ w.t() + c)
    torch.testing.assert_close(rbm.weight.detach(), w + 0.3 * (h.t() @ v - h2.t() @ v2) / 9)
    torch.testing.assert_close(rbm.visible_bias.detach(), b + 0.3 * (v - v2).mean(0))
    torch.testing.assert_close(rbm.hidden_bias.detach(), c + 0.3 * (h - h2).mean(0))


@pytest.mark.parametrize("scale", [1.0, 60.0])  # the second saturates every unit
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [9, 230])
def test_the_loss_is_the_reconstructions_cross_entropy(scale: float, weighted: bool, n: int) -> None:
    rbm = machine(6, 4, size=scale)
    v = torch.rand(n, 6, generator=G().manual_seed(0)).double()  # grey, too
    weights = torch.linspace(0.2, 1.8, n).double() if weighted else None
    h = rbm.sample_hidden(v, G().manual_seed(1))
    terms = binary_cross_entropy_with_logits(rbm.visible_input(h).detach(), v, reduction="none").sum(1)
    loss = ContrastiveDivergenceStep(rbm, generator=G().manual_seed(1))(Batch(v, weights=weights))["loss"]
    torch.testing.assert_close(loss, (terms if weights is None else terms * weights).mean())


@pytest.mark.parametrize("visible", [Gaussian(), Binomial(2), Softmax(3)], ids=str)
def test_the_loss_of_other_units_is_what_the_inputs_foretell(visible: Any) -> None:
    rbm, v = machine(6, 4, visible), drawn(visible, 7)
    h = rbm.sample_hidden(v, G().manual_seed(1))
    theta = rbm.visible_input(h).detach()
    if isinstance(visible, Gaussian):
        scale = torch.exp(0.5 * rbm.visible_log_variance.detach())  # type: ignore[union-attr]
        terms = -torch.distributions.Normal(theta, scale).log_prob(v) - 0.5 * np.log(2 * np.pi)
    elif isinstance(visible, Binomial):
        terms = -torch.distributions.Binomial(2, logits=theta).log_prob(v)
    else:
        terms = -torch.distributions.OneHotCategorical(logits=theta.view(9, 2, 3)).log_prob(v.view(9, 2, 3))
    loss = ContrastiveDivergenceStep(rbm, generator=G().manual_seed(1))(Batch(v))["loss"]
    torch.testing.assert_close(loss, terms.sum(1).mean())


def test_learnt_variances_come_to_those_of_the_data() -> None:
    # Without weights each unit is a Gaussian of its own, whose best variance is that of the data.
    rbm = machine(3, 2, Gaussian(), size=0.0)
    scale = torch.tensor([0.3, 1.0, 2.0]).double()
    x = scale * torch.randn(4000, 3, generator=G().manual_seed(0)).double()
    step = ContrastiveDivergenceStep(rbm, 0.05, sweeps=1, persistent=False, generator=G().manual_seed(1))
    fit(step, InMemory(Batch(x), 400), max_epochs=60)
    assert rbm.visible_log_variance is not None
    torch.testing.assert_close(torch.exp(0.5 * rbm.visible_log_variance).detach(), x.std(0), rtol=0.1, atol=0.0)


def test_the_loss_of_gaussian_units_is_half_the_squared_distance() -> None:
    rbm, v = (
        machine(6, 4, Gaussian(learn_variance=False)),
        torch.randn(9, 6, generator=G().manual_seed(7)).double(),
    )
    h = rbm.sample_hidden(v, G().manual_seed(1))
    expected = 0.5 * (v - rbm.visible_given(h)).square().sum(1).mean().detach()
    torch.testing.assert_close(ContrastiveDivergenceStep(rbm, generator=G().manual_seed(1))(Batch(v))["loss"], expected)


@pytest.mark.parametrize("draw", [True, False])
def test_U02_drawn_data_are_all_states_by_their_probability(draw: bool) -> None:
    n, p = 200_000, np.array([0.2, 0.5, 0.9])
    rbm = machine(3, 2, size=1.5)
    whole = Enumerated(*arrays(rbm))
    chance = np.prod(np.where(whole.v == 1, p, 1 - p), axis=1)
    free_energy = -np.log(np.exp(whole.exponent).sum(1))
    objective = ContrastiveDivergence(generator=G().manual_seed(0), draw_data=draw)
    found = objective(rbm, Batch(torch.from_numpy(p).expand(n, 3))).parts["data"].item()
    error = np.sqrt(chance @ free_energy**2 - (chance @ free_energy) ** 2) / np.sqrt(n)
    assert (abs(found - chance @ free_energy) < 4 * error) == draw


@pytest.mark.parametrize("persistent", [False, True])
def test_centring_is_the_rule_written_out(persistent: bool) -> None:
    rbm = machine(6, 4, chains=5)
    w, b, c = (p.detach().clone() for p in (rbm.weight, rbm.visible_bias, rbm.hidden_bias))
    step = ContrastiveDivergenceStep(rbm, 0.3, centred=True, persistent=persistent, generator=G().manual_seed(1))
    mu = lam = torch.empty(0)
    generator = G().manual_seed(1)
    chains = rbm.chains
    assert chains is not None
    chains = chains.clone()
    for number in range(3):
        v = some(seed=number)
        step(Batch(v))
        machine_now = machine(6, 4)
        with torch.no_grad():
            for p, value in zip(
                (machine_now.weight, machine_now.visible_bias, machine_now.hidden_bias), (w, b, c), strict=True
            ):
                p.copy_(value)
        h = machine_now(v).detach()
        v2 = machine_now.gibbs(chains if persistent else v, 1, generator)
        chains = v2
        h2 = machine_now(v2).detach()
        mu = v.mean(0) if number == 0 else 0.99 * mu + 0.01 * v.mean(0)
        lam = h.mean(0) if number == 0 else 0.99 * lam + 0.01 * h.mean(0)
        dw = (h - lam).t() @ (v - mu) / len(v) - (h2 - lam).t() @ (v2 - mu) / len(v2)
        b = b + 0.3 * (v.mean(0) - v2.mean(0) - lam @ dw)
        c = c + 0.3 * (h.mean(0) - h2.mean(0) - dw @ mu)
        w = w + 0.3 * dw
        torch.testing.assert_close(parameters(rbm), torch.cat([w.reshape(-1), b, c]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("centred", [True, False])
def test_centred_learning_does_not_care_what_0_and_1_mean(centred: bool) -> None:
    one, other = machine(6, 4), machine(6, 4)
    with torch.no_grad():
        other.hidden_bias.add_(one.weight.sum(1))
        other.weight.neg_()
        other.visible_bias.neg_()
    v = some()
    for rbm, data in ((one, v), (other, 1 - v)):
        step = ContrastiveDivergenceStep(
            rbm, 0.3, centred=centred, reconstruction="mean", momentum=0.5, generator=G().manual_seed(1)
        )
        for _ in range(5):
            step(Batch(data))
    all_v = some(30, seed=9)
    gap = (one.free_energy(all_v) - other.free_energy(1 - all_v)).detach()
    assert bool(((gap - gap[0]).abs() < 1e-10).all()) is centred


def test_sparsity_pulls_the_hidden_means_to_the_wanted_one() -> None:
    plain, sparse = machine(6, 4), machine(6, 4)
    v = some()
    h = plain(v).detach()
    ContrastiveDivergenceStep(plain, 0.3, generator=G().manual_seed(1))(Batch(v))
    step = ContrastiveDivergenceStep(sparse, 0.3, sparsity=0.1, sparsity_cost=2.0, generator=G().manual_seed(1))
    step(Batch(v))
    torch.testing.assert_close(sparse.hidden_bias.detach(), plain.hidden_bias.detach() - 0.3 * 2.0 * (h.mean(0) - 0.1))
    assert torch.equal(sparse.weight, plain.weight)
    for _ in range(300):
        step(Batch(v))
    assert abs(float(sparse(v).mean().detach()) - 0.1) < 0.08


def test_U02_many_sweeps_move_along_the_likelihoods_gradient() -> None:
    data, copies = some(3, 4), 8000
    rbm = machine(4, 3, size=0.8)
    before, exact = parameters(rbm), Enumerated(*arrays(rbm)).likelihood_gradient(data.numpy())
    ContrastiveDivergenceStep(rbm, 1.0, sweeps=25, generator=G().manual_seed(0))(Batch(data.repeat(copies, 1)))
    expected = np.concatenate([g.reshape(-1) for g in exact])
    np.testing.assert_allclose((parameters(rbm) - before).numpy(), expected, atol=5 * 0.5 / np.sqrt(3 * copies))


class Keep(Callback):
    """Keep the whole state after an epoch, and so many steps into the next."""

    def __init__(self, steps: int) -> None:
        self.steps, self.state = steps, {}

    def on_step(self, run: Run) -> None:
        if run.steps == self.steps:
            self.state = copy.deepcopy(full_state(run, []))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("generator", [True, False])
@pytest.mark.parametrize("options", [{"persistent": True, "momentum": 0.5}, {"centred": True}, {}], ids=str)
def test_a_resumed_run_has_the_same_bits(options: dict[str, Any], generator: bool, dtype: torch.dtype) -> None:
    def made(seed: int) -> ContrastiveDivergenceStep:
        own = G().manual_seed(seed) if generator else None
        return ContrastiveDivergenceStep(machine(6, 4, seed=seed, chains=5).to(dtype), 0.1, generator=own, **options)

    data = InMemory(Batch(some(23).to(dtype)), 5, seed=1)
    whole, keep = made(0), Keep(7)
    torch.manual_seed(0)
    history = fit(whole, data, max_epochs=4, callbacks=[keep])
    torch.manual_seed(99)
    again = made(5)
    resumed = fit(again, data, max_epochs=4, state=keep.state)
    assert torch.equal(parameters(whole.model), parameters(again.model))
    assert resumed.series("loss") == history.series("loss")
    if options.get("persistent"):
        assert torch.equal(whole.model.chains, again.model.chains)  # type: ignore[arg-type]


def test_it_is_a_step_and_schedules_reach_it() -> None:
    rbm = machine(6, 4)
    step = ContrastiveDivergenceStep(rbm, 0.2, generator=G().manual_seed(0))
    assert isinstance(step, Step)
    schedule = MomentumSchedule(lambda k: 0.0 if k < 3 else 0.9)
    history = fit(step, InMemory(Batch(some(20)), 5), max_epochs=3, callbacks=[schedule])
    assert step.optimizer.param_groups[0]["momentum"] == 0.9
    assert "momentum_buffer" in step.optimizer.state[rbm.weight]
    assert history.records[-1]["learning_rate"] == 0.2
    before = parameters(rbm)
    for group in step.optimizer.param_groups:
        group["lr"] = 0.0
    step(Batch(some()))
    assert torch.equal(parameters(rbm), before)


def test_pictures_are_flattened() -> None:
    one, other = machine(6, 4), machine(6, 4)
    ContrastiveDivergenceStep(one, generator=G().manual_seed(0))(Batch(some()))
    ContrastiveDivergenceStep(other, generator=G().manual_seed(0))(Batch(some().view(9, 1, 2, 3)))
    assert torch.equal(parameters(one), parameters(other))


def test_U02_bars_and_stripes_are_learnt_to_their_entropy() -> None:
    pictures = bars_and_stripes(3)
    assert len(pictures) == 14
    generator = G().manual_seed(0)
    rbm = RBM(9, 16, chains=280, generator=generator)
    step = ContrastiveDivergenceStep(rbm, sweeps=5, persistent=True, momentum=0.5, generator=generator)
    data = InMemory(Batch(pictures.repeat(20, 1)), 280)
    for rate, epochs in ((0.1, 2000), (0.03, 1000), (0.005, 500)):
        for group in step.optimizer.param_groups:
            group["lr"] = rate
        fit(step, data, max_epochs=epochs)
    mean = float(rbm.log_likelihood(pictures, rbm.log_partition()).mean().detach())
    assert 0 < -np.log(14) - mean < 0.15  # seeds 0 to 3 gave 0.084 to 0.108


def test_refusals() -> None:
    owner = "ContrastiveDivergenceStep: "
    with pytest.raises(ConfigError, match=owner + "cannot train hidden Binomial") as caught:
        ContrastiveDivergenceStep(machine(6, 4, hidden=Binomial(2)))
    assert "GradientStep" in caught.value.mend
    with pytest.raises(ConfigError, match=owner + "with learnt variances the visible offsets"):
        ContrastiveDivergenceStep(machine(6, 4, Gaussian()), centred=True)
    with pytest.raises(ConfigError, match=owner + "temperatures are inverse ones"):
        ContrastiveDivergenceStep(machine(6, 4, chains=4), persistent=True, temperatures=(0.0, 1.0))
    with pytest.raises(ConfigError, match=owner + "only persistent chains have temperatures"):
        ContrastiveDivergenceStep(machine(6, 4, chains=4), temperatures=(1.0, 0.0))
    with pytest.raises(ConfigError, match=owner + "4 chains are not whole rungs of 3") as caught:
        ContrastiveDivergenceStep(machine(6, 4, chains=4), persistent=True, temperatures=(1.0, 0.5, 0.0))
    assert "chains=3)" in caught.value.mend
    with pytest.raises(ConfigError, match=owner + "the machine keeps no chains"):
        ContrastiveDivergenceStep(machine(6, 4), persistent=True)
    with pytest.raises(ConfigError, match=owner + "rate, weight_decay"):
        ContrastiveDivergenceStep(machine(6, 4), momentum=1.0)
    with pytest.raises(ConfigError, match=owner + "sparsity must lie"):
        ContrastiveDivergenceStep(machine(6, 4), sparsity=0.0)
    with pytest.raises(ConfigError, match=owner + "draw_data is for Bernoulli visible units, these are Gaussian"):
        ContrastiveDivergenceStep(machine(6, 4, Gaussian()), draw_data=True)
    with pytest.raises(ConfigError, match=owner + "got 5 inputs for 6 visible units"):
        ContrastiveDivergenceStep(machine(6, 4))(Batch(torch.zeros(2, 5).double()))
