"""The recurrent translator in plain PyTorch, padded and masked, as it is taught (bentrevett's notebooks)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from mpnn.models import Seq2Seq


class PlainSeq2Seq(nn.Module):
    """The parameters of a `Seq2Seq`, and loops over steps."""

    def __init__(self, model: Seq2Seq) -> None:
        super().__init__()
        self.encoder, self.decoder = model.encoder, model.decoder
        self.pad = model.pad
        rnn, cell = model.encoder.rnn, model.decoder.rnn
        # Lists, so that their parameters are none of this module's.
        self.rnns = [
            nn.GRU(rnn.input_size, rnn.hidden_size, batch_first=True, bidirectional=True),
            nn.GRU(cell.input_size, cell.hidden_size, batch_first=True),
        ]

    def forward(self, src: Tensor, trg: Tensor, own_words: bool = False) -> Tensor:
        e: Any = self.encoder
        d: Any = self.decoder
        is_word = src != self.pad
        x = e.embedding.weight[src]
        packed = nn.utils.rnn.pack_padded_sequence(x, is_word.sum(1), True, False)
        out, last = functional_call(self.rnns[0], dict(e.rnn.named_parameters()), (packed,))
        h, _ = nn.utils.rnn.pad_packed_sequence(out, True, total_length=src.size(1))
        s = torch.tanh(F.linear(torch.cat([last[-2], last[-1]], 1), e.fc.weight, e.fc.bias))
        tokens, found = trg[:, 0], []
        for t in range(1, trg.size(1)):
            attn = d.attention.attn
            pairs = torch.cat([s[:, None].expand(-1, h.size(1), -1), h], 2)
            scores = F.linear(torch.tanh(F.linear(pairs, attn.weight, attn.bias)), d.attention.v.weight)[
                ..., 0
            ]
            a = scores.masked_fill(~is_word, -torch.inf).softmax(1)
            read = (a[:, None] @ h)[:, 0]
            y = d.embedding.weight[tokens]
            given = torch.cat([y, read], 1)[:, None]
            _, s = functional_call(self.rnns[1], dict(d.rnn.named_parameters()), (given, s[None]))
            s = s[0]
            logits = F.linear(torch.cat([s, read, y], 1), d.fc_out.weight, d.fc_out.bias)
            found.append(logits)
            tokens = logits.argmax(1) if own_words else trg[:, t]
        return torch.stack(found, 1)
