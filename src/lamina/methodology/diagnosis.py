"""Under-fitting, over-fitting, too little data, or not learning at all: told from errors, intervals and curves.

With E the error on a part and C the error of the constant baseline (the commonest class, the mean),

    E_valid = E_train + gap.

A gap outside the bootstrap interval of E_valid is over-fitting, or too little data where the network is regularised
already; a training error that is itself close to C, without a gap, is under-fitting (Goodfellow et al., Deep Learning,
2016, sections 11.3 and 11.5: training error about equal to test error and both high tells under-fitting).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lamina.methodology.score import Score, words
from lamina.methodology.signs import TOO_LARGE_RATIO, TOO_SMALL_RATIO, Signs, read_signs

Regime = Literal[
    "underfitting", "overfitting", "balanced", "data-limited", "not learning", "worse than baseline", "unknown"
]
Scores = Mapping[str, Score]

_HIGH = 0.8  # share of the constant's error left on the training part that counts as under-fitting
_LOW = 0.2  # share that counts as a training part learnt well
_WIDE = 0.1  # width of the interval of a share on validation that leaves much open
_HEAVY_DROPOUT, _HEAVY_DECAY = 0.3, 0.05


@dataclass(frozen=True)
class Evidence:
    """One number that the diagnosis rests on.

    Args:
        name: What it is, in words.
        value: The number, or None where it is not defined.
        note: What it says, in a few words.
    """

    name: str
    value: float | None
    note: str = ""


@dataclass(frozen=True)
class NextStep:
    """One thing to try.

    Args:
        why: The reason, one phrase.
        option: The exact lamina option, or empty where none helps.
    """

    why: str
    option: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """What training and validation error say together.

    Args:
        regime: In one word.
        verdict: In one or two sentences, the worst news first.
        evidence: The numbers that say so.
        steps: What to try next, most promising first.
    """

    regime: Regime
    verdict: str
    evidence: tuple[Evidence, ...] = ()
    steps: tuple[NextStep, ...] = ()


@dataclass(frozen=True)
class _Case:
    """The question, worked out once: errors, gap, comparison with the baselines, signs of the curves."""

    metric: str
    train: Score
    valid: Score
    constant: tuple[str, Score] | None
    best_other: tuple[str, Score] | None
    signs: Signs
    epochs: int
    max_epochs: int | None
    best_epoch: int | None
    n_train: int
    n_parameters: int
    settings: Mapping[str, Any]
    dead: Sequence[str]
    wanted: float | None
    evidence: list[Evidence] = field(default_factory=list)
    steps: list[NextStep] = field(default_factory=list)

    @property
    def gap(self) -> float | None:
        """Validation error minus training error."""
        if self.train.value is None or self.valid.value is None:
            return None
        return _error(self.valid) - _error(self.train)

    @property
    def gap_is_clear(self) -> bool:
        """The training figure lies outside the interval of the validation figure, on the better side, by a tenth of it.

        With very many examples the interval shrinks to nothing; a gap below a tenth of the error then still is none
        that a remedy would be worth.
        """
        if self.gap is None or self.train.value is None or not self.train.better_than(self.valid):
            return False
        return not self.valid.covers(self.train.value) and self.gap >= 0.1 * abs(_error(self.valid))

    @property
    def left(self) -> float | None:
        """Share of the constant's error that is left on the training part."""
        if self.constant is None or self.train.value is None or self.constant[1].value is None:
            return None
        error = _error(self.constant[1])
        return _error(self.train) / error if error > 0 else None

    @property
    def worse_than(self) -> str | None:
        """The baseline that beats the network on validation: the constant by anything, another one clearly."""
        if self.constant is not None and self.constant[1].better_than(self.valid):
            return self.constant[0]
        other = self.best_other
        if other is not None and other[1].better_than(self.valid) and self.valid.clearly_differs(other[1]):
            return other[0]
        return None

    @property
    def cut_off(self) -> bool:
        """Training ended at the last epoch allowed, while validation was still getting better."""
        if self.max_epochs is None or self.epochs < self.max_epochs or self.best_epoch is None or self.epochs < 2:
            return False
        return self.best_epoch > 0.95 * self.epochs - 1 and not self.signs.plateau

    @property
    def regularised(self) -> bool:
        """Dropout or decay are already strong."""
        return (
            _number(self.settings, "dropout") >= _HEAVY_DROPOUT
            or _number(self.settings, "weight_decay") >= _HEAVY_DECAY
            or bool(self.settings.get("penalty"))
        )


def diagnose(
    history: Sequence[Mapping[str, Any]],
    *,
    metric: str,
    train: Scores,
    valid: Scores,
    baselines: Mapping[str, Scores] | None = None,
    constant: str | None = None,
    n_train: int,
    n_parameters: int,
    max_epochs: int | None = None,
    best_epoch: int | None = None,
    settings: Mapping[str, Any] | None = None,
    dead: Sequence[str] = (),
    wanted: float | None = None,
) -> Diagnosis:
    """Say what holds the network back, with the numbers that say so and what to try next.

    Args:
        history: The records of the run, see ``read_signs``; may be empty.
        metric: The figure to judge by, a key of the scores.
        train: Figures of the fitted network on the training part, by metric.
        valid: On the validation part, with bootstrap intervals; where there is none, the same object as ``train``.
        baselines: Figures of the baselines on the validation part, by name.
        constant: Which baseline is the constant one; the first if not said.
        n_train: Examples in the training part.
        n_parameters: Learnt numbers in the network.
        max_epochs: Most epochs allowed.
        best_epoch: Epoch whose weights were kept, from 1; 0 if nothing beat the start.
        settings: Settings in force, so that what is proposed goes on from them: ``learning_rate``, ``dropout``,
            ``weight_decay``, ``penalty``, ``hidden``, ``width``, ``batch_size``, ``clip_norm``.
        dead: Names of layers whose gradient was zero for a whole epoch.
        wanted: The figure that is needed; training error beyond it is under-fitting.

    Returns:
        Regime, verdict, evidence and steps.
    """
    named = dict(baselines or {})
    constant = constant if constant is not None else next(iter(named), None)
    others = [(name, scores[metric]) for name, scores in named.items() if metric in scores and name != constant]
    undefined = Score(None, reason="not computed")
    case = _Case(
        metric=metric,
        train=train.get(metric, undefined),
        valid=valid.get(metric, undefined) if valid is not train else Score(None, reason="there is no validation part"),
        constant=(constant, named[constant][metric]) if constant in named and metric in named[constant] else None,
        best_other=_best(others),
        signs=read_signs(history),
        epochs=len(history),
        max_epochs=max_epochs,
        best_epoch=best_epoch,
        n_train=n_train,
        n_parameters=n_parameters,
        settings=settings or {},
        dead=dead,
        wanted=wanted,
    )
    return _judge(case)


def _judge(case: _Case) -> Diagnosis:
    _weigh(case)
    regime, sentence = _not_learning(case) or _fit_of(case)
    sentences = [sentence]
    worse = case.worse_than
    if worse is not None:
        first = f"On validation it is worse than the baseline {worse}: do not use it as it is."
        sentences = [first] if regime in {"balanced", "unknown"} else [first, sentence]
        regime = regime if regime == "not learning" else "worse than baseline"
        if not case.steps:
            case.steps.append(NextStep("start from the model that works", "--model linear"))
    _curves(case)
    if case.cut_off:
        sentences.append("Training ended at the last epoch allowed while it was still improving.")
        case.steps.insert(0, NextStep("it was still improving when it ended", f"--epochs {2 * case.epochs}"))
    return Diagnosis(regime, " ".join(sentences), tuple(case.evidence), tuple(case.steps[:5]))


def _weigh(case: _Case) -> None:
    """Put the errors on the table: E_train, E_valid, the gap, the baselines."""
    name = words(case.metric)
    note = case.evidence.append
    note(Evidence(f"training {name}", case.train.value, case.train.reason))
    interval = ""
    if case.valid.low is not None and case.valid.high is not None:
        interval = f"95 % interval {case.valid.low:.4g} to {case.valid.high:.4g}"
    note(Evidence(f"validation {name}", case.valid.value, case.valid.reason or interval))
    if case.gap is not None:
        note(Evidence("gap", case.gap, "outside the interval" if case.gap_is_clear else "inside the interval, or none"))
    for baseline in (case.constant, case.best_other):
        if baseline is not None:
            note(Evidence(f"{baseline[0]}, validation {name}", baseline[1].value, baseline[1].reason))
    if case.left is not None:
        note(Evidence("share of the constant's error left in training", case.left))
    note(Evidence("training examples a parameter", case.n_train / max(1, case.n_parameters)))


def _not_learning(case: _Case) -> tuple[Regime, str] | None:
    """Tell a run that learnt nothing: non-finite, no better than the start, or flat from the first epoch on.

    Returns:
        The regime and its sentence, or None if it learns.
    """
    signs = case.signs
    rate = _number(case.settings, "learning_rate", 1e-3)
    if signs.not_finite and case.valid.value is None:
        case.steps.append(NextStep("smaller steps keep the loss finite", f"--set learning_rate={rate / 10:.1g}"))
        return "not learning", "The loss left the finite numbers."
    beats = case.constant is None or case.valid.better_than(case.constant[1])
    if case.best_epoch == 0 and signs.validated:
        _reduce_or_raise(case, rate)
        return "not learning", "No epoch beat the untrained start (best epoch 0): it has learnt nothing that holds."
    if signs.flat and not (beats and case.left is not None and case.left < _HIGH):
        case.evidence.append(Evidence("fall of the training loss", signs.fall, "flat from the first epoch on"))
        causes = "a learning rate far off, inputs that do not tell the target, or units that are dead or saturated"
        _reduce_or_raise(case, rate)
        return "not learning", f"It is not learning: the training loss stays flat. Likely causes: {causes}."
    if case.dead and not beats:
        _reduce_or_raise(case, rate)
        return "not learning", "It is not learning: whole layers receive no gradient."
    return None


def _reduce_or_raise(case: _Case, rate: float) -> None:
    """Propose the learning rate that the update ratio asks for, or one each way."""
    ratio = case.signs.update_ratio
    if ratio is not None and ratio > 0:
        factor = min(100.0, max(0.01, 1e-2 / ratio))
        if not 1 / 3 < factor < 3:
            why = f"updates are {ratio:.1g} of the weights, 0.01 is usual"
            case.steps.append(NextStep(why, f"--set learning_rate={rate * factor:.1g}"))
            return
    case.steps.append(NextStep("try smaller steps", f"--set learning_rate={rate / 10:.1g}"))
    case.steps.append(NextStep("or larger ones", f"--set learning_rate={rate * 10:.1g}"))


def _fit_of(case: _Case) -> tuple[Regime, str]:
    """Compare training error with validation error and with the constant's.

    Returns:
        The regime and its sentence.
    """
    if case.gap is None:
        missing = case.valid.reason or case.train.reason or "not computed"
        return "unknown", f"Training and validation error cannot be compared: {missing}."
    missed = case.wanted is not None and Score(case.wanted, higher_is_better=case.train.higher_is_better).better_than(
        case.train
    )
    high = missed or (case.left is not None and case.left >= _HIGH)
    if high and (missed or not case.gap_is_clear):
        _more_capacity(case)
        what = "misses what is wanted" if missed else "is nearly the constant baseline's"
        return "underfitting", f"It under-fits: the error on the training part itself {what}."
    if case.gap_is_clear:
        return _too_much(case)
    if case.valid.higher_is_better and (case.valid.high or 0) - (case.valid.low or 0) > _WIDE:
        why = "a larger validation part: the interval is too wide to tell more"
        case.steps.append(NextStep(why, "--split 0.60,0.20,0.20"))
    if case.left is not None and case.left > _LOW:
        _more_capacity(case)
        return "balanced", (
            "Neither under- nor over-fitting shows: training and validation error agree; a larger network "
            "would tell whether the rest is noise."
        )
    return "balanced", "Neither under- nor over-fitting: training and validation error agree and are low."


def _too_much(case: _Case) -> tuple[Regime, str]:
    """Over-fitting: regularise; where that was done, only data help.

    Returns:
        The regime and its sentence.
    """
    gap = f"{case.gap:.3g}"
    rows = NextStep(f"more data: {2 * case.n_train:,} training examples instead of {case.n_train:,}")
    if case.regularised:
        case.steps.append(rows)
        case.steps.append(NextStep("a smaller network", _size_option(case, 0.5)))
        return "data-limited", (
            f"It needs more data: validation error is {gap} above training error, and it is regularised already."
        )
    dropout = min(0.5, _number(case.settings, "dropout") + 0.2)
    decay = max(0.05, 10 * _number(case.settings, "weight_decay"))
    case.steps.append(NextStep("regularise: leave out hidden units", f"--set dropout={dropout:.2g}"))
    case.steps.append(NextStep("regularise: decay the weights", f"--set weight_decay={decay:.2g}"))
    case.steps.append(NextStep("a smaller network", _size_option(case, 0.5)))
    case.steps.append(rows)
    return "overfitting", f"It over-fits: validation error is {gap} above training error, more than chance explains."


def _more_capacity(case: _Case) -> None:
    case.steps.append(NextStep("a larger network", _size_option(case, 2)))
    dropout = _number(case.settings, "dropout")
    if dropout > 0:
        case.steps.append(NextStep("less regularisation", f"--set dropout={dropout / 2:.2g}"))


def _size_option(case: _Case, factor: float) -> str:
    """Return the option that makes the network larger or smaller."""
    hidden, width = case.settings.get("hidden"), case.settings.get("width")
    if isinstance(width, int):
        return f"--set width={max(1, round(width * factor))}"
    if isinstance(hidden, list | tuple) and hidden:
        return "--set hidden=" + ",".join(str(max(1, round(units * factor))) for units in hidden)
    return "--model mlp --set hidden=256,256" if factor > 1 else "--set hidden=32"


def _curves(case: _Case) -> None:
    """Add what gradient and update sizes tell (monitors of Goodfellow et al. 2016, sections 8.2 and 11.5)."""
    signs, note = case.signs, case.evidence.append
    rate = _number(case.settings, "learning_rate", 1e-3)
    if signs.rise is not None and signs.rise > 0.05:
        words_ = f"its lowest was at epoch {signs.lowest_epoch}"
        note(Evidence("rise of the validation loss after its lowest", signs.rise, words_))
    ratio = signs.update_ratio
    if ratio is not None:
        far = ratio > TOO_LARGE_RATIO or ratio < TOO_SMALL_RATIO
        note(Evidence("update over weight size", ratio, "far from the usual 0.01" if far else "usual is about 0.01"))
        if far and not any("learning_rate" in step.option for step in case.steps):
            _reduce_or_raise(case, rate)
    if case.dead or signs.dead_layers:
        count = len(case.dead) or signs.dead_layers
        names = ", ".join(case.dead[:5])
        note(Evidence("layers without any gradient", count, names))
        case.steps.append(NextStep("units that cannot die", "--set activation=elu"))
    if signs.gradient_first is not None and signs.gradient_last is not None:
        told = "ill-conditioned: no progress while the gradient stays large" if signs.ill_conditioned else ""
        if signs.plateau and signs.gradient_last < 0.01 * signs.gradient_first:
            told = "the gradient vanished with the progress: a minimum or another flat place"
        growth = signs.gradient_last / signs.gradient_first if signs.gradient_first > 0 else None
        note(Evidence("gradient norm, last over first", growth, told))
        if signs.ill_conditioned:
            case.steps.append(NextStep("smaller steps towards the end", "--set schedule=cosine"))
    if signs.exploded and not case.settings.get("clip_norm"):
        note(Evidence("largest gradient norm over the median", signs.gradient_spread, "a few steps explode"))
        case.steps.append(NextStep("clip the gradient", "--set clip_norm=1"))


def _error(score: Score) -> float:
    """Turn a figure into an error.

    Returns:
        1 minus a figure that should be high, or the figure.
    """
    value = 0.0 if score.value is None else score.value
    return 1.0 - value if score.higher_is_better else value


def _best(rows: list[tuple[str, Score]]) -> tuple[str, Score] | None:
    defined = [row for row in rows if row[1].value is not None]
    return min(defined, key=lambda row: _error(row[1]), default=None)


def _number(settings: Mapping[str, Any], name: str, default: float = 0.0) -> float:
    value = settings.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else default
