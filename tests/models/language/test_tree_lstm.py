"""Tree-LSTMs equal the recursion of the paper, node by node."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from language_oracles import TreeRecursion
from torch import Tensor, nn

import mpnn
from mpnn import Graph, models, topology
from tests.compare import assert_close, assert_same

PARENTS = [[-1, 0, 0, 1, 1, 2, 4], [-1, 0], [-1], [4, 4, 3, 4, -1]]
FOREST = topology.tree(PARENTS)
# The same edges, with places that differ from the order of numbers; some children are the second of one.
TYPES = torch.tensor([1, 0, 1, 0, 0, 1, 1, 2, 0, 2, 1])
PLACED = Graph(FOREST.edge_index, FOREST.num_nodes, TYPES, num_edge_types=3)


class On(nn.Module):
    """A cell on a graph and a backend."""

    def __init__(self, cell: models.NaryTreeLSTM, graph: Graph, backend: str) -> None:
        super().__init__()
        self.weight_ih, self.weight_hh, self.bias = cell.weight_ih, cell.weight_hh, cell.bias
        self.cells, self.graph, self.backend = [cell], graph, backend

    def forward(self, x: Tensor) -> Any:
        with mpnn.backend(self.backend):
            return self.cells[0](x, self.graph)


@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("graph", [FOREST, PLACED], ids=["by number", "by type"])
def test_states_and_gradients_are_those_of_the_recursion(graph: Graph, bias: bool, backend: str) -> None:
    cell = models.NaryTreeLSTM(4, 5, 3, bias=bias).double()
    places = graph.edge_type
    if places is None:
        places = torch.tensor([0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 2])
    x = torch.randn(FOREST.num_nodes, 4, dtype=torch.float64)
    assert_same(On(cell, graph, backend), TreeRecursion(cell, graph, places), [x])


def test_left_and_right_are_not_the_same() -> None:
    cell = models.NaryTreeLSTM(4, 5).double()
    x = torch.randn(3, 4, dtype=torch.float64)
    edges = torch.tensor([[1, 2], [0, 0]])
    found = cell(x, Graph(edges, 3, torch.tensor([0, 1])))[0][0]
    turned = cell(x, Graph(edges, 3, torch.tensor([1, 0])))[0][0]
    assert not torch.allclose(found, turned)
    mirrored = cell(x[[0, 2, 1]], Graph(edges, 3, torch.tensor([1, 0])))[0][0]
    assert_close(found, mirrored)


def test_a_chain_of_only_children_is_an_lstm() -> None:
    cell, lstm = models.NaryTreeLSTM(4, 5, 1).double(), nn.LSTM(4, 5).double()
    with torch.no_grad():
        lstm.get_parameter("weight_ih_l0").copy_(cell.weight_ih)
        lstm.get_parameter("weight_hh_l0").copy_(cell.weight_hh)
        lstm.get_parameter("bias_ih_l0").copy_(cell.get_parameter("bias"))
        lstm.get_parameter("bias_hh_l0").zero_()
    x = torch.randn(7, 4, dtype=torch.float64)
    assert_close(cell(x, topology.chain(7))[0], lstm(x)[0])


def test_a_batch_of_trees_runs_level_by_level() -> None:
    cell, calls = models.NaryTreeLSTM(4, 5), []
    update = cell.update
    cell.update = lambda children, x: calls.append(len(x)) or update(children, x)  # type: ignore[method-assign]
    parents = [-1, 0, 0, 1, 1, 2, 2]
    with mpnn.backend("eager"):
        cell(torch.randn(70, 4), topology.tree([parents] * 10))
    assert calls == [40, 20, 10]


@pytest.mark.parametrize("cell", ["nary", "childsum"])
def test_every_phrase_has_a_class(cell: Any) -> None:
    model = models.TreeLSTM(9, 4, 5, 3, dropout=0.0, cell=cell, num_children=3).double()
    words = torch.full((FOREST.num_nodes,), -1)
    words[[3, 5, 6, 8, 9]] = torch.tensor([0, 8, 4, 4, 2])
    found = model(words, FOREST)
    x = F.embedding(words.clamp(min=0), model.embed.weight).masked_fill((words < 0)[:, None], 0.0)
    given = {"graph": FOREST} if cell == "childsum" else {}
    read: Any = model.cell
    h = read(x, **given)[0] if given else read(x, FOREST)[0]
    assert_close(found, F.linear(h, model.lin.weight, model.lin.bias))
    other = words.clone()
    other[8] = 5  # a word of the second tree
    changed = (model(other, FOREST) - found).abs().sum(1) > 0
    assert changed.nonzero().flatten().tolist() == [7, 8]


def test_mistakes_are_named() -> None:
    cell = models.NaryTreeLSTM(4, 5)
    with pytest.raises(ValueError, match="node 0 has a child number 2, but num_children is 2"):
        cell(torch.ones(4, 4), topology.tree([-1, 0, 0, 0]))
    with pytest.raises(ValueError, match=r"x is \[3, 5\], but should be \[3, 4\]"):
        cell(torch.ones(3, 5), topology.tree([-1, 0, 0]))
    with pytest.raises(ValueError, match="cycle"):
        cell(torch.ones(2, 4), torch.tensor([[0, 1], [1, 0]]))
    with pytest.raises(ValueError, match="cell is 'sum', but must be 'nary' or 'childsum'"):
        models.TreeLSTM(9, cell="sum")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"words\[1\] is 9, but must be from -1 to 8"):
        models.TreeLSTM(9, 4, 5)(torch.tensor([-1, 9]), topology.tree([-1, 0]))
