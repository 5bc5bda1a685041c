"""The closed table of likelihoods, and their form in a file."""

import dataclasses
from typing import Any

from lamina.errors import CheckpointError, ConfigError, nearest, shown
from lamina.likelihoods.base import Likelihood
from lamina.likelihoods.bernoulli import Bernoulli
from lamina.likelihoods.categorical import Categorical
from lamina.likelihoods.gaussian import Gaussian
from lamina.likelihoods.heads import Heads
from lamina.likelihoods.poisson import Poisson

LIKELIHOODS: dict[str, type[Likelihood]] = {
    "bernoulli": Bernoulli,
    "categorical": Categorical,
    "gaussian": Gaussian,
    "heads": Heads,
    "poisson": Poisson,
}

# What a file may say: field -> the JSON types it may have. A whole number passes for a real one, a truth value never.
_FIELDS: dict[str, dict[str, tuple[type, ...]]] = {
    "bernoulli": {"n_targets": (int,)},
    "categorical": {"n_classes": (int,), "smoothing": (int, float)},
    "gaussian": {"n_targets": (int,), "scale": (int, float, type(None)), "beta": (int, float)},
    "poisson": {"n_targets": (int,)},
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
        fields = _FIELDS[name]
        if set(given) != set(fields):
            raise CheckpointError(
                f"{name} has the fields {', '.join(fields)}, got {shown(sorted(map(str, given)))}",
                where=where,
                mend=mend,
            )
        for field, kinds in fields.items():
            entry = given[field]
            if isinstance(entry, bool) or not isinstance(entry, kinds) or (isinstance(entry, int) and entry > _MOST):
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
    if isinstance(likelihood, Heads):
        parts = tuple(for_scoring(head) for head in likelihood.likelihoods)
        return dataclasses.replace(likelihood, likelihoods=parts)
    return likelihood
