"""node2vec with PyTorch Geometric's interface: a table of vectors, trained by any optimiser."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mpnn.graph.adjacency import Topology, as_graph
from mpnn.graph.checks import as_int
from mpnn.graph.graph import Graph
from mpnn.layer.names import also_named
from mpnn.models.parts.checks import at_least, check_number, ranges
from mpnn.sampling.walks import check_biases, random_walks


@also_named(edge_index="graph")
@ranges(
    embedding_dim=at_least(1),
    walk_length=at_least(1),
    context_size=at_least(2),
    walks_per_node=at_least(1),
    p=check_number,
    q=check_number,
    num_negative_samples=at_least(1),
    num_nodes=at_least(0),
)
class Node2Vec(nn.Module):
    """min -mean log σ(z_u · z_v) - mean log σ(-z_u · z_k), where walks meet v near u, and k at random.

    Grover and Leskovec, 2016, with PyG's arguments, methods and state_dict; the walks need no further
    package. `SkipGram` trains such vectors as the code of the paper does, and much faster.

    Args:
        graph: a `Graph`, or an `edge_index` tensor.
        embedding_dim: channels of a vector.
        walk_length: how many nodes a walk visits.
        context_size: how many of them a window holds: the first is u, the others are v.
        walks_per_node: how many walks begin at each node of a batch.
        p, q: see `mpnn.random_walks`.
        num_negative_samples: how many rows of random nodes there are for each walk.
        num_nodes: of an `edge_index` tensor.
        sparse: let the gradient be sparse, for `torch.optim.SparseAdam`.

    Raises:
        ValueError: a number out of its range, or a window longer than a walk.

    >>> square = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    >>> model = Node2Vec(square, embedding_dim=8, walk_length=5, context_size=3)
    >>> [model.loss(*batch).shape for batch in model.loader(batch_size=2)]
    [torch.Size([]), torch.Size([])]
    """

    def __init__(
        self,
        graph: Topology,
        embedding_dim: int,
        walk_length: int,
        context_size: int,
        walks_per_node: int = 1,
        p: float = 1.0,
        q: float = 1.0,
        num_negative_samples: int = 1,
        num_nodes: int | None = None,
        sparse: bool = False,
    ) -> None:
        super().__init__()
        for name, value, low in (
            ("embedding_dim", embedding_dim, 1),
            ("context_size", context_size, 2),
            ("walks_per_node", walks_per_node, 1),
            ("num_negative_samples", num_negative_samples, 1),
        ):
            if value < low:
                raise ValueError(f"{name} is {value}, but should be at least {low}.")
        if walk_length < context_size:
            raise ValueError(
                f"walk_length is {walk_length}, but should be at least context_size, {context_size}."
            )
        check_biases(p, q)
        if isinstance(graph, Graph) and num_nodes not in (None, graph.num_nodes):
            raise ValueError(f"num_nodes is {num_nodes}, but the graph has {graph.num_nodes} nodes.")
        self.graph = as_graph(graph, num_nodes)
        self.num_nodes = self.graph.num_nodes
        self.embedding_dim, self.walk_length, self.context_size = embedding_dim, walk_length, context_size
        self.walks_per_node, self.p, self.q = walks_per_node, p, q
        self.num_negative_samples = num_negative_samples
        self.embedding = nn.Embedding(self.num_nodes, embedding_dim, sparse=sparse)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the vectors anew."""
        self.embedding.reset_parameters()

    def forward(self, batch: Tensor | None = None) -> Tensor:
        """The vectors of the given nodes, or of all, `[num_nodes, embedding_dim]`."""
        vectors: Tensor = self.embedding.weight
        return vectors if batch is None else vectors[batch]

    def loader(self, **options: Any) -> DataLoader[Any]:
        """Batches of nodes as `sample` makes them; options of `torch.utils.data.DataLoader`."""
        nodes: Any = range(self.num_nodes)
        if "batch_size" in options and options["batch_size"] is not None:
            options["batch_size"] = as_int("batch_size", options["batch_size"], 1)
        return DataLoader(nodes, collate_fn=self.sample, **options)

    def sample(self, batch: list[int] | Tensor) -> tuple[Tensor, Tensor]:
        """Windows of walks, and of random nodes, from start nodes: `[num_windows, context_size]` each."""
        nodes = torch.as_tensor(batch, device=self.graph.device)
        return self.pos_sample(nodes), self.neg_sample(nodes)

    def pos_sample(self, batch: Tensor) -> Tensor:
        """All windows of walks from these nodes, `[num_windows, context_size]`."""
        start = batch.repeat(self.walks_per_node)
        return self._windows(random_walks(self.graph, start, self.walk_length - 1, p=self.p, q=self.q))

    def neg_sample(self, batch: Tensor) -> Tensor:
        """All windows of rows of a start node and random nodes, `[num_windows, context_size]`."""
        start = batch.repeat(self.walks_per_node * self.num_negative_samples)
        drawn = torch.randint(self.num_nodes, (len(start), self.walk_length - 1), device=batch.device)
        return self._windows(torch.cat([start[:, None], drawn], dim=1))

    def _windows(self, walks: Tensor) -> Tensor:
        return torch.cat(list(walks.unfold(1, self.context_size, 1).unbind(1)))

    def loss(self, pos_rw: Tensor, neg_rw: Tensor) -> Tensor:
        """The loss of windows of walks and of random nodes, a scalar."""
        return -F.logsigmoid(self._scores(pos_rw)).mean() - F.logsigmoid(-self._scores(neg_rw)).mean()

    def _scores(self, windows: Tensor) -> Tensor:
        first: Tensor = self.embedding(windows[:, :1])
        others: Tensor = self.embedding(windows[:, 1:])
        return (first * others).sum(dim=-1)

    def test(
        self,
        train_z: Tensor,
        train_y: Tensor,
        test_z: Tensor,
        test_y: Tensor,
        solver: str = "lbfgs",
        **options: Any,
    ) -> float:
        """The accuracy of logistic regression on vectors; options of scikit-learn's `LogisticRegression`."""
        from sklearn.linear_model import LogisticRegression

        x, y, tested, truth = (part.detach().cpu().numpy() for part in (train_z, train_y, test_z, test_y))
        return float(LogisticRegression(solver=solver, **options).fit(x, y).score(tested, truth))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.num_nodes}, {self.embedding_dim})"
