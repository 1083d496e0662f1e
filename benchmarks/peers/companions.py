"""The public tests of PyTorch Geometric's companions on ours, and those of its own that are skipped without.

    python benchmarks/peers/companions.py FOLDER

FOLDER holds checkouts of `rusty1s/pytorch_scatter`, `rusty1s/pytorch_cluster`, `rusty1s/pytorch_sparse`,
`rusty1s/pytorch_spline_conv`, `pyg-team/pyg-lib` and `pyg-team/pytorch_geometric`, each in a folder of its
name; what is missing is left out. Of PyTorch Geometric those tests are counted that are skipped without
`mpnn.pyg.enable()`: take the checkout of the release that is installed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

PLUGIN = Path(__file__).parent
PACKAGES = {
    "pytorch_scatter": "torch_scatter",
    "pytorch_cluster": "torch_cluster",
    "pytorch_sparse": "torch_sparse",
    "pytorch_spline_conv": "torch_spline_conv",
    "pyg-lib": "pyg_lib",
    "pytorch_geometric": "torch_geometric",
}
# What an error says where a test asks for what a CPU without a compiled package has not.
NOT_APPLICABLE = {
    "torch.jit.": "TorchScript",
    "CUDA": "CUDA",
    "No multiple GPUS": "CUDA",
    "triton": "Triton",
}


def run(checkout: Path, tests: list[str], ours: bool) -> dict[str, tuple[str, str]]:
    """Each test's outcome (passed, failed or skipped) and its reason."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = [
            "-q",
            "--continue-on-collection-errors",
            "-p",
            "no:cacheprovider",
            "-o",
            "addopts=",
            "-W",
            "ignore",
            "--rootdir",
            str(checkout),
        ]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(PLUGIN), str(PLUGIN.parents[1])]),
            "PEER_PACKAGE": PACKAGES[checkout.name],
            "PEER_CHECKOUT": str(checkout),
            "PEER_OURS": str(int(ours)),
        }
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "peer_plugin",
            *options,
            f"--junitxml={report}",
            *tests,
        ]
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
        if not report.exists():
            raise SystemExit(done.stdout[-3000:] + done.stderr[-3000:])
        return read(report)


def read(report: Path) -> dict[str, tuple[str, str]]:
    """What a report of pytest in XML says of each test."""
    outcomes = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        outcome, reason = "passed", ""
        for found in case:
            if found.tag in ("failure", "error", "skipped"):
                reason = (found.get("message") or "").strip().splitlines()[0] if found.get("message") else ""
                # The error alone: a test's source may speak of CUDA and fail for another reason.
                lines = [line for line in (found.text or "").splitlines() if line.startswith("E ")]
                whole = "\n".join([reason, *lines])
                other = next((why for word, why in NOT_APPLICABLE.items() if word in whole), "")
                outcome = "skipped" if found.tag == "skipped" else "failed"
                if other:
                    outcome, reason = "not applicable", other
        outcomes[name] = outcome, reason
    return outcomes


def report(name: str, outcomes: dict[str, tuple[str, str]], verbose: bool) -> None:
    """One line of the table, and one for each test that failed."""
    number = Counter(outcome for outcome, _ in outcomes.values())
    counts = (number[kind] for kind in ("passed", "failed", "not applicable", "skipped"))
    print(f"| {name} | " + " | ".join(map(str, counts)) + " |")
    if verbose:
        for test, (outcome, reason) in outcomes.items():
            if outcome in ("failed", "skipped"):
                print(f"    {outcome}: {test}: {reason[:160]}")


def main() -> None:
    """Run the checkouts that are there and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="of the checkouts")
    parser.add_argument(
        "--only", nargs="+", choices=PACKAGES, default=list(PACKAGES), help="some of the checkouts"
    )
    parser.add_argument("--tests", nargs="+", default=["test"], help="files or folders of the checkouts")
    parser.add_argument("--quiet", action="store_true", help="no line for each test that failed")
    arguments = parser.parse_args()
    print("| tests of | passed | failed | not applicable | skipped |")
    print("|---|---|---|---|---|")
    for name in arguments.only:
        checkout = arguments.folder.resolve() / name
        if not checkout.is_dir():
            print(f"| {name} | no checkout | | | |")
            continue
        outcomes = run(checkout, arguments.tests, ours=True)
        if name == "pytorch_geometric":
            without = run(checkout, arguments.tests, ours=False)
            missing = {test for test, (outcome, _) in without.items() if outcome != "passed"}
            outcomes = {
                test: found for test, found in outcomes.items() if test in missing or found[0] == "failed"
            }
        report(name, outcomes, verbose=not arguments.quiet)


if __name__ == "__main__":
    main()
