"""The command: many seeds, or one to look at."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path


def main() -> int:
    """Run the command; return 1 if a case fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.random_messages", description=__doc__)
    parser.add_argument(
        "--seeds",
        type=_range,
        nargs="+",
        default=[range(10_000), range(1_000_000, 1_002_000), range(2_000_000, 2_001_000)],
        metavar="FIRST:END",
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    parser.add_argument("--backend", default="auto")
    parser.add_argument(
        "--without", nargs="*", default=[], metavar="FEATURE", help="pass over cases that have one of these"
    )
    parser.add_argument("--report", type=Path, help="a file for the programs that fail")
    parser.add_argument("--show", type=int, metavar="SEED", help="print the program of a seed")
    parser.add_argument(
        "--shrink", type=int, metavar="SEED", help="print the shortest program that fails like it"
    )
    parser.add_argument("--rules", action="store_true", help="count the dense rules that cases run by")
    parser.add_argument("--block", type=_range, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.backend == "triton":
        os.environ.setdefault("TRITON_INTERPRET", "1")
    if given.block is not None:
        _block(given.block, given.backend, frozenset(given.without), given.rules)
        return 0
    if given.show is not None:
        from tests.random_messages.generate import random_case

        print(random_case(given.show))
        return 0
    if given.shrink is not None:
        from tests.random_messages.shrink import shrunk

        print(shrunk(given.shrink, given.backend))
        return 0
    from tests.random_messages.blocks import run_seeds

    summary = run_seeds(given.seeds, given.jobs, given.backend, given.without, given.report, given.rules)
    print(summary)
    return bool(summary.failed)


def _range(text: str) -> range:
    first, _, end = text.partition(":")
    return range(int(first), int(end or int(first) + 1))


def _block(seeds: range, backend: str, without: frozenset[str], rules: bool) -> None:
    """Check seeds in this process; print a line when each begins and when it ends."""
    import torch

    from tests.random_messages.check import RefusedError, check, rules_of
    from tests.random_messages.generate import random_case

    torch.set_num_threads(1)
    for seed in seeds:
        case = random_case(seed)
        if not without.isdisjoint(case.features):
            continue
        _say(seed, "began")
        try:
            check(case, backend)
        except RefusedError as refusal:
            _say(seed, "refused", str(refusal))
        except AssertionError as failure:
            _say(seed, "failed", str(failure))
        else:
            _say(seed, "passed", f"{case.features[0]} by {rules_of(case) or 'no rule'}" if rules else "")


def _say(seed: int, verdict: str, text: str = "") -> None:
    print(json.dumps([seed, verdict, text]), flush=True)


if __name__ == "__main__":
    sys.exit(main())
