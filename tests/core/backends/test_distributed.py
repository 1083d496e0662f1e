"""Training in several processes at once."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from mpnn import Graph, models
from tests.compare import assert_close
from tests.core.graphs import random_graph

DTYPE = torch.float64


def network() -> nn.Module:
    torch.manual_seed(0)
    return models.GNN(3, 8, 2, 2, conv="gat").double()


def share(rank: int) -> tuple[Graph, Tensor]:
    graph = random_graph(8 + rank, 20, seed=rank)
    return graph, torch.randn(graph.num_nodes, 3, dtype=DTYPE, generator=torch.Generator().manual_seed(rank))


def train(rank: int, folder: str) -> None:
    """One of two processes, each with its own graph."""
    os.environ["OMP_NUM_THREADS"] = "1"
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    model = DistributedDataParallel(network())
    graph, x = share(rank)
    model(x, graph).square().mean().backward()
    torch.save({name: p.grad for name, p in model.module.named_parameters()}, Path(folder) / f"{rank}.pt")
    distributed.barrier()  # a process that leaves while the other still talks to it may end both
    distributed.destroy_process_group()


def test_two_processes_share_their_gradients(tmp_path: Path) -> None:
    spawn(train, (str(tmp_path),), nprocs=2)
    model = network()
    sum(model(x, graph).square().mean() for graph, x in map(share, range(2))).backward()
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            assert_close(found[name], parameter.grad / 2, atol=1e-12)
