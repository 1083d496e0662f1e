"""Every format that is read."""

from __future__ import annotations

from tests.fuzz_files.graphs import OF_DATA
from tests.fuzz_files.kernels import OF_KERNELS
from tests.fuzz_files.runs import OF_RUNS
from tests.fuzz_files.weights import OF_WEIGHTS

FORMATS = [*OF_DATA, *OF_RUNS, *OF_KERNELS, *OF_WEIGHTS]
