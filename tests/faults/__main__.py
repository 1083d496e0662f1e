"""Let runs go wrong in many ways, and check that nothing is lost.

python -m tests.faults [--minutes 28] [--jobs 2] [--per-kind 12] [--only WORD] [--seed N]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.cases import Case, all_cases


def main() -> int:
    """The exit status: 0 if every case that was begun is clean."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--minutes", type=float, default=28, help="no case begins later")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    parser.add_argument(
        "--per-kind", type=int, default=12, help="how many of most sorts for each kind of run"
    )
    parser.add_argument("--only", default="", help="cases with this in their name")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    asked = parser.parse_args()
    cases = [one for one in all_cases(asked.per_kind, asked.seed) if asked.only in f"{one.group}: {one.name}"]
    ends, done, failed = time.monotonic() + 60 * asked.minutes, Counter[str](), Counter[str]()

    def work(job: int, folder: Path) -> None:
        for one in cases[job :: asked.jobs]:
            if time.monotonic() > ends:
                return
            is_failed = _fails(one, folder)
            done[one.group] += 1
            failed[one.group] += is_failed

    with tempfile.TemporaryDirectory() as home, ThreadPoolExecutor(asked.jobs) as pool:
        folders = [Path(home, str(job)) for job in range(asked.jobs)]
        for folder in folders:
            folder.mkdir()
        for one in [pool.submit(work, job, folder) for job, folder in enumerate(folders)]:
            one.result()
    for group, count in sorted(done.items()):
        print(f"{group}: {count} cases, {failed[group]} failed")
    print(f"{done.total()} of {len(cases)} cases in the time given, {failed.total()} failed")
    return 1 if failed.total() else 0


def _fails(one: Case, folder: Path) -> bool:
    try:
        one.check(folder)
    except Exception as error:  # of any kind: it is a finding
        print(f"FAILED {one.group}: {one.name}: {type(error).__name__}: {error}", flush=True)
        return True
    return False


if __name__ == "__main__":
    sys.exit(main())
