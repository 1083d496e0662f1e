"""Links against other pairs: their loss, and how well they are ranked."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from mpnn.train.tasks.metrics import METRICS
from mpnn.train.tasks.objective import MultiLabel


class Links(MultiLabel):
    """Pairs of nodes, linked or not: binary cross-entropy, and the metrics of a ranking.

    AUC and average precision by scikit-learn. Hits@k is the share of links with a higher score than the k-th
    best of the other pairs (Hu et al., 2020, Open Graph Benchmark); with fewer than k others it is 1. MRR is
    the mean of 1 / rank, the rank of a link among all the other pairs of its part, ties counting half.

    Args:
        k: of Hits@k.

    >>> scores = torch.tensor([[3.0], [1.0], [2.0], [0.0]])
    >>> Links(k=1).scores(scores, torch.tensor([[True], [True], [False], [False]]))["hits"]
    0.5
    """

    what = learns = "links"

    def __init__(self, k: int = 20) -> None:
        super().__init__(("link",), "bce", None)
        self.k = k
        hits = replace(METRICS["hits"], title=f"Hits@{k}")
        self.metrics = (METRICS["auc"], METRICS["ap"], hits, METRICS["mrr"])

    def scores(self, output: Tensor, y: Tensor) -> dict[str, float]:
        """AUC, average precision, Hits@k and mean reciprocal rank."""
        from sklearn.metrics import (  # slow to import: only where it is needed
            average_precision_score,
            roc_auc_score,
        )

        score, linked = output.detach().flatten(), y.flatten()
        truth, found = linked.cpu().numpy(), score.cpu().numpy()
        links, others = score[linked], score[~linked].sort().values
        higher = len(others) - torch.searchsorted(others, links, right=True)
        as_high = len(others) - torch.searchsorted(others, links, right=False)
        rank = 1 + (higher + as_high) / 2
        hits = torch.ones(()) if len(others) < self.k else (links > others[-self.k]).double().mean()
        return {
            "auc": float(roc_auc_score(truth, found)),
            "ap": float(average_precision_score(truth, found)),
            "hits": float(hits),
            "mrr": float((1 / rank.double()).mean()),
        }
