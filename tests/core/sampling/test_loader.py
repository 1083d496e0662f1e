"""Batches of neighbours in several processes: as Lightning splits a `DataLoader`, each has its share."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, SequentialSampler

import mpnn
from mpnn import NeighborLoader, models
from tests.compare import assert_close
from tests.core.graphs import random_graph

GRAPH = random_graph(23, 80)
WANTED = torch.arange(2, 22)
X = torch.randn(23, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def made_again(loader: Any, **put: Any) -> Any:
    """What `lightning.pytorch.utilities.data._update_dataloader` does to put a sampler into a loader.

    It takes the attributes that are arguments of its class, or of `DataLoader` where the class has
    `**kwargs`, and are not the default.
    """
    attributes = {name: value for name, value in vars(loader).items() if not name.startswith("_")}
    attributes["multiprocessing_context"] = loader.multiprocessing_context
    parameters = dict(inspect.signature(loader.__init__).parameters)
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        parameters |= inspect.signature(DataLoader.__init__).parameters
    differ = {n for n, p in parameters.items() if n in attributes and p.default is not attributes[n]}
    given = {name: value for name, value in attributes.items() if name in differ | {"dataset"}}
    return type(loader)(**given | {"shuffle": False, "sampler": None, "batch_sampler": None} | put)


def split(loader: Any, rank: int, processes: int = 2) -> Any:
    shuffled = not isinstance(loader.sampler, SequentialSampler)
    sampler: Any = DistributedSampler(loader.dataset, processes, rank, shuffle=shuffled)
    return made_again(loader, sampler=sampler)


def seeds(loader: NeighborLoader) -> list[Tensor]:
    return [batch.nodes[: batch.num_seeds] for batch in loader]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_a_loader_that_is_made_again_with_a_sampler_gives_each_process_its_share(
    shuffle: bool, padded: bool
) -> None:
    options: dict[str, Any] = {"nodes": WANTED, "batch_size": 3, "shuffle": shuffle, "padded": padded}
    loader = NeighborLoader(GRAPH, [2, 2], **options)
    shares = []
    for rank in range(2):
        mine = split(loader, rank)
        assert mine.padded is padded and mine.fanouts == [2, 2] and len(mine) == 4
        assert [part.numel() for part in seeds(mine)] == [3, 3, 3, 1]
        shares.append(torch.cat(seeds(mine)))
    assert torch.equal(torch.cat(shares).sort().values, WANTED)
    if shuffle:
        assert not torch.equal(shares[0], shares[0].sort().values)
        mine.sampler.set_epoch(1)
        assert not torch.equal(torch.cat(seeds(mine)), shares[1])
    else:
        assert torch.equal(shares[0], WANTED[::2])


def test_a_loader_that_is_made_again_with_batches_gives_these() -> None:
    loader = made_again(
        NeighborLoader(GRAPH, [2], nodes=WANTED, batch_size=3),
        batch_sampler=[[0, 5], [1]],
        batch_size=1,
        drop_last=False,
    )
    assert [part.tolist() for part in seeds(loader)] == [[2, 7], [3]] and len(loader) == 2


def test_options_of_a_data_loader_that_do_nothing_here_are_refused() -> None:
    with pytest.raises(TypeError, match="num_workers is 4, but NeighborLoader has no such option"):
        NeighborLoader(GRAPH, [2], batch_size=3, num_workers=4)
    with pytest.raises(ValueError, match="sampler option is mutually exclusive with shuffle"):
        NeighborLoader(GRAPH, [2], batch_size=3, sampler=[1], shuffle=True)


def network() -> nn.Module:
    torch.manual_seed(0)
    return models.GNN(3, 8, 2, 2, conv="sage").double()


def loss(model: nn.Module, batch: mpnn.Sample) -> Tensor:
    out: Tensor = model(X[batch.nodes], batch.graph)[: batch.num_seeds].square().mean()
    return out


def loader() -> NeighborLoader:
    return NeighborLoader(GRAPH, [-1, -1], nodes=WANTED, batch_size=5)


def train(rank: int, folder: str) -> None:
    """One of two processes, with its share of the nodes."""
    os.environ["OMP_NUM_THREADS"] = "1"
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    model = DistributedDataParallel(network())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for batch in split(loader(), rank):
        optimizer.zero_grad()
        loss(model, batch).backward()
        optimizer.step()
    torch.save(model.module.state_dict(), Path(folder) / f"{rank}.pt")
    distributed.barrier()  # a process that leaves while the other still talks to it may end both
    distributed.destroy_process_group()


def test_two_processes_learn_from_their_shares_what_one_learns_from_both(tmp_path: Path) -> None:
    spawn(train, (str(tmp_path),), nprocs=2)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for batches in zip(*(split(loader(), rank) for rank in range(2)), strict=True):
        optimizer.zero_grad()
        torch.stack([loss(model, batch) for batch in batches]).mean().backward()
        optimizer.step()
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        for name, parameter in model.named_parameters():
            assert_close(found[name], parameter, atol=1e-12, name=name)
