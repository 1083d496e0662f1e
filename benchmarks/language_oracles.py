"""The oracles of networks of language: torch.nn's encoder, and equations of papers as loops."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from oracles import LENGTH, Case, against_equation, normal
from torch import Tensor, nn
from torch.func import functional_call

from mpnn import Graph, models, topology
from mpnn.models.language.translation import BahdanauAttention

# BERT -------------------------------------------------------------------------------------------------------

PARTS = {
    "self_attn.out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "linear1": "intermediate.dense",
    "linear2": "output.dense",
    "norm2": "output.LayerNorm",
}


class TorchBert(nn.Module):
    """The parameters of a `Bert`, and the layer of torch.nn.

    Args:
        bert: whose parameters.
        allowed: which words a word reads, `[length, length]`.
    """

    def __init__(self, bert: models.Bert, allowed: Tensor | None = None) -> None:
        super().__init__()
        self.embeddings, self.encoder, self.pooler = bert.embeddings, bert.encoder, bert.pooler
        assert bert.pooler is not None
        self.allowed = allowed
        first: Any = bert.encoder.layer[0]
        width, heads = bert.hidden_size, first.get_submodule("attention.self").num_heads
        wide = first.intermediate.dense.out_features
        layer = nn.TransformerEncoderLayer(width, heads, wide, 0.0, F.gelu, 1e-12, True)
        self.layers = [layer]  # a list, so that its parameters are none of this module's

    def forward(
        self,
        given: Tensor,
        mask: Tensor | None = None,
        types: Tensor | None = None,
        places: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Of words, or of vectors `[batch, length, width]`: the last states, the pooled output, all."""
        e: Any = self.embeddings
        places = torch.arange(given.size(1)) if places is None else places
        # As in BertModel, the vector of the padding gets no gradient.
        words = given if given.is_floating_point() else F.embedding(given, e.word_embeddings.weight, 0)
        x = words + e.position_embeddings.weight[places]
        x = x + (
            e.token_type_embeddings.weight[0] if types is None else e.token_type_embeddings.weight[types]
        )
        x = F.layer_norm(x, x.shape[-1:], e.LayerNorm.weight, e.LayerNorm.bias, 1e-12)
        dropped = None if mask is None else mask == 0
        states = [x]
        for layer in self.encoder.layer:
            x = functional_call(
                self.layers[0],
                _as_torch(dict(layer.named_parameters())),
                (x,),
                {
                    "src_mask": None if self.allowed is None else ~self.allowed,
                    "src_key_padding_mask": dropped,
                },
            )
            states.append(x)
        pooler: Any = self.pooler
        dense = pooler.dense
        return x, F.linear(x[:, 0], dense.weight, dense.bias).tanh(), states


def _as_torch(ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a layer by torch.nn's names: queries, keys and values are one matrix there."""
    found = {}
    for kind in ("weight", "bias"):
        parts = [ours[f"attention.self.{name}.{kind}"] for name in ("query", "key", "value")]
        found[f"self_attn.in_proj_{kind}"] = torch.cat(parts)
        found |= {f"{theirs}.{kind}": ours[f"{name}.{kind}"] for theirs, name in PARTS.items()}
    return found


def bert(graph: Graph, allowed: Tensor | None = None) -> list[Case]:
    """Ours on a graph of words, torch.nn's with a mask that is true where the graph has an edge."""
    sizes: Any = {"vocab_size": 5, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    ours = models.Bert(hidden_size=8, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **sizes)
    for parameter in ours.double().parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    theirs = TorchBert(ours, allowed)

    def on_graph(x: Tensor) -> tuple[Tensor, Tensor | None]:
        return ours(inputs_embeds=x, graph=graph)[:2]

    def with_mask(x: Tensor) -> tuple[Tensor, Tensor]:
        last, pooled, _ = theirs(x[None])
        return last[0], pooled

    return [against_equation(ours, on_graph, with_mask, normal(LENGTH, 8))]


def sparse_bert() -> list[Case]:
    has_edge = (torch.rand(LENGTH, LENGTH) < 0.3) | torch.eye(LENGTH, dtype=torch.bool)
    dst, src = has_edge.nonzero().T
    return bert(Graph(torch.stack([src, dst]), LENGTH), has_edge)


# Trees and pairs of sentences -------------------------------------------------------------------------------


class TreeRecursion(nn.Module):
    """Tai et al. (2015), equations 9 to 14, node by node.

    Args:
        cell: whose parameters.
        graph: from children to parents.
        places: of each child among those of its parent, `[num_edges]`.
    """

    def __init__(self, cell: models.NaryTreeLSTM, graph: Graph, places: Tensor) -> None:
        super().__init__()
        self.weight_ih, self.weight_hh, self.bias = cell.weight_ih, cell.weight_hh, cell.bias
        self.h, self.graph, self.places = cell.hidden_size, graph, places

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The states h and c."""
        w_i, w_f, w_g, w_o = self.weight_ih.split(self.h)
        zero = x.new_zeros(4, self.h)
        b_i, b_f, b_g, b_o = zero if self.bias is None else self.bias.split(self.h)
        rows = self.weight_hh.split(self.h)
        children: dict[int, dict[int, int]] = {node: {} for node in range(len(x))}
        edges = self.graph.edge_index.T.tolist()
        for (child, parent), place in zip(edges, self.places.tolist(), strict=True):
            children[parent][place] = child
        found: dict[int, tuple[Tensor, Tensor]] = {}

        def visit(j: int) -> tuple[Tensor, Tensor]:
            if j not in found:
                below = {place: visit(child) for place, child in children[j].items()}

                def gate(row: Tensor, w: Tensor, b: Tensor) -> Tensor:
                    u = row.split(self.h, 1)
                    return sum((u[place] @ h for place, (h, _) in below.items()), w @ x[j] + b)

                i, o = gate(rows[0], w_i, b_i).sigmoid(), gate(rows[-1], w_o, b_o).sigmoid()
                c = i * gate(rows[-2], w_g, b_g).tanh()
                for k, (_, c_k) in below.items():
                    c = c + gate(rows[1 + k], w_f, b_f).sigmoid() * c_k
                found[j] = o * c.tanh(), c
            return found[j]

        states = [visit(j) for j in range(len(x))]
        h, c = (torch.stack(part) for part in zip(*states, strict=True))
        return h, c


def nary_tree_lstm() -> list[Case]:
    graph = topology.tree([-1, 0, 0, 1, 1, 2, 4])
    cell = models.NaryTreeLSTM(3, 4)
    recursion = TreeRecursion(cell, graph, torch.tensor([0, 1, 0, 1, 0, 0]))
    return [against_equation(cell, lambda x: cell(x, graph), recursion, normal(7, 3))]


def bahdanau() -> list[Case]:
    """Sentences of three and five words, with two writers each."""
    attention, graph = BahdanauAttention(6, 4), topology.complete_bipartite([3, 5], [2, 2])

    def ours(s: Tensor, h: Tensor) -> Tensor:
        return attention(s, h, attention.keys(h), graph)

    def equation(s: Tensor, h: Tensor) -> Tensor:
        parts = []
        for s_k, h_k in zip(s.split([2, 2]), h.split([3, 5]), strict=True):
            pairs = torch.cat([s_k[:, None].expand(-1, len(h_k), -1), h_k.expand(len(s_k), -1, -1)], 2)
            scores = attention.v(torch.tanh(attention.attn(pairs)))[..., 0]
            parts.append(scores.softmax(1) @ h_k)
        return torch.cat(parts)

    return [against_equation(attention, ours, equation, normal(4, 4), normal(8, 6))]
