"""A file, damaged in a way that a seed decides."""

from __future__ import annotations

import gzip
import io
import random
import re
import zipfile
from typing import NamedTuple

NUMBERS = (
    b"-1",
    b"0",
    b"1e39",
    b"nan",
    b"-inf",
    b"99999999",
    b"-99999999999",
    b"1" * 30,
    b"7" * 5000,
    b"--1",
    b"0x1F",
)
TOKENS = (
    b"",
    b"\0",
    b'"',
    b"'",
    b"null",
    b"[]",
    b"{}",
    b"true",
    b"\xff\xfe",
    "é".encode(),
    b"None",
    b",",
    b"\r",
    b"[" * 100_000,
    b"9" * 5000,
    b"a" * 70_000,
)
SIZES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)
LONGEST = 64  # of a block in bytes, or a quarter of the file


class Damaged(NamedTuple):
    """A damaged file.

    Args:
        content: its bytes.
        how: what was done.
        summed: whether the sums in it were made anew, so that they do not tell the damage.
    """

    content: bytes
    how: str
    summed: bool


def damaged(content: bytes, draw: random.Random) -> Damaged:
    """Damage a file; what is packed in it is damaged in half of the cases, and packed again."""
    if draw.random() < 0.5:
        if content[:2] == b"\x1f\x8b":
            inner = damaged(gzip.decompress(content), draw)
            return Damaged(gzip.compress(inner.content, mtime=0), f"in gzip, {inner.how}", True)
        if content[:4] == b"PK\x03\x04":
            return _member(content, draw)
    way = draw.choice(WAYS)
    return Damaged(way(content, draw), way.__name__.strip("_").replace("_", " "), False)


def _member(content: bytes, draw: random.Random) -> Damaged:
    """Damage one member of a zip file, whose sums and sizes are right again."""
    packed = zipfile.ZipFile(io.BytesIO(content))
    chosen, made, how = draw.choice(packed.infolist()), io.BytesIO(), ""
    with zipfile.ZipFile(made, "w") as archive:
        for one in packed.infolist():
            inner = packed.read(one)
            if one is chosen:
                way = draw.choice(WAYS)
                inner, how = (
                    way(inner, draw),
                    f"in {one.filename}, {way.__name__.strip('_').replace('_', ' ')}",
                )
            archive.writestr(one, inner, one.compress_type)
    return Damaged(made.getvalue(), how, True)


def _place(content: bytes, draw: random.Random) -> int:
    """Somewhere, more often near the beginning or the end, where headers are."""
    near = min(len(content), 256)
    return draw.choice(
        [draw.randrange(len(content) + 1), draw.randrange(near + 1), len(content) - draw.randrange(near + 1)]
    )


def _block(content: bytes, draw: random.Random) -> tuple[int, int]:
    start = _place(content, draw)
    return start, min(len(content), start + draw.randint(1, draw.choice([LONGEST, 1 + len(content) // 4])))


def _cut(content: bytes, draw: random.Random) -> bytes:
    return content[: _place(content, draw)]


def _flip_bits(content: bytes, draw: random.Random) -> bytes:
    made = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 8])):
        if made:
            made[min(_place(content, draw), len(made) - 1)] ^= 1 << draw.randrange(8)
    return bytes(made)


def _zeros(content: bytes, draw: random.Random) -> bytes:
    start, end = _block(content, draw)
    return content[:start] + bytes(end - start) + content[end:]


def _splice(content: bytes, draw: random.Random) -> bytes:
    """Write a block over another place."""
    start, end = _block(content, draw)
    block, place = content[start:end], _place(content, draw)
    return content[:place] + block + content[place + len(block) :]


def _delete_a_block(content: bytes, draw: random.Random) -> bytes:
    start, end = _block(content, draw)
    return content[:start] + content[end:]


def _double_a_block(content: bytes, draw: random.Random) -> bytes:
    start, end = _block(content, draw)
    return content[:end] + content[start:]


def _write_a_size(content: bytes, draw: random.Random) -> bytes:
    """A number of 1 to 8 bytes, huge or negative."""
    width, order = draw.choice([1, 2, 4, 4, 8, 8]), draw.choice(["little", "little", "big"])
    number = draw.choice(SIZES) % (1 << 8 * width)
    place = _place(content, draw) & ~draw.choice([0, 1, 3])
    return (
        content[:place]
        + number.to_bytes(width, "big" if order == "big" else "little")
        + content[place + width :]
    )


def _replace_a_number(content: bytes, draw: random.Random) -> bytes:
    return _replaced(rb"[-+]?\d+(\.\d+)?", NUMBERS, content, draw)


def _replace_a_word(content: bytes, draw: random.Random) -> bytes:
    return _replaced(rb"\w+|[^\w\s]", TOKENS + NUMBERS, content, draw)


def _swap_two_words(content: bytes, draw: random.Random) -> bytes:
    there = list(re.finditer(rb"\w+", content))
    if len(there) < 2:
        return _flip_bits(content, draw)
    one, other = sorted(draw.sample(there, 2), key=lambda found: found.start())
    return (
        content[: one.start()]
        + other[0]
        + content[one.end() : other.start()]
        + one[0]
        + content[other.end() :]
    )


def _replaced(pattern: bytes, words: tuple[bytes, ...], content: bytes, draw: random.Random) -> bytes:
    there = list(re.finditer(pattern, content))
    if not there:
        return _write_a_size(content, draw)
    one = draw.choice(there)
    return content[: one.start()] + draw.choice(words) + content[one.end() :]


WAYS = (
    _cut,
    _flip_bits,
    _flip_bits,
    _zeros,
    _splice,
    _delete_a_block,
    _double_a_block,
    _write_a_size,
    _write_a_size,
    _replace_a_number,
    _replace_a_number,
    _replace_a_word,
    _swap_two_words,
)
