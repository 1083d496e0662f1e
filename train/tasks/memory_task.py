"""Pictures to remember, and to recall from spoiled ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mpnn import uniforms
from mpnn.datasets import ImageDataset
from mpnn.train.errors import RunError
from mpnn.train.learners.memory import Memory, spins
from mpnn.train.tasks.code_task import CodeTask
from mpnn.train.tasks.split import Split


class MemoryTask(CodeTask):
    """Remember some pictures; validated on them with spoiled pixels, and tested with others of them spoiled.

    Models are `Memory`s.

    Args:
        data: pictures, of pixels between 0 and 1.
        patterns: how many of them are remembered, drawn by the seed.
        noise: the share of pixels that are turned over.
        seed: of the pictures and the pixels.

    Raises:
        RunError: there are fewer pictures.
    """

    item = "picture"

    def __init__(self, data: ImageDataset, *, patterns: int, noise: float, seed: int) -> None:
        if patterns > data.num_images:
            raise RunError(f"patterns is {patterns}, but {data.name} has {data.num_images} images")
        chosen = torch.randperm(data.num_images, generator=torch.Generator().manual_seed(seed))[:patterns]
        chosen = chosen.to(data.x.device)
        height, width = data.size
        codes = [f"pixel {row},{column}" for row in range(height) for column in range(width)]
        split = Split(chosen, chosen, chosen)
        super().__init__(
            data, split, codes=codes, metrics=("overlap",), loss="share of wrong pixels", batch_size=None
        )
        self.noise, self.seed = noise, seed

    def spoiled(self, part: str) -> Tensor:
        """The states from which a part is recalled, `[num_patterns, height * width]`, entries ±1."""
        states = spins(self.data.x[self.split.train])
        if part == "train":
            return states
        drawn = uniforms(self.seed, ("val", "test").index(part), tuple(states.shape)).to(states)
        return torch.where(drawn < self.noise, -states, states)

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The overlap of what is recalled with what was remembered: 1 if all is right, 0 by chance."""
        if not isinstance(model, Memory):
            raise RunError(f"{type(model).__name__} is no Memory, and recalls nothing")
        right, found = self.spoiled("train"), dict[str, float]()
        for part in ("train", "val", "test"):
            overlap = float((model.recalled(self.spoiled(part)) * right).mean())
            found[f"{part}_overlap"] = overlap
        return {"val_loss": (1 - found["val_overlap"]) / 2} | found
