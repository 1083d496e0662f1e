"""Texts as numbers of word pieces, by the library `tokenizers` (Wu et al., 2016, 4.1)."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mpnn import files
from mpnn.models.language.pretrained import WeightsError
from mpnn.models.parts.checks import check_count

TOKENIZER, VOCABULARY, SETTINGS = "tokenizer.json", "vocab.txt", "tokenizer_config.json"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SHORTEST, LONGEST = 3, 512  # of a text: a piece and both ends, and what most networks read


class WordPieces:
    """A folder's division of texts into words and pieces of words, with their numbers.

    Args:
        folder: with `tokenizer.json`, or with `vocab.txt` and, if words keep capital letters, a
            `tokenizer_config.json` that says `"do_lower_case": false`.
        max_length: of a text, in pieces, those at its ends included; what is longer is cut off.

    Raises:
        ImportError: the library `tokenizers` is missing.
        WeightsError: a file is missing or damaged.
    """

    def __init__(self, folder: str | Path, max_length: int = LONGEST) -> None:
        folder = Path(folder)
        check_count("max_length", max_length, SHORTEST)
        self._tokenizer = _from_json(folder) if (folder / TOKENIZER).exists() else _from_vocabulary(folder)
        self._tokenizer.enable_truncation(max_length)
        self._tokenizer.enable_padding(pad_id=self.number("[PAD]"), pad_token="[PAD]")

    def number(self, piece: str) -> int:
        """Of a piece, such as `[MASK]`.

        Raises:
            ValueError: there is no such piece.
        """
        found: int | None = self._tokenizer.token_to_id(piece)
        if found is None:
            raise ValueError(f"the vocabulary has no piece {piece!r}.")
        return found

    def __call__(self, texts: Sequence[str], others: Sequence[str] | None = None) -> dict[str, Tensor]:
        """What `Bert` takes of texts, or of pairs of texts: `bert(**pieces(texts))`.

        Returns:
            `input_ids`, `attention_mask` and `token_type_ids`, `[num_texts, longest]` each.

        Raises:
            ValueError: there is no text, a text has no letter, or there is another number of `others`.
        """
        if isinstance(texts, str) or isinstance(others, str):
            raise TypeError("texts must be a list of texts, got one text.")
        if not texts:
            raise ValueError("texts is empty, but must hold a text.")
        if others is not None and len(others) != len(texts):
            raise ValueError(f"others holds {len(others)} texts, but texts {len(texts)}.")
        for name, given in (("texts", texts), ("others", others or ())):
            for k, text in enumerate(given):
                if not text.strip():
                    raise ValueError(f"{name}[{k}] is empty, but must hold a word.")
        pairs = list(texts) if others is None else list(zip(texts, others, strict=True))
        encoded = self._tokenizer.encode_batch(pairs)
        kinds = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
        return {ours: torch.tensor([getattr(one, its) for one in encoded]) for ours, its in kinds.items()}

    def text(self, ids: Tensor) -> str:
        """The text of pieces `[length]`."""
        found: str = self._tokenizer.decode(ids.tolist())
        return found


def _library() -> Any:
    try:
        return importlib.import_module("tokenizers")
    except ImportError:
        raise ImportError(
            "texts are divided by the library tokenizers: pip install 'mpnn[text]', or pip install tokenizers"
        ) from None


def _from_json(folder: Path) -> Any:
    path = folder / TOKENIZER
    text = json.dumps(files.read_json(path, WeightsError))
    try:
        return _library().Tokenizer.from_str(text)
    except ImportError:
        raise
    except Exception as fault:  # the library raises Exception itself
        raise WeightsError(f"{path} is no tokenizer: {fault}") from fault


def _from_vocabulary(folder: Path) -> Any:
    path = folder / VOCABULARY
    try:
        pieces = files.read(path, WeightsError).decode().splitlines()
    except UnicodeDecodeError as fault:
        raise WeightsError(f"{path} is damaged: {fault}") from fault
    settings = files.read_json(folder / SETTINGS, WeightsError) if (folder / SETTINGS).exists() else {}
    numbers = {piece: k for k, piece in enumerate(pieces)}
    missing = [piece for piece in SPECIAL[:4] if piece not in numbers]
    if missing:
        raise WeightsError(f"{path} lacks the piece {missing[0]!r}")
    library = _library()
    lower = settings.get("do_lower_case", True)
    accents, chinese = settings.get("strip_accents"), settings.get("tokenize_chinese_chars", True)
    made = library.Tokenizer(library.models.WordPiece(numbers, unk_token="[UNK]"))
    made.normalizer = library.normalizers.BertNormalizer(True, chinese, accents, lower)
    made.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    ends = ((piece, numbers[piece]) for piece in ("[SEP]", "[CLS]"))
    made.post_processor = library.processors.BertProcessing(*ends)
    made.decoder = library.decoders.WordPiece()
    made.add_special_tokens([piece for piece in SPECIAL if piece in numbers])
    return made
