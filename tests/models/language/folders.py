"""Folders of weights as Hugging Face writes them, small ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mpnn import models

SMALL: dict[str, Any] = {
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 16,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
KINDS = {torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.int64: "I64"}
IN_DISTILBERT = {
    "num_hidden_layers": "n_layers",
    "hidden_size": "dim",
    "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
}


def small(**options: Any) -> models.Bert:
    """A network whose normalisations and biases are no identities."""
    return drawn(models.Bert(**{**SMALL, **options}))


def drawn(network: Any) -> Any:
    """With every number drawn, so that a weight in the wrong place changes the result."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return network.eval()


def safetensors(weights: Mapping[str, Tensor]) -> bytes:
    """A file of tensors: the length of the header, the header, the numbers."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    numbers = b""
    for name, tensor in weights.items():
        content = tensor.contiguous().numpy().tobytes()
        offsets = [len(numbers), len(numbers) + len(content)]
        header[name] = {"dtype": KINDS[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets}
        numbers += content
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + numbers


def write_folder(
    folder: Path, weights: Mapping[str, Tensor], config: Mapping[str, Any] = {}, *, pickled: bool = False
) -> Path:
    """`config.json` and the weights."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", **SMALL, **config}))
    if pickled:
        torch.save(dict(weights), folder / "pytorch_model.bin")
    else:
        (folder / "model.safetensors").write_bytes(safetensors(weights))
    return folder


def distilbert_config() -> dict[str, Any]:
    """The sizes by DistilBERT's names."""
    return {"model_type": "distilbert"} | {IN_DISTILBERT.get(name, name): v for name, v in SMALL.items()}
