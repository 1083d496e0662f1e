"""The trial of a program in a compiled function: beside the operations that it was made of, in PyTorch.

A compiled function has the program alone: the message that it was traced from is gone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mpnn.backends.run import chunked
from mpnn.backends.run.fused import gradients_by_kernels
from mpnn.backends.run.odd_graph import difference, odd_graph, rows_like, scale_of
from mpnn.backends.run.plans import Fused
from mpnn.backends.run.trial import Way, believe
from mpnn.graph.graph import Graph
from mpnn.native.toolchain import CompilerError
from mpnn.plan.homes import Home
from mpnn.plan.rows import NotFusableError

SAVING = ("saving", ())


def believe_program(
    fused: Fused,
    what: str,
    graph: Graph,
    values: Sequence[Tensor],
    wanted: tuple[bool, ...] | None,
    save: bool,
) -> None:
    """Let the kernels of a program be believed, or not.

    Args:
        fused: the program's plan and its kernels.
        what: what it computes, in words.
        graph: on which it is about to run.
        values: what it is about to read.
        wanted: the values whose gradients are asked for; None where it runs forward.
        save: whether a forward kernel saves what its way back reads.

    Raises:
        DistrustedError: its numbers differ from those of PyTorch's operations.
    """
    way: Way = wanted if wanted is not None else SAVING if save else None
    if way not in fused.believed:
        believe(fused, way, what, lambda: _fault(fused, graph, values, wanted, save))


def _fault(
    fused: Fused, graph: Graph, values: Sequence[Tensor], wanted: tuple[bool, ...] | None, save: bool
) -> str | None:
    faults = ""
    for ties in (True, False):  # see `trial_of_step`
        small, given = _on_odd_graph(fused, graph, values, ties)
        outputs = chunked.reduce(fused.plan, small, 0, given)
        sent = [
            torch.linspace(0.5, 1.5, out.numel(), device="cpu").view(out.shape).to(out) for out in outputs
        ]
        try:
            made = fused.forward_kernel(save)(small, given)
            found: Sequence[Tensor | None] = [made[k] for k in fused.plan.positions]
            judge: Sequence[Tensor | None] = outputs
            if wanted is not None:
                saved = [made[k] for k in fused.plan.needed_again]
                found = gradients_by_kernels(fused, small, 0, given, saved, sent, wanted)
                judge = chunked.gradients(fused.plan, small, 0, given, sent, wanted)
        except (NotFusableError, CompilerError):
            return None  # the program itself goes another way, too
        what = "a result" if wanted is None else "a gradient"
        scale = scale_of([*given, *sent, *outputs], None)
        of = outputs if wanted is None else given
        pairs = [
            (torch.zeros_like(one) if a is None else a, torch.zeros_like(one) if b is None else b)
            for one, a, b in zip(of, found, judge, strict=True)
        ]
        faults = "; ".join(filter(None, [difference(what, a, b, scale) for a, b in pairs]))
        if not faults:
            return ""
    return faults


def _on_odd_graph(
    fused: Fused, graph: Graph, values: Sequence[Tensor], ties: bool
) -> tuple[Graph, list[Tensor]]:
    small = odd_graph(graph, ties)
    generator = torch.Generator().manual_seed(0)
    num_rows = {Home.SRC: small.num_src, Home.DST: small.num_dst, Home.EDGE: small.num_edges}
    given = [
        value if home is Home.SHARED else rows_like(value, num_rows[home], ties, generator)
        for value, home in zip(values, fused.plan.homes, strict=True)
    ]
    return small, [one.detach() for one in given]
