"""What the report shows of predictions on the test part, computed from arrays.

Curves and scatter plots are thinned to what an eye can tell apart, and numbers cut to six digits, so the facts of a
million examples are as small as those of a thousand.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lamina.metrics import calibration_bins, coverage_curve
from lamina.report.facts import Bin, ClassFacts, ClassRow, Confusion, Curve, Mistake, NumberFacts
from lamina.report.resampling import Array
from lamina.report.scoring import Kind, compare, scores_for
from lamina.report.text import number

__all__ = ["class_facts", "compare", "number_facts", "picture", "scores_for", "thin_history", "worst_mistakes"]

MATRIX_CLASSES = 30
_SHOWN_OF_MANY = 20
_CURVE_CLASSES = 10
_AP_CLASSES = 60
_POINTS = 160
_BINS = 10
_CONFUSIONS = 30
_ACCURACIES = (0.9, 0.95, 0.98, 0.99)
_SAMPLE = 500


def class_facts(truth: Array, probabilities: Array, classes: Sequence[str]) -> ClassFacts:
    """Compute confusion, precision, recall, F, precision-recall curves, calibration and accuracy against coverage.

    Args:
        truth: ``(N,)`` class codes; a code outside 0..K-1 is a class that training has not seen, and always wrong.
        probabilities: ``(N, K)``.
        classes: The K names.

    Returns:
        The facts.
    """
    truth, probabilities = np.asarray(truth, dtype=np.int64), np.asarray(probabilities, dtype=np.float64)
    k, n = len(classes), len(truth)
    known = (truth >= 0) & (truth < k)
    predicted = probabilities.argmax(axis=1) if n else np.zeros(0, dtype=np.int64)
    confidence = probabilities.max(axis=1) if n else np.zeros(0)
    right = predicted == truth
    pairs, counts = np.unique(truth[known] * k + predicted[known], return_counts=True)
    support = np.bincount(truth[known], minlength=k)
    wrong = pairs // k != pairs % k
    order = np.argsort(-counts[wrong], kind="stable")
    chosen = _matrix_classes(pairs[wrong], counts[wrong], k)
    ece, bins = _calibration(confidence, right)
    coverage, coverage_at = _coverage(confidence, right)
    confusions = (
        Confusion(classes[pair // k], classes[pair % k], int(count), _ratio(count, support[pair // k]))
        for pair, count in zip(pairs[wrong][order][:_CONFUSIONS], counts[wrong][order], strict=False)
    )
    return ClassFacts(
        n=n,
        n_wrong=int((~right).sum()),
        matrix_classes=tuple(classes[i] for i in chosen),
        matrix=_matrix(pairs, counts, k, chosen),
        confusions=tuple(confusions),
        rows=_rows(truth, predicted, probabilities, classes),
        pr=_pr_curves(truth, probabilities, classes),
        calibration=bins,
        ece=ece,
        coverage=coverage,
        coverage_at=coverage_at,
    )


def _matrix_classes(pairs: Array, counts: Array, k: int) -> list[int]:
    """Choose all classes, or where there are many those that take part in most mistakes, in code order.

    Returns:
        Class codes.
    """
    if k <= MATRIX_CLASSES:
        return list(range(k))
    part = np.bincount(pairs // k, weights=counts, minlength=k) + np.bincount(pairs % k, weights=counts, minlength=k)
    return sorted(int(i) for i in np.argsort(-part, kind="stable")[:_SHOWN_OF_MANY])


def _matrix(pairs: Array, counts: Array, k: int, chosen: list[int]) -> tuple[tuple[int, ...], ...]:
    place = np.full(k, -1)
    place[chosen] = np.arange(len(chosen))
    matrix = np.zeros((len(chosen), len(chosen)), dtype=np.int64)
    rows, columns = place[pairs // k], place[pairs % k]
    inside = (rows >= 0) & (columns >= 0)
    matrix[rows[inside], columns[inside]] = counts[inside]
    return tuple(tuple(int(v) for v in row) for row in matrix)


def _rows(truth: Array, predicted: Array, probabilities: Array, classes: Sequence[str]) -> tuple[ClassRow, ...]:
    k = len(classes)
    known = truth[(truth >= 0) & (truth < k)]
    support = np.bincount(known, minlength=k)
    called = np.bincount(predicted, minlength=k)
    hits = np.bincount(predicted[predicted == truth], minlength=k)
    average = [_pr(truth == i, probabilities[:, i])[2] if k <= _AP_CLASSES else None for i in range(k)]
    return tuple(
        ClassRow(
            name=name,
            support=int(support[i]),
            precision=_ratio(hits[i], called[i]),
            recall=_ratio(hits[i], support[i]),
            f1=_ratio(2 * hits[i], support[i] + called[i]),
            average_precision=average[i],
        )
        for i, name in enumerate(classes)
    )


def _ratio(part: float, whole: float) -> float | None:
    return float(part) / float(whole) if whole else None


def _pr(positive: Array, score: Array) -> tuple[Array, Array, float | None]:
    """Trace precision over recall, one point a threshold, with the average precision Σ (R_i - R_{i-1}) P_i.

    Returns:
        Recall, precision, area; the area is None without a positive example.
    """
    total = int(positive.sum())
    if total == 0:
        return np.zeros(0), np.zeros(0), None
    order = np.argsort(-score, kind="stable")
    hits, ranked = np.cumsum(positive[order]), score[order]
    last = np.append(np.nonzero(np.diff(ranked))[0], len(ranked) - 1)
    precision, recall = hits[last] / (last + 1), hits[last] / total
    area = float((np.diff(recall, prepend=0.0) * precision).sum())
    return np.concatenate([[0.0], recall]), np.concatenate([[precision[0]], precision]), area


def _pr_curves(truth: Array, probabilities: Array, classes: Sequence[str]) -> tuple[Curve, ...]:
    """Trace the second of two classes, each of a few, or all together (micro-average) where there are many.

    Returns:
        The curves that exist.
    """
    k = len(classes)
    if k == 2:
        wanted = [(classes[1], truth == 1, probabilities[:, 1])]
    elif k <= _CURVE_CLASSES:
        wanted = [(name, truth == i, probabilities[:, i]) for i, name in enumerate(classes)]
    else:
        some = slice(0, max(1, 2_000_000 // k))
        one_hot = truth[some, None] == np.arange(k)
        wanted = [("all classes (micro-average)", one_hot.ravel(), probabilities[some].ravel())]
    curves = []
    for name, positive, score in wanted:
        recall, precision, area = _pr(positive, score)
        if area is not None:
            curves.append(Curve(name, *_thin(recall, precision), area))
    return tuple(curves)


def _calibration(confidence: Array, right: Array) -> tuple[float | None, tuple[Bin, ...]]:
    """Bin by confidence.

    Returns:
        The expected calibration error and the bins.
    """
    if not len(confidence):
        return None, ()
    found = calibration_bins(right, np.clip(confidence, 0.0, 1.0), _BINS)
    ends = _plain(found.edges)
    bins = tuple(
        Bin(
            low=ends[b],
            high=ends[b + 1],
            confidence=float(found.confidence[b]) if count else None,
            accuracy=float(found.accuracy[b]) if count else None,
            count=int(count),
        )
        for b, count in enumerate(found.count)
    )
    return found.expected_error, bins


def _coverage(confidence: Array, right: Array) -> tuple[Curve, tuple[tuple[float | None, ...], ...]]:
    """Answer only the surest share of the examples.

    Returns:
        Accuracy over coverage, and for some accuracies the largest coverage that keeps them, with the confidence below
        which to refuse (rounded down), None where none does.
    """
    if not len(right):
        return Curve("accuracy", (), ()), tuple((wanted, None, None) for wanted in _ACCURACIES)
    found = coverage_curve(right, confidence)
    reached = tuple(
        (wanted, found.coverage_at(wanted), math.floor(1e4 * threshold) / 1e4)
        if (threshold := found.threshold_at(wanted)) is not None
        else (wanted, None, None)
        for wanted in _ACCURACIES
    )
    return Curve("accuracy", *_thin(found.coverage, found.accuracy), found.area), reached


def number_facts(
    truth: Array, mean: Array, low: Array | None = None, high: Array | None = None, *, seed: int = 0
) -> NumberFacts:
    """Compute residuals, a sample of predicted against true, and the coverage of the 90 % intervals.

    Args:
        truth: ``(N,)``.
        mean: ``(N,)`` predicted means. Examples whose truth or prediction is not finite are left out.
        low: ``(N,)`` lower ends of the 90 % intervals.
        high: Upper ends.
        seed: Of the sample.

    Returns:
        The facts.
    """
    truth, mean = np.asarray(truth, dtype=np.float64), np.asarray(mean, dtype=np.float64)
    finite = np.isfinite(truth) & np.isfinite(mean)
    ends: tuple[Array, Array] | None = None
    if low is not None and high is not None:
        ends = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
        finite &= np.isfinite(ends[0]) & np.isfinite(ends[1])
        ends = ends[0][finite], ends[1][finite]
    truth, mean = truth[finite], mean[finite]
    n = len(truth)
    if n == 0:
        return NumberFacts(0, (), (), (), ())
    residual = truth - mean
    counts, edges = np.histogram(residual, bins=_histogram_edges(residual))
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(n, _SAMPLE, replace=False)) if n > _SAMPLE else np.arange(n)
    return NumberFacts(
        n=n,
        edges=_plain(edges),
        counts=tuple(int(c) for c in counts),
        truth=_plain(truth[chosen]),
        predicted=_plain(mean[chosen]),
        low=() if ends is None else _plain(ends[0][chosen]),
        high=() if ends is None else _plain(ends[1][chosen]),
        mean_residual=float(residual.mean()),
        coverage=None if ends is None else float(((truth >= ends[0]) & (truth <= ends[1])).mean()),
        width=None if ends is None else float((ends[1] - ends[0]).mean()),
    )


def _histogram_edges(residual: Array) -> Array:
    """Lay 30 bins over all residuals; one bin about a constant.

    Returns:
        Increasing edges.
    """
    low, high = float(residual.min()), float(residual.max())
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        half = max(0.5, 0.05 * abs(low))
        return np.array([low - half, low + half])
    return np.linspace(low, high, 31)


def worst_mistakes(
    kind: Kind,
    truth: Array,
    *,
    probabilities: Array | None = None,
    mean: Array | None = None,
    classes: Sequence[str] = (),
    label: Callable[[int], str] = lambda i: f"example {i + 1}",
    image: Callable[[int], str] | None = None,
    values: Callable[[int], dict[str, str]] | None = None,
    count: int = 12,
) -> tuple[Mistake, ...]:
    """Pick the worst mistakes: true class with the least probability, or the largest absolute residual.

    Args:
        kind: ``classes``, ``number`` or ``count``.
        truth: ``(N,)``.
        probabilities: ``(N, K)``, for classes.
        mean: ``(N,)``, otherwise.
        classes: Names of the classes.
        label: Says where an example of this part is, by its position.
        image: Gives its PNG in base64 (see ``picture``).
        values: Gives its row.
        count: How many at most.

    Returns:
        Worst first; for classes only examples that are wrong.
    """
    truth = np.asarray(truth)

    def shows(i: int) -> tuple[str, dict[str, str]]:
        return image(i) if image is not None else "", values(i) if values is not None else {}

    mistakes = []
    if kind == "classes":
        scores = np.asarray(probabilities, dtype=np.float64)
        k = len(classes)
        known = (truth >= 0) & (truth < k)
        predicted = scores.argmax(axis=1) if len(truth) else np.zeros(0, dtype=int)
        given = np.where(known, scores[np.arange(len(truth)), np.where(known, truth, 0)], 0.0)
        wrong = np.nonzero(predicted != truth)[0]
        for i in (int(j) for j in wrong[np.argsort(given[wrong], kind="stable")][:count]):
            named = classes[truth[i]] if known[i] else "a class that training has not seen"
            sure, right = float(scores[i, predicted[i]]), float(given[i])
            mistakes.append(Mistake(label(i), named, classes[predicted[i]], sure, right, None, *shows(i)))
    else:
        expected = np.asarray(mean, dtype=np.float64)
        residual = truth.astype(np.float64) - expected
        size = np.where(np.isfinite(residual), np.abs(residual), np.inf)
        for i in (int(j) for j in np.argsort(-size, kind="stable")[:count]):
            texts = number(float(truth[i]), 6), number(float(expected[i]), 4)
            mistakes.append(Mistake(label(i), *texts, None, None, float(residual[i]), *shows(i)))
    return tuple(mistakes)


def picture(pixels: Array, largest: int = 160) -> str:
    """Encode a picture for the page.

    Args:
        pixels: ``(C, H, W)`` or ``(H, W)``, uint8; 1, 3 or 4 channels.
        largest: Longer side in pixels above which it is scaled down.

    Returns:
        PNG in base64.
    """
    from PIL import Image

    pixels = np.asarray(pixels, dtype=np.uint8)
    if pixels.ndim == 3:
        pixels = pixels[0] if pixels.shape[0] == 1 else pixels.transpose(1, 2, 0)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((largest, largest))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def thin_history(history: Sequence[dict[str, Any]], keep: int | None = None, most: int = 500) -> list[dict[str, Any]]:
    """Choose records that draw the same curves: evenly spread ones and the extremes of each figure.

    Args:
        history: Records in order.
        keep: An epoch whose record must stay, for instance the best.
        most: How many evenly spread ones.

    Returns:
        The records chosen, in order; all of them where there are no more than ``most``.
    """
    n = len(history)
    if n <= most:
        return list(history)
    chosen = {round(i * (n - 1) / (most - 1)) for i in range(most)}
    for name in history[-1]:
        values = [record.get(name) for record in history]
        series = np.array([v if isinstance(v, int | float) else np.nan for v in values], dtype=np.float64)
        series[~np.isfinite(series)] = np.nan
        if not np.isnan(series).all():
            chosen |= {int(np.nanargmin(series)), int(np.nanargmax(series))}
    if keep is not None and 0 < keep <= n:
        chosen.add(keep - 1)
    return [history[i] for i in sorted(chosen)]


def _thin(x: Array, y: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Keep at most ``_POINTS`` points, evenly spread along x, first and last among them.

    Returns:
        x and y.
    """
    if len(x) > _POINTS:
        wanted = np.linspace(x[0], x[-1], _POINTS)
        keep = np.unique(np.clip(np.searchsorted(x, wanted), 0, len(x) - 1))
        keep = np.unique(np.concatenate([[0], keep, [len(x) - 1]]))
        x, y = x[keep], y[keep]
    return _plain(x), _plain(y)


def _plain(values: Array) -> tuple[float, ...]:
    return tuple(float(_round(v)) for v in values)


def _round(value: float) -> str:
    return f"{value:.6g}"
