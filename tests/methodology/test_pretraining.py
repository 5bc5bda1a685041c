"""Pre-training through the settings: what it does, leaves alone, tells, keeps, takes up again and refuses."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lamina.data.images import ImageSet
from lamina.energy.rbm_layer import RBMLayer
from lamina.errors import ConfigError, DivergedError, Interrupted
from lamina.methodology.baseline import complete, model_card
from lamina.methodology.image_problem import problem_of_images, split_of_pictures
from lamina.methodology.phase import Hooks, Phase, Plan
from lamina.methodology.problem import Problem, likelihood_of
from lamina.methodology.train import train
from lamina.nn import PixelScaling
from lamina.runs.predictor import Predictor
from lamina.runs.settings import Settings
from lamina.training.greedy import pretrain_greedy
from lamina.training.run import Run
from lamina.training.signals import StopOnSignal
from methodology.tables import problem, settings

SIGMOID = {"activation": "sigmoid", "hidden": "7,5", "dropout": 0.0, "model": "mlp"}


def table() -> dict[str, np.ndarray]:
    chance = np.random.default_rng(0)
    x = chance.normal(size=(90, 4)) @ chance.normal(size=(4, 4))
    return {**{f"x{i}": x[:, i] for i in range(4)}, "y": x[:, 0] + 0.1 * chance.normal(size=90)}


def pictures(n: int = 60, side: int = 6) -> ImageSet:
    """Bright bars on dark ground."""
    chance = np.random.default_rng(1)
    pixels = chance.integers(0, 60, (n, 1, side, side)).astype(np.uint8)
    labels = chance.integers(0, 2, n)
    for picture, label in zip(pixels, labels, strict=True):
        place = chance.integers(side)
        picture[0, place if label else slice(None), slice(None) if label else place] = 230
    return ImageSet("bars", pixels, labels.astype(np.int64), ("down", "across"))


def of_table(**changes: object) -> tuple[Problem, Settings]:
    return problem(table(), ["y"], settings(**{**SIGMOID, **changes}))


def of_pictures(**changes: object) -> tuple[Problem, Settings]:
    asked = settings(**{**SIGMOID, "augment": False, **changes})
    images = pictures()
    split, _ = split_of_pictures(images, asked)
    made = problem_of_images(images, split)
    return made, complete(asked, made)[0]


def phase(made: Problem, whole: Settings, hooks: Hooks | None = None, signals: StopOnSignal | None = None) -> Phase:
    card, likelihood = model_card(whole, made), likelihood_of(whole, made.targets)
    plan = Plan(made, whole, card, likelihood, torch.device("cpu"), hooks or Hooks(), signals or StopOnSignal())
    return Phase(plan, made.split.train)


def weights(ready: Phase) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in ready.step.model.state_dict().items()}


def moved(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> set[str]:
    return {name.partition(".")[0] for name in one if not torch.equal(one[name], other[name])}


@pytest.mark.parametrize("line", ["rbm", "autoencoder", "denoising"])
def test_layers_learn_in_turn_and_the_finished_ones_stand_still(line: str) -> None:
    made, whole = of_table(pretrain=f"{line}:epochs=2:rate=0.05")
    seen: list[tuple[str, dict[str, torch.Tensor]]] = []
    holder: list[nn.Module] = []

    def show(layer: str, run: Run, fraction: float, seconds: float, left: float | None) -> None:
        seen.append((layer, {name: p.detach().clone() for name, p in holder[0].state_dict().items()}))

    build = type(model_card(whole, made)).build
    with pytest.MonkeyPatch.context() as patch:

        def kept(*args: Any, **options: Any) -> nn.Module:
            holder.append(build(*args, **options))
            return holder[-1]

        patch.setattr(type(model_card(whole, made)), "build", kept)
        holder.clear()
        ready = phase(made, whole, Hooks(layer_progress=show))
    plain = weights(phase(made, replace(whole, pretrain=None)))
    first = weights(phase(made, replace(whole, pretrain=f"{line}:epochs=2:rate=0.05:layers=1")))
    assert moved(plain, first) == {"linear1"}
    assert moved(first, weights(ready)) == {"linear2"}
    assert moved(plain, weights(ready)) == {"linear1", "linear2"}  # never the output layer
    during = [state for layer, state in seen if layer == "linear2 (2 of 2)"]
    assert len(during) >= 2
    for state in during:
        assert torch.equal(state["linear1.weight"], first["linear1.weight"])
        assert torch.equal(state["linear1.bias"], first["linear1.bias"])


def test_a_machine_is_trained_as_pretrain_greedy_does_with_these_options() -> None:
    made, whole = of_table(pretrain="rbm:epochs=3:rate=0.2:sweeps=2:passing=samples")
    ready = phase(made, whole)
    network = model_card(whole, made).build(torch.Generator().manual_seed(whole.seed))
    assert isinstance(network, nn.Sequential)
    learner = RBMLayer(0.2, sweeps=2, first_visible="gaussian")
    generator = torch.Generator().manual_seed(whole.seed + 1)
    pretrain_greedy(network, ready.data, learner, epochs=3, passing="samples", generator=generator)
    for name, p in network.state_dict().items():
        assert torch.equal(p, ready.step.model.state_dict()[name]), name


@pytest.mark.parametrize("line", ["rbm", "denoising", "discriminative"])
def test_the_seed_decides_and_the_global_generator_is_left_alone(line: str) -> None:
    made, whole = of_table(pretrain=f"{line}:epochs=1", dropout=0.2)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = weights(phase(made, whole))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(6)
    assert not moved(one, weights(phase(made, whole)))
    network = phase(made, replace(whole, pretrain=None)).step.model.state_dict()
    other = weights(phase(made, replace(whole, seed=1)))
    assert moved(one, other) and moved(one, network)


def test_discriminative_pretraining_may_leave_lower_layers_alone() -> None:
    made, whole = of_table(pretrain="discriminative:epochs=2:rate=0.01:train_lower=false", activation="relu")
    both = phase(made, whole)
    alone = phase(made, replace(whole, pretrain="discriminative:epochs=2:rate=0.01"))
    assert "linear1" in moved(weights(both), weights(alone))
    assert [len(layer.history) for layer in both.pretrained] == [2, 2]
    assert [layer.inputs for layer in both.pretrained] == ["", ""]


def test_pixels_are_read_from_0_to_1_where_units_are_binary() -> None:
    neutral = PixelScaling([0.0], [1.0])
    for line, unit, inputs in (
        ("rbm:epochs=1", True, "bernoulli"),
        ("autoencoder:epochs=1", True, "bernoulli"),
        ("rbm:epochs=1:inputs=gaussian", False, "gaussian"),
        ("denoising:epochs=1:inputs=gaussian:noise=gaussian", False, "gaussian"),
        ("discriminative", False, ""),
        (None, False, ""),
    ):
        made, whole = of_pictures(pretrain=line)
        said: list[str] = []
        ready = phase(made, whole, Hooks(say=said.append))
        scaling = ready.step.model.get_submodule("pixels")
        assert torch.equal(scaling.get_buffer("scale"), neutral.scale) == unit
        assert [layer.inputs for layer in ready.pretrained[:1]] == ([inputs] if line else [])
        if unit:
            assert "pixels lie from 0 to 1 and are taken for probabilities" in said[0]
        if "gaussian" in str(line):
            assert "inputs are gaussian, as asked for" in said[0]


def test_numbers_of_a_table_are_gaussian_unless_all_lie_between_0_and_1() -> None:
    made, whole = of_table(pretrain="rbm:epochs=1")
    said: list[str] = []
    assert phase(made, whole, Hooks(say=said.append)).pretrained[0].inputs == "gaussian"
    assert "taken for standardised numbers" in said[0]
    within = replace(made, inputs=torch.rand(made.inputs.shape, generator=torch.Generator().manual_seed(0)))
    assert phase(within, whole).pretrained[0].inputs == "bernoulli"
    with pytest.raises(ConfigError, match="Bernoulli units take numbers from 0 to 1"):
        phase(made, replace(whole, pretrain="rbm:inputs=bernoulli"))


def test_each_layer_has_a_history_and_is_told_of() -> None:
    made, whole = of_pictures(pretrain="rbm:epochs=6:rate=0.1", batch_size=8)
    said: list[str] = []
    shown: list[tuple[str, float | None]] = []
    hooks = Hooks(say=said.append, layer_progress=lambda layer, run, f, s, left: shown.append((layer, left)))
    layers = phase(made, whole, hooks).pretrained
    assert [(one.number, one.of, one.name, one.units) for one in layers] == [(1, 2, "linear1", 7), (2, 2, "linear2", 5)]
    for one in layers:
        losses = [record["loss"] for record in one.history]
        assert [record["epoch"] for record in one.history] == [1, 2, 3, 4, 5, 6]
        assert losses[-1] < losses[0]
    assert said[0].startswith("pre-training, rbm: 2 layers, 6 epochs each; ")
    first, last = (layers[0].history[k]["loss"] for k in (0, -1))
    assert said[1] == f"linear1 (1 of 2): reconstruction loss, nats an example, {first:.4g} to {last:.4g}"
    assert {layer for layer, _ in shown} == {"linear1 (1 of 2)", "linear2 (2 of 2)"}
    assert all(left is not None for _, left in shown)


def test_what_was_learnt_is_kept_and_taken_up_again(tmp_path: Path) -> None:
    made, whole = of_pictures(pretrain="rbm:epochs=2")
    before = phase(made, whole, Hooks(folder=tmp_path))
    (folder,) = (tmp_path / "pretraining").iterdir()
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}
    said: list[str] = []
    after = phase(made, whole, Hooks(folder=tmp_path, resume=True, say=said.append))
    assert said == ["pre-training was finished before, and is taken from there"]
    assert not moved(weights(before), weights(after))
    for one, other in zip(before.pretrained, after.pretrained, strict=True):
        assert replace(one, views={}) == replace(other, views={})
        assert one.views.keys() == other.views.keys() and "samples" in one.views
        for name, array in one.views.items():
            assert array.dtype == other.views[name].dtype and np.array_equal(array, other.views[name])
    (folder / "weights.safetensors").write_bytes(b"torn")
    again = phase(made, whole, Hooks(folder=tmp_path, resume=True))
    assert not moved(weights(before), weights(again))
    fewer = of_pictures(pretrain="rbm:epochs=2", hidden="7,4")
    with pytest.raises(Exception, match="holds the weights of another network"):
        phase(*fewer, Hooks(folder=tmp_path, resume=True))


def test_a_signal_ends_it_and_nothing_half_done_is_kept(tmp_path: Path) -> None:
    made, whole = of_table(pretrain="rbm:epochs=2")

    def show(layer: str, run: Run, fraction: float, seconds: float, left: float | None) -> None:
        signal.raise_signal(signal.SIGTERM)

    def unheard(number: int, frame: FrameType | None) -> None:
        raise AssertionError("nobody listens")

    usual = signal.signal(signal.SIGTERM, unheard)
    try:
        words = "stopped while layers were pre-trained"
        with pytest.raises(Interrupted, match=words) as caught, StopOnSignal() as signals:
            phase(made, whole, Hooks(layer_progress=show, signals=True, folder=tmp_path), signals)
        assert signal.getsignal(signal.SIGTERM) is unheard
    finally:
        signal.signal(signal.SIGTERM, usual)
    assert caught.value.exit_code == 128 + signal.SIGTERM
    assert f"lamina fit --resume {tmp_path}" in (caught.value.mend or "")
    assert not (tmp_path / "pretraining").exists()


def test_a_rate_that_is_too_large_is_said_to_be() -> None:
    made, whole = of_table(pretrain="autoencoder:optimizer=sgd:rate=1e6", activation="relu")
    with pytest.raises(DivergedError, match="the loss of linear1 is not a number") as caught:
        phase(made, whole)
    assert "lower the rate of autoencoder: it was 1e+06" in (caught.value.mend or "")


def test_a_second_pass_is_pretrained_anew_or_goes_on() -> None:
    for way, times in (("retrain", 2), ("continue", 1)):
        made, whole = of_table(pretrain="autoencoder:epochs=1", activation="tanh", second_pass=way, epochs=3)
        trained = train(made, whole)
        assert sum(note.startswith("pre-training,") for note in trained.notes) == times
        assert len(trained.pretrained) == 2


def test_rows_without_a_target_are_learnt_from() -> None:
    columns: dict[str, Any] = {name: list(column) for name, column in table().items()}
    columns["y"] = ["" if k % 3 else ("in" if y > 0 else "out") for k, y in enumerate(columns["y"])]
    asked = settings(**SIGMOID, pretrain="rbm:epochs=1", learn_unlabelled=True, split=(0.8, 0.2, 0.0))
    made, whole = problem(columns, ["y"], asked)
    ready = phase(made, whole)
    assert made.unlabelled is not None and len(made.unlabelled) == 60
    every = ready._every_input(torch.from_numpy(made.split.train))
    assert every.n_examples == 60 + len(made.split.train)
    assert len(ready.pretrained[0].views["activities"]) == 40
    assert ready.pretrained[0].views["activities"].sum() == 7 * every.n_examples
    with pytest.raises(ConfigError, match="teach nothing"):
        phase(made, replace(whole, pretrain="discriminative"))


def test_the_trained_network_is_read_back_with_its_pixels(tmp_path: Path) -> None:
    made, whole = of_pictures(pretrain="rbm:epochs=1", freeze="linear1")
    trained = train(made, whole)
    start = weights(phase(made, whole))
    again = Predictor.load(trained.predictor.save(tmp_path / "model"))
    assert torch.equal(again.model.state_dict()["linear1.weight"], start["linear1.weight"])
    assert torch.equal(again.model.state_dict()["pixels.scale"], PixelScaling([0.0], [1.0]).scale)
    torch.testing.assert_close(again.outputs(made.inputs), trained.predictor.outputs(made.inputs))


@pytest.mark.parametrize("line", ["autoencoder:epochs=2", "denoising:epochs=1:tied=false", "discriminative"])
def test_the_layers_of_a_convnet_are_taught(line: str) -> None:
    asked = {"model": "convnet", "activation": "relu", "hidden": "5", "width": 2}
    made, whole = of_pictures(**asked, pretrain=line)
    assert model_card(whole, made).arguments == {"filters": 2, "hidden": (5,), "dropout": 0.0}
    ready, plain = phase(made, whole), phase(*of_pictures(**asked))
    assert [one.name for one in ready.pretrained] == ["conv1", "linear2"]
    for name in ("conv1.weight", "linear2.weight"):
        assert not torch.equal(weights(ready)[name], weights(plain)[name])
    if line != "discriminative":  # the output layer is left as it was drawn, and the codes explain the pictures better
        assert torch.equal(weights(ready)["output.weight"], weights(plain)["output.weight"])
        losses = [entry["loss"] for entry in ready.pretrained[0].history]
        assert losses == sorted(losses, reverse=True)
    assert len(ready.pretrained[0].views["activities"]) == 40


@pytest.mark.parametrize(
    ("make", "changes", "words", "mend"),
    [
        (of_pictures, {"pretrain": "rbm", "model": "convnet"}, "the first of a convnet are over maps", "autoencoder"),
        (of_pictures, {"pretrain": "autoencoder:layers=4", "model": "convnet"}, "there are 3 hidden ones", "hidden="),
        (of_pictures, {"pretrain": "rbm", "model": "resnet"}, "model resnet has none such", "model=mlp"),
        (of_table, {"pretrain": "autoencoder", "model": "linear"}, "model linear has none such", "model=mlp"),
        (of_table, {"pretrain": "rbm", "activation": "relu"}, "sigmoid units, and activation is relu", "sigmoid"),
        (of_table, {"pretrain": "autoencoder:passing=samples", "activation": "tanh"}, "are probabilities", "means"),
        (of_table, {"pretrain": "rbm:layers=3"}, "3 layers are to be pre-trained, and there are 2", "hidden="),
        (of_table, {"pretrain": "rbm", "hidden": "5,5,5", "share": "2+3"}, "cannot be finished one by one", "share"),
    ],
)
def test_what_no_network_can_have_is_refused_before_anything_is_made(
    make: Callable[..., Any], changes: dict[str, Any], words: str, mend: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        make(**changes)
    assert caught.value.where == "pretrain" and mend in (caught.value.mend or "")
