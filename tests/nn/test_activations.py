"""Hidden units by name and option: each is what numpy computes, and what cannot be is refused."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import torch

from lamina.errors import ConfigError
from lamina.nn import ACTIVATIONS, MLP, POOLING_UNITS, ResidualMLP
from lamina.nn.activations import read_activation


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


BY_NUMPY = {
    "leaky_relu": lambda z: np.maximum(z, 0) + 0.01 * np.minimum(z, 0),
    "leaky_relu:slope=0.1": lambda z: np.maximum(z, 0) + 0.1 * np.minimum(z, 0),
    "leaky_relu:slope=-1": np.abs,
    "elu:alpha=2.5": lambda z: np.where(z > 0, z, 2.5 * np.expm1(np.minimum(z, 0))),
    "sigmoid:slope=3": lambda z: scipy.special.expit(3 * z),
    "noisy_relu:std=0.3": lambda z: np.maximum(z, 0),
    "identity": lambda z: z,
}


@pytest.mark.parametrize("line", BY_NUMPY)
@pytest.mark.parametrize("kind", [MLP, ResidualMLP])
def test_C10_C13_a_unit_with_options_is_numpys(line: str, kind: type) -> None:
    if kind is MLP:
        net = MLP(4, 2, (6,), line, generator=seeded()).double().eval()
        first, last = net.linear1, net.output
    else:
        net = ResidualMLP(4, 2, 6, 1, activation=line, generator=seeded()).double().eval()
        first, last = net.norm, net.output  # a block starts as nothing
    x = torch.randn(50, 4, generator=seeded(1), dtype=torch.float64)
    with torch.no_grad():
        into = first(x if kind is MLP else net.linear0(x)).numpy()
        expected = BY_NUMPY[line](into) @ last.weight.numpy().T + last.bias.numpy()
        np.testing.assert_allclose(net(x).numpy(), expected, rtol=1e-9, atol=1e-12)
    assert (into < -0.1).any() and (into > 0.1).any()


def test_the_noise_of_a_noisy_unit_has_the_deviation_that_is_asked_for() -> None:
    unit = read_activation("noisy_relu:std=0.3", where="test").module(1)
    z = torch.full((200_000,), 5.0, dtype=torch.float64)
    torch.manual_seed(0)
    assert unit(z).std().item() == pytest.approx(0.3, rel=0.01)


def test_C16_the_power_of_a_p_norm_unit() -> None:
    net = MLP(5, 2, (4,), "p_norm:p=3", pieces=2, generator=seeded()).double()
    x = torch.randn(9, 5, generator=seeded(1), dtype=torch.float64)
    with torch.no_grad():
        z = net.linear1(x).numpy().reshape(9, 2, 4)
        h = (np.abs(z) ** 3).sum(1) ** (1 / 3)
        np.testing.assert_allclose(net(x).numpy(), h @ net.output.weight.numpy().T, rtol=1e-9, atol=1e-12)
    assert not torch.equal(net.linear1.weight, MLP(5, 2, (4,), "p_norm", generator=seeded()).double().linear1.weight)


@pytest.mark.parametrize("kind", [MLP, ResidualMLP])
def test_C12_each_unit_learns_a_slope_of_its_own(kind: type) -> None:
    """∂L/∂α_i = Σ_n min(0, z_ni) δ_ni, unit by unit, against finite differences."""
    net = MLP(4, 1, (6, 5), "prelu", generator=seeded()) if kind is MLP else ResidualMLP(4, 1, 5, 1, activation="prelu")
    slopes = {name: p for name, p in net.double().eval().named_parameters() if p.ndim == 1 and (p == 0.25).all()}
    assert [len(p) for p in slopes.values()] == ([6, 5] if kind is MLP else [10, 5])
    x = torch.randn(40, 4, generator=seeded(1), dtype=torch.float64)
    if kind is ResidualMLP:
        torch.nn.init.normal_(net.block1.branch.linear2.weight, generator=seeded(2))
    net(x).square().sum().backward()
    for p in slopes.values():
        found = p.grad.clone()
        for i in range(len(p)):
            with torch.no_grad():
                sides = []
                for step in (1e-6, -2e-6):
                    p[i] += step
                    sides.append(net(x).square().sum().item())
                p[i] += 1e-6
            assert found[i].item() == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-5)
        assert len(set(found.tolist())) == len(p)


def test_a_leaky_units_weights_start_by_the_rule_that_is_nearer() -> None:
    for line, variance in (
        ("leaky_relu", 2 / 300),
        ("leaky_relu:slope=0.1", 2 / 300),
        ("leaky_relu:slope=0.5", 2 / 300),
        ("leaky_relu:slope=0.7", 2 / 500),
        ("leaky_relu:slope=-1", 2 / 500),
    ):
        w = MLP(300, 1, (200,), line, generator=seeded()).linear1.weight.detach()
        assert w.var().item() == pytest.approx(variance, rel=0.05), line


def test_the_layers_are_named_for_the_unit_alone() -> None:
    names = [name for name, _ in MLP(3, 1, (4,), "leaky_relu:slope=0.1").named_children()]
    assert names == ["linear1", "leaky_relu1", "output"]


@pytest.mark.parametrize(
    ("line", "words", "mend"),
    [
        ("leaky_rel:slope=1", 'did you mean "leaky_relu"', "leaky_relu"),
        ("relu:slope=0.1", '"slope" is no option of relu', "options: none"),
        ("leaky_relu:slop=0.1", 'did you mean "slope"', "options: slope"),
        ("leaky_relu:slope=steep", "must be a number", "slope=1"),
        ("leaky_relu:slope=0.1:slope=0.2", "given twice", "slope"),
        ("elu:alpha=0", "elu: alpha must be a finite number above 0", "alpha=1"),
        ("noisy_relu:std=-1", "std must be", "std=1"),
        ("sigmoid:slope=0", "slope must be", "slope=1"),
        ("p_norm:p=0.5", "p must be at least 1", "p=2"),
        ("p_norm:pieces=3", '"pieces" is no option', "options: p"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(line: str, words: str, mend: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        MLP(3, 1, (4,), line)
    assert caught.value.where == "MLP" and mend in caught.value.mend and "\n" not in caught.value.what


def test_a_residual_network_has_no_pooling_units() -> None:
    with pytest.raises(ConfigError, match='unknown activation "maxout"'):
        ResidualMLP(3, 1, activation="maxout")


@pytest.mark.parametrize("name", [*ACTIVATIONS, *POOLING_UNITS, "p_norm:p=1", "p_norm:p=1.5", "elu:alpha=0.5"])
def test_the_units_called_piecewise_linear_are_the_ones_that_bend_nowhere(name: str) -> None:
    chosen = read_activation(name, where="test")
    z = torch.linspace(-3, 3, 26, dtype=torch.float64).reshape(13, 2).requires_grad_()
    unit = chosen.pooling(1, 1, 2, seeded()).pool if chosen.pools else chosen.module(2).double().eval()
    (slope,) = torch.autograd.grad(unit(z).sum(), z, create_graph=True)
    mixed = (slope * torch.randn(slope.shape, generator=seeded(), dtype=torch.float64)).sum()
    bend = torch.autograd.grad(mixed, z, allow_unused=True)[0] if slope.requires_grad else None
    assert chosen.bends == (bend is not None and bend.abs().sum().item() > 1e-9)
