"""A reduction: what one pass over the messages of a node computes, in one class.

Its law is a monoid. Every message is lifted to a state, two states merge into one, and the state of all
messages of a node is finished: into the aggregate, and into what the way back reads of the node. A loop over
a row, the parts of a row that several workers share and the slots of a GPU's tile all follow from these three
functions. They are written in PyTorch, number by number, and kernels in C and Triton are made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from mpnn.aggregate.reduce import along

State = tuple[Tensor, ...]


_known: dict[str, type[Reduction]] = {}


class PerNode(Enum):
    """What the way back reads of a node: a tensor each."""

    GRADIENT = "gradient"  # at the aggregate
    AGGREGATE = "aggregate"
    SAVED = "saved"  # the next of what `finish` gives besides the aggregate
    SHARE = "share"  # 1 / how many messages the node gets


class Reduction:
    """The base of all reductions. The instances of a subclass are equal.

    A subclass needs a `name` and its law: `identity`, `lift`, `merge` and `finish`. With `gradients` it has a
    kernel on the way back, too; without, steps that need a gradient run in PyTorch, where autograd derives
    the law. Where there is no such law, `reduce` alone will do: it runs in PyTorch, without a kernel. States
    merge in any order and any grouping; `mpnn.explain` says which way a step went, and why.

    A reduction has no parameters: what varies is done to the messages before, or to the aggregate after, by
    an `Aggregator`. It stands wherever an aggregator can.

    >>> class SecondLargest(Reduction):
    ...     name = "second largest"
    ...     identity = (-torch.inf, -torch.inf)
    ...     def lift(self, message):
    ...         return message, torch.full_like(message, -torch.inf)
    ...     def merge(self, one, other):
    ...         (a, b), (c, d) = one, other
    ...         return torch.maximum(a, c), torch.maximum(torch.minimum(a, c), torch.maximum(b, d))
    ...     def finish(self, state, count):
    ...         return (torch.where(count < 2, 0.0, state[1]),)
    >>> star = torch.tensor([[0, 1, 2, 3], [0, 0, 0, 1]])
    >>> mpnn.propagate(star, lambda x_j: x_j, aggr=SecondLargest(), x=torch.tensor([3.0, 5.0, 4.0, 1.0]))
    tensor([4., 0., 0., 0.])
    """

    name: ClassVar[str] = ""  # by which saved programs know it
    arity: ClassVar[int] = 1  # how many tensors of the messages it takes: a value, and a score that weighs it
    identity: ClassVar[tuple[float, ...]] = ()  # the state of a row without messages
    saves: ClassVar[int] = 0  # how many tensors `finish` gives besides the aggregate
    reads: ClassVar[tuple[PerNode, ...]] = (PerNode.GRADIENT,)  # the first arguments of `gradients`
    linear: ClassVar[bool] = False  # whether it is linear in the messages, in all channels alike
    exact: ClassVar[bool] = False  # whether rounding a message otherwise on the way back would change much
    compares: ClassVar[bool] = False  # whether `gradients` asks which messages are equal to some number
    rounds: ClassVar[bool] = False  # whether it reduces messages as they are after being stored

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not vars(cls).get("name"):
            raise TypeError(f"{cls.__name__} has no name of its own, by which saved programs would know it.")
        other = _known.get(cls.name, cls)
        if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            taken = f"{other.__module__}.{other.__qualname__}"
            raise TypeError(f"the name of {cls.__name__} is {cls.name!r}, which is that of {taken}.")
        _known[cls.name] = cls

    def __call__(self, value: Tensor, score: Tensor | None = None) -> Applied:
        """This reduction of some messages, which an aggregator's `split` returns."""
        return Applied(self, value, score)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    # Forward --------------------------------------------------------------------------------------------

    def reduce(self, tensors: Sequence[Tensor], index: Tensor, num_rows: int, dim: int) -> Tensor:
        """In plain PyTorch: `[..., num_entries, ...]` by `index [num_entries]` to `[..., num_rows, ...]`."""
        return folded(self, tensors, index, num_rows, dim)

    def lift(self, *message: Tensor) -> State:
        """The state of one message: its value, and its score if there is one."""
        raise NotImplementedError(f"{type(self).__name__} defines no lift().")

    def merge(self, one: State, other: State) -> State:
        """The state of the messages of both."""
        raise NotImplementedError(f"{type(self).__name__} defines no merge().")

    def finish(self, state: State, count: Tensor) -> State:
        """The aggregate of `count` messages, 0 perhaps, then what is saved."""
        raise NotImplementedError(f"{type(self).__name__} defines no finish().")

    # Backward -------------------------------------------------------------------------------------------

    @property
    def has_gradients(self) -> bool:
        """Whether it says what its gradient is."""
        return type(self).gradients is not Reduction.gradients

    def at_nodes(
        self,
        gradient: Tensor,
        kept: Sequence[Tensor],
        share: Callable[[torch.dtype], Tensor],
        may_write: bool,
    ) -> list[Tensor]:
        """The tensors of `reads`, computed once per node.

        Args:
            gradient: at the aggregate.
            kept: the aggregate and what was saved; nothing if nothing was.
            share: 1 / how many messages each node gets, in some type.
            may_write: whether `gradient` may be written into.
        """
        saved = iter(kept[1:])
        found = []
        for form in self.reads:
            if form is PerNode.GRADIENT:
                found.append(gradient)
            elif form is PerNode.SHARE:
                found.append(share(gradient.dtype))
            else:
                found.append(kept[0] if form is PerNode.AGGREGATE else next(saved))
        return found

    def gradients(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        """The gradient at each tensor of a message, from those of `reads`, lifted to the edges, and these."""
        raise NotImplementedError(f"{type(self).__name__} defines no gradients().")

    # Words ----------------------------------------------------------------------------------------------

    def formula(self, *message: str) -> str:
        """What it computes of a message, for the comment above a kernel."""
        return f"{self.name} of {', '.join(message)}"

    def line(self, *message: str) -> str:
        """The same, for `explain`."""
        return self.formula(*message)


class Applied(NamedTuple):
    """A reduction, and the messages that it reduces: one row per edge."""

    reduction: Reduction
    value: Tensor
    score: Tensor | None = None

    @property
    def tensors(self) -> list[Tensor]:
        """The value, and the score if there is one."""
        return [self.value] if self.score is None else [self.value, self.score]

    def reduce(self, index: Tensor, num_rows: int, dim: int) -> Tensor:
        """Do it in plain PyTorch."""
        return self.reduction.reduce(self.tensors, index, num_rows, dim)


def named(name: str) -> Reduction:
    """The reduction of a name; of a class that was defined again, as in a notebook, the last.

    Raises:
        ValueError: no class that was defined so far has it.
    """
    if name not in _known:
        raise ValueError(f"the reduction {name!r} is not defined: import the module that defines it.")
    return _known[name]()


def applied(reductions: Sequence[Reduction], tensors: Sequence[Tensor]) -> list[Applied]:
    """Each reduction with its share of the tensors."""
    each = iter(tensors)
    return [reduction(*(next(each) for _ in range(reduction.arity))) for reduction in reductions]


def folded(reduction: Reduction, tensors: Sequence[Tensor], index: Tensor, num_rows: int, dim: int) -> Tensor:
    """The law in plain PyTorch: neighbours in a row merge, and their states again, until one is left."""
    if not reduction.identity:
        raise NotImplementedError(f"{type(reduction).__name__} defines neither reduce() nor an identity.")
    wide = [t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for t in tensors]
    rows, order = torch.sort(index, stable=True)
    value = wide[0].movedim(dim, 0)
    message = [t.movedim(dim, 0).index_select(0, order) for t in wide]
    message = [t.reshape(t.shape + (1,) * (value.dim() - t.dim())) for t in message]
    state = reduction.lift(*message)
    while True:
        place = torch.arange(rows.numel(), device=rows.device) - torch.searchsorted(rows, rows)
        if not bool((place > 0).any()):
            break
        left = (place % 2 == 0).nonzero().flatten()
        right = (left + 1).clamp(max=rows.numel() - 1)
        in_pairs = (right > left) & (rows[left] == rows[right])
        pairs, alone = left[in_pairs], left[~in_pairs]
        merged = reduction.merge(tuple(s[pairs] for s in state), tuple(s[pairs + 1] for s in state))
        # The last message of a row may be alone, and stays the last.
        rows, order = torch.sort(torch.cat([rows[pairs], rows[alone]]), stable=True)
        state = tuple(torch.cat([m, s[alone]])[order] for m, s in zip(merged, state, strict=True))
    every = [
        s.new_full((num_rows, *s.shape[1:]), start).index_copy(0, rows, s)
        for s, start in zip(state, reduction.identity, strict=True)
    ]
    count = index.new_zeros(num_rows).index_add(0, index, torch.ones_like(index))
    out, *_ = reduction.finish(tuple(every), along(count, 0, value).to(every[0].dtype))
    return out.movedim(0, dim).to(tensors[0].dtype)
