"""The quick update is the optimizer's own, bit for bit, whatever happens to the optimizer in between."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from lamina.data.batch import Batch
from lamina.likelihoods import Categorical
from lamina.training import GradientStep, Supervised
from lamina.training.fused_update import _FusedAdam, fused_update

MAKERS: dict[str, Callable[[list], Optimizer]] = {
    "adam": lambda p: Adam(p, 1e-2, fused=True),
    "adamw": lambda p: AdamW(p, 1e-2, weight_decay=0.1, fused=True),
    "groups that differ": lambda p: AdamW(
        [{"params": p[:2]}, {"params": p[2:], "weight_decay": 0.3}], 1e-2, fused=True
    ),
    "amsgrad": lambda p: Adam(p, 1e-2, amsgrad=True, fused=True),
    "default adam": lambda p: Adam(p, 1e-2),
    "tensor rate": lambda p: Adam(p, torch.tensor(1e-2), fused=True),
    "sgd": lambda p: SGD(p, 1e-2, momentum=0.9),
    "rmsprop": lambda p: RMSprop(p, 1e-2),
}


def two() -> list[nn.Sequential]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    return [model, copy.deepcopy(model)]


def backward(model: nn.Module, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    model.zero_grad()
    model(torch.randn(8, 4, generator=g)).square().mean().backward()


def assert_same(quick: tuple[nn.Module, Optimizer], plain: tuple[nn.Module, Optimizer]) -> None:
    for p, q in zip(quick[0].parameters(), plain[0].parameters(), strict=True):
        assert torch.equal(p, q)
    one, two_ = quick[1].state_dict(), plain[1].state_dict()
    assert str(one["param_groups"]) == str(two_["param_groups"])
    for i, state in two_["state"].items():
        for name, value in state.items():
            assert value is None or torch.equal(one["state"][i][name], value)


@pytest.mark.parametrize("name", MAKERS)
def test_bits_are_those_of_the_optimizer(name: str) -> None:
    models = two()
    optimizers = [MAKERS[name](list(model.parameters())) for model in models]
    update: Callable[[], object] = optimizers[0].step
    for i in range(12):
        for model, optimizer in zip(models, optimizers, strict=True):
            backward(model, i)
            for group in optimizer.param_groups:
                if not isinstance(group["lr"], torch.Tensor):
                    group["lr"] = 1e-2 / (1 + i // 3)
            if i == 5:  # a state is loaded
                optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
            if i == 8:  # some parameters are not reached
                model[2].bias.grad = None
        update()
        optimizers[1].step()
        if i == 0:
            update = fused_update(optimizers[0])
            assert isinstance(update, _FusedAdam) is (name in {"adam", "adamw", "groups that differ"})
        assert_same((models[0], optimizers[0]), (models[1], optimizers[1]))


def test_an_added_group_is_updated_too() -> None:
    models = two()
    optimizers = [Adam(model[0].parameters(), 1e-2, fused=True) for model in models]
    update: Callable[[], object] = optimizers[0].step
    for i in range(4):
        for model, optimizer in zip(models, optimizers, strict=True):
            if i == 2:
                optimizer.add_param_group({"params": list(model[2].parameters()), "lr": 1e-3})
            backward(model, i)
        update()
        optimizers[1].step()
        update = fused_update(optimizers[0]) if i == 0 else update
        assert_same((models[0], optimizers[0]), (models[1], optimizers[1]))


def test_hooks_of_the_optimizer_are_still_called() -> None:
    model = two()[0]
    optimizer = Adam(model.parameters(), 1e-2, fused=True)
    backward(model, 0)
    optimizer.step()
    calls = []
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    fused_update(optimizer)()
    assert calls == [1]


def test_gradient_step_is_the_barest_loop_to_the_bit() -> None:
    models = two()
    g = torch.Generator().manual_seed(3)
    x, y = torch.randn(20, 4, generator=g), torch.randint(0, 3, (20,), generator=g)
    optimizers = [Adam(model.parameters(), 1e-2, fused=True) for model in models]
    step = GradientStep(models[0], Supervised(Categorical(3)), optimizers[0])
    for i in range(10):
        loss = step(Batch(x, y))["loss"]
        optimizers[1].zero_grad()
        expected = nn.functional.cross_entropy(models[1](x), y)
        expected.backward()
        optimizers[1].step()
        assert torch.equal(loss, expected.detach()), i
        if i == 4:
            step.load_state_dict(copy.deepcopy(step.state_dict()))
    assert_same((models[0], optimizers[0]), (models[1], optimizers[1]))
