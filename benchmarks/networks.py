"""A training step of whole networks against the same network made of torch.nn's layers.

    python benchmarks/networks.py

LeNet-5 on 64 images of 28 × 28; on text, a Transformer of 4 layers, 4 heads and width 128 on 12 pieces of 64
characters, and two LSTMs of width 128 on 50 pieces of 64. Both start from the same weights, are checked to
compute the same losses, and take turns; numbers are medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpnn import models

TOKENS = 65
PAUSE = 0.02  # seconds until the threads of the other contender stop waiting for work


class TheirTransformer(nn.Module):
    """`CausalTransformer`, made of torch.nn's layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(TOKENS, 128), nn.Embedding(64, 128)
        self.dropout = nn.Dropout(0.0)
        layer = nn.TransformerEncoderLayer(128, 4, 512, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 4, nn.LayerNorm(128), enable_nested_tensor=False)

    def forward(self, tokens: Tensor) -> tuple[Tensor, None]:
        """Logits of the next tokens."""
        length = tokens.size(1)
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        x = self.embed(tokens) + self.place(torch.arange(length))
        return self.layers(x, mask, is_causal=True) @ self.embed.weight.T, None


class TheirLSTM(nn.Module):
    """`RecurrentLM`, made of torch.nn's layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS, 128)
        self.lstm, self.lin = nn.LSTM(128, 128, 2, batch_first=True), nn.Linear(128, TOKENS)

    def forward(self, tokens: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Logits of the next tokens, and the state after the last."""
        hidden, state = self.lstm(self.embed(tokens))
        return self.lin(hidden), state


class TheirLeNet(nn.Module):
    """`LeNet`, made of torch.nn's layers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(400, 120),
            nn.Tanh(),
            nn.Linear(120, 84),
            nn.Tanh(),
        )
        self.classify = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the classes."""
        logits: Tensor = self.classify(self.features(x))
        return logits


def stepper(model: nn.Module, inputs: Tensor, targets: Tensor) -> Callable[[], float]:
    """Return a function that does one step of training and returns the loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> float:
        optimizer.zero_grad()
        found = model(inputs)
        logits = found[0].flatten(0, 1) if isinstance(found, tuple) else found
        loss = F.cross_entropy(logits, targets.flatten())
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def measure(ours: nn.Module, theirs: nn.Module, inputs: Tensor, targets: Tensor, repeats: int) -> list[float]:
    """Median milliseconds of a step of each.

    Raises:
        AssertionError: they do not compute the same losses.
    """
    theirs.load_state_dict(ours.state_dict())
    steps = [stepper(model, inputs, targets) for model in (ours, theirs)]
    times: list[list[float]] = [[], []]
    for repeat in range(repeats + 3):
        losses = []
        for step, found in zip(steps, times, strict=True):
            began = time.perf_counter()
            losses.append(step())
            if repeat >= 3:
                found.append(1000 * (time.perf_counter() - began))
            time.sleep(PAUSE)
        torch.testing.assert_close(losses[0], losses[1], rtol=1e-3, atol=1e-4)
    return [statistics.median(found) for found in times]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    images, digits = torch.randn(64, 1, 28, 28), torch.randint(10, (64,))
    small, large = torch.randint(TOKENS, (12, 65)), torch.randint(TOKENS, (50, 65))
    cases = {
        "LeNet": (models.LeNet(), TheirLeNet(), images, digits),
        "RecurrentLM": (models.RecurrentLM(TOKENS), TheirLSTM(), large[:, :-1], large[:, 1:]),
        "CausalTransformer": (
            models.CausalTransformer(TOKENS),
            TheirTransformer(),
            small[:, :-1],
            small[:, 1:],
        ),
    }
    print("| network | mpnn ms | torch.nn ms | mpnn / torch.nn |\n|---|---|---|---|")
    for name, (ours, theirs, inputs, targets) in cases.items():
        mine, reference = measure(ours, theirs, inputs, targets, arguments.repeats)
        print(f"| {name} | {mine:.1f} | {reference:.1f} | {mine / reference:.2f} |", flush=True)


if __name__ == "__main__":
    main()
