"""Parameters as one vector, and a batch's gradient, matrices and residuals in its coordinates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lamina.curvature.batch_loss import BatchLoss
from lamina.likelihoods import Gaussian
from lamina.optim._flat import Flat, FlatBatch, trial
from optim.closure_problems import classification, regression, weights_of


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    found = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((2, 3), (), (4,))]
    for i, p in enumerate(found):
        p.grad = torch.full_like(p, float(i + 1))
    return found


def test_the_vector_is_in_the_groups_order_and_goes_back_in_place() -> None:
    a, b, c = parameters()
    flat = Flat([{"params": [c, a], "lr": 0.5}, {"params": [b], "lr": 2.0}])
    assert flat.layout == [0, 1, 2]
    assert torch.equal(flat.values(), torch.cat([c, a.reshape(-1), b.reshape(1)]).detach())
    assert torch.equal(flat.gradient(), torch.tensor([3.0] * 4 + [1.0] * 6 + [2.0]))
    places = [p.data_ptr() for p in (a, b, c)]
    flat.place(torch.arange(11.0))
    assert c.tolist() == [0, 1, 2, 3]
    assert a.tolist() == [[4, 5, 6], [7, 8, 9]]
    assert b.item() == 10
    assert places == [p.data_ptr() for p in (a, b, c)]
    assert torch.equal(flat.option("lr"), torch.tensor([0.5] * 10 + [2.0]))
    largest, shares = flat.rates()
    assert largest == 2.0
    assert shares is not None
    assert torch.equal(shares, torch.tensor([0.25] * 10 + [1.0]))
    assert Flat([{"params": [a, b], "lr": 0.5}]).rates() == (0.5, None)


def test_values_are_copies_of_any_layout_in_memory() -> None:
    turned = nn.Parameter(torch.arange(6.0).view(2, 3).t())
    turned.grad = torch.ones(3, 2)
    flat = Flat([{"params": [turned], "lr": 1.0}])
    before = flat.values()
    assert before.tolist() == [0, 3, 1, 4, 2, 5]
    flat.place(before + 1)
    assert turned.tolist() == [[1, 4], [2, 5], [3, 6]]
    assert before.tolist() == [0, 3, 1, 4, 2, 5]


def test_what_has_no_gradient_or_no_rate_is_not_in_it() -> None:
    a, b, c = parameters()
    b.grad = None
    flat = Flat([{"params": [a, b], "lr": 1.0}, {"params": [c], "lr": 0.0}])
    assert flat.layout == [0]
    assert len(flat.values()) == 6
    a.grad = None
    assert torch.equal(flat.gradient(), torch.zeros(6))
    empty = Flat([{"params": [b], "lr": 1.0}])
    assert (empty.layout, len(empty.values()), len(empty.gradient()), empty.rounding) == ([], 0, 0, 0.0)


def test_along_gives_value_slope_and_gradient_of_the_line() -> None:
    model, loss = regression()
    loss()
    flat = Flat([{"params": list(model.parameters()), "lr": 1.0}])
    origin, direction = flat.values(), torch.linspace(-1, 1, 17, dtype=torch.float64)
    phi = flat.along(loss, origin, direction)
    here = phi(0.3)
    torch.testing.assert_close(weights_of(model), origin + 0.3 * direction)
    assert here.value == pytest.approx(float(loss.value()))
    difference = (phi(0.3 + 1e-5).value - phi(0.3 - 1e-5).value) / 2e-5
    assert here.slope == pytest.approx(difference, rel=1e-6)
    assert here.gradient is not None
    assert here.slope == pytest.approx(float(here.gradient @ direction))
    assert trial(2.0, 1.5, direction, direction).value == 1.5  # a closure may give a plain number


@pytest.mark.parametrize("kind", ["hessian", "gauss-newton"])
def test_matrix_and_product_are_those_of_the_optimisers_own_parameters(kind: str) -> None:
    """In another order than the network's, and without the first bias."""
    model, loss = classification(dtype=torch.float64)
    mine = [model[2].bias, model[0].weight, model[2].weight]
    here = FlatBatch("test", [{"params": mine, "lr": 1.0}], loss)
    matrix, product = here.matrix(kind), here.product(kind)  # type: ignore[arg-type]
    for i, unit in enumerate(torch.eye(len(matrix), dtype=torch.float64)):
        torch.testing.assert_close(product(unit), matrix[:, i])
    whole = loss.product(kind)  # type: ignore[arg-type]
    v = {name: torch.zeros_like(p) for name, p in loss.parameters.items()}
    v["2.bias"][1] = 1.0
    turned = whole(v)
    expected = torch.cat([turned[name].reshape(-1) for name in ("2.bias", "0.weight", "2.weight")])
    torch.testing.assert_close(matrix[1], expected)
    assert torch.equal(matrix, matrix.mT)


@pytest.mark.parametrize("kind", ["hessian", "gauss-newton"])
@pytest.mark.parametrize("layers", ["convolution", "recurrent", "normalised", "attention"])
def test_matrices_of_other_layers_are_formed_without_complaint(layers: str, kind: str) -> None:
    torch.manual_seed(0)

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.out = nn.GRU(2, 3, batch_first=True), nn.Linear(3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.cell(x.view(-1, 3, 2))[0][:, -1])

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix, self.out = nn.MultiheadAttention(2, 1, batch_first=True), nn.Linear(6, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.view(-1, 3, 2)
            return self.out(self.mix(x, x, x)[0].flatten(1))

    nets = {
        "convolution": lambda: nn.Sequential(
            nn.Unflatten(1, (1, 2, 3)),
            nn.Conv2d(1, 2, 2),
            nn.ReLU(),
            nn.MaxPool2d((1, 2)),
            nn.Flatten(),
            nn.Linear(2, 1),
        ),
        "recurrent": Recurrent,
        "normalised": lambda: nn.Sequential(
            nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.2), nn.Linear(4, 1)
        ),
        "attention": Attention,
    }
    model = nets[layers]().double()
    x = torch.randn(8, 6, dtype=torch.float64)
    here = FlatBatch(
        "test", [{"params": list(model.parameters()), "lr": 1.0}], BatchLoss(model, Gaussian(scale=1.0), x, x[:, :1])
    )
    matrix, product = here.matrix(kind), here.product(kind)  # type: ignore[arg-type]
    v = torch.linspace(-1, 1, len(matrix), dtype=torch.float64)
    torch.testing.assert_close(matrix @ v, product(v))


def test_residuals_are_whitened_errors_and_their_jacobian() -> None:
    model, loss = regression(n=9)
    weights = torch.linspace(0.0, 2.0, 9, dtype=torch.float64)
    weighted = BatchLoss(model, Gaussian(scale=0.5), loss.inputs, loss.targets[:, 0], weights=weights)
    here = FlatBatch("test", [{"params": list(model.parameters()), "lr": 1.0}], weighted)
    jacobian, error = here.residuals(0.5)
    outputs = weighted.outputs()
    by_hand = (weights.sqrt() / 0.5) * (loss.targets - outputs.detach())[:, 0]
    torch.testing.assert_close(error, by_hand)
    for n in range(9):
        row = torch.autograd.grad(outputs[n, 0], list(model.parameters()), retain_graph=True)
        torch.testing.assert_close(jacobian[n], weights[n].sqrt() / 0.5 * torch.cat([g.reshape(-1) for g in row]))
    torch.testing.assert_close(-jacobian.mT @ error / 9, here.gradient)  # that of the mean loss


def test_ratio_compares_falls_and_forgives_rounding() -> None:
    model, loss = regression()
    loss.inputs[:, 0] = 0.0
    here = FlatBatch("test", [{"params": list(model.parameters()), "lr": 1.0}], loss)
    value, origin = float(here.loss), here.flat.values()
    g = here.gradient
    assert here.ratio(value - 0.03, -0.1, -g) == pytest.approx(0.3, rel=1e-9)
    assert here.ratio(value + 0.03, -0.1, -g) == pytest.approx(-0.3, rel=1e-9)
    for wrong in (np.nan, np.inf, -np.inf):
        assert here.ratio(wrong, -0.1, -g) == -np.inf
    # A step whose fall the values hide: what the gradients say, against a product with the Hessian.
    step = -1e-16 * g
    after = float(here.value_at(origin + step))
    assert abs(after - value) < 1e-15
    assert here.ratio(after, 2.0 * float(g @ step), step) == pytest.approx(0.5, rel=1e-6)
    assert here.ratio(after, float(g @ step), -step) == pytest.approx(-1.0, rel=1e-6)
    across = (g == 0.0).double()  # where the gradients say nothing either: an input that is always 0
    assert across.any()
    assert here.ratio(after, -1e-30, 1e-9 * across) == pytest.approx(1.0, abs=1e-2)
