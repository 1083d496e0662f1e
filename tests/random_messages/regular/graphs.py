"""Small regular graphs, as text."""

from __future__ import annotations

from random import Random

from tests.random_messages.case import Regular


def pairs(random: Random, most: int = 5) -> tuple[Regular, bool]:
    """A graph on which every node, or every near one, sends; and whether it has one set of nodes."""
    lengths = _lengths(random, most)
    match random.choice(["complete", "complete", "bipartite", "causal", "band"]):
        case "complete":
            loops = random.choice(["", "", ", self_loops=False"])
            text, square = f"topology.complete({lengths}{loops})", True
        case "bipartite":
            count = random.choice([1, 1, 2, 3])
            ends = [[random.randint(1, most) for _ in range(count)] for _ in range(2)]
            ends = [[one[0]] * count if random.random() < 0.5 else one for one in ends]
            given = ", ".join(str(one[0] if count == 1 and random.random() < 0.7 else one) for one in ends)
            text, square = f"topology.complete_bipartite({given})", False
        case "causal":
            text, square = f"topology.causal({lengths})", True
        case _:
            window = random.choice([1, 2, (0, 1), (2, 1), 9])
            causal = ", causal=True" if isinstance(window, int) and random.random() < 0.3 else ""
            gap = random.choice(["", "", ", dilation=2"])
            text, square = f"topology.band({lengths}, {window}{causal}{gap})", True
    return Regular(text + _turned(random)), square


def _lengths(random: Random, most: int) -> str:
    kind = random.choices(["one", "equal", "ragged", "single", "none"], [5, 2, 3, 0.5, 0.3])[0]
    match kind:
        case "one":
            return str(random.randint(1, most + 2))
        case "equal":
            return str([random.randint(1, most)] * random.choice([2, 3]))
        case "ragged":
            return str(
                [random.randint(random.choice([0, 1, 1, 1, 2]), most) for _ in range(random.choice([2, 3]))]
            )
        case "single":
            return "1"
    return random.choice(["0", "[]", "[0, 0]"])


def _turned(random: Random, share: float = 0.25) -> str:
    return ".reverse()" if random.random() < share else ""


def windows(random: Random, pooling: bool) -> Regular:
    """A grid, or what adaptive pooling sees."""
    dims = random.choice([1, 1, 2, 2, 3])
    shape = [random.randint(2, 7 if dims == 1 else 5 if dims == 2 else 4) for _ in range(dims)]
    batch = random.choice(["", "", ", batch=2"])
    if pooling and random.random() < 0.35:
        out = [random.randint(1, n + 1) for n in shape]
        return Regular(f"topology.adaptive_grid({tuple(shape)}, {tuple(out)}{batch})" + _turned(random, 0.1))
    kernel = [random.randint(1, min(n, 3)) for n in shape]
    options = []
    if random.random() < 0.6:
        options.append(f"stride={random.choice([2, tuple(random.randint(1, 3) for _ in shape)])}")
    if random.random() < 0.5:
        most = 1 if pooling else 3
        padding = [random.choice([0, 1, random.randint(0, most)]) for _ in shape]
        both = [(a, random.randint(0, most)) for a in padding]
        options.append(f"padding={random.choice([1, both, [(a, a) for a in padding]])}")
    if random.random() < (0.15 if pooling else 0.3):
        gaps = [random.randint(1, 2) for _ in shape]
        kernel = [min(k, (n - 1) // gap + 1) for k, n, gap in zip(kernel, shape, gaps, strict=True)]
        options.append(f"dilation={tuple(gaps)}")
    if random.random() < 0.2:
        options.append(f"periodic={random.choice([True, tuple(random.random() < 0.5 for _ in shape)])}")
    if random.random() < 0.15:
        options = ["padding='same'", *(o for o in options if o.startswith(("dilation", "periodic")))]
    listed = "".join(f", {o}" for o in options)
    return Regular(
        f"topology.grid({tuple(shape)}, {tuple(kernel)}{listed}{batch})"
        + _turned(random, 0.1 if pooling else 0.3)
    )


def acyclic(random: Random) -> Regular:
    """A graph along which a recurrent cell goes."""
    match random.choice(["chain", "chain", "chain", "tree", "graph", "star"]):
        case "chain":
            backward = random.choice(["", ", backward=True"])
            lengths = random.choice([_lengths(random, 5), str([random.randint(1, 5) for _ in range(3)])])
            return Regular(f"topology.chain({lengths}{backward})")
        case "tree":
            n = random.randint(1, 8)
            parents = [-1, *(random.randrange(k) for k in range(1, n))]
            return Regular(f"topology.tree({parents}){_turned(random)}")
        case "star":
            return Regular(f"topology.star({random.randint(1, 4)}){_turned(random)}")
    n = random.randint(1, 8)
    edges = [(a, b) for b in range(n) for a in range(b) if random.random() < 0.4]
    ends = [[e[k] for e in edges] for k in (0, 1)]
    return Regular(f"Graph(torch.tensor({ends}, dtype=torch.int64), {n})")
