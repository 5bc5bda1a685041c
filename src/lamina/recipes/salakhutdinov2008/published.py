"""What the paper reports of the same models. Recalled, not checked against it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Published:
    """Figures of one model, in nats.

    Attributes:
        log_z: Of the machine, or None.
        train: Mean log-likelihood of the training digits, or None.
        test: Of the test digits; of the network, the variational bound.
        estimate: Of the network, the importance-sampling estimate, or None.
    """

    log_z: float | None
    train: float | None
    test: float
    estimate: float | None = None


PUBLISHED = {
    "CD-1": Published(350.2, -122.86, -125.53),
    "CD-3": Published(280.1, -102.81, -105.50),
    "CD-25": Published(451.3, -83.10, -86.34),
    "network": Published(None, None, -86.2, -84.6),
}
