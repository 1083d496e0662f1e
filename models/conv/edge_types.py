"""What layers with a matrix for each relation share: the types of edges, and how a matrix is put together."""

from __future__ import annotations

from torch import Tensor

from mpnn import Graph
from mpnn.layer.typed import TypedEdges
from mpnn.models.conv.layer import Layer
from mpnn.models.parts.cache import Cache
from mpnn.models.parts.checks import check_count


def typed_edges(
    layer: Layer,
    graph: Graph,
    edge_type: Tensor | None,
    num_relations: int,
    cache: Cache,
    *,
    everywhere: bool = False,
) -> TypedEdges:
    """Who sends to whom by which relation, from an argument or from the graph.

    Args:
        layer: whose flow says the direction, and whose name errors begin with.
        graph: maybe with types.
        edge_type: `[num_edges]`, unless the graph has it.
        num_relations: of the layer.
        cache: of the layer, for the graph that carries the types of an argument.
        everywhere: see `TypedEdges`.

    Raises:
        ValueError: types that are missing, or given twice, or more than the layer has.
    """
    name = type(layer).__name__
    if edge_type is not None:
        if graph.edge_type is not None:
            raise ValueError(f"{name} got edge_type twice: as an argument, and in the graph.")
        untyped = graph
        graph = cache(
            lambda: untyped.carrying(edge_type=edge_type, num_edge_types=num_relations), untyped, edge_type
        )
    types = graph.edge_type
    if types is None:
        raise ValueError(f"{name} needs edge_type, as an argument or in the graph, but got none.")
    if graph.num_edge_types > num_relations:
        raise ValueError(
            f"the graph has {graph.num_edge_types} edge types, but {name} was built with "
            f"num_relations={num_relations}."
        )
    return TypedEdges(graph, types, num_relations, layer.flow == "source_to_target", everywhere)


def weight_shape(
    in_channels: int, out_channels: int, num_relations: int, num_bases: int | None, num_blocks: int | None
) -> tuple[int, ...]:
    """Of the matrices of all relations; of V_b with bases, of the Q_rb with blocks.

    Raises:
        ValueError: bases and blocks at once, or a number of blocks that divides no width.
    """
    check_count("num_relations", num_relations, 1)
    for name, count in (("num_bases", num_bases), ("num_blocks", num_blocks)):
        if count is not None:
            check_count(name, count, 1)
    if num_blocks is None:
        return num_bases or num_relations, in_channels, out_channels
    if num_bases is not None:
        raise ValueError(f"num_bases={num_bases} and num_blocks={num_blocks} exclude each other.")
    if in_channels % num_blocks or out_channels % num_blocks:
        raise ValueError(f"num_blocks={num_blocks} must divide {in_channels} and {out_channels}.")
    return num_relations, num_blocks, in_channels // num_blocks, out_channels // num_blocks
