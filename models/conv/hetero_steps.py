"""Layers of several relations that say the same, as one step over rows (relation, node)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from mpnn import HeteroGraph, propagate
from mpnn.aggregate.aggregators import Mean, Sum
from mpnn.functional import linear
from mpnn.graph.hetero import EdgeType
from mpnn.models.conv.gat_conv import GATConv
from mpnn.models.conv.graph_conv import GraphConv
from mpnn.models.conv.sage_conv import SAGEConv
from mpnn.models.parts.linear import see
from mpnn.plan.typed import linear_rows
from mpnn.step.maps import dot_of_map
from mpnn.step.plain import is_plain, weights_of

Layers = Mapping[EdgeType, nn.Module]
Inputs = Mapping[str, Tensor]

# h_i' = W_root h_i + W aggregate { h_j } ------------------------------------------------------------------


class _Maps(NamedTuple):
    neighbours: nn.Module
    root: nn.Module | None


def _maps(conv: nn.Module) -> _Maps | None:
    """The two maps of a layer that says nothing else."""
    if is_plain(conv, SAGEConv):
        sage = cast(SAGEConv, conv)
        if sage.normalize or sage.project:
            return None
        return _Maps(sage.lin_l, sage.lin_r if sage.root_weight else None)
    if is_plain(conv, GraphConv):
        return _Maps(conv.lin_rel, conv.lin_root)  # type: ignore[arg-type]
    return None


def is_linear(edge_type: EdgeType, conv: nn.Module, x_dict: Inputs) -> bool:
    """Whether a layer is a map of a sum or of a mean, and of the node itself, and takes these inputs.

    Inputs that do not fit are left to the layer, which says what is wrong.
    """
    maps = _maps(conv)
    if maps is None or type(conv.aggr_module) not in (Sum, Mean):
        return False
    if conv.flow != "source_to_target" or conv.node_dim != 0:
        return False
    ends = [(maps.neighbours, edge_type[0]), *([(maps.root, edge_type[2])] if maps.root else [])]
    return all(_fits(lin, x_dict.get(node_type)) for lin, node_type in ends)


def _fits(lin: nn.Module, x: Tensor | None) -> bool:
    """Whether a linear map may be read instead of called, and takes these rows."""
    if x is None or x.dim() != 2:
        return False
    see(lin, x)
    known = weights_of(lin)
    return known is not None and known.weight.size(1) == x.size(1) and known.weight.dtype == x.dtype


def linear_sums(convs: Layers, x_dict: Inputs, graph: HeteroGraph) -> dict[str, Tensor]:
    """Of each type of nodes the sum of what relations into it give, Σ_r (W_root,r h_i + W_r aggregate h_j).

    Maps are linear: the roots of all relations are one map, and W_r comes before or after the sum.
    """
    graph = graph.with_edge_types(list(convs))
    maps = {edge_type: cast(_Maps, _maps(conv)) for edge_type, conv in convs.items()}
    after = _is_narrow(convs, maps, x_dict, graph)
    sums = (_mapped_after if after else _mapped_before)(convs, maps, x_dict, graph)
    for node_type, total in sums.items():
        own = [one for edge_type, one in maps.items() if edge_type[2] == node_type]
        bias = _sum([one.neighbours.bias for one in own if one.neighbours.bias is not None])
        weight = _sum([one.root.weight for one in own if one.root is not None])
        if weight is not None:
            sums[node_type] = linear(x_dict[node_type], weight, bias) + total
        elif bias is not None:
            sums[node_type] = total + bias
    return sums


def _is_narrow(convs: Layers, maps: Mapping[EdgeType, _Maps], x_dict: Inputs, graph: HeteroGraph) -> bool:
    """Whether rows before the maps are alike for all relations, and no wider than rows after them."""
    widths = {x_dict[name].size(1) if name in x_dict else -1 for name in graph.node_types}
    outs = {cast(Tensor, one.neighbours.weight).size(0) for one in maps.values()}
    kinds = {type(conv.aggr_module) for conv in convs.values()}
    return len(widths) == len(kinds) == 1 and max(widths) <= min(outs)


def _mapped_after(
    convs: Layers, maps: Mapping[EdgeType, _Maps], x_dict: Inputs, graph: HeteroGraph
) -> dict[str, Tensor]:
    """Σ_r W_r aggregate h_j: one loop fills a row (node, relation), and a product sums a node's rows."""
    aggr = "mean" if all(type(conv.aggr_module) is Mean for conv in convs.values()) else "sum"
    rows = propagate(graph.by_receiver(), _plain, aggr, h=graph.join(x_dict))
    sums, begin = {}, 0
    for node_type, count in graph.num_nodes_dict.items():
        if relations := graph.relations_into(node_type):
            end = begin + count * len(relations)
            weight = torch.cat([cast(Tensor, maps[one].neighbours.weight) for one in relations], 1)
            sums[node_type] = linear(rows[begin:end].view(count, weight.size(1)), weight)
            begin = end
    return sums


def _mapped_before(
    convs: Layers, maps: Mapping[EdgeType, _Maps], x_dict: Inputs, graph: HeteroGraph
) -> dict[str, Tensor]:
    """Σ_r aggregate W_r h_j: W_r h_j is a row (relation, node), and one loop sums those of all relations."""
    rows = linear_rows(
        [x_dict[edge_type[0]] for edge_type in convs],
        [cast(Tensor, one.neighbours.weight) for one in maps.values()],
    )
    means = tuple(type(conv.aggr_module) is Mean for conv in convs.values())
    edges = graph.by_relation(sources=True)
    if any(means):
        received = propagate(edges, _weighted, h=rows, weight=_shares(graph, means, rows.dtype))
    else:
        received = propagate(edges, _plain, h=rows)
    each = graph.split(received)
    return {edge_type[2]: each[edge_type[2]] for edge_type in convs}


def _plain(h_j: Tensor) -> Tensor:
    return h_j


def _weighted(h_j: Tensor, weight: Tensor) -> Tensor:
    return weight * h_j


def _shares(graph: HeteroGraph, means: tuple[bool, ...], dtype: torch.dtype) -> Tensor:
    """`[num_edges, 1]`, what an edge counts: in a mean one part of those of its relation into its node."""

    def compute() -> Tensor:
        rows = graph.by_relation(destinations=True)
        share = rows.in_degree.to(dtype).reciprocal()[rows.dst]
        if not all(means):
            types = graph.homogeneous.edge_type
            assert types is not None
            share = share.where(torch.tensor(means, device=share.device)[types], 1.0)
        return share[:, None]

    return graph.homogeneous.memo(("shares", means, dtype), compute)


def _sum(tensors: Sequence[Any]) -> Tensor | None:
    return None if not tensors else tensors[0] if len(tensors) == 1 else torch.stack(list(tensors)).sum(0)


# Attention within each relation ---------------------------------------------------------------------------


def attends_alike(convs: Layers, x_dict: Inputs) -> Iterator[dict[EdgeType, GATConv]]:
    """The layers that attend in one and the same way, at least two at a time."""
    groups: dict[tuple[object, ...], dict[EdgeType, GATConv]] = {}
    for edge_type, conv in convs.items():
        if not is_plain(conv, GATConv):
            continue
        gat = cast(GATConv, conv)
        given = zip(gat.maps(), (x_dict.get(edge_type[0]), x_dict.get(edge_type[2])), strict=True)
        if not all(_fits(lin, x) for lin, x in given):
            continue
        if gat.add_self_loops or gat.edge_dim is not None or gat.flow != "source_to_target" or gat.node_dim:
            continue
        settings = (gat.heads, gat.out_channels, gat.negative_slope, gat.dropout, gat.training)
        groups.setdefault(settings, {})[edge_type] = gat
    return (group for group in groups.values() if len(group) > 1)


def attended(convs: Mapping[EdgeType, GATConv], x_dict: Inputs, graph: HeteroGraph) -> dict[EdgeType, Tensor]:
    """Of each relation what its layer gives: values and scores are rows (relation, node) of one step."""
    graph = graph.with_edge_types(list(convs))
    senders, receivers, weights = [], [], []
    for (source, _, destination), conv in convs.items():
        lin_src, lin_dst = conv.maps()
        weights.append(cast(Tensor, lin_src.weight))
        senders.append(dot_of_map(lin_src, x_dict[source], conv.att_src))
        receivers.append(dot_of_map(lin_dst, x_dict[destination], conv.att_dst))
    values = linear_rows([x_dict[edge_type[0]] for edge_type in convs], weights)
    first = next(iter(convs.values()))
    received = first.propagate(
        graph.by_relation(sources=True, destinations=True),
        x=(first.split(values), None),
        score=(torch.cat(senders), torch.cat(receivers)),
        edge_score=None,
    )
    return {
        edge_type: conv.finish(received[graph.destination_rows[edge_type]], x_dict[edge_type[2]])
        for edge_type, conv in convs.items()
    }
