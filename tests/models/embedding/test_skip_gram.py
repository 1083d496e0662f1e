"""DeepWalk and node2vec are trained by their formula, pair by pair."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn import Graph
from mpnn.datasets.karate import load_karate
from mpnn.models import Node2Vec, SkipGram
from mpnn.models.embedding.skip_gram import pairs_by_block
from mpnn.native import skip_gram as compiled
from tests.elsewhere import elsewhere

CLUB = load_karate().graph
CIRCLE = Graph(torch.stack([torch.arange(1500), torch.arange(1, 1501) % 1500]), 1500)


def trained(monkeypatch: pytest.MonkeyPatch, graph: Graph, batch: int | None, **options: float) -> SkipGram:
    """After two rounds: compiled, or in plain PyTorch in batches."""
    settings = {"channels": 16, "length": 6, "window": 2, "lr": 2e-3} | options
    model = SkipGram(graph, rounds=2, seed=3, **settings)  # type: ignore[arg-type]
    if batch is not None:
        monkeypatch.setattr(model, "_train", partial(model._train_plainly, batch=batch))
    model.fit()
    return model


# A negative that is drawn twice for a pair makes a difference of the order of lr².
@pytest.mark.parametrize(("channels", "negatives", "lr"), [(16, 5, 2e-3), (5, 1, 2e-2), (130, 0, 0.5)])
def test_plain_pytorch_learns_the_same_pair_by_pair(
    monkeypatch: pytest.MonkeyPatch, channels: int, negatives: int, lr: float
) -> None:
    options = {"channels": channels, "negatives": negatives, "lr": lr}
    ours, plain = (trained(monkeypatch, CLUB, batch, **options) for batch in (None, 1))
    for name in ("embedding", "contexts"):  # float32, sums of channels in another order
        torch.testing.assert_close(getattr(ours, name), getattr(plain, name), atol=2e-6, rtol=1e-3)
    assert ours.contexts.abs().max() > 1e-3


def test_several_parts_learn_the_same_as_plain_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpnn.models.embedding.skip_gram.NODES_OF_PART", 8)
    ours, plain = (trained(monkeypatch, CLUB, batch) for batch in (None, 1))
    assert ours._part_ptr.tolist() == [0, 9, 18, 26, 34]
    torch.testing.assert_close(ours.contexts, plain.contexts, atol=5e-6, rtol=1e-3)


def test_one_pair_follows_the_gradient_of_the_formula() -> None:
    generator = torch.Generator().manual_seed(1)
    z, c = (torch.randn(2, 7, generator=generator) for _ in range(2))
    before = [z.clone().requires_grad_(), c.clone().requires_grad_()]
    whole = torch.tensor([0, 2])
    aliases = torch.tensor([[0, 0, 0], [0, 1, 1]], dtype=torch.int32)
    walk = torch.tensor([[0, 1]])  # the pairs (0, 1) and (1, 0), which have no row in common
    loss = compiled.train_skip_gram(z, c, walk, whole, aliases, 1, 0, (0.5, 0.5), 0)
    expected = -F.logsigmoid((before[0] * before[1].flip(0)).sum(dim=1))
    expected.sum().backward()
    assert loss is not None and loss == pytest.approx(float(expected[0].detach()), rel=1e-5)
    for ours, theirs in zip((z, c), before, strict=True):
        assert theirs.grad is not None
        torch.testing.assert_close(ours, theirs.detach() - 0.5 * theirs.grad, atol=1e-5, rtol=1e-5)


def test_at_the_beginning_the_loss_is_that_of_a_guess() -> None:
    model = SkipGram(CIRCLE, 8, rounds=2, length=5, window=2, negatives=3, lr=0.0)
    assert model.step() == pytest.approx(4 * 0.6931, rel=2e-2)  # now and then a negative is the context
    before = model.embedding.clone()
    model.step()
    assert torch.equal(before, model.embedding)


def test_pairs_are_all_that_a_window_of_a_drawn_reach_holds() -> None:
    walks = torch.arange(2000).view(100, 20)  # each position is a different node
    node, context, bounds = pairs_by_block(walks, 4, seed=5, parts=3)
    distance = (node - context).abs()
    assert (node // 20 == context // 20).all() and distance.min() == 1 and distance.max() == 4
    inner = node[(node % 20 >= 4) & (node % 20 < 16)].bincount(minlength=2000)
    inner = inner[inner > 0]
    assert set(inner.tolist()) == {2, 4, 6, 8}
    assert inner.double().mean() == pytest.approx(5.0, abs=0.3)
    assert bounds[-1] == len(node) and len(bounds) == 10
    for block in range(9):
        here = slice(bounds[block], bounds[block + 1])
        assert (node[here] % 3 * 3 + context[here] % 3 == block).all()


def test_the_result_does_not_depend_on_the_number_of_threads() -> None:
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(SkipGram(CIRCLE, 8, rounds=2, length=5, window=2, p=0.5).fit())
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


def test_negatives_are_drawn_by_how_often_walks_meet_them() -> None:
    star = Graph(torch.tensor([[0] * 15 + [*range(1, 16)], [*range(1, 16)] + [0] * 15]))
    model = SkipGram(star, 4, rounds=1, length=20)
    threshold, own, other = model._aliases.long().unbind(1)
    below = (threshold & (2**32 - 1)).double() / 2**32
    chance = (
        torch.zeros(16, dtype=torch.float64).index_add_(0, own, below).index_add_(0, other, 1 - below) / 16
    )
    leaves = 15 * (1 / 15) ** 0.75  # the centre is met as often as all leaves together
    assert float(chance[0]) == pytest.approx(1 / (1 + leaves), abs=0.01)


def test_interrupted_and_loaded_it_goes_on_as_if_nothing_had_happened() -> None:
    whole = SkipGram(CLUB, 8, rounds=4, seed=2)
    begun, other = (SkipGram(CLUB, 8, rounds=4, seed=2) for _ in range(2))
    begun.step()
    other.load_state_dict(begun.state_dict())
    assert torch.equal(other.fit(), whole.fit()) and other.done == 4


@pytest.mark.parametrize("batch", [None, 64])
def test_the_two_ends_of_a_barbell_lie_apart(monkeypatch: pytest.MonkeyPatch, batch: int | None) -> None:
    block = (torch.ones(10, 10) - torch.eye(10)).nonzero().T
    ends = torch.cat([block, block + 10, torch.tensor([[0, 10], [10, 0]])], dim=1)
    model = SkipGram(Graph(ends, 20), 8, rounds=60, length=10, window=3, lr=0.1)
    if batch is not None:
        monkeypatch.setattr(model, "_train", partial(model._train_plainly, batch=batch))
    z = F.normalize(model.fit())
    alike: Tensor = z @ z.T
    assert alike[:10, :10].mean() > alike[:10, 10:].mean() + 0.5


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"channels": 0}, "channels must be at least 1, got 0"),
        ({"length": 1}, "length must be at least 2, got 1"),
        ({"negatives": 64}, "negatives is 64, but should be at most 63"),
        ({"lr": -1.0}, "lr is -1.0, but should be at least 0"),
        ({"q": 0.0}, "q is 0.0, but should be above 0"),
    ],
    ids=str,
)
def test_a_mistake_gets_one_sentence(change: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        SkipGram(CLUB, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("q", [1.0, 0.5])
def test_on_another_device_it_learns_the_same_walks(q: float) -> None:
    edge_index = torch.randint(12, (2, 60), generator=torch.Generator().manual_seed(1))
    weight, sizes = torch.rand(60), {"channels": 4, "rounds": 2, "length": 5, "window": 2}
    here = SkipGram(Graph(edge_index, 12), q=q, weight=weight, **sizes)
    with elsewhere() as device:
        graph = Graph(edge_index.to(device), 12)
        there = SkipGram(graph, q=q, weight=weight.to(device), **sizes).to(device)
        assert there._walk(None, 7).tolist() == here._walk(None, 7).tolist()
        assert there.fit().device == device and bool(there().isfinite().all())
        node2vec = Node2Vec(edge_index.to(device), 4, 5, 3, q=q, num_nodes=12).to(device)
        windows, others = node2vec.sample([3, 4])
        node2vec.loss(windows, others).backward()
        assert windows.device == others.device == device
