"""What attention has read is kept: a text is read piece by piece, and a step of generation costs one row."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import mpnn
from mpnn import models, topology
from mpnn.models.dense.key_values import KeyValues
from mpnn.models.networks.sampling import kept
from tests.compare import assert_close, assert_same


def transformer(**options: Any) -> models.CausalTransformer:
    torch.manual_seed(1)
    model = models.CausalTransformer(9, 8, heads=2, num_layers=2, **{"context": 16, **options})
    model = model.double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model


TOKENS = torch.randint(9, (3, 12), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("backend", ["auto", "dense", "eager"])
@pytest.mark.parametrize("pieces", [[12], [1] * 12, [5, 1, 1, 3, 2]], ids=str)
def test_a_text_read_in_pieces_is_the_text_read_at_once(pieces: list[int], backend: str) -> None:
    model = transformer()

    class InPieces(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, tokens: Tensor) -> Tensor:
            state, found = model.beginning(), []
            with mpnn.backend(backend):
                for piece in tokens.split(pieces, 1):
                    logits, state = self.model(piece, state)
                    found.append(logits)
            return torch.cat(found, 1)

    class AtOnce(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, tokens: Tensor) -> Tensor:
            return self.model(tokens)[0]

    assert_same(InPieces(), AtOnce(), [TOKENS])


@pytest.mark.parametrize("context", [16, 7])
@pytest.mark.parametrize("options", [{}, {"top_k": 3}, {"top_p": 0.6}, {"top_k": 4, "top_p": 0.7}], ids=str)
def test_what_is_written_is_what_reading_all_anew_in_every_step_writes(
    options: dict[str, Any], context: int
) -> None:
    model = transformer(context=context)
    start = TOKENS[:, :4]
    found = model.continued(start, 10, 0.8, torch.Generator().manual_seed(5), **options)
    generator, text = torch.Generator().manual_seed(5), start
    for _ in range(10):
        logits = model(text[:, -context:])[0][:, -1] / 0.8
        chances = kept(logits, **options).softmax(-1)
        text = torch.cat([text, torch.multinomial(chances, 1, generator=generator)], 1)
    assert torch.equal(found, text[:, 4:])


def test_a_step_costs_one_row() -> None:
    model = transformer()

    def cost(tokens: Tensor, state: Any) -> tuple[int, Any]:
        with FlopCounterMode(display=False) as counter, torch.no_grad(), mpnn.backend("dense"):
            _, state = model(tokens, state)
        return counter.get_total_flops(), state

    width, layers, row = 8, 2, 2 * 3 * 8  # a row of 8 numbers, and the products of a batch of 3
    maps = layers * row * (3 * width + width + 4 * width + 4 * width) + row * 9
    whole, state = cost(TOKENS[:, :11], model.beginning())
    assert whole >= 11 * maps
    step, _ = cost(TOKENS[:, 11:], state)
    # Attention is a product with 12 keys, and one with 12 values, where it is counted.
    assert step in (maps, maps + layers * 2 * row * 12)


def test_a_state_may_be_gone_on_from_again() -> None:
    model = transformer()
    _, state = model(TOKENS[:, :5], model.beginning())
    first, _ = model(TOKENS[:, 5:6], state)
    model(TOKENS[:, 6:9], state)
    again, _ = model(TOKENS[:, 5:6], state)
    assert torch.equal(first, again) and state.length == 5


def test_beams_go_on_from_rows_of_a_cache() -> None:
    cache = KeyValues()
    k, v = torch.randn(2, 3, 2, 4, 5).unbind()
    cache.append(k, v)
    picked = cache.rows(torch.tensor([2, 0, 2]))
    assert torch.equal(picked.read()[0], k[[2, 0, 2]]) and torch.equal(picked.read()[1], v[[2, 0, 2]])
    picked.append(k[:, :, :1], v[:, :, :1])
    assert (cache.length, picked.length) == (4, 5)


@pytest.mark.parametrize("backend", ["dense", "eager"])
def test_a_memory_is_mapped_once(backend: str) -> None:
    layer = models.TransformerDecoderLayer(8, 2, 12, 0.0, batch_first=True, dtype=torch.float64)
    target, memory = torch.randn(3, 5, 8).double(), torch.randn(3, 4, 8).double()
    padding = torch.arange(4) >= torch.tensor([[4], [2], [3]])
    later = torch.ones(5, 5, dtype=torch.bool).triu(1)
    with mpnn.backend(backend):
        whole = layer(target, memory, later, memory_key_padding_mask=padding, tgt_is_causal=True)
        own, once, found = KeyValues(), KeyValues(grows=False), []
        for k in range(5):
            given = memory if k == 0 else memory * torch.nan  # is not read again
            found.append(
                layer(
                    target[:, k : k + 1],
                    given,
                    memory_key_padding_mask=padding,
                    tgt_is_causal=True,
                    cache=own,
                    memory_cache=once,
                )
            )
    assert_close(torch.cat(found, 1), whole)
    assert (own.length, once.length) == (5, 4)


# The likeliest ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("top_k", [None, 1, 3, 50])
@pytest.mark.parametrize("top_p", [None, 1e-9, 0.3, 0.9, 1.0])
def test_the_likeliest_tokens_are_kept(top_k: int | None, top_p: float | None) -> None:
    logits = torch.randn(40, 12, dtype=torch.float64) * 2
    found = kept(logits, top_k, top_p)
    for row, was in zip(found, logits, strict=True):
        order = was.argsort(descending=True).tolist()[: top_k or 12]
        chances = was[order].softmax(0).tolist()
        total, wanted = 0.0, set()
        for token, chance in zip(order, chances, strict=True):
            if top_p is not None and total >= top_p:
                break
            wanted.add(token)
            total += chance
        assert set(row.isfinite().nonzero().flatten().tolist()) == wanted
        assert torch.equal(row[row.isfinite()], was[row.isfinite()])


# Mistakes ---------------------------------------------------------------------------------------------------


def test_mistakes_are_named() -> None:
    model = transformer()
    _, state = model(TOKENS, model.beginning())
    with pytest.raises(ValueError, match="tokens are 5 in a row behind 12 others, but context is 16"):
        model(TOKENS[:, :5], state)
    with pytest.raises(ValueError, match=r"\(batch, heads, head_dim\) = \(3, 2, 4\), but was given \(2"):
        model(TOKENS[:2, :1], state)
    with pytest.raises(ValueError, match="state is of 2 layers, but this model has 1"):
        models.CausalTransformer(9, 8, 2, 1, 16)(TOKENS[:, :1], state)
    with pytest.raises(ValueError, match="state was given with a graph"):
        model(TOKENS[0], model.beginning(), graph=topology.band(12, 3, causal=True))
    for options, said in (
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"top_p": 0.0}, "top_p is 0.0, but should be above 0 and at most 1"),
        ({"top_p": 1.5}, "top_p is 1.5, but should be above 0 and at most 1"),
        ({"temperature": torch.nan}, "temperature must be a finite number, got nan"),
    ):
        with pytest.raises(ValueError, match=said):
            model.continued(TOKENS, 1, **options)
    attention, x = models.MultiheadAttention(8, 2, batch_first=True), torch.randn(2, 3, 8)
    with pytest.raises(ValueError, match="graph was given with a cache"):
        attention(x[0], x[0], x[0], graph=topology.complete(3), cache=KeyValues())
    zero = models.MultiheadAttention(8, 2, batch_first=True, add_zero_attn=True)
    with pytest.raises(ValueError, match="add_zero_attn was given with a cache"):
        zero(x, x, x, cache=KeyValues())
    layer = models.TransformerEncoder(models.TransformerEncoderLayer(8, 2, 8, batch_first=True), 2)
    with pytest.raises(ValueError, match="caches holds 1, but there are 2 layers"):
        layer(x, is_causal=True, caches=[KeyValues()])
    with pytest.raises(ValueError, match="the cache is empty"):
        KeyValues().read()
