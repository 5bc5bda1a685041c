"""Learned weights carried to another network; parts that stand still or learn more slowly."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lamina.data.batch import Batch
from lamina.errors import ConfigError
from lamina.likelihoods import Categorical
from lamina.nn import MLP
from lamina.training import GradientStep, Supervised, choose_step, fit
from lamina.training.evaluation import Validation
from lamina.training.learning_rate import LearningRate
from lamina.training.transfer import (
    depth_factors,
    freeze,
    initialise_from,
    layers_by_depth,
    learning_rate_groups,
    unfreeze,
)
from training.problems import blobs, stream


def network(seed: int, hidden: tuple[int, ...] = (8, 6), n_outputs: int = 3) -> MLP:
    generator = torch.Generator().manual_seed(seed)
    return MLP(5, n_outputs, hidden, dropout=0.2, normalisation="batch", generator=generator)


def pictures() -> nn.Sequential:
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5)),
        nn.ModuleDict({"inner": nn.BatchNorm2d(4)})["inner"],
        nn.Flatten(),
        nn.Linear(4 * 36, 3),
    )


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(model.state_dict())


def changed(model: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


def train(model: nn.Module, optimizer: torch.optim.Optimizer, data: Batch | None = None) -> None:
    step = GradientStep(model, Supervised(Categorical(3)), optimizer)
    fit(step, stream(data), max_epochs=2, callbacks=[Validation(data or blobs(40, 1), Categorical(3))])


@pytest.mark.parametrize("as_state", [False, True])
def test_I10_weights_equal_after_copy(as_state: bool) -> None:
    source, model = network(0), network(1)
    train(source, torch.optim.Adam(source.parameters(), lr=0.01))
    assert changed(model, state(source)) > {"linear1.weight", "norm1.running_mean", "output.weight"}
    done = initialise_from(model, source.state_dict() if as_state else source)
    assert not changed(model, state(source))
    assert set(done.copied) == set(source.state_dict())
    assert done.absent == done.reshaped == done.unused == done.skipped == ()
    assert model.linear1.weight.data_ptr() != source.linear1.weight.data_ptr()


def test_I10_what_does_not_agree_is_said_and_stays_random() -> None:
    source, model = network(0, (8, 7, 6)), network(1, (8, 6), 4)
    before = state(model)
    done = initialise_from(model, source, skip=("norm1",))
    assert done.skipped == tuple(f"norm1.{word}" for word in list(model.norm1.state_dict()))
    assert done.copied == ("linear1.weight", "linear1.bias", "norm2.num_batches_tracked")
    assert set(done.reshaped) == {
        *("linear2.weight", "linear2.bias", "norm2.weight", "norm2.bias", "norm2.running_mean", "norm2.running_var"),
        *("output.weight", "output.bias"),
    }
    assert {name.split(".")[0] for name in done.unused} == {"linear3", "norm3"}
    assert changed(model, before) == {"linear1.weight"}  # the biases are zero in both
    half = network(2).half()
    initialise_from(half, source, skip=("linear2", "norm2", "output"))
    assert half.linear1.weight.dtype == torch.float16
    assert torch.equal(half.linear1.weight, source.linear1.weight.half())


def test_I10_nothing_in_common_is_refused() -> None:
    with pytest.raises(ConfigError, match="no weight of the source"):
        initialise_from(network(0), nn.Linear(2, 2))
    with pytest.raises(ConfigError, match='did you mean "output"'):
        initialise_from(network(0), network(1), skip=("outputs",))


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
@pytest.mark.parametrize("everything", [False, True])
def test_I12_frozen_parts_are_the_same_to_the_bit(optimizer: type[torch.optim.Optimizer], everything: bool) -> None:
    model = network(0)
    frozen = freeze(model, "linear1", "norm1", "dropout1", "linear2.weight")
    assert frozen == ("linear1.weight", "linear1.bias", "norm1.weight", "norm1.bias", "linear2.weight")
    before = state(model)
    learning = model.parameters() if everything else [p for p in model.parameters() if p.requires_grad]
    train(model, optimizer(learning, lr=0.01, weight_decay=0.1))  # type: ignore[call-arg]
    learnt = {"linear2.bias", "output.weight", "output.bias"}
    learnt |= {name for name in model.state_dict() if name.startswith("norm2.")}
    assert changed(model, before) - {"linear2.bias"} == learnt - {"linear2.bias"}  # norm2 cancels that bias
    # The frozen normalisation and dropout compute as in evaluation while the rest trains.
    model.train()
    a, b = (model[:4](torch.randn(9, 5, generator=torch.Generator().manual_seed(3))) for _ in range(2))
    assert torch.equal(a, b) and not model.norm1.training and model.norm2.training


def test_I12_statistics_stay_also_where_the_frozen_part_is_never_called_itself() -> None:
    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base = nn.ModuleList([nn.Linear(5, 4), nn.BatchNorm1d(4)])
            self.output = nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.base:
                x = layer(x)
            return self.output(x)

    model = Listed()
    freeze(model, "base")
    before = state(model)
    train(model, torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01))
    assert changed(model, before) == {"output.weight", "output.bias"}


def test_I12_unfreeze_lets_everything_learn_again() -> None:
    model = network(0)
    names = freeze(model, "linear1", "norm1", "dropout1")
    freeze(model, "norm1")
    assert unfreeze(model, "linear1", "norm1", "dropout1") == names
    assert all(p.requires_grad for p in model.parameters())
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert model.norm1.training is model.training
    before = state(model)
    train(model, torch.optim.Adam(model.parameters(), lr=0.01))
    assert {"linear1.weight", "norm1.running_mean"} < changed(model, before)


def test_I12_frozen_network_takes_the_step_that_honours_it() -> None:
    model = network(0)
    freeze(model, "norm1")
    step = choose_step(model, Supervised(Categorical(3)), lambda groups: torch.optim.Adam(groups))
    assert isinstance(step, GradientStep)


def test_I12_slower_parts_move_by_their_factor() -> None:
    model = network(0).double()
    groups = learning_rate_groups(model, 0.1, {"linear1": 0.1, "linear1.bias": 0.5, "norm1": 0.1}, weight_decay=0.01)
    rates = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    expected = {"linear1.weight": (0.01, 0.01), "linear1.bias": (0.05, 0.0), "norm1.weight": (0.01, 0.0)}
    expected |= {"norm1.bias": (0.01, 0.0)}
    for name, p in model.named_parameters():
        assert rates[id(p)] == pytest.approx(expected.get(name, (0.1, 0.01 if p.ndim > 1 else 0.0))), name
    assert groups[0]["lr"] == 0.1
    before = state(model)
    optimizer = torch.optim.SGD(learning_rate_groups(model, 0.1, {"linear1": 0.25}))
    data = blobs()
    nn.functional.cross_entropy(model(data.inputs.double()), data.targets).backward()  # type: ignore[arg-type]
    optimizer.step()
    for name, p in model.named_parameters():
        assert p.grad is not None
        rate = 0.025 if name.startswith("linear1") else 0.1
        assert torch.allclose(p, before[name] - rate * p.grad, rtol=1e-12, atol=1e-15)


def test_I12_schedules_keep_the_factors() -> None:
    model = network(0)
    optimizer = torch.optim.SGD(learning_rate_groups(model, 0.1, {"linear1": 0.25}))
    step = GradientStep(model, Supervised(Categorical(3)), optimizer)
    fit(step, stream(), max_epochs=3, max_steps=10, callbacks=[LearningRate(lambda progress: 1 - progress / 2)])
    rates = {group["lr"] for group in optimizer.param_groups}
    assert len(rates) == 2 and min(rates) == pytest.approx(0.25 * max(rates)) and max(rates) < 0.1


@settings(max_examples=20, deadline=None)
@given(hidden=st.lists(st.integers(1, 4), max_size=4), decay=st.floats(0.1, 1.0))
def test_I12_depth_factors_fall_layer_by_layer(hidden: list[int], decay: float) -> None:
    model = network(0, tuple(hidden))
    expected = {"output": 1.0}
    for k in range(len(hidden), 0, -1):
        power = decay ** (len(hidden) + 1 - k)
        expected |= {f"linear{k}": power, f"norm{k}": power}
    assert depth_factors(model, decay) == pytest.approx(expected)
    assert [names[0] for names in layers_by_depth(model)] == [f"linear{k + 1}" for k in range(len(hidden))] + ["output"]


def test_I12_depth_of_pictures_and_frozen_parameters_left_out() -> None:
    model = pictures()
    assert layers_by_depth(model) == [("0.0", "0.1", "1"), ("3",)]
    freeze(model, "0")
    members = {id(p) for g in learning_rate_groups(model, 0.1, depth_factors(model, 0.5)) for p in g["params"]}
    assert members == {id(p) for name, p in model.named_parameters() if not name.startswith("0.")}


def test_I12_wrong_arguments_are_refused() -> None:
    model = network(0)
    with pytest.raises(ConfigError, match='no part "linear"'):
        freeze(model, "linear")
    with pytest.raises(ConfigError, match="above 0"):
        learning_rate_groups(model, 0.1, {"linear1": 0.0})
    with pytest.raises(ConfigError, match="no part"):
        learning_rate_groups(model, 0.1, {"linear9": 0.1})
    with pytest.raises(ConfigError, match="decay"):
        depth_factors(model, 0.0)
    freeze(model, *[name for name, _ in model.named_children()])
    with pytest.raises(ConfigError, match="frozen"):
        learning_rate_groups(model, 0.1, {})


def test_I12_names_are_matched_whole() -> None:
    model = nn.Sequential(*[nn.Linear(2, 2) for _ in range(11)])
    assert freeze(model, "1") == ("1.weight", "1.bias")
    assert model[10].weight.requires_grad
