"""Small tables of one's own, and how tests read them."""

from __future__ import annotations

from pathlib import Path

from mpnn.datasets import Columns, NodeDataset, load_own

EDGES = "from,to,weight,kind\nann,bob,0.5,friend\nbob,cid,1,foe\ncid,dan,2,friend\n"
NODES = "name,age,height,team\ndan,4,1.5,red\nann,1,1.1,red\nbob,2,1.2,blue\ncid,3,1.3,\n"


def read(path: Path, **columns: str | bool | None) -> NodeDataset:
    data = load_own(path, Columns(**columns))  # type: ignore[arg-type]
    assert isinstance(data, NodeDataset)
    return data


def links(data: NodeDataset) -> set[tuple[str, str]]:
    names = data.node_names
    return {(names[i], names[j]) for i, j in data.graph.edge_index.T.tolist()}
