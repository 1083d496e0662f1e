"""Generated Triton as a Python module in a file, because Triton reads the source of what it compiles."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import ModuleType

from mpnn.native.cache import cache_folder, draft_folder, session_folder
from mpnn.native.toolchain import CompilerError


def load(source: str) -> ModuleType:
    """The module of a source; its file is in the user's private cache, named by a hash of the source.

    Raises:
        CompilerError: no folder can be written to.
    """
    key = hashlib.sha256(source.encode()).hexdigest()[:32]
    path = _written(f"{key}.py", source)
    module = ModuleType(f"mpnn_triton_{key}")
    module.__file__ = str(path)
    exec(compile(source, str(path), "exec"), module.__dict__)
    return module


def _written(name: str, source: str) -> Path:
    """The file with this text, written under another name and renamed, so that processes do not interfere."""
    last: Exception | None = None
    for find_folder in (cache_folder, session_folder):
        folder = find_folder()
        if folder is None:
            continue
        path = folder / name
        try:
            if not path.exists() or path.read_text() != source:
                with draft_folder(folder) as build:
                    draft = build / name
                    draft.write_text(source)
                    draft.replace(path)
            return path
        except OSError as error:  # a full or read-only disk: try the next folder
            last = error
    raise CompilerError(f"no folder can hold a kernel: {last}")
