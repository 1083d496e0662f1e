"""A network begins with the weights of a file, and all but its last layer may keep them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from mpnn.models.parts.weight_files import read_weights
from mpnn.train.errors import RunError
from mpnn.train.fitting.checkpoint import check_finite
from mpnn.train.fitting.optimizer import members_of
from mpnn.train.kinds.registry import kind_called
from mpnn.train.runs.settings import Settings

UNIT = "unit."  # what numbers are said in, which is the data's own
NOT_WEIGHTS = "num_batches_tracked"  # files of PyTorch before 0.4.1 have no such counts


def first_weights(model: nn.Module, settings: Settings) -> dict[str, Tensor]:
    """The weights that a run begins with, by name; none where the settings name no file.

    The last layer is among them if the file has one of its size; else it begins anew, of which this warns.

    Args:
        model: built as the settings say.
        settings: of the run.

    Raises:
        RunError: the file cannot be read, or is of another architecture, and what differs.
    """
    if settings.weights is None:
        return {}
    path, head = Path(settings.weights), _head(settings)
    found = read_weights(path, RunError)
    check_finite(path, found)
    wanted = dict(members_of(model)[0].state_dict())
    wanted = {name: tensor for name, tensor in wanted.items() if not name.startswith(UNIT)}
    same = {name for name, tensor in found.items() if name in wanted and tensor.shape == wanted[name].shape}
    of_head = {name for name in wanted if name.startswith(head)}
    body = {name: found[name] for name in same - of_head}
    _check_same(
        path,
        settings.model,
        {name: tensor for name, tensor in found.items() if not name.startswith(head)},
        {name: tensor for name, tensor in wanted.items() if name not in of_head},
    )
    if of_head <= same:
        if settings.ensemble is not None:
            raise RunError(
                f"ensemble is {settings.ensemble}, but {path} has the last layer too: all would begin alike"
            )
        return body | {name: found[name] for name in of_head}
    there = [tensor for name, tensor in found.items() if name in of_head and tensor.dim()]
    here = [tensor for name, tensor in wanted.items() if name in of_head and tensor.dim()]
    has = f"{len(there[0])} outputs, but {len(here[0])} are needed" if there else "no last layer"
    warnings.warn(f"{path} has {has}: the last layer, {head.rstrip('.')}, begins anew", stacklevel=3)
    return body


def begin(model: nn.Module, settings: Settings, weights: Mapping[str, Tensor]) -> None:
    """Give a new model its first weights, and freeze all layers but the last if the settings say so."""
    head = _head(settings) if settings.weights is not None else ""
    for member in members_of(model):
        member.load_state_dict(weights, strict=False)
        if settings.freeze:
            for name, parameter in member.named_parameters():
                parameter.requires_grad_(name.startswith(head))


def _head(settings: Settings) -> str:
    """What the names of the last layer's weights begin with."""
    heads = kind_called(settings.task).heads
    if settings.model not in heads:
        raise RunError(
            f"weights is {settings.weights!r}, but of the models only {', '.join(heads)} begin with a file's"
        )
    return f"{heads[settings.model]}."


def _check_same(path: Path, model: str, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    lacks = [name for name in wanted if name not in found and not name.endswith(NOT_WEIGHTS)]
    more = [name for name in found if name not in wanted]
    other = [name for name in wanted if name in found and found[name].shape != wanted[name].shape]
    said = [f"it lacks {_listed(lacks)}"] if lacks else []
    said += [f"it has {_listed(more)} besides"] if more else []
    if other:
        first = f"{list(found[other[0]].shape)} in place of {list(wanted[other[0]].shape)}"
        said.append(f"{_listed(other)} {'is' if len(other) == 1 else 'are'} of other shapes, {first}")
    if said:
        raise RunError(f"{path} is of another architecture than {model} here: {', and '.join(said)}")


def _listed(names: Sequence[str]) -> str:
    return f"{names[0]!r}{f' and {len(names) - 1} more' if len(names) > 1 else ''}"
