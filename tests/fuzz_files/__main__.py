"""The command: many damaged files of each format, or one to look at."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

# Before torch is imported: a process with threads is not copied whole.
os.environ.update(OMP_NUM_THREADS="1", MPLBACKEND="agg")


def main() -> int:
    """Run the command; return 1 if there is a finding."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_files", description=__doc__)
    parser.add_argument("--each", type=int, default=80, help="damaged files of each format")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--only", metavar="FORMAT[:SEED]", help="one format, or one file of it")
    parser.add_argument("--jobs", type=int, default=2, help="processes at once")
    parser.add_argument("--verbose", action="store_true", help="print what each file became")
    parser.add_argument("--dozen", action="store_true", help="one file of each of twelve formats")
    parser.add_argument("--broken", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    from tests.fuzz_files.broken import BROKEN
    from tests.fuzz_files.formats import FORMATS
    from tests.fuzz_files.reading import FINDINGS, KINDS, SECONDS, Case, Samples, import_all, read_all

    name, _, seed = (given.only or "").partition(":")
    formats = [one for one in (BROKEN if given.broken else FORMATS) if not name or one.name == name]
    if given.dozen:
        formats = formats[:: len(formats) // 12][:12]
    if not formats:
        parser.error(f"--only is {given.only!r}, but formats are {', '.join(one.name for one in FORMATS)}")
    seeds = (
        [int(seed)]
        if seed
        else range(given.first, given.first + (1 if given.dozen or given.broken else given.each))
    )
    import_all()
    table = {one.name: Counter[str]() for one in formats}
    with tempfile.TemporaryDirectory() as home:
        samples = Samples(Path(home), formats, 3.0 if given.broken else SECONDS)
        cases = [Case(one.name, number) for one in formats for number in seeds]
        for verdict in read_all(samples, cases, given.jobs):
            table[verdict.case.format][verdict.kind] += 1
            if verdict.is_finding or given.verbose or seed:
                print(f"--only '{verdict.case}': {verdict.kind}: {verdict.words}", flush=True)
    print(f"{'format':24}" + "".join(f"{kind:>11}" for kind in KINDS))
    for name, counts in table.items():
        print(f"{name:24}" + "".join(f"{counts[kind] or '-':>11}" for kind in KINDS))
    total = sum(table.values(), Counter[str]())
    print(f"{f'{total.total()} files':24}" + "".join(f"{total[kind] or '-':>11}" for kind in KINDS))
    return int(sum(total[kind] for kind in FINDINGS) > 0)


if __name__ == "__main__":
    sys.exit(main())
