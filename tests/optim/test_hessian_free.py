"""Hessian-free steps against dense solutions, by hand, and on a deep autoencoder of digits."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from lamina.curvature.batch_loss import BatchLoss
from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.errors import ConfigError
from lamina.likelihoods import Bernoulli, Gaussian
from lamina.optim.hessian_free import HessianFree
from lamina.training.closure_step import ClosureStep
from lamina.training.fit import fit
from lamina.training.objective import Supervised
from optim.closure_problems import QuadraticProblem, classification, regression, rosenbrock, saddle, weights_of


def gauss_newton(model: nn.Module, loss: BatchLoss) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and JᵀJ/N of a net under squared error, and the mean squared gradient of single examples."""
    parameters = list(model.parameters())
    outputs = model(loss.inputs)
    rows = np.stack(
        [np.concatenate([g.flatten() for g in torch.autograd.grad(o, parameters, retain_graph=True)]) for o in outputs]
    )
    error = (outputs - loss.targets).detach().numpy()
    return error[:, 0] @ rows / len(rows), rows.T @ rows / len(rows)


@pytest.mark.parametrize("preconditioner", ["diagonal", "none"])
@pytest.mark.parametrize("n", [1, 4, 8])
def test_O23_one_step_without_damping_is_newtons_on_a_quadratic(n: int, preconditioner: str) -> None:
    problem = QuadraticProblem(n, seed=n)
    optimizer = HessianFree(
        problem.model.parameters(), damping=0.0, progress=0.0, tolerance=1e-13, preconditioner=preconditioner
    )
    loss = optimizer.step(problem.loss)
    away = problem.start - problem.minimum
    assert float(loss) == pytest.approx(0.5 * away @ problem.hessian @ away + 0.5 * n * np.log(2 * np.pi))
    np.testing.assert_allclose(problem.theta, problem.minimum, rtol=1e-8, atol=1e-8)
    assert optimizer.last is not None and optimizer.last.reason == "accepted"
    assert optimizer.last.ratio == pytest.approx(1.0)
    assert optimizer.last.length == pytest.approx(np.linalg.norm(away))


@pytest.mark.parametrize("preconditioner", ["diagonal", "kronecker", "none"])
def test_O23_the_step_is_the_dense_solution(preconditioner: str) -> None:
    model, loss = regression()
    g, matrix = gauss_newton(model, loss)
    before = weights_of(model).numpy()
    optimizer = HessianFree(
        model.parameters(), damping=0.5, progress=0.0, tolerance=1e-12, preconditioner=preconditioner
    )
    value = float(optimizer.step(loss))
    p = -np.linalg.solve(matrix + 0.5 * np.eye(len(g)), g)
    assert optimizer.last is not None and optimizer.last.rate == 1.0
    np.testing.assert_allclose(weights_of(model).numpy(), before + p, rtol=1e-6, atol=1e-8)
    ratio = (value - optimizer.last.loss) / -(g @ p + 0.5 * p @ matrix @ p)
    assert optimizer.last.ratio == pytest.approx(ratio, rel=1e-6)
    assert float(loss.value()) == pytest.approx(optimizer.last.loss)


def test_O23_a_group_is_held_closer_by_its_lr_and_one_of_0_stays() -> None:
    model, loss = regression()
    g, matrix = gauss_newton(model, loss)
    before, first = weights_of(model).numpy(), sum(p.numel() for p in model[0].parameters())
    groups = [{"params": list(model[0].parameters()), "lr": 0.1}, {"params": list(model[2].parameters())}]
    optimizer = HessianFree(groups, damping=0.5, progress=0.0, tolerance=1e-12)
    optimizer.step(loss)
    damping = np.where(np.arange(len(g)) < first, 5.0, 0.5)
    expected = before - np.linalg.solve(matrix + np.diag(damping), g)
    np.testing.assert_allclose(weights_of(model).numpy(), expected, rtol=1e-6, atol=1e-8)
    optimizer.param_groups[0]["lr"] = 0.0
    before = weights_of(model).numpy()
    optimizer.step(loss)
    after = weights_of(model).numpy()
    assert np.array_equal(after[:first], before[:first]) and not np.allclose(after[first:], before[first:])


def test_O23_damping_follows_the_ratio() -> None:
    model, loss = regression()
    optimizer, before = HessianFree(model.parameters(), damping=3.0), 3.0
    seen = set()
    for _ in range(25):
        optimizer.step(loss)
        report = optimizer.last
        assert report is not None and report.damping == before
        after = optimizer.state[next(model.parameters())]["damping"]
        expected = 1.5 if report.ratio < 0.25 else 1 / 1.5 if report.ratio > 0.75 else 1.0
        assert after == pytest.approx(before * expected)
        seen.add(expected)
        before = after
    assert len(seen) > 1


def test_O23_rosenbrock_and_a_net_never_rise() -> None:
    model, loss = rosenbrock([-1.2, 1.0])
    optimizer = HessianFree(model.parameters())
    values = [float(optimizer.step(loss)) for _ in range(60)]
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(values))
    np.testing.assert_allclose(model.x.detach().numpy(), [1.0, 1.0], atol=1e-5)


def test_O23_start_from_the_last_direction() -> None:
    """With one step of conjugate gradients p is one exact line search from 0.5 times the last p."""
    model, loss = regression()
    optimizer = HessianFree(
        model.parameters(), damping=2.0, max_steps=1, progress=0.0, decay=0.5, preconditioner="none"
    )
    optimizer.step(loss)
    carried = torch.cat([optimizer.state[p]["direction"].flatten() for p in model.parameters()]).numpy()
    damping = optimizer.state[next(model.parameters())]["damping"]
    g, matrix = gauss_newton(model, loss)
    before, damped = weights_of(model).numpy(), matrix + damping * np.eye(len(g))
    start = 0.5 * carried
    r = -g - damped @ start
    optimizer.step(loss)
    assert optimizer.last is not None and optimizer.last.rate == 1.0
    np.testing.assert_allclose(
        weights_of(model).numpy(), before + start + (r @ r) / (r @ damped @ r) * r, rtol=1e-7, atol=1e-9
    )


def test_O23_the_preconditioner_is_the_papers() -> None:
    """With one step of conjugate gradients p lies along M⁻¹ ∇L, as far as an exact line search goes."""
    model, loss = regression()
    parameters, n = list(model.parameters()), loss.size
    error = model(loss.inputs) - loss.targets
    rows = np.stack(
        [
            np.concatenate([g.numpy().ravel() for g in torch.autograd.grad(e, parameters, retain_graph=True)])
            for e in 0.5 * error.square()
        ]
    )
    g, matrix = gauss_newton(model, loss)
    before, first = weights_of(model).numpy(), sum(p.numel() for p in model[0].parameters())
    groups = [{"params": list(model[0].parameters()), "lr": 0.25}, {"params": list(model[2].parameters())}]
    optimizer = HessianFree(groups, damping=2.0, max_steps=1, progress=0.0)
    scale = np.where(np.arange(len(g)) < first, 0.5, 1.0)
    y = (scale**2 * (rows**2).sum(0) / n + 2.0) ** -0.75 * scale * g
    damped = scale[:, None] * matrix * scale + 2.0 * np.eye(len(g))
    expected = before - scale * y * (scale * g @ y) / (y @ damped @ y)
    optimizer.step(loss)
    np.testing.assert_allclose(weights_of(model).numpy(), expected, rtol=1e-8, atol=1e-10)


def kronecker_inverse(model: nn.Module, loss: BatchLoss, damping: float, seed: int) -> np.ndarray:
    """Dense (A + πγ I)⁻¹ ⊗ (G + γ/π I)⁻¹ of a net of two affine layers, targets drawn, parameters in their order."""
    x, n = loss.inputs.numpy(), loss.size
    (w, b), (v, c) = ([p.detach().numpy() for p in layer.parameters()] for layer in (model[0], model[2]))
    h = np.tanh(x @ w.T + b)
    outputs = torch.tensor(h @ v.T + c)
    generator = torch.Generator().manual_seed(seed)
    u = outputs.numpy() - Gaussian(1, scale=1.0).sample(outputs, generator=generator).reshape(n, 1).numpy()
    blocks = []
    for a, g in ((x, u @ v * (1 - h**2)), (h, u)):
        inputs = np.concatenate([a, np.ones((n, 1))], axis=1)
        left, right = g.T @ g / n, inputs.T @ inputs / n
        pi = np.sqrt(np.trace(right) / len(right) / (np.trace(left) / len(left)))
        right = np.linalg.inv(right + pi * np.sqrt(damping) * np.eye(len(right)))
        left = np.linalg.inv(left + np.sqrt(damping) / pi * np.eye(len(left)))
        whole = np.kron(left, right)  # of [W, b], row by row
        columns = len(right)
        order = [i * columns + j for i in range(len(left)) for j in range(columns - 1)]
        order += [i * columns + columns - 1 for i in range(len(left))]
        blocks.append(whole[np.ix_(order, order)])
    first = len(blocks[0])
    found = np.zeros((first + len(blocks[1]),) * 2)
    found[:first, :first], found[first:, first:] = blocks
    return found


def test_O23_the_kronecker_preconditioner_is_k_facs() -> None:
    model, loss = regression()
    g, matrix = gauss_newton(model, loss)
    before = weights_of(model).numpy()
    optimizer = HessianFree(
        model.parameters(),
        damping=0.3,
        max_steps=1,
        progress=0.0,
        preconditioner="kronecker",
        generator=torch.Generator().manual_seed(5),
    )
    y = kronecker_inverse(model, loss, 0.3, seed=5) @ g
    expected = before - y * (g @ y) / (y @ (matrix + 0.3 * np.eye(len(g))) @ y)
    optimizer.step(loss)
    np.testing.assert_allclose(weights_of(model).numpy(), expected, rtol=1e-8, atol=1e-10)


def test_O23_kronecker_in_a_group_of_its_own_scale() -> None:
    """In φ = θ / √lr the blocks are S (F̂ + λ/lr) S."""
    model, loss = regression()
    g, matrix = gauss_newton(model, loss)
    before, first = weights_of(model).numpy(), sum(p.numel() for p in model[0].parameters())
    lrs = np.where(np.arange(len(g)) < first, 0.25, 1.0)
    inverse = np.zeros_like(matrix)
    for rows, lr in ((slice(0, first), 0.25), (slice(first, None), 1.0)):
        inverse[rows, rows] = kronecker_inverse(model, loss, 0.3 / lr, seed=5)[rows, rows]
    groups = [{"params": list(model[0].parameters()), "lr": 0.25}, {"params": list(model[2].parameters())}]
    generator = torch.Generator().manual_seed(5)
    optimizer = HessianFree(
        groups, damping=0.3, max_steps=1, progress=0.0, preconditioner="kronecker", generator=generator
    )
    y = inverse @ g
    expected = before - y * (g @ y) / (y @ (matrix + 0.3 * np.diag(1 / lrs)) @ y)
    optimizer.step(loss)
    np.testing.assert_allclose(weights_of(model).numpy(), expected, rtol=1e-8, atol=1e-10)


def test_O23_kronecker_factors_are_means_over_the_parts() -> None:
    model, loss = regression(n=60)
    generator = torch.Generator().manual_seed(0)
    optimizer = HessianFree(model.parameters(), share=1 / 3, preconditioner="kronecker", generator=generator)
    for _ in range(3):
        optimizer.step(loss)
    inputs = np.concatenate([loss.inputs.numpy(), np.ones((60, 1))], axis=1)
    kept = optimizer.state[next(model.parameters())]["preconditioner"]["factors"]["0.weight"]["inputs"]
    np.testing.assert_allclose(kept.numpy(), inputs.T @ inputs / 60, rtol=1e-12)


def test_O23_the_preconditioner_is_measured_every_few_steps() -> None:
    model, loss = regression()
    optimizer = HessianFree(model.parameters(), damping=2.0, max_steps=1, progress=0.0, decay=0.0, precondition_every=2)
    optimizer.step(loss)
    squares = optimizer.state[next(model.parameters())]["preconditioner"]["squares"].clone().numpy()
    damping = optimizer.state[next(model.parameters())]["damping"]
    g, matrix = gauss_newton(model, loss)
    before = weights_of(model).numpy()
    y = (squares + damping) ** -0.75 * g
    optimizer.step(loss)
    expected = before - y * (g @ y) / (y @ (matrix + damping * np.eye(len(g))) @ y)
    np.testing.assert_allclose(weights_of(model).numpy(), expected, rtol=1e-8, atol=1e-10)
    optimizer.step(loss)
    now = optimizer.state[next(model.parameters())]["preconditioner"]["squares"].numpy()
    assert not np.allclose(now, squares)


def test_O23_judged_by_the_part_with_the_slopes_of_the_whole() -> None:
    model, loss = regression()
    loss.penalty = lambda _: 0.01 * sum(p.square().sum() for p in model.parameters())
    part = loss.rows(0, 20)
    optimizer = HessianFree(model.parameters(), damping=0.5, share=1 / 3, judge="part", max_steps=6)
    whole = float(loss())
    slopes = torch.cat([p.grad.flatten() for p in model.parameters()])
    own = float(part())
    slopes -= torch.cat([p.grad.flatten() for p in model.parameters()])
    before = weights_of(model)
    assert float(optimizer.step(loss)) == whole
    step = weights_of(model) - before
    expected = float(part.value()) + whole - own + float(slopes @ step)
    assert optimizer.last is not None and optimizer.last.length > 0.0
    assert optimizer.last.loss == pytest.approx(expected, rel=1e-12)
    assert float(loss.value()) != pytest.approx(expected, rel=1e-6)


def test_O23_judged_by_the_whole_where_the_part_is_the_whole() -> None:
    """Not by its own, with a penalty that would be left behind in the caller's loss."""
    one, loss = regression()
    two, other = regression()
    HessianFree(one.parameters(), judge="part").step(loss)
    HessianFree(two.parameters()).step(other)
    assert torch.equal(weights_of(one), weights_of(two)) and loss.penalty is None


def test_O23_damping_stays_within_its_bounds() -> None:
    model, loss = regression()
    optimizer = HessianFree(model.parameters(), damping=3.0, bounds=(0.5, 4.0))
    for _ in range(25):
        optimizer.step(loss)
    assert optimizer.state[next(model.parameters())]["damping"] == 0.5
    model, loss = classification()
    with torch.no_grad():
        for p in model.parameters():  # to where units saturate and the model is often wrong
            p.mul_(6.0)
    optimizer = HessianFree(model.parameters(), damping=1e-4, bounds=(1e-4, 2e-4))
    for _ in range(4):
        optimizer.step(loss)
    assert optimizer.state[next(model.parameters())]["damping"] == 2e-4


def test_a_layer_without_factors_is_named() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.PReLU(), nn.Linear(3, 1))
    loss = BatchLoss(model, Gaussian(1, scale=1.0), torch.randn(8, 2), torch.randn(8, 1))
    with pytest.raises(ConfigError, match=r"1\.weight"):
        HessianFree(model.parameters(), preconditioner="kronecker").step(loss)


def test_O23_parts_of_the_batch_take_turns_for_the_curvature() -> None:
    model, loss = regression(n=60)
    for turn in range(3):
        start = 20 * (turn % 3)
        part = BatchLoss(model, loss.likelihood, loss.inputs[start : start + 20], loss.targets[start : start + 20])
        g, (_, matrix) = gauss_newton(model, loss)[0], gauss_newton(model, part)
        before = weights_of(model).numpy()
        if turn == 0:
            optimizer = HessianFree(
                model.parameters(), damping=5.0, share=1 / 3, progress=0.0, tolerance=1e-12, decay=0.0
            )
            damping = 5.0
        else:
            damping = optimizer.state[next(model.parameters())]["damping"]
        optimizer.step(loss)
        assert optimizer.last is not None and optimizer.last.rate == 1.0
        expected = before - np.linalg.solve(matrix + damping * np.eye(len(g)), g)
        np.testing.assert_allclose(weights_of(model).numpy(), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("curvature", ["hessian", "gauss-newton"])
def test_O23_negative_curvature_and_a_saddle_go_downhill(curvature: str) -> None:
    model, loss = saddle(1.0, 1e-3)
    optimizer = HessianFree(model.parameters(), damping=1e-3, curvature=curvature)
    values = [float(optimizer.step(loss)) for _ in range(15)]
    assert all(b <= a for a, b in itertools.pairwise(values)) and values[-1] < values[0] - 1.0


def test_O23_single_precision_goes_on_where_the_loss_shows_no_fall() -> None:
    """½ λ d² is some 1e-7, and the last digit of the loss 6e-5."""
    problem = QuadraticProblem(6, dtype=torch.float32)
    loss = problem.loss
    high = BatchLoss(loss.model, loss.likelihood, loss.inputs, loss.targets, penalty=lambda _: torch.tensor(1000.0))
    with torch.no_grad():
        problem.model.x.copy_(torch.tensor(problem.minimum + 1e-4))
    optimizer = HessianFree(problem.model.parameters(), damping=0.0, progress=0.0)
    optimizer.step(high)
    np.testing.assert_allclose(problem.theta, problem.minimum, atol=2e-5)
    assert optimizer.last is not None and optimizer.last.reason == "accepted"


def autoencoder() -> tuple[nn.Module, Tensor]:
    x = torch.tensor(load_digits().data[:400] / 16.0, dtype=torch.float32)
    torch.manual_seed(1)
    widths, layers = (64, 40, 20, 6, 20, 40, 64), list[nn.Module]()
    for i in range(6):
        layers += [nn.Linear(widths[i], widths[i + 1])] + [nn.Sigmoid()] * (i not in {2, 5})
    return nn.Sequential(*layers), x


def test_O23_deep_autoencoder_of_digits_beside_gradient_descent_of_the_same_cost() -> None:
    model, x = autoencoder()
    loss = BatchLoss(model, Bernoulli(64), x, x)
    optimizer, cost = HessianFree(model.parameters(), damping=0.01, max_steps=40), 0.0
    for _ in range(20):
        optimizer.step(loss)
        assert optimizer.last is not None
        cost += 2.0 + 1.3 * optimizer.last.steps + 0.4 * optimizer.last.evaluations  # in gradients
    reached, descent = float(loss.value()), []
    for lr in (0.03, 0.1):
        net, _ = autoencoder()
        rival, sgd = BatchLoss(net, Bernoulli(64), x, x), torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
        for _ in range(int(cost)):
            sgd.step(rival)
        descent.append(float(rival.value()))
    mean = x.mean(0).clamp(1e-6, 1 - 1e-6)
    constant = float(-(x * mean.log() + (1 - x) * (1 - mean).log()).sum(1).mean())
    assert reached < constant - 6.0
    assert reached < min(descent) - 1.0


@pytest.mark.parametrize(
    "options",
    [{}, {"preconditioner": "kronecker", "precondition_every": 2}, {"judge": "part", "precondition_every": 3}],
    ids=str,
)
def test_resumed_run_is_the_uninterrupted_one_to_the_bit(options: dict[str, Any]) -> None:
    model, loss = classification()
    other = copy.deepcopy(model)

    def built(net: nn.Module) -> tuple[ClosureStep, HessianFree]:
        generator = torch.Generator().manual_seed(3)
        optimizer = HessianFree(net.parameters(), share=0.5, generator=generator, **options)
        return ClosureStep(net, Supervised(loss.likelihood), optimizer), optimizer

    batch = Batch(loss.inputs, loss.targets)
    step, _ = built(model)
    for _ in range(3):
        step(batch)
    saved = copy.deepcopy(step.state_dict())
    for _ in range(4):
        step(batch)
    again, _ = built(other)
    again.load_state_dict(saved)
    for _ in range(4):
        again(batch)
    assert torch.equal(weights_of(model), weights_of(other))


def test_runs_in_the_training_loop() -> None:
    model, loss = classification()
    before = float(loss.value())
    fit(
        ClosureStep(model, Supervised(loss.likelihood), HessianFree(model.parameters())),
        InMemory(Batch(loss.inputs, loss.targets), batch_size=45),
        max_epochs=3,
    )
    assert float(loss.value()) < 0.7 * before


def test_stays_where_it_cannot_move() -> None:
    problem = QuadraticProblem(3)
    with torch.no_grad():
        problem.model.x.copy_(torch.tensor(problem.minimum))
    optimizer = HessianFree(problem.model.parameters())
    optimizer.step(problem.loss)
    np.testing.assert_allclose(problem.theta, problem.minimum, rtol=1e-10)
    model, loss = regression()
    before = weights_of(model)
    broken = BatchLoss(model, Gaussian(scale=1.0), loss.inputs, loss.targets * float("nan"))
    optimizer = HessianFree(model.parameters())
    optimizer.step(broken)
    assert optimizer.last is not None and optimizer.last.reason == "non-finite"
    assert torch.equal(weights_of(model), before)


def test_misfits_are_refused() -> None:
    model, _ = regression()
    for wrong in ({"lr": -1.0}, {"damping": -1.0}, {"share": 0.0}, {"share": 1.5}, {"decay": 1.1}, {"max_steps": 0}):
        with pytest.raises(ConfigError):
            HessianFree(model.parameters(), **wrong)
    for other in ({"preconditioner": "k-fac"}, {"precondition_every": 0}, {"judge": "whole"}, {"bounds": (2.0, 1.0)}):
        with pytest.raises(ConfigError):
            HessianFree(model.parameters(), **other)  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        HessianFree(model.parameters(), curvature="fisher")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="loss of a batch") as caught:
        HessianFree(model.parameters()).step(lambda: torch.zeros(()))
    assert "BatchLoss" in str(caught.value.mend)
