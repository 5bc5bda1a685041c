"""Starting weights by a line: what is drawn, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.errors import ConfigError
from lamina.initialisers import SCHEMES
from lamina.likelihoods import Gaussian
from lamina.methodology.start import SMALL_FOR_WIDE, start
from lamina.nn import MLP
from lamina.runs.initialisation_line import read_initialisation
from lamina.runs.settings import Settings, describe


def started(line: str, width: int = 400) -> tuple[MLP, list[str]]:
    model, said = MLP(width, 1, (300,), generator=torch.Generator().manual_seed(0)), []
    asked = Settings().with_changes({"initialisation": line, "seed": 5}, where="test")
    start(model, asked, Gaussian(), InMemory(Batch(torch.zeros(4, width)), 4), said.append)
    return model, said


@pytest.mark.parametrize("k", [3, 15, 40])
def test_I08_a_unit_has_as_many_weights_as_are_asked_for(k: int) -> None:
    weight = started(f"sparse:k={k}:std=2")[0].linear1.weight.detach()
    assert ((weight != 0).sum(1) == k).all()
    assert scipy.stats.kstest(weight[weight != 0].numpy(), scipy.stats.norm(0, 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("std", [0.01, 0.3])
def test_I01_small_weights_have_the_deviation_that_is_asked_for(std: float) -> None:
    weight = started(f"small:std={std}")[0].linear1.weight.detach().flatten().numpy()
    assert scipy.stats.kstest(weight[:20_000], scipy.stats.norm(0, std).cdf).pvalue > 1e-3
    assert np.std(weight) == pytest.approx(std, rel=0.02)


@pytest.mark.parametrize("name", SCHEMES)
def test_I01_every_scheme_takes_a_bias_and_draws_the_same_weights_with_it(name: str) -> None:
    plain, warm = (started(line)[0] for line in (name, f"{name}:bias=0.1"))
    for layer in ("linear1", "output"):
        assert torch.equal(getattr(plain, layer).weight, getattr(warm, layer).weight)
        assert (getattr(plain, layer).bias == 0).all() and (getattr(warm, layer).bias == 0.1).all()
    assert name in next(text for key, _, _, text in describe() if key == "initialisation")


@pytest.mark.parametrize("scheme", ["small", "sparse", "small:std=0.01", "sparse:k=15", "sparse:std=1"])
def test_defaults_are_the_schemes_own(scheme: str) -> None:
    assert torch.equal(started(scheme)[0].linear1.weight, started(scheme.partition(":")[0])[0].linear1.weight)


def test_I07_E39_a_scheme_that_is_too_small_says_so_and_no_other_does() -> None:
    for name in SCHEMES:
        assert started(name)[1] == ([SMALL_FOR_WIDE] if name == "uniform_2.4" else []), name
    assert started("uniform_2.4:bias=0.1")[1] == [SMALL_FOR_WIDE]
    weight = started("uniform_2.4", 1000)[0].linear1.weight.detach()
    assert weight.std().item() == pytest.approx(2.4 / (1000 * 3**0.5), rel=0.01)  # 23 times below 1/√1000
    assert "\n" not in SMALL_FOR_WIDE and "2.4 / (in √3)" in SMALL_FOR_WIDE


@pytest.mark.parametrize(
    ("line", "words", "mend"),
    [
        ("xaver", 'did you mean "xavier"', "xavier"),
        ("he:k=3", '"k" is no option of he', "options: bias"),
        ("sparse:n=3", '"n" is no option of sparse', "options: k, std, bias"),
        ("sparse:k=2.5", "must be a whole number", "k=1"),
        ("sparse:k=0", "k must be a whole number of at least 1", "15"),
        ("small:std=-1", "std must be a finite number above 0", "0.01"),
        ("small:std=wide", "must be a number", "std=1"),
        ("he:bias=inf", "must be a number", "bias=1"),
        ("bias=0.1", "unknown scheme", "choose one of"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(line: str, words: str, mend: str) -> None:
    for read in (read_initialisation, lambda text: Settings().with_changes({"initialisation": text}, where="--set")):
        with pytest.raises(ConfigError, match=words) as caught:
            read(line)
        assert mend in caught.value.mend and "\n" not in caught.value.what
        assert caught.value.where in {"initialisation", "--set"}
