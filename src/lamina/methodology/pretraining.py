"""The hidden layers learn first: what a setting ``pretrain`` asks for, done, told, and kept beside the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lamina.data.spec import ImageSpec
from lamina.data.stream import Stream
from lamina.errors import ConfigError, DivergedError, Interrupted
from lamina.io import Generations
from lamina.likelihoods import Likelihood
from lamina.methodology.layer_views import EXAMPLES, TaughtLayer, views_of
from lamina.methodology.pretrained import PretrainedLayer, find, keep
from lamina.runs.models import ModelCard
from lamina.runs.pretrain_line import Inputs, PretrainChoice, read_pretrain
from lamina.runs.settings import Settings
from lamina.training.callback import Callback
from lamina.training.greedy import encoded, pretrain_greedy
from lamina.training.hidden_layers import HiddenLayer, hidden_layers
from lamina.training.layerwise import pretrain_layerwise
from lamina.training.objective import Supervised
from lamina.training.progress import Progress
from lamina.training.run import Run
from lamina.training.signals import StopOnSignal

_CHAINS = ("mlp", "convnet")  # models whose hidden layers are a chain
Show = Callable[[str, Run, float, float, float | None], None]


@dataclass(frozen=True)
class Watch:
    """Who is told, and where results are kept.

    Attributes:
        say: Receives a line when a choice was made and when a layer is done.
        show: Called as ``Progress`` does, with the layer in words before.
        signals: Ends the work; what was learnt until then is given up.
        folder: Where layers and weights are kept; None keeps nothing.
        resume: Take what lies in the folder, if it is whole, instead of doing it again.
        again: The command that goes on, for messages.
    """

    say: Callable[[str], None] = lambda text: None
    show: Show | None = None
    signals: StopOnSignal | None = None
    folder: Path | None = None
    resume: bool = False
    again: str = ""


def check_pretrain(settings: Settings, card: Callable[[], ModelCard]) -> None:
    """Refuse pre-training that the network cannot have.

    Args:
        settings: Without an open choice.
        card: Of the network.

    Raises:
        ConfigError: If there are no hidden layers in a chain, too few of them, or units that a method does not teach.
    """
    if settings.pretrain is None:
        return
    choice = read_pretrain(settings.pretrain)
    if settings.model not in _CHAINS:
        raise ConfigError(
            f"{choice.name} teaches hidden layers that follow one another, and model {settings.model} has none such",
            where="pretrain",
            mend=f"use model={'mlp' if choice.name == 'rbm' else 'mlp, model=convnet'}, or leave out pretrain",
        )
    if choice.name == "rbm" and settings.model == "convnet":
        raise ConfigError(
            "a machine teaches layers over vectors, and the first of a convnet are over maps",
            where="pretrain",
            mend="use pretrain=autoencoder, or model=mlp",
        )
    if settings.share:
        raise ConfigError(
            "layers that share their weights cannot be finished one by one",
            where="pretrain",
            mend="leave out share, or pretrain",
        )
    if settings.connections != "plain" or settings.low_rank is not None:
        name = "low_rank" if settings.connections == "plain" else "connections"
        raise ConfigError(
            f"{choice.name} teaches affine layers that follow one another, and {name}={getattr(settings, name)} "
            "makes others of them",
            where="pretrain",
            mend=f"leave out {name}, or pretrain",
        )
    if settings.normalisation != "none" and (choice.name == "rbm" or settings.normalisation == "weight"):
        raise ConfigError(
            f"{choice.name} does not teach layers with {settings.normalisation} normalisation",
            where="pretrain",
            mend="use normalisation=none"
            + (", or pretrain=autoencoder" if settings.normalisation != "weight" else ", or normalisation=batch"),
        )
    there = len(settings.hidden or ())
    if settings.model == "convnet":
        with torch.device("meta"):
            there += sum(isinstance(one, nn.Conv2d) for one in card().build().modules())
    if there < max(1, choice.layers or 1):
        raise ConfigError(
            f"{choice.layers or 1} layers are to be pre-trained, and there are {there} hidden ones",
            where="pretrain",
            mend="use hidden=500,500, for instance",
        )
    if choice.name == "rbm" and settings.activation != "sigmoid":
        raise ConfigError(
            f"a machine of binary units teaches sigmoid units, and activation is {settings.activation}",
            where="pretrain",
            mend="use activation=sigmoid, or pretrain=autoencoder",
        )
    if choice.passing == "samples" and settings.activation != "sigmoid":
        raise ConfigError(
            f"samples need units that are probabilities, and activation is {settings.activation}",
            where="pretrain",
            mend="use activation=sigmoid, or passing=means",
        )


def reads_unit_pixels(settings: Settings) -> bool:
    """Return whether the network is to take pixels from 0 to 1, not standardised: as the first layer's model does."""
    if settings.pretrain is None:
        return False
    choice = read_pretrain(settings.pretrain)
    return choice.greedy and choice.inputs != "gaussian"


def pretrain(
    model: nn.Module,
    settings: Settings,
    likelihood: Likelihood,
    data: Stream,
    *,
    every: Stream,
    spec: object,
    watch: Watch,
) -> tuple[PretrainedLayer, ...]:
    """Do the pre-training that settings ask for, in place, or take it from a folder where it was done before.

    The numbers drawn are those of generators of its own: a network that is trained afterwards draws the same whether
    this was done or read.

    Args:
        model: The network, on its device.
        settings: Without an open choice.
        likelihood: Reads its outputs.
        data: The training examples, for learning with targets.
        every: The inputs of all examples, for learning without.
        spec: What they look like.
        watch: Who is told, and where it is kept.

    Returns:
        What became of the layers; nothing where no pre-training is asked for.

    Raises:
        ConfigError: If the network is of a kind that the method cannot teach.
    """
    if settings.pretrain is None:
        return ()
    choice = read_pretrain(settings.pretrain)
    if not isinstance(model, nn.Sequential):
        raise ConfigError(
            "pre-training needs a chain of layers", where="pretrain", mend="use model=mlp, or leave out pretrain"
        )
    kept = None if watch.folder is None else Generations(watch.folder)
    if kept is not None and watch.resume:
        found = find(kept, model)
        if found is not None:
            watch.say("pre-training was finished before, and is taken from there")
            return found
    device = next(model.parameters()).device
    with torch.random.fork_rng([device.index or 0] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed + 1)
        seen = every if choice.greedy else data
        layers = _done(model, settings, likelihood, seen, choice=choice, spec=spec, watch=watch)
    if kept is not None:
        keep(kept, model, layers)
    return layers


def _done(
    model: nn.Sequential,
    settings: Settings,
    likelihood: Likelihood,
    data: Stream,
    *,
    choice: PretrainChoice,
    spec: object,
    watch: Watch,
) -> tuple[PretrainedLayer, ...]:
    chain = hidden_layers(model, "pretrain")[0][: choice.layers]
    inputs, reason = _inputs(model, chain[0], choice, data, spec)
    count = (
        f"{len(chain)} layer{'s' if len(chain) > 1 else ''}, {choice.epochs} epoch{'s' if choice.epochs > 1 else ''}"
    )
    watch.say(f"pre-training, {choice.name}: {count} each" + (f"; {reason}" if choice.greedy else ""))
    told = _Told(choice, len(chain), watch)
    generator = torch.Generator().manual_seed(settings.seed + 1)
    if choice.greedy:
        done = pretrain_greedy(
            model,
            data,
            choice.learner(inputs),
            epochs=choice.epochs,
            passing=choice.passing,
            layers=choice.layers,
            callbacks=told.callbacks,
            generator=generator,
        )
        taught = [TaughtLayer(one.layer, one.model) for one in done]
    else:
        options = dict(choice.options)
        pretrain_layerwise(
            model,
            data,
            Supervised(likelihood),
            epochs=choice.epochs,
            make_optimizer=partial(torch.optim.Adam, lr=options.pop("rate", 1e-3)),
            callbacks=told.callbacks,
            generator=generator,
            **options,
        )
        taught = [TaughtLayer(layer, None) for layer in chain]
    told.stop_if_asked()
    device = next(model.parameters()).device
    drawn = torch.Generator(device).manual_seed(settings.seed + 2)
    with _evaluating(model):
        views = views_of(taught, _some(data).to(device), spec, examples=settings.examples, generator=drawn)
    return tuple(
        PretrainedLayer(
            number=one.layer.number,
            of=len(taught),
            name=one.layer.name,
            units=len(one.layer.affine.weight),  # type: ignore[arg-type]
            method=choice.words,
            inputs="" if one.model is None else _kind(one.model),
            figure=_figure(choice),
            history=told.histories[one.layer.name],
            views=seen,
        )
        for one, seen in zip(taught, views, strict=True)
    )


def _inputs(
    model: nn.Sequential, first: HiddenLayer, choice: PretrainChoice, data: Stream, spec: object
) -> tuple[Inputs, str]:
    """Choose what the inputs of the first layer are.

    Returns:
        The choice, and why.
    """
    if choice.inputs is not None:
        return choice.inputs, f"inputs are {choice.inputs}, as asked for"
    if not choice.greedy:
        return "gaussian", ""
    with _evaluating(model):
        seen = encoded(first.before, data)
        within = all(bool(((b.inputs >= 0) & (b.inputs <= 1)).all()) for b in seen.batches(0))
    what = "pixels" if isinstance(spec, ImageSpec) else "inputs"
    if within:
        return "bernoulli", f"{what} lie from 0 to 1 and are taken for probabilities (inputs=gaussian is the other way)"
    return "gaussian", f"{what} do not all lie from 0 to 1 and are taken for standardised numbers (gaussian)"


def _several(n: int, what: str) -> str:
    return f"{n} {what}{'s' if n > 1 else ''}"


def _kind(model: nn.Module) -> str:
    unit = getattr(model, "visible", None) or getattr(model, "likelihood", None)
    return type(unit).__name__.lower()


def _figure(choice: PretrainChoice) -> str:
    if not choice.greedy:
        return "training loss of the network so far, nats"
    if choice.options.get("persistent"):
        return "free energy of the data above that of the chains, nats"
    return "reconstruction loss, nats an example"


def _some(data: Stream) -> Tensor:
    """Return the inputs of the first batches of an epoch, ``EXAMPLES`` at most."""
    parts: list[Tensor] = []
    for batch in data.batches(0):
        parts.append(batch.inputs)
        if sum(map(len, parts)) >= EXAMPLES:
            break
    return torch.cat(parts)[:EXAMPLES]


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    mode = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(mode)


class _Told:
    """What is told while layers learn, and what is kept of it."""

    def __init__(self, choice: PretrainChoice, count: int, watch: Watch) -> None:
        self.choice, self.count, self.watch = choice, count, watch
        self.histories: dict[str, list[dict[str, Any]]] = {}

    def callbacks(self, layer: HiddenLayer) -> Sequence[Callback]:
        self.stop_if_asked()
        found: list[Callback] = [_Layer(self, layer)]
        if self.watch.show is not None:
            found.append(Progress(partial(self.watch.show, f"{layer.name} ({layer.number} of {self.count})")))
        if self.watch.signals is not None:
            found.append(self.watch.signals)
        return found

    def stop_if_asked(self) -> None:
        """End the work if a signal has come.

        Raises:
            Interrupted: If so.
        """
        received = 0 if self.watch.signals is None else self.watch.signals.received
        if received:
            raise Interrupted(
                received,
                "stopped while layers were pre-trained, of which nothing is kept",
                where="pretrain",
                mend=f"begin again with: {self.watch.again}" if self.watch.again else "",
            )


class _Layer(Callback):
    """Refuses a loss that is no number, and tells how a layer went."""

    def __init__(self, told: _Told, layer: HiddenLayer) -> None:
        self.told, self.layer = told, layer

    def on_epoch(self, run: Run) -> None:
        loss = run.history.current["loss"]
        if loss is None or not abs(float(loss)) < float("inf"):
            name = self.told.choice.name
            raise DivergedError(
                f"the loss of {self.layer.name} is not a number in epoch {run.epoch} of its pre-training",
                where="pretrain",
                mend=f"lower the rate of {name}: it was {run.step.optimizer.param_groups[0]['lr']:.3g}",
            )

    def on_end(self, run: Run) -> None:
        records = run.history.records
        self.told.histories[self.layer.name] = records
        if run.error is None and records and not run.interrupted:
            first, last = records[0]["loss"], records[-1]["loss"]
            place = f"{self.layer.name} ({self.layer.number} of {self.told.count})"
            self.told.watch.say(f"{place}: {_figure(self.told.choice)}, {first:.4g} to {last:.4g}")
