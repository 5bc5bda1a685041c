"""The curvature of a batch against explicit Jacobians, second derivatives and outer products."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import jaxtyping
import pytest
import torch
from torch import Tensor, nn

from curvature import net
from lamina import nn as lamina_nn
from lamina.curvature.batch_loss import BatchLoss
from lamina.curvature.gauss_newton import empirical_fisher_vector, fisher_vector, gauss_newton_vector
from lamina.errors import ConfigError
from lamina.likelihoods import Bernoulli, Categorical, Gaussian, GaussianMixture, Poisson, StudentT


class Last(nn.Module):
    """A recurrent net or an attention net, read at its last place."""

    def __init__(self, inside: nn.Module, width: int) -> None:
        super().__init__()
        self.inside, self.output = inside, nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        states = self.inside(x)
        found: Tensor = self.output((states[0] if isinstance(states, tuple) else states)[:, -1])
        return found


class Attends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.attention(x, x, x, need_weights=False)[0]
        return found


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 5)), nn.Conv1d(1, 2, 2), nn.Tanh(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(4, 3)
    )


def normalised() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.LayerNorm(5), nn.Linear(5, 3))


def weight_normalised() -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 5)), nn.Tanh(), nn.Linear(5, 3))


def dropping() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.4), nn.Tanh(), nn.Linear(6, 3))


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (mlp, (4,)),
    "convolutional": (convolutional, (5,)),
    "lstm": (lambda: Last(nn.LSTM(2, 3, batch_first=True), 3), (4, 2)),
    "gru": (lambda: Last(nn.GRU(2, 3, batch_first=True), 3), (4, 2)),
    "attention": (lambda: Last(Attends(), 4), (3, 4)),
    "transformer": (lambda: Last(nn.TransformerEncoderLayer(4, 2, 5, batch_first=True), 4).eval(), (3, 4)),
    "normalised": (normalised, (4,)),
    "weight-normalised": (weight_normalised, (4,)),
    "dropping": (dropping, (4,)),
}
every = pytest.mark.parametrize("name", list(NETS))


def example(name: str, n: int = 6) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """A network in float64, inputs, class codes and example weights."""
    make, shape = NETS[name]
    torch.manual_seed(3)
    model = make().double()
    inputs = torch.randn(n, *shape, generator=net.seeded(1), dtype=torch.float64)
    weights = torch.rand(n, generator=net.seeded(2), dtype=torch.float64) + 0.5
    return model, inputs, torch.arange(n) % 3, weights


def penalised(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Of the parameters and of the outputs, neither of them square."""
    return lambda outputs: 0.1 * sum((p**4).sum() for p in model.parameters()) + 0.05 * (outputs**4).mean()


def batch(name: str, *, penalty: bool = True) -> BatchLoss:
    model, inputs, targets, weights = example(name)
    return BatchLoss(
        model, Categorical(3), inputs, targets, weights=weights, penalty=penalised(model) if penalty else None
    )


def rows(values: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    """The Jacobian, a pass back for each number."""
    found = []
    for value in values.flatten():
        parts = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
        found.append(
            torch.cat(
                [(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(parameters, parts, strict=True)]
            )
        )
    return torch.stack(found)


def matrix(product: Callable[[dict[str, Tensor]], dict[str, Tensor]], like: dict[str, Tensor]) -> Tensor:
    units = torch.eye(sum(p.numel() for p in like.values()), dtype=torch.float64)
    return torch.stack([net.flat(product(net.unflat(unit, like))) for unit in units], 1)


def differences(loss: BatchLoss) -> Tensor:
    """The Hessian of the loss from its gradients, of fourth order in h."""
    at, h = net.flat(loss.parameters), 1e-3

    def gradient(vector: Tensor) -> Tensor:
        values = {k: v.clone().requires_grad_() for k, v in net.unflat(vector, loss.parameters).items()}
        parts = torch.autograd.grad(loss.at(values), list(values.values()), allow_unused=True)
        return net.flat(
            {n: torch.zeros_like(v) if g is None else g for (n, v), g in zip(values.items(), parts, strict=True)}
        )

    columns = [
        (8 * (gradient(at + h * e) - gradient(at - h * e)) - gradient(at + 2 * h * e) + gradient(at - 2 * h * e))
        / (12 * h)
        for e in torch.eye(len(at), dtype=at.dtype)
    ]
    return torch.stack(columns, 1)


def explicit(loss: BatchLoss, kind: str) -> Tensor:
    """(1/N) Σ w_n J_nᵀ M_n J_n with all matrices written out, for class codes."""
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        outputs = loss.outputs()
    jacobian = rows(outputs, list(loss.named.values())).reshape(*outputs.shape, -1)
    p = outputs.detach().softmax(1)
    if kind == "empirical-fisher":
        r = p - torch.eye(3, dtype=p.dtype)[loss.targets]
        metric = torch.einsum("ni,nj->nij", r, r)
    else:
        metric = torch.diag_embed(p) - torch.einsum("ni,nj->nij", p, p)
    weights = p.new_ones(len(p)) if loss.weights is None else loss.weights
    return torch.einsum("n,nip,nij,njq->pq", weights / len(p), jacobian, metric, jacobian)


@every
@pytest.mark.parametrize("kind", ["gauss-newton", "fisher", "empirical-fisher"])
def test_O16_O17_products_are_those_of_the_explicit_matrix(name: str, kind: str) -> None:
    loss = batch(name, penalty=False)
    found, expected = matrix(loss.product(kind), loss.parameters), explicit(loss, kind)
    assert (found - expected).abs().max() <= 1e-10 * expected.abs().max()
    values = torch.linalg.eigvalsh(found)
    assert values.min() >= -1e-12 * values.max().clamp(min=1)


@every
def test_O16_a_single_product_is_the_same(name: str) -> None:
    loss = batch(name, penalty=name != "weight-normalised")
    v = {n: torch.randn(p.shape, generator=net.seeded(5), dtype=p.dtype) for n, p in loss.parameters.items()}
    pairs = [
        (gauss_newton_vector(loss, v), loss.product("gauss-newton")(v)),
        (fisher_vector(loss, v), loss.product("fisher")(v)),
        (empirical_fisher_vector(loss, v), loss.product("empirical-fisher")(v)),
    ]
    for found, expected in pairs:
        assert list(found) == list(expected) == list(loss.named)
        torch.testing.assert_close(net.flat(found), net.flat(expected), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", [name for name in NETS if name not in {"weight-normalised", "convolutional"}])
def test_O14_hessian_products_are_those_of_differences(name: str) -> None:
    loss = batch(name)
    found = matrix(loss.product("hessian"), loss.parameters)
    torch.testing.assert_close(found, found.mT, rtol=1e-10, atol=1e-12)
    expected = differences(loss)
    assert (found - expected).abs().max() <= 1e-7 * expected.abs().max()


def test_O16_penalty_adds_its_exact_hessian() -> None:
    with_penalty, without = batch("mlp"), batch("mlp", penalty=False)
    only = BatchLoss(with_penalty.model, Categorical(3), with_penalty.inputs, with_penalty.targets)
    only.total = with_penalty.penalty  # type: ignore[assignment, method-assign]
    expected = matrix(without.product(), without.parameters) + differences(only)
    found = matrix(with_penalty.product(), with_penalty.parameters)
    assert (found - expected).abs().max() <= 1e-8 * expected.abs().max()


def test_O16_equals_the_hessian_where_the_network_is_linear() -> None:
    model = nn.Linear(4, 3).double()
    inputs = torch.randn(6, 4, generator=net.seeded(0), dtype=torch.float64)
    for likelihood, targets in [
        (Categorical(3), torch.arange(6) % 3),
        (Bernoulli(3), torch.randint(0, 2, (6, 3), generator=net.seeded(1))),
        (Poisson(3), torch.randint(0, 9, (6, 3), generator=net.seeded(1))),
        (Gaussian(3, scale=0.5), torch.randn(6, 3, generator=net.seeded(1), dtype=torch.float64)),
    ]:
        loss = BatchLoss(model, likelihood, inputs, targets)
        found, expected = (matrix(loss.product(kind), loss.parameters) for kind in ("gauss-newton", "hessian"))
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("likelihood", [Gaussian(), StudentT()], ids=repr)
def test_O16_stays_positive_where_the_hessian_of_the_outputs_is_not(likelihood: Gaussian | StudentT) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    inputs = torch.randn(8, 4, generator=net.seeded(0), dtype=torch.float64)
    loss = BatchLoss(model, likelihood, inputs, 5 * torch.randn(8, generator=net.seeded(1), dtype=torch.float64))
    assert torch.linalg.eigvalsh(matrix(loss.product("hessian"), loss.parameters)).min() < -1e-2
    values = torch.linalg.eigvalsh(matrix(loss.product(), loss.parameters))
    assert values.min() >= -1e-12 * values.max()


def test_O17_drawn_fisher_is_the_mean_outer_product_of_the_drawn_gradients() -> None:
    loss = batch("mlp", penalty=False)
    found = matrix(loss.product("fisher", draws=5, generator=net.seeded(9)), loss.parameters)
    g, expected = net.seeded(9), torch.zeros_like(found)
    outputs = loss.outputs()
    for _ in range(5):
        drawn = torch.multinomial(outputs.detach().softmax(1), 1, generator=g).squeeze(1)
        each = nn.functional.cross_entropy(outputs, drawn, reduction="none")
        gradients = rows(each, list(loss.named.values()))
        assert loss.weights is not None
        expected += torch.einsum("n,np,nq->pq", loss.weights / 6 / 5, gradients, gradients)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_O17_a_mixture_is_drawn_for() -> None:
    likelihood = GaussianMixture(2)
    torch.manual_seed(0)
    model, inputs = nn.Linear(4, likelihood.n_outputs).double(), torch.randn(6, 4, dtype=torch.float64)
    loss = BatchLoss(model, likelihood, inputs, torch.zeros(6, dtype=torch.float64))
    v = {n: torch.ones_like(p) for n, p in loss.parameters.items()}
    with pytest.raises(ConfigError, match="closed form"):
        loss.product()(v)
    one, other = (fisher_vector(loss, v, draws=3, generator=net.seeded(seed)) for seed in (1, 1))
    assert all(torch.equal(one[n], other[n]) and one[n].any() for n in v)


def test_hessian_refuses_the_weight_normalisation_that_is_wrong_twice_and_takes_the_right_one() -> None:
    loss = batch("weight-normalised")
    with pytest.raises(ConfigError, match="weight normalisation") as caught:
        loss.product("hessian")
    assert "lamina.nn.weight_norm" in str(caught.value.mend)
    torch.manual_seed(0)
    model = nn.Sequential(lamina_nn.weight_norm(nn.Linear(4, 5)), nn.Tanh(), nn.Linear(5, 3)).double()
    right = BatchLoss(model, Categorical(3), loss.inputs, loss.targets)
    found, expected = matrix(right.product("hessian"), right.parameters), differences(right)
    assert (found - expected).abs().max() <= 1e-7 * expected.abs().max()


@pytest.mark.parametrize("name", ["lstm", "attention", "transformer", "weight-normalised"])
def test_single_precision_agrees_with_double_where_kernels_differ(name: str) -> None:
    loss = batch(name, penalty=name != "weight-normalised")
    v = {n: torch.randn(p.shape, generator=net.seeded(5), dtype=p.dtype) for n, p in loss.parameters.items()}
    expected = net.flat(loss.product()(v))
    loss.model.float()
    assert loss.weights is not None
    again = BatchLoss(
        loss.model,
        loss.likelihood,
        loss.inputs.float(),
        loss.targets,
        weights=loss.weights.float(),
        penalty=loss.penalty,
    )
    v = {n: t.float() for n, t in v.items()}
    for found in (again.product()(v), gauss_newton_vector(again, v)):
        assert (net.flat(found) - expected).norm() <= 1e-5 * expected.norm()


def test_running_means_are_moved_once_and_noise_stays_the_same() -> None:
    loss = batch("normalised")
    running = next(b for n, b in loss.model.named_buffers() if n.endswith("running_mean"))
    loss.at(loss.parameters)
    assert not running.any()
    loss()
    moved = running.clone()
    assert moved.any()
    loss(), loss.value(), loss.product()(loss.parameters), gauss_newton_vector(loss, loss.parameters)
    assert torch.equal(running, moved)
    dropped = batch("dropping")
    assert torch.equal(dropped(), dropped.value())
    torch.testing.assert_close(dropped.at(dropped.parameters), dropped.value())


def test_closure_is_the_loss_with_its_gradient() -> None:
    loss = batch("mlp")
    value = loss()
    assert loss.weights is not None and loss.penalty is not None
    outputs = loss.model(loss.inputs)
    nll = nn.functional.cross_entropy(outputs, loss.targets, reduction="none")
    expected = (loss.weights * nll).sum() / 6 + loss.penalty(outputs)
    torch.testing.assert_close(value, expected.detach())
    for p, g in zip(loss.named.values(), torch.autograd.grad(expected, list(loss.named.values())), strict=True):
        torch.testing.assert_close(p.grad, g)
    part = loss.rows(2, 5)
    assert part.size == 3 and part.weights is not None and torch.equal(part.weights, loss.weights[2:5])


def test_frozen_and_unused_parameters() -> None:
    loss = batch("mlp")
    loss.model[0].bias.requires_grad_(False)
    loss.model.extra = nn.Parameter(torch.ones(2, dtype=torch.float64))
    again = BatchLoss(loss.model, loss.likelihood, loss.inputs, loss.targets)
    assert "0.bias" not in again.named and "extra" in again.named
    v = {n: torch.ones_like(p) for n, p in again.parameters.items()}
    for product in (*map(again.product, ("gauss-newton", "hessian")), lambda v: gauss_newton_vector(again, v)):
        turned = product(v)
        assert list(turned) == list(again.named)
        assert torch.equal(turned["extra"], torch.zeros(2, dtype=torch.float64))


@pytest.fixture
def unhooked() -> Iterator[None]:
    """Switch the shape hook of the test run off, to see what a user without it sees."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def test_misfits_are_refused(unhooked: None) -> None:
    loss = batch("mlp")
    with pytest.raises(ConfigError, match="kind"):
        loss.product("newton")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="draws"):
        loss.product("hessian", draws=2)
    with pytest.raises(ConfigError, match="draws"):
        loss.product("empirical-fisher", draws=2)
    with pytest.raises(ConfigError, match="vector differs"):
        loss.product()({"0.weight": torch.zeros(5, 4)})
    for p in loss.model.parameters():
        p.requires_grad_(False)
    with pytest.raises(ConfigError, match="no parameters"):
        BatchLoss(loss.model, loss.likelihood, loss.inputs, loss.targets)


@every
def test_O16_agrees_with_curvlinops(name: str) -> None:
    curvlinops = pytest.importorskip("curvlinops")
    if name in {"normalised", "weight-normalised", "dropping", "attention", "transformer"}:
        pytest.skip("curvlinops needs a network of one noise and with rules of forward mode")
    model, inputs, targets, _ = example(name)
    loss = BatchLoss(model, Categorical(3), inputs, targets)
    v = {n: torch.randn(p.shape, generator=net.seeded(5), dtype=p.dtype) for n, p in loss.parameters.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = curvlinops.GGNLinearOperator(
            model, nn.CrossEntropyLoss(), list(loss.named.values()), [(inputs, targets)], check_deterministic=False
        )
        turned = theirs @ net.flat(v)
    torch.testing.assert_close(net.flat(loss.product()(v)), turned, rtol=1e-10, atol=1e-12)
