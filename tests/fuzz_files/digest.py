"""What was read, as a text that is the same only if it is the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor, nn

from mpnn import Graph


def digest(value: Any) -> str:
    """The sum of everything in a value, bit for bit."""
    total = hashlib.sha256()
    _add(total, value)
    return total.hexdigest()


def _add(total: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        value = value.detach().contiguous().cpu().numpy()
    if isinstance(value, np.ndarray):
        total.update(f"{value.dtype} {value.shape}".encode() + value.tobytes())
    elif isinstance(value, pd.DataFrame):
        total.update(value.to_csv().encode(errors="surrogatepass"))
    elif isinstance(value, Graph):
        _add(total, [value.num_nodes, value.edge_index, value.edge_type])
    elif isinstance(value, nn.Module):
        _add(total, value.state_dict())
    elif is_dataclass(value) and not isinstance(value, type):
        _add(total, {field.name: getattr(value, field.name) for field in fields(value)})
    elif isinstance(value, Mapping):
        _add(total, [part for pair in value.items() for part in pair])
    elif isinstance(value, list | tuple):
        total.update(f"{len(value)} of".encode())
        for one in value:
            _add(total, one)
    else:
        total.update(repr(value).encode(errors="surrogatepass"))
