"""Sparse matrices against the same operations on dense ones, in float64 with gradients, and against scipy."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData
from torch_geometric.utils import k_hop_subgraph

import mpnn
from mpnn.pyg.sparse import arithmetic, plain, sampling, select
from mpnn.pyg.sparse.methods import SparseTensor
from mpnn.pyg.sparse.storage import SparseStorage
from tests.compare import assert_close, assert_same

ROWS, COLS = 6, 5
BETA = pytest.mark.filterwarnings("ignore:Sparse")  # PyTorch warns of its own CSR matrices


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def dense(rows: int = ROWS, cols: int = COLS, *more: int) -> Tensor:
    """Half of the places hold something, one row and one column nothing."""
    there = torch.rand(rows, cols) < 0.5
    there[2] = there[:, 1] = False
    value = torch.rand(rows, cols, *more, dtype=torch.float64) + 0.5
    return value * there.view(rows, cols, *[1] * len(more))


def sparse(matrix: Tensor) -> SparseTensor:
    """The same, made of shuffled entries."""
    row, col = (matrix.flatten(2).sum(2) if matrix.dim() > 2 else matrix).nonzero().t()
    order = torch.randperm(row.numel())
    row, col = row[order], col[order]
    return SparseTensor(row, None, col, matrix[row, col], (matrix.size(0), matrix.size(1)))


# Views -----------------------------------------------------------------------------------------------


def test_views_are_those_of_scipy() -> None:
    matrix = dense()
    ours = sparse(matrix)
    for layout in ("coo", "csr", "csc"):
        theirs = ours.to_scipy(layout)
        assert_close(torch.from_numpy(theirs.toarray()), matrix, atol=0)
        assert torch.equal(SparseTensor.from_scipy(theirs).to_dense(), matrix)
    theirs = ours.to_scipy("csc")
    colptr, row, value = ours.csc()
    assert value is not None
    assert colptr.tolist() == theirs.indptr.tolist()
    assert row.tolist() == theirs.indices.tolist()
    assert ours.storage.rowcount().tolist() == (matrix != 0).sum(1).tolist()
    assert ours.storage.colcount().tolist() == (matrix != 0).sum(0).tolist()
    assert torch.equal(ours.storage.csr2csc()[ours.storage.csc2csr()], torch.arange(ours.nnz()))


@BETA
def test_matrices_of_pytorch_go_both_ways() -> None:
    matrix = dense()
    ours = sparse(matrix)
    coo, csr = ours.to_torch_sparse_coo_tensor(), ours.to_torch_sparse_csr_tensor()
    csc = ours.to_torch_sparse_csc_tensor()
    for theirs in (coo, csr, csc):
        assert torch.equal(theirs.to_dense(), matrix)
    assert SparseTensor.from_torch_sparse_coo_tensor(coo) == ours
    assert SparseTensor.from_torch_sparse_csr_tensor(csr) == ours
    assert SparseTensor.from_dense(matrix) == ours


def test_copies_and_pickles_are_equal() -> None:
    ours = sparse(dense()).fill_cache_()
    for other in (
        ours.copy(),
        ours.clone(),
        copy.deepcopy(ours),
        pickle.loads(pickle.dumps(ours)),
        ours.to("cpu"),
    ):
        assert other == ours
    assert ours.to(torch.float32).dtype() == torch.float32
    assert ours != ours.set_value(None)
    assert select.t(select.t(ours)) == ours
    assert ours.clear_cache_().storage.num_cached_keys() == 0


def test_entries_of_one_place_are_added_up() -> None:
    row, col, value = torch.tensor([1, 0, 1]), torch.tensor([2, 0, 2]), torch.tensor([1.0, 2.0, 4.0])
    ours = SparseTensor(row, None, col, value)
    assert not ours.is_coalesced()
    assert ours.coalesce().to_dense().tolist() == [[2, 0, 0], [0, 0, 5]]
    assert ours.coalesce("max").to_dense().tolist() == [[2, 0, 0], [0, 0, 4]]


def test_sizes_change() -> None:
    matrix = dense()
    ours = sparse(matrix).fill_cache_()
    larger = ours.sparse_resize((8, 9))
    assert torch.equal(larger.to_dense()[:ROWS, :COLS], matrix)
    assert larger.storage.rowcount().numel() == 8
    assert torch.equal(ours.sparse_reshape(3, 10).to_dense(), matrix.view(3, 10))
    square = sparse(dense(5, 5))
    assert torch.equal(square.to_symmetric().to_dense(), square.to_dense() + square.to_dense().t())


# Parts -----------------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[Any], Any]] = {
    "rows": lambda m: m[1:4],
    "columns": lambda m: m[:, 2:5],
    "both": lambda m: m[3:, :-2],
    "some rows": lambda m: m[torch.tensor([4, 0, 4])],
    "some columns": lambda m: m[:, torch.tensor([3, 3, 0])],
    "a mask of rows": lambda m: m[torch.tensor([True, False, True, True, False, True])],
    "a mask of columns": lambda m: m[:, torch.tensor([True, False, False, True, True])],
    "values": lambda m: m[..., 1:3],
}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_that_of_the_dense_matrix(part: str) -> None:
    matrix = dense(ROWS, COLS, 4)
    assert torch.equal(PARTS[part](sparse(matrix)).to_dense(), PARTS[part](matrix))


def test_one_row_stays_a_matrix() -> None:
    matrix = dense()
    assert torch.equal(sparse(matrix)[3].to_dense(), matrix[3:4])  # type: ignore[index]
    assert torch.equal(select.select(sparse(matrix), 1, -1).to_dense(), matrix[:, -1:])


def test_some_entries() -> None:
    ours = sparse(dense())
    _, _, value = ours.coo()
    assert value is not None
    mask = value > 1
    assert torch.equal(
        select.masked_select_nnz(ours, mask, "coo").to_dense(), ours.to_dense() * (ours.to_dense() > 1)
    )
    by_column = value[ours.storage.csr2csc()] > 1
    assert select.masked_select_nnz(ours, by_column, "csc") == select.masked_select_nnz(ours, mask, "coo")
    where = by_column.nonzero().flatten()
    assert select.index_select_nnz(ours, where, "csc") == select.masked_select_nnz(ours, mask, "coo")


def test_matrices_are_put_together() -> None:
    a, b = dense(3, COLS), dense(4, COLS)
    assert torch.equal(select.cat([sparse(a), sparse(b)], 0).to_dense(), torch.cat([a, b]))
    assert torch.equal(select.cat([sparse(a.t()), sparse(b.t())], 1).to_dense(), torch.cat([a.t(), b.t()], 1))
    both = select.cat([sparse(a), sparse(b)], (0, 1))
    assert torch.equal(both.to_dense(), torch.block_diag(a, b))
    assert torch.equal(select.narrow_diag(both, (3, COLS), (4, COLS)).to_dense(), b)
    wide = dense(3, 3, 2)
    assert torch.equal(select.cat([sparse(wide), sparse(wide)], 2).to_dense(), torch.cat([wide, wide], 2))


# Arithmetic ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(ROWS, 1), (1, COLS)])
def test_rows_and_columns_are_added_and_multiplied(shape: tuple[int, int]) -> None:
    matrix, other = dense(), torch.rand(shape, dtype=torch.float64)
    there = matrix != 0
    assert_close(arithmetic.mul(sparse(matrix), other).to_dense(), matrix * other, atol=1e-12)
    assert_close(arithmetic.add(sparse(matrix), other).to_dense(), (matrix + other) * there, atol=1e-12)
    ones = sparse(matrix).set_value(None)
    assert_close(arithmetic.add(ones, other).to_dense(), (1 + other) * there, atol=1e-12)
    assert_close(arithmetic.mul_(sparse(matrix), other).to_dense(), matrix * other, atol=1e-12)


def test_two_matrices_are_added_and_multiplied() -> None:
    a, b = dense(), dense()
    assert_close((sparse(a) + sparse(b)).to_dense(), a + b, atol=1e-12)  # type: ignore[operator]
    assert_close((sparse(a) * sparse(b)).to_dense(), a * b, atol=1e-12)  # type: ignore[operator]


@pytest.mark.parametrize("k", [0, 1, -2])
def test_diagonals(k: int) -> None:
    matrix = dense()
    length = len(torch.diagonal(matrix, k))
    values = torch.rand(length, dtype=torch.float64)
    expected = torch.diagonal_scatter(matrix, values, k)
    assert torch.equal(arithmetic.set_diag(sparse(matrix), values, k).to_dense(), expected)
    zeros = torch.diagonal_scatter(matrix, torch.zeros_like(values), k)
    assert torch.equal(arithmetic.remove_diag(sparse(matrix), k).to_dense(), zeros)
    twos = torch.diagonal_scatter(matrix, torch.full_like(values, 2), k)
    assert torch.equal(arithmetic.fill_diag(sparse(matrix), 2, k).to_dense(), twos)
    assert torch.equal(arithmetic.get_diag(sparse(matrix)), matrix.diagonal())


@pytest.mark.parametrize("dim", [None, 0, 1, 2])
def test_reductions(dim: int | None) -> None:
    matrix = dense(ROWS, COLS, 3)
    if dim != 2:
        expected = matrix.sum() if dim is None else matrix.sum(dim)
        assert_close(arithmetic.sum(sparse(matrix), dim), expected, atol=1e-12)
    else:
        value = sparse(matrix).storage.value()
        assert value is not None
        assert_close(arithmetic.sum(sparse(matrix), dim), value.sum(1), atol=1e-12)
    if dim in (0, 1):
        assert_close(arithmetic.max(sparse(matrix), dim), matrix.amax(dim), atol=0)
        count = (matrix != 0).sum(dim).clamp(min=1)
        assert_close(arithmetic.mean(sparse(matrix), dim), matrix.sum(dim) / count, atol=1e-12)
        plain_sum = arithmetic.sum(sparse(matrix).set_value(None), dim)
        assert torch.equal(plain_sum, (matrix[..., 0] != 0).sum(dim).float())


@pytest.mark.parametrize("reduce", ["sum", "mean", "min", "max"])
@pytest.mark.parametrize("weighted", [True, False])
def test_a_product_with_a_dense_matrix(reduce: str, weighted: bool) -> None:
    matrix, x = dense(), torch.randn(COLS, 3, dtype=torch.float64)
    ours = sparse(matrix)
    row, col, value = ours.coo()
    assert value is not None

    def theirs(value: Tensor, x: Tensor) -> Tensor:
        terms = torch.zeros(ROWS, COLS, dtype=torch.float64).index_put((row, col), value)[..., None] * x
        if not weighted:
            terms = (matrix != 0).double()[..., None] * x
        there = (matrix != 0)[..., None].expand_as(terms)
        if reduce in ("sum", "mean"):
            total = terms.sum(1)
            return total / there.sum(1).clamp(min=1) if reduce == "mean" else total
        sign = 1 if reduce == "max" else -1
        best = (sign * terms).masked_fill(~there, -torch.inf).amax(1)
        return sign * best.masked_fill(best == -torch.inf, 0)

    def product(value: Tensor, x: Tensor) -> Tensor:
        made = arithmetic.spmm(ours.set_value(value if weighted else None, "coo"), x, reduce)
        return made if weighted else made + 0 * value.sum()

    def expected(value: Tensor, x: Tensor) -> Tensor:
        return theirs(value, x) + 0 * value.sum()

    assert_same(product, expected, {"value": value, "x": x}, atol=1e-10)
    batch = torch.randn(2, COLS, 3, dtype=torch.float64)
    assert_close(arithmetic.spmm(ours, batch, reduce)[1], arithmetic.spmm(ours, batch[1], reduce), atol=1e-12)


def test_a_product_of_two_sparse_matrices_has_gradients() -> None:
    a, b = sparse(dense(4, 5)), sparse(dense(5, 6))
    left, right = a.storage.value(), b.storage.value()
    assert left is not None
    assert right is not None

    def filled(matrix: SparseTensor, value: Tensor) -> Tensor:
        return matrix.set_value(value, "coo").to_dense()

    assert_same(
        lambda left, right: arithmetic.spspmm(a.set_value(left, "coo"), b.set_value(right, "coo")).to_dense(),
        lambda left, right: filled(a, left) @ filled(b, right),
        {"left": left, "right": right},
        atol=1e-10,
    )


def test_functions_of_an_index_and_a_value() -> None:
    a, b = dense(4, 5), dense(5, 6)
    (index, value), (other, more) = ((one.nonzero().t(), one[one != 0]) for one in (a, b))
    assert_close(plain.spmm(index, value, 4, 5, b), a @ b, atol=1e-12)
    made, product = plain.spspmm(index, value, other, more, 4, 5, 6)
    assert product is not None
    assert_close(plain.to_torch_sparse(made, product, 4, 6).to_dense(), a @ b, atol=1e-12)
    turned, again = plain.transpose(index, value, 4, 5)
    assert again is not None
    assert torch.equal(torch.from_numpy(plain.to_scipy(turned, again, 5, 4).toarray()), a.t())
    twice, doubled = plain.spadd(index, value, index, value, 4, 5)
    assert torch.equal(twice, index)
    assert doubled is not None
    assert_close(doubled, 2 * value, atol=1e-12)


# Samples ---------------------------------------------------------------------------------------------


def test_the_subgraph_of_saint_is_the_part_of_the_matrix() -> None:
    matrix = dense(8, 8)
    ours, nodes = sparse(matrix), torch.tensor([5, 0, 7])
    part, edges = sampling.saint_subgraph(ours, nodes)
    assert torch.equal(part.to_dense(), matrix[nodes][:, nodes])
    value = ours.storage.value()
    assert value is not None
    assert torch.equal(part.storage.value(), value[edges])  # type: ignore[arg-type]


def test_drawn_entries_are_entries() -> None:
    matrix = dense(8, 8)
    matrix[2, 3] = 1
    ours = sparse(matrix)
    part, nodes = sampling.sample_adj(ours, torch.tensor([0, 3]), 2)
    value = part.to_dense()
    there = value != 0
    assert torch.equal(value[there], matrix[nodes[:2]][:, nodes][there])
    assert part.storage.rowcount().tolist() == (matrix[[0, 3]] != 0).sum(1).clamp(max=2).tolist()
    full = matrix[:2]
    chosen = sampling.sample(sparse(full), 4)
    assert bool((full.gather(1, chosen) != 0).all())


def test_parts_and_orders_are_permutations() -> None:
    matrix = dense(12, 12)
    for made, order in (
        sampling.partition(sparse(matrix), 3)[::2],
        sampling.reverse_cuthill_mckee(sparse(matrix + matrix.t())),
    ):
        source = matrix if made.nnz() == sparse(matrix).nnz() else matrix + matrix.t()
        assert torch.equal(made.to_dense(), source[order][:, order])


def test_the_neighbourhoods_of_shadow_are_those_of_pytorch_geometric() -> None:
    edges = torch.randint(20, (2, 50))
    matrix = SparseTensor.from_edge_index(edges, sparse_sizes=(20, 20)).coalesce()
    rowptr, col, _ = matrix.csr()
    roots = torch.tensor([3, 9])
    pointers, ends, nodes, slots, starts, root = sampling.ego_k_hop_sample_adj(
        rowptr, col, roots, 2, 100, False
    )
    for k, node in enumerate(roots.tolist()):
        mine = nodes[starts[k] : starts[k + 1]]
        around, *_ = k_hop_subgraph(node, 2, edges.flip(0), num_nodes=20)
        assert torch.equal(mine, around)
        assert int(nodes[root[k]]) == node
    row = torch.repeat_interleave(pointers.diff())
    assert torch.equal(matrix.storage.row()[slots], nodes[row])
    assert torch.equal(col[slots], nodes[ends])


def test_samplers_of_pytorch_geometric_run() -> None:
    from torch_geometric.loader import GraphSAINTRandomWalkSampler, HGTLoader, ShaDowKHopSampler
    from torch_geometric.transforms import ToSparseTensor

    data = Data(x=torch.randn(30, 2), edge_index=torch.randint(30, (2, 120)), y=torch.arange(30))
    typed = HeteroData()
    typed["a"].x, typed["b"].x = torch.randn(30, 2), torch.randn(20, 2)
    typed["a", "to", "b"].edge_index = torch.stack([torch.randint(30, (90,)), torch.randint(20, (90,))])
    typed["b", "to", "a"].edge_index = typed["a", "to", "b"].edge_index.flip(0)
    with mpnn.pyg.enabled():
        for batch in ShaDowKHopSampler(data, depth=2, num_neighbors=3, batch_size=5):
            assert torch.equal(batch.x[batch.root_n_id], data.x[batch.y])
        for batch in GraphSAINTRandomWalkSampler(
            data, batch_size=4, walk_length=2, num_steps=2, sample_coverage=2
        ):
            assert torch.equal(batch.x, data.x[batch.y])
        for batch in HGTLoader(typed, [4, 4], batch_size=6, input_nodes="a"):
            for kind in typed.edge_types:
                mine = batch[kind].edge_index
                assert mine.numel() == 0 or int(mine[0].max()) < batch[kind[0]].num_nodes
                assert mine.numel() == 0 or int(mine[1].max()) < batch[kind[2]].num_nodes
        adjacency = ToSparseTensor()(data.clone()).adj_t
        assert isinstance(adjacency, SparseTensor)


@BETA
@pytest.mark.parametrize("name", ["GCNConv", "SAGEConv", "GINConv", "GATConv"])
def test_layers_of_pytorch_geometric_take_a_matrix(name: str) -> None:
    import torch_geometric.nn as theirs

    x, edges = torch.randn(20, 4), torch.randint(20, (2, 60)).unique(dim=1)
    layer = theirs.GINConv(torch.nn.Linear(4, 3)) if name == "GINConv" else getattr(theirs, name)(4, 3)
    with mpnn.pyg.enabled():
        matrix = SparseTensor.from_edge_index(edges, sparse_sizes=(20, 20))
        assert_close(layer(x, matrix.t()), layer(x, edges), atol=1e-5)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SparseStorage(col=torch.tensor([0])), "needs col, and row or rowptr"),
        (lambda: SparseTensor(torch.tensor([0.5]), None, torch.tensor([0])), "row must be an int64 vector"),
        (lambda: SparseTensor(torch.tensor([0]), None, torch.tensor([0, 1])), "of one length, got 1 and 2"),
        (
            lambda: SparseTensor(torch.tensor([0]), None, torch.tensor([0]), torch.ones(2)),
            r"value must be \[1",
        ),
        (lambda: sparse(dense()).set_value(torch.ones(1), "row"), "layout is 'row'"),
        (lambda: arithmetic.spmm(sparse(dense()), torch.ones(3, 2)), r"other must be \[..., 5"),
        (lambda: arithmetic.add(sparse(dense()), torch.ones(3, 2)), r"other must be \[6, 1"),
        (lambda: select.permute(sparse(dense()), torch.arange(5)), "not square"),
        (lambda: select.cat([], 0), "nothing to put together"),
        (lambda: sampling.sample(sparse(dense()), 2), "row 2 has no entries"),
    ],
)
def test_a_bad_argument_is_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
