"""An epoch of training, side by side: a model as `mpnn train` trains it, and the same one in plain PyG.

    python benchmarks/epochs.py                               # Cora, NCI1 in batches of 128, Coauthor CS
    python benchmarks/epochs.py --dataset cora --layers gcn gat
    python benchmarks/epochs.py --dataset karate cycles --layers gcn --repeats 1   # small, and without files

An epoch is the batches, dropout, forward, backward, the optimiser's step, then loss and accuracy on all
parts. The models start from the same weights, are checked to give the same outputs, and take turns; numbers
are medians. PyG's model is written as its examples are, with cached normalisation where a layer has it and
batches for evaluation collated once; on one graph it runs on `edge_index`, and on CSR too where a layer takes
it.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterable
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torch_geometric.utils import to_torch_csr_tensor

from mpnn.datasets import GraphDataset, NodeDataset, load
from mpnn.train import Settings, preset
from mpnn.train.fitting.optimizer import build_optimizer
from mpnn.train.runs.build import build_model, make_task
from mpnn.train.tasks.graph_task import GraphBatch
from mpnn.train.tasks.task import SupervisedTask

warnings.filterwarnings("ignore")
DATASETS = {"cora": "node", "nci1": "graph", "coauthor-cs": "node"}
SMALL = {"karate": "node", "cycles": "graph"}  # without files: whether it runs
LAYERS = ["gcn", "graph", "sage", "gin", "gat", "gatv2", "transformer", "cheb", "tag", "appnp"]
ON_CSR = ["gcn", "graph", "sage", "gin", "appnp", "tag"]
MOST_MESSAGES = 5e8  # numbers: messages of the raw features of a large graph are not for PyG's edge_index


def their_layer(settings: Settings, width: int, out: int, last: bool) -> nn.Module:
    """PyG's layer of that name."""
    heads, name = settings.heads or 1, settings.model
    one_graph = settings.task == "node"
    attention = {"gat": pyg.GATConv, "gatv2": pyg.GATv2Conv, "transformer": pyg.TransformerConv}
    if name in attention:
        drop = settings.dropout if settings.attention_dropout is None else settings.attention_dropout
        if last:
            return attention[name](width, out, settings.out_heads or heads, concat=False, dropout=drop)
        return attention[name](width, out // heads, heads, dropout=drop)
    if name == "gin":
        norm = [] if one_graph else [nn.BatchNorm1d(out)]
        return pyg.GINConv(nn.Sequential(nn.Linear(width, out), *norm, nn.ReLU(), nn.Linear(out, out)))
    if name == "appnp":
        return Predict(width, out, pyg.APPNP(10, 0.1, cached=one_graph) if last else None)
    plain = {"gcn": pyg.GCNConv, "graph": pyg.GraphConv, "sage": pyg.SAGEConv, "tag": pyg.TAGConv}
    if name == "cheb":
        return pyg.ChebConv(width, out, 3)
    return plain[name](width, out, **({"cached": one_graph} if name == "gcn" else {}))


class Predict(nn.Module):
    """A linear map; the last one is followed by the propagation of APPNP."""

    def __init__(self, width: int, out: int, layer: nn.Module | None) -> None:
        super().__init__()
        self.lin, self.layer = nn.Linear(width, out), layer

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        h = self.lin(x)
        return h if self.layer is None else self.layer(h, edge_index)


class TheirNodes(nn.Module):
    """Layers with dropout in front of each, as in PyG's examples of GCN and GAT."""

    def __init__(self, settings: Settings, width: int, out: int) -> None:
        super().__init__()
        hidden = settings.hidden * (settings.heads or 1)
        first, second = their_layer(settings, width, hidden, False), their_layer(settings, hidden, out, True)
        self.convs = nn.ModuleList([first, second])
        self.dropout, self.act = settings.dropout, F.elu if settings.act == "elu" else F.relu

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        h = self.act(self.convs[0](F.dropout(x, self.dropout, self.training), edge_index))
        return self.convs[1](F.dropout(h, self.dropout, self.training), edge_index)


class TheirGraphs(nn.Module):
    """Layers with batch normalisation, a readout and a linear map; GIN as in its paper."""

    def __init__(self, settings: Settings, width: int, out: int) -> None:
        super().__init__()
        hidden = settings.hidden * (settings.heads or 1)
        widths = [width] + [hidden] * settings.layers
        self.convs = nn.ModuleList(their_layer(settings, i, hidden, False) for i in widths[:-1])
        self.norms = nn.ModuleList(pyg.BatchNorm(hidden) for _ in self.convs)
        self.gin, self.dropout = settings.model == "gin", settings.dropout
        self.lin = nn.Linear(hidden * (settings.layers if self.gin else 1), out)
        if self.gin:
            self.lin_input = nn.Linear(width, out, bias=False)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor, size: int) -> Tensor:
        h, states = x, []
        for conv, norm in zip(self.convs, self.norms, strict=True):
            h = h if self.gin else F.dropout(h, self.dropout, self.training)
            h = F.relu(norm(conv(h, edge_index)))
            states.append(h)
        if not self.gin:
            return self.lin(self._drop(pyg.global_mean_pool(h, batch, size)))
        read = pyg.global_add_pool(torch.cat(states, dim=1), batch, size)
        return self.lin(self._drop(read)) + self.lin_input(self._drop(pyg.global_add_pool(x, batch, size)))

    def _drop(self, h: Tensor) -> Tensor:
        return F.dropout(h, self.dropout, self.training)


Epoch = Callable[[], Any]


def our_epoch(settings: Settings, task: SupervisedTask, model: nn.Module) -> Epoch:
    """A function that trains one epoch, as `mpnn.train.fit` does."""
    optimizer = build_optimizer(model, settings)

    def epoch() -> Any:
        model.train()
        for batch in task.batches():
            optimizer.zero_grad()
            loss = task.loss(model, batch)
            loss.item()
            loss.backward()
            optimizer.step()
        model.eval()
        return task.evaluate(model)

    return epoch


def their_epoch_on_nodes(settings: Settings, task: SupervisedTask, model: nn.Module, edges: Tensor) -> Epoch:
    """A function that trains one epoch on a graph, as PyG's examples do."""
    optimizer, x, y, split = build_optimizer(model, settings), task.data.x, task.y, task.split

    def epoch() -> Any:
        model.train()
        optimizer.zero_grad()
        out = model(x, edges)
        loss = F.cross_entropy(out[split.train], y[split.train])
        loss.item()
        loss.backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            out = model(x, edges)
            scores = [float((out[part].argmax(dim=1) == y[part]).float().mean()) for part in split]
            return [float(F.cross_entropy(out[split.val], y[split.val])), *scores]

    return epoch


def their_epoch_on_graphs(settings: Settings, task: SupervisedTask, model: nn.Module) -> Epoch:
    """A function that trains one epoch with PyG's loader; batches for evaluation are collated once."""
    optimizer, data = build_optimizer(model, settings), task.data
    graphs = [
        Data(x=x, edge_index=graph.edge_index, y=y)
        for x, graph, y in zip(data.x, data.graphs, data.y, strict=True)
    ]
    parts = [[graphs[k] for k in part.tolist()] for part in task.split]
    train = DataLoader(parts[0], settings.batch_size, shuffle=True)
    fixed = [list(DataLoader(part, settings.batch_size)) for part in parts]

    def call(batch: Any) -> Tensor:
        return model(batch.x, batch.edge_index, batch.batch, batch.num_graphs)

    def scores(batches: Iterable[Any]) -> tuple[float, float]:
        loss, right, count = 0.0, 0, 0
        for batch in batches:
            out = call(batch)
            loss += float(F.cross_entropy(out, batch.y, reduction="sum"))
            right += int((out.argmax(dim=1) == batch.y).sum())
            count += batch.num_graphs
        return loss / count, right / count

    def epoch() -> Any:
        model.train()
        for batch in train:
            optimizer.zero_grad()
            loss = F.cross_entropy(call(batch), batch.y)
            loss.item()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            return [scores(batches) for batches in fixed]

    return epoch


def contenders(settings: Settings, data: Any) -> dict[str, Epoch]:
    """The epoch of each library by name, from the same weights."""
    task = make_task(settings, data)
    torch.manual_seed(0)
    ours = build_model(settings, task).eval()
    found = {"mpnn": our_epoch(settings, task, ours)}
    with torch.no_grad():
        expected = task.outputs(ours)
    if isinstance(data, GraphDataset):
        theirs: nn.Module = TheirGraphs(settings, task.num_features, task.out_channels)
        theirs.load_state_dict(ours.state_dict(), strict=True)
        batch = GraphBatch.of(data, torch.arange(data.num_graphs)[: settings.batch_size])
        with torch.no_grad():
            out = theirs.eval()(
                batch.x, batch.graph.edge_index, batch.graph.graph_index, batch.graph.num_graphs
            )
        torch.testing.assert_close(out, expected[: len(out)], rtol=1e-3, atol=1e-3)
        return found | {"pyg": their_epoch_on_graphs(settings, task, theirs)}
    graph = task.data.graph
    csr = to_torch_csr_tensor(graph.edge_index.flip(0), size=graph.size)
    reads_raw = settings.model in ("graph", "sage", "gin", "tag", "cheb")
    too_large = reads_raw and graph.num_edges * task.num_features > MOST_MESSAGES
    for name, edges in {"pyg": graph.edge_index, "pyg-csr": csr}.items():
        takes_csr = settings.model in ON_CSR
        if (name == "pyg" and too_large and takes_csr) or (name == "pyg-csr" and not takes_csr):
            continue
        theirs = TheirNodes(settings, task.num_features, task.out_channels)
        theirs.load_state_dict(ours.state_dict(), strict=True)
        with torch.no_grad():
            torch.testing.assert_close(theirs.eval()(task.data.x, edges), expected, rtol=1e-3, atol=1e-3)
        found[name] = their_epoch_on_nodes(settings, task, theirs, edges)
    return found


def measure(epochs: dict[str, Epoch], repeats: int) -> dict[str, float]:
    """Median milliseconds of each, in turns."""
    times: dict[str, list[float]] = {name: [] for name in epochs}
    for epoch in epochs.values():
        epoch()
        epoch()
    for _ in range(repeats):
        for name, epoch in epochs.items():
            time.sleep(0.02)  # the threads of the previous contender spin for a while
            start = time.perf_counter()
            epoch()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: median(values) for name, values in times.items()}


def main() -> None:
    """Read the command line, print a table for each data set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", help="folder with the data (default: $MPNN_DATA, else downloaded)")
    add("--dataset", nargs="+", choices=DATASETS | SMALL, default=list(DATASETS))
    add("--layers", nargs="+", choices=LAYERS, default=LAYERS)
    add("--repeats", type=int, default=9)
    add("--threads", type=int, default=0, help="of PyTorch; 0 leaves its own choice")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    for dataset in arguments.dataset:
        data = load(dataset, arguments.data)
        assert isinstance(data, NodeDataset | GraphDataset)
        task = (DATASETS | SMALL)[dataset]
        peers = ["pyg"] if task == "graph" else ["pyg", "pyg-csr"]
        print(
            f"\n| {dataset} | mpnn ms | {' | '.join(f'{peer} ms' for peer in peers)} | fastest peer / mpnn |"
        )
        print("|---|---|" + "---|" * (len(peers) + 1))
        for layer in arguments.layers:
            if layer == "appnp" and task == "graph":
                continue  # without a last layer it would only be linear maps
            more = {"batch_size": 128} if task == "graph" else {}
            settings = preset(layer, task=task, dataset=dataset, **more)
            found = measure(contenders(settings, data), arguments.repeats)
            best = min(value for name, value in found.items() if name != "mpnn")
            cells = [f"{found[peer]:.1f}" if peer in found else "" for peer in peers]
            print(
                f"| {layer} | {found['mpnn']:.1f} | {' | '.join(cells)} | {best / found['mpnn']:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
