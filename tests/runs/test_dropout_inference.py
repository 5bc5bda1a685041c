"""Answers of sub-networks: against sub-networks built by hand, enumeration, and the law of the geometric mean."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lamina.errors import CheckpointError, ConfigError
from lamina.likelihoods import Bernoulli, Categorical, Gaussian, Heads, Laplace, Likelihood, Poisson
from lamina.nn import MLP, geometric_mean_dropout, monte_carlo_dropout
from lamina.runs.dropout_inference import DropoutInference

S, SEED = 40, 3


def network(n_outputs: int, hidden: tuple[int, ...] = (5,), dropout: float = 0.4) -> MLP:
    return MLP(3, n_outputs, hidden, "tanh", dropout, generator=torch.Generator().manual_seed(1)).eval()


def rows(n: int = 4) -> Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(2))


def subnetworks(model: MLP) -> Tensor:
    """Outputs of the S sub-networks that the seed draws, (S, N, outputs), one hidden layer written out."""
    generator = torch.Generator().manual_seed(SEED)
    kept = (torch.rand(S, 5, generator=generator) < 0.6).double() / 0.6
    net, x = model.double(), rows().double()
    hidden = torch.tanh(x @ net.linear1.weight.T + net.linear1.bias)
    outputs = (kept[:, None] * hidden) @ net.output.weight.T + net.output.bias
    net.float()
    return outputs.detach()


def answer(likelihood: Likelihood, way: str = "monte-carlo") -> Tensor:
    model = network(likelihood.n_outputs)
    return DropoutInference(way, S, SEED).outputs(model, rows(), likelihood)


MEANS: list[tuple[Likelihood, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = [
    (Categorical(3), lambda z: z.softmax(-1), lambda o: o.softmax(-1)),
    (Bernoulli(), torch.sigmoid, torch.sigmoid),
    (Poisson(), torch.exp, torch.exp),
    (Laplace(), lambda z: z, lambda o: o),
    (Gaussian(scale=0.5), lambda z: z, lambda o: o),
]


@pytest.mark.parametrize(("likelihood", "meaning", "read"), MEANS, ids=lambda v: str(v) if not callable(v) else "")
def test_monte_carlo_averages_what_the_outputs_mean(
    likelihood: Likelihood, meaning: Callable[[Tensor], Tensor], read: Callable[[Tensor], Tensor]
) -> None:
    expected = meaning(subnetworks(network(likelihood.n_outputs))).mean(0)
    torch.testing.assert_close(read(answer(likelihood)), expected, rtol=1e-5, atol=1e-6)


def test_the_spread_of_a_gaussian_holds_that_of_the_sub_networks() -> None:
    z = subnetworks(network(2))
    mean, variance = z[..., 0], torch.exp(2 * z[..., 1] / torch.sqrt(1 + (z[..., 1] / 14) ** 2))
    outputs = answer(Gaussian())
    torch.testing.assert_close(Gaussian().mean(outputs), mean.mean(0), rtol=1e-5, atol=1e-6)
    total = variance.mean(0) + mean.var(0, unbiased=False)
    torch.testing.assert_close(Gaussian().spread(outputs) ** 2, total, rtol=1e-5, atol=1e-6)
    assert (mean.var(0, unbiased=False) > 0.001 * variance.mean(0)).all()  # so that leaving it out would be seen


def test_heads_are_averaged_each_as_its_own() -> None:
    heads = Heads((Categorical(3), Gaussian(), Poisson()), ("a", "b", "c"))
    z = subnetworks(network(6))
    outputs = answer(heads)
    torch.testing.assert_close(outputs[:, :3].softmax(-1), z[..., :3].softmax(-1).mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(outputs[:, 3], z[..., 3].mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(outputs[:, 5].exp(), z[..., 5].exp().mean(0), rtol=1e-5, atol=1e-6)


def test_it_is_the_functions_of_nn_row_by_row() -> None:
    model, x = network(3, (6, 5)), rows()
    mean, geometric = (
        DropoutInference(w, S, SEED).outputs(model, x, Categorical(3)) for w in ("monte-carlo", "geometric")
    )
    for i in range(len(x)):
        seeded = [torch.Generator().manual_seed(SEED) for _ in range(2)]
        by_hand = monte_carlo_dropout(model, x[i : i + 1], S, generator=seeded[0])
        torch.testing.assert_close(mean[i : i + 1].softmax(-1).float(), by_hand, rtol=1e-5, atol=1e-6)
        by_hand = geometric_mean_dropout(model, x[i : i + 1], S, generator=seeded[1])
        torch.testing.assert_close(geometric[i : i + 1].softmax(-1).float(), by_hand, rtol=1e-5, atol=1e-6)


def test_many_passes_come_near_the_enumeration_of_all_masks() -> None:
    model, x = network(3), rows()
    net = model.double()
    hidden = torch.tanh(x.double() @ net.linear1.weight.T + net.linear1.bias)
    exact = torch.zeros(4, 3).double()
    for bits in itertools.product([0.0, 1.0], repeat=5):
        mask = torch.tensor(bits).double()
        chance = (0.6**mask * 0.4 ** (1 - mask)).prod()
        exact += chance * ((mask / 0.6 * hidden) @ net.output.weight.T + net.output.bias).softmax(-1)
    found = DropoutInference("monte-carlo", 20_000, 0).outputs(model.float(), x, Categorical(3)).softmax(-1)
    assert (found - exact).abs().max() < 0.01
    # Over masks on the last hidden layer alone the geometric mean is the softmax of the scaled weights.
    scaled = model(x).double().softmax(-1)
    geometric = DropoutInference("geometric", 20_000, 0).outputs(model, x, Categorical(3)).softmax(-1)
    assert (geometric - scaled).abs().max() < 0.01 < (found - scaled).abs().max()


def test_an_answer_follows_from_row_and_seed_alone() -> None:
    model, x, likelihood = network(3, (6, 5)), rows(7), Categorical(3)
    way = DropoutInference("monte-carlo", 9, 5)
    whole = way.outputs(model, x, likelihood)
    state = torch.get_rng_state()
    torch.testing.assert_close(
        way.outputs(model, x, likelihood, torch.tensor([5, 2])), whole[[5, 2]], rtol=1e-6, atol=1e-7
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.allclose(DropoutInference("monte-carlo", 9, 6).outputs(model, x, likelihood), whole)
    assert way.outputs(model, x[:0], likelihood).shape == (0, 3)


def test_extremes_stay_finite() -> None:
    net = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Dropout(0.5))
    nn.init.constant_(net[0].weight, 1e4)
    for likelihood in (Categorical(2), Gaussian(), Heads((Bernoulli(), Poisson()), ("a", "b"))):
        outputs = DropoutInference("monte-carlo", 3, 0).outputs(net, torch.ones(2, 1), likelihood)
        assert torch.isfinite(outputs).all()
    rate = Poisson().mean(
        DropoutInference("monte-carlo", 1, 2).outputs(
            net, torch.tensor([[1e-2]]), Heads((Poisson(), Poisson()), ("a", "b"))
        )[:, :1]
    )
    assert rate.item() in (1.0, pytest.approx(torch.tensor(20.0).exp().item() * (1 + 200.0 - 20), rel=1e-5))


def test_without_dropout_it_is_refused() -> None:
    with pytest.raises(ConfigError, match="no dropout at work"):
        DropoutInference("monte-carlo", 5, 0).outputs(network(2, dropout=0.0), rows(), Gaussian())


def test_what_a_file_says_is_checked() -> None:
    way = DropoutInference("geometric", 7, 11)
    assert DropoutInference.from_json(way.to_json(), where="f") == way
    assert DropoutInference.from_json(None, where="f") is None
    good = way.to_json()
    for bad in (
        {},
        [],
        "geometric",
        good | {"way": "mean"},
        good | {"passes": 0},
        good | {"passes": True},
        good | {"seed": -1},
        good | {"more": 1},
    ):
        with pytest.raises(CheckpointError, match="f: what it says of dropout"):
            DropoutInference.from_json(bad, where="f")
