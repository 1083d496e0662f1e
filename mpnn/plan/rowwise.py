"""Which operations keep the rows of a message apart, so that it can be computed row by row.

`KEEPS_ROWS` says for each operation of ATen when a row of its result depends on the same row of its arguments
alone. An operation that is not in it is refused: it may mix the messages of different edges.

The rows are dimension 0, where kernels have them, alone or merged with features. Between a transposition
and the one that undoes it they are dimension 1: `x.transpose(0, 1)` of `[edges, heads, channels]` puts the
heads first, for a product with a matrix for each head. There `KEEPS_TURNED_ROWS` says the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import fx

from mpnn.plan.decompositions import ALONG_DIMENSIONS, ELEMENTWISE
from mpnn.plan.homes import Home, args_of, has_rows, is_turned, lives_at, op_name, shape_of
from mpnn.plan.operations import POINTWISE, REDUCTIONS, TRANSPOSITIONS, VIEWS
from mpnn.plan.rows import NotFusableError, Rows

Predicate = Callable[[fx.Node], bool]


def turned_after(node: fx.Node) -> bool:
    """Whether the rows of an operation's result are in dimension 1.

    Raises:
        NotFusableError: the operation mixes rows, or is not known to keep them apart.
    """
    turned = any(map(is_turned, node.all_input_nodes))
    if _swaps_rows(node) and (turned or has_rows(args_of(node)[0])):
        return not turned
    keeps = (KEEPS_TURNED_ROWS if turned else KEEPS_ROWS).get(op_name(node))
    if keeps is None or not keeps(node) or not _has_rows_in(node, int(turned)):
        raise NotFusableError(
            f"{op_name(node)} mixes the messages of different edges, or is not known to keep them apart"
        )
    return turned


def _has_rows_in(node: fx.Node, dim: int) -> bool:
    """Whether a dimension counts edges; `p + x_j[:, 0]` of a `p` of shape [4, 1] has them behind."""
    return len(shape_of(node)) > dim and type(shape_of(node)[dim]) is Rows


def _swaps_rows(node: fx.Node) -> bool:
    """Whether an operation exchanges dimensions 0 and 1."""
    name, args = op_name(node), args_of(node)
    if name == "permute":
        return [d % len(args[1]) for d in args[1][:2]] == [1, 0]
    return name == "transpose" and {d % len(shape_of(args[0])) for d in args[1:]} == {0, 1}


# Where rows are dimension 0 -----------------------------------------------------------------------------


def _always(node: fx.Node) -> bool:
    """A number of the result is made of those at its own position, or no number changes its order."""
    return True


def _permutes_features(node: fx.Node) -> bool:
    """The first dimension stays the first."""
    source, order = args_of(node)
    return bool(order[0] % len(shape_of(source)) == 0)


def _exchanges_features(node: fx.Node) -> bool:
    """Neither of the two dimensions is the first."""
    source, *dims = args_of(node)
    return 0 not in [d % len(shape_of(source)) for d in dims]


def _takes_features(node: fx.Node) -> bool:
    """A part along another dimension than the first has all rows."""
    source, dim = (*args_of(node), 0)[:2]
    return bool(dim % len(shape_of(source)) != 0)


def _adds_dimension(node: fx.Node) -> bool:
    """The new dimension is behind the rows."""
    source, dim = args_of(node)
    return bool(dim % (len(shape_of(source)) + 1) != 0)


def _reduces_features(node: fx.Node) -> bool:
    """Each row is reduced by itself."""
    return 0 not in reduced_dims(node)


def _joins_features(node: fx.Node) -> bool:
    """Rows are joined side by side, not one after another."""
    parts, dim = (*args_of(node), 0)[:2]
    return bool(dim % len(shape_of(parts[0])) != 0)


def _splits_features(node: fx.Node) -> bool:
    """Every part has all rows."""
    source, _, dim = (*args_of(node), 0)[:3]
    return bool(dim % len(shape_of(source)) != 0)


def _flips_features(node: fx.Node) -> bool:
    """The rows keep their order."""
    return all(d % len(shape_of(node)) != 0 for d in args_of(node)[1])


def _pads_features(node: fx.Node) -> bool:
    """The gradient of a part of the features is zero elsewhere in the same row."""
    _, sizes, dim, *_ = args_of(node)
    return bool(dim % len(sizes) != 0)


def _multiplies_each_row(node: fx.Node) -> bool:
    """Each row is multiplied with a matrix that all rows share: the sum is over features."""
    left, right = args_of(node)[-2:]
    return has_rows(left) and not has_rows(right)


def _multiplies_pairs(node: fx.Node) -> bool:
    """Each row of one factor, a matrix, is multiplied with the same row of the other."""
    return all(map(has_rows, args_of(node)))


def _runs_along_features(node: fx.Node, position: int = 1, last: int | None = None) -> bool:
    """Each row is sorted, summed or searched by itself; without a dimension it may be all rows at once."""
    args = args_of(node)
    dim = node.kwargs.get("dim", args[position] if len(args) > position else last)
    return isinstance(dim, int) and dim % len(shape_of(args[0])) != 0 and has_rows(args[0])


def _picks_from_table(node: fx.Node) -> bool:
    """Each edge picks a row of a table that all edges share."""
    return not has_rows(args_of(node)[0])


def _picks_by_one_index(node: fx.Node) -> bool:
    """As `_picks_from_table`; with two indices an edge picks a number, which kernels do not."""
    return len(args_of(node)[1]) == 1 and _picks_from_table(node)


def _picks_in_front(node: fx.Node) -> bool:
    """As `_picks_from_table`, along the first dimension of the table."""
    table, dim, _ = args_of(node)
    return dim % len(shape_of(table)) == 0 and _picks_from_table(node)


# An operation keeps rows apart where its function says so, for the reason in the function's first line.
KEEPS_ROWS: dict[str, Predicate] = {
    **dict.fromkeys(POINTWISE | ELEMENTWISE, _always),
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "squeeze", "expand", "getitem"), _always),
    "permute": _permutes_features,
    "transpose": _exchanges_features,
    **dict.fromkeys(("select", "slice"), _takes_features),
    "unsqueeze": _adds_dimension,
    **dict.fromkeys(REDUCTIONS | ALONG_DIMENSIONS, _reduces_features),
    "cat": _joins_features,
    **dict.fromkeys(("split", "split_with_sizes"), _splits_features),
    "flip": _flips_features,
    **dict.fromkeys(("slice_backward", "select_backward"), _pads_features),
    **dict.fromkeys(("mm", "addmm"), _multiplies_each_row),
    "bmm": _multiplies_pairs,
    **dict.fromkeys(("max", "min", "argmax", "argmin", "median", "mode", "gather"), _runs_along_features),
    **dict.fromkeys(("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin"), _runs_along_features),
    **dict.fromkeys(("sort", "argsort"), partial(_runs_along_features, last=-1)),
    **dict.fromkeys(("topk", "kthvalue"), partial(_runs_along_features, position=2, last=-1)),
    "embedding": _picks_from_table,
    "index": _picks_by_one_index,
    "index_select": _picks_in_front,
}


# Where rows are dimension 1 -----------------------------------------------------------------------------


def _keeps_shape(node: fx.Node) -> bool:
    """A view of the same shape has the same dimensions in the same order."""
    return shape_of(node) == shape_of(args_of(node)[0])


def _multiplies_groups(node: fx.Node) -> bool:
    """Each group of features is multiplied with its matrix, which all rows share."""
    left, right = args_of(node)
    return is_turned(left) and lives_at(right) is Home.SHARED


KEEPS_TURNED_ROWS: dict[str, Predicate] = {
    **dict.fromkeys(VIEWS, _keeps_shape),
    **dict.fromkeys(POINTWISE | ELEMENTWISE, _always),
    "bmm": _multiplies_groups,
}


# Sums over all rows -------------------------------------------------------------------------------------


def total_kind(node: fx.Node) -> str:
    """How a node sums over all edges: "sum", "outer" (Aᵀ B), or "" when it does not."""
    name, args = op_name(node), args_of(node)
    if name == "sum" and has_rows(args[0]) and 0 in reduced_dims(node):
        return "sum"
    if name == "mm" and _turns(args[0]) and has_rows(args_of(args[0])[0]) and has_rows(args[1]):
        return "outer"
    return ""


def turns_for_total(node: fx.Node) -> bool:
    """Whether a node is the Aᵀ of products Aᵀ B that sum over all edges, and nothing else reads it."""
    return _turns(node) and all(total_kind(user) == "outer" and user.args[0] is node for user in node.users)


def _turns(node: fx.Node) -> bool:
    """Whether a node is a transposition whose rows, if there are any, are behind."""
    return op_name(node) in TRANSPOSITIONS and not has_rows(node)


def reduced_dims(node: fx.Node) -> list[int]:
    """The dimensions that a reduction reduces, none negative."""
    args = args_of(node)
    rank = len(shape_of(args[0]))
    position = 2 if op_name(node) == "linalg_vector_norm" else 1
    dims = args[position] if len(args) > position else None
    if dims is None or dims == []:
        return list(range(rank))
    return [d % rank for d in ([dims] if isinstance(dims, int) else dims)]
