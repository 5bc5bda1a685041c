"""Settings that do not go together, or not with the problem: refused before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields

import torch

from lamina.data.spec import ImageSpec
from lamina.data.tables.targets import ClassTarget
from lamina.errors import ConfigError
from lamina.likelihoods import Bernoulli, Categorical, Gaussian, GaussianMixture, Heads
from lamina.likelihoods.registry import likelihood_name
from lamina.methodology.neighbours import check_distance
from lamina.methodology.pretraining import check_pretrain
from lamina.methodology.problem import Problem, likelihood_of
from lamina.methodology.regularise import penalty_of
from lamina.nn.activations import Activation, read_activation
from lamina.optim.registry import read_optimizer
from lamina.runs.feature_stages import Random
from lamina.runs.features import read_features
from lamina.runs.lines import read_augmentation, read_factors
from lamina.runs.models import ModelCard
from lamina.runs.settings import Settings
from lamina.training.transfer import depth_factors, learning_rate_groups


def check_together(settings: Settings, problem: Problem, card: Callable[[], ModelCard]) -> None:
    """Refuse settings of which one would have no effect, or could not have its own.

    Args:
        settings: Without an open choice.
        problem: What is to be learnt.
        card: Gives the network's.

    Raises:
        ConfigError: If there are any.
    """
    _check_likelihood(settings, problem)
    _check_dropout(settings, problem)
    _check_pairs(settings, problem)
    _check_unlabelled(settings, problem)
    _check_label_noise(settings, problem)
    _check_curvature(settings)
    _check_vote(settings, problem)
    _check_optimizer(settings, problem)
    check_pretrain(settings, card)
    _check_layers(settings, card)
    _check_rates(settings, card)
    _check_augmentation(settings, problem)
    check_distance(settings.neighbours, problem)
    if settings.tie_to_start and settings.start_from is None:
        raise ConfigError("there is no start to be tied to", where="tie_to_start", mend="add --set start_from=RUN")


def _refusal(what: str, where: str, mend: str) -> ConfigError:
    return ConfigError(what, where=where, mend=mend)


def _changed(settings: Settings, name: str) -> bool:
    """Return whether a setting is not its default."""
    (default,) = (entry.default for entry in fields(Settings) if entry.name == name)
    return bool(getattr(settings, name) != default)


def _check_layers(settings: Settings, card: Callable[[], ModelCard]) -> None:
    if settings.features is not None and settings.model not in {"mlp", "linear"}:
        raise _refusal(f"{settings.model} reads the inputs themselves", "features", "use model=mlp or model=linear")
    for name in OF_AN_MLP if settings.model != "mlp" else ():
        if _changed(settings, name) and not (name == "activation" and settings.model == "convnet"):
            raise _refusal(f"{name} is for an mlp, and the model is {settings.model}", name, "use model=mlp")
    for name, what, mend in _without_effect(settings):
        raise _refusal(what, name, mend)
    try:
        with torch.device("meta"):
            card().build()
    except ConfigError as error:
        where = f"model={settings.model}" if error.where == "MLP" else error.where
        raise ConfigError(error.what, where=where, mend=error.mend) from None


def _without_effect(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Find settings that would have no effect, or another than their own, on layers of these kinds.

    Yields:
        The setting, what is wrong, and the mend.
    """
    joined, whole = settings.connections, settings.low_rank is None and settings.connections != "highway"
    penalties = {line.partition(":")[0].strip() for line in settings.penalty}
    if joined != "plain":
        for name in ("hidden_noise", "multiplicative_noise"):
            if getattr(settings, name):
                yield name, f"it is put into plain chains, and connections are {joined}", f"leave out {name}"
    stages = [] if settings.features is None else read_features(settings.features)
    unnamed = any(line.partition(":")[0] == "sparse" and "layers=" not in line for line in settings.penalty)
    if unnamed and any(one.name == "random" for one in stages):
        yield "penalty", "sparse would also count the random units, which stay", "name the others: layers=relu*"
    if joined == "skip" and "information-flow" in penalties:
        yield "penalty", "information-flow follows a plain chain, and connections are skip", "leave it out"
    if not whole and (settings.initialisation is not None or settings.data_scale):
        name = "data_scale" if settings.initialisation is None else "initialisation"
        what = "it is for whole matrices: not for low-rank factors, nor for the gates of a highway"
        yield name, what, f"leave out {name}"
    if settings.normalisation != "weight":
        return
    learnt = "under weight normalisation a length and a direction are learnt, not the weights themselves"
    if penalties & set(ON_WEIGHTS):
        yield "penalty", f"{learnt}: {', '.join(sorted(penalties & set(ON_WEIGHTS)))} would miss them", "leave it out"
    if settings.proximal:
        yield "proximal", f"{learnt}: none would become zero", "leave out proximal, or use normalisation=layer"
    if settings.norm_limit is not None and settings.norm_per in {"whole", "column"}:
        yield "norm_per", f"{learnt}: only the norm of a unit or a layer is known", "use norm_per=unit"
    if read_optimizer(settings.optimizer).name == "kfac":
        yield "optimizer", f"{learnt}: kfac knows the curvature of whole matrices", "use optimizer=adamw"


def _check_augmentation(settings: Settings, problem: Problem) -> None:
    if settings.augmentation is None:
        return
    if not isinstance(problem.spec, ImageSpec):
        raise _refusal("these are no pictures to change", "augmentation", "leave out augmentation, or use input_noise")
    if not settings.augment:
        raise _refusal("nothing is changed with augment=false", "augmentation", "leave out one of the two")
    change = read_augmentation(settings.augmentation)
    if problem.spec.channels != 3 and (change.hue or change.saturation):
        raise _refusal("grey pictures have no hue and no saturation", "augmentation", "leave these two out")


OF_AN_MLP = ("activation", "normalisation", "connections", "low_rank", "share", "pieces", "input_dropout")
"""Settings that only an mlp has."""

AFFINE_FEATURES = ("pca", "range", "standardise", "zca")
"""Features that bend nowhere."""

ON_WEIGHTS = ("elastic-net", "l1", "l2", "per-layer", "tying", "weight-elimination")
"""Penalties of the weights as they are stored."""


def _check_likelihood(settings: Settings, problem: Problem) -> None:
    likelihood = likelihood_of(settings, problem.targets)
    heads = likelihood.likelihoods if isinstance(likelihood, Heads) else (likelihood,)
    if _changed(settings, "beta") and not any(isinstance(head, Gaussian) and head.scale is None for head in heads):
        used = settings.likelihood or ", ".join(sorted({likelihood_name(head) for head in heads}))
        raise _refusal(
            f"beta is for a Gaussian whose spread is learnt, and likelihood is {used}", "beta", "leave out beta"
        )
    if settings.likelihood is None:
        return
    if settings.bag > 1 and any(isinstance(head, GaussianMixture) for head in heads):
        raise _refusal(
            "components of different networks do not correspond, so their outputs cannot be averaged",
            "bag",
            "leave out bag, or use another likelihood",
        )
    if problem.hints and len(problem.targets) > 1 and not isinstance(likelihood, Heads):
        raise _refusal(
            f"{settings.likelihood} reads the targets together, and hints need a head for each",
            "hints",
            "leave out hints, or use another likelihood",
        )


def _check_optimizer(settings: Settings, problem: Problem) -> None:
    line = read_optimizer(settings.optimizer)
    if settings.weight_decay and not line.choice.takes("weight_decay"):
        raise _refusal(
            f"{line.name} has no weight decay", "weight_decay", f"use --set penalty=l2:{settings.weight_decay:g}"
        )
    if _changed(settings, "momentum") and not line.choice.takes("momentum"):
        raise _refusal(f"{line.name} has no momentum", "momentum", "leave it out, or use optimizer=sgd")
    if line.choice.curvature and (settings.pairs != "none" or problem.unlabelled is not None):
        raise _refusal(
            f"{line.name} takes its curvature from the likelihood, and rows without a target have none",
            "optimizer",
            "use optimizer=lbfgs or adamw",
        )
    if line.choice.least_squares and (settings.penalty or not _fits_least_squares(settings, problem)):
        raise _refusal(
            f"{line.name} fits least squares: a Gaussian of fixed spread, without penalty",
            "optimizer",
            "add --set likelihood=gaussian:scale=0.5 for numbers, or use optimizer=levenberg-marquardt",
        )
    if line.choice.finds_rate and settings.slower and settings.learning_rate is None:
        raise _refusal(f"{line.name} finds its rate by itself", "slower", "add --set learning_rate=0.01")


def _fits_least_squares(settings: Settings, problem: Problem) -> bool:
    likelihood = likelihood_of(settings, problem.targets)
    return isinstance(likelihood, Gaussian) and likelihood.scale is not None


def _check_dropout(settings: Settings, problem: Problem) -> None:
    way = settings.dropout_inference
    if way == "weight-scaling":
        if _changed(settings, "dropout_passes"):
            raise _refusal("scaled weights take one pass", "dropout_passes", "add --set dropout_inference=monte-carlo")
        return
    drops = {
        "mlp": settings.dropout or settings.input_dropout,
        "resnet": settings.dropout,
        "convnet": settings.dropout and settings.hidden,
    }
    if not drops.get(settings.model or ""):
        raise _refusal(
            f"{way} averages the sub-networks of dropout, and the model has none",
            "dropout_inference",
            "use --model mlp --set dropout=0.3",
        )
    if way == "geometric":
        likelihood = likelihood_of(settings, problem.targets)
        if not isinstance(likelihood, Categorical | Bernoulli):
            raise _refusal(
                "a geometric mean is one of class probabilities, of one target",
                "dropout_inference",
                "use dropout_inference=monte-carlo",
            )
        if settings.bag > 1:
            raise _refusal(
                "a geometric mean is one over the sub-networks of one network, and bag asks for several",
                "dropout_inference",
                "use dropout_inference=monte-carlo, or leave out bag",
            )


def _check_pairs(settings: Settings, problem: Problem) -> None:
    if settings.pairs == "none":
        return
    if not settings.learn_unlabelled:
        raise _refusal(
            "pairs are drawn from rows without a target, which are not learnt from",
            "pairs",
            "add --set learn_unlabelled=true",
        )
    if problem.unlabelled is None or len(problem.unlabelled) < 3:
        n = 0 if problem.unlabelled is None else len(problem.unlabelled)
        raise _refusal(
            f"pairs are drawn from rows without a target, of which there are {n}",
            "pairs",
            "add --set labels=100, give a table with some empty targets, or leave out pairs",
        )
    if settings.augment and isinstance(problem.spec, ImageSpec):
        raise _refusal(
            "pairs are of pictures as they are, which are not changed while training", "pairs", "leave out augment"
        )
    for name, on in (("accumulate", settings.accumulate > 1), ("step=backprop", settings.step == "backprop")):
        if on:
            raise _refusal(
                f"pairs are learnt from whole batches by autograd, so not with {name}", "pairs", f"leave out {name}"
            )


def _check_unlabelled(settings: Settings, problem: Problem) -> None:
    if settings.labels is not None and settings.second_pass in {"retrain", "continue"}:
        raise _refusal(
            f"the second pass would learn the targets of the validation part too, and labels={settings.labels}",
            "second_pass",
            "leave out one of the two",
        )
    if settings.learn_unlabelled:
        penalty_of(settings)  # refuses where nothing learns without a target
    if not settings.learn_unlabelled or problem.unlabelled is not None:
        return
    if problem.pictures:
        raise _refusal(
            "every picture comes with its class: none is without a target",
            "learn_unlabelled",
            "add --set labels=100, put pictures into a folder unlabelled/, or leave it out",
        )
    raise _refusal(
        "no row is without a target, so there is nothing more to learn from",
        "learn_unlabelled",
        "add --set labels=100, give a table with some empty targets, or leave it out",
    )


def _check_label_noise(settings: Settings, problem: Problem) -> None:
    if not settings.label_noise:
        return
    if len(problem.targets) > 1 or problem.hints:
        what = "hints" if problem.hints else "several targets"
        raise _refusal(f"labels are changed where one class is learnt, not {what}", "label_noise", "leave it out")
    if not isinstance(problem.targets[0], ClassTarget):
        raise _refusal(
            f"{problem.targets[0].name} is no class, and only class labels can be others",
            "label_noise",
            "leave it out, or use input_noise",
        )


def _check_curvature(settings: Settings) -> None:
    # A penalty of second derivatives that would be 0 whatever the weights are.
    lines = [line.split(":") for line in settings.penalty if line.partition(":")[0].strip() == "curvature"]
    if not lines:
        return
    named = settings.model in {"mlp", "convnet"}
    unit = read_activation(settings.activation, where="activation") if named else None
    if not _bends(settings, unit):
        names = {"linear": "a linear model", "resnet": "a resnet, whose units are rectified linear ones,"}
        what = names.get(
            settings.model or "", f"a network of {unit.name} units" if unit and settings.hidden else "an affine map"
        )
        raise _refusal(
            f"curvature would be 0: {what} bends nowhere but at kinks",
            "penalty",
            "use model=mlp with activation=silu or tanh, or leave out curvature",
        )
    over_batch = settings.normalisation in {"batch", "batch-unbiased"}
    if over_batch and any("draws=0" in map(str.strip, parts) for parts in lines):
        raise _refusal(
            "curvature would be 0: draws=0 moves all examples of a batch alike, which batch normalisation undoes",
            "penalty",
            "use curvature without draws=0, or normalisation=layer",
        )


def _bends(settings: Settings, unit: Activation | None) -> bool:
    """Return whether a network's second derivatives are other than 0 somewhere; ``unit`` is its hidden one."""
    stages = [] if settings.features is None else read_features(settings.features)
    for one in stages:
        if isinstance(one.stage, Random):
            if read_activation(one.stage.activation, where="features").bends:
                return True
        elif one.name not in AFFINE_FEATURES:
            return True
    if unit is None or (settings.model == "mlp" and not settings.hidden):
        return False
    return unit.bends or settings.normalisation == "layer" or settings.connections == "highway"


def _check_vote(settings: Settings, problem: Problem) -> None:
    if settings.combine != "vote":
        return
    if settings.bag == 1:
        raise _refusal("one network alone has nobody to vote with", "combine", "add --set bag=5")
    if len(problem.targets) > 1 or not isinstance(problem.targets[0], ClassTarget):
        what = "several targets" if len(problem.targets) > 1 else "numbers"
        raise _refusal(f"votes are for one target of classes, not for {what}", "combine", "use combine=average")


def _check_rates(settings: Settings, card: Callable[[], ModelCard]) -> None:
    factors = read_factors(settings.slower)
    if factors is None:
        return
    for name, on in (("step=backprop", settings.step == "backprop"), ("capture", settings.capture)):
        if on:
            raise _refusal(f"layers have one learning rate with {name}", "slower", f"leave out {name}")
    with torch.device("meta"):
        model = card().build()
    by_name = factors if isinstance(factors, dict) else depth_factors(model, factors)
    learning_rate_groups(model, 1.0, by_name)  # refuses a name that no layer has
