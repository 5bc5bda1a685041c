"""What is made of the inputs in front of a network: each layer against its formula, chains, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import fft, ndimage, signal
from sklearn.decomposition import PCA
from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures, StandardScaler
from torch import Tensor, nn

from lamina.data.batch import Batch
from lamina.data.spec import ImageSpec, VectorSpec
from lamina.data.stream import InMemory
from lamina.errors import ConfigError
from lamina.nn import ExtremeLearningMachine
from lamina.runs.features import feature_layers, make_features
from lamina.runs.models import ModelCard


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


MIXED = torch.randn(6, 6, generator=seeded(3))
ROWS = torch.randn(90, 6, generator=seeded(1)) @ MIXED + 2.0
NEW = torch.randn(8, 6, generator=seeded(2)) @ MIXED
PICTURES = torch.randn(40, 2, 5, 5, generator=seeded(4)).cumsum(3) + 1.0


def fitted(line: str, rows: Tensor, seed: int = 5) -> nn.Sequential:
    spec = VectorSpec(rows.shape[1], ()) if rows.ndim == 2 else ImageSpec(*rows.shape[1:])
    layers, width = feature_layers(line, spec)
    model = nn.Sequential(layers)
    make_features(model, line, InMemory(Batch(rows), 16, seed=0), seed)
    assert model.eval()(rows).shape == (len(rows), width)
    return model


def said(line: str, rows: Tensor = ROWS, new: Tensor = NEW) -> np.ndarray:
    return fitted(line, rows)(new).numpy()


def near(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-4) -> None:
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_I13_standardise_is_scikit_learns() -> None:
    near(said("standardise"), StandardScaler().fit(ROWS.double()).transform(NEW.double()))


def test_I15_range_is_scikit_learns() -> None:
    theirs = MinMaxScaler((-0.5, 2.0)).fit(ROWS.double())
    near(said("range:low=-0.5:high=2"), theirs.transform(NEW.double()))
    constant = torch.cat([ROWS, torch.ones(90, 1)], dim=1)
    assert (said("range:low=1:high=3", constant, constant)[:, -1] == 2.0).all()  # no spread: the middle


def test_I14_pca_is_scikit_learns_up_to_signs() -> None:
    theirs = PCA(3, whiten=True).fit(ROWS.double().numpy()).transform(NEW.double().numpy())
    found = said("pca:components=3:epsilon=0")
    near(np.abs(found), np.abs(theirs), 1e-3)
    damped = said("pca:components=3:epsilon=0.5")
    variances = PCA(3).fit(ROWS.double().numpy()).explained_variance_
    near(damped, found * np.sqrt(variances / (variances + 0.5)), 1e-3)


def test_I14_pca_without_a_number_gives_zero_where_nothing_varies() -> None:
    flat = torch.cat([ROWS, ROWS[:, :2]], dim=1)  # rank 6 of 8
    z = fitted("pca:epsilon=0", flat)(flat).double()
    near(np.cov(z[:, :6].T.numpy()), np.eye(6), 1e-2)
    assert (z[:, 6:] == 0).all()


def test_I14_zca_is_the_inverse_root_of_the_covariance_in_the_inputs_shape() -> None:
    flat = PICTURES[:, :1, :2, :3].flatten(1).double().numpy()
    values, vectors = np.linalg.eigh(np.cov(flat.T))
    root = vectors @ np.diag(1 / np.sqrt(values + 0.2)) @ vectors.T
    small = PICTURES[:, :1, :2, :3].contiguous()
    layers, width = feature_layers("zca:epsilon=0.2", ImageSpec(1, 2, 3))
    assert width == 6 and list(layers) == ["features", "flatten"]
    near(said("zca:epsilon=0.2", small, small), (flat - flat.mean(0)) @ root, 1e-3)


def test_I17_global_contrast_by_the_formula() -> None:
    x = PICTURES.double().numpy()
    centred = x - x.mean((1, 2, 3), keepdims=True)
    deviation = np.sqrt(0.3 + (centred**2).mean((1, 2, 3), keepdims=True))
    near(said("global-contrast:s=2:lam=0.3", PICTURES, PICTURES), (2 * centred / deviation).reshape(40, -1))


def test_I18_local_contrast_by_scipys_windows() -> None:
    x = PICTURES[:4, :1].double().numpy()

    def windowed(a: np.ndarray) -> np.ndarray:
        inside = ndimage.uniform_filter(np.ones((5, 5)), 3, mode="constant")
        return np.stack([ndimage.uniform_filter(b[0], 3, mode="constant") / inside for b in a])[:, None]

    mean = windowed(x)
    deviation = np.sqrt(np.maximum(windowed(x**2) - mean**2, 0))
    expected = (x - mean) / np.maximum(deviation, 0.05)
    small = PICTURES[:, :1].contiguous()
    near(said("local-contrast:size=3:epsilon=0.05", small, small[:4]), expected.reshape(4, -1), 1e-3)


def test_I19_spectrogram_is_scipys() -> None:
    wave = torch.randn(5, 40, generator=seeded(6))
    _, _, power = signal.spectrogram(
        wave.double().numpy(), window="hann", nperseg=8, noverlap=4, detrend=False, scaling="spectrum", mode="psd"
    )
    window = signal.get_window("hann", 8)
    power[:, 1:-1] /= 2.0  # one-sided: scipy doubles the inner frequencies
    expected = np.log(np.maximum(power * window.sum() ** 2, 1e-10)).transpose(0, 2, 1).reshape(5, -1)
    near(said("spectrogram:frame=8:hop=4", wave, wave), expected, 1e-3)
    coefficients = said("spectrogram:frame=16:hop=8:rate=8000:bands=4:cepstra=3", wave, wave)
    mel = said("spectrogram:frame=16:hop=8:rate=8000:bands=4", wave, wave).reshape(len(wave), -1, 4)
    near(coefficients, fft.dct(mel, norm="ortho")[..., :3].reshape(len(wave), -1), 1e-3)


def test_C41_polynomial_is_the_powers_that_scikit_learn_has_without_products() -> None:
    every = PolynomialFeatures(3, include_bias=False).fit(NEW.double().numpy())
    alone = [k for k, powers in enumerate(every.powers_) if (powers > 0).sum() == 1]
    near(said("polynomial:degree=3"), every.transform(NEW.double().numpy())[:, alone])


def test_C42_random_units_are_those_of_an_extreme_learning_machine_and_stay() -> None:
    model = fitted("random:units=20:activation=sigmoid:scale=2", ROWS)
    machine = ExtremeLearningMachine(6, 1, 20, "sigmoid", 2.0, generator=seeded(5))
    assert torch.equal(model.features.weight, machine.hidden.weight)
    near(model(NEW).numpy(), 1 / (1 + np.exp(-(NEW @ machine.hidden.weight.T + machine.hidden.bias).numpy())))
    assert not list(model.parameters())
    other = fitted("random:units=20:activation=sigmoid:scale=2", ROWS, seed=6)
    assert not torch.equal(other.features.weight, model.features.weight)


def test_no_layer_draws_from_the_global_generator_while_it_is_built() -> None:
    before = torch.get_rng_state()
    feature_layers("random:units=7+random:units=3", VectorSpec(6, ()))
    assert torch.equal(before, torch.get_rng_state())


CHAIN = "global-contrast+zca:epsilon=0.1+random:units=9+polynomial:degree=2+standardise"


def test_a_chain_makes_each_stage_of_what_the_one_before_gives() -> None:
    model = fitted(CHAIN, PICTURES)
    assert list(dict(model.named_children())) == [
        *("features", "features2", "flatten", "features3", "features4", "features5")
    ]
    x = PICTURES
    for one, stage in zip(CHAIN.split("+"), range(5), strict=True):
        alone = fitted(one, x, seed=5 + stage)
        x = alone(x) if stage > 1 else alone.features(x)
    near(model(PICTURES).numpy(), x.numpy())
    assert abs(x.mean().item()) < 1e-3 and x.std(0, correction=0).sub(1).abs().max() < 1e-2
    twice = fitted("random:units=6+random:units=6", ROWS)
    assert not torch.equal(twice.features.weight, twice.features2.weight)


def test_a_number_with_a_plus_is_one_number() -> None:
    near(said("zca:epsilon=1e+3"), said("zca:epsilon=1000"))


def test_a_code_that_comes_last_is_standardised_and_other_features_are_not() -> None:
    assert list(feature_layers("omp:atoms=4", VectorSpec(6, ()))[0]) == ["features", "feature_norm"]
    assert list(feature_layers("omp:atoms=4+range", VectorSpec(6, ()))[0]) == ["features", "features2"]
    assert list(feature_layers("zca", VectorSpec(6, ()))[0]) == ["features"]


@pytest.mark.parametrize("name", ["linear", "mlp"])
@pytest.mark.parametrize(("line", "spec"), [(CHAIN, ImageSpec(2, 5, 5)), ("pca:components=2", VectorSpec(6, ()))])
def test_a_card_builds_the_same_layers_again(name: str, line: str, spec: VectorSpec | ImageSpec) -> None:
    arguments = {"features": line} | ({"hidden": (3,)} if name == "mlp" else {})
    card = ModelCard(name, spec, 2, arguments)
    again = ModelCard.from_json(card.to_json(), where="test")
    assert again == card
    shapes = [{key: tuple(p.shape) for key, p in c.build(seeded()).state_dict().items()} for c in (card, again)]
    assert shapes[0] == shapes[1] and any(key.startswith("features") for key in shapes[0])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("zac", 'did you mean "zca"'),
        ("", "there are no features"),
        ("zca+", "there are no features"),
        ("zca:epsilon=-1", "zca: epsilon must be at least 0"),
        ("zca:components=3", "no option of zca"),
        ("range:low=2:high=1", "low must be below high"),
        ("pca:components=0", "components must be at least 1"),
        ("pca:components=9", "an example of 6 numbers has no 9 components"),
        ("polynomial:degree=0", "degree must be at least 1"),
        ("random:units=0", "units must be at least 1"),
        ("random:activation=tahn", 'did you mean "tanh"'),
        ("random:activation=prelu", "prelu learns"),
        ("random:scale=-1", "scale"),
        ("global-contrast", "for pictures, and these are vectors"),
        ("local-contrast", "for pictures, and these are vectors"),
        ("k-means", "for pictures, and these are vectors"),
        ("local-contrast:size=4", "size must be odd"),
        ("local-contrast:sigma=0", "sigma"),
        ("global-contrast:s=0", "s must be a finite number above 0"),
        ("spectrogram", "a signal of 6 samples is shorter"),
        ("spectrogram:hop=0", "hop must be at least 1"),
    ],
)
def test_features_that_cannot_be_are_refused_in_a_line_with_a_mend(line: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        feature_layers(line, VectorSpec(6, ()))
    assert caught.value.mend and caught.value.where == "features" and "\n" not in str(caught.value)


def test_pictures_that_are_vectors_by_then_and_too_many_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="vectors come from the features before it"):
        feature_layers("pca+global-contrast", ImageSpec(1, 5, 5))
    with pytest.raises(ConfigError, match="at most 4,096 numbers are sphered together, and an example has 12,288"):
        feature_layers("zca", ImageSpec(3, 64, 64))
    with pytest.raises(ConfigError, match="columns of categories"):
        feature_layers("zca", VectorSpec(3, (4,)))


def test_more_components_than_the_examples_vary_in_are_refused() -> None:
    flat = torch.cat([ROWS, ROWS], dim=1)
    with pytest.raises(ConfigError, match="pca: components must be a whole number from 1 to 6") as caught:
        fitted("pca:components=7", flat)
    assert caught.value.where == "features"
