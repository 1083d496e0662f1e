"""A whole run of `mpnn train embed`: walks, vectors, what a linear model makes of them, pictures."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpnn.datasets import NodeDataset, load
from mpnn.models import SkipGram
from mpnn.train.analysis.linear_probe import linear_probe
from mpnn.train.errors import DivergedError, RunError
from mpnn.train.fitting import checkpoint, loop
from mpnn.train.fitting.identity import CONTENT, insist
from mpnn.train.fitting.interrupt import Interrupt
from mpnn.train.pictures import curves as pictures
from mpnn.train.pictures.style import failing_is_a_warning, picture_format, save_picture
from mpnn.train.runs import folder
from mpnn.train.runs.build import find_device
from mpnn.train.runs.embed_settings import EmbedSettings
from mpnn.train.runs.fingerprint import fingerprint
from mpnn.train.tasks.metrics import METRICS, mean_and_deviation
from mpnn.train.tasks.node_task import node_names

EMBEDDING, TABLE, LAST = "embedding.npz", "metrics.csv", "last.pt"
CURVE, PICTURE = "curves", "embedding"
MAY_CHANGE = ("data", "device", "share", "splits", "pictures")
MOST_LABELS = 8  # in a picture


@dataclass(frozen=True)
class EmbedReport:
    """What a run came to: the vectors, the loss of every round, and the metrics of every split."""

    settings: EmbedSettings
    vectors: Tensor
    history: list[dict[str, float]]
    scores: dict[str, list[float]]
    folder: Path

    def test(self, metric: str) -> tuple[float, float]:
        """Mean of a metric over the splits, and their standard deviation (of a sample; 0 for one split)."""
        return mean_and_deviation(self.scores[metric])

    def __str__(self) -> str:
        settings = self.settings
        head = f"{settings.model} on {Path(settings.dataset).name}"
        if not self.scores:
            return f"{head}: {len(self.vectors)} vectors, loss {self.history[-1]['loss']:.4f}"
        parts = []
        for name in self.scores:
            mean, deviation = self.test(name)
            spread = deviation if settings.splits > 1 else None
            parts.append(f"{METRICS[name].title} {METRICS[name].text(mean, spread)}")
        return (
            f"{head}: test {', '.join(parts)} ({100 * settings.share:g} % of the labels, "
            f"{settings.splits} splits)"
        )


def embed(
    settings: EmbedSettings | None = None,
    out: str | Path | None = None,
    *,
    resume: str | Path | None = None,
    draw: bool | str | None = None,
    opened: Callable[[NodeDataset, Path], None] | None = None,
    on_round: Callable[[int, float], None] | None = None,
    anyway: bool = False,
) -> EmbedReport:
    """Make a vector of every node, and write all into a run folder.

    The folder holds `config.json`, `metrics.csv` (the loss of every round), `embedding.npz` (`embedding`
    `[num_nodes, dimensions]` and `node`, the names), `results.json` and pictures.

    Args:
        settings: what to do; of a resumed run with changes of `data`, `device`, `share`,
            `splits` or `pictures` only.
        out: the run folder, which must be new or empty; by default a new one under `runs/`.
        resume: a run folder to go on with; the numbers are those of a run without a break.
        draw: whether to draw the pictures; `"pdf"` and `"svg"` draw them so, True is `"png"`;
            by default as `settings.pictures` says.
        opened: called with the data and the folder when the run begins.
        on_round: called after each round with its number, from 1, and its loss.
        anyway: resume although settings or data are not those of the checkpoint, with a warning.

    Raises:
        RunError, DataError: something cannot be used or written, or diverges, in one sentence.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP, after the state is written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as home:
    ...     embed(EmbedSettings(walks=5, dimensions=4), home, draw=False).vectors.shape
    torch.Size([34, 4])
    """
    if resume is not None and out is not None:
        raise RunError(f"out is {str(out)!r}, but a resumed run stays in its folder {str(resume)!r}")
    with ExitStack() as during:
        if resume is not None:
            home = Path(resume)
            before = during.enter_context(folder.resumed(home, EmbedSettings))
            settings = folder.continued(before, settings, home, MAY_CHANGE)
        settings = settings or EmbedSettings()
        kind = picture_format(draw, settings.pictures)
        data = load(settings.dataset, settings.data, settings.columns)
        if not isinstance(data, NodeDataset):
            raise RunError(f"{data.name} is {data.what}, but vectors are made of one graph's nodes")
        data = data.to(find_device(settings.device))
        run = _Run(_model(settings, data), _identity(settings, data))
        if resume is None:
            home = during.enter_context(folder.new_folder(settings, None if out is None else Path(out)))
        elif (home / LAST).exists():
            run.load(home / LAST, anyway)
        folder.write_config(home, settings)
        if opened is not None:
            opened(data, home)
        _train(run, home, on_round)
        vectors = run.model()
        _write_vectors(home / EMBEDDING, vectors, data)
        report = EmbedReport(settings, vectors, run.history, _judge(settings, vectors, data), home)
        content = {name: dict(zip(("mean", "std"), report.test(name), strict=True)) for name in report.scores}
        text = json.dumps({**content, "splits": report.scores}, indent=2) + "\n"
        checkpoint.write(home / folder.RESULTS, text.encode())
        if kind is not None:
            with failing_is_a_warning("the pictures"):
                _draw(report, data, kind)
    return report


def _identity(settings: EmbedSettings, data: NodeDataset) -> dict[str, Any]:
    """What decides the vectors: settings, edges and their weights."""
    flat = {name: value for name, value in settings.flat().items() if name not in MAY_CHANGE}
    parts = fingerprint(data)
    return flat | {
        CONTENT: {name: parts[name] for name in ("graph", "edge_attr", "node_names") if name in parts}
    }


@dataclass
class _Run:
    """What the next round depends on, and what it is of."""

    model: SkipGram
    identity: dict[str, Any]
    history: list[dict[str, float]] = field(default_factory=list)

    def save(self, home: Path) -> None:
        state = {"settings": self.identity, "model": self.model.state_dict(), "history": self.history}
        checkpoint.save(home / LAST, state)
        checkpoint.write_table(home / TABLE, self.history)

    def load(self, path: Path, anyway: bool) -> None:
        state = checkpoint.load(path)
        if "settings" in state:  # mpnn 0.1 wrote none
            insist(path, state["settings"], self.identity, "here", anyway=anyway, all_names=True)
        try:
            checkpoint.check_finite(path, state["model"])
            self.model.load_state_dict(state["model"])
            self.history = [dict(row) for row in state["history"]]
        except (KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, RunError):
                raise
            raise RunError(f"{path} is not a checkpoint of a run with these settings") from error


def _train(run: _Run, home: Path, on_round: Callable[[int, float], None] | None) -> None:
    model = run.model
    with Interrupt() as interrupt:
        saved_at = time.monotonic()
        while model.done < model.rounds:
            loss = model.step()
            run.history.append({"round": model.done, "loss": loss})
            if not (math.isfinite(loss) and model.embedding.isfinite().all()):
                checkpoint.write_table(home / TABLE, run.history)
                raise DivergedError(
                    f"the vectors diverged in round {model.done}, with loss {loss}: take a lower learning "
                    f"rate than {model.lr}"
                )
            if on_round is not None:
                on_round(model.done, loss)
            if interrupt.requested or time.monotonic() > saved_at + loop.SAVE_EVERY:
                run.save(home)
                saved_at = time.monotonic()
            if interrupt.requested:
                raise interrupt.error()
        run.save(home)


def _model(settings: EmbedSettings, data: NodeDataset) -> SkipGram:
    try:
        return SkipGram(
            data.graph,
            settings.dimensions,
            rounds=settings.walks,
            length=settings.length,
            window=settings.window,
            negatives=settings.negatives,
            p=1.0 if settings.p is None else settings.p,
            q=1.0 if settings.q is None else settings.q,
            weight=data.edge_attr if data.weighted else None,
            lr=settings.lr,
            seed=settings.seed,
        )
    except ValueError as error:
        names = {"rounds": "walks", "channels": "dimensions"}  # the settings have other names
        first, _, rest = str(error).rstrip(".").partition(" ")
        raise RunError(f"{names.get(first, first)} {rest}") from error


def _judge(settings: EmbedSettings, vectors: Tensor, data: NodeDataset) -> dict[str, list[float]]:
    if data.y is None or data.y.is_floating_point():
        return {}
    known = slice(None) if data.known is None else data.known
    return linear_probe(
        vectors[known], data.y[known], share=settings.share, splits=settings.splits, seed=settings.seed
    )


def _write_vectors(path: Path, vectors: Tensor, data: NodeDataset) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, embedding=vectors.cpu().numpy(), node=np.array(node_names(data)))
    checkpoint.write(path, content.getvalue())


def _draw(report: EmbedReport, data: NodeDataset, kind: str) -> None:
    curve = pictures.loss_curve(report.history, str(report))
    save_picture(curve, report.folder / f"{CURVE}.{kind}")
    if data.y is None or data.y.is_floating_point():
        return
    names, y = data.class_names, data.y
    shown = torch.ones(len(y), dtype=torch.bool, device=y.device) if data.known is None else data.known
    if y.dim() == 2:  # shown are nodes with exactly one of the most common labels
        common = y.sum(dim=0).argsort(descending=True)[:MOST_LABELS]
        names, y = tuple(names[k] for k in common.tolist()), y[:, common]
        shown, y = shown & (y.sum(dim=1) == 1), y.long().argmax(dim=1)
    title = f"{data.name}: vectors of {report.settings.model}, t-SNE"
    picture = pictures.embedding_picture(
        report.vectors[shown], y[shown], names, title=title, seed=report.settings.seed
    )
    save_picture(picture, report.folder / f"{PICTURE}.{kind}")
