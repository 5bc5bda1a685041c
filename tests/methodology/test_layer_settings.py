"""Layers and features as settings: what is trained is what the parts give in Python, kept, resumed, or refused."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lamina
from lamina.cli.main import main
from lamina.errors import ConfigError
from lamina.methodology.train import train
from lamina.nn import MLP, MultiplicativeNoise, PixelScaling, insert_noise
from lamina.runs.predictor import Predictor
from lamina.workflows.fit import fit
from methodology.tables import problem, settings, trained, write
from workflows.made import QUICK, people, shapes

LAYERS = {
    "batch": {"normalisation": "batch"},
    "unbiased": {"normalisation": "batch-unbiased"},
    "layer": {"normalisation": "layer"},
    "weight": {"normalisation": "weight"},
    "residual": {"connections": "residual"},
    "highway": {"connections": "highway"},
    "skip": {"connections": "skip"},
    "low rank": {"low_rank": 2},
    "all": {"connections": "highway", "normalisation": "layer", "low_rank": 2, "share": "2+3"},
}


def plane(n: int = 120, columns: int = 4) -> dict[str, np.ndarray]:
    chance = np.random.default_rng(0)
    x = chance.normal(size=(n, columns))
    y = x[:, 0] - 0.5 * x[:, 1] + 0.3 * x[:, 0] ** 2 + 0.2 * chance.normal(size=n)
    return {**{f"x{k}": x[:, k] for k in range(columns)}, "y": y}


DATA = plane()
BARE = {
    "likelihood": "gaussian:scale=1",
    "optimizer": "sgd",
    "momentum": 0,
    "learning_rate": 0.05,
    "weight_decay": 0,
    "schedule": "constant",
    "batch_size": 1000,
    "dropout": 0,
    "monitor": "loss",
    "epochs": 3,
    "patience": 1000,
}


def by_hand(model: nn.Module, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Three steps of plain gradient descent on all rows: half the mean of the squared errors."""
    descent = torch.optim.SGD(model.parameters(), 0.05)
    for _ in range(3):
        descent.zero_grad()
        (0.5 * (model(inputs).squeeze(1) - targets).square().mean()).backward()
        descent.step()
    return dict(model.named_parameters())


@pytest.mark.parametrize("name", LAYERS)
def test_what_is_trained_is_the_network_of_the_parts(name: str) -> None:
    made, whole = problem(DATA, ["y"], settings(model="mlp", hidden="6,6,6", activation="tanh", **BARE, **LAYERS[name]))
    model = train(made, whole).predictor.model
    rows = torch.from_numpy(made.split.train)
    arguments = {key: value for key, value in LAYERS[name].items() if key != "share"}
    if name == "all":
        arguments["shared"] = [(2, 3)]
    plain = MLP(4, 1, (6, 6, 6), "tanh", generator=torch.Generator().manual_seed(0), **arguments)
    start = plain.output.weight.detach().clone()
    expected = by_hand(plain, made.inputs[rows], made.encoded[rows].float())
    found = dict(model.named_parameters())
    assert list(found) == list(expected)
    for key, p in expected.items():
        torch.testing.assert_close(found[key], p, rtol=1e-4, atol=1e-5)
    assert not torch.equal(plain.output.weight, start)


def test_the_step_is_autograds_where_a_layer_has_no_hand_written_gradient() -> None:
    asked = {"model": "mlp", "hidden": "6,6"}
    for layers in ({}, LAYERS["residual"], LAYERS["highway"], LAYERS["skip"]):
        assert trained(DATA, ["y"], settings(**asked, epochs=1, **layers)).step == "BackpropStep", layers
    for name in ("batch", "unbiased", "layer", "weight", "low rank"):
        assert trained(DATA, ["y"], settings(**asked, epochs=1, **LAYERS[name])).step == "GradientStep", name
        with pytest.raises(ConfigError, match="backprop cannot train this model"):
            trained(DATA, ["y"], settings(**asked, step="backprop", **LAYERS[name]))


@pytest.mark.parametrize("name", LAYERS)
def test_a_resumed_run_ends_with_the_same_bits_and_keeps_its_layers(name: str, tmp_path: Path) -> None:
    source = write(tmp_path / "t.csv", DATA)
    more = {"model": "mlp", "hidden": "6,6,6", "dropout": 0.2, "schedule": "constant", "patience": 50, "epochs": 2}
    asked = settings(**more, **LAYERS[name])
    short = fit(str(source), settings=asked, out=str(tmp_path / "short"))
    longer = asked.with_changes({"epochs": 4}, where="test")
    other = {"normalisation": "layer" if name == "batch" else "batch"}
    with pytest.raises(ConfigError, match="normalisation: "):
        fit("", settings=longer.with_changes(other, where="test"), resume=str(short.folder))
    fit("", settings=longer, resume=str(short.folder))
    whole = fit(str(source), settings=longer, out=str(tmp_path / "whole"))
    files = [run.folder / "model" / "model.safetensors" for run in (short, whole)]
    assert files[0].read_bytes() == files[1].read_bytes()
    card = lamina.load(whole.folder).card
    for key, value in LAYERS[name].items():
        if key != "share":
            assert card.arguments[key] == value
    assert (
        tomllib.loads((whole.folder / "run.toml").read_text())["settings"].items()
        >= {key: ([value] if key == "share" else value) for key, value in LAYERS[name].items()}.items()
    )


FEATURES = "standardise+random:units=9:activation=tanh"


def test_features_are_resumed_to_the_same_bits(tmp_path: Path) -> None:
    source = write(tmp_path / "t.csv", DATA)
    asked = settings(model="linear", features=FEATURES, schedule="constant", patience=50, epochs=2)
    short = fit(str(source), settings=asked, out=str(tmp_path / "short"))
    longer = asked.with_changes({"epochs": 4}, where="test")
    with pytest.raises(ConfigError, match="features: "):
        fit("", settings=longer.with_changes({"features": "zca"}, where="test"), resume=str(short.folder))
    fit("", settings=longer, resume=str(short.folder))
    whole = fit(str(source), settings=longer, out=str(tmp_path / "whole"))
    files = [run.folder / "model" / "model.safetensors" for run in (short, whole)]
    assert files[0].read_bytes() == files[1].read_bytes()
    network = lamina.load(whole.folder).model
    x = torch.randn(5, 4)
    kept = {name: p.numpy() for name, p in network.state_dict().items()}
    z = (x.numpy() - kept["features.centre"]) * kept["features.factor"] + kept["features.offset"]
    h = np.tanh(z @ kept["features2.weight"].T + kept["features2.bias"])
    by_arrays = h @ kept["output.weight"].T + kept["output.bias"]
    np.testing.assert_allclose(network(x).detach().numpy(), by_arrays, rtol=1e-4, atol=1e-5)


EXACT = {
    "optimizer": "lbfgs",
    "likelihood": "gaussian:scale=1",
    "monitor": "loss",
    "epochs": 150,
    "patience": 1000,
    "batch_size": 1000,
}


def test_C42_a_linear_model_on_random_units_is_an_extreme_learning_machine() -> None:
    asked = settings(model="linear", features="random:units=8:activation=sigmoid:scale=2", **EXACT, seed=3)
    made, whole = problem(DATA, ["y"], asked)
    model = train(made, whole).predictor.model
    machine = lamina.nn.ExtremeLearningMachine(
        4, 1, 8, "sigmoid", 2.0, generator=torch.Generator().manual_seed(3)
    ).double()
    rows = torch.from_numpy(made.split.train)
    x, y = made.inputs.double(), made.encoded[rows].double()
    h = np.c_[machine.features(x).numpy(), np.ones(len(x))]
    weights = np.linalg.lstsq(h[rows], y.numpy(), rcond=None)[0]
    with torch.no_grad():
        found = model(made.inputs)[:, 0].numpy()
    np.testing.assert_allclose(found, h @ weights, atol=2e-3)


def test_C41_a_linear_model_on_powers_is_a_basis_expansion() -> None:
    data = {"x": DATA["x0"], "y": DATA["y"]}
    made, whole = problem(data, ["y"], settings(model="linear", features="polynomial:degree=2", **EXACT))
    model = train(made, whole).predictor.model
    rows = made.split.train
    x, y = made.inputs.double().numpy()[:, 0], made.encoded.double().numpy()
    with torch.no_grad():
        found = model(made.inputs)[:, 0].numpy()
    np.testing.assert_allclose(found, np.polyval(np.polyfit(x[rows], y[rows], 2), x), atol=2e-3)


def test_features_are_made_of_the_training_part_alone() -> None:
    made, whole = problem(DATA, ["y"], settings(model="linear", features="range:low=0:high=1"))
    model = train(made, whole).predictor.model
    shown = model.features(made.inputs[torch.from_numpy(made.split.train)])
    torch.testing.assert_close(shown.amin(0), torch.zeros(4), rtol=0, atol=1e-5)
    torch.testing.assert_close(shown.amax(0), torch.ones(4), rtol=0, atol=1e-5)
    every = model.features(made.inputs)
    assert every.min() < -1e-3 or every.max() > 1 + 1e-3


def test_the_command_line_says_the_same_as_the_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "t.csv", DATA)
    words = ["model=mlp", "hidden=6,6", "threads=1", "epochs=2", "second_pass=none", "importance=false"]
    mine = ["normalisation=layer", "connections=residual", "low_rank=2", "features=zca:epsilon=0.1+random:units=7"]
    sets = [text for word in words + mine for text in ("--set", word)]
    assert main(["fit", str(source), "--out", str(tmp_path / "run"), *sets]) == 0
    told = "".join(capsys.readouterr())
    assert "layer normalisation, residual connections, rank 2" in told and "features zca:epsilon=0.1+random" in told
    asked = settings(**dict(word.split("=", 1) for word in words + mine), batch_size="none")
    left = Predictor.load(tmp_path / "run").model.state_dict()
    right = trained(DATA, ["y"], asked).predictor.model.state_dict()
    assert list(left) == list(right) and all(torch.equal(left[name], right[name]) for name in left)
    assert {"features.weight", "features2.weight", "linear1.u", "residual2.branch.norm2.weight"} <= set(left)


def test_the_estimators_take_them_too(tmp_path: Path) -> None:
    x, y = np.c_[DATA["x0"], DATA["x1"]], DATA["y"]
    more = {"normalisation": "layer", "connections": "residual", "low_rank": 2, "features": "polynomial:degree=3"}
    quick = {"epochs": 2, "hidden": (8, 8), "random_state": 0, "threads": 1}
    model = lamina.NeuralRegressor(**quick, **more).fit(x, y)
    names = [name for name, _ in model.predictor_.model.named_children()]
    assert names[:3] == ["features", "linear1", "norm1"] and "residual2" in names
    again = lamina.NeuralRegressor.load(model.save(tmp_path / "model"))
    assert {key: again.get_params()[key] for key in more} == more
    assert np.array_equal(again.predict(x), model.predict(x))
    classes = lamina.NeuralClassifier(**quick, **more).fit(x, y > 0)
    assert [name for name, _ in classes.predictor_.model.named_children()] == names
    with pytest.raises(ConfigError, match="there are no features"):
        lamina.NeuralClassifier(**quick, features="zac").fit(x, y > 0)


MLP_ONLY = "is for an mlp, and the model is linear"
REFUSED = [
    ({"connections": "residual", "hidden": "6,7"}, "as many units, got 6, 7", "hidden=6,6"),
    ({"connections": "highway", "hidden": "6"}, "as many units, got 6", "hidden=6,6"),
    ({"low_rank": 6}, "narrows no hidden layer", "low_rank=1"),
    ({"low_rank": 2, "normalisation": "weight"}, "two factors", "normalisation=layer"),
    ({"low_rank": 2, "activation": "maxout"}, "affine maps of their own", "activation=relu"),
    ({"low_rank": 2, "initialisation": "xavier"}, "for whole matrices", "initialisation"),
    ({"low_rank": 2, "data_scale": True}, "for whole matrices", "data_scale"),
    ({"low_rank": 2, "pretrain": "autoencoder"}, "low_rank=2 makes others", "low_rank"),
    ({"connections": "highway", "initialisation": "xavier"}, "the gates of a highway", "initialisation"),
    ({"connections": "highway", "data_scale": True}, "the gates of a highway", "data_scale"),
    ({"connections": "residual", "pretrain": "discriminative"}, "connections=residual makes others", "connections"),
    ({"connections": "skip", "hidden_noise": 0.1}, "plain chains", "hidden_noise"),
    ({"connections": "residual", "multiplicative_noise": 0.1}, "plain chains", "multiplicative_noise"),
    ({"connections": "skip", "penalty": "information-flow:1"}, "follows a plain chain", "leave it out"),
    ({"normalisation": "batch", "pretrain": "rbm", "activation": "sigmoid"}, "with batch norm", "normalisation=none"),
    ({"normalisation": "weight", "pretrain": "autoencoder"}, "with weight norm", "normalisation=batch"),
    ({"normalisation": "weight", "penalty": "l2:0.1"}, "l2 would miss them", "leave it out"),
    ({"normalisation": "weight", "penalty": "l1:0.1"}, "l1 would miss them", "leave it out"),
    ({"normalisation": "weight", "proximal": 0.1}, "none would become zero", "normalisation=layer"),
    ({"normalisation": "weight", "norm_limit": 1, "norm_per": "column"}, "of a unit or a layer", "norm_per=unit"),
    ({"normalisation": "weight", "optimizer": "kfac"}, "whole matrices", "optimizer=adamw"),
    ({"share": "1+2"}, "cannot share", "as many inputs"),
    ({"model": "linear", "normalisation": "batch"}, f"normalisation {MLP_ONLY}", "model=mlp"),
    ({"model": "linear", "connections": "skip"}, f"connections {MLP_ONLY}", "model=mlp"),
    ({"model": "linear", "low_rank": 2}, f"low_rank {MLP_ONLY}", "model=mlp"),
    ({"model": "linear", "share": "1+2"}, f"share {MLP_ONLY}", "model=mlp"),
    ({"model": "linear", "input_dropout": 0.1}, f"input_dropout {MLP_ONLY}", "model=mlp"),
    ({"features": "global-contrast"}, "for pictures, and these are vectors", "zca"),
    ({"features": "pca:components=5"}, "no 5 components", "components=4"),
    ({"features": "zca+random:units=4", "penalty": "sparse:0.1"}, "count the random units", "layers=relu"),
    ({"augmentation": "shift=2"}, "no pictures to change", "input_noise"),
]


@pytest.mark.parametrize(("changes", "words", "mend"), REFUSED, ids=lambda value: str(value)[:60])
def test_pairs_that_do_not_go_together_are_refused_before_anything_is_trained(
    changes: dict, words: str, mend: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        problem(DATA, ["y"], settings(**{"model": "mlp", "hidden": "6,6", **changes}))
    assert mend in caught.value.mend and "\n" not in str(caught.value) and caught.value.where not in {"", "MLP"}


GO_TOGETHER = [
    {"normalisation": "batch", "pretrain": "autoencoder:epochs=1"},
    {"normalisation": "layer", "pretrain": "discriminative"},
    {"normalisation": "weight", "initialisation": "xavier", "data_scale": True},
    {"normalisation": "weight", "norm_limit": 0.3},
    {"normalisation": "layer", "dropout": 0.3, "dropout_inference": "monte-carlo", "dropout_passes": 3},
    {"connections": "residual", "share": "2+3", "penalty": "contractive:0.1,l2:0.01"},
    {"connections": "highway", "bag": 2},
    {"connections": "skip", "slower": 0.5, "freeze": "skips"},
    {"low_rank": 2, "optimizer": "kfac", "dropout": 0},
    {"features": "zca", "pretrain": "autoencoder:epochs=1"},
    {"features": "random:units=5", "penalty": "contractive:0.1"},
    {"features": "random:units=4", "penalty": "sparse:0.1:layers=relu*"},
    {"features": "pca:components=2", "input_noise": 0.1, "input_dropout": 0.1},
]


@pytest.mark.parametrize("changes", GO_TOGETHER, ids=lambda value: ",".join(f"{k}={v}" for k, v in value.items())[:70])
def test_pairs_that_go_together_train(changes: dict) -> None:
    done = trained(DATA, ["y"], settings(**{"model": "mlp", "hidden": "6,6,6", "epochs": 1, **changes}))
    assert all(torch.isfinite(p).all() for p in done.predictor.model.parameters())
    if "norm_limit" in changes:
        weight = done.predictor.model.linear1.weight
        assert (weight.norm(dim=1) <= 0.3 + 1e-5).all() and (weight.norm(dim=1) > 0.1).any()


def test_contraction_is_of_the_first_layer_that_learns_and_not_of_fixed_features() -> None:
    def first(**more: object) -> float:
        asked = settings(model="mlp", hidden="6", features="zca", **BARE | {"epochs": 20}, **more)
        return trained(DATA, ["y"], asked).predictor.model.linear1.weight.square().sum().item()

    assert first(penalty="contractive:20") < 0.7 * first()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    people(root / "people.csv", 80)
    shapes(root / "shapes", 16)
    return root


def pictures(place: Path, out: Path, **changes: object) -> Predictor:
    asked = QUICK.with_changes({"epochs": 2, "model": "mlp", "importance": "false", **changes}, where="test")
    return lamina.load(fit(str(place / "shapes"), settings=asked, out=str(out)).folder)


def test_pictures_pass_their_features_on_to_pretraining_and_are_judged_as_pictures(place: Path, tmp_path: Path) -> None:
    found = pictures(place, tmp_path / "a", features="global-contrast+zca:epsilon=0.1")
    assert isinstance(found.model[0], PixelScaling)
    bytes_ = torch.randint(0, 256, (3, 1, 12, 12), dtype=torch.uint8)
    state = {name: p.double() for name, p in found.model.state_dict().items()}
    x = bytes_.double() * state["pixels.scale"] + state["pixels.shift"]
    x = (x - x.mean((1, 2, 3), keepdim=True)) / x.flatten(1).std(1, correction=0).view(-1, 1, 1, 1)
    z = (x.flatten(1) - state["features2.mean"]) @ state["features2.weight"].T
    h = (z @ state["linear1.weight"].T + state["linear1.bias"]).relu()
    expected = h @ state["output.weight"].T + state["output.bias"]
    torch.testing.assert_close(found.model(bytes_).double(), expected, rtol=1e-4, atol=1e-4)
    for k, line in enumerate(("pca:components=5", "random:units=7", "zca")):  # filters are no pictures then
        pictures(place, tmp_path / f"p{k}", features=line, pretrain="autoencoder:epochs=1")


def test_R08_named_augmentation_changes_the_training_pictures_alone(place: Path, tmp_path: Path) -> None:
    plain = pictures(place, tmp_path / "a", augment="false")
    same = pictures(place, tmp_path / "b", augmentation="rotate=0")
    other = pictures(place, tmp_path / "c", augmentation="rotate=20:elastic=3:noise=0.1")
    linear = pictures(place, tmp_path / "d", model="linear", augmentation="shift=1")
    weights = [run.model.linear1.weight for run in (plain, same, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert torch.isfinite(linear.model.output.weight).all()
    for changes, words in (
        ({"augmentation": "rotat=3"}, 'did you mean "rotate"'),
        ({"augmentation": "rotate=200"}, "rotate must be"),
        ({"augmentation": "white=1"}, "no option"),
        ({"augmentation": "hue=3"}, "no hue"),
        ({"augmentation": "shift=1", "augment": "false"}, "augment=false"),
    ):
        with pytest.raises(ConfigError, match=words):
            pictures(place, tmp_path / "e", **changes)


def test_features_of_a_convolutional_network_are_refused(place: Path, tmp_path: Path) -> None:
    for changes, words in (
        ({"features": "zca"}, "resnet reads the inputs themselves"),
        ({"normalisation": "layer"}, "normalisation is for an mlp"),
    ):
        with pytest.raises(ConfigError, match=words):
            pictures(place, tmp_path / "f", model="resnet", **changes)


def test_R14_multiplicative_noise_is_put_behind_the_hidden_units_and_taken_off_again() -> None:
    asked = settings(model="mlp", hidden="6,6", **BARE)
    louder = asked.with_changes({"multiplicative_noise": 0.5}, where="test")
    plain, noisy = (trained(DATA, ["y"], changes).predictor.model for changes in (asked, louder))
    assert list(plain.state_dict()) == list(noisy.state_dict())
    assert not torch.equal(plain.linear1.weight, noisy.linear1.weight)
    chain = insert_noise(plain, multiplicative=0.5, hidden=0.1)
    names = [name for name, _ in chain.named_children()]
    assert names == ["linear1", "relu1", "noise1", "factor1", "linear2", "relu2", "noise2", "factor2", "output"]
    assert isinstance(chain.factor1, MultiplicativeNoise) and chain.factor1.std == 0.5
    with pytest.raises(ConfigError, match="std"):
        insert_noise(plain, multiplicative=-1.0)
