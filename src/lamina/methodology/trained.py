"""What training gave."""

from __future__ import annotations

from dataclasses import dataclass, field

from lamina.methodology.pretrained import PretrainedLayer
from lamina.runs.predictor import Predictor
from lamina.training.history import History


@dataclass(frozen=True)
class Trained:
    """What training gave.

    Attributes:
        predictor: The network, ready to predict.
        judged: The network with the best weights of the first pass, which has not learnt from the validation part: for
            the figures of that part. The same as ``predictor`` where there was no second pass.
        history: A record an epoch.
        best_epoch: Epoch of the best weights; 0 if none was better than the start.
        stopped: Why training ended, or None when all epochs were made.
        signal: Number of the signal that ended it, 0 if none.
        threads: CPU threads used.
        step: Name of the step's class.
        updates: Updates made by this call.
        notes: What the guard had to do, and what was chosen on the way.
        pretrained: What became of the layers that were pre-trained, of the first pass.
    """

    predictor: Predictor
    judged: Predictor
    history: History
    best_epoch: int
    stopped: str | None
    signal: int
    threads: int
    step: str
    updates: int = 0
    notes: list[str] = field(default_factory=list)
    pretrained: tuple[PretrainedLayer, ...] = ()

    @property
    def n_parameters(self) -> int:
        """How many numbers were learnt."""
        return sum(p.numel() for p in self.predictor.model.parameters())
