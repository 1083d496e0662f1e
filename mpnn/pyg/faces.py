"""The companions: for each package of PyTorch Geometric's which functions stand behind its names."""

from __future__ import annotations

from mpnn.pyg import partition
from mpnn.pyg.companion import Companion, names_of
from mpnn.pyg.partition import has_pymetis
from mpnn.pyg.sampler import neighbor, subgraph
from mpnn.pyg.sampler.hash_map import CPUHashMap
from mpnn.pyg.scatter import composite, places, scatter, segment

SCATTER = Companion(
    "torch_scatter",
    "2.1.2",
    {
        "": names_of(scatter, segment, composite),
        "scatter": names_of(scatter),
        "segment_coo": {name: value for name, value in names_of(segment).items() if "coo" in name},
        "segment_csr": {name: value for name, value in names_of(segment).items() if "csr" in name},
        "composite": names_of(composite),
        "utils": {"broadcast": places.broadcast},
    },
    told={"WITH_TORCH_SCATTER": True},
)

_OPS = names_of(scatter, segment, composite)
_SAMPLER = names_of(neighbor, subgraph)
_PARTITION = names_of(partition)

PYG_LIB = Companion(
    "pyg_lib",
    "0.9.0",
    {
        "": {},
        "ops": _OPS,
        "sampler": _SAMPLER,
        "partition": _PARTITION,
    },
    operators={
        f"pyg.{name}": function
        for name, function in {
            **_OPS,
            **_SAMPLER,
            **_PARTITION,
            "hetero_neighbor_sample": neighbor.sample_by_words,
        }.items()
    },
    classes={"pyg.CPUHashMap": CPUHashMap},
    told={
        "CPUHashMap": CPUHashMap,
        "WITH_CPU_HASH_MAP": True,
        "WITH_EDGE_TIME_NEIGHBOR_SAMPLE": True,
        "WITH_METIS": True,
        "WITH_PYG_LIB": True,
        "WITH_WEIGHTED_NEIGHBOR_SAMPLE": True,
    },
    remark="" if has_pymetis() else "partition.metis by our own algorithm: pip install pymetis for METIS",
)

COMPANIONS = (PYG_LIB, SCATTER)
