"""The closed table of likelihoods, and their form in a file."""

import dataclasses
from typing import Any

from lamina.errors import CheckpointError, ConfigError, nearest, shown
from lamina.likelihoods.base import Likelihood
from lamina.likelihoods.bernoulli import Bernoulli
from lamina.likelihoods.categorical import Categorical
from lamina.likelihoods.full_gaussian import FullGaussian
from lamina.likelihoods.gaussian import Gaussian
from lamina.likelihoods.gaussian_mixture import GaussianMixture
from lamina.likelihoods.heads import Heads
from lamina.likelihoods.laplace import Laplace
from lamina.likelihoods.poisson import Poisson
from lamina.likelihoods.power import Power
from lamina.likelihoods.rejecting import Rejecting
from lamina.likelihoods.strings import Strings
from lamina.likelihoods.student_t import StudentT

LIKELIHOODS: dict[str, type[Likelihood]] = {
    "bernoulli": Bernoulli,
    "categorical": Categorical,
    "full-gaussian": FullGaussian,
    "gaussian": Gaussian,
    "gaussian-mixture": GaussianMixture,
    "heads": Heads,
    "laplace": Laplace,
    "poisson": Poisson,
    "power": Power,
    "rejecting": Rejecting,
    "strings": Strings,
    "student-t": StudentT,
}

# What a file may say: field -> the JSON types it may have. A whole number passes for a real one, a truth value never.
_FIELDS: dict[str, dict[str, tuple[type, ...]]] = {
    "bernoulli": {"n_targets": (int,)},
    "categorical": {"n_classes": (int,), "smoothing": (int, float)},
    "full-gaussian": {"n_targets": (int,)},
    "gaussian": {"n_targets": (int,), "scale": (int, float, type(None)), "beta": (int, float)},
    "gaussian-mixture": {"n_components": (int,), "n_targets": (int,), "covariance": (str,)},
    "laplace": {"n_targets": (int,), "scale": (int, float, type(None))},
    "poisson": {"n_targets": (int,)},
    "power": {"exponent": (int, float), "n_targets": (int,), "scale": (int, float, type(None))},
    "strings": {"length": (int,), "n_symbols": (int,), "variable": (bool,)},
    "student-t": {"n_targets": (int,), "freedom": (int, float), "scale": (int, float, type(None))},
}
_MOST = 10_000_000  # a size above this is damage, not a model


def likelihood_name(likelihood: Likelihood) -> str:
    """Return the name under which the table lists a likelihood.

    Returns:
        A key of ``LIKELIHOODS``.

    Raises:
        ConfigError: If its class is not in the table.
    """
    for name, kind in LIKELIHOODS.items():
        if type(likelihood) is kind:
            return name
    raise ConfigError(
        f"{type(likelihood).__name__} is not one of {', '.join(LIKELIHOODS)}",
        where="likelihood",
        mend="only the likelihoods of the table can be written to a file",
    )


def to_json(likelihood: Likelihood) -> dict[str, Any]:
    """Return a likelihood as a JSON object: ``{"likelihood": name, field: value, …}``.

    Returns:
        A dictionary of strings, numbers, null and lists; ``from_json`` reads it back to an equal likelihood.
    """
    name = likelihood_name(likelihood)
    if isinstance(likelihood, Heads):
        heads = [to_json(head) for head in likelihood.likelihoods]
        return {"likelihood": name, "names": list(likelihood.names), "likelihoods": heads}
    if isinstance(likelihood, Rejecting):
        return {"likelihood": name, "inside": to_json(likelihood.likelihood), "threshold": likelihood.threshold}
    return {"likelihood": name, **{field: getattr(likelihood, field) for field in _FIELDS[name]}}


def from_json(value: object, where: str = "likelihood") -> Likelihood:
    """Build the likelihood that a JSON object describes; nothing outside the table can be built.

    Args:
        value: What ``to_json`` gave, read back from a file: not trusted.
        where: The file or the field that it came from, for the message.

    Returns:
        A likelihood.

    Raises:
        CheckpointError: If a name, a field or a value is not one that ``to_json`` writes.
    """
    mend = "the file is damaged or from another version; use an intact copy or fit again"
    if not isinstance(value, dict) or not isinstance(value.get("likelihood"), str):
        raise CheckpointError('expected an object with a "likelihood"', where=where, mend=mend)
    name = value["likelihood"]
    if name not in LIKELIHOODS:
        raise CheckpointError(
            f'unknown likelihood "{shown(name)}"{nearest(name, list(LIKELIHOODS))}', where=where, mend=mend
        )
    given = {key: entry for key, entry in value.items() if key != "likelihood"}
    try:
        if name == "heads":
            return _heads(given, where, mend)
        if name == "rejecting":
            return _rejecting(given, where, mend)
        fields = _FIELDS[name]
        if set(given) != set(fields):
            raise CheckpointError(
                f"{name} has the fields {', '.join(fields)}, got {shown(sorted(map(str, given)))}",
                where=where,
                mend=mend,
            )
        for field, kinds in fields.items():
            entry = given[field]
            fits = isinstance(entry, kinds) and isinstance(entry, bool) == (bool in kinds)
            if not fits or (isinstance(entry, int) and entry > _MOST):
                raise CheckpointError(f"{name}.{field} cannot be {shown(repr(entry))}", where=where, mend=mend)
            if isinstance(entry, int) and float in kinds:
                given[field] = float(entry)
        return LIKELIHOODS[name](**given)
    except ConfigError as error:
        raise CheckpointError(str(error), where=where, mend=mend) from error


def _heads(given: dict[str, Any], where: str, mend: str) -> Heads:
    names, heads = given.get("names"), given.get("likelihoods")
    if set(given) != {"names", "likelihoods"} or not isinstance(names, list) or not isinstance(heads, list):
        raise CheckpointError('heads has the lists "names" and "likelihoods"', where=where, mend=mend)
    if not all(isinstance(name, str) for name in names):
        raise CheckpointError("the names of heads must be strings", where=where, mend=mend)
    if any(isinstance(head, dict) and head.get("likelihood") == "heads" for head in heads):
        raise CheckpointError("heads cannot hold heads", where=where, mend=mend)
    parts = tuple(from_json(head, f"{where}[{i}]") for i, head in enumerate(heads))
    return Heads(parts, tuple(names))


def _rejecting(given: dict[str, Any], where: str, mend: str) -> Rejecting:
    if set(given) != {"inside", "threshold"}:
        raise CheckpointError(
            f"rejecting has the fields inside, threshold, got {shown(sorted(map(str, given)))}", where=where, mend=mend
        )
    threshold = given["threshold"]
    if isinstance(threshold, bool) or not isinstance(threshold, int | float):
        raise CheckpointError(f"rejecting.threshold cannot be {shown(repr(threshold))}", where=where, mend=mend)
    if isinstance(given["inside"], dict) and given["inside"].get("likelihood") in {"heads", "rejecting"}:
        raise CheckpointError("rejecting cannot hold heads or another rejecting", where=where, mend=mend)
    inside = from_json(given["inside"], f"{where}.inside")
    if not isinstance(inside, Categorical | Bernoulli | Strings):
        raise CheckpointError(f"rejecting cannot hold {likelihood_name(inside)}", where=where, mend=mend)
    return Rejecting(inside, float(threshold))


def for_scoring(likelihood: Likelihood) -> Likelihood:
    """Return the likelihood without what only shapes training: label smoothing, and the weighting β of a learnt spread.

    Its ``log_prob`` is a log-probability.

    Returns:
        A likelihood of the same kind.
    """
    if isinstance(likelihood, Categorical):
        return dataclasses.replace(likelihood, smoothing=0.0)
    if isinstance(likelihood, Gaussian):
        return dataclasses.replace(likelihood, beta=0.0)
    if isinstance(likelihood, Rejecting) and isinstance(likelihood.likelihood, Categorical):
        inside = dataclasses.replace(likelihood.likelihood, smoothing=0.0)
        return dataclasses.replace(likelihood, likelihood=inside)
    if isinstance(likelihood, Heads):
        parts = tuple(for_scoring(head) for head in likelihood.likelihoods)
        return dataclasses.replace(likelihood, likelihoods=parts)
    return likelihood
