"""Sentences as vectors: the mean of the words of a BERT (Reimers and Gurevych, 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpnn import files
from mpnn.models.language.bert import Bert
from mpnn.models.language.pretrained import WeightsError
from mpnn.models.language.word_pieces import LONGEST, SHORTEST, WordPieces
from mpnn.models.parts.checks import check_count

POOLING, LENGTH = "1_Pooling/config.json", "sentence_bert_config.json"
MODE, MEAN = "pooling_mode", "pooling_mode_mean_tokens"


class SentenceEncoder(nn.Module):
    """The normalised mean of a text's words, as sentence-transformers computes it.

    `SentenceEncoder.from_pretrained(folder)` reads a folder of sentence-transformers, such as that of
    all-MiniLM-L6-v2. Similar texts have similar directions.

    Args:
        bert: what reads the words.

    Shapes: input_ids and attention_mask `[batch, length]` -> `[batch, hidden_size]`, each of length 1.

    >>> bert = Bert(vocab_size=100, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    >>> SentenceEncoder(bert)(torch.randint(100, (3, 7))).shape
    torch.Size([3, 16])
    """

    pieces: WordPieces | None = None

    def __init__(self, bert: Bert) -> None:
        super().__init__()
        self.bert = bert

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> SentenceEncoder:
        """The network and the word pieces of a folder.

        Raises:
            ImportError: the library `tokenizers` is missing.
            WeightsError: a file is missing or damaged, or the vector of a text is not the mean of its words.
        """
        folder = Path(folder)
        if (folder / POOLING).exists():
            said = files.read_json(folder / POOLING, WeightsError)
            modes = sorted(name for name, value in said.items() if value is True and name.startswith(MODE))
            if modes != [MEAN]:
                raise WeightsError(
                    f"{folder / POOLING} says {', '.join(modes) or 'nothing'}, but only {MEAN} is read"
                )
        length = LONGEST
        if (folder / LENGTH).exists():
            length = files.read_json(folder / LENGTH, WeightsError).get("max_seq_length", LONGEST)
            if type(length) is not int or length < SHORTEST:
                raise WeightsError(f"{folder / LENGTH} says max_seq_length={length!r}, but texts are longer")
        encoder = cls(Bert.from_pretrained(folder))
        most = encoder.bert.embeddings.position_embeddings.num_embeddings
        encoder.pieces = WordPieces(folder, min(length, most))
        return encoder.eval()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        words = self.bert(input_ids, attention_mask, token_type_ids).last_hidden_state
        kept = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        kept = kept.to(words.dtype)[..., None]
        return F.normalize((words * kept).sum(1) / kept.sum(1), dim=1)

    @torch.no_grad()
    def encode(self, texts: Sequence[str], batch_size: int = 32) -> Tensor:
        """The vectors of texts, `[num_texts, hidden_size]`; texts of similar lengths are read together.

        Raises:
            ValueError: the encoder has no word pieces, or a text is empty.
        """
        if self.pieces is None:
            raise ValueError(
                "this encoder has no word pieces: SentenceEncoder.from_pretrained reads a folder's."
            )
        if isinstance(texts, str):
            raise TypeError("texts must be a list of texts, got one text.")
        check_count("batch_size", batch_size, 1)
        order = sorted(range(len(texts)), key=lambda k: len(texts[k]))
        device = self.bert.embeddings.word_embeddings.weight.device
        found = [torch.empty(0)] * len(texts)
        for start in range(0, len(texts), batch_size):
            chosen = order[start : start + batch_size]
            given = self.pieces([texts[k] for k in chosen])
            if self.bert.embeddings.token_type_embeddings is None:
                del given["token_type_ids"]
            vectors = self(**{name: value.to(device) for name, value in given.items()})
            for k, vector in zip(chosen, vectors, strict=True):
                found[k] = vector
        return torch.stack(found) if found else torch.empty(0, self.bert.hidden_size, device=device)
