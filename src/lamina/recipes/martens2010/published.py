"""What is reported of the same networks elsewhere, each figure with how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

COMPUTED = "computed again"
RECALLED = "recalled, not checked against the paper"
UNCERTAIN = "recalled, uncertain: not to be quoted"


@dataclass(frozen=True, slots=True)
class Reported:
    """A figure.

    Attributes:
        problem: Of ``PROBLEMS``.
        what: The method.
        part: ``training`` or ``test``.
        error: Squared error summed over pixels, a picture.
        source: Where.
        status: How far it can be trusted.
    """

    problem: str
    what: str
    part: str
    error: float
    source: str
    status: str


_SCIENCE = "Hinton & Salakhutdinov 2006"
_SUTSKEVER = "Sutskever et al. 2013, 750,000 updates"
_MARTENS = "Martens 2010"

REPORTED = (
    Reported("mnist", "principal components, 30", "test", 13.87, _SCIENCE, COMPUTED),
    Reported("mnist", "pre-training by RBMs, then conjugate gradients", "test", 3.00, _SCIENCE, RECALLED),
    Reported("mnist", "SGD without momentum", "training", 2.1, _SUTSKEVER, RECALLED),
    Reported("mnist", "SGD, Nesterov momentum, best", "training", 0.73, _SUTSKEVER, RECALLED),
    Reported("mnist", "Hessian-free", "training", 0.69, _SUTSKEVER, RECALLED),
    Reported("mnist", "Hessian-free", "test", 1.64, _MARTENS, UNCERTAIN),
    Reported("curves", "principal components, 18", "test", 5.90, _SCIENCE, RECALLED),
    Reported("curves", "logistic principal components, 6", "test", 7.64, _SCIENCE, RECALLED),
    Reported("curves", "pre-training by RBMs, then conjugate gradients", "test", 1.44, _SCIENCE, RECALLED),
    Reported("curves", "SGD without momentum", "training", 0.48, _SUTSKEVER, RECALLED),
    Reported("curves", "SGD, Nesterov momentum, best", "training", 0.074, _SUTSKEVER, RECALLED),
    Reported("curves", "Hessian-free", "training", 0.058, _SUTSKEVER, RECALLED),
    Reported("curves", "Hessian-free", "test", 0.11, _MARTENS, UNCERTAIN),
)
