"""A trained model that is ready to predict, without the files that it was trained on."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import pandas as pd
import torch
from torch import Tensor, nn

from mpnn.datasets import Dataset, GraphDataset, NodeDataset
from mpnn.datasets.own import NewNodes, join
from mpnn.datasets.problems import nearest
from mpnn.datasets.tables import TableOrPath
from mpnn.graph.distinct import distinct_rows, keys
from mpnn.graph.graph import Graph
from mpnn.train.errors import RunError
from mpnn.train.fitting import checkpoint
from mpnn.train.fitting.state import BEST
from mpnn.train.inputs.edge_inputs import with_edge_inputs
from mpnn.train.inputs.preparation import Graphs
from mpnn.train.portable.export import Portable, write_file
from mpnn.train.runs import folder
from mpnn.train.runs.build import build_for, find_device
from mpnn.train.runs.exported import portable
from mpnn.train.runs.given import new_graphs, new_images, whole_data_set
from mpnn.train.runs.memory import CONTEXT, check_joined, identity_of, read_memory
from mpnn.train.runs.settings import Settings
from mpnn.train.runs.unit import load_checkpoint
from mpnn.train.runs.why import Why, question_of, why
from mpnn.train.tasks.edge_task import LINKS, UNDIRECTED
from mpnn.train.tasks.graph_task import GraphBatch
from mpnn.train.tasks.image_task import AT_ONCE as IMAGES_AT_ONCE
from mpnn.train.tasks.kept import Kept
from mpnn.train.tasks.node_task import node_names
from mpnn.train.tasks.objective import objective_of
from mpnn.train.tasks.segment_task import PIXELS_AT_ONCE
from mpnn.train.tasks.task import edge_features

AT_ONCE = 100  # graphs in a forward pass
OF_IMAGES = ("image", "memory")  # kinds of tasks


class Trained:
    """The best model of a run, with all that it needs to read new data.

    Args:
        model: the network.
        settings: of the run.
        kept: how features are made, and names.
        known: the nodes that the model was trained on, their features ready to be read; None without names.
        device: where the model is.
        links: `[2, num_links]`: of a model that predicts links, all that are known; those to train on are the
            edges of `known`.
        undirected: whether a link is the same in both directions.

    >>> import tempfile
    >>> from mpnn.datasets import load as data_called
    >>> from mpnn.train import preset, train
    >>> with tempfile.TemporaryDirectory() as home:
    ...     report = train(preset("gcn", dataset="karate", epochs=20), home, draw=False)
    ...     model = load(home)
    >>> model.predict(data_called("karate")).columns.tolist()
    ['node', 'predicted', 'p(Mr. Hi)', 'p(Officer)']
    """

    def __init__(
        self,
        model: nn.Module,
        settings: Settings,
        kept: Kept,
        known: NodeDataset | None,
        device: torch.device,
        links: Tensor | None = None,
        undirected: bool = True,
    ) -> None:
        self.model, self.settings, self.kept, self.known = model.eval(), settings, kept, known
        self.device, self.links, self.undirected = device, links, undirected

    @torch.no_grad()
    def predict(
        self,
        data: TableOrPath | Dataset | Sequence[Any] | None = None,
        edges: TableOrPath | None = None,
        features: Any = None,
    ) -> pd.DataFrame:
        """Return what the model says, a row for each node, graph or image.

        Args:
            data: a whole data set, PyG's `Data`, or for graphs a list of these.
                Of nodes else a table, as a pandas table or the path of one: they join the nodes that the
                model was trained on, and need no label; a node of the same name is taken with its new
                features; or None: the nodes that the model was trained on.
                Of graphs else a table of their nodes, or, without edges, of their edges, or a folder in the
                TU format, as where the model was trained.
                Of images else files, a folder, an array or a tensor, see `mpnn.datasets.pixels`.
            edges: a table of edges: of new nodes, with each other or with known ones; or of new graphs.
            features: of new nodes, where the model was trained with a `features_file`: such a file, or an
                array.

        Raises:
            RunError: the model is of another kind of task, or the run has not kept the nodes' names.
            DataError: a table lacks a column, or holds a cell that does not suit it; it names all of them.
        """
        if self.settings.task not in ("node", "graph", *OF_IMAGES):
            raise RunError(
                f"the model is of a run of mpnn train {self.settings.task}, but this is for node, graph, "
                f"{' and '.join(OF_IMAGES)}"
            )
        array = self.kept.preparation.array
        if features is not None and (data is None or not array):
            reads = "nodes are not given" if array else "the model was trained with no features_file"
            raise RunError(f"features are given, but {reads}")
        if self.settings.task in OF_IMAGES:
            if edges is not None:
                raise RunError("edges are given, but the model is of images, which have none")
            return self._of_images(*new_images(data, self.kept))
        whole = whole_data_set(data, self.kept)
        if whole is not None and edges is not None:
            raise RunError("edges are given, but the data is a whole data set, which has its own")
        if isinstance(whole, GraphDataset):
            return self._of_graphs(whole)
        if isinstance(whole, NodeDataset):
            return self._of_nodes(self._prepared(whole), list(range(whole.num_nodes)))
        if self.settings.task == "graph":
            if data is None and edges is None:
                raise RunError("the model is of whole graphs: give a table of their edges, or a data set")
            nodes, edges = (None, data) if edges is None else (data, edges)
            return self._of_graphs(new_graphs(nodes, edges, self.settings.columns, self.kept))
        if self.known is None:
            raise RunError("the run has kept no graph that new nodes could join: give a whole data set")
        if data is None and edges is None:
            return self._of_nodes(self.known, list(range(self.known.num_nodes)))
        if data is not None and array and features is None:
            raise RunError(
                f"the model was trained with {array} features of a file: give those of the new nodes by "
                "features_file"
            )
        new = join(self.known, data, edges, self.settings.columns, features, array)
        return self._of_nodes(self._joined(new), new.rows)

    @torch.no_grad()
    def masks(self, images: Any) -> tuple[Tensor, list[str]]:
        """Return the class of every pixel, `[num_images, height, width]`, and what the images are called.

        Args:
            images: files, a folder, an array or a tensor, see `mpnn.datasets.pixels`.

        Raises:
            RunError: the model tells no classes of pixels, or reads images of another size.
            DataError: an image cannot be read.
        """
        if self.settings.task != "segment":
            raise RunError(
                f"the model is of a run of mpnn train {self.settings.task}, but this is for segment"
            )
        x, names = new_images(images, self.kept)
        height, width = self.kept.shape.size
        parts = torch.split(x.to(self.device), max(1, PIXELS_AT_ONCE // (height * width)))
        return torch.cat([self.model(part).argmax(1) for part in parts]), names

    @torch.no_grad()
    def missing_links(self, of: Sequence[str], top: int = 20) -> pd.DataFrame:
        """Return the likeliest pairs that are not linked: `source`, `target`, `p(link)`, the best first.

        Args:
            of: names of nodes, one of which each pair has.
            top: how many pairs at most.

        Raises:
            RunError: the model predicts no links, or the run knows no such node.
        """
        if self.kept.learns != "links":
            raise RunError("the model predicts no links: that is for a run of mpnn train edge on links")
        if self.known is None or self.links is None:
            raise RunError("the run has kept no graph whose links could be missing")
        place = {name: k for k, name in enumerate(self.known.node_names)}
        for name in of:
            if name not in place:
                raise RunError(f"{name!r} is no node that the run knows{nearest(name, place)}")
        asked = torch.tensor(sorted({place[name] for name in of}))
        pairs = torch.cartesian_prod(asked, torch.arange(len(place))).T
        both = torch.cat([pairs, pairs.flip(0)], dim=1)
        pairs = pairs.sort(dim=0).values if self.undirected else both
        size = (len(place), len(place))
        wanted, there = keys(size, pairs, self.links)
        new = (pairs[0] != pairs[1]) & ~torch.isin(wanted, there)
        pairs = torch.stack(distinct_rows(pairs[:, new], size)[0])
        data = self.known.to(self.device)
        given = edge_features(data.edge_attr)
        score = self.model(data.x, data.graph, pairs.to(self.device), **given).flatten().cpu()
        best = score.argsort(descending=True, stable=True)[:top]
        names = ([self.known.node_names[k] for k in ends[best].tolist()] for ends in pairs)
        columns = dict(zip(("source", "target"), names, strict=True))
        return pd.DataFrame({**columns, "p(link)": score[best].sigmoid().numpy()})

    def why(
        self,
        node: str | int | None = None,
        *,
        edge: tuple[str | int, str | int] | None = None,
        graph: int | None = None,
        data: Any = None,
        of: str | None = None,
        epochs: int = 200,
        seed: int = 0,
    ) -> Why:
        """Return which edges, neighbours and features carried a prediction; see `Why`.

        Args:
            node: a node, by its name; or
            edge: two nodes, of a model that tells something of edges; or
            graph: the number of a graph in `data`, of a model of graphs.
            data: as of `predict`: a whole data set, where the run has kept none.
            of: which class, label or number is explained; by default the likeliest, or the first number.
            epochs: steps in which the masks are learned.
            seed: of the masks' first values.

        Raises:
            RunError: there is no such node, graph or class, or the model is of another kind.
        """
        prepared: NodeDataset | GraphDataset | None = self.known
        if data is not None:
            whole = whole_data_set(data, self.kept)
            if whole is None:
                raise RunError(f"data is a {type(data).__name__}, but should be a data set or PyG's Data")
            prepared = self._prepared(whole)
        if prepared is None:
            raise RunError("the run has kept no graph to explain a prediction on: give the data set as data")
        question = question_of(self.settings.task, prepared.to(self.device), node, edge, graph)
        return why(self.model, self.kept, question, of=of, epochs=epochs, seed=seed)

    def export(self, path: str | Path, *, to: str | None = None) -> Path:
        """Write the model as a file that runs without mpnn, on other graphs, too; features come prepared.

        The file says what it takes and gives, and what was done to features, in its text `mpnn.json`.

        Args:
            path: of the file.
            to: "onnx", "pt2" or "torchscript"; by default what the ending of `path` says, see
                `mpnn.train.export`.

        Raises:
            RunError: the model cannot be exported, and why; or a package is not installed.
        """
        return write_file(self.portable(), path, to)

    def portable(self) -> Portable:
        """What `export` makes a file of: the model, what it takes, and what it gives."""
        known = None if self.known is None else self.known.edge_attr
        weighted = self.settings.columns.edge_weight is not None or (known is not None and known.dim() == 1)
        model = self.model if self.device.type == "cpu" else copy.deepcopy(self.model).cpu()
        return portable(model, self.settings, self.kept, weighted)

    def _joined(self, new: NewNodes) -> NodeDataset:
        """The known nodes and the new ones, their features as the model reads them."""
        preparation = self.kept.preparation
        assert self.known is not None
        x = torch.zeros(len(new.names), self.known.num_features)
        x[: self.known.num_nodes] = self.known.x.cpu()
        data = NodeDataset("new nodes", new.graph, x, node_names=new.names)
        if preparation.highest is not None:
            data = preparation.apply(data)
        elif new.table is not None or new.array is not None:
            alone, count = torch.zeros(2, 0, dtype=torch.int64), len(new.rows)
            bare = x[:count] if new.array is None else new.array
            made = NodeDataset("new nodes", Graph(alone, count), bare, table=new.table, array=new.array)
            x[new.rows] = preparation.apply(made).x
        return replace(data, edge_attr=self._edge_attr(new))

    def _edge_attr(self, new: NewNodes) -> Tensor | None:
        """The features or weights of known edges, and of new ones."""
        assert self.known is not None
        old = self.known.edge_attr
        if old is None:
            return None
        old = old.cpu()
        if new.edge_weight is not None:
            made = new.edge_weight
        elif new.edge_table is not None and self.kept.preparation.edges is not None:
            made = self.kept.preparation.edges.apply(new.edge_table)
        elif len(new.origin) == len(old):
            return old
        else:
            raise RunError("the model reads features of edges, but the new edges have none")
        return torch.cat([old, made])[new.origin]

    @overload
    def _prepared(self, data: NodeDataset) -> NodeDataset: ...

    @overload
    def _prepared(self, data: GraphDataset) -> GraphDataset: ...

    def _prepared(self, data: Graphs) -> Graphs:
        """A whole data set as the model reads it."""
        data = with_edge_inputs(self.kept.preparation.apply(data), self.settings.model)
        shape = self.kept.shape
        for name, found, wanted in (
            ("features of nodes", data.num_features, shape.num_features),
            ("features of edges", data.edge_dim, shape.edge_dim),
        ):
            if found != wanted:
                raise RunError(
                    f"{data.name} has {found or 'no'} {name}, but the model reads {wanted or 'none'}"
                )
        return data

    def _of_nodes(self, data: NodeDataset, rows: list[int]) -> pd.DataFrame:
        data = data.to(self.device)
        output = self.model(data.x, data.graph, **edge_features(data.edge_attr))[rows]
        names = node_names(data)
        return self._table("node", [names[row] for row in rows], output)

    def _of_graphs(self, data: GraphDataset) -> pd.DataFrame:
        data = self._prepared(data).to(self.device)
        output = torch.cat(list(self._outputs(data)))
        names = data.graph_names or map(str, range(data.num_graphs))
        return self._table("graph", list(names), output)

    def _of_images(self, x: Tensor, names: list[str]) -> pd.DataFrame:
        x = x.to(self.device)
        output = torch.cat([self.model(part) for part in torch.split(x, IMAGES_AT_ONCE)])
        return self._table("image", names, output)

    def _outputs(self, data: GraphDataset) -> Iterator[Tensor]:
        for where in torch.split(torch.arange(data.num_graphs), AT_ONCE):
            batch = GraphBatch.of(data, where)
            yield self.model(batch.x, batch.graph, **edge_features(batch.edge_attr))

    def _table(self, item: str, names: list[str], output: Tensor) -> pd.DataFrame:
        said = objective_of(self.kept.learns, self.kept.class_names).columns(output)
        numbers = {
            name: cells if name == "predicted" else [float(cell) for cell in cells]
            for name, cells in said.items()
        }
        return pd.DataFrame({item: names} | numbers)


def load(run: str | Path, device: str = "cpu", *, anyway: bool = False) -> Trained:
    """Return the best model of a run folder, ready to predict without the files that it was trained on.

    Args:
        run: the folder; of several runs, that of one of them.
        device: where to put the model.
        anyway: warn, in place of raising, where settings or names are not those of the checkpoint.

    Raises:
        RunError: the folder holds no such thing, or what is joined to the checkpoint is another.
    """
    home = Path(run)
    settings, kept = folder.read_config(home), read_memory(home)
    place = find_device(device)
    path = home / BEST
    state = checkpoint.load(path)
    check_joined(path, state, identity_of(settings), kept, anyway=anyway)
    with torch.random.fork_rng(devices=[]):
        model = build_for(settings, kept.shape)
    load_checkpoint(model, state, path, settings.model)
    if not (home / CONTEXT).exists():
        return Trained(model.to(place), settings, kept, None, place)
    values = checkpoint.load(home / CONTEXT)
    known = _known_nodes(home / CONTEXT, values)
    links, undirected = values.get(LINKS), bool(values.get(UNDIRECTED, True))
    return Trained(model.to(place), settings, kept, known, place, links, undirected)


def _known_nodes(path: Path, values: dict[str, Any]) -> NodeDataset:
    try:
        graph = Graph(values["edge_index"], len(values["names"]))
        names = tuple(map(str, values["names"]))
        found = {name: values[name] for name in ("x", "edge_attr", "node_column")}
        return NodeDataset("known nodes", graph, node_names=names, **found)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise RunError(f"{path} is damaged: {error}") from error
