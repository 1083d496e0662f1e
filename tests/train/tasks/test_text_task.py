"""Next characters, end to end."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mpnn.datasets import TextDataset
from mpnn.models import CausalTransformer, RecurrentLM
from mpnn.train import RunError, TextTask, load_model, preset, train
from mpnn.train.command import cli
from tests.compare import assert_close
from tests.train.breaks import assert_goes_on

TEXT = "the quick brown fox jumps over the lazy dog.\n" * 60
SHORT: dict[str, Any] = {
    "task": "text", "epochs": 3, "hidden": 16, "layers": 1, "context": 16, "steps": 5, "batch_size": 8,
}  # fmt: skip


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    path = tmp_path / "fox.txt"
    path.write_text(TEXT)
    return str(path)


@pytest.mark.parametrize("model", ["transformer", "lstm"])
def test_a_text_that_repeats_itself_is_learned(model: str, corpus: str, tmp_path: Path) -> None:
    more = {"epochs": 12, "steps": 40, "lr": 0.01} | ({"heads": 2} if model == "transformer" else {})
    report = train(preset(model, dataset=corpus, **SHORT | more), tmp_path / "run")
    nats, _ = report.test("nats")
    assert report.part == "val" and nats < 0.5 and "validation nats per character" in str(report)
    assert nats == report.results[0].best["val_loss"]
    assert (tmp_path / "run" / "curves.png").exists()


def test_the_validation_loss_is_that_of_every_character_in_its_piece(corpus: str) -> None:
    data = TextDataset.of("fox", TEXT)
    model = CausalTransformer(len(data.characters), 8, 2, 1, context=16).eval()
    task = TextTask(data, remembers=False, context=16)
    text = data.tokens[task.split.val]
    rows = len(text) // 32
    each = (len(text) - 1) // rows
    losses = []
    for row in range(rows):
        for start in range(0, each, 16):
            begin, end = row * each + start, row * each + min(start + 16, each)
            logits, _ = model(text[None, begin:end])
            losses.append(F.cross_entropy(logits[0], text[begin + 1 : end + 1], reduction="none"))
    assert len(torch.cat(losses)) > len(text) - rows - 1
    assert task.evaluate(model)["val_nats"] == pytest.approx(
        float(torch.cat(losses).detach().mean()), rel=1e-5
    )


def test_a_model_that_remembers_is_evaluated_with_its_memory() -> None:
    data = TextDataset.of("fox", TEXT)
    model = RecurrentLM(len(data.characters), 8).eval()
    short, long = (TextTask(data, remembers=True, context=c, val_share=0.1) for c in (16, 8))
    assert short.split.val.tolist() == long.split.val.tolist()
    text = data.tokens[short.split.val]
    rows = len(text) // 32
    each = (len(text) - 1) // rows
    logits, _ = model(text[: rows * each].view(rows, each))
    whole = F.cross_entropy(logits.flatten(0, 1), text[1 : rows * each + 1])
    assert short.evaluate(model)["val_nats"] == pytest.approx(whole.item(), rel=1e-5)


def test_each_batch_of_a_model_that_remembers_goes_on_where_the_one_before_ended() -> None:
    data = TextDataset.of("count", "".join(chr(0x4E00 + k) for k in range(1500)))
    task = TextTask(data, remembers=True, context=10, batch_size=4, steps=6)
    batches = list(task.batches())
    assert [batch.goes_on for batch in batches] == [False, *[True] * 5]
    count = len(task.split.train)
    for before, after in pairwise(batches):
        assert torch.equal((before.inputs[:, -1] + 1) % count, after.inputs[:, 0])
        assert torch.equal(before.targets[:, -1], after.inputs[:, 0])


def test_batches_of_a_model_that_forgets_never_leave_the_training_text() -> None:
    data = TextDataset.of("count", "".join(chr(0x4E00 + k) for k in range(1500)))
    task = TextTask(data, remembers=False, context=10, batch_size=50, steps=20)
    for batch in task.batches():
        assert not batch.goes_on and int(batch.targets.max()) < len(task.split.train)
        assert torch.equal(batch.inputs + 1, batch.targets)


def test_gradients_reach_back_to_the_beginning_of_the_piece_only() -> None:
    data = TextDataset.of("fox", TEXT)
    task = TextTask(data, remembers=True, context=8, steps=2)
    model = RecurrentLM(len(data.characters), 8).double()
    first, second = task.batches()
    task.loss(model, first)
    _, state = model(first.inputs)
    expected = F.cross_entropy(
        model(second.inputs, tuple(part.detach() for part in state))[0].flatten(0, 1),
        second.targets.flatten(),
    )
    found = task.loss(model, second)
    for ours, theirs in zip(
        torch.autograd.grad(found, [*model.parameters()]),
        torch.autograd.grad(expected, [*model.parameters()]),
        strict=True,
    ):
        assert_close(ours, theirs)


@pytest.mark.parametrize("model", ["transformer", "lstm"])
def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(
    model: str, corpus: str, tmp_path: Path
) -> None:
    assert_goes_on(preset(model, dataset=corpus, **SHORT), tmp_path, 2)


def test_a_model_writes(corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(preset("lstm", dataset=corpus, **SHORT), tmp_path / "run", draw=False)
    assert cli.main(["evaluate", str(tmp_path / "run")]) == 0
    parts = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert "val" in parts and "test" not in parts
    assert cli.main(["predict", str(tmp_path / "run"), "--output", str(tmp_path / "out.txt")]) == 0
    written = (tmp_path / "out.txt").read_text()
    assert len(written) == 1001 and set(written) <= set(TEXT)
    model, task, _ = load_model(tmp_path / "run")
    assert task.answers(model) == written


def test_a_part_to_test_on_is_reported(corpus: str, tmp_path: Path) -> None:
    report = train(preset("lstm", dataset=corpus, test_share=0.1, **SHORT), tmp_path / "run", draw=False)
    assert report.part == "test" and report.test()[0] == report.results[0].best["test_nats"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"context": 300}, "context is 300, but the val part of fox has 270 characters"),
        (
            {"val_share": 0.6, "test_share": 0.5},
            "val_share is 0.6 and test_share is 0.5, but should be below 1",
        ),
        ({"act": "relu"}, "act is 'relu', but of lstm it is always 'tanh'"),
        ({"heads": 2}, "heads is 2, but of lstm it is always None"),
        ({"norm": "batch"}, "norm is 'batch', but text tasks have none"),
        ({"folds": 3}, "folds is 3, but text tasks have none"),
        ({"model": "gcn"}, "model is 'gcn', but should be one of transformer, lstm"),
        (
            {"model": "transformer", "act": "gelu", "heads": 3},
            "channels is 16, but should be a multiple of heads, 3",
        ),
    ],
)
def test_what_does_not_fit_is_a_sentence(change: dict[str, Any], message: str, corpus: str) -> None:
    with pytest.raises(RunError, match=message):
        train(replace(preset("lstm", dataset=corpus, **SHORT), **change))
