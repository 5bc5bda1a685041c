"""The penalty of second derivatives as a setting: refused exactly where it is 0 whatever the weights are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lamina.data.stream import InMemory
from lamina.errors import ConfigError
from lamina.likelihoods import Gaussian
from lamina.methodology.baseline import model_card
from lamina.methodology.start import start
from lamina.nn import ACTIVATIONS, POOLING_UNITS
from lamina.penalties import Context
from lamina.penalties.registry import penalty_from
from methodology.tables import problem, settings

X = np.random.default_rng(0).normal(size=(120, 3))
DATA = {**{f"x{k}": X[:, k] for k in range(3)}, "y": X[:, 0] - X[:, 1] ** 2}
CASES = [
    *({"activation": name} for name in [*ACTIVATIONS, *POOLING_UNITS, "leaky_relu:slope=0.3", "sigmoid:slope=2"]),
    {"activation": "p_norm:p=1"},
    {"normalisation": "layer"},
    {"normalisation": "weight"},
    {"connections": "highway"},
    {"connections": "skip"},
    {"connections": "residual"},
    {"features": "zca"},
    {"features": "pca:components=2+standardise", "activation": "relu"},
    {"features": "polynomial:degree=2"},
    {"features": "random:units=9"},
    {"features": "random:units=9:activation=relu"},
    {"hidden": ()},
    {"hidden": (), "activation": "tanh"},
    {"model": "linear", "hidden": None},
    {"model": "linear", "hidden": None, "features": "polynomial:degree=2"},
    {"activation": "tanh", "normalisation": "batch"},
    {"activation": "tanh", "normalisation": "batch", "penalty": "curvature:0.1:draws=0"},
]


def value(changes: dict) -> float:
    """The penalty of such a network, on its way of training, as the step would compute it."""
    line = changes.get("penalty", "curvature:0.1")
    asked = settings(**{"model": "mlp", "hidden": "6,6", "dropout": 0.0, **changes, "penalty": ()})
    made, whole = problem(DATA, ["y"], asked)
    model = model_card(whole, made).build(torch.Generator().manual_seed(0)).double()
    batch = made.examples._replace(inputs=made.inputs.double())
    start(model, whole, Gaussian(), InMemory(batch, 40), lambda text: None)
    model = model.double().train()
    outputs = model(batch.inputs)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return penalty_from([line])(Context(model, batch.inputs, outputs, None, Gaussian(), None)).item()


@pytest.mark.parametrize("changes", CASES, ids=lambda value: ",".join(f"{k}={v}" for k, v in value.items()))
def test_R04_curvature_is_refused_where_it_is_zero_and_nowhere_else(changes: dict) -> None:
    asked = settings(**{"model": "mlp", "hidden": "6,6", "penalty": "curvature:0.1", **changes})
    if value(changes) > 1e-9:
        problem(DATA, ["y"], asked)
        return
    with pytest.raises(ConfigError, match="curvature would be 0: ") as caught:
        problem(DATA, ["y"], asked)
    assert caught.value.where == "penalty" and "\n" not in str(caught.value)
    assert "activation=silu" in caught.value.mend or "normalisation=layer" in caught.value.mend


def test_the_mend_is_one() -> None:
    for activation in ("silu", "tanh"):
        assert value({"activation": activation}) > 1e-6
        problem(DATA, ["y"], settings(model="mlp", hidden="6", activation=activation, penalty="curvature:0.1"))
