"""One immutable record: a text, as numbers of its characters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from mpnn.datasets.files import find_file, published
from mpnn.datasets.record import DataError
from mpnn.datasets.text import read_text

LEAST = 1000  # characters: less is no text to learn a language from


@dataclass(frozen=True, eq=False, repr=False)
class TextDataset:
    """A text.

    Args:
        name: what it is called in tables and pictures.
        tokens: int64 `[length]`: the number of each character.
        characters: all that occur, in order.

    Raises:
        DataError: the text is too short, or a token is no character.
    """

    name: str
    tokens: Tensor
    characters: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.tokens) < LEAST:
            raise DataError(
                f"{self.name} has {len(self.tokens)} characters, but should have {LEAST} at least"
            )
        low, high = int(self.tokens.min()), int(self.tokens.max())
        if low < 0 or high >= len(self.characters):
            raise DataError(
                f"tokens are from {low} to {high}, but there are characters 0..{len(self.characters) - 1}"
            )

    @property
    def what(self) -> str:
        """What the data is, for sentences."""
        return "a text"

    @classmethod
    def of(cls, name: str, text: str) -> TextDataset:
        """Number the characters of a text.

        >>> data = TextDataset.of("abc", "abacab" * 200)
        >>> data, data.decode(data.tokens[:4])
        (abc: 1,200 characters, 3 different ones, 'abac')
        """
        characters = tuple(sorted(set(text)))
        number = {character: k for k, character in enumerate(characters)}
        return cls(name, torch.tensor([number[character] for character in text]), characters)

    def encode(self, text: str) -> Tensor:
        """The numbers of the characters, int64 `[length]`.

        Raises:
            DataError: a character that the text does not have.
        """
        unknown = sorted(set(text) - set(self.characters))
        if unknown:
            raise DataError(f"{unknown[0]!r} is none of the {len(self.characters)} characters of {self.name}")
        return torch.tensor([self.characters.index(character) for character in text], dtype=torch.long)

    def decode(self, tokens: Tensor) -> str:
        """The text that numbers stand for."""
        return "".join(self.characters[token] for token in tokens.tolist())

    def to(self, device: torch.device | str) -> TextDataset:
        """Copy on another device."""
        return replace(self, tokens=self.tokens.to(device))

    def __repr__(self) -> str:
        return f"{self.name}: {len(self.tokens):,} characters, {len(self.characters)} different ones"


def load_text(path: Path) -> TextDataset:
    """Return the text of a file of yours, in UTF-8.

    Raises:
        DataError: it cannot be read.
    """
    return TextDataset.of(path.stem, read_text(path))


def load_shakespeare(data: str | Path | None = None) -> TextDataset:
    """Return 40,000 lines of Shakespeare (Karpathy, 2015): 1,115,394 characters, 65 different ones.

    Args:
        data: the folder with `input.txt`, which may lie in `tinyshakespeare` or `text/tinyshakespeare` below
            it. By default the folder that the environment variable `MPNN_DATA` names.

    Raises:
        DataError: the file is missing or cannot be read.
    """
    path = find_file("shakespeare", data, "input.txt", (".", "tinyshakespeare", "text/tinyshakespeare"))
    return replace(load_text(published(path)), name="shakespeare")
