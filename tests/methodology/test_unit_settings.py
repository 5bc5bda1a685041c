"""Hidden units with options as settings: trained, kept, read back, and refused where they cannot be."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import lamina
from lamina.cli.main import main
from lamina.errors import CheckpointError, ConfigError
from lamina.nn import ACTIVATIONS, POOLING_UNITS
from lamina.runs.models import ModelCard
from lamina.runs.settings import describe
from methodology.tables import line, problem, settings, trained, write

DATA = line(80)


def by_weights(state: dict[str, np.ndarray], x: np.ndarray, slope: np.ndarray | float) -> np.ndarray:
    z = x @ state["linear1.weight"].T + state["linear1.bias"]
    return (np.maximum(z, 0) + slope * np.minimum(z, 0)) @ state["output.weight"].T + state["output.bias"]


def state_of(model: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: p.double().numpy() for name, p in model.state_dict().items()}


def test_a_unit_is_named_on_the_command_line_kept_and_read_back(tmp_path: Path) -> None:
    source, run = write(tmp_path / "t.csv", DATA), tmp_path / "run"
    words = ["model=mlp", "hidden=6", "threads=1", "epochs=2", "second_pass=none", "activation=leaky_relu:slope=0.3"]
    sets = [text for word in words for text in ("--set", word)]
    assert main(["fit", str(source), "--out", str(run), *sets]) == 0
    found = lamina.load(run)
    assert found.card.arguments["activation"] == "leaky_relu:slope=0.3"
    assert 'activation = "leaky_relu:slope=0.3"' in (run / "run.toml").read_text()
    x = torch.randn(20, 1, generator=torch.Generator().manual_seed(0))
    expected = by_weights(state_of(found.model), x.double().numpy(), 0.3)
    np.testing.assert_allclose(found.model(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    assert main(["fit", str(source), "--set", "activation=relu:slope=0.3"]) == 2


def test_C12_a_trained_network_has_a_slope_for_each_unit() -> None:
    model = trained(DATA, ["y"], settings(model="mlp", hidden="6", activation="prelu", learning_rate=0.05)).predictor
    state = state_of(model.model)
    slopes = state["prelu1.weight"]
    assert slopes.shape == (6,) and len(set(slopes.tolist())) > 3 and not np.allclose(slopes, 0.25)
    x = torch.randn(20, 1, generator=torch.Generator().manual_seed(0))
    expected = by_weights(state, x.double().numpy(), slopes)
    np.testing.assert_allclose(model.model(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [*ACTIVATIONS, *POOLING_UNITS])
def test_every_unit_can_be_chosen_and_stands_in_the_list(name: str) -> None:
    (told,) = (text for key, _, _, text in describe() if key == "activation")
    assert re.search(rf"[ ,]{name}\b", told)
    done = trained(DATA, ["y"], settings(model="mlp", hidden="6", activation=name, epochs=1))
    assert done.predictor.card.arguments["activation"] == name


def test_the_estimators_take_options_and_keep_them(tmp_path: Path) -> None:
    x, y = DATA["x"][:, None], DATA["y"]
    quick = {"hidden": (6,), "epochs": 2, "random_state": 0, "threads": 1}
    model = lamina.NeuralRegressor(activation="elu:alpha=0.5", **quick).fit(x, y)
    assert model.predictor_.model.elu1.alpha == 0.5
    again = lamina.NeuralRegressor.load(model.save(tmp_path / "model"))
    assert again.activation == "elu:alpha=0.5" and np.array_equal(again.predict(x), model.predict(x))
    with pytest.raises(ConfigError, match="no option of elu"):
        lamina.NeuralClassifier(activation="elu:slope=0.5", **quick).fit(x, y > 0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"activation": "elu:alpha=-1"}, "alpha must be"),
        ({"activation": "tan"}, 'did you mean "tanh"'),
        ({"activation": "sigmoid:slope=2", "pretrain": "rbm"}, "teaches sigmoid units"),
        ({"activation": "leaky_relu:slope=0.2", "pieces": 3}, "leaky_relu units have one affine map each"),
        ({"activation": "p_norm:p=3", "low_rank": 2}, "affine maps of their own"),
        ({"activation": "tanh", "model": "linear"}, "activation is for an mlp, and the model is linear"),
    ],
)
def test_units_that_cannot_be_are_refused_before_training(changes: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        problem(DATA, ["y"], settings(**{"model": "mlp", "hidden": "6,6", **changes}))
    assert caught.value.mend and "\n" not in str(caught.value)


def test_a_card_with_an_option_that_is_none_is_no_network() -> None:
    made, whole = problem(DATA, ["y"], settings(model="mlp", hidden="6", activation="sigmoid:slope=2"))
    card = lamina.methodology.baseline.model_card(whole, made).to_json()
    assert ModelCard.from_json(card, where="x").build().sigmoid1.slope == 2.0
    card["arguments"]["activation"] = "sigmoid:slop=2"
    with pytest.raises(CheckpointError, match="no option"):
        ModelCard.from_json(card, where="x")
