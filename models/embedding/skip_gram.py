"""DeepWalk and node2vec: nodes that are near each other on random walks get similar vectors."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mpnn import functional
from mpnn.aggregate.reduce import add_rows_
from mpnn.graph.adjacency import Topology, as_graph
from mpnn.graph.checks import as_int
from mpnn.graph.csr import CSR
from mpnn.models.parts.checks import at_least, check_number, ranges
from mpnn.sampling.splitmix import GOLDEN, mix, mix_int, shift, signed
from mpnn.sampling.walks import alias_table, check_biases, random_walks

POWER = 0.75  # a node is drawn as a negative in proportion to its count to this power (Mikolov et al., 2013)
COUNTED = 4  # walks from each node, in which the nodes are counted
NODES_OF_PART, MOST_PARTS = 512, 32  # so that the rows in use stay in a core's cache
MOST_PAIRS = 1 << 24  # in memory at once: 128 MB
BATCH = 256  # pairs whose gradients are added up, in plain PyTorch


@ranges(
    channels=at_least(1),
    rounds=at_least(1),
    length=at_least(2),
    window=at_least(1),
    negatives=at_least(0),
    p=check_number,
    q=check_number,
    lr=check_number,
)
class SkipGram(nn.Module):
    """max Σ_(u,v) log σ(z_u · c_v) + Σ_k log σ(-z_u · c_k), where walks meet v near u, and k at random.

    DeepWalk (Perozzi et al., 2014) with p = q = 1, else node2vec (Grover and Leskovec, 2016), both by
    skip-gram with negative sampling (Mikolov et al., 2013): a vector z for every node, and another one, c,
    for when it is the context of others. A round starts one walk at every node. Learning is by stochastic
    gradient, one pair after the other as in word2vec, with a rate that falls linearly to zero; on the CPU in
    compiled code, whose result does not depend on the number of threads, elsewhere in batches.

    Args:
        graph: a `Graph` or an `edge_index` tensor; walks go from source to destination.
        channels: of a vector.
        rounds: how many walks begin at each node.
        length: how many nodes a walk visits, its start included.
        window: the largest distance in a walk between the two nodes of a pair; the distance is drawn for each
            node, from 1 to this, so that near nodes are paired more often.
        negatives: the number of nodes k for each pair, drawn in proportion to their counts in walks to the
            power of 3/4.
        p, q, weight: see `mpnn.random_walks`.
        lr: the learning rate at the beginning.
        seed: of all random numbers.

    Raises:
        ValueError: a number out of its range.

    >>> square = torch.tensor([[0, 1, 2, 3, 1, 2, 3, 0], [1, 2, 3, 0, 0, 1, 2, 3]])
    >>> model = SkipGram(square, channels=8, rounds=3, length=6, window=2)
    >>> model.fit().shape, model.done
    (torch.Size([4, 8]), 3)
    """

    embedding: Tensor
    contexts: Tensor
    rounds_done: Tensor

    def __init__(
        self,
        graph: Topology,
        channels: int = 128,
        *,
        rounds: int = 80,
        length: int = 40,
        window: int = 10,
        negatives: int = 5,
        p: float = 1.0,
        q: float = 1.0,
        weight: Tensor | None = None,
        lr: float = 0.025,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value, low in (
            ("channels", channels, 1),
            ("rounds", rounds, 1),
            ("length", length, 2),
            ("window", window, 1),
            ("negatives", negatives, 0),
        ):
            if value < low:
                raise ValueError(f"{name} is {value}, but should be at least {low}.")
        if negatives > functional.MOST_NEGATIVES:
            raise ValueError(f"negatives is {negatives}, but should be at most {functional.MOST_NEGATIVES}.")
        if not 0 <= lr < float("inf"):
            raise ValueError(f"lr is {lr}, but should be at least 0 and finite.")
        check_biases(p, q)
        self.graph, self.weight, self.p, self.q = as_graph(graph), weight, p, q
        self.rounds, self.length, self.window, self.negatives = rounds, length, window, negatives
        self.lr, self.seed = lr, as_int("seed", seed)
        nodes, device = self.graph.num_nodes, self.graph.device
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.rand(nodes, channels, generator=generator, device="cpu")
        start = (drawn - 0.5) / channels  # as in word2vec
        self.register_buffer("embedding", start.to(device))
        self.register_buffer("contexts", torch.zeros(nodes, channels, device=device))
        self.register_buffer("rounds_done", torch.zeros((), dtype=torch.int64))
        self._part_ptr, self._aliases = self._negatives_by_part()

    @property
    def done(self) -> int:
        """How many rounds are done."""
        return int(self.rounds_done)

    def forward(self, nodes: Tensor | None = None) -> Tensor:
        """The vectors of the given nodes, or of all, `[num_nodes, channels]`."""
        return self.embedding if nodes is None else self.embedding[nodes]

    def fit(self, on_round: Callable[[int, float], None] | None = None) -> Tensor:
        """Do the rounds that are left; return the vectors `[num_nodes, channels]`.

        Args:
            on_round: called after each round with its number, from 1, and its loss.
        """
        while self.done < self.rounds:
            loss = self.step()
            if on_round is not None:
                on_round(self.done, loss)
        return self.embedding

    @torch.no_grad()
    def step(self) -> float:
        """Do one round; return the mean loss of its pairs, over a sample of them."""
        number, nodes = self.done, self.graph.num_nodes
        key = mix_int(self.seed + (number + 1) * GOLDEN)
        order = torch.randperm(nodes, generator=torch.Generator().manual_seed(key >> 1), device="cpu")
        chunks = torch.split(order, max(1, MOST_PAIRS // (self.length * (self.window + 1))))
        losses = []
        for k, start in enumerate(chunks):
            walks = self._walk(start, mix_int(key + k))
            rates = [self.lr * (1 - (number + part / len(chunks)) / self.rounds) for part in (k, k + 1)]
            losses.append(len(start) * self._train(walks, rates[0], rates[1], mix_int(key - k - 1)))
        self.rounds_done += 1
        return sum(losses) / max(1, nodes)

    def _walk(self, start: Tensor | None, seed: int) -> Tensor:
        return random_walks(
            self.graph, start, self.length - 1, weight=self.weight, p=self.p, q=self.q, seed=seed
        )

    def _negatives_by_part(self) -> tuple[Tensor, Tensor]:
        """Alias tables of the nodes' counts in walks, one for each part; node v is in part v mod parts."""
        nodes = self.graph.num_nodes
        parts = min(max(nodes // NODES_OF_PART, 1), MOST_PARTS)
        met = torch.zeros(nodes, dtype=torch.int64, device=self.graph.device)
        for number in range(min(COUNTED, self.rounds)):
            met += self._walk(None, mix_int(self.seed - number)).flatten().bincount(minlength=nodes)
        part = torch.arange(nodes, device="cpu") % parts
        order = torch.sort(part, stable=True).indices
        part_ptr = torch.zeros(parts + 1, dtype=torch.int64, device="cpu")
        torch.cumsum(part.bincount(minlength=parts), 0, out=part_ptr[1:])
        rows = CSR(part_ptr.int(), order.int(), order.int())
        return part_ptr, alias_table(rows, met.cpu()[order].double() ** POWER)

    def _train(self, walks: Tensor, rate: float, last_rate: float, seed: int) -> float:
        tables = self.embedding, self.contexts
        if self.embedding.device.type == "cpu" and self.embedding.dtype == torch.float32:
            sizes = self.window, self.negatives
            loss = functional.train_skip_gram(
                *tables, walks, self._part_ptr, self._aliases, *sizes, (rate, last_rate), seed
            )
            if loss is not None:
                return loss
        return self._train_plainly(walks, rate, last_rate, seed)

    def _train_plainly(
        self, walks: Tensor, rate: float, last_rate: float, seed: int, batch: int = BATCH
    ) -> float:
        """Train on the same pairs and negatives in the same order, but in batches."""
        z, c, parts = self.embedding, self.contexts, self._part_ptr.numel() - 1
        node, context, bounds = pairs_by_block(walks, self.window, seed, parts)
        device = z.device
        total = torch.zeros((), dtype=torch.float64, device=device)
        aliases = self._aliases.to(device).long()
        for turn in range(parts):
            for part in range(parts):
                other = (part + turn) % parts
                block = part * parts + other
                count, first = bounds[block + 1] - bounds[block], int(self._part_ptr[other])
                size = int(self._part_ptr[other + 1]) - first
                draws = torch.arange(1, count * self.negatives + 1, device=device)
                key = signed(mix_int(seed + block * GOLDEN))
                place = shift(mix(draws * signed(GOLDEN) + key), 32) * size
                threshold, own, drawn = aliases[first + (place >> 32)].unbind(1)
                low = 2**32 - 1
                drawn = torch.where(place & low < threshold & low, own, drawn).view(count, self.negatives)
                slope = (last_rate - rate) / parts
                rates = rate + slope * (turn + torch.linspace(0, 1, count, device=device))
                for k in range(0, count, batch):
                    here = slice(bounds[block] + k, bounds[block] + min(k + batch, count))
                    u, rows = node[here], torch.cat([context[here, None], drawn[k : k + batch]], dim=1)
                    score = (c[rows] * z[u, None]).sum(dim=-1)
                    wanted = torch.zeros_like(score)
                    wanted[:, 0] = 1
                    counted = (rows != rows[:, :1]) | (wanted > 0)
                    losses = nn.functional.softplus(torch.where(wanted > 0, -score, score))
                    total += (losses * counted).sum()
                    by = rates[k : k + batch, None] * (wanted - score.sigmoid()) * counted
                    change = (by[..., None] * c[rows]).sum(dim=1)
                    add_rows_(c, rows.flatten(), (by[..., None] * z[u, None]).flatten(0, 1))
                    add_rows_(z, u, change)
        return float(total) / max(1, node.numel())


def pairs_by_block(walks: Tensor, window: int, seed: int, parts: int) -> tuple[Tensor, Tensor, list[int]]:
    """The pairs of walks as `native/skip_gram.c` makes them: nodes, contexts, and where each block begins."""
    count, width = walks.shape
    position = torch.arange(count * width, device=walks.device).view(count, width)
    reach = 1 + (shift(mix(position * signed(GOLDEN) + signed(seed)), 32) * window >> 32)
    steps = torch.tensor([step for step in range(-window, window + 1) if step], device=walks.device)
    there = torch.arange(width, device=walks.device)[:, None] + steps  # [width, 2 * window]
    met = (there >= 0) & (there < width) & (steps.abs() <= reach[..., None])
    node = walks[..., None].expand_as(met)[met]
    context = walks[:, there.clamp(0, width - 1)][met]
    block = node % parts * parts + context % parts
    order = torch.sort(block, stable=True).indices
    bounds = [0, *block.bincount(minlength=parts * parts).cumsum(0).tolist()]
    return node[order], context[order], bounds
