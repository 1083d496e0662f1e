"""Folders of Hugging Face: `config.json` and a file of weights, for BERT, MiniLM and DistilBERT."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from mpnn import files
from mpnn.models.parts.safetensors import read_safetensors
from mpnn.models.parts.weight_files import read_pickled

CONFIG = "config.json"
# The arguments of Bert by their names in a folder of either kind.
BERT = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "max_position_embeddings",
    "type_vocab_size",
    "initializer_range",
    "layer_norm_eps",
    "pad_token_id",
)
NAMES = {
    "bert": dict(zip(BERT, BERT, strict=True)),
    "distilbert": {
        "vocab_size": "vocab_size",
        "dim": "hidden_size",
        "n_layers": "num_hidden_layers",
        "n_heads": "num_attention_heads",
        "hidden_dim": "intermediate_size",
        "activation": "hidden_act",
        "dropout": "hidden_dropout_prob",
        "attention_dropout": "attention_probs_dropout_prob",
        "max_position_embeddings": "max_position_embeddings",
        "initializer_range": "initializer_range",
        "pad_token_id": "pad_token_id",
    },
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "bert": {},
    "distilbert": {"num_hidden_layers": 6, "type_vocab_size": 0},
}
# What a folder must say where it says anything: else the network is another one.
ONLY = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}
# A weight's name in a DistilBERT, and in a BERT.
DISTILBERT = [
    (r"^transformer\.", "encoder."),
    (r"attention\.q_lin", "attention.self.query"),
    (r"attention\.k_lin", "attention.self.key"),
    (r"attention\.v_lin", "attention.self.value"),
    (r"attention\.out_lin", "attention.output.dense"),
    (r"sa_layer_norm", "attention.output.LayerNorm"),
    (r"ffn\.lin1", "intermediate.dense"),
    (r"ffn\.lin2", "output.dense"),
    (r"output_layer_norm", "output.LayerNorm"),
    (r"^vocab_transform", "cls.predictions.transform.dense"),
    (r"^vocab_layer_norm", "cls.predictions.transform.LayerNorm"),
    (r"^vocab_projector\.bias", "cls.predictions.bias"),
    (r"^vocab_projector", "cls.predictions.decoder"),
]
OLD = [(r"LayerNorm\.gamma$", "LayerNorm.weight"), (r"LayerNorm\.beta$", "LayerNorm.bias")]
HEADS = ("cls.", "classifier.", "qa_outputs.", "pre_classifier.")
OTHERS = (*HEADS, "bert.pooler.")  # what a network may lack that does not read a text through it
TIED = "cls.predictions.decoder."  # second names of weights


P = TypeVar("P", bound="Pretrained")


class WeightsError(ValueError):
    """A folder of weights that cannot be used; the message is one sentence."""


class Weights(NamedTuple):
    """The weights of a folder, by the names of a `Bert` or of one with a head."""

    path: Path
    by_name: dict[str, Tensor]

    def fill(self, network: nn.Module) -> None:
        """Give them to a network that has no numbers yet.

        Raises:
            WeightsError: one is missing, superfluous, of another shape or type, or holds NaN.
        """
        wanted = {name: w for name, w in network.state_dict().items() if not name.startswith(TIED)}
        missing = [name for name in wanted if name not in self.by_name]
        if missing:
            raise WeightsError(f"{self.path} lacks {_listed(missing)}, which {_of(network)} has")
        given = {name: w for name, w in self.by_name.items() if name in wanted or not name.startswith(OTHERS)}
        for name, tensor in given.items():
            if name not in wanted:
                raise WeightsError(f"{self.path} holds {name!r}, which {_of(network)} lacks")
            if tensor.shape != wanted[name].shape:
                raise WeightsError(
                    f"{self.path}: {name!r} has shape {list(tensor.shape)}, but by {CONFIG} should have "
                    f"{list(wanted[name].shape)}"
                )
            if fault := _fault(tensor):
                raise WeightsError(f"{self.path}: {name!r} holds {fault}, but should hold numbers")
        numbers = {name: tensor.float() for name, tensor in given.items()}
        network.load_state_dict(numbers, strict=False, assign=True)


class Pretrained(nn.Module):
    """A network that a folder of Hugging Face's holds."""

    has_head = False  # whether its weights are those of a Bert with the prefix `bert.`, and of a head

    @classmethod
    def from_pretrained(cls: type[P], folder: str | Path, **changes: object) -> P:
        """The network that a folder holds, in float32, in evaluation mode; nothing in the folder is run.

        Args:
            folder: with `config.json` and `model.safetensors`, or `pytorch_model.bin`; of a BERT, a MiniLM or
                a DistilBERT.
            **changes: arguments that are to be other than the folder's, such as `hidden_dropout_prob`.

        Raises:
            WeightsError: a file is missing, damaged, of another architecture, or lacks a weight.
            TypeError, ValueError: an argument among `changes` is none.
        """
        config, weights = read_folder(Path(folder), with_head=cls.has_head)
        try:
            with torch.device("meta"):
                network = cls.built({**config, **changes})
        except (TypeError, ValueError) as fault:
            if any(name in str(fault) for name in changes):
                raise
            raise WeightsError(f"{Path(folder) / CONFIG}: {fault}") from fault
        weights.fill(network)
        network.tie()
        return network.eval()

    def tie(self) -> None:
        """Share what has two names."""

    @classmethod
    def built(cls: type[P], config: dict[str, Any]) -> P:
        """The network that a folder's arguments describe."""
        return cls(**config)


def read_folder(folder: Path, *, with_head: bool) -> tuple[dict[str, Any], Weights]:
    """The arguments of the network that a folder holds, and its weights.

    Raises:
        WeightsError: a file is missing or damaged, or the network is another one.
    """
    config = files.read_json(folder / CONFIG, WeightsError)
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in NAMES:
        raise WeightsError(
            f"{folder / CONFIG} is of model_type {kind!r}, but only {' and '.join(map(repr, NAMES))} are read"
        )
    for name, value in ONLY.items():
        if config.get(name, value) != value:
            raise WeightsError(f"{folder / CONFIG} says {name}={config[name]!r}, but only {value!r} is read")
    arguments = DEFAULTS[kind] | {ours: config[name] for name, ours in NAMES[kind].items() if name in config}
    path, raw = _tensors(folder)
    weights = _renamed(raw, kind, with_head)
    _check_layers(path, weights, arguments)
    if not with_head:
        arguments["add_pooling_layer"] = any(name.startswith("pooler.") for name in weights)
    return arguments, Weights(path, weights)


def _tensors(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    path = folder / "model.safetensors"
    if path.exists():
        return path, read_safetensors(path, WeightsError)
    path = folder / "pytorch_model.bin"
    if path.exists():
        return path, read_pickled(path, WeightsError)
    raise WeightsError(f"{folder} holds neither model.safetensors nor pytorch_model.bin")


def _renamed(raw: Mapping[str, Tensor], kind: str, with_head: bool) -> dict[str, Tensor]:
    """The weights by the names of a `Bert`, or with a head by those of `BertForMaskedLM`."""
    rules = (DISTILBERT if kind == "distilbert" else []) + OLD
    found = {}
    for name, tensor in raw.items():
        new = name.removeprefix(f"{kind}.")
        for pattern, ours in rules:
            new = re.sub(pattern, ours, new)
        if new.endswith("embeddings.position_ids"):  # 0, 1, 2, ..., which old files keep
            continue
        is_head = new.startswith(HEADS)
        if is_head and not with_head:
            continue
        found[f"bert.{new}" if with_head and not is_head else new] = tensor
    return found


def _check_layers(path: Path, weights: Mapping[str, Tensor], arguments: Mapping[str, Any]) -> None:
    """Compare the number of layers before any is made: a number in a file may be a million."""
    layers = {found[1] for name in weights if (found := re.search(r"encoder\.layer\.(\d+)\.", name))}
    said, there = arguments.get("num_hidden_layers", 12), len(layers)
    if said != there:
        raise WeightsError(f"{path} holds {there} layers, but {CONFIG} says {said!r}")


def _fault(tensor: Tensor) -> str | None:
    """What a tensor holds that is no weights, or None."""
    if tensor.layout is not torch.strided or tensor.device.type != "cpu":
        return f"a tensor on {tensor.device} of layout {tensor.layout}"
    if not tensor.is_floating_point():
        return str(tensor.dtype)
    return "NaN" if bool(tensor.isnan().any()) else None


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]!r}{more}"


def _of(network: nn.Module) -> str:
    return f"a {type(network).__name__} of {CONFIG}'s sizes"
