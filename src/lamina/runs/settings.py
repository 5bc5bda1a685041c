"""Settings of a training run: one frozen record, checked, the same words on the command line, in TOML and in Python."""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from lamina.errors import ConfigError, nearest, shown
from lamina.runs.setting_values import check_range, default_words, read_value, type_words


def _setting(default: Any, help: str, low: float = -math.inf, high: float = math.inf, *, safe: bool = False) -> Any:
    """A field with its description, its allowed range, and whether a resumed run may change it.

    Returns:
        The dataclass field.
    """
    return field(default=default, metadata={"help": help, "low": low, "high": high, "safe": safe})


@dataclass(frozen=True)
class Settings:
    """All that decides a run besides the data; None means: chosen from the data, and said."""

    # what is learnt
    model: str | None = _setting(
        None, "mlp, linear, and for pictures resnet, convnet; chosen by the structure of the data"
    )
    task: Literal["classes", "number", "count"] | None = _setting(None, "what the target is; chosen from its values")
    hidden: tuple[int, ...] | None = _setting(None, "units of each hidden layer, for instance 256,256", 1, 65_536)
    activation: str = _setting(
        "relu",
        "hidden non-linearity, NAME[:OPTION=VALUE...]: relu, tanh, sigmoid:slope=1, elu:alpha=1, gelu, silu, "
        "leaky_relu:slope=0.1, prelu, absolute, noisy_relu:std=1, softplus, hard_tanh, scaled_tanh, step, identity, "
        "maxout, p_norm:p=3, soft_maxout",
    )
    pieces: int | None = _setting(None, "affine maps of a maxout, p_norm or soft_maxout unit, 2 unless given", 1, 1024)
    features: str | None = _setting(
        None,
        "what is made of the inputs once, in front of an mlp or a linear model, NAME[:OPTION=VALUE...], several joined "
        "by +: zca:epsilon=0.1, pca:components=50, range:low=-1:high=1, standardise, polynomial:degree=2, "
        "random:units=500, global-contrast+local-contrast:size=9, omp:atoms=128:k=1, k-means:centroids=200:size=6",
    )
    normalisation: Literal["none", "batch", "batch-unbiased", "layer", "weight"] = _setting(
        "none", "what brings the sums of the hidden units of an mlp to one scale"
    )
    connections: Literal["plain", "residual", "highway", "skip"] = _setting(
        "plain",
        "how the hidden layers of an mlp are joined; residual and highway need as many units in each, skip leads the "
        "inputs into every layer",
    )
    low_rank: int | None = _setting(
        None, "width of a linear bottleneck within the weights of the hidden layers of an mlp", 1, 65_536
    )
    share: tuple[str, ...] = _setting((), "hidden layers that are one and the same, by number, for instance 2+3")
    dropout: float | None = _setting(None, "share of hidden units left out while training", 0.0, 0.95)
    dropout_inference: Literal["weight-scaling", "monte-carlo", "geometric"] = _setting(
        "weight-scaling", "how a network trained with dropout answers: scaled weights, or sub-networks averaged"
    )
    dropout_passes: int = _setting(100, "sub-networks that are averaged, monte-carlo and geometric", 1, 100_000)
    width: int | None = _setting(None, "channels of the first stage of a convolutional network", 1, 1024)
    likelihood: str | None = _setting(
        None, "what the outputs mean, NAME[:OPTION=VALUE...], for instance student-t:freedom=3; chosen by the target"
    )
    smoothing: float | None = _setting(None, "label smoothing: probability moved to the other classes", 0.0, 0.9)
    label_noise: float = _setting(
        0.0, "probability that a class label is another one while training, drawn anew in each epoch", 0.0, 1.0
    )
    beta: float = _setting(
        0.5, "how far the learnt spread of a number is kept out of learning its mean, 0 to 1", 0.0, 1.0
    )

    # how it is trained
    seed: int = _setting(0, "decides split, weights, order and noise", 0, 2**63 - 1)
    epochs: int | None = _setting(None, "most passes over the training part", 1, 10_000_000, safe=True)
    minutes: float | None = _setting(None, "stop training after this long", 1e-9, safe=True)
    batch_size: int | None = _setting(None, "examples a step", 1, 10_000_000)
    learning_rate: float | None = _setting(None, "largest learning rate", 1e-12, 1e12)
    weight_decay: float | None = _setting(None, "decoupled weight decay (AdamW)", 0.0, 1e6)
    optimizer: str = _setting(
        "adamw",
        "NAME[:OPTION=VALUE...]: adam, sgd, nesterov, lbfgs:memory=20, hessian-free, kfac ... (docs/optimisers.md)",
    )
    momentum: float = _setting(0.9, "of sgd, nesterov, rmsprop and the like", 0.0, 1.0)
    schedule: (
        Literal[
            "constant",
            "cosine",
            "linear",
            "one-cycle",
            "plateau",
            "step",
            "exponential",
            "inverse-time",
            "cosine-restarts",
            "warm-cosine",
            "warm-linear",
        ]
        | None
    ) = _setting(None, "course of the learning rate")
    patience: int | None = _setting(
        None, "epochs without progress on validation before stopping", 1, 10_000_000, safe=True
    )
    monitor: str | None = _setting(None, "the recorded figure that early stopping watches")
    second_pass: Literal["none", "retrain", "continue"] | None = _setting(
        None, "after early stopping: train anew for as many steps on all but the test part, or continue on it"
    )
    clip_norm: float | None = _setting(None, "rescale the gradient to at most this norm", 1e-12, 1e12)
    clip_value: float | None = _setting(None, "clip each gradient element to plus or minus this", 1e-12, 1e12)
    accumulate: int = _setting(1, "micro-batches an update", 1, 1_000_000)
    precision: Literal["float32", "bfloat16", "float16"] = _setting("float32", "arithmetic of the forward pass")
    compile: bool = _setting(False, "pass the model through torch.compile")
    capture: bool = _setting(False, "record the whole step as one CUDA graph")
    augment: bool | None = _setting(None, "random shifts of pictures (and flips of coloured ones) while training")
    augmentation: str | None = _setting(
        None,
        "random changes of pictures while training instead, OPTION=VALUE[:OPTION=VALUE...]: "
        "shift=2:rotate=15:scale=0.1:elastic=30:noise=0.05; crop, flip, cutout, brightness, contrast, saturation, hue",
    )
    step: Literal["auto", "autograd", "backprop"] = _setting(
        "auto", "backprop: the courses' back-propagation over reused buffers, where the stack allows it"
    )
    device: str = _setting("auto", "auto, cpu, cuda, cuda:0, mps", safe=True)
    threads: int | None = _setting(None, "CPU threads; chosen by the work of a step", 1, 4096, safe=True)
    tensorboard: bool = _setting(False, "also write TensorBoard event files into the run folder", safe=True)
    checkpoint_seconds: float = _setting(20.0, "time between checkpoints within an epoch", 0.0, safe=True)

    # how it is kept from over-fitting, beside early stopping, dropout and weight decay
    penalty: tuple[str, ...] = _setting(
        (), "terms added to the loss, each NAME:COEFFICIENT[:OPTION=VALUE...], for instance tangent:0.1,l1:1e-5"
    )
    proximal: float = _setting(
        0.0, "coefficient of an L1 term applied as a proximal step after each update: weights exactly zero", 0.0, 1e6
    )
    norm_limit: float | None = _setting(
        None, "after each update, project weights onto at most this Euclidean norm", 1e-9, 1e9
    )
    norm_per: Literal["whole", "layer", "unit", "column"] = _setting("unit", "what the norm limit is one limit for")
    input_dropout: float = _setting(0.0, "share of inputs left out while training, for an mlp", 0.0, 0.95)
    input_noise: float = _setting(0.0, "standard deviation of noise on the scaled inputs while training", 0.0, 1e6)
    hidden_noise: float = _setting(0.0, "standard deviation of noise on the hidden units while training", 0.0, 1e6)
    multiplicative_noise: float = _setting(
        0.0, "standard deviation of a factor of mean 1 on the hidden units while training (Gaussian dropout)", 0.0, 1e3
    )
    weight_noise: float = _setting(0.0, "standard deviation of noise on the weights while training", 0.0, 1e6)

    hints: tuple[str, ...] = _setting((), "columns predicted beside the target while training, and then no more")
    learn_unlabelled: bool = _setting(
        False,
        "examples without a target train too: through pairs, pretrain, or penalties such as virtual-adversarial",
    )
    labels: int | None = _setting(
        None,
        "so many examples of the training part keep their target, as many of each class, all unless given; the others "
        "are left out, or train without one by learn_unlabelled",
        1,
        10_000_000_000,
    )
    pairs: str = _setting(
        "none",
        "weight of the similarity loss over pairs of rows without a target, WEIGHT[:OPTION=VALUE...], "
        "for instance 1:neighbours=5:margin=1",
    )
    bag: int = _setting(1, "networks trained on bootstrap samples, whose answers are averaged (bagging)", 1, 1000)
    combine: Literal["average", "vote"] = _setting(
        "average", "how the networks of bag answer for classes: probabilities averaged, or a vote each"
    )

    # how it starts
    initialisation: str | None = _setting(
        None,
        "scheme of the starting weights, NAME[:OPTION=VALUE...]: xavier, uniform, glorot, he, he_fan_out, uniform_2.4, "
        "orthogonal, zero, small:std=0.01, sparse:k=15:std=1, each with bias=0.1; chosen by the units",
    )
    data_scale: bool = _setting(False, "rescale the starting weights on one batch, so that every layer has unit spread")
    pretrain: str | None = _setting(
        None,
        "how the hidden layers of an mlp or a convnet learn first, NAME[:OPTION=VALUE...]: rbm:epochs=10:rate=0.05, "
        "autoencoder, denoising:corruption=0.25, discriminative:epochs=3; none",
    )
    start_from: str | None = _setting(None, "run folder whose weights are the start, where names and shapes agree")
    freeze: tuple[str, ...] = _setting((), "layers that keep their starting weights, by name, for instance linear1")
    slower: tuple[str, ...] = _setting(
        (), "learning-rate factors: one for each step down from the output, 0.5, or by name, linear1=0.1,linear2=0.5"
    )
    tie_to_start: float = _setting(
        0.0, "coefficient of the squared distance of the weights to those of start_from (soft tying)", 0.0, 1e6
    )

    # how data are read and divided
    split: tuple[float, ...] = _setting((0.65, 0.10, 0.25), "shares for training, validation, test", 0.0, 1.0)
    group: str | None = _setting(None, "column whose equal values stay in one part")
    time: str | None = _setting(None, "column by which earlier rows train and later rows test")
    use: tuple[str, ...] = _setting((), "columns to keep that would be left out")
    ignore: tuple[str, ...] = _setting((), "columns to leave out")
    categorical: tuple[str, ...] = _setting((), "columns to treat as categories")
    drop_unlabelled: bool = _setting(False, "leave out examples without a target")
    numeric: Literal["standard", "robust", "quantile"] = _setting("standard", "how numbers are scaled")
    min_class: int = _setting(1, "leave out classes with fewer rows than this", 1, 1_000_000)
    clip_inf: bool = _setting(False, "replace infinite cells by the largest finite ones")
    skip_bad: bool = _setting(False, "leave out pictures that cannot be read")
    image_size: int | None = _setting(None, "side to which pictures are resized", 1, 4096)
    encoding: str | None = _setting(None, "character encoding of a text table")
    delimiter: str | None = _setting(None, "column separator of a text table")
    decimal: Literal[".", ","] | None = _setting(None, "decimal sign of a text table")
    header: bool = _setting(True, "the first row of a text table holds the names")

    # what is reported
    neighbours: Literal["none", "euclidean", "tangent"] = _setting(
        "none", "also compare with the nearest training examples, for pictures by tangent distance too", safe=True
    )
    importance: bool = _setting(True, "permutation importance of the columns", safe=True)
    examples: bool = _setting(True, "show the worst mistakes with their inputs in the report", safe=True)
    require: Literal["none", "baseline"] = _setting(
        "none", "baseline: fail with exit 7 if a baseline is better", safe=True
    )

    def __post_init__(self) -> None:
        for entry in fields(self):
            check_range(entry.name, getattr(self, entry.name), entry.metadata["low"], entry.metadata["high"])
        if len(self.split) != 3 or abs(sum(self.split) - 1) > 1e-6 or self.split[0] <= 0:
            raise ConfigError(
                f"split must be three shares that add up to 1, got {','.join(f'{s:g}' for s in self.split)}",
                where="settings",
                mend="for instance --split 0.65,0.10,0.25",
            )
        if self.group is not None and self.time is not None:
            raise ConfigError(
                "group and time exclude each other", where="settings", mend="give one of --group and --time"
            )

    def with_changes(self, changes: Mapping[str, object], *, where: str) -> Settings:
        """Return a copy with some settings replaced; text values are read as the setting's type.

        Args:
            changes: Setting name to value, as typed on the command line or read from TOML.
            where: The option or file that the changes come from, for messages.

        Returns:
            The changed settings.

        Raises:
            ConfigError: If a name is unknown, a value has the wrong type or lies outside its range.
        """
        known, hints = {entry.name: entry for entry in fields(self)}, typing.get_type_hints(Settings)
        values: dict[str, Any] = {}
        for name, value in changes.items():
            key = name.replace("-", "_")
            if key not in known:
                raise ConfigError(
                    f'there is no setting "{shown(name)}"{nearest(key, list(known))}',
                    where=where,
                    mend="`lamina fit --settings` lists them all",
                )
            values[key] = read_value(key, value, hints[key], known[key].default, where)
        try:
            return replace(self, **values)
        except ConfigError as error:
            raise ConfigError(error.what, where=where, mend=error.mend) from None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, tuples as lists, None left out."""
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {key: value for key, value in plain.items() if value is not None}

    def differences(self, other: Settings) -> list[str]:
        """Return ``name: ours -> theirs`` for each setting that differs and that a resumed run may not change."""
        return [
            f"{entry.name}: {getattr(self, entry.name)} -> {getattr(other, entry.name)}"
            for entry in fields(self)
            if not entry.metadata["safe"] and getattr(self, entry.name) != getattr(other, entry.name)
        ]


def describe() -> list[tuple[str, str, str, str]]:
    """Return (name, type, default, help) of every setting, in order."""
    hints = typing.get_type_hints(Settings)
    return [
        (entry.name, type_words(hints[entry.name]), default_words(entry.default), entry.metadata["help"])
        for entry in fields(Settings)
    ]
