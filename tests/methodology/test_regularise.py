"""Settings against over-fitting reach the training, and what is kept is the plain network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lamina.data.batch import Batch
from lamina.data.spec import VectorSpec
from lamina.data.stream import InMemory
from lamina.data.tables.read import read_table
from lamina.data.tables.split import Split
from lamina.data.tables.targets import ClassTarget
from lamina.errors import ConfigError
from lamina.likelihoods import Categorical
from lamina.methodology.array_problem import fit_numbers, problem_of_arrays
from lamina.methodology.baseline import complete
from lamina.methodology.manifold import with_encoders
from lamina.methodology.regularise import WITHOUT_TARGETS, after_each_update, noisy, penalty_of, without_noise
from lamina.nn import MLP, Ensemble, GaussianNoise, WeightNoise
from lamina.penalties import Context, ManifoldTangentProp, ManifoldTangents, WeightedSum
from lamina.penalties.registry import PENALTIES
from lamina.runs.features import feature_layers
from lamina.runs.predictor import Predictor
from lamina.runs.settings import Settings
from lamina.workflows.fit import FitResult, fit
from workflows.made import QUICK, people, shapes


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    people(root / "people.csv", 120)
    shapes(root / "shapes", 20)
    return root


def fitted(place: Path, out: Path, source: str = "people.csv", **changes: object) -> FitResult:
    settings = QUICK.with_changes({"epochs": 3, "importance": "false", **changes}, where="test")
    return fit(str(place / source), settings=settings, out=str(out))


def weights(run: FitResult) -> torch.Tensor:
    model = Predictor.load(run.folder).model
    return torch.cat([p.flatten() for p in model.parameters()])


CHANGES = {
    "penalty": {"penalty": "l2:0.1,double-backprop:0.1"},
    "sparse": {"penalty": "sparse:0.1"},
    "virtual-adversarial": {"penalty": "virtual-adversarial:1"},
    "proximal": {"proximal": 10.0},
    "norm limit": {"norm_limit": 0.3},
    "input dropout": {"input_dropout": 0.2},
    "input noise": {"input_noise": 0.3},
    "hidden noise": {"hidden_noise": 0.3},
    "weight noise": {"weight_noise": 0.05},
    "initialisation": {"initialisation": "orthogonal"},
    "data scale": {"data_scale": True},
    "pretrain": {"pretrain": "discriminative"},
    "shared layers": {"hidden": "16,16,16", "share": "2+3"},
    "maxout": {"hidden": "16,16,16", "activation": "maxout", "pieces": 3},
    "information flow": {"hidden": "16,16,16", "penalty": "information-flow:1"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_each_setting_changes_what_is_learnt_and_the_run_loads(name: str, place: Path, tmp_path: Path) -> None:
    shape = {key: value for key, value in CHANGES[name].items() if key == "hidden"}
    plain, other = fitted(place, tmp_path / "a", **shape), fitted(place, tmp_path / "b", **CHANGES[name])
    left, right = weights(plain), weights(other)
    assert (left.shape == right.shape) == (name != "maxout")
    assert left.shape != right.shape or not torch.equal(left, right)
    assert torch.isfinite(right).all()
    if name == "proximal":
        assert (right == 0).sum() > 20 > (left == 0).sum()
    if name == "shared layers":
        linears = dict(Predictor.load(other.folder).model.named_children())
        assert torch.equal(linears["linear2"].weight, linears["linear3"].weight)
    if name == "norm limit":
        model = Predictor.load(other.folder).model
        for p in model.parameters():
            assert p.ndim < 2 or p.norm(dim=1).max() <= 0.3 + 1e-6


@pytest.mark.slow
def test_features_are_made_once_and_stay(place: Path, tmp_path: Path) -> None:
    line = "omp:atoms=12:k=2"
    a = fitted(place, tmp_path / "a", "shapes", model="mlp", features=line)
    b = fitted(place, tmp_path / "b", "shapes", model="mlp", features=line, epochs=4)
    first, second = (Predictor.load(run.folder).model for run in (a, b))
    atoms = first.get_submodule("features").dictionary
    assert atoms.shape[1] == 12 and torch.allclose(atoms.norm(dim=0), torch.ones(12), atol=1e-4)
    assert torch.equal(atoms, second.get_submodule("features").dictionary)
    grouped = fitted(place, tmp_path / "c", "shapes", model="mlp", features="k-means:centroids=5:size=4")
    assert Predictor.load(grouped.folder).model.get_submodule("features").centroids.std() > 0
    for line, text in (("omp:k=0", "at least 1"), ("fourier", "no features"), ("omp:size=3", "no option")):
        with pytest.raises(ConfigError, match=text):
            fitted(place, tmp_path / "d", "shapes", model="mlp", features=line)
    with pytest.raises(ConfigError, match="columns of categories"):
        feature_layers("omp", VectorSpec(3, (4,)))
    with pytest.raises(ConfigError, match="for pictures"):
        feature_layers("k-means", VectorSpec(3, ()))
    with pytest.raises(ConfigError, match="reads the inputs themselves"):
        fitted(place, tmp_path / "f", "shapes", features="omp")


@pytest.mark.slow
def test_hints_teach_and_are_then_forgotten(place: Path, tmp_path: Path) -> None:
    plain, hinted = fitted(place, tmp_path / "a", ignore="spend"), fitted(place, tmp_path / "b", hints="spend,visits")
    alone = fitted(place, tmp_path / "c", ignore="spend,visits")
    model = Predictor.load(hinted.folder)
    assert [target.name for target in model.targets] == ["churn"]
    assert list(model.model.state_dict()) == list(Predictor.load(plain.folder).model.state_dict())
    assert weights(hinted).shape == weights(alone).shape
    assert not torch.equal(weights(hinted), weights(alone))
    rows = (place / "people.csv").read_text().splitlines()
    cut = [",".join(row.split(",")[:4]) for row in rows[:5]]  # the answer needs no hint
    (tmp_path / "new.csv").write_text("\n".join(cut))
    assert len(model.predict(read_table(tmp_path / "new.csv"))[0].prediction) == 4


@pytest.mark.slow
def test_rows_without_a_target_teach_through_a_penalty(place: Path, tmp_path: Path) -> None:
    rows = (place / "people.csv").read_text().splitlines()
    bare = [row.rpartition(",")[0] + "," for row in rows[61:]]
    (tmp_path / "part.csv").write_text("\n".join([*rows[:61], *bare]))
    changes = {"penalty": "virtual-adversarial:1", "seed": 3}
    without = fitted(tmp_path, tmp_path / "a", "part.csv", drop_unlabelled=True, **changes)
    with_them = fitted(tmp_path, tmp_path / "b", "part.csv", learn_unlabelled=True, **changes)
    assert not torch.equal(weights(without), weights(with_them))
    facts = (with_them.folder / "report.json").read_text()
    assert "60 rows without a target learnt from" in facts
    with pytest.raises(ConfigError, match="teach nothing"):
        fitted(tmp_path, tmp_path / "c", "part.csv", learn_unlabelled=True, penalty="l2:0.1")


SOURCES = {
    "pictures": "shapes",
    "a named set of pictures": "digits",
    "a named table": "wine",
    "a full table": "people.csv",
}


@pytest.mark.parametrize("way", [{"penalty": "virtual-adversarial:1"}, {"pretrain": "autoencoder"}], ids=str)
@pytest.mark.parametrize("source", SOURCES)
def test_to_learn_without_targets_is_refused_where_every_example_has_one(
    place: Path, tmp_path: Path, source: str, way: dict
) -> None:
    name = SOURCES[source]
    where = str(place / name) if (place / name).exists() else name
    asked = QUICK.with_changes({"epochs": 1, "model": "mlp", "learn_unlabelled": True, **way}, where="test")
    with pytest.raises(ConfigError, match=r"(no row is|none is) without a target") as caught:
        fit(where, settings=asked, out=str(tmp_path / "run"))
    assert caught.value.where == "learn_unlabelled" and "leave it out" in caught.value.mend
    assert "\n" not in caught.value.what


def test_to_learn_without_targets_is_refused_for_arrays() -> None:
    x = np.random.default_rng(0).normal(size=(60, 3))
    preparation = fit_numbers(x, ["a", "b", "c"], np.arange(40), "standard")
    split = Split(np.arange(40), np.arange(40, 60), np.empty(0, np.int64))
    target = ClassTarget("y", ("no", "yes"))
    codes = torch.from_numpy((x[:, 0] > 0).astype(np.int64))
    made = problem_of_arrays(x.astype(np.float32), codes, (target,), split, preparation)
    asked = QUICK.with_changes({"learn_unlabelled": True, "penalty": "entropy:0.1"}, where="test")
    with pytest.raises(ConfigError, match="no row is without a target"):
        complete(asked, made)
    complete(asked.with_changes({"learn_unlabelled": False}, where="test"), made)
    complete(asked, replace(made, unlabelled=made.inputs[:5]))


def test_the_penalties_that_need_no_target_need_none() -> None:
    net, x = MLP(4, 3, (5,), "tanh"), torch.randn(6, 4)
    for name in set(PENALTIES) - {"tying", "per-layer", "tangent", "manifold-tangent"}:
        penalty = PENALTIES[name]()
        try:
            penalty(Context(net, x, net(x), None, Categorical(3), None))
        except ConfigError:
            assert name not in WITHOUT_TARGETS
    assert set(WITHOUT_TARGETS) < set(PENALTIES)


@pytest.mark.slow
def test_a_manifold_tangent_classifier_learns_its_encoder_first(place: Path, tmp_path: Path) -> None:
    lines = "manifold-tangent:0.1:rank=2:units=12:epochs=30:contraction=0.01"
    a, b = (fitted(place, tmp_path / name, penalty=lines) for name in "ab")
    assert torch.equal(weights(a), weights(b))
    assert not torch.equal(weights(a), weights(fitted(place, tmp_path / "c")))


def test_the_encoder_of_a_manifold_finds_its_directions() -> None:
    """Points near a plane in six dimensions: the two leading tangents lie in it."""
    generator = torch.Generator().manual_seed(0)
    plane = torch.linalg.qr(torch.randn(6, 2, generator=generator)).Q
    x = torch.randn(512, 2, generator=generator) @ plane.T + 0.01 * torch.randn(512, 6, generator=generator)
    model = MLP(6, 2, (8,), generator=generator)
    penalty = 0.5 * ManifoldTangentProp(rank=2, draws=0, units=20, epochs=200, contraction=0.1)
    ready = with_encoders(penalty, model, InMemory(Batch(x, torch.zeros(512)), 32), 0)
    assert isinstance(ready, WeightedSum)
    factor, learnt = ready.terms[0]
    assert factor == 0.5 and len(ready.terms) == 1
    assert isinstance(learnt, ManifoldTangentProp)
    assert learnt.encoder is not None
    tangents = ManifoldTangents(learnt.encoder, 2)(x[:50])
    assert ((tangents @ plane).square().sum(-1) > 0.99).all()
    with pytest.raises(ConfigError, match="no encoder"):
        ManifoldTangentProp()(Context(model, x, model(x)))


@pytest.mark.slow
def test_bagged_networks_answer_with_their_mean_probability(place: Path, tmp_path: Path) -> None:
    run = fitted(place, tmp_path / "bag", bag=3)
    predictor = Predictor.load(run.folder)
    assert isinstance(predictor.model, Ensemble)
    assert len(predictor.model.members) == 3
    inputs, _ = predictor.prepare(read_table(place / "people.csv"))
    with torch.no_grad():
        ways = torch.stack([torch.sigmoid(member(inputs).double()) for member in predictor.model.members])
        mean = torch.sigmoid(predictor.model(inputs).double())
    torch.testing.assert_close(mean, ways.mean(0), rtol=1e-5, atol=1e-6)
    assert (ways[0] - ways[1]).abs().max() > 1e-3


@pytest.mark.slow
def test_bagged_networks_of_three_classes_answer_with_their_mean_probability(tmp_path: Path) -> None:
    settings = QUICK.with_changes({"epochs": 3, "importance": "false", "bag": 2}, where="test")
    predictor = Predictor.load(fit("iris", settings=settings, out=str(tmp_path / "bag")).folder)
    assert isinstance(predictor.model, Ensemble)
    inputs = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ways = torch.stack([member(inputs).double().softmax(-1) for member in predictor.model.members])
        mean = predictor.model(inputs).double().softmax(-1)
    torch.testing.assert_close(mean, ways.mean(0), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_penalties_work_on_pictures_and_their_resnet(place: Path, tmp_path: Path) -> None:
    run = fitted(place, tmp_path / "p", "shapes", penalty="tangent:0.1,adversarial:0.5")
    assert torch.isfinite(weights(run)).all()


@pytest.mark.slow
def test_a_start_from_a_run_is_its_weights_and_frozen_layers_stay(place: Path, tmp_path: Path) -> None:
    first = fitted(place, tmp_path / "a")
    second = fitted(place, tmp_path / "b", start_from=str(first.folder), freeze="linear1", seed=1)
    before, after = (dict(Predictor.load(run.folder).model.named_parameters()) for run in (first, second))
    assert torch.equal(before["linear1.weight"], after["linear1.weight"])
    assert not torch.equal(before["output.weight"], after["output.weight"])
    with pytest.raises(ConfigError):
        fitted(place, tmp_path / "c", freeze="lineer1")


def test_noise_shares_the_layers_and_comes_off() -> None:
    model = MLP(4, 2, (5,))
    trained = noisy(model, Settings(input_noise=0.1, hidden_noise=0.2, weight_noise=0.3))
    assert isinstance(trained, WeightNoise)
    assert [type(m) for m in trained.modules()].count(GaussianNoise) == 2
    plain = without_noise(trained)
    assert list(plain.state_dict()) == list(model.state_dict())
    x = torch.randn(3, 4)
    assert torch.equal(plain.eval()(x), model.eval()(x))
    assert noisy(model, Settings()) is model
    assert without_noise(model) is model


def test_nothing_is_added_without_being_asked_for() -> None:
    assert penalty_of(Settings()) is None
    assert after_each_update(Settings()) == []
