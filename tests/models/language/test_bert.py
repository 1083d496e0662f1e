"""BERT equals torch.nn's encoder with the same weights, on sentences and on graphs of words."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from language_oracles import TorchBert
from torch import Tensor, nn

import mpnn
from mpnn import Graph, models, topology
from tests.compare import assert_close, assert_same
from tests.models.language.folders import SMALL, small

IDS = torch.tensor([[2, 7, 3, 9, 4], [2, 5, 3, 0, 0], [2, 11, 13, 3, 0]])
MASK = (IDS != 0).long()
TYPES = torch.tensor([[0, 0, 1, 1, 1], [0, 1, 1, 0, 0], [0, 0, 0, 1, 0]])
EMPTY = Graph(torch.empty(2, 0, dtype=torch.long), 0)
PLACES = torch.tensor([[4, 3, 2, 1, 0], [0, 2, 4, 6, 8], [1, 1, 1, 1, 1]])
LAYER = {
    "attention.self.query.weight": (8, 8),
    "attention.self.query.bias": (8,),
    "attention.self.key.weight": (8, 8),
    "attention.self.key.bias": (8,),
    "attention.self.value.weight": (8, 8),
    "attention.self.value.bias": (8,),
    "attention.output.dense.weight": (8, 8),
    "attention.output.dense.bias": (8,),
    "attention.output.LayerNorm.weight": (8,),
    "attention.output.LayerNorm.bias": (8,),
    "intermediate.dense.weight": (12, 8),
    "intermediate.dense.bias": (12,),
    "output.dense.weight": (8, 12),
    "output.dense.bias": (8,),
    "output.LayerNorm.weight": (8,),
    "output.LayerNorm.bias": (8,),
}


class Ours(nn.Module):
    """The words that are no padding, the pooled output and all states; on a backend."""

    def __init__(self, bert: nn.Module, backend: str = "auto") -> None:
        super().__init__()
        self.bert, self.backend = bert, backend

    def forward(self, ids: Tensor, mask: Tensor | None = None, *more: Tensor) -> Any:
        with mpnn.backend(self.backend):
            if isinstance(self.bert, models.Bert):
                x, pooled, states, _ = self.bert(ids, mask, *more, output_hidden_states=True)
            else:
                x, pooled, states = self.bert(ids, mask, *more)
        kept = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool()
        return x[kept], pooled, [state[kept] for state in states]


GIVEN: dict[str, list[Tensor]] = {
    "words": [IDS],
    "padded": [IDS, MASK],
    "types": [IDS, MASK, TYPES],
    "places": [IDS, MASK, TYPES, PLACES],
    "a mask of booleans": [IDS, MASK.bool()],
}


@pytest.mark.parametrize("backend", ["auto", "dense", "eager"])
@pytest.mark.parametrize("given", GIVEN)
def test_states_pooled_output_and_gradients_equal_those_of_torch(given: str, backend: str) -> None:
    bert = small().double()
    theirs = TorchBert(copy.deepcopy(bert))
    assert_same(Ours(bert, backend), Ours(theirs), GIVEN[given])


def test_in_single_precision_they_are_equal_to_rounding() -> None:
    bert = small()
    theirs = TorchBert(copy.deepcopy(bert))
    assert_same(Ours(bert), Ours(theirs), [IDS, MASK, TYPES], atol=1e-5)


def test_names_and_shapes_are_those_of_hugging_face() -> None:
    wanted = {
        "embeddings.word_embeddings.weight": (20, 8),
        "embeddings.position_embeddings.weight": (16, 8),
        "embeddings.token_type_embeddings.weight": (2, 8),
        "embeddings.LayerNorm.weight": (8,),
        "embeddings.LayerNorm.bias": (8,),
    }
    for k in range(2):
        wanted |= {f"encoder.layer.{k}.{name}": shape for name, shape in LAYER.items()}
    wanted |= {"pooler.dense.weight": (8, 8), "pooler.dense.bias": (8,)}
    found = [(name, tuple(value.shape)) for name, value in small().state_dict().items()]
    assert found == list(wanted.items())
    assert sum(p.numel() for p in models.Bert().parameters()) == 109_482_240  # of bert-base-uncased


def test_the_words_of_a_text_do_not_depend_on_its_padding() -> None:
    bert = small().double()
    alone = bert(IDS[1:2, :3])
    padded = bert(IDS, MASK)
    assert_close(padded.last_hidden_state[1:2, :3], alone.last_hidden_state)
    assert_close(padded.pooler_output[1:2], alone.pooler_output)


def test_vectors_may_take_the_place_of_words() -> None:
    bert = small().double()
    vectors = bert.embeddings.word_embeddings(IDS)
    assert_close(bert(inputs_embeds=vectors).last_hidden_state, bert(IDS).last_hidden_state)


@pytest.mark.parametrize("backend", ["dense", "eager"])
def test_attentions_are_the_weights_of_torchs_attention(backend: str) -> None:
    bert = small(num_hidden_layers=1).double()
    with mpnn.backend(backend):
        found = bert(IDS, MASK, output_hidden_states=True, output_attentions=True)
    own: Any = bert.encoder.layer[0].get_submodule("attention.self")
    theirs = nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64)
    parts = (own.query, own.key, own.value)
    theirs.in_proj_weight.data = torch.cat([part.weight for part in parts])
    theirs.in_proj_bias.data = torch.cat([part.bias for part in parts])
    x = found.hidden_states[0]
    _, weights = theirs(x, x, x, key_padding_mask=MASK == 0, average_attn_weights=False)
    assert_close(found.attentions[0], weights)


# On another topology --------------------------------------------------------------------------------------


def test_a_complete_graph_of_each_text_is_a_padded_batch() -> None:
    bert = small().double()
    kept = MASK.bool()
    graph = topology.complete(MASK.sum(1).tolist())
    found = bert(IDS[kept], token_type_ids=TYPES[kept], graph=graph, output_attentions=True)
    padded = bert(IDS, MASK, TYPES)
    assert_close(found.last_hidden_state, padded.last_hidden_state[kept])
    assert_close(found.pooler_output, padded.pooler_output)
    assert [weights.shape for weights in found.attentions] == [(graph.num_edges, 2)] * 2


@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize("kind", ["window", "sparse"])
def test_a_graph_of_words_is_a_mask_on_all_pairs(kind: str, backend: str) -> None:
    bert, ids = small().double(), torch.randint(1, 20, (12,))
    graph: Graph = topology.band(12, 2)
    if kind == "sparse":
        chosen = torch.rand(12, 12, generator=torch.Generator().manual_seed(3)) < 0.3
        graph = Graph((chosen | torch.eye(12, dtype=torch.bool)).nonzero().T.flip(0), 12)
    allowed = torch.zeros(12, 12, dtype=torch.bool)
    allowed[graph.dst, graph.src] = True
    assert not allowed.all()

    class Along(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, ids: Tensor) -> Any:
            with mpnn.backend(backend):
                found = self.bert(ids, graph=graph)
            return found.last_hidden_state, found.pooler_output

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = TorchBert(copy.deepcopy(bert), allowed)

        def forward(self, ids: Tensor) -> Any:
            x, pooled, _ = self.bert(ids[None])
            return x[0], pooled

    assert_same(Along(), Masked(), [ids])


# Heads ----------------------------------------------------------------------------------------------------


def test_hidden_words_are_scored_by_the_vectors_of_words() -> None:
    model = models.BertForMaskedLM(models.Bert(**SMALL, add_pooling_layer=False)).double()
    p = model.cls.predictions
    for parameter in p.parameters():
        nn.init.normal_(parameter)
    labels = torch.where(torch.rand(IDS.shape) < 0.5, IDS, -100)
    labels[0, 0] = 2
    loss, logits = model(IDS, MASK, labels=labels)
    dense, norm = p.transform.dense, p.transform.LayerNorm
    h = F.gelu(F.linear(model.bert(IDS, MASK).last_hidden_state, dense.weight, dense.bias))
    h = F.layer_norm(h, (8,), norm.weight, norm.bias, 1e-12)
    words = model.bert.embeddings.word_embeddings.weight
    assert_close(logits, h @ words.T + p.bias)
    assert_close(loss, F.cross_entropy(logits[labels >= 0], labels[labels >= 0]))
    names = [name for name in model.state_dict() if name.startswith("cls.")]
    assert names == [
        "cls.predictions.bias",
        "cls.predictions.transform.dense.weight",
        "cls.predictions.transform.dense.bias",
        "cls.predictions.transform.LayerNorm.weight",
        "cls.predictions.transform.LayerNorm.bias",
        "cls.predictions.decoder.weight",
        "cls.predictions.decoder.bias",
    ]
    assert p.decoder.weight is words and p.decoder.bias is p.bias


def test_the_class_of_a_text_is_read_off_its_first_word() -> None:
    model = models.BertForSequenceClassification(small(), 3, dropout=0.0).double()
    labels = torch.tensor([0, 2, 1])
    loss, logits = model(IDS, MASK, TYPES, labels=labels)
    pooled = model.bert(IDS, MASK, TYPES).pooler_output
    assert_close(logits, pooled @ model.classifier.weight.T + model.classifier.bias)
    assert_close(loss, F.cross_entropy(logits, labels))


def test_a_small_bert_learns_to_fill_in_what_repeats() -> None:
    torch.manual_seed(0)
    model = models.BertForMaskedLM(models.Bert(**{**SMALL, "hidden_size": 32}, add_pooling_layer=False))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    first = torch.randint(2, 20, (64, 3))
    texts = torch.cat([first, first], 1)  # what is hidden stands in the other half
    hidden = torch.zeros(64, 6, dtype=torch.bool)
    hidden[torch.arange(64), torch.randint(6, (64,))] = True
    given, labels = texts.masked_fill(hidden, 1), texts.masked_fill(~hidden, -100)
    losses = []
    for _ in range(150):
        loss, _ = model(given, labels=labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 2.5 and losses[-1] < 0.5


def test_a_program_is_made_of_it() -> None:
    bert = small().double()
    with torch.no_grad():
        found = torch.export.export(bert, (IDS, MASK, TYPES)).module()(IDS, MASK, TYPES)
        assert_close(found[0], bert(IDS, MASK, TYPES)[0])


# Mistakes -------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "input_ids or inputs_embeds must be given, but neither was given"),
    "both": ({"input_ids": IDS, "inputs_embeds": torch.ones(3, 5, 8)}, "but both were given"),
    "an unknown word": ({"input_ids": IDS + 10}, r"input_ids\[0, 4\] is 14|is 2\d, but must be from 0 to 19"),
    "no integers": ({"input_ids": IDS.float()}, "input_ids must be int64 or int32, got torch.float32"),
    "one text": ({"input_ids": IDS[0]}, r"input_ids is \[5\], but should be \[batch, length\]"),
    "no words": ({"input_ids": IDS[:, :0]}, r"input_ids is \[3, 0\], but should be \[batch, length\]"),
    "too long": ({"input_ids": IDS.repeat(1, 4)}, "a text has 20 words, but at most .* = 16 are"),
    "types": ({"input_ids": IDS, "token_type_ids": TYPES + 1}, r"token_type_ids\[0, 2\] is 2, but"),
    "shape of types": ({"input_ids": IDS, "token_type_ids": TYPES[0]}, r"token_type_ids is \[5\], but"),
    "places": ({"input_ids": IDS, "position_ids": PLACES + 9}, r"position_ids\[1, 4\] is 17, but must"),
    "shape of places": ({"input_ids": IDS, "position_ids": PLACES[:, :2]}, r"position_ids is \[3, 2\], but"),
    "an empty text": ({"input_ids": IDS, "attention_mask": MASK * torch.tensor([[1], [0], [1]])},
                      r"attention_mask\[1\] is all 0, but a text has a word"),
    "shape of the mask": ({"input_ids": IDS, "attention_mask": MASK[:, :4]}, r"attention_mask is \[3, 4\]"),
    "width": ({"inputs_embeds": torch.ones(3, 5, 7)}, r"inputs_embeds is \[3, 5, 7\], but should be .* 8\]"),
    "a mask and a graph": (
        {"input_ids": IDS[0], "attention_mask": MASK[0], "graph": topology.band(5, 1)},
        "attention_mask was given with a graph"),
    "a graph of texts": ({"input_ids": IDS, "graph": topology.band(5, 1)}, r"should be \[num_nodes\]"),
    "a graph without words": (
        {"input_ids": IDS[0], "graph": Graph.batch([topology.band(5, 1), EMPTY])},
        "graph 1 of the batch has no node, but a text has a word"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_read_is_answered_in_a_sentence(name: str) -> None:
    given, said = WRONG[name]
    with pytest.raises((ValueError, TypeError), match=said) as raised:
        small()(**given)
    assert "\n" not in str(raised.value)


def test_what_cannot_be_built_is_answered_in_a_sentence() -> None:
    with pytest.raises(
        ValueError, match="hidden_size is 8, but should be a multiple of num_attention_heads, 3"
    ):
        small(num_attention_heads=3)
    with pytest.raises(ValueError, match="pad_token_id is 20, but must be below vocab_size, 20"):
        small(pad_token_id=20)
    with pytest.raises(ValueError, match="act is 'gleu', but must be one of"):
        small(hidden_act="gleu")
    with pytest.raises(ValueError, match="token_type_ids was given, but this network has no types of texts"):
        small(type_vocab_size=0)(IDS, token_type_ids=TYPES)
    with pytest.raises(ValueError, match="bert has no pooler, but a class is read off it"):
        models.BertForSequenceClassification(small(add_pooling_layer=False), 3)
    with pytest.raises(ValueError, match=r"labels is \[3\], but should be \[3, 5\]"):
        models.BertForMaskedLM(small())(IDS, labels=torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"labels\[0, 0\] is 20, but must be from 0 to 19"):
        models.BertForMaskedLM(small())(IDS, labels=torch.full_like(IDS, 20))
