"""The flags of commands other than `mpnn train TASK`."""

from __future__ import annotations

from argparse import ArgumentParser

from mpnn.datasets.registry import DATASETS
from mpnn.train.choices import METHODS, PORTABLE
from mpnn.train.command.flags import add_anyway_flag, add_data_flags, add_file_flags, listing
from mpnn.train.kinds.faces import FACES
from mpnn.train.runs.embed_settings import MODELS


def add_embed_flags(parser: ArgumentParser) -> None:
    """Add those of `mpnn train embed`."""
    datasets = {name: entry.about for name, entry in DATASETS.items() if FACES["node"].suits(entry)}
    lists = (
        listing("data sets (default: karate):", datasets),
        listing("models (default: deepwalk):", MODELS),
    )
    parser.epilog = "\n".join(lists)
    add_data_flags(parser.add_argument_group("what"), FACES["node"])
    add = parser.add_argument_group("model").add_argument
    add("--model", metavar="NAME", help="deepwalk or node2vec (default: deepwalk)")
    add("--p", type=float, metavar="X", help="above 1 walks rarely turn back at once (node2vec)")
    add("--q", type=float, metavar="X", help="above 1 walks stay near, below 1 they go far (node2vec)")
    add("--dimensions", type=int, metavar="N", help="channels of a vector (default: 128)")
    add = parser.add_argument_group("how").add_argument
    add("--walks", type=int, metavar="N", help="from each node (default: 80; node2vec 10)")
    add("--length", type=int, metavar="N", help="nodes of a walk (default: 40; node2vec 80)")
    add("--window", type=int, metavar="N", help="how far apart the nodes of a pair are at most (default: 10)")
    add("--negatives", type=int, metavar="N", help="for each pair (default: 5)")
    add("--lr", type=float, metavar="X", help="learning rate at the beginning (default: 0.025)")
    add("--share", type=float, metavar="X", help="of the labels, to judge the vectors by (default: 0.5)")
    add("--splits", type=int, metavar="N", help="how many such shares (default: 10)")
    add("--seed", type=int, metavar="N", help="of all random numbers (default: 0)")
    add("--device", metavar="NAME", help="cpu, cuda, ... (default: cpu, where the updates are compiled)")
    add_file_flags(parser.add_argument_group("files").add_argument)


def add_communities_flags(parser: ArgumentParser) -> None:
    """Add those of `mpnn communities`."""
    parser.epilog = listing("methods:", METHODS)
    add_data_flags(parser.add_argument_group("what"), FACES["node"])
    add = parser.add_argument_group("how").add_argument
    add("--method", choices=METHODS, help="only this one (default: all)")
    add("--count", type=int, metavar="N", help="of spectral and deepwalk (default: that of the classes)")
    add("--seed", type=int, metavar="N", help="of all random numbers (default: 0)")
    add("--output", metavar="FILE.csv", help="write the community of every node by every method")


def add_runs_flags(parser: ArgumentParser) -> None:
    """Add those of `mpnn runs`."""
    add = parser.add_argument
    add("home", nargs="?", default="runs", metavar="DIR", help="folder that holds runs (default: runs)")
    add("--sort", metavar="COLUMN", help="mean, or any setting; the best or highest first")
    add("--where", action="append", metavar="NAME=VALUE", help="only runs with this setting; several times")
    add("--show", metavar="NAMES", help="settings to show too, divided by commas")
    add("--csv", metavar="FILE.csv", help="write all columns, every setting among them")


def add_info_flags(parser: ArgumentParser) -> None:
    """Add those of `mpnn info`."""
    about = "print only the folder of compiled kernels, its files, size and limit"
    parser.add_argument("--cache", action="store_true", help=about)


def add_cache_flags(parser: ArgumentParser) -> None:
    """Add those of `mpnn cache`."""
    about = "remove all compiled kernels; they are compiled anew when they are needed"
    parser.add_argument("what", choices=("clear",), help=about)


def add_evaluate_flags(parser: ArgumentParser) -> None:
    """Add those of `mpnn evaluate`."""
    add = parser.add_argument
    add("run", metavar="RUN", help="folder of a run")
    add("--data", metavar="DIR", help="folder with the data (default: that of the run)")
    add_anyway_flag(add)
    add("--device", metavar="NAME", help="cpu, cuda, ... (default: a GPU if there is one)")


def add_predict_flags(parser: ArgumentParser) -> None:
    """Add those of `mpnn predict`."""
    add_evaluate_flags(parser)
    add = parser.add_argument
    about = "table of new nodes, which join those of the run (node), or are of new graphs (graph)"
    add("--nodes", metavar="FILE", help=about)
    add("--dataset", metavar="FILE", help="table of the edges of new nodes (node)")
    about = "features of new nodes, of a run with --features-file (node)"
    add("--features-file", metavar="FILE", help=about)
    about = "table of the edges of new graphs, or a folder in the TU format (graph)"
    add("--graphs", metavar="FILE", help=about)
    add("--images", metavar="FILE", help="a picture, a folder of them, or .npy (image, memory, segment)")
    add("--for", metavar="ID,ID", help="rank the missing links of these nodes (edge)")
    add("--top", type=int, metavar="N", help="how many missing links (default: 20)")
    about = "where to write the table: CSV, or Parquet by its ending; of segment --images, a folder for masks"
    add("--output", metavar="FILE", required=True, help=about)


def add_why_flags(parser: ArgumentParser) -> None:
    """Add those of `mpnn why`."""
    add = parser.add_argument
    add("run", metavar="RUN", help="folder of a run")
    add("--node", metavar="ID", help="the node that is asked about (node)")
    add("--edge", metavar="ID,ID", help="the two nodes of an edge (edge)")
    add("--graph", type=int, metavar="N", help="the number of a graph (graph)")
    add("--of", metavar="NAME", help="a class, label or number (default: the likeliest)")
    add("--epochs", type=int, metavar="N", help="steps in which masks are learned (default: 200)")
    add("--seed", type=int, metavar="N", help="of the masks' first values (default: 0)")
    add("--data", metavar="DIR", help="folder with the data (default: that of the run)")
    add_anyway_flag(add)
    add("--device", metavar="NAME", help="cpu, cuda, ... (default: a GPU if there is one)")
    about = "where to write the table; the picture is beside it (default: RUN/why)"
    add("--output", metavar="FILE.csv", help=about)


def add_export_flags(parser: ArgumentParser) -> None:
    """Add those of `mpnn export`."""
    add = parser.add_argument
    add("run", metavar="RUN", help="folder of a run")
    add("--to", choices=PORTABLE, required=True, help="onnx, pt2 (torch.export), torchscript (torch.jit)")
    add("--output", metavar="FILE", help="where to write it (default: model.onnx, .pt2 or .pt in RUN)")
