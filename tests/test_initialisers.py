"""Starting weights: their moments, the variance that each scheme keeps, and the fans of every layer."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from lamina.errors import ConfigError
from lamina.initialisers import SCHEMES, fill, gaussian, initialise, sparse, weights_of
from lamina.nn import RBF, HighwayRecurrent, LowRankLinear
from lamina.nn.linear import linear


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(scheme: str, out: int = 400, into: int = 900, seed: int = 0) -> Tensor:
    return fill(torch.empty(out, into, dtype=torch.float64), scheme, seeded(seed))


VARIANCES = {
    "small": 1e-4,
    "xavier": 1 / 900,
    "uniform": 1 / (3 * 900),
    "glorot": 2 / 1300,
    "he": 2 / 900,
    "he_fan_out": 2 / 400,
    "uniform_2.4": 2.4**2 / (3 * 900**2),
    "sparse": 15 / 900,
    "orthogonal": 1 / 900,  # 400 unit rows of 900 elements
    "zero": 0.0,
}


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_every_scheme_has_its_variance_and_mean_zero(scheme: str) -> None:
    weight = drawn(scheme).numpy()
    expected = VARIANCES[scheme]
    assert weight.var() == pytest.approx(expected, rel=0.02, abs=0)
    assert abs(weight.mean()) <= 4 * math.sqrt(expected / weight.size)


@pytest.mark.parametrize(
    ("scheme", "theirs"),
    [
        ("small", scipy.stats.norm(0, 0.01)),
        ("xavier", scipy.stats.norm(0, 1 / 30)),
        ("uniform", scipy.stats.uniform(-1 / 30, 2 / 30)),
        ("glorot", scipy.stats.uniform(-math.sqrt(6 / 1300), 2 * math.sqrt(6 / 1300))),
        ("he", scipy.stats.norm(0, math.sqrt(2 / 900))),
        ("he_fan_out", scipy.stats.norm(0, math.sqrt(2 / 400))),
        ("uniform_2.4", scipy.stats.uniform(-2.4 / 900, 4.8 / 900)),
    ],
)
def test_distribution_is_scipys(scheme: str, theirs: object) -> None:
    values = drawn(scheme).numpy().ravel()[:20_000]
    assert scipy.stats.kstest(values, theirs.cdf).pvalue > 0.001  # type: ignore[attr-defined]
    assert scipy.stats.kstest(values * 1.05, theirs.cdf).pvalue < 0.01  # type: ignore[attr-defined]


# --- the numbers of the layers that existed before the schemes had names ---


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_linear_draws_what_plain_pytorch_draws(dtype: torch.dtype) -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        for start, expected in {
            "he": torch.empty(7, 5).normal_(0.0, math.sqrt(2.0 / 5), generator=seeded(3)),
            "glorot": torch.empty(7, 5).uniform_(-math.sqrt(6 / 12), math.sqrt(6 / 12), generator=seeded(3)),
            "zero": torch.zeros(7, 5),
        }.items():
            layer = linear(5, 7, start, seeded(3))
            assert torch.equal(layer.weight, expected)
            assert torch.equal(layer.bias, torch.zeros(7))
    finally:
        torch.set_default_dtype(before)


def test_linear_draws_nothing_from_the_global_generator() -> None:
    state = torch.get_rng_state()
    linear(5, 7, "sparse", seeded())
    assert torch.equal(torch.get_rng_state(), state)


def test_I05_is_pytorchs_xavier_uniform() -> None:
    for shape in [(6, 4), (6, 4, 3), (6, 4, 3, 2)]:
        theirs = nn.init.xavier_uniform_(torch.empty(shape), generator=seeded(1))
        assert torch.equal(fill(torch.empty(shape), "glorot", seeded(1)), theirs)


def test_I06_is_pytorchs_kaiming_normal() -> None:
    for shape in [(6, 4), (6, 4, 3, 2)]:
        theirs = nn.init.kaiming_normal_(torch.empty(shape), generator=seeded(1))
        assert torch.equal(fill(torch.empty(shape), "he", seeded(1)), theirs)


# --- what each scheme is for ---


def deep(scheme: str, unit: type[nn.Module], depth: int, width: int = 400) -> list[Tensor]:
    """Return the activations before each unit's function of a deep network on standard normal inputs."""
    generator = seeded(5)
    h, seen = torch.randn(500, width, generator=generator, dtype=torch.float64), []
    for _ in range(depth):
        z = h @ fill(torch.empty(width, width, dtype=torch.float64), scheme, generator).T
        seen.append(z)
        h = unit()(z)
    return seen


def test_I03_xavier_keeps_the_variance_of_a_deep_linear_network() -> None:
    assert deep("xavier", nn.Identity, 20)[-1].var().item() == pytest.approx(1.0, rel=0.25)
    assert deep("he", nn.Identity, 20)[-1].var().item() > 2**19
    assert deep("uniform", nn.Identity, 20)[-1].var().item() == pytest.approx(3.0**-20, rel=0.25)  # I04


def test_I06_he_keeps_the_variance_through_rectifiers() -> None:
    # E[relu(z)²] = Var z / 2 for symmetric z, so Var z' = in · (2 / in) · Var z / 2.
    z = deep("he", nn.ReLU, 10)
    assert (z[-1].square().mean() / z[0].square().mean()).item() == pytest.approx(1.0, rel=0.4)
    z = deep("xavier", nn.ReLU, 10)
    assert (z[-1].square().mean() / z[0].square().mean()).item() == pytest.approx(2.0**-9, rel=0.4)


def test_I05_glorot_stands_between_forward_and_backward() -> None:
    wide, narrow = 900, 400
    weight = drawn("glorot", narrow, wide)
    x, delta = (torch.randn(300, n, generator=seeded(n), dtype=torch.float64) for n in (wide, narrow))
    forward, backward = (x @ weight.T).var().item(), (delta @ weight).var().item()
    assert forward == pytest.approx(2 * wide / (wide + narrow), rel=0.03)
    assert backward == pytest.approx(2 * narrow / (wide + narrow), rel=0.03)
    assert (forward + backward) / 2 == pytest.approx(1.0, rel=0.03)


def test_I04_standard_deviation_is_one_over_root_three_m() -> None:
    weight = drawn("uniform")
    assert weight.std().item() == pytest.approx(1 / math.sqrt(3 * 900), rel=0.01)
    assert weight.abs().max().item() <= 1 / 30


def test_I07_standard_deviation_falls_as_the_number_of_inputs() -> None:
    for into in (2, 24, 600):
        weight = drawn("uniform_2.4", 200_000 // into, into)
        assert weight.std().item() == pytest.approx(2.4 / (into * math.sqrt(3)), rel=0.01)
        assert weight.abs().max().item() <= 2.4 / into
    # Beside the width that keeps the variance: equal at about two inputs, 23 times too small at 1000.
    assert (1 / math.sqrt(1000)) / (2.4 / (1000 * math.sqrt(3))) == pytest.approx(22.8, abs=0.05)


@settings(max_examples=40, deadline=None)
@given(units=st.integers(1, 8), inputs=st.integers(1, 12), k=st.integers(1, 15), seed=st.integers(0, 99))
def test_I08_sparse_has_k_weights_a_unit(units: int, inputs: int, k: int, seed: int) -> None:
    weight = fill(torch.ones(units, inputs), sparse(k, 2.0), seeded(seed))
    assert (weight != 0).sum(1).tolist() == [min(k, inputs)] * units


def test_I08_sparse_places_are_uniform_and_values_normal() -> None:
    weight = fill(torch.empty(30_000, 6, dtype=torch.float64), sparse(2, 0.5), seeded())
    counts = (weight != 0).sum(0).numpy()
    assert scipy.stats.chisquare(counts).pvalue > 0.001
    values = weight[weight != 0].numpy()
    assert scipy.stats.kstest(values[:20_000], scipy.stats.norm(0, 0.5).cdf).pvalue > 0.001


def test_I08_sparse_convolution_counts_a_unit_over_its_kernel() -> None:
    assert (fill(torch.empty(4, 3, 5, 5), "sparse", seeded()) != 0).flatten(1).sum(1).tolist() == [15] * 4


def test_orthogonal_keeps_lengths() -> None:
    weight = drawn("orthogonal", 4, 9)
    assert torch.allclose(weight @ weight.T, torch.eye(4, dtype=torch.float64), atol=1e-12)
    gates = fill(torch.empty(12, 3, dtype=torch.float64), "orthogonal", seeded(), gates=4)
    for gate in gates.split(3):
        assert torch.allclose(gate.T @ gate, torch.eye(3, dtype=torch.float64), atol=1e-12)


# --- symmetry and biases ---


def trained(start: float | None) -> nn.Sequential:
    """Train a small network whose hidden units start alike, or not."""
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    initialise(net, gaussian(0.1) if start is None else "zero", seeded())
    if start is not None:
        for p in net.parameters():
            nn.init.constant_(p, start)
    x = torch.randn(64, 3, generator=seeded(1), dtype=torch.float64)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(50):
        optimizer.zero_grad()
        (net(x)[:, 0] - x[:, 0] * x[:, 1]).square().mean().backward()
        optimizer.step()
    return net


def test_I01_identical_units_stay_identical_and_random_ones_do_not() -> None:
    alike: Tensor = trained(0.1)[0].weight.detach()  # type: ignore[assignment]
    assert torch.allclose(alike, alike[:1].expand(4, 3), rtol=1e-9) and (alike[0] - 0.1).abs().min().item() > 0.01
    other: Tensor = trained(None)[0].weight.detach()  # type: ignore[assignment]
    assert torch.pdist(other).min().item() > 0.01


def test_I01_small_positive_bias_lets_rectifiers_start_active() -> None:
    x = torch.randn(200, 30, generator=seeded(2))
    shares = {}
    for bias in (0.0, 0.1):
        net = nn.Sequential(nn.Linear(30, 500), nn.ReLU())
        initialise(net, "small", seeded(), bias=bias)
        assert torch.equal(net[0].bias, torch.full((500,), bias))  # type: ignore[arg-type]
        shares[bias] = (net(x) > 0).float().mean().item()
    # z ~ N(bias, 30 · 0.01²): active with probability Φ(bias / 0.0548).
    assert shares[0.0] == pytest.approx(0.5, abs=0.01)
    assert shares[0.1] == pytest.approx(scipy.stats.norm.cdf(0.1 / (0.01 * math.sqrt(30))), abs=0.02)


@pytest.mark.parametrize("variance", [1, 2, 4, 8])
def test_W32_I02_width_study_of_a_sigmoids_input(variance: int) -> None:
    """Moments of σ(w x) for x = 1 and w ~ N(0, variance), against quadrature; the wider, the more saturated."""
    w = fill(torch.empty(400_000, 1, dtype=torch.float64), gaussian(math.sqrt(variance)), seeded(variance))
    y = torch.sigmoid(nn.functional.linear(torch.ones(1, 1, dtype=torch.float64), w)).flatten().numpy()
    nodes, mass = np.polynomial.hermite_e.hermegauss(120)
    values = 1 / (1 + np.exp(-math.sqrt(variance) * nodes))
    mass = mass / mass.sum()
    mean, square = mass @ values, mass @ (values - 0.5) ** 2
    assert mean == pytest.approx(0.5, abs=1e-12)
    assert y.mean() == pytest.approx(mean, abs=4 * math.sqrt(square / y.size))
    assert y.var() == pytest.approx(square, rel=0.01)
    # Saturated: the derivative σ(1 - σ) below 5 % of its largest value 1/4.
    edge = math.log((0.5 + math.sqrt(0.25 - 0.0125)) / (0.5 - math.sqrt(0.25 - 0.0125)))
    share = 2 * scipy.stats.norm.sf(edge / math.sqrt(variance))
    assert (y * (1 - y) < 0.0125).mean() == pytest.approx(share, abs=0.003)
    assert {1: 0.0000, 2: 0.0020, 4: 0.0294, 8: 0.1235}[variance] == pytest.approx(share, abs=1e-4)
    # From one bell around 1/2 (variances up to 2) to two peaks: the density of y at 1/2 against that at 0.05.
    at = np.histogram(y, bins=[0.04, 0.06, 0.49, 0.51])[0][[0, 2]] / 0.02 / y.size
    assert (at[1] > at[0]) is np.bool_(variance < 4)


# --- fans ---


def fans_by_counting(layer: nn.Module, places: tuple[int, ...]) -> tuple[float, float]:
    """Count the connections of a layer's central output and input in its Jacobian with all weights one."""
    nn.init.ones_(layer.weight)  # type: ignore[arg-type]
    x = torch.zeros(1, layer.in_channels, *places)  # type: ignore[arg-type]
    jacobian = torch.autograd.functional.jacobian(lambda v: layer(v)[0], x)[:, ..., 0, :, :, :]
    outputs = int(np.prod(jacobian.shape[:3]))
    matrix = jacobian.reshape(outputs, -1) != 0
    into, out_of = matrix.sum(1).double(), matrix.sum(0).double()
    # Away from the borders, averaged over one period of the stride.
    rows = into.view(jacobian.shape[:3])[:, 4:-4, 4:-4]
    columns = out_of.view(jacobian.shape[3:])[:, 4:-4, 4:-4]
    return rows.mean().item(), columns.mean().item()


@pytest.mark.parametrize(
    ("layer", "places"),
    [
        (nn.Conv2d(4, 6, 3, padding=1, bias=False), (16, 16)),
        (nn.Conv2d(4, 6, 3, padding=1, groups=2, bias=False), (16, 16)),
        (nn.Conv2d(4, 2, 4, stride=2, padding=1, bias=False), (32, 32)),
        (nn.ConvTranspose2d(4, 6, 3, padding=1, bias=False), (16, 16)),
        (nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1, groups=2, bias=False), (16, 16)),
    ],
)
def test_fans_are_the_connections_that_a_jacobian_shows(layer: nn.Module, places: tuple[int, int]) -> None:
    assert tuple(weights_of(layer)[0].fans) == pytest.approx(fans_by_counting(layer, places))


def test_he_keeps_the_signal_through_grouped_strided_and_transposed_convolutions() -> None:
    for layer in (
        nn.Conv2d(32, 64, 5, stride=2, groups=4),
        nn.ConvTranspose2d(64, 32, 4, stride=2, groups=4),
        nn.Conv1d(64, 64, 3),
    ):
        initialise(layer, "he", seeded())
        places = (40,) * (layer.weight.ndim - 2)
        x = torch.relu(torch.randn(8, layer.in_channels, *places, generator=seeded(1)))
        y = layer(x)[(..., *[slice(4, -4)] * len(places))]
        assert y.square().mean().item() == pytest.approx(1.0, rel=0.15)


def test_orthogonal_transposed_convolution_has_a_unit_a_row() -> None:
    layer = nn.ConvTranspose2d(8, 6, 3, groups=2).double()
    initialise(layer, "orthogonal", seeded())
    for group in layer.weight.view(2, 4, 3, 3, 3):  # (inputs, units, kernel)
        rows = group.transpose(0, 1).flatten(1)
        assert torch.allclose(rows @ rows.T, torch.eye(3, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_recurrent_weights_are_drawn_gate_by_gate(kind: type[nn.RNNBase]) -> None:
    net = kind(50, 40, 2, bidirectional=True)
    names = initialise(net, "glorot", seeded(), bias=0.1)
    assert set(names) == {name for name, _ in net.named_parameters() if "weight" in name}
    for name, p in net.named_parameters():
        if "weight" in name:
            bound = math.sqrt(6 / (p.shape[1] + 40))  # torch's own rule would take all gates for one layer
            assert p.abs().max().item() == pytest.approx(bound, rel=0.01)
        else:
            assert torch.equal(p, torch.full_like(p, 0.0 if "bias_hh" in name else 0.1))
    initialise(net, "orthogonal", seeded())
    for gate in net.weight_hh_l1_reverse.split(40):  # type: ignore[operator]
        assert torch.allclose(gate.T @ gate, torch.eye(40), atol=1e-5)


def test_projected_lstm_and_cells() -> None:
    lstm = nn.LSTM(6, 8, proj_size=3)
    assert {w.name: (tuple(w.fans), w.gates) for w in weights_of(lstm)} == {
        "weight_ih_l0": ((6, 8), 4),
        "weight_hh_l0": ((3, 8), 4),
        "weight_hr_l0": ((8, 3), 1),
    }
    assert [(tuple(w.fans), w.gates) for w in weights_of(nn.GRUCell(6, 8))] == [((6, 8), 3), ((8, 8), 3)]


def test_initialise_reaches_every_layer_and_leaves_the_others() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.Flatten(),
        nn.TransformerEncoderLayer(16, 2, 32),
        nn.Embedding(5, 3),
        nn.Bilinear(2, 3, 4),
    )
    before = {name: p.clone() for name, p in net.named_parameters()}
    names = initialise(net, "he", seeded(), bias=0.1)
    assert names == (
        "0.weight",
        "3.self_attn.in_proj_weight",
        "3.self_attn.out_proj.weight",
        "3.linear1.weight",
        "3.linear2.weight",
        "5.weight",
    )
    biases = {"0.bias", "3.self_attn.in_proj_bias", "3.self_attn.out_proj.bias"}
    biases |= {"3.linear1.bias", "3.linear2.bias", "5.bias"}
    for name, p in net.named_parameters():
        assert torch.equal(p, before[name]) is (name not in {*names, *biases})
        if name in biases:
            assert torch.equal(p, torch.full_like(p, 0.1))
    again = {name: p.clone() for name, p in net.named_parameters()}
    initialise(net, "he", seeded(), bias=None)
    assert all(torch.equal(p, again[name]) for name, p in net.named_parameters())


def test_initialise_draws_a_shared_weight_once_and_sees_through_weight_normalisation() -> None:
    a, b = nn.Linear(4, 4), nn.Linear(4, 4)
    b.weight = a.weight
    assert initialise(nn.Sequential(a, b), "he", seeded()) == ("0.weight",)
    assert torch.equal(a.weight, fill(torch.empty(4, 4), "he", seeded()))
    normed = parametrizations.weight_norm(nn.Linear(4, 4))
    assert initialise(normed, "he", seeded()) == ("weight",)
    assert torch.allclose(normed.weight, a.weight, atol=1e-6)


@pytest.mark.parametrize("scheme", ["he", "he_fan_out", "glorot", "xavier", "uniform"])
@pytest.mark.parametrize("rank", [30, 200])
def test_the_product_of_low_rank_factors_has_the_variance_of_a_whole_matrix(scheme: str, rank: int) -> None:
    layer = LowRankLinear(900, 400, rank)
    assert initialise(layer, scheme, seeded(), bias=0.1) == ("v", "u")
    with torch.no_grad():
        assert layer.weight.var().item() == pytest.approx(VARIANCES[scheme], rel=0.06)
        # The middle keeps the variance of x, and an affine map of that variance that of W.
        x = torch.randn(2000, 900, generator=seeded(1))
        assert (x @ layer.v.T).var().item() == pytest.approx(1.0, rel=0.03)
        assert layer(x).var().item() == pytest.approx(900 * VARIANCES[scheme], rel=0.1)
    assert layer.bias is not None and (layer.bias == 0.1).all()


def test_a_zero_branch_of_low_rank_can_still_learn() -> None:
    layer = LowRankLinear(6, 5, 2, bias=False)
    initialise(layer, "zero", seeded())
    layer(torch.ones(1, 6)).sum().backward()
    assert not layer.u.any() and layer.u.grad is not None and layer.u.grad.abs().min().item() > 0.0


def test_highway_recurrent_is_drawn_block_by_block_and_keeps_its_gate() -> None:
    net = nn.Sequential(HighwayRecurrent(60, gate_bias=-3.0))
    assert initialise(net, "orthogonal", seeded(), bias=0.1) == ("0.weight_input", "0.weight_recurrent")
    layer = net[0]
    for block in (*layer.weight_input.split(60), *layer.weight_recurrent.split(60)):  # type: ignore[union-attr, operator]
        assert torch.allclose(block.T @ block, torch.eye(60), atol=1e-5)
    assert (layer.bias[:60] == -3.0).all() and (layer.bias[60:] == 0.1).all()  # type: ignore[union-attr, index]
    initialise(net, "xavier", seeded(), bias=None)
    x = torch.randn(500, 60, generator=seeded(1))
    assert (x @ layer.weight_input.T).var().item() == pytest.approx(1.0, rel=0.05)  # type: ignore[union-attr, operator]
    assert (layer.bias[60:] == 0.1).all()  # type: ignore[union-attr, index]


def test_centres_are_no_weights_of_a_sum() -> None:
    layer = RBF(4, 3)
    before = layer.weight.detach().clone()
    assert initialise(layer, "he", seeded()) == ()
    assert torch.equal(layer.weight, before)


def test_other_layouts_and_types() -> None:
    conv = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    initialise(conv, "he", seeded())
    assert torch.equal(conv.weight, fill(torch.empty(4, 3, 3, 3), "he", seeded()))
    for scheme in SCHEMES:
        assert torch.isfinite(
            fill(torch.empty(3, 5, dtype=torch.bfloat16 if scheme != "orthogonal" else None), scheme)
        ).all()
    assert fill(torch.empty(3, 5, device="meta"), "glorot").is_meta


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match='did you mean "glorot"'):
        fill(torch.empty(2, 2), "gloro")
    with pytest.raises(ConfigError, match="cannot be read"):
        fill(torch.empty(5), "he")
    with pytest.raises(ConfigError, match="cannot be read"):
        fill(torch.empty(5, 2), "he", gates=4)
    with pytest.raises(ConfigError, match="no sizes"):
        initialise(nn.Sequential(nn.LazyLinear(3)))
    for call in (lambda: gaussian(0.0), lambda: sparse(0), lambda: sparse(3, -1.0)):
        with pytest.raises(ConfigError):
            call()
    with pytest.raises(ConfigError, match="bias"):
        initialise(nn.Linear(2, 2), bias=math.nan)
