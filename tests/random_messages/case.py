"""One random program: a graph, its fields, a message, an aggregator; and its text, which runs alone."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

HEADER = """\
import math
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune
import mpnn
from mpnn import Graph, MessagePassing
from mpnn.aggregate.aggregators import Softmax
from mpnn.models import DegreeScaler

def g(seed):
    return torch.Generator().manual_seed(seed)

dtype = torch.{dtype}
torch.manual_seed({seed})
"""
IMPORTS = ["from mpnn import topology", "from mpnn.layer.schedule import Topological"]


@dataclass(frozen=True)
class Statement:
    """A name of the message: the line that makes it, and lines below that write into it."""

    name: str
    lines: tuple[str, ...]
    rule: str

    def reads(self, name: str) -> bool:
        """Whether it mentions a name."""
        return any(mentions(line, name) for line in self.lines)


@dataclass(frozen=True)
class Definition:
    """A module or tensor that the message holds."""

    name: str
    text: str


@dataclass(frozen=True)
class Edges:
    """A graph."""

    num_src: int
    num_dst: int
    pairs: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        """How large it is to a reader."""
        return len(self.pairs)


@dataclass(frozen=True)
class Regular:
    """A graph whose edges are a formula: what makes it."""

    text: str

    @property
    def size(self) -> int:
        """How large it is to a reader."""
        return sum(map(int, re.findall(r"\d+", self.text)))


@dataclass(frozen=True)
class Field:
    """A field of `propagate`. `text` makes it from the number of its rows, `{n}`, and `{k}`, the run's."""

    name: str
    per: str  # "node", "source", "destination", "receiver", "edge", "shared" or "number"
    text: str
    seed: int
    learned: bool = True


@dataclass(frozen=True)
class Case:
    """A random program. What stands in `graphs` runs one after another, by the same plan."""

    seed: int
    graphs: tuple[Edges | Regular, ...]
    bipartite: bool
    fields: tuple[Field, ...]
    parameters: tuple[str, ...]  # of the message: "x_j"
    statements: tuple[Statement, ...]
    result: str
    definitions: tuple[Definition, ...] = ()
    aggr: str = "'sum'"
    flow: str = "source_to_target"
    node_dim: int = 0
    form: str = "function"  # or "lambda" or "layer"
    update: str = ""
    update_statements: tuple[Statement, ...] = ()
    update_parameters: tuple[str, ...] = ()  # besides `inputs`
    dtype: str = "float64"
    autocast: bool = False
    features: tuple[str, ...] = ()  # which productions it is made of
    settings: tuple[str, ...] = ()  # for each graph, what is set before its run
    cell: tuple[str, ...] = ()  # of a recurrent cell, whose update is the statements: its other lines

    def but(self, **changes: object) -> Case:
        """A copy with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]

    @property
    def live(self) -> tuple[Statement, ...]:
        """The statements that the result depends on."""
        return _live(self.statements, self.result)

    @property
    def live_update(self) -> tuple[Statement, ...]:
        """The statements that the update depends on."""
        return _live(self.update_statements, self.update)

    def __str__(self) -> str:
        return source(self)


def _live(statements: tuple[Statement, ...], result: str) -> tuple[Statement, ...]:
    needed: list[Statement] = []
    for statement in reversed(statements):
        if mentions(result, statement.name) or any(s.reads(statement.name) for s in needed):
            needed.append(statement)
    return tuple(reversed(needed))


def mentions(text: str, name: str) -> bool:
    """Whether an expression reads a name."""
    return re.search(rf"(?<![\w.'\"]){re.escape(name)}\b", text) is not None


def source(case: Case, graph: int = 0) -> str:
    """The program as Python: it leaves `graph`, `fields`, `run(graph, **fields)` and `learned_tensors`."""
    return "\n".join(
        [
            f"# seed {case.seed}" + (f", graph {graph}" if len(case.graphs) > 1 else ""),
            *IMPORTS * any(isinstance(edges, Regular) for edges in case.graphs),
            HEADER.format(dtype=case.dtype, seed=case.seed) + "learned_tensors = {}",
            *definitions_text(case),
            *message_text(case),
            *settings_text(case, graph),
            *graph_text(case, graph),
            *fields_text(case, graph),
            "",
            "with mpnn.backend('eager'):",
            "    expected = run(graph, **fields)",
            "print((run(graph, **fields) - expected).abs().max())",
        ]
    )


def definitions_text(case: Case) -> list[str]:
    """The lines that define the modules and tensors of the message."""
    helpers = []
    texts = [d.text for d in case.definitions]
    if any("learned(" in text for text in texts):
        helpers += ["def learned(t):", "    return nn.Parameter(t.to(dtype))", ""]
    if any("fixed(" in text for text in texts):
        helpers += ["def fixed(t):", "    return t.to(dtype)", ""]
    if any("Adapter(" in text for text in texts):
        helpers += [ADAPTER]
    if any("pruned(" in text for text in texts):
        helpers += [PRUNED]
    return helpers


ADAPTER = """\
class Adapter(nn.Module):
    def __init__(self, base, rank):
        super().__init__()
        self.base = base
        self.weight, self.bias = base.weight, base.bias
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
    def forward(self, x):
        return self.base(x) + self.up(self.down(x))
"""
PRUNED = """\
def pruned(module):
    prune.l1_unstructured(module, 'weight', amount=0.4)
    return module
"""


def message_text(case: Case) -> list[str]:
    """The message, and `run`, which sends it."""
    body = [line for statement in case.live for line in statement.lines]
    autocast = ["    with torch.autocast('cpu', dtype=torch.bfloat16):"] if case.autocast else []
    deeper = "        " if case.autocast else "    "
    if case.form == "cell":
        return _cell_text(case, body)
    if case.form == "layer":
        return [
            "class Layer(MessagePassing):",
            "    def __init__(self):",
            f"        super().__init__({case.aggr}, flow={case.flow!r}, node_dim={case.node_dim})",
            *(f"        self.{d.name} = {d.text}" for d in case.definitions),
            f"    def message(self, {', '.join(case.parameters)}):",
            *_indented([*body, f"return {case.result}"], "self."),
            *_update_text(case),
            "    def forward(self, graph, **fields):",
            "        return self.propagate(graph, **fields)",
            "",
            "layer = Layer().to(dtype).eval()",
            "learned_tensors.update(layer.named_parameters())",
            "def run(graph, **fields):",
            *autocast,
            f"{deeper}return layer(graph, **fields)",
        ]
    if case.form == "lambda":
        message = [f"message = lambda {', '.join(case.parameters)}: {_own(inlined(case), '')}"]
    else:
        message = [
            f"def message({', '.join(case.parameters)}):",
            *(line[4:] for line in _indented([*body, f"return {case.result}"], "")),
        ]
    lines = [f"{d.name} = {d.text}" for d in case.definitions]
    for d in case.definitions:
        if d.text.startswith(("learned(", "fixed(")):
            lines += [f"learned_tensors['{d.name}'] = {d.name}"] * d.text.startswith("learned(")
        elif not _is_number(d.text):
            lines += [f"{d.name}.to(dtype).eval()"]
            lines += [f"learned_tensors.update({d.name}.named_parameters('{d.name}'))"]
    return [
        *lines,
        *message,
        f"aggr = {case.aggr}",
        "def run(graph, **fields):",
        *autocast,
        f"{deeper}return mpnn.propagate(graph, message, aggr, node_dim={case.node_dim}, **fields)",
    ]


def _update_text(case: Case) -> list[str]:
    if not case.update:
        return []
    body = [line for statement in case.live_update for line in statement.lines]
    return [
        f"    def update(self, {', '.join(['inputs', *case.update_parameters])}):",
        *_indented([*body, f"return {case.update}"], "self."),
    ]


def _cell_text(case: Case, body: list[str]) -> list[str]:
    return [
        "class Cell(Topological):",
        *(f"    {line}" for line in case.cell),
        "    def __init__(self):",
        f"        super().__init__({case.aggr})",
        *(f"        self.{d.name} = {d.text}" for d in case.definitions),
        f"    def update(self, {', '.join(case.parameters)}):",
        *_indented([*body, f"return {case.result}"], "self."),
        "",
        "layer = Cell().to(dtype)",
        "learned_tensors.update(layer.named_parameters())",
        "def run(graph, **fields):",
        "    first, last = layer.scan(graph, **fields)",
        "    return torch.cat([first.flatten(), *(state.flatten() for state in last)])",
    ]


def settings_text(case: Case, graph: int) -> list[str]:
    """What is set before the run on a graph."""
    return [_own(case.settings[graph], "layer." if case.form == "layer" else "")] if case.settings else []


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?[\d.e-]+", text) is not None


def inlined(case: Case) -> str:
    """The message as one expression."""
    known: dict[str, str] = {}
    for statement in case.live:
        (line,) = statement.lines
        known[statement.name] = f"({_replaced(line.split(' = ', 1)[1], known)})"
    return _replaced(case.result, known)


def _replaced(text: str, known: dict[str, str]) -> str:
    return re.sub(r"(?<![\w.])v\d+\b", lambda found: known.get(found[0], found[0]), text)


def _own(text: str, prefix: str) -> str:
    return re.sub(r"\bown\.", prefix, text)


def _indented(lines: list[str], prefix: str) -> list[str]:
    return [f"        {_own(line, prefix)}" for line in lines]


def graph_text(case: Case, graph: int) -> list[str]:
    """The graph."""
    edges = case.graphs[graph]
    if isinstance(edges, Regular):
        return [f"graph = {edges.text}"]
    rows = [[pair[k] for pair in edges.pairs] for k in (0, 1)]
    size = f"({edges.num_src}, {edges.num_dst})" if case.bipartite else f"{edges.num_src}"
    return [f"graph = Graph(torch.tensor({rows}, dtype=torch.int64), {size})"]


def fields_text(case: Case, graph: int) -> list[str]:
    """The fields, drawn anew for each graph."""
    edges = case.graphs[graph]
    num_src, num_dst, num_edges = (
        ("graph.num_src", "graph.num_dst", "graph.num_edges")
        if isinstance(edges, Regular)
        else (str(edges.num_src), str(edges.num_dst), str(len(edges.pairs)))
    )
    # A pair is (senders, receivers), also where messages go against the edges.
    senders, receivers = (num_src, num_dst)[:: -1 if case.flow == "target_to_source" else 1]
    lines = ["fields = {}"]
    for field in case.fields:
        match field.per:
            case "node" if case.bipartite:
                made = f"({_tensor(field, senders, graph, 0)}, {_tensor(field, receivers, graph, 1)})"
            case "source":
                made = f"({_tensor(field, senders, graph, 0)}, None)"
            case "destination":
                made = f"(None, {_tensor(field, receivers, graph, 0)})"
            case _:
                sizes = {
                    "node": num_src,
                    "receiver": receivers,
                    "edge": num_edges,
                    "shared": "1",
                    "number": "",
                }
                n = sizes[field.per]
                made = _tensor(field, n, graph, 0)
        lines.append(f"fields['{field.name}'] = {made}")
    return lines


def _tensor(field: Field, n: str, graph: int, side: int) -> str:
    generator = f"g({field.seed + graph + 2 * side})"
    twice = str(2 * int(n)) if n.isdigit() else f"2 * {n}"
    made = field.text.replace("{n}", n).replace("{2n}", twice).replace("{g}", generator)
    made = made.replace("{k}", str(graph + 1))
    return f"{made}.requires_grad_()" if field.learned else made
