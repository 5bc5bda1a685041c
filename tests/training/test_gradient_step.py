"""Clipping, accumulation and mixed precision against plain PyTorch."""

import pytest
import torch
from torch import nn

from lamina.data.batch import Batch
from lamina.likelihoods import Categorical
from lamina.penalties import L2
from lamina.training import GradientStep, Supervised
from training.problems import blobs, make_step, network, weights_of


def gradient(step: GradientStep) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in step.parameters])  # type: ignore[union-attr]


@pytest.mark.parametrize("pieces", [2, 3, 7])
def test_accumulated_gradient_is_that_of_the_whole_batch(pieces: int) -> None:
    batch = blobs(50)
    whole, cut = make_step(), make_step(accumulate=pieces)
    one, other = whole(batch), cut(batch)
    assert torch.allclose(gradient(whole), gradient(cut), atol=1e-6)
    assert float(one["loss"]) == pytest.approx(float(other["loss"]), rel=1e-5)


def test_clipping_by_norm_keeps_the_direction() -> None:
    plain, clipped = make_step(), make_step(clip_norm=0.1)
    plain(blobs()), clipped(blobs())
    g, c = gradient(plain), gradient(clipped)
    assert float(c.norm()) == pytest.approx(0.1, rel=1e-4)
    assert torch.allclose(c / c.norm(), g / g.norm(), atol=1e-5)


def test_clipping_by_value_bounds_each_element() -> None:
    plain, clipped = make_step(), make_step(clip_value=0.05)
    plain(blobs()), clipped(blobs())
    assert torch.equal(gradient(clipped), gradient(plain).clamp(-0.05, 0.05))


def test_bfloat16_keeps_weights_and_loss_in_float32_and_comes_close() -> None:
    plain, low = make_step(), make_step(precision="bfloat16")
    a, b = plain(blobs()), low(blobs())
    assert all(p.dtype == torch.float32 for p in low.parameters)
    assert float(b["loss"]) == pytest.approx(float(a["loss"]), rel=0.05)
    assert not torch.equal(gradient(plain), gradient(low))


def test_weights_of_examples_scale_their_gradients() -> None:
    batch = blobs(40)
    keep = torch.zeros(40)
    keep[:10] = 4.0  # averages one
    weighted, few = make_step(), make_step()
    weighted(Batch(batch.inputs, batch.targets, keep))
    few(batch.rows(0, 10))
    assert torch.allclose(gradient(weighted), gradient(few), atol=1e-6)


def test_l2_adds_its_coefficient_times_the_weights_and_spares_biases() -> None:
    model = network()
    step = GradientStep(model, Supervised(Categorical(3), 0.3 * L2()), torch.optim.SGD(model.parameters(), lr=0.0))
    plain = make_step(lr=0.0)
    parts = step(blobs())
    plain(blobs())
    for p, q in zip(step.parameters, plain.parameters, strict=True):
        expected = q.grad + 0.3 * q.detach() if q.ndim == 2 else q.grad
        assert torch.allclose(p.grad, expected, atol=1e-6)  # type: ignore[arg-type]
    assert float(parts["nll"] + parts["penalty"]) == pytest.approx(float(parts["loss"]), rel=1e-6)


def test_penalties_add_and_scale() -> None:
    from lamina.penalties import Context

    model = network()
    context = Context(model, torch.zeros(1, 5), torch.zeros(1, 3))
    one = L2()(context).item()
    weights = [p for p in model.parameters() if p.ndim == 2]
    assert one == pytest.approx(0.5 * sum(w.square().sum().item() for w in weights), rel=1e-6)
    assert (2.0 * L2() + L2() * 3.0)(context).item() == pytest.approx(5 * one, rel=1e-6)
    assert float(L2()(Context(nn.ReLU(), torch.zeros(1, 5), torch.zeros(1, 3)))) == 0.0


def test_capture_needs_a_gpu_and_says_so() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(ValueError, match="needs a CUDA device"):
        make_step(capture=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_captured_step_makes_the_same_updates() -> None:
    results = []
    for capture in (False, True):
        model = network().cuda()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, capturable=True)
        step = GradientStep(model, Supervised(Categorical(3)), optimizer, capture=capture)
        batch = blobs().to(torch.device("cuda"))
        losses = [float(step(batch)["loss"]) for _ in range(10)]
        results.append((weights_of(model).cpu(), losses))
    assert torch.allclose(results[0][0], results[1][0], atol=1e-5)
    assert results[0][1] == pytest.approx(results[1][1], rel=1e-4)


@pytest.mark.parametrize("bad", [{"clip_norm": 0.0}, {"clip_value": -1.0}, {"accumulate": 0}])
def test_bad_arguments_are_named(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        make_step(**bad)


def test_clipping_by_a_random_step_has_the_norm_and_leaves_small_gradients() -> None:
    plain, clipped, small = make_step(), make_step(clip_random=0.1), make_step(clip_random=1e3)
    for step in (plain, clipped, small):
        step(blobs())
    g, c = gradient(plain), gradient(clipped)
    assert float(c.norm()) == pytest.approx(0.1, rel=1e-4)
    assert abs(float(c @ g / (c.norm() * g.norm()))) < 0.5  # 147 weights: another direction altogether
    assert torch.equal(gradient(small), g)


def test_a_random_step_comes_before_the_other_clips_and_saves_an_overflow() -> None:
    both = make_step(clip_random=0.5, clip_norm=0.2)
    both(blobs())
    assert float(gradient(both).norm()) == pytest.approx(0.2, rel=1e-4)
    step = make_step(clip_random=0.5)
    batch = blobs()
    step(Batch(batch.inputs * float("inf"), batch.targets))
    assert float(gradient(step).norm()) == pytest.approx(0.5, rel=1e-4)
    assert bool(weights_of(step.model).isfinite().all())


def test_random_steps_go_on_from_the_global_generator() -> None:
    """Whose state a run keeps, so that a resumed run makes the same steps."""
    found = []
    for _ in range(2):
        step = make_step(clip_random=0.01)
        torch.manual_seed(3)
        step(blobs())
        step(blobs())
        found.append(weights_of(step.model))
    assert torch.equal(*found)


def test_bad_random_clip_is_named() -> None:
    with pytest.raises(ValueError, match="clip_random"):
        make_step(clip_random=0.0)
