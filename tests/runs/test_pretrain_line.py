"""The line of pre-training: what each method takes, what reaches its learner, and what is refused."""

from __future__ import annotations

import re

import pytest
import torch

from lamina.autoencoders.corruption import GaussianCorruption, Masking, SaltAndPepper
from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.energy.rbm_layer import RBMLayer
from lamina.errors import ConfigError
from lamina.likelihoods import Bernoulli, Gaussian
from lamina.nn import MLP
from lamina.runs.pretrain_line import PretrainChoice, read_pretrain
from lamina.runs.settings import Settings
from lamina.training.hidden_layers import hidden_layers


def test_what_is_not_said_has_the_usual_value() -> None:
    assert read_pretrain("rbm") == PretrainChoice("rbm", 10, None, "means", None, {})
    assert read_pretrain("discriminative") == PretrainChoice("discriminative", 1, None, "means", None, {})


def test_the_options_of_a_machine_reach_it() -> None:
    choice = read_pretrain("rbm:epochs=3:layers=2:passing=samples:rate=0.2:sweeps=4:momentum=0.5:weight_decay=0.001")
    assert (choice.epochs, choice.layers, choice.passing) == (3, 2, "samples")
    for inputs in ("bernoulli", "gaussian"):
        assert choice.learner(inputs) == RBMLayer(
            rate=0.2, sweeps=4, momentum=0.5, weight_decay=0.001, first_visible=inputs
        )


@pytest.mark.parametrize(
    ("noise", "kind"),
    [("masking", Masking(0.3)), ("salt-and-pepper", SaltAndPepper(0.3)), ("gaussian", GaussianCorruption(0.3))],
)
def test_the_noise_of_a_denoising_autoencoder_is_that_named(noise: str, kind: object) -> None:
    made = read_pretrain(f"denoising:corruption=0.3:noise={noise}:tied=false").learner("bernoulli")
    for layer in (made.first, made.others):
        assert layer.corruption == kind and layer.tied is False
    assert read_pretrain("denoising").learner("bernoulli").first.corruption == Masking(0.25)
    assert read_pretrain("autoencoder").learner("bernoulli").first.corruption is None


def test_only_the_first_layer_is_told_what_the_data_are() -> None:
    made = read_pretrain("autoencoder").learner("gaussian")
    assert (made.first.likelihood, made.others.likelihood) == ("gaussian", None)
    first, second = hidden_layers(MLP(7, 3, (6, 5), "sigmoid"), "test")[0]
    for layer, columns, kind in ((first, 7, Gaussian), (second, 6, Bernoulli)):
        step = made.step(layer, InMemory(Batch(torch.rand(20, columns)), 10, seed=0), torch.Generator())
        assert isinstance(step.model.likelihood, kind)


def test_each_optimizer_has_its_own_usual_rate() -> None:
    weights = [torch.nn.Parameter(torch.ones(2))]
    for line, kind, rate in (
        ("autoencoder", torch.optim.Adam, 1e-3),
        ("autoencoder:optimizer=sgd:momentum=0.9", torch.optim.SGD, 0.1),
        ("autoencoder:optimizer=sgd:rate=0.3", torch.optim.SGD, 0.3),
    ):
        made = read_pretrain(line).learner("gaussian").others
        optimizer = made.optimizer(weights, lr=made.rate)
        assert type(optimizer) is kind and optimizer.param_groups[0]["lr"] == rate
        assert optimizer.param_groups[0].get("momentum", 0.0) == (0.9 if "momentum" in line else 0.0)


@pytest.mark.parametrize(
    ("line", "words", "mend"),
    [
        ("rmb", 'there is no pre-training "rmb".*did you mean "rbm"', "methods: rbm, autoencoder"),
        ("3", 'there is no pre-training "3"', "discriminative:epochs=3"),
        ("rbm:corruption=0.2", '"corruption" is no option of rbm', "options: .*sweeps"),
        ("autoencoder:sweeps=2", '"sweeps" is no option of autoencoder', "options: .*tied"),
        ("discriminative:passing=samples", '"passing" is no option of discriminative', "train_lower"),
        ("rbm:first_visible=gaussian", '"first_visible" is no option of rbm', "inputs"),
        ("rbm:epochs=0", "epochs of rbm must be at least 1", "epochs=1"),
        ("rbm:epochs=1.5", "epochs of rbm must be a whole number", ""),
        ("autoencoder:layers=0", "layers of autoencoder must be at least 1", "layers=1"),
        ("denoising:corruption=1", "denoising: p must be at least 0 and below 1", "0.25"),
        ("denoising:noise=salt-and-pepper:inputs=gaussian", "salt-and-pepper puts 0 or 1", "noise=gaussian"),
        ("denoising:noise=pepper", "noise of denoising must be one of masking", "noise=masking"),
        ("autoencoder:momentum=0.9", "adam has its own momentum", "optimizer=sgd"),
        ("autoencoder:optimizer=sgd:momentum=1", "momentum must be at least 0 and below 1", "0.9"),
        ("autoencoder:rate=0", "rate must be above 0", ""),
        ("discriminative:rate=0", "rate of discriminative must be above 0", "0.001"),
        ("rbm:rate=-1", "rbm: rate.* at least 0", ""),
        ("rbm:passing=mean", "passing of rbm must be one of means, samples", "passing=means"),
    ],
)
def test_what_cannot_be_is_refused_by_name(line: str, words: str, mend: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        read_pretrain(line)
    assert caught.value.where == "pretrain"
    assert re.search(mend, caught.value.mend)


def test_as_a_setting_none_is_none_and_the_place_is_named() -> None:
    assert Settings().pretrain is None
    for value, left in ((None, None), ("none", None), (" rbm:epochs=2 ", "rbm:epochs=2")):
        assert Settings().with_changes({"pretrain": value}, where="--set").pretrain == left
    with pytest.raises(ConfigError, match=r"run.toml: there is no pre-training"):
        Settings().with_changes({"pretrain": 2}, where="run.toml")
