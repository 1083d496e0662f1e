"""An argument that a layer cannot use is an error of one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from mpnn import Graph, models

EDGES = torch.tensor([[0, 1, 2], [1, 2, 3]])
X, PAIR = torch.ones(4, 6), (torch.ones(4, 6), torch.ones(4, 6))
TYPES = torch.tensor([0, 1, 2])

BAD: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "too few rows": (
        lambda: models.GCNConv(6, 4)(torch.ones(3, 6), Graph(EDGES)),
        ValueError,
        "the features are for 3 nodes, but the graph has 4 nodes.",
    ),
    "an index beyond the features": (
        lambda: models.GCNConv(6, 4)(torch.ones(3, 6), EDGES),
        IndexError,
        "edge_index[1, 2] is 3, but the graph has 3 destination nodes (0..2).",
    ),
    "another width": (
        lambda: models.GATConv(5, 4)(X, EDGES),
        ValueError,
        "GATConv got x of width 6 but was built with in_channels=5.",
    ),
    "another width on one side": (
        lambda: models.SAGEConv((6, 5), 4)(PAIR, EDGES),
        ValueError,
        "SAGEConv got x[1] of width 6 but was built with in_channels=(6, 5).",
    ),
    "one dimension": (
        lambda: models.SAGEConv(6, 4)(torch.ones(6), EDGES),
        ValueError,
        "SAGEConv needs x [num_nodes, channels], or with node_dim=-2 several of them, got shape [6].",
    ),
    "no tensor": (
        lambda: models.SAGEConv(6, 4)([[1.0] * 6] * 4, EDGES),
        TypeError,
        "SAGEConv needs x, a tensor or a pair of tensors, got list.",
    ),
    "another precision": (
        lambda: models.SAGEConv(6, 4)(X.double(), EDGES),
        TypeError,
        "SAGEConv has weights of torch.float32, but x is torch.float64: convert one of them.",
    ),
    "a pair where there is one set of nodes": (
        lambda: models.GCNConv(6, 4)(PAIR, EDGES),
        ValueError,
        "GCNConv got a pair of features, but has one set of nodes: give one tensor, or take SAGEConv or "
        "GraphConv.",
    ),
    "a pair against the flow": (
        lambda: models.SAGEConv(6, 4, flow="target_to_source")(PAIR, EDGES),
        ValueError,
        "SAGEConv got a pair of features, which flow='target_to_source' cannot tell apart.",
    ),
    "another size": (
        lambda: models.SAGEConv(6, 4)(X, EDGES, size=(4, 5)),
        ValueError,
        "size is (4, 5), but x has 4 rows for sources and destinations.",
    ),
    "edge_attr without edge_dim": (
        lambda: models.GATConv(6, 4)(X, EDGES, torch.ones(3, 5)),
        ValueError,
        "GATConv got edge_attr of width 5 but was built with edge_dim=None: pass edge_dim=5, or no "
        "edge_attr.",
    ),
    "edge_attr of another width": (
        lambda: models.TransformerConv(6, 4, edge_dim=2)(X, EDGES, torch.ones(3, 5)),
        ValueError,
        "TransformerConv got edge_attr of width 5 but was built with edge_dim=2.",
    ),
    "edge_attr for other edges": (
        lambda: models.GATv2Conv(6, 4, edge_dim=5)(X, EDGES, torch.ones(2, 5)),
        ValueError,
        "GATv2Conv got edge_attr for 2 edges, but the graph has 3.",
    ),
    "no edge_attr": (
        lambda: models.GINEConv(torch.nn.Linear(6, 4))(X, EDGES),
        ValueError,
        "GINEConv needs edge_attr, the features of the edges, but got none.",
    ),
    "edge_attr of integers": (
        lambda: models.GATConv(6, 4, edge_dim=1)(X, EDGES, TYPES),
        TypeError,
        "GATConv needs edge_attr of floating point, got torch.int64.",
    ),
    "edge_weight of several columns": (
        lambda: models.GCNConv(6, 4)(X, EDGES, torch.ones(3, 2)),
        ValueError,
        "GCNConv needs edge_weight [num_edges], one number per edge, got shape [3, 2].",
    ),
    "edge_weight for other edges": (
        lambda: models.TAGConv(6, 4)(X, EDGES, torch.ones(4)),
        ValueError,
        "TAGConv got edge_weight for 4 edges, but the graph has 3.",
    ),
    "loops without normalisation": (
        lambda: models.GCNConv(6, 4, add_self_loops=True, normalize=False),
        ValueError,
        "GCNConv got add_self_loops=True with normalize=False: add them to the graph instead.",
    ),
    "an aggregator beside attention": (
        lambda: models.GATConv(6, 4, aggr="max"),
        ValueError,
        "GATConv sums by its attention weights: leave out aggr.",
    ),
    "a gate between one summand": (
        lambda: models.TransformerConv(6, 4, beta=True, root_weight=False),
        ValueError,
        "TransformerConv got beta=True with root_weight=False: there is nothing to mix.",
    ),
    "no destinations to ask": (
        lambda: models.GATv2Conv(6, 4)((X, None), EDGES),
        ValueError,
        "GATv2Conv needs x[1], the features of the destinations, but got none.",
    ),
    "no edge_type": (
        lambda: models.RGCNConv(6, 4, 3)(X, EDGES),
        ValueError,
        "RGCNConv needs edge_type, as an argument or in the graph, but got none.",
    ),
    "edge_type twice": (
        lambda: models.RGCNConv(6, 4, 3)(X, Graph(EDGES, 4, TYPES), TYPES),
        ValueError,
        "RGCNConv got edge_type twice: as an argument, and in the graph.",
    ),
    "a type too many": (
        lambda: models.RGCNConv(6, 4, 2)(X, EDGES, TYPES),
        IndexError,
        "edge_type[2] is 2, but there are 2 types (0..1).",
    ),
    "a type too many in the graph": (
        lambda: models.RGCNConv(6, 4, 2)(X, Graph(EDGES, 4, TYPES)),
        ValueError,
        "the graph has 3 edge types, but RGCNConv was built with num_relations=2.",
    ),
    "an unknown node": (
        lambda: models.RGCNConv(4, 4, 3)(torch.tensor([0, 4, 1, 2]), EDGES, TYPES),
        IndexError,
        "x[1] is 4, but RGCNConv has 4 nodes to know.",
    ),
    "node numbers for blocks": (
        lambda: models.RGCNConv(4, 4, 3, num_blocks=2)(None, EDGES, TYPES),
        ValueError,
        "RGCNConv with num_blocks needs node features, got node numbers.",
    ),
    "two decompositions": (
        lambda: models.RGCNConv(4, 4, 3, num_blocks=2, num_bases=2),
        ValueError,
        "num_bases=2 and num_blocks=2 exclude each other.",
    ),
    "a matrix of another size": (
        lambda: models.NNConv(6, 4, torch.nn.Linear(5, 20))(X, EDGES, torch.ones(3, 5)),
        ValueError,
        "NNConv needs an nn that gives 6 * 4 numbers per edge, got 20.",
    ),
    "a state too narrow": (
        lambda: models.GatedGraphConv(4, 2)(X, EDGES),
        ValueError,
        "GatedGraphConv got x of width 6, but its state is only 4 wide.",
    ),
    "towers that do not fit": (
        lambda: models.PNAConv(6, 4, ["sum"], ["identity"], torch.tensor([1, 1]), towers=3),
        ValueError,
        "towers=3 must divide out_channels.",
    ),
    "an unknown scaler": (
        lambda: models.PNAConv(6, 4, ["sum"], ["log"], torch.tensor([1, 1])),
        ValueError,
        "scalers has 'log', but knows only identity, amplification, attenuation, linear, inverse_linear.",
    ),
    "an empty histogram": (
        lambda: models.PNAConv(6, 4, ["sum"], ["linear"], torch.tensor([0, 0])),
        ValueError,
        "deg must be a histogram [max_degree + 1]: how many nodes have each in-degree, got [0, 0].",
    ),
    "an unknown Laplacian": (
        lambda: models.ChebConv(6, 4, 2, normalization="left"),
        ValueError,
        "normalization is 'left', but must be None, 'sym' or 'rw'.",
    ),
    "two eigenvalues and no batch": (
        lambda: models.ChebConv(6, 4, 2)(X, EDGES, lambda_max=torch.ones(2)),
        ValueError,
        "lambda_max has 2 entries, one per graph, but no batch says which graph a node belongs to.",
    ),
    "no width": (
        lambda: models.GCNConv(0, 4),
        ValueError,
        "in_channels must be at least 1, or -1 for the first input's, got 0.",
    ),
    "an unknown fill value": (
        lambda: models.GATConv(6, 4, edge_dim=1, fill_value="median"),
        ValueError,
        "fill_value is 'median', but must be a number, a tensor or one of mean, sum, add, max, min, mul.",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence(case: str) -> None:
    call, error, sentence = BAD[case]
    with pytest.raises(error) as raised:
        call()
    assert str(raised.value) == sentence
