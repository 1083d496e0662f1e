"""A character LSTM: a language model on chains (Graves, 2013; Karpathy, 2015)."""

from __future__ import annotations

from torch import Tensor, nn

from mpnn.models.dense.neurons import Linear
from mpnn.models.dense.recurrent import LSTM
from mpnn.models.networks.language_model import LanguageModel
from mpnn.models.parts.checks import at_least, check_probability, ranges

States = tuple[Tensor, Tensor]


@ranges(num_tokens=at_least(1), channels=at_least(1), num_layers=at_least(1), dropout=check_probability)
class RecurrentLM(LanguageModel):
    """Embedding, stacked LSTMs, and a linear map to the next token.

    The state is the LSTM's `(h, c)`, `[num_layers, batch, channels]` each. For truncated backpropagation
    through time (Williams and Peng, 1990), read a long text piece by piece and pass each piece the detached
    state of the piece before: the memory continues, gradients do not.

    >>> model = RecurrentLM(num_tokens=65, channels=16, num_layers=2)
    >>> text = torch.randint(65, (4, 60))
    >>> state = None
    >>> for piece in text.split(20, dim=1):
    ...     logits, state = model(piece, state)
    ...     state = tuple(part.detach() for part in state)
    >>> logits.shape
    torch.Size([4, 20, 65])
    """

    remembers = True

    def __init__(
        self, num_tokens: int, channels: int = 128, num_layers: int = 2, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.num_tokens = num_tokens
        self.embed = nn.Embedding(num_tokens, channels)
        between = dropout if num_layers > 1 else 0.0
        self.lstm = LSTM(channels, channels, num_layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(dropout)
        self.lin = Linear(channels, num_tokens)

    def forward(self, tokens: Tensor, state: States | None = None) -> tuple[Tensor, States]:
        hidden, state = self.lstm(self.dropout(self.embed(tokens)), state)
        return self.lin(self.dropout(hidden)), state
