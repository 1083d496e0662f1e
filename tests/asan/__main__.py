"""Run the cases under the sanitizers; fail if they find an error, or miss one that is there on purpose.

    python -m tests.asan [--messages 200] [--only WORD]

They run in a process that has the sanitizers' library loaded first, so that PyTorch's memory is theirs, and
flags for `mpnn.native.toolchain`. A finding ends it; the next process goes on with the next case.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path

FLAGS = "-fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all -g1 -O1"
WORDS = ("ERROR: AddressSanitizer", "runtime error:")
NOTES = "MPNN_SANITIZED"  # the file in which the watched process notes how far it is


def main() -> int:
    """The exit status: 0 if only the errors that are there on purpose were found."""
    parser = argparse.ArgumentParser(prog="python -m tests.asan", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--messages", type=int, default=200, help="how many random messages")
    parser.add_argument("--only", default="", help="cases with this in their name")
    parser.add_argument("--broken", action="store_true", help="take what is wrong on purpose for the cases")
    parser.add_argument("--begin", type=int, default=0, help="with which case")
    asked = parser.parse_args()
    if NOTES in os.environ:
        return _watched(asked, Path(os.environ[NOTES]))
    with tempfile.TemporaryDirectory() as folder:
        return _watching(asked, Path(folder) / "notes", _environment())


def _watching(asked: argparse.Namespace, notes: Path, environment: Mapping[str, str]) -> int:
    """Run all cases; after a finding, go on in another process."""
    begin, found, missed = asked.begin, 0, 0
    while True:
        words = ["--messages", str(asked.messages), "--only", asked.only, "--begin", str(begin)]
        words += ["--broken"] if asked.broken else []
        done = subprocess.run(
            [sys.executable, "-m", "tests.asan", *words],
            env={**environment, NOTES: str(notes)},
            stderr=subprocess.PIPE,
            check=False,
        )
        report = done.stderr.decode(errors="replace")
        if not notes.exists():
            print(f"nothing could be run under the sanitizers: {report[-2000:]}")
            return 2
        number, kind, name = notes.read_text().splitlines()[-1].split(" ", 2)
        if kind == "end":
            missed += done.returncode
            print(f"{name}; {found} findings, {missed} errors on purpose that were not found")
            return 1 if found or missed else 0
        begin = int(number) + 1
        if kind == "case":
            found += 1
            print(f"FOUND in {name}, exit {done.returncode}:\n{_essence(report)}", flush=True)
        elif not any(word in report for word in WORDS):
            missed += 1
            print(f"{name} ended the process, but not by a finding: {report[-2000:]}", flush=True)


def _watched(asked: argparse.Namespace, notes: Path) -> int:
    """Run the cases from one on, under the sanitizers; return how many errors on purpose were missed."""
    from tests.asan.cases import ON_PURPOSE, cases

    on_purpose, others = ([], ON_PURPOSE) if asked.broken else (ON_PURPOSE, cases(asked.messages))
    chosen = [("purpose", *one) for one in on_purpose]
    chosen += [("case", *one) for one in others if asked.only in one[0]]
    missed = 0
    for k, (kind, name, case) in enumerate(chosen[asked.begin :], asked.begin):
        with notes.open("a") as file:
            file.write(f"{k} {kind} {name}\n")
        try:
            case()
            missed += kind == "purpose"
        except Exception:  # other tests are for these
            print(f"raised in {name}: {traceback.format_exc().splitlines()[-1]}", flush=True)
    with notes.open("a") as file:
        file.write(f"{len(chosen)} end {len(chosen) - len(on_purpose)} cases ran\n")
    return missed


def _environment() -> dict[str, str]:
    """The environment variables under which the sanitizers see the kernels and PyTorch's memory."""
    compiler = os.environ.get("CC", "gcc")
    libraries = []
    for name in ("libasan.so", "libstdc++.so.6"):  # the second: the first asks for its functions at once
        asked = [compiler, f"-print-file-name={name}"]
        path = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        if not Path(path).is_absolute():
            sys.exit(f"{compiler} has no {name}: make asan needs GCC with its sanitizers.")
        libraries.append(path)
    return {
        **os.environ,
        "CC": compiler,
        "LD_PRELOAD": " ".join(libraries),
        "MPNN_CFLAGS": FLAGS,
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",  # what Python keeps until the end
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "OMP_NUM_THREADS": "2",
    }


def _essence(report: str) -> str:
    """The lines of a report that say what was found, where and why."""
    lines = report.splitlines()
    telling = (k for k, line in enumerate(lines) if any(word in line for word in WORDS))
    first = next(telling, max(0, len(lines) - 12))
    return "\n".join("    " + line for line in lines[first : first + 12])


if __name__ == "__main__":
    sys.exit(main())
