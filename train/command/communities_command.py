"""`mpnn communities`: every method on a data set, and how well each finds the known classes."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import Any

from torch import Tensor

from mpnn.datasets import NodeDataset, load
from mpnn.train.analysis.communities import COMMUNITIES, communities, modularity, nmi
from mpnn.train.command import say
from mpnn.train.command.flags import absolute_paths, columns_of
from mpnn.train.errors import RunError
from mpnn.train.fitting import checkpoint
from mpnn.train.tasks.node_task import node_names


def run(flags: dict[str, Any]) -> int:
    """Do what the flags say."""
    flags = absolute_paths(flags)
    name = flags.get("dataset", "karate")
    data = load(name, flags.get("data"), columns_of(flags))
    if not isinstance(data, NodeDataset):
        raise RunError(f"{data.name} is {data.what}, but communities are of one graph's nodes")
    if data.weighted:
        raise RunError(
            f"the edges of {data.name} have weights, but communities are of edges that all weigh the same: "
            "leave the weights out by ignore"
        )
    known = None if data.y is None or data.y.dim() != 1 else data.y
    wanted = flags.get("count", None if known is None else data.num_classes)
    table = say.table("method", "communities", "NMI", "modularity", "seconds")
    columns: dict[str, list[int]] = {}
    for method in [flags["method"]] if "method" in flags else COMMUNITIES:
        needs_count = COMMUNITIES[method][0]
        if needs_count and wanted is None and "method" not in flags:
            continue
        begun = time.monotonic()
        # A single method gets the count that was given, and raises if it cannot use it.
        count = wanted if needs_count else flags.get("count") if "method" in flags else None
        found = communities(data.graph, method, count, seed=flags.get("seed", 0))
        seconds = time.monotonic() - begun
        columns[method] = found.tolist()
        table.add_row(
            method,
            str(len(set(columns[method]))),
            "" if known is None else f"{_nmi(found, known, data):.3f}",
            f"{modularity(data.graph, found):.3f}",
            f"{seconds:.2f}",
        )
    console = say.console()
    console.print(repr(data), markup=False)
    console.print(table)
    if "output" in flags:
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["node", *columns])
        rows.writerows(zip(node_names(data), *columns.values(), strict=True))
        checkpoint.write_output(Path(flags["output"]), text.getvalue().encode())
        console.print(f"{data.num_nodes} nodes written to {flags['output']}", markup=False, soft_wrap=True)
    return 0


def _nmi(found: Tensor, classes: Tensor, data: NodeDataset) -> float:
    return nmi(found, classes) if data.known is None else nmi(found[data.known], classes[data.known])
