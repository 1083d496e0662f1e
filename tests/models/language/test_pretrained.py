"""Folders of Hugging Face are read as they are written, and what is wrong in one is a sentence."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mpnn import models
from mpnn.models.language.pretrained import WeightsError
from mpnn.models.parts.safetensors import read_safetensors
from tests.compare import assert_close
from tests.models.language.folders import (
    SMALL,
    distilbert_config,
    drawn,
    safetensors,
    small,
    write_folder,
)

IDS = torch.tensor([[2, 7, 3, 9, 4], [2, 5, 3, 0, 0]])


def same(found: models.Bert, wanted: models.Bert) -> None:
    for one, other in zip(found(IDS)[:2], wanted(IDS)[:2], strict=True):
        assert isinstance(one, Tensor)
        assert torch.equal(one, other)


@pytest.mark.parametrize("pickled", [False, True])
def test_a_folder_is_read_back(pickled: bool, tmp_path: Path) -> None:
    bert = small()
    found = models.Bert.from_pretrained(write_folder(tmp_path, bert.state_dict(), pickled=pickled))
    same(found, bert)
    assert not found.training and all(p.requires_grad for p in found.parameters())
    dropping = models.Bert.from_pretrained(tmp_path, hidden_dropout_prob=0.3)
    assert dropping.embeddings.dropout.p == 0.3


def in_old(name: str) -> str:
    name = re.sub(r"LayerNorm\.weight$", "LayerNorm.gamma", name)
    return "bert." + re.sub(r"LayerNorm\.bias$", "LayerNorm.beta", name)


def test_names_of_old_files_and_of_files_with_heads_are_known(tmp_path: Path) -> None:
    bert = small()
    old = {
        "bert."
        + re.sub(
            r"LayerNorm\.weight$", "LayerNorm.gamma", re.sub(r"LayerNorm\.bias$", "LayerNorm.beta", k)
        ): v
        for k, v in bert.state_dict().items()
    }
    old |= {
        "bert.embeddings.position_ids": torch.arange(16)[None],
        "cls.seq_relationship.weight": torch.ones(2, 8),
    }
    same(models.Bert.from_pretrained(write_folder(tmp_path, old)), bert)


def test_half_precision_is_widened(tmp_path: Path) -> None:
    bert = small().half().float()
    same(models.Bert.from_pretrained(write_folder(tmp_path, bert.half().state_dict())), bert.float())


def test_a_file_without_a_pooler_gives_a_network_without_one(tmp_path: Path) -> None:
    bert = small()
    weights = {name: w for name, w in bert.state_dict().items() if not name.startswith("pooler")}
    found = models.Bert.from_pretrained(write_folder(tmp_path, weights))
    assert found.pooler is None and found(IDS).pooler_output is None
    assert torch.equal(found(IDS).last_hidden_state, bert(IDS).last_hidden_state)


DISTILBERT = {
    "encoder.": "transformer.",
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}


def in_distilbert(name: str) -> str:
    for ours, theirs in DISTILBERT.items():
        name = name.replace(ours, theirs)
    return "distilbert." + name


def test_a_distilbert_is_a_bert_without_types_and_pooler(tmp_path: Path) -> None:
    bert = small(type_vocab_size=0, add_pooling_layer=False)
    weights = {in_distilbert(name): w for name, w in bert.state_dict().items()}
    folder = write_folder(tmp_path, weights)
    (folder / "config.json").write_text(json.dumps(distilbert_config()))
    found = models.Bert.from_pretrained(folder)
    assert torch.equal(found(IDS).last_hidden_state, bert(IDS).last_hidden_state)


@pytest.mark.parametrize("names", ["all", "untied", "of the whole"])
def test_a_head_for_hidden_words_is_read(names: str, tmp_path: Path) -> None:
    model = drawn(models.BertForMaskedLM(models.Bert(**SMALL, add_pooling_layer=False)))
    weights = dict(model.state_dict())
    if names == "untied":
        weights = {name: w for name, w in weights.items() if "decoder" not in name}
    if names == "of the whole":
        weights |= {"bert.pooler.dense.weight": torch.ones(8, 8), "cls.seq_relationship.bias": torch.ones(2)}
    found = models.BertForMaskedLM.from_pretrained(write_folder(tmp_path, weights))
    assert torch.equal(found(IDS).logits, model(IDS).logits)
    assert found.cls.predictions.decoder.weight is found.bert.embeddings.word_embeddings.weight


# Mistakes -------------------------------------------------------------------------------------------------

Change = Callable[[Path, dict[str, Tensor]], None]


def without(name: str) -> Change:
    return lambda folder, weights: write_weights(folder, {k: v for k, v in weights.items() if k != name})


def with_one(name: str, value: Tensor) -> Change:
    return lambda folder, weights: write_weights(folder, weights | {name: value})


def write_weights(folder: Path, weights: dict[str, Tensor]) -> None:
    (folder / "model.safetensors").write_bytes(safetensors(weights))


def config(**said: Any) -> Change:
    def change(folder: Path, weights: dict[str, Tensor]) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | said))

    return change


def bytes_of(name: str, change: Callable[[bytes], bytes]) -> Change:
    def write(folder: Path, weights: dict[str, Tensor]) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return write


WORDS = "embeddings.word_embeddings.weight"
WRONG: dict[str, tuple[Change, str]] = {
    "another architecture": (config(model_type="gpt2"), "model_type 'gpt2', but only 'bert' and"),
    "relative places": (config(position_embedding_type="relative_key"), "='relative_key', but only"),
    "no name": (config(model_type=["bert"]), r"model_type \['bert'\], but only"),
    "a decoder": (config(is_decoder=True), "says is_decoder=True, but only False is read"),
    "a missing key": (without("encoder.layer.1.output.dense.bias"), "lacks 'encoder.layer.1.output.dense"),
    "an unknown key": (with_one("embeddings.more", torch.ones(2)), "holds 'embeddings.more', which a Bert"),
    "a shape": (with_one(WORDS, torch.ones(9, 8)), r"\[9, 8\], but by config.json .* \[20, 8\]"),
    "NaN": (with_one("pooler.dense.bias", torch.full((8,), torch.nan)), "'pooler.dense.bias' holds NaN, but"),
    "integers": (with_one("pooler.dense.bias", torch.ones(8).long()), "bias' holds torch.int64, but"),
    "more layers": (config(num_hidden_layers=10**7), "holds 2 layers, but config.json says 10000000"),
    "fewer heads": (config(num_attention_heads=3), "hidden_size is 8, but should be a multiple"),
    "no number": (config(hidden_size="8"), "config.json: hidden_size must be a whole number, got '8'"),
    "a cut file": (bytes_of("model.safetensors", lambda b: b[:-3]), "is cut off: 'pooler.dense.bias' should"),
    "a cut header": (bytes_of("model.safetensors", lambda b: b[:99]), "is cut off or no safetensors file"),
    "an empty file": (bytes_of("model.safetensors", lambda b: b""), "is cut off: it holds 0 bytes"),
    "more bytes": (bytes_of("model.safetensors", lambda b: b + b"12"), "2 bytes at its end are of no tensor"),
    "no weights": (lambda folder, _: (folder / "model.safetensors").unlink(), "holds neither model"),
    "no config": (lambda folder, _: (folder / "config.json").unlink(), "config.json does not exist"),
    "a list": (bytes_of("config.json", lambda b: b"[]"), "should hold names and values, but holds a list"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_in_a_folder_is_a_sentence(name: str, tmp_path: Path) -> None:
    change, said = WRONG[name]
    weights = small().state_dict()
    change(write_folder(tmp_path, weights), weights)
    with pytest.raises(WeightsError, match=said) as raised:
        models.Bert.from_pretrained(tmp_path)
    assert "\n" not in str(raised.value) and str(tmp_path) in str(raised.value)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, {}, pickled=True)
    torch.save({"x": Path("y")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="is damaged, or holds more than tensors, which could run code"):
        models.Bert.from_pretrained(tmp_path)
    torch.save([torch.ones(2)], tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="holds no tensors by name"):
        models.Bert.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "odd", [torch.ones(8).to_sparse(), torch.ones(8, device="meta")], ids=["sparse", "meta"]
)
def test_a_tensor_without_ordinary_numbers_is_refused(odd: Tensor, tmp_path: Path) -> None:
    weights = small().state_dict() | {"pooler.dense.bias": odd}
    with pytest.raises(WeightsError, match=r"'pooler.dense.bias' holds a tensor on (cpu|meta) of layout"):
        models.Bert.from_pretrained(write_folder(tmp_path, weights, pickled=True))


# The format of the weights --------------------------------------------------------------------------------


def test_every_type_and_shape_is_read_back(tmp_path: Path) -> None:
    given = {
        "a": torch.randn(2, 3),
        "b": torch.arange(4),
        "none": torch.empty(0, 5),
        "one": torch.tensor(1.5, dtype=torch.float64),
        "half": torch.randn(3).half(),
    }
    (tmp_path / "w").write_bytes(safetensors(given))
    found = read_safetensors(tmp_path / "w", WeightsError)
    assert found.keys() == given.keys()
    for name, tensor in given.items():
        assert_close(found[name], tensor, atol=0)


def of_header(header: Any, numbers: bytes = bytes(8)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + numbers


A = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
HEADERS = {
    "a list": (of_header([]), "its header holds no names"),
    "no JSON": (of_header(b"{'a'"), "is damaged or no safetensors file"),
    "deep": (of_header(b"[" * 100_000), "is damaged or no safetensors file"),
    "twice": (of_header(json.dumps({"a": A})[:-1].encode() + b', "a": {}}'), "a name is there twice"),
    "no offsets": (of_header({"a": {"dtype": "F32", "shape": [2]}}), "does not say what 'a' is"),
    "no entry": (of_header({"a": 3}), "does not say what 'a' is"),
    "a negative shape": (of_header({"a": A | {"shape": [-2]}}), "does not say what 'a' is"),
    "a truth value": (of_header({"a": A | {"shape": [True, 2]}}), "does not say what 'a' is"),
    "a type": (of_header({"a": A | {"dtype": "F8_E4M3"}}), "'a' is of type F8_E4M3, but only F64, F32"),
    "a size": (of_header({"a": A | {"shape": [3]}}), r"'a' should hold 12 bytes, F32 \[3\], but has 8"),
    "a large size": (of_header({"a": A | {"shape": [1 << 40, 1 << 40]}}), "'a' should hold"),
    "a hole": (
        of_header({"a": A | {"data_offsets": [4, 12]}}, bytes(12)),
        "'a' begins at byte 4 of the data, not",
    ),
    "overlap": (of_header({"a": A, "b": A}), "begins at byte 0 of the data, not at 8"),
    "a header without end": ((1 << 62).to_bytes(8, "little") + b"{}", "its header should end at byte"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_cannot_be_is_a_sentence(name: str, tmp_path: Path) -> None:
    content, said = HEADERS[name]
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(WeightsError, match=said) as raised:
        read_safetensors(tmp_path / "w", WeightsError)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_cut_anywhere_is_a_sentence(tmp_path: Path) -> None:
    content = safetensors({"a": torch.randn(2, 2), "b": torch.arange(2)})
    for end in range(len(content)):
        (tmp_path / "w").write_bytes(content[:end])
        with pytest.raises(WeightsError):
            read_safetensors(tmp_path / "w", WeightsError)


def test_a_changed_byte_is_a_sentence_or_another_number(tmp_path: Path) -> None:
    content = safetensors({"a": torch.randn(2, 2), "b": torch.arange(2)})
    read = 0
    for place in range(len(content)):
        for value in (0, 34, 57, 255):
            (tmp_path / "w").write_bytes(content[:place] + bytes([value]) + content[place + 1 :])
            try:
                read_safetensors(tmp_path / "w", WeightsError)
                read += 1
            except WeightsError:
                continue
    assert 0 < read < len(content) * 4


# The division into pieces needs a library -----------------------------------------------------------------


def test_without_the_library_for_texts_a_sentence_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\n")
    with pytest.raises(ImportError, match=r"pip install 'mpnn\[text\]'"):
        models.WordPieces(tmp_path)
    with pytest.raises(ValueError, match="this encoder has no word pieces"):
        models.SentenceEncoder(small()).encode(["a"])


def test_a_folder_whose_sentences_are_no_means_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, small().state_dict())
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": "all"}')
    with pytest.raises(WeightsError, match="says max_seq_length='all', but texts are longer"):
        models.SentenceEncoder.from_pretrained(folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(
        '{"pooling_mode_cls_token": true, "word_embedding_dimension": 8}'
    )
    with pytest.raises(
        WeightsError, match="says pooling_mode_cls_token, but only pooling_mode_mean_tokens is"
    ):
        models.SentenceEncoder.from_pretrained(folder)
    with pytest.raises(ValueError, match="max_length must be at least 3, got 2"):
        models.WordPieces(folder, 2)


def test_a_sentence_is_the_normalised_mean_of_its_words() -> None:
    bert = small().double()
    mask = (IDS != 0).long()
    found = models.SentenceEncoder(bert)(IDS, mask)
    words = bert(IDS, mask).last_hidden_state
    for k, length in enumerate((5, 3)):
        mean = words[k, :length].mean(0)
        assert_close(found[k], mean / mean.norm())
