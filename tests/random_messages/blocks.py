"""Many seeds, in blocks, each in its own process: a crash ends only its case."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL, Signals

HOME = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "tests.random_messages"]
BLOCK = 100
PATIENCE = 300.0  # seconds that one case may take


@dataclass
class Summary:
    """The outcome of the seeds: a count of those that passed, those that eager refused, failures by seed."""

    passed: int = 0
    refused: list[int] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    rules: Counter[str] = field(default_factory=Counter)  # of kinds of messages, by which rules they ran

    def __str__(self) -> str:
        total = self.passed + len(self.refused) + len(self.failed)
        lines = [f"{seed:>6}  {text.splitlines()[0]}" for seed, text in sorted(self.failed.items())]
        refused = f"{len(self.refused)} refused by eager ({100 * len(self.refused) / max(total, 1):.1f} %)"
        lines += [f"{count:>6}  {text}" for text, count in sorted(self.rules.items())]
        return "\n".join([*lines, f"{self.passed} passed, {len(self.failed)} failed, {refused}"])


def run_seeds(
    seeds: Sequence[range],
    jobs: int,
    backend: str,
    without: Sequence[str] = (),
    report: Path | None = None,
    rules: bool = False,
) -> Summary:
    """Check all seeds, some blocks at a time. `report` is a file to which each failure is added at once."""
    summary = Summary()
    options = ["--backend", backend, *(["--without", *without] if without else [])]
    options += ["--rules"] * rules
    blocks = [
        range(start, min(start + BLOCK, some.stop))
        for some in seeds
        for start in range(some.start, some.stop, BLOCK)
    ]
    total, finished = sum(map(len, seeds)), 0
    with tempfile.TemporaryDirectory(prefix="random-messages-") as folder, ThreadPoolExecutor(jobs) as pool:
        results = [pool.submit(lambda b: list(_block(b, options, folder)), block) for block in blocks]
        began = time.monotonic()
        for block, result in zip(blocks, results, strict=True):
            for seed, verdict, text in result.result():
                if verdict == "failed":
                    summary.failed[seed] = text
                    if report is not None:
                        with report.open("a") as file:
                            file.write(f"=== seed {seed}: {text}\n\n")
                elif verdict == "refused":
                    summary.refused.append(seed)
                else:
                    summary.passed += 1
                    summary.rules[text] += rules
            finished += len(block)
            rate = (time.monotonic() - began) / finished
            progress = f"{finished} of {total}: {len(summary.failed)} failed, {rate:.2f} s a case"
            print(progress, file=sys.stderr, flush=True)
    return summary


def _block(seeds: range, options: list[str], folder: str) -> Iterator[tuple[int, str, str]]:
    """Seed, verdict and text of each case of a block, in a process that is begun anew after a crash."""
    start = seeds.start
    while start < seeds.stop:
        last = seeds.stop - 1
        for seed, verdict, text in _process(range(start, seeds.stop), options, folder):
            if verdict == "crashed":
                last = seed
            if verdict != "began":
                yield seed, "failed" if verdict == "crashed" else verdict, text
        start = last + 1


def _process(seeds: range, options: list[str], folder: str) -> Iterator[tuple[int, str, str]]:
    """The verdicts that a process prints; if it ends early, the seed that it had begun has failed."""
    with tempfile.TemporaryDirectory(dir=folder) as cache, tempfile.TemporaryFile() as errors:
        # Later blocks do not need its kernels.
        environment = {"MPNN_STRICT": "1", "OMP_NUM_THREADS": "1", **os.environ, "MPNN_CACHE": cache}
        if "triton" in options:
            environment.setdefault("TRITON_INTERPRET", "1")
        child = subprocess.Popen(
            [*COMMAND, "--block", f"{seeds.start}:{seeds.stop}", *options],
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            cwd=HOME,
        )
        with child:
            seed, verdict = -1, ""
            for line in _lines(child):
                seed, verdict, text = json.loads(line)
                yield seed, verdict, text
            code = child.wait()
        if code == 0:
            return
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip()
        if verdict != "began":  # it is not the fault of a message
            raise RuntimeError(f"a process for seeds {seeds.start} to {seeds.stop} {_how(code)}: {said}")
        yield (
            seed,
            "crashed",
            f"the process {_how(code)}: {' '.join(said.splitlines()[-1:])}\n\n{_text(seed)}",
        )


def _text(seed: int) -> str:
    from tests.random_messages.generate import random_case

    return str(random_case(seed))


def _how(code: int) -> str:
    if code == -SIGKILL:
        return f"was ended: no answer in {PATIENCE:.0f} s, or no memory"
    return f"ended by {Signals(-code).name}" if code < 0 else f"ended with {code}"


def _lines(child: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """The lines that a process writes, until it ends or takes too long."""
    assert child.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        rest = b""
        while True:
            if not selector.select(PATIENCE):
                child.kill()
                return
            piece = os.read(child.stdout.fileno(), 1 << 16)
            if not piece:
                return
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines
