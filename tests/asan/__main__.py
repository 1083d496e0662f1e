"""Start the cases where the sanitizers watch; fail if they find anything, or do not find what is wrong on purpose.

    python -m tests.asan [--messages 200] [--only WORD]

The process is started again with the sanitizers' library loaded first, so that PyTorch's memory is theirs, and
with flags for `mpnn.native.compiler`. Each case runs in a child, which a finding ends; the next goes on.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

FLAGS = "-fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all -g1 -O1"
FOUND = 99  # what a child that the sanitizers end exits with
WORDS = ("ERROR: AddressSanitizer", "runtime error:")
STARTED = "MPNN_UNDER_SANITIZERS"


def main() -> int:
    """The exit status: 0 if nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.asan", description=__doc__.split("\n")[0])
    parser.add_argument("--messages", type=int, default=200, help="how many random messages")
    parser.add_argument("--only", default="", help="cases with this in their name")
    asked = parser.parse_args()
    if STARTED not in os.environ:
        return subprocess.run([sys.executable, "-m", "tests.asan", *sys.argv[1:]], env=_watched(), check=False).returncode
    from tests.asan.cases import CANARIES, cases

    for name, canary in CANARIES:
        if not run([(name, canary)], quiet=True):
            print(f"{name}: is wrong on purpose, and was not found")
            return 2
    chosen = [(name, case) for name, case in cases(asked.messages) if asked.only in name]
    findings = run(chosen)
    print(f"{len(chosen)} cases, {findings} findings; {len(CANARIES)} errors made on purpose were found")
    return 1 if findings else 0


def _watched() -> dict[str, str]:
    """The environment in which the sanitizers see the kernels and PyTorch's memory."""
    compiler = os.environ.get("CC", "gcc")
    libraries = [
        subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for name in ("libasan.so", "libstdc++.so.6")  # the second: ASan asks for its functions at once
    ]
    missing = [name for name in libraries if not Path(name).is_absolute()]
    if missing:
        sys.exit(f"{compiler} has no {', '.join(missing)}: make asan needs GCC with its sanitizers.")
    return {
        **os.environ,
        STARTED: "1",
        "CC": compiler,
        "LD_PRELOAD": " ".join(libraries),
        "MPNN_CFLAGS": FLAGS,
        # What Python and PyTorch keep until the end is no leak.
        "ASAN_OPTIONS": f"detect_leaks=0:exitcode={FOUND}:allocator_may_return_null=1",
        "UBSAN_OPTIONS": f"print_stacktrace=1:halt_on_error=1:exitcode={FOUND}",
        "OMP_NUM_THREADS": "2",
    }


def run(chosen: Sequence[tuple[str, Callable[[], None]]], quiet: bool = False) -> int:
    """Run cases one after the other; how many ended their process."""
    findings, next_case = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        log, progress = Path(folder) / "log", Path(folder) / "progress"
        while next_case < len(chosen):
            child = os.fork()
            if child == 0:
                _run_from(next_case, chosen, log, progress)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            at = int(progress.read_text())
            if status == 0:
                break
            findings += 1
            next_case = at + 1
            if not quiet:
                print(f"FOUND in {chosen[at][0]}, exit {status}:\n{_essence(log.read_text(errors='replace'))}", flush=True)
        if not quiet:
            print((Path(folder) / "progress.raised").read_text() if (Path(folder) / "progress.raised").exists() else "")
    return findings


def _run_from(first: int, chosen: Sequence[tuple[str, Callable[[], None]]], log: Path, progress: Path) -> None:
    """In a child: the cases from one on; does not return."""
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    for k in range(first, len(chosen)):
        progress.write_text(str(k))
        try:
            chosen[k][1]()
        except Exception:  # other tests are for these
            with progress.with_suffix(".raised").open("a") as file:
                file.write(f"raised in {chosen[k][0]}: {traceback.format_exc().splitlines()[-1]}\n")
    os._exit(0)


def _essence(log: str) -> str:
    """The part of a report that tells where and why."""
    lines = log.splitlines()
    first = next((k for k, line in enumerate(lines) if any(word in line for word in WORDS)), max(0, len(lines) - 12))
    return "\n".join("    " + line for line in lines[first : first + 12])


if __name__ == "__main__":
    sys.exit(main())
