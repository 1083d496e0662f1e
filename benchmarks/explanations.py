"""How well GNNExplainer finds the houses of BA-Shapes: the ROC AUC of edges.

    python benchmarks/explanations.py [--conv gcn] [--houses 80]

The data is that of the paper (Ying et al., 2019, section 5; its figure is 0.925): a Barabási-Albert graph of
300 nodes to which 80 houses are attached, with constant features. A network of three layers learns the place
of a node in a house; the edges of the houses are then to be told from the others within three hops, around
one node of each house, as in PyTorch Geometric's example. Layers that average, as SAGE and GAT do, learn
nothing from constant features.
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch_geometric import seed_everything
from torch_geometric.datasets import ExplainerDataset
from torch_geometric.datasets.graph_generator import BAGraph
from torch_geometric.utils import k_hop_subgraph

from mpnn import Graph, sample_neighbors
from mpnn.models import GNN
from mpnn.train.analysis.explaining import explaining_masks

BASE, HOUSES, CHANNELS, LAYERS = 300, 80, 10, 3


class Shapes:
    """BA-Shapes, and a network that has learned it."""

    def __init__(self, conv: str = "gcn", epochs: int = 1000, seed: int = 0) -> None:
        seed_everything(seed)  # PyG grows its graph with NumPy's numbers
        self.data = ExplainerDataset(BAGraph(BASE, 5), motif_generator="house", num_motifs=HOUSES)[0]
        self.graph = Graph(self.data.edge_index, self.data.num_nodes)
        self.x = torch.ones(self.graph.num_nodes, CHANNELS)
        self.houses = self.data.node_mask.nonzero().flatten()
        self.model = self._learned(GNN(CHANNELS, 20, 4, num_layers=LAYERS, conv=conv), epochs)

    def _learned(self, model: nn.Module, epochs: int) -> nn.Module:
        train = torch.randperm(self.graph.num_nodes)[: int(0.8 * self.graph.num_nodes)]
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(epochs):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(self.x, self.graph)[train], self.data.y[train])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return model.eval()

    @property
    def accuracy(self) -> float:
        """Over all nodes."""
        return float((self.model(self.x, self.graph).argmax(1) == self.data.y).float().mean())

    def area(self, nodes: Tensor, epochs: int) -> float:
        """The ROC AUC of the edges in reach of some nodes, all together."""
        found = [self._explained(int(node), epochs) for node in nodes]
        truth, score = (torch.cat(parts) for parts in zip(*found, strict=True))
        return float(roc_auc_score(truth, score))

    def _explained(self, node: int, epochs: int) -> tuple[Tensor, Tensor]:
        # One hop more than the network reads: the last nodes' degrees.
        part = sample_neighbors(self.graph, torch.tensor([node]), [-1] * (LAYERS + 1))
        x = self.x[part.nodes]
        said = self.model(x, part.graph)[:1].argmax(1)

        def loss(x: Tensor) -> Tensor:
            return F.cross_entropy(self.model(x, part.graph)[:1], said)

        mask = explaining_masks(self.model, loss, x, part.graph.num_edges, epochs=epochs, seed=node).edges
        near = k_hop_subgraph(node, LAYERS, self.data.edge_index)[3][part.edges]
        return self.data.edge_mask[part.edges][near], mask[near]


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--conv", default="gcn", help="the layer (default: gcn)")
    parser.add_argument("--houses", type=int, default=HOUSES, help="how many houses (default: all)")
    parser.add_argument("--place", type=int, default=0, help="of the node in its house, 0 to 4 (default: 0)")
    parser.add_argument("--epochs", type=int, default=100, help="of each explanation")
    asked = parser.parse_args()
    shapes = Shapes(asked.conv)
    area = shapes.area(shapes.houses[asked.place :: 5][: asked.houses], asked.epochs)
    print(f"{asked.conv}: {100 * shapes.accuracy:.1f} % of nodes right, AUC of edges {area:.3f}")


if __name__ == "__main__":
    main()
