"""Language models: their state, the tokens that they must not read, and the tokens that they draw."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mpnn import models, topology
from tests.compare import assert_close


@pytest.fixture
def transformer() -> models.CausalTransformer:
    return models.CausalTransformer(9, 8, heads=2, num_layers=2, context=12).double().eval()


@pytest.fixture
def lstm() -> models.RecurrentLM:
    return models.RecurrentLM(9, 8, num_layers=2).double()


def test_a_transformer_equals_one_of_torch(transformer: models.CausalTransformer) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 32, 0.0, "gelu", batch_first=True, norm_first=True)
    theirs = nn.TransformerEncoder(layer, 2, nn.LayerNorm(8), enable_nested_tensor=False).double()
    theirs.load_state_dict(transformer.layers.state_dict())
    tokens = torch.randint(9, (3, 12))
    x = transformer.embed(tokens) + transformer.place.weight
    mask = nn.Transformer.generate_square_subsequent_mask(12, dtype=torch.float64)
    expected = theirs(x, mask, is_causal=True) @ transformer.embed.weight.T
    assert_close(transformer(tokens)[0], expected)


def test_a_transformer_sees_nothing_of_what_follows(transformer: models.CausalTransformer) -> None:
    tokens = torch.randint(9, (1, 12))
    changed = tokens.clone()
    changed[0, 7:] = (changed[0, 7:] + 1) % 9
    assert torch.equal(transformer(tokens)[0][:, :7], transformer(changed)[0][:, :7])
    assert not torch.equal(transformer(tokens)[0][:, 7:], transformer(changed)[0][:, 7:])


def test_a_wide_window_is_the_whole_context(transformer: models.CausalTransformer) -> None:
    tokens = torch.randint(9, (12,))
    window = topology.band(12, 12, causal=True)
    assert_close(transformer(tokens, graph=window)[0], transformer(tokens[None])[0][0])
    near = transformer(tokens, graph=topology.band(12, 1, causal=True))[0]
    assert not torch.allclose(near, transformer(tokens[None])[0][0])


def test_an_lstm_equals_one_of_torch(lstm: models.RecurrentLM) -> None:
    theirs = nn.LSTM(8, 8, 2, batch_first=True).double()
    theirs.load_state_dict(lstm.lstm.state_dict())
    tokens = torch.randint(9, (3, 7))
    hidden, _ = theirs(lstm.embed(tokens))
    assert_close(lstm(tokens)[0], F.linear(hidden, lstm.lin.weight, lstm.lin.bias))


def test_a_text_read_in_pieces_is_the_text_read_at_once(lstm: models.RecurrentLM) -> None:
    tokens = torch.randint(9, (2, 12))
    state, logits = None, []
    for piece in tokens.split(4, dim=1):
        found, state = lstm(piece, state)
        logits.append(found)
    assert_close(torch.cat(logits, dim=1), lstm(tokens)[0])


def test_a_detached_state_is_remembered_and_lets_no_gradient_through(lstm: models.RecurrentLM) -> None:
    tokens = torch.randint(9, (1, 8))
    early = lstm.embed(tokens[:, :4]).detach().requires_grad_()
    _, state = lstm.lstm(early)
    whole, _ = lstm.lstm(lstm.embed(tokens[:, 4:]), state)
    cut, _ = lstm.lstm(lstm.embed(tokens[:, 4:]), tuple(part.detach() for part in state))
    assert torch.equal(whole, cut)
    (reached,) = torch.autograd.grad(whole.sum(), early, retain_graph=True)
    assert reached.abs().sum() > 0
    with pytest.raises(RuntimeError, match="not have been used in the graph"):
        torch.autograd.grad(cut.sum(), early)


@pytest.mark.parametrize("name", ["transformer", "lstm"])
def test_what_is_likeliest_is_written_at_a_low_temperature(name: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(name)
    start = torch.randint(9, (2, 3))
    written = model.continued(start, 5, temperature=1e-6)
    text = start
    for _ in range(5):
        text = torch.cat([text, model(text)[0][:, -1].argmax(dim=1, keepdim=True)], dim=1)
    assert torch.equal(written, text[:, 3:])


def test_a_transformer_goes_on_writing_beyond_its_context(transformer: models.CausalTransformer) -> None:
    assert transformer.continued(torch.zeros(1, 3, dtype=torch.long), 30).shape == (1, 30)


def test_a_generator_decides_what_is_written(lstm: models.RecurrentLM) -> None:
    start = torch.zeros(1, 1, dtype=torch.long)
    first, again = (lstm.continued(start, 20, generator=torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(first, again)


def test_mistakes_are_named(transformer: models.CausalTransformer) -> None:
    with pytest.raises(ValueError, match="tokens are 13 in a row, but context is 12"):
        transformer(torch.zeros(1, 13, dtype=torch.long))
    with pytest.raises(ValueError, match="state is a tuple, but should be what beginning"):
        transformer(torch.zeros(1, 3, dtype=torch.long), (1, 2))
    with pytest.raises(ValueError, match=r"tokens is \[3\], but should be \[batch, length\]"):
        transformer.continued(torch.zeros(3, dtype=torch.long), 3)
    with pytest.raises(ValueError, match=r"temperature is 0.0, but should be above 0"):
        transformer.continued(torch.zeros(1, 1, dtype=torch.long), 3, temperature=0.0)
    with pytest.raises(ValueError, match=r"size is \(3, 9\), but should be at least 4 pixels"):
        models.LeNet(size=(3, 9))
