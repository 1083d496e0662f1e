"""Zachary's karate club: 34 members, their friendships, and the two clubs that they became."""

from __future__ import annotations

import networkx as nx
import torch

from mpnn.datasets.record import NodeDataset
from mpnn.graph.graph import Graph

INSTRUCTOR, PRESIDENT = 0, 33
CLUBS = ("Mr. Hi", "Officer")


def load_karate() -> NodeDataset:
    """Return the karate club (Zachary, 1977), embedded in networkx: no file, no download.

    A node's features are its own number, one-hot: only the graph tells the classes. Its class is the club
    that it joined when the club broke up. The instructor (0) and the president (33), around whom the clubs
    formed, are the only two labelled nodes, as in DGL's tutorial after Kipf & Welling (2017, appendix A); of
    the other 16 members of each club, every fourth is for validation and the rest for the test. The split has
    no randomness. Friendships count once: networkx's weights are not used.

    >>> data = load_karate()
    >>> data.train_mask.nonzero().flatten().tolist()
    [0, 33]
    """
    club = nx.karate_club_graph()
    num_nodes = club.number_of_nodes()
    source, target = torch.tensor(list(club.edges())).T
    edge_index = torch.stack([torch.cat([source, target]), torch.cat([target, source])])
    y = torch.tensor([CLUBS.index(club.nodes[node]["club"]) for node in range(num_nodes)])

    train_mask = torch.zeros(num_nodes, dtype=torch.bool)
    train_mask[[INSTRUCTOR, PRESIDENT]] = True
    val_mask = torch.zeros(num_nodes, dtype=torch.bool)
    for label in range(len(CLUBS)):
        members = ((y == label) & ~train_mask).nonzero().flatten()
        val_mask[members[::4]] = True
    return NodeDataset(
        name="karate",
        graph=Graph(edge_index, num_nodes),
        x=torch.eye(num_nodes),
        y=y,
        train_mask=train_mask,
        val_mask=val_mask,
        test_mask=~(train_mask | val_mask),
        class_names=CLUBS,
    )
