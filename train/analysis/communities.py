"""Communities without labels: baselines of networkx and scikit-learn, and k-means on DeepWalk's vectors."""

from __future__ import annotations

from collections.abc import Callable

import networkx as nx
import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn.functional import normalize

from mpnn import Graph
from mpnn.models import SkipGram
from mpnn.train.choices import METHODS
from mpnn.train.errors import RunError

STARTS = 10  # of k-means


def communities(graph: Graph, method: str, count: int | None = None, *, seed: int = 0) -> Tensor:
    """Divide the nodes into groups that are linked more within than between.

    Edges count in both directions, once each, and not from a node to itself.

    Args:
        graph: the edges.
        method: one of `COMMUNITIES`.
        count: the number of groups; "spectral" and "deepwalk" need it, the others find it out.
        seed: of all random numbers.

    Shapes: -> int64 `[num_nodes]`, the number of each node's group, from 0.

    Raises:
        RunError: the method is unknown, or count does not suit it.

    >>> two_pairs = Graph(torch.tensor([[0, 2], [1, 3]]))
    >>> communities(two_pairs, "louvain").tolist()
    [0, 0, 1, 1]
    """
    if method not in COMMUNITIES:
        raise RunError(f"method is {method!r}, but should be one of {', '.join(COMMUNITIES)}")
    needs_count, _, find = COMMUNITIES[method]
    if needs_count and (count is None or not 1 <= count <= graph.num_nodes):
        raise RunError(
            f"count is {count}, but {method} divides {graph.num_nodes} nodes into 1..{graph.num_nodes} groups"
        )
    if not needs_count and count is not None:
        raise RunError(f"count is {count}, but {method} finds out how many communities there are")
    return find(graph, count or 0, seed)


def nmi(found: Tensor, classes: Tensor) -> float:
    """Normalised mutual information of two divisions: 1 for the same, about 0 for unrelated ones.

    >>> nmi(torch.tensor([0, 0, 1, 1]), torch.tensor([7, 7, 3, 3]))
    1.0
    """
    from sklearn.metrics import normalized_mutual_info_score  # slow to import: only where it is needed

    return float(normalized_mutual_info_score(classes.cpu().numpy(), found.cpu().numpy()))


def modularity(graph: Graph, found: Tensor) -> float:
    """How many more links stay within groups than by chance, as a share of all (Newman and Girvan, 2004)."""
    groups = [set((found == k).nonzero().flatten().tolist()) for k in range(int(found.max()) + 1)]
    return float(nx.community.modularity(_network(graph), groups))


def _network(graph: Graph) -> nx.Graph:
    network = nx.Graph()
    network.add_nodes_from(range(graph.num_nodes))
    network.add_edges_from(graph.without_self_loops().edge_index.T.tolist())
    return network


def _numbered(groups: list[set[int]], num_nodes: int) -> Tensor:
    """The number of each node's group; groups in the order of their first nodes."""
    found = torch.empty(num_nodes, dtype=torch.int64)
    for number, group in enumerate(sorted(map(sorted, groups))):
        found[group] = number
    return found


def _label_propagation(graph: Graph, count: int, seed: int) -> Tensor:
    groups = nx.community.asyn_lpa_communities(_network(graph), seed=seed)
    return _numbered(list(groups), graph.num_nodes)


def _greedy_modularity(graph: Graph, count: int, seed: int) -> Tensor:
    groups = nx.community.greedy_modularity_communities(_network(graph))
    return _numbered([set(group) for group in groups], graph.num_nodes)


def _louvain(graph: Graph, count: int, seed: int) -> Tensor:
    return _numbered(nx.community.louvain_communities(_network(graph), seed=seed), graph.num_nodes)


def _spectral(graph: Graph, count: int, seed: int) -> Tensor:
    from sklearn.cluster import SpectralClustering  # slow to import: only where it is needed

    links = csr_array(nx.to_scipy_sparse_array(_network(graph), dtype="float64"))
    links.indices, links.indptr = links.indices.astype("int32"), links.indptr.astype("int32")
    model = SpectralClustering(count, affinity="precomputed", n_init=STARTS, random_state=seed)
    return torch.from_numpy(model.fit_predict(links)).long()


def _deepwalk(graph: Graph, count: int, seed: int) -> Tensor:
    from sklearn.cluster import KMeans  # slow to import: only where it is needed

    ends = graph.without_self_loops().edge_index
    both, _ = Graph(torch.cat([ends, ends.flip(0)], dim=1), graph.num_nodes).coalesce()
    vectors = normalize(SkipGram(both, 64, window=5, seed=seed).fit())
    model = KMeans(count, n_init=STARTS, random_state=seed)
    return torch.from_numpy(model.fit_predict(vectors.cpu().numpy())).long()


# By name: whether a method needs the number of groups, a line about it, and its function.
COMMUNITIES: dict[str, tuple[bool, str, Callable[[Graph, int, int], Tensor]]] = {
    name: (needs_count, METHODS[name], find)
    for name, needs_count, find in (
        ("label-propagation", False, _label_propagation),
        ("greedy-modularity", False, _greedy_modularity),
        ("louvain", False, _louvain),
        ("spectral", True, _spectral),
        ("deepwalk", True, _deepwalk),
    )
}
