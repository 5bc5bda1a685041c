"""Layer-by-layer pre-training, audited round by round from within the objective and the optimizer."""

import copy

import pytest
import torch
from torch import nn

from lamina.data.batch import Batch
from lamina.errors import ConfigError
from lamina.initialisers import initialise
from lamina.likelihoods import Categorical
from lamina.nn import MLP
from lamina.training import Callback, GradientStep, Loss, Run, Supervised, fit
from lamina.training.hidden_layers import HiddenLayer, hidden_layers
from lamina.training.layerwise import pretrain_layerwise
from training.problems import blobs, stream


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Audit:
    """An objective that notes, at each step, the layers of the model it is given and their state."""

    def __init__(self) -> None:
        self.inner = Supervised(Categorical(3))
        self.rounds: list[dict[str, object]] = []
        self.last: nn.Module | None = None

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        loss = self.inner(model, batch)
        if model is not self.last:
            self.last = model
            self.rounds.append(
                {
                    "layers": [name for name, m in model.named_children() if isinstance(m, nn.Linear)],
                    "learning": [name for name, p in model.named_parameters() if p.requires_grad],
                    "training": [name for name, m in model.named_children() if m.training],
                    "output": model.output.weight,
                    "before": copy.deepcopy(model.state_dict()),
                    "model": model,
                    "steps": 0,
                }
            )
        self.rounds[-1]["steps"] += 1  # type: ignore[operator]
        return loss


def network(batch_norm: bool = True) -> MLP:
    return MLP(5, 3, (8, 7, 6), normalisation="batch" if batch_norm else "none", dropout=0.1, generator=seeded())


@pytest.mark.parametrize("train_lower", [True, False])
def test_I11_layers_grow_one_by_one_and_the_lower_ones_learn_or_stand_still(train_lower: bool) -> None:
    net, audit, optimized = network(), Audit(), []

    def make_optimizer(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        optimized.append({id(p) for p in parameters})
        return torch.optim.Adam(parameters, lr=0.01)

    start = copy.deepcopy(net.state_dict())
    ends: list[dict[str, torch.Tensor]] = []
    done = pretrain_layerwise(
        net, stream(), audit, epochs=2, train_lower=train_lower, make_optimizer=make_optimizer, generator=seeded(1)
    )
    assert done is net and net.training
    assert [r["layers"] for r in audit.rounds] == [
        ["linear1", "output"],
        ["linear1", "linear2", "output"],
        ["linear1", "linear2", "linear3", "output"],
    ]
    assert [r["steps"] for r in audit.rounds] == [14, 14, 14]
    assert audit.rounds[-1]["model"] is net
    outputs = [r["output"] for r in audit.rounds]
    assert [tuple(w.shape) for w in outputs] == [(3, 8), (3, 7), (3, 6)]  # type: ignore[attr-defined]
    assert outputs[-1] is net.output.weight
    for k, audited in enumerate(audit.rounds, start=1):
        learning = {name.split(".")[0] for name in audited["learning"]}  # type: ignore[attr-defined]
        new = {f"linear{k}", f"norm{k}", "output"}
        lower = {f"{word}{j}" for word in ("linear", "norm") for j in range(1, k)}
        assert learning == (new | lower if train_lower else new)
        model = audited["model"]
        assert optimized[k - 1] == {id(p) for n, p in model.named_parameters() if n in audited["learning"]}  # type: ignore[attr-defined, operator]
        standing = {f"{word}{j}" for word in ("linear", "norm", "relu", "dropout") for j in range(1, k)}
        assert standing.isdisjoint(audited["training"]) is (k == 1 or not train_lower)  # type: ignore[arg-type]
        # A new hidden layer begins as the network was built.
        before = audited["before"]
        assert torch.equal(before[f"linear{k}.weight"], start[f"linear{k}.weight"])  # type: ignore[index]
        ends.append(before)  # type: ignore[arg-type]
    # What the first round taught stays to the bit in the second and third, or learns on.
    for name in ("linear1.weight", "linear1.bias", "norm1.weight", "norm1.running_mean"):
        stays = torch.equal(ends[1][name], net.state_dict()[name])
        assert stays is (not train_lower), name
        if name != "norm1.running_mean":
            assert not torch.equal(start[name], ends[1][name]) or name == "linear1.bias"
    assert all(p.requires_grad for p in net.parameters())
    assert not any(m._forward_pre_hooks for m in net.modules())


def test_I11_a_round_is_ordinary_training_of_the_grown_network() -> None:
    net = MLP(5, 3, (8,), generator=seeded())
    plain = copy.deepcopy(net)
    pretrain_layerwise(net, stream(), Supervised(Categorical(3)), epochs=3)
    fit(GradientStep(plain, Supervised(Categorical(3)), torch.optim.Adam(plain.parameters())), stream(), max_epochs=3)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), plain.parameters(), strict=True))


def test_I11_each_round_tells_its_own_callbacks() -> None:
    kept: list[tuple[str, int, list[float]]] = []

    class Kept(Callback):
        def __init__(self, layer: HiddenLayer) -> None:
            self.layer = layer

        def on_end(self, run: Run) -> None:
            kept.append((self.layer.name, self.layer.number, run.history.series("loss")))

    net = network()
    pretrain_layerwise(
        net, stream(), Supervised(Categorical(3)), epochs=2, callbacks=lambda layer: [Kept(layer)], generator=seeded()
    )
    layers, _ = hidden_layers(net, "test")
    assert [(name, number) for name, number, _ in kept] == [(layer.name, layer.number) for layer in layers]
    assert all(len(losses) == 2 for _, _, losses in kept)


def test_I11_starts_a_deep_sigmoid_network_that_hardly_learns_by_itself() -> None:
    data = blobs(400)
    losses = {}
    for grown in (True, False):
        net = MLP(5, 3, (12,) * 5, activation="sigmoid", generator=seeded(3))
        if grown:
            net = pretrain_layerwise(
                net, stream(data), Supervised(Categorical(3)), epochs=5, generator=seeded(4),
                make_optimizer=lambda ps: torch.optim.Adam(ps, lr=0.01),
            )  # fmt: skip
        step = GradientStep(net, Supervised(Categorical(3)), torch.optim.Adam(net.parameters(), lr=0.003))
        losses[grown] = fit(step, stream(data), max_epochs=10).series("loss")[-1]
    assert losses[True] < 0.5 < 0.9 < losses[False]


def test_I11_convolutions_and_columns() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)
    ).double()
    initialise(net, "he", seeded())
    x = torch.randn(40, 1, 10, 10, generator=seeded(), dtype=torch.float64)
    before = copy.deepcopy(net.state_dict())
    pretrain_layerwise(net, stream(Batch(x, torch.arange(40) % 3)), Supervised(Categorical(3)))
    assert not any(torch.equal(v, before[k]) for k, v in net.state_dict().items() if "weight" in k)


def test_I11_parts_frozen_by_the_caller_stay_frozen() -> None:
    net = network()
    net.linear1.weight.requires_grad_(False)
    before = net.linear1.weight.detach().clone()
    pretrain_layerwise(net, stream(), Supervised(Categorical(3)), train_lower=False)
    assert not net.linear1.weight.requires_grad and torch.equal(net.linear1.weight, before)
    assert net.linear1.bias.requires_grad


def test_I11_wrong_networks_are_refused() -> None:
    objective = Supervised(Categorical(3))
    with pytest.raises(ConfigError, match="hidden layer"):
        pretrain_layerwise(nn.Sequential(nn.Linear(5, 3)), stream(), objective)
    with pytest.raises(ConfigError, match="epochs"):
        pretrain_layerwise(network(), stream(), objective, epochs=0)
    with pytest.raises(ConfigError, match="shape"):
        pretrain_layerwise(
            nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 4), nn.Unflatten(1, (2, 2))), stream(), objective
        )
