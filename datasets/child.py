"""Readers of scipy that damaged files can crash, in a process of their own, which passes on plain arrays."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import scipy.sparse
from numpy.typing import NDArray

from mpnn.datasets.record import DataError
from mpnn.files import Arrays, free_memory, read
from mpnn.graph.matrix import check_entries, check_matrix

SECONDS = 600
# A sparse matrix is sent as it was read, without any step of scipy that trusts its pointers.
_SENDS = """
import io, sys
import numpy, scipy.io, scipy.sparse

def parts(name, one):
    if scipy.sparse.issparse(one):
        names = ("row", "col") if one.format == "coo" else ("indptr", "indices")
        for part in ("data", *names):
            yield f"{name}.{part}", getattr(one, part)
        yield f"{name}.shape", numpy.array(one.shape)
        yield f"{name}.format", numpy.array(one.format)
    elif isinstance(one, numpy.ndarray) and one.dtype.kind in "biuf":
        yield name, one

content = io.BytesIO(sys.stdin.buffer.read())
try:
    found = READ
    sent = {key: part for name, one in found.items() for key, part in parts(name, one)}
except Exception as error:
    print((str(error).strip().splitlines() or [type(error).__name__])[0], file=sys.stderr)
    sys.exit(3)
made = io.BytesIO()
numpy.savez(made, **sent)
sys.stdout.buffer.write(made.getvalue())
"""
READERS = {
    "Matrix Market": '{"matrix": scipy.io.mmread(content)}',
    "MATLAB": "scipy.io.loadmat(content)",
}

TEXTS = ("Matrix Market",)


def read_in_child(path: Path, kind: str) -> Mapping[str, NDArray[Any]]:
    """The numbers of a file: its matrices by name, of a sparse one each part by `name.part`.

    Args:
        path: the file.
        kind: one of `READERS`.

    Raises:
        DataError: the file cannot be read.
    """
    content, free = read(path, DataError), free_memory()
    zero = content.find(0) if kind in TEXTS else -1
    if zero >= 0:
        raise DataError(
            f"{path} is damaged or of another format: byte {zero} is 0, but the file should be text"
        )
    command = [sys.executable, "-I", "-c", _SENDS.replace("READ", READERS[kind])]
    try:
        done = subprocess.run(
            command,
            input=content,
            capture_output=True,
            timeout=SECONDS,
            check=False,
            preexec_fn=lambda: _bound(free),
        )
    except subprocess.TimeoutExpired:
        raise DataError(f"{path} cannot be read: after {SECONDS} seconds its reader had not ended") from None
    if done.returncode == 0:
        return Arrays(done.stdout, path, DataError)
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode == 3 and said:
        raise DataError(f"{path} is damaged or of another format: {said[-1]}")
    raise DataError(f"{path} is damaged, or larger than the memory that is free: it ended its reader")


def _bound(most: int) -> None:
    """Let a process take no more memory than this, beside that of its libraries."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (most + (4 << 30),) * 2)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def sparse(parts: Mapping[str, NDArray[Any]], before: str) -> Any:
    """A sound sparse matrix of scipy, whose parts have these words before their names.

    Raises:
        ValueError: its pointers or its indices are none, its form is not known, or an entry is not finite in
            float32.
        DataError: a part is missing.
    """
    form, shape = str(parts[before + "format"].item()), tuple(map(int, parts[before + "shape"]))
    form = form.removeprefix("b'").removesuffix("'")
    kinds = {"csr": scipy.sparse.csr_array, "csc": scipy.sparse.csc_array, "bsr": scipy.sparse.bsr_array}
    if len(shape) != 2 or min(shape) < 0:
        raise ValueError(f"its shape is {shape}")
    if form in kinds:
        given = tuple(parts[before + part] for part in ("data", "indices", "indptr"))
        matrix = kinds[form](given, shape=shape)
    elif form == "coo":
        matrix = scipy.sparse.coo_array(
            (parts[before + "data"], (parts[before + "row"], parts[before + "col"])), shape=shape
        )
    elif form == "dia":
        matrix = scipy.sparse.dia_array((parts[before + "data"], parts[before + "offsets"]), shape=shape)
    else:
        raise ValueError(f"its form is {form!r}, but should be csr, csc, coo, bsr or dia")
    check_matrix(matrix, before.rstrip(".") or "matrix")
    check_entries(matrix, before.rstrip(".") or "matrix")
    return matrix
