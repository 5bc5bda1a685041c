"""What a regulariser changes, each against the method written out by hand."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.penalties import Context, ManifoldTangents
from lamina.recipes.regularisation import changes, train
from lamina.recipes.regularisation.digits import load_digits
from lamina.recipes.regularisation.parts import Parts
from lamina.training.pairwise import PairwiseSemiSupervised


def parts(size: int = 200) -> Parts:
    digits = load_digits("digits")
    network = train._network(digits.pool.inputs, torch.Generator().manual_seed(1))
    return Parts(network, digits.valid, digits.pool.rows(0, size), 5)


def batches(made: Parts, epoch: int = 0) -> list[Batch]:
    return list(made.stream(InMemory(made.examples, 64, seed=5)).batches(epoch))


def test_dropout_and_multiplicative_noise_stand_behind_each_hidden_unit() -> None:
    names = [name for name, _ in parts().network.named_children()]
    assert names == ["flatten", "linear1", "silu1", "linear2", "silu2", "output"]
    masked = changes.dropout(parts(), 0.5, 0.2).network
    assert [f"{name}:{getattr(layer, 'p', '')}" for name, layer in masked.named_children()] == [
        "flatten:", "mask0:0.2", "linear1:", "silu1:", "mask1:0.5", "linear2:", "silu2:", "mask2:0.5", "output:",
    ]  # fmt: skip
    multiplied = changes.multiplied(parts(), 0.5).network
    assert [name for name, _ in multiplied.named_children() if name.startswith("mask")] == ["mask1", "mask2"]
    assert multiplied.mask1.std == 1.0  # type: ignore[union-attr]


@pytest.mark.parametrize("way", ["monte-carlo", "geometric"])
def test_sub_networks_answer_in_evaluation(monkeypatch: pytest.MonkeyPatch, way: Any) -> None:
    monkeypatch.setattr(changes, "_SUB_NETWORKS", 2_000)
    made = changes.dropout_answering(way)(parts(), 0.5, 0.2)
    with torch.no_grad():
        made.network.output.weight.mul_(4.0)  # type: ignore[union-attr]  # the two means differ where answers are firm
    x = made.valid.inputs[:40]
    found = made.answering(made.network).eval()(x).softmax(1)
    drawn = made.network.train()  # PyTorch's own masks
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        logits = torch.stack([drawn(x) for _ in range(4_000)]).double()
    means = {"monte-carlo": logits.softmax(2).mean(0), "geometric": logits.log_softmax(2).mean(0).softmax(1)}
    spread = logits.softmax(2).std(0).max().item()
    errors = {name: (found - mean).square().mean().sqrt().item() for name, mean in means.items()}
    assert errors[way] < 2.0 * spread / 2_000**0.5
    assert errors[way] < 0.5 * max(errors.values())
    torch.testing.assert_close(made.answering(made.network).eval()(x).softmax(1), found)  # the same ones each time


def test_hidden_layers_are_tied_to_those_of_an_autoencoder_of_the_pictures() -> None:
    plain, made = parts(), changes.tied_to_autoencoder(parts(), 0.3)
    for (name, p), (_, before) in zip(made.network.named_parameters(), plain.network.named_parameters(), strict=True):
        assert torch.equal(p, before), name  # training starts where it always does
    ((weight, tying),) = made.penalty.terms  # type: ignore[union-attr]
    assert weight == 0.3
    assert set(tying.reference) == {"linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias"}
    distance = sum(
        ((p.detach() - tying.reference[name]).numpy().astype(float) ** 2).sum()
        for name, p in plain.network.named_parameters()
        if name in tying.reference
    )
    context = Context(made.network, made.examples.inputs, made.network(made.examples.inputs))
    assert made.penalty(context).item() == pytest.approx(0.3 * distance, rel=1e-5)  # type: ignore[misc]

    def nats(weight: Tensor, bias: Tensor) -> float:
        """What the first layer's own weights make of its code lacks for unseen pictures, with the best biases."""
        x = made.valid.inputs.flatten(1)
        back = nn.functional.silu(x @ weight.T + bias) @ weight
        free = torch.zeros(x.shape[1], requires_grad=True)
        search = torch.optim.LBFGS([free], max_iter=100, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            search.zero_grad()
            total = nn.functional.binary_cross_entropy_with_logits(back + free, x)
            total.backward()
            return total

        search.step(loss)  # type: ignore[arg-type]
        return (loss() - torch.special.entr(torch.stack([x, 1.0 - x])).sum(0).mean()).item()

    start = plain.network.linear1
    assert isinstance(start, nn.Linear)
    learnt = nats(tying.reference["linear1.weight"], tying.reference["linear1.bias"])
    assert 0.0 < learnt < 0.7 * nats(start.weight.detach(), start.bias.detach())


def test_manifold_tangents_come_from_an_autoencoder_of_the_pictures_and_hold_for_new_ones() -> None:
    made = changes.manifold_tangents(parts(600), 0.3, 4)
    ((weight, penalty),) = made.penalty.terms  # type: ignore[union-attr]
    assert (weight, penalty.rank) == (0.3, 4)
    assert not any(p.requires_grad for p in penalty.encoder.parameters())
    x = made.valid.inputs
    tangents = ManifoldTangents(penalty.encoder, penalty.rank)(x).flatten(2)
    pool = made.examples.inputs.flatten(1)
    near = pool[torch.cdist(x.flatten(1), pool).argmin(1)] - x.flatten(1)
    share = (torch.einsum("kni,ni->nk", tangents, near).square().sum(1) / near.square().sum(1)).mean()
    assert share > 2 * 4 / 64  # a neighbour lies along them, far more than along any four of 64 directions


def test_label_noise_changes_about_that_share_of_the_labels_and_nothing_else() -> None:
    plain, noisy = parts(1_000), changes.noisy_labels(parts(1_000), 0.3)
    wrong = []
    for before, after in zip(batches(plain), batches(noisy), strict=True):
        assert torch.equal(before.inputs, after.inputs)
        assert before.targets is not None and after.targets is not None
        wrong.append((before.targets != after.targets).float())
    assert torch.cat(wrong).mean().item() == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize(
    ("side", "maps", "field", "reach", "stride", "before"),
    [(28, 4, 0.25, 7, 3, 0), (28, 16, 0.5, 14, 5, 0), (8, 4, 0.5, 4, 1, 1), (8, 16, 0.25, 2, 2, 0)],
)
def test_units_of_a_map_read_patches_with_the_same_weights(
    side: int, maps: int, field: float, reach: int, stride: int, before: int
) -> None:
    pictures = torch.rand(3, 1, side, side, generator=torch.Generator().manual_seed(0))
    plain = Parts(train._network(pictures, torch.Generator()), Batch(pictures), Batch(pictures))
    network = changes.shared_over_places(plain, maps, field).network
    flat = nn.Sequential(*list(network.children())[:4])(pictures)
    assert flat.shape == (3, 256)  # as many units as before
    assert network(pictures).shape == (3, 10)
    places = int((256 // maps) ** 0.5)
    units = flat.reshape(3, maps, places, places)
    weight = network.shared1.weight  # type: ignore[union-attr]
    assert weight.shape == (maps, 1, reach, reach)
    room = torch.zeros(3, side + 30, side + 30)
    room[:, 10 : 10 + side, 10 : 10 + side] = pictures[:, 0]
    for map_, row, column in [(0, 0, 0), (maps - 1, places - 1, 1), (1, 2, places - 1)]:
        top, left = 10 - before + stride * row, 10 - before + stride * column
        patch = room[:, top : top + reach, left : left + reach]
        expected = nn.functional.silu((patch * weight[map_, 0]).sum((1, 2)))  # type: ignore[index]
        torch.testing.assert_close(units[:, map_, row, column], expected, atol=1e-5, rtol=1e-5)


def test_hints_are_the_style_of_a_digit_and_gone_in_evaluation() -> None:
    pictures = np.zeros((3, 1, 9, 9), dtype=np.float32)
    for y in range(9):  # an upright stroke, one that leans by half a pixel a row, a wide bar
        pictures[0, 0, y, 4] = 1.0
        pictures[1, 0, y, 2 + y // 2] = 1.0
    pictures[2, 0, 3:5, :] = 0.7
    expected = []
    for picture in pictures[:, 0].astype(float):
        y, x = np.mgrid[:9, :9]
        w = picture / picture.sum()
        mx, my = (w * x).sum(), (w * y).sum()
        vx, vy = (w * (x - mx) ** 2).sum(), (w * (y - my) ** 2).sum()
        expected.append([(w * (x - mx) * (y - my)).sum() / vy, vx**0.5, vy**0.5, picture.sum()])
    style = np.array(expected)
    style = (style - style.mean(0)) / style.std(0, ddof=1)
    np.testing.assert_allclose(changes._style(torch.from_numpy(pictures)), style, atol=1e-4)

    made = changes.hinted(parts(), 2.0)
    batch = made.examples.rows(0, 8)
    assert batch.targets is not None and batch.targets.shape == (8, 5)
    assert torch.equal(batch.targets[:, 0].long(), parts().examples.targets[:8])  # type: ignore[index]
    outputs = made.network.train()(batch.inputs)
    loss = -made.likelihood.log_prob(outputs, batch.targets)
    digit = nn.functional.cross_entropy(outputs[:, :10], batch.targets[:, 0].long(), reduction="none")
    hints = torch.distributions.Normal(outputs[:, 10:], 2.0).log_prob(batch.targets[:, 1:]).sum(1)
    torch.testing.assert_close(loss, digit - hints)
    assert made.network.eval()(batch.inputs).shape == (8, 10)


def test_pairs_are_neighbours_among_the_training_pictures_alone() -> None:
    made = changes.paired(parts(), 0.3, 10.0)
    flat = made.examples.inputs.flatten(1)
    batch = batches(made)[0]
    rows = torch.cdist(batch.inputs.flatten(1), flat).argmin(1)
    torch.testing.assert_close(flat[rows], batch.inputs.flatten(1))  # no other pictures than these
    first, second, one, other = rows[64:].split(16)
    distances = torch.cdist(flat, flat)
    distances.fill_diagonal_(torch.inf)
    near = distances.argsort(1)[:, :5]
    for a, b, alike in [*((a, b, True) for a, b in zip(first, second, strict=True)),
                        *((a, b, False) for a, b in zip(one, other, strict=True))]:  # fmt: skip
        assert (bool((near[a] == b).any()) or bool((near[b] == a).any())) is alike
    objective = made.objective(made.likelihood, None)
    assert isinstance(objective, PairwiseSemiSupervised)
    assert (objective.weight, objective.margin, objective.n_labelled) == (0.3, 10.0, 64)


@pytest.mark.parametrize(("way", "passes"), [("retrain", 2), ("continue", 2)])
def test_a_second_pass_learns_from_all_examples(monkeypatch: pytest.MonkeyPatch, way: Any, passes: int) -> None:
    seen: list[tuple[int, int, dict[str, Tensor]]] = []
    good = train._pass

    def noted(made: Parts, examples: Batch, steps: int, *rest: Any) -> Any:
        seen.append((examples.size, steps, copy.deepcopy(made.network.state_dict())))
        history = good(made, examples, steps, *rest)
        best.append(min(range(len(history.records)), key=lambda k: history.records[k].get("valid_loss", 0.0)))
        updates.append(history.records)
        return history

    best: list[int] = []
    updates: list[Any] = []
    monkeypatch.setattr(train, "_pass", noted)
    made = changes.twice(way)(parts(), "loss", 2)
    start = copy.deepcopy(made.network.state_dict())
    train._fitted(made, made.examples, 30, 5)
    assert len(seen) == passes
    (first, asked, _), (second, again, weights) = seen
    assert (first, asked, second) == (160, 30, 200)  # a fifth is held out
    if way == "retrain":
        assert all(torch.equal(weights[name], value) for name, value in start.items())
        assert again == min(30, 3 * (best[0] + 1))  # 160 examples make three updates
    else:
        assert any(not torch.equal(weights[name], value) for name, value in start.items())
        final, reached = updates[1][-1], updates[0][best[0]]["loss"]
        assert again == 30
        assert final["valid_loss"] <= reached or final["epoch"] == 8  # of four updates each
