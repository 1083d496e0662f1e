"""Which epoch's model is the best so far, and when to stop waiting for a better one."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class EarlyStopping:
    """Watch the validation loss and a score, of which more is better, as `monitor` of `Recipe` says.

    >>> watch = EarlyStopping("loss", patience=2)
    >>> [watch.is_best(loss, score=0.5) for loss in (1.0, 0.8, 0.9, 0.9)], watch.exhausted
    ([True, True, False, False], True)
    """

    monitor: str
    patience: int | None
    lowest_loss: float = math.inf
    highest_score: float = -math.inf
    waited: int = 0

    def is_best(self, loss: float, score: float) -> bool:
        """Take note of an epoch; say whether its model is the best so far."""
        if self.monitor == "last":
            return True
        if self.monitor == "both":
            fell, rose = loss <= self.lowest_loss, score >= self.highest_score
            best, progress = fell and rose, fell or rose
            self.lowest_loss = min(loss, self.lowest_loss)
            self.highest_score = max(score, self.highest_score)
        else:
            fell = loss < self.lowest_loss
            better = (score, -loss) > (self.highest_score, -self.lowest_loss)
            best = progress = fell if self.monitor == "loss" else better
            if best:
                self.lowest_loss, self.highest_score = loss, score
        self.waited = 0 if progress else self.waited + 1
        return best

    def memory(self) -> dict[str, float]:
        """The values that change from epoch to epoch, for a checkpoint."""
        return {name: getattr(self, name) for name in ("lowest_loss", "highest_score", "waited")}

    def recall(self, memory: dict[str, float]) -> None:
        """Go on from what `memory` returned."""
        self.lowest_loss, self.highest_score = memory["lowest_loss"], memory["highest_score"]
        self.waited = int(memory["waited"])

    @property
    def exhausted(self) -> bool:
        """Whether the patience is used up."""
        return self.patience is not None and self.waited >= self.patience
