"""A training step of the child-sum Tree-LSTM on the Stanford Sentiment Treebank, side by side in one run.

    python benchmarks/tree_lstm.py --data PATH/TO/trees     # the folder of train.txt, in PTB's brackets

Batches of 25 trees, vectors of words of width 300, hidden width 150, a sentiment at every node, forward and
backward, with gradients at the weights and the vectors. `mpnn` is `models.LSTM(x, graph=tree(parents))`, with
a new graph for every batch. The peers compute the same equations with the same weights, and the script checks
that they find the same loss:

- `recursion`: node by node, from the children's states; the products of the input are made for all nodes at
  once;
- `levels`: level by level on whole tensors of states, as in DGL's example: the children's states stand side
  by side in a mailbox, and the level's new states are copied into their rows. DGL finds the levels in C++;
  here they are found before the clock starts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpnn import models, topology

BATCH, WORD_WIDTH, HIDDEN, SENTIMENTS = 25, 300, 150, 5


class Tree(NamedTuple):
    """A parse tree, its nodes numbered from the root down."""

    parents: list[int]  # -1 at the root
    words: list[int]  # -1 inside
    sentiments: list[int]


def read_trees(path: Path, vocabulary: dict[str, int]) -> list[Tree]:
    """One tree a line: `(3 (2 It) (4 works))`."""
    trees = []
    for line in path.read_text(encoding="utf-8").splitlines():
        tree, open_nodes = Tree([], [], []), [-1]
        for token in line.replace("(", " ( ").replace(")", " ) ").split():
            if token == "(":
                tree.parents.append(open_nodes[-1])
                open_nodes.append(len(tree.words))
                tree.words.append(-1)
            elif token == ")":
                open_nodes.pop()
            elif len(tree.sentiments) < len(tree.words):
                tree.sentiments.append(int(token))
            else:
                tree.words[open_nodes[-1]] = vocabulary.setdefault(token, len(vocabulary))
        trees.append(tree)
    return trees


class Batch:
    """A batch of trees, whose nodes are numbered one tree after the other."""

    def __init__(self, trees: list[Tree]) -> None:
        self.parents = [tree.parents for tree in trees]
        words = torch.tensor([word for tree in trees for word in tree.words])
        self.word, self.has_word = words.clamp(min=0), (words >= 0)[:, None]
        self.sentiment = torch.tensor([s for tree in trees for s in tree.sentiments])
        self.children: list[list[int]] = [[] for _ in words]
        self.roots = []
        start = 0
        for tree in trees:
            self.roots.append(start)
            for node, parent in enumerate(tree.parents):
                if parent >= 0:
                    self.children[start + parent].append(start + node)
            start += len(tree.parents)
        height = [0] * len(words)
        for node in reversed(range(len(words))):  # children are numbered after their parents
            height[node] = 1 + max((height[child] for child in self.children[node]), default=-1)
        levels: list[dict[int, list[int]]] = [{} for _ in range(max(height) + 1)]
        for node, h in enumerate(height):
            levels[h].setdefault(len(self.children[node]), []).append(node)
        # For each level: groups of nodes with the same number of children, and these children.
        self.levels = [
            [
                (torch.tensor(nodes), torch.tensor([self.children[n] for n in nodes]))
                for nodes in level.values()
            ]
            for level in levels
        ]


class Model(nn.Module):
    """A Tree-LSTM and a sentiment at every node; the function `states` computes the Tree-LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = models.LSTM(WORD_WIDTH, HIDDEN)
        self.say = nn.Linear(HIDDEN, SENTIMENTS)

    def forward(self, x: Tensor, batch: Batch, states: Callable[[nn.LSTM, Tensor, Batch], Tensor]) -> Tensor:
        logits = self.say(states(self.lstm, x, batch))
        return F.cross_entropy(logits, batch.sentiment, reduction="sum") / len(batch.parents)


def ours(lstm: nn.LSTM, x: Tensor, batch: Batch) -> Tensor:
    """The states by mpnn."""
    out: Tensor = lstm(x, graph=topology.tree(batch.parents))[0]
    return out


def recursion(lstm: nn.LSTM, x: Tensor, batch: Batch) -> Tensor:
    """The states node by node (Tai et al., 2015, eq. 2 to 8)."""
    ((weight_ih, weight_hh, bias_ih, bias_hh),) = lstm.all_weights
    inputs = F.linear(x, weight_ih, bias_ih)
    u_i, u_f, u_g, u_o = weight_hh.chunk(4)
    b_i, b_f, b_g, b_o = bias_hh.chunk(4)
    u, b = torch.cat([u_i, u_g, u_o]), torch.cat([b_i, b_g, b_o])
    found: dict[int, Tensor] = {}
    zero = x.new_zeros(1, HIDDEN)

    def visit(node: int) -> tuple[Tensor, Tensor]:
        x_i, x_f, x_g, x_o = inputs[node : node + 1].chunk(4, 1)
        states = [visit(child) for child in batch.children[node]]
        if states:
            h_children, c_children = (torch.cat(part) for part in zip(*states, strict=True))
            h = h_children.sum(0, keepdim=True)
            kept = (torch.sigmoid(x_f + F.linear(h_children, u_f, b_f)) * c_children).sum(0, keepdim=True)
        else:
            h, kept = zero, zero
        h_i, h_g, h_o = F.linear(h, u, b).chunk(3, 1)
        c = torch.sigmoid(x_i + h_i) * torch.tanh(x_g + h_g) + kept
        found[node] = torch.sigmoid(x_o + h_o) * torch.tanh(c)
        return found[node], c

    for root in batch.roots:
        visit(root)
    return torch.cat([found[node] for node in range(len(batch.children))])


def levels(lstm: nn.LSTM, x: Tensor, batch: Batch) -> Tensor:
    """The states level by level, in tensors of all nodes."""
    ((weight_ih, weight_hh, bias_ih, bias_hh),) = lstm.all_weights
    w_i, _, w_g, w_o = weight_ih.chunk(4)
    u_i, u_f, u_g, u_o = weight_hh.chunk(4)
    bias = (bias_ih + bias_hh).chunk(4)
    w, u, b = torch.cat([w_i, w_o, w_g]), torch.cat([u_i, u_o, u_g]), torch.cat([bias[0], bias[3], bias[2]])
    iou = F.linear(x, w)
    h = c = x.new_zeros(len(x), HIDDEN)
    for level in batch.levels:
        for nodes, children in level:
            if children.numel():
                h_mail, c_mail = h[children], c[children]  # [nodes, children, hidden]
                # Words are leaves, so that no word's product with w_f reaches a forget gate.
                forget = torch.sigmoid(F.linear(h_mail, u_f, bias[1]))
                iou = iou.index_copy(0, nodes, F.linear(h_mail.sum(1), u))
                c = c.index_copy(0, nodes, (forget * c_mail).sum(1))
            i, o, g = (iou[nodes] + b).chunk(3, 1)
            c_new = torch.sigmoid(i) * torch.tanh(g) + c[nodes]
            c = c.index_copy(0, nodes, c_new)
            h = h.index_copy(0, nodes, torch.sigmoid(o) * torch.tanh(c_new))
    return h


WAYS = {"mpnn": ours, "recursion": recursion, "levels": levels}


def main() -> None:
    """Read the command line, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder of train.txt")
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    vocabulary: dict[str, int] = {}
    trees = read_trees(arguments.data / "train.txt", vocabulary)
    order = torch.randperm(len(trees), generator=torch.Generator().manual_seed(0)).tolist()
    chosen = [order[BATCH * k : BATCH * (k + 1)] for k in range(arguments.batches)]
    batches = [Batch([trees[k] for k in picked]) for picked in chosen]
    torch.manual_seed(0)
    model, vectors = Model(), torch.randn(len(vocabulary), WORD_WIDTH)
    words = [(vectors[batch.word] * batch.has_word).requires_grad_() for batch in batches]
    first = {way: model(words[0], batches[0], states) for way, states in WAYS.items()}
    for way, loss in first.items():
        if not torch.allclose(loss, first["mpnn"], rtol=1e-4):
            raise ValueError(f"{way} finds a loss of {loss.item()}, mpnn one of {first['mpnn'].item()}.")
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(arguments.repeats):
        for x, batch in zip(words, batches, strict=True):
            for way, states in WAYS.items():
                for leaf in (x, *model.parameters()):
                    leaf.grad = None
                time.sleep(0.02)  # the threads of the previous contender spin for a while
                start = time.perf_counter()
                model(x, batch, states).backward()
                seconds[way].append(time.perf_counter() - start)
    nodes = sum(len(batch.children) for batch in batches) / len(batches)
    print(f"{len(batches)} batches, {nodes:.0f} nodes each; {torch.get_num_threads()} threads\n")
    print("| way | ms | way / mpnn |\n|---|---|---|")
    for way, found in seconds.items():
        print(f"| {way} | {median(found) * 1e3:.1f} | {median(found) / median(seconds['mpnn']):.2f} |")


if __name__ == "__main__":
    main()
