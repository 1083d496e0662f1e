"""What carried a prediction: GNNExplainer's masks, integrated gradients, and the houses of BA-Shapes."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from explanations import Shapes
from torch import Tensor, nn
from torch_geometric.explain import Explainer, Explanation, GNNExplainer

from mpnn import Graph, backend, models
from mpnn.layer.masks import masked
from mpnn.models import GNN
from mpnn.train.analysis.explaining import explaining_masks, integrated_gradients
from tests.compare import assert_close
from tests.laws import OPTIONS, carrying
from tests.models.graphs import GRAPHS, features

NODE = 3
GRAPH = GRAPHS["plain"]


def first_masks(x: Tensor, num_edges: int) -> tuple[Tensor, Tensor]:
    """With which ours begins."""
    generator = torch.Generator().manual_seed(0)
    spread = 2**0.5 * (2.0 / (2 * x.size(0))) ** 0.5
    edges = spread * torch.randn(num_edges, generator=generator)
    return edges.to(x), 0.1 * torch.randn(x.size(1), generator=generator).to(x)


class FromOurMasks(GNNExplainer):
    def _initialize_masks(self, x: Any, edge_index: Any) -> None:
        super()._initialize_masks(x, edge_index)
        edges, attributes = first_masks(x, edge_index.size(1))
        self.edge_mask, self.node_mask = nn.Parameter(edges), nn.Parameter(attributes[None])


@pytest.mark.parametrize("conv", ["gcn", "gat"])
def test_masks_are_those_of_pygs_gnn_explainer(conv: str) -> None:
    torch.manual_seed(0)
    model, x = GNN(6, 8, 3, conv=conv).double().eval(), features(GRAPH.num_nodes)
    x[:, 2] = 0  # a feature that no node has
    said = model(x, GRAPH)[NODE].argmax()
    ours = explaining_masks(
        model, lambda x: F.cross_entropy(model(x, GRAPH)[NODE], said), x, GRAPH.num_edges, epochs=20
    )
    explainer = Explainer(
        model,
        FromOurMasks(epochs=20),
        explanation_type="model",
        node_mask_type="common_attributes",
        edge_mask_type="object",
        model_config={
            "mode": "multiclass_classification",
            "task_level": "node",
            "return_type": "raw",
        },
    )
    theirs = cast(Explanation, explainer(x, GRAPH.edge_index, index=NODE))
    # Each step of Adam divides by the root of small squares: 1e-16 before it is more behind it.
    assert_close(ours.edges, theirs.edge_mask, atol=1e-7)
    assert_close(ours.features, theirs.node_mask[0], atol=1e-7)
    assert ours.features[2] == 0 and 0 < (ours.edges > 0).sum() < GRAPH.num_edges


def test_the_houses_of_ba_shapes_are_found() -> None:
    """The paper's area under the curve is 0.925; `benchmarks/explanations.py` measures all houses."""
    shapes = Shapes("gcn")
    assert shapes.accuracy > 0.9
    assert shapes.area(shapes.houses[::15], epochs=100) >= 0.92


@pytest.mark.parametrize("conv", models.CONVS)
def test_what_edges_and_features_add_sums_to_the_score(conv: str) -> None:
    """Sundararajan et al., 2017, proposition 1, for every layer; and what is out of reach adds nothing."""
    torch.manual_seed(2)
    data = carrying(GRAPH)
    given = data.x
    assert isinstance(given, Tensor)
    inputs = {name: data.edges[name] for name in models.CONVS[conv].edge_inputs}
    model = GNN(given.size(1), 8, 3, num_layers=2, conv=conv, act="tanh", **OPTIONS.get(conv, {}))
    model = model.double().eval()

    def score(x: Tensor) -> Tensor:
        return cast(Tensor, model(x, GRAPH, **inputs)[NODE].softmax(-1)[0])

    with backend("eager"):
        shares = integrated_gradients(model, score, given, GRAPH.num_edges, steps=300)
        masks = explaining_masks(model, lambda x: -score(x).log(), given, GRAPH.num_edges, epochs=2)
        whole, alone, nothing = (
            score(given),
            alone_score(model, given, inputs),
            score(torch.zeros_like(given)),
        )
    assert_close(shares.features.sum(), whole - nothing, atol=5e-3)
    assert_close(shares.edges.sum(), whole - alone, atol=5e-3)
    reaches = torch.zeros(GRAPH.num_nodes, dtype=torch.bool)
    reaches[NODE] = True
    for _ in range(20):  # in whatever number of steps
        reaches[GRAPH.src[reaches[GRAPH.dst]]] = True
    out_of_reach = ~reaches[GRAPH.dst]
    assert not masks.edges[out_of_reach].any() and not shares.edges[out_of_reach].any()
    assert bool((masks.edges > 0).any())


def alone_score(model: nn.Module, x: Tensor, inputs: dict[str, Any]) -> Tensor:
    """The score where messages along the graph's edges are zero."""
    with masked(model, x.new_zeros(GRAPH.num_edges)):
        return cast(Tensor, model(x, GRAPH, **inputs)[NODE].softmax(-1)[0])


def test_of_a_linear_model_the_effects_are_its_products() -> None:
    layer = models.GraphConv(6, 1, aggr="sum").double()
    x = features(GRAPH.num_nodes)
    shares = integrated_gradients(layer, lambda x: layer(x, GRAPH)[NODE, 0], x, GRAPH.num_edges, steps=2)
    sent = x @ layer.lin_rel.weight[0]
    into = GRAPH.dst == NODE
    assert_close(shares.edges, torch.where(into, sent[GRAPH.src], 0.0))
    count = torch.bincount(GRAPH.src[into], minlength=GRAPH.num_nodes)
    expected = count[:, None] * x * layer.lin_rel.weight
    expected[NODE] += x[NODE] * layer.lin_root.weight[0]
    assert_close(shares.features, expected.detach())


def test_a_cached_spread_is_not_taken_for_a_masked_one() -> None:
    layer = models.SGConv(6, 3, K=2, cached=True).double()
    x = features(GRAPH.num_nodes)
    layer(x, GRAPH)
    shares = integrated_gradients(layer, lambda x: layer(x, GRAPH)[NODE, 0], x, GRAPH.num_edges, steps=4)
    assert shares.edges.count_nonzero() > 2


def test_a_graph_without_edges_has_features_alone() -> None:
    graph, x = Graph(torch.empty(2, 0, dtype=torch.int64), 2), torch.ones(2, 3)
    model = GNN(3, 4, 2).eval()
    masks = explaining_masks(model, lambda x: -model(x, graph)[0].log_softmax(-1)[1], x, 0, epochs=3)
    assert masks.edges.shape == (0,) and masks.features.shape == (3,)


def test_bad_counts_are_named() -> None:
    model = GNN(3, 4, 2)
    with pytest.raises(ValueError, match="epochs is 0, but should be at least 1"):
        explaining_masks(model, lambda x: x.sum(), torch.ones(2, 3), 0, epochs=0)
    with pytest.raises(ValueError, match="steps is 0, but should be at least 1"):
        integrated_gradients(model, lambda x: x.sum(), torch.ones(2, 3), 0, steps=0)
