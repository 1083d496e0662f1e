# mypy: disable-error-code="untyped-decorator,no-untyped-def,no-any-return"
"""Random walks in Triton: the steps of `walks.c`, with the same bits, without waiting for the CPU."""

# Triton reads the source of these functions and has its own types; annotations of Python's would mislead it.

import functools

import torch
import triton
import triton.language as tl

LANES = 128  # walks of one program


@functools.lru_cache(maxsize=64)
def _numbers(values, device):
    """Numbers as a float64 tensor, copied to the device once, since the CPU waits for the copy."""
    return torch.tensor(values, dtype=torch.float64, device=device)


def launch(indptr, indices, aliases, start, length, key, bias):
    """Walks `[num_walks, length + 1]`; see `mpnn.random_walks`. `key` is a tensor of one number."""
    start = start.contiguous()
    walks = torch.empty(start.numel(), length + 1, dtype=torch.int64, device=start.device)
    if walks.numel():
        programs = -(-start.numel() // LANES)
        chances = _numbers((0.0,) if bias is None else tuple(map(float, bias)), start.device)
        with torch.cuda.device_of(start):  # type: ignore[no-untyped-call]
            walk[(programs,)](
                indptr, indices, indices if aliases is None else aliases, start, walks, key, chances,
                start.numel(), length, indptr.numel() - 1,
                WEIGHTED=aliases is not None, SECOND=bias is not None, LANES=LANES,
            )  # fmt: skip
    return walks


@triton.jit
def mix(z):
    """SplitMix64 (Steele et al., 2014)."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    return z ^ (z >> 31)


@triton.jit
def random(key, draws):
    """The random number of a walk after `draws` draws."""
    return mix(key + draws * 0x9E3779B97F4A7C15)


@triton.jit
def entry(indices, aliases, begin, degree, draw, there, WEIGHTED: tl.constexpr):
    """An entry of each row, by the upper half of a random number."""
    place = (draw >> 32) * degree.to(tl.uint64)
    at = begin + (place >> 32).to(tl.int64)
    if WEIGHTED:
        threshold = tl.load(aliases + 3 * at, mask=there, other=0).to(tl.int64) & 0xFFFFFFFF
        own = tl.load(aliases + 3 * at + 1, mask=there, other=0).to(tl.int64)
        other = tl.load(aliases + 3 * at + 2, mask=there, other=0).to(tl.int64)
        found = tl.where((place & 0xFFFFFFFF).to(tl.int64) < threshold, own, other)
    else:
        found = tl.load(indices + at, mask=there, other=0).to(tl.int64)
    return found


@triton.jit
def has(indices, begin, end, node, there):
    """Whether a node is among the sorted entries of a row."""
    low = begin
    high = end
    for _ in range(32):
        middle = (low + high) >> 1
        open = there & (low < high)
        less = open & (tl.load(indices + middle, mask=open, other=0).to(tl.int64) < node)
        high = tl.where(open & (less == 0), middle, high)
        low = tl.where(less, middle + 1, low)
    inside = there & (low < end)
    return inside & (tl.load(indices + low, mask=inside, other=0).to(tl.int64) == node)


# fmt: off
@triton.jit(do_not_specialize=["num_walks", "length", "num_nodes"])
def walk(
    indptr, indices, aliases, start, walks, seed, chances, num_walks, length, num_nodes,
    WEIGHTED: tl.constexpr, SECOND: tl.constexpr, LANES: tl.constexpr,
):
    # fmt: on
    """Walk LANES walks; `chances` are the fields of `Bias`. A walk without a start is -1 throughout."""
    number = tl.program_id(0).to(tl.int64) * LANES + tl.arange(0, LANES)
    inside = number < num_walks
    node = tl.load(start + number, mask=inside, other=-1)
    there = inside & (node >= 0) & (node < num_nodes)
    node = tl.where(there, node, -1)
    key = mix(tl.load(seed).to(tl.uint64) + (number + 1).to(tl.uint64) * 0x9E3779B97F4A7C15)
    draws = (number * 0).to(tl.uint64)
    before = number * 0 - 1
    at = number * (length + 1)
    tl.store(walks + at, node, mask=inside)
    for _ in range(length):
        begin = tl.load(indptr + node, mask=there, other=0).to(tl.int64)
        degree = tl.load(indptr + node + 1, mask=there, other=0).to(tl.int64) - begin
        waiting = degree > 0
        reached = node
        if SECOND:
            came = before >= 0
            row = tl.load(indptr + before, mask=came, other=0).to(tl.int64)
            end = tl.load(indptr + before + 1, mask=came, other=0).to(tl.int64)
            back = tl.load(chances).to(tl.int64)
            near = tl.load(chances + 1).to(tl.int64)
            far = tl.load(chances + 2).to(tl.int64)
            extra = tl.load(chances + 3 + number * 0)
            left = tl.sum(waiting.to(tl.int32), 0)
            while left > 0:
                # The excess of the step back over the other steps is drawn separately: see walks.c.
                asking = waiting & came & (extra > 0)
                draws = tl.where(asking, draws + 1, draws)
                edges = tl.where(asking, degree.to(tl.float64) + extra, 1.0)
                share = (extra / edges * 4294967296.0).to(tl.int64)
                returns = asking & ((random(key, draws) >> 32).to(tl.int64) < share)
                reached = tl.where(returns, before, reached)
                waiting = waiting & (returns == 0)
                draws = tl.where(waiting, draws + 1, draws)
                draw = random(key, draws)
                candidate = entry(indices, aliases, begin, degree, draw, waiting, WEIGHTED)
                needed = tl.where(has(indices, row, end, candidate, waiting & came), near, far)
                needed = tl.where(candidate == before, back, needed)
                kept = (before < 0) | (degree == 1) | ((draw & 0xFFFFFFFF).to(tl.int64) < needed)
                reached = tl.where(waiting & kept, candidate, reached)
                waiting = waiting & (kept == 0)
                left = tl.sum(waiting.to(tl.int32), 0)
        else:
            draws += 1
            found = entry(indices, aliases, begin, degree, random(key, draws), waiting, WEIGHTED)
            reached = tl.where(waiting, found, node)
        before = tl.where(there, node, -1)
        node = reached
        at += 1
        tl.store(walks + at, node, mask=inside)
