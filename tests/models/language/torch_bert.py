"""BERT's equation by torch.nn's encoder layer, with the weights of one of ours under their names."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from mpnn.models import Bert

PARTS = {
    "self_attn.out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "linear1": "intermediate.dense",
    "linear2": "output.dense",
    "norm2": "output.LayerNorm",
}


class TorchBert(nn.Module):
    """The parameters of a `Bert`, and the layers of torch.nn.

    Args:
        bert: whose parameters.
        allowed: which words a word reads, `[length, length]`.
    """

    def __init__(self, bert: Bert, allowed: Tensor | None = None) -> None:
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
        ids: Tensor,
        mask: Tensor | None = None,
        types: Tensor | None = None,
        places: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        e: Any = self.embeddings
        places = torch.arange(ids.size(1)) if places is None else places
        # As in BertModel, the vector of the padding gets no gradient.
        x = F.embedding(ids, e.word_embeddings.weight, padding_idx=0) + e.position_embeddings.weight[places]
        x = x + e.token_type_embeddings.weight[torch.zeros_like(ids) if types is None else types]
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
