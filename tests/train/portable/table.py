"""The table of docs/export.md: which models become which files, each run on inputs of other sizes.

    python -m tests.train.portable.table            # every model in every form: a quarter of an hour
    python -m tests.train.portable.table GCN LSTM   # some

Files run in a process that cannot import mpnn. AOTInductor compiles C++ for each model.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.train.portable.cases import CASES, Case

PAGE = Path(__file__).parents[3] / "docs" / "export.md"
HEADER = "| | onnxruntime | `torch.export.load` | AOTInductor | `torch.jit.load` |\n|---|---|---|---|---|\n"
FORMS = {".onnx": "onnx", ".pt2": "pt2", "aoti": "pt2", ".pt": "torchscript"}
FIXED = "only as long as the example"


def run_elsewhere(home: Path, ending: str, *names: str) -> subprocess.CompletedProcess[str]:
    """Load files of a form where there is no mpnn, and compare what they give."""
    script = Path(__file__).with_name("elsewhere.py")
    command = [sys.executable, str(script), str(home), ending, *names]
    return subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)


def row(case: Case, passed: dict[str, bool]) -> str:
    """A line of the table."""
    cells = [
        FIXED if ending == "aoti" and not case.compiles else "yes" if passed[ending] else "no"
        for ending in FORMS
    ]
    return f"| {case.name} | {' | '.join(cells)} |\n"


def expected() -> str:
    """The table if all is as the cases say."""
    return HEADER + "".join(row(case, dict.fromkeys(FORMS, True)) for case in CASES)


def main(names: list[str]) -> int:
    """Run the cases, print the table; 1 if a cell is not what the page says."""
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for case in CASES:
            if names and case.name not in names:
                continue
            passed = {}
            for ending, to in FORMS.items():
                case.write(home, to)
                done = run_elsewhere(home, ending, case.name)
                passed[ending] = done.returncode == 0
                as_said = passed[ending] == (case.compiles or ending != "aoti")
                if not as_said:
                    failed = 1
                    print(done.stderr[-2000:], file=sys.stderr)
            print(row(case, passed), end="", flush=True)
    return failed


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
