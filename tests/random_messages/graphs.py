"""Small graphs of every odd kind."""

from __future__ import annotations

from random import Random

from tests.random_messages.case import Edges

MOST_EDGES = 100
KINDS = {
    "some edges": 8,
    "many edges": 2,
    "no nodes": 0.4,
    "no edges": 0.7,
    "one node": 0.7,
    "one edge": 0.7,
    "a hub": 1.5,
    "a row longer than a block": 1.5,
    "as many edges as nodes": 1.0,
    "as many edges as features": 1.0,
    "repeated edges": 1.0,
}


def random_graph(random: Random, bipartite: bool, width: int) -> tuple[str, Edges]:
    """A kind of graph, and one of that kind. `width` is a number of features that edges may be as many as."""
    kind = random.choices(list(KINDS), list(KINDS.values()))[0]
    n = random.randint(1, 12)
    m = random.randint(1, 9) if bipartite else n
    count = random.randint(1, 40)
    match kind:
        case "many edges":
            n, count = random.randint(20, 40), random.randint(60, MOST_EDGES)
            m = random.randint(20, 40) if bipartite else n
        case "no nodes":
            n, m, count = 0, random.choice([0, 3]) if bipartite else 0, 0
        case "no edges":
            count = 0
        case "one node":
            n = m = 1
            count = random.randint(0, 5)
        case "one edge":
            count = 1
        case "a row longer than a block":
            count = random.randint(9, 20)
        case "a hub":
            n = random.randint(1, 40)
            m = m if bipartite else n
            count = random.randint(65, MOST_EDGES)
        case "as many edges as nodes":
            count = n
        case "as many edges as features":
            count = min(width, MOST_EDGES) if n and m else 0
    pairs = [(random.randrange(n), random.randrange(m)) for _ in range(count)]
    if kind in ("a hub", "a row longer than a block"):
        hub = random.randrange(m)
        pairs = [(a, hub if random.random() < 0.95 else b) for a, b in pairs]
    if kind == "repeated edges" and pairs:
        pairs = [random.choice(pairs[:5]) for _ in pairs]
    if pairs and m > 1 and random.random() < 0.3:  # the last node is alone
        pairs = [(a, b % (m - 1)) for a, b in pairs]
    if not bipartite and len(pairs) > 1 and random.random() < 0.3:
        pairs[0] = (pairs[0][1], pairs[0][1])  # a loop
    return kind, Edges(n, m, tuple(pairs))
