"""The companions: for each package of PyTorch Geometric's which functions stand behind its names."""

from __future__ import annotations

from mpnn.pyg import ops, partition
from mpnn.pyg.companion import Companion, names_of
from mpnn.pyg.geometry import batched, clusters, near, spline_conv, splines
from mpnn.pyg.partition import has_pymetis
from mpnn.pyg.sampler import neighbor, subgraph
from mpnn.pyg.sampler.hash_map import CPUHashMap
from mpnn.pyg.scatter import composite, places, scatter, segment
from mpnn.pyg.sparse import arithmetic, plain, sampling, select, storage
from mpnn.pyg.sparse.methods import SparseTensor

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

_OPS = names_of(scatter, segment, composite, ops, near, clusters, splines)
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
        # Which PyTorch Geometric's module of the layer has taken from `pyg_lib.ops`.
        "spline_basis": splines.spline_basis,
        "spline_weighting": splines.spline_weighting,
        "WITH_CPU_HASH_MAP": True,
        "WITH_EDGE_TIME_NEIGHBOR_SAMPLE": True,
        "WITH_FPS": True,
        "WITH_GMM": True,
        "WITH_GRACLUS": True,
        "WITH_GRID_CLUSTER": True,
        "WITH_INDEX_SORT": True,
        "WITH_KNN": True,
        "WITH_METIS": True,
        "WITH_NEAREST": True,
        "WITH_PYG_LIB": True,
        "WITH_RADIUS": True,
        "WITH_SAMPLED_OP": True,
        "WITH_SEGMM": True,
        "WITH_SOFTMAX": True,
        "WITH_SPLINE": True,
        "WITH_WEIGHTED_NEIGHBOR_SAMPLE": True,
    },
    remark="" if has_pymetis() else "partition.metis by our own algorithm: pip install pymetis for METIS",
)

CLUSTER = Companion(
    "torch_cluster",
    "1.6.3",
    {
        "": names_of(batched),
        "knn": {name: getattr(batched, name) for name in ("knn", "knn_graph")},
        "radius": {name: getattr(batched, name) for name in ("radius", "radius_graph")},
    },
)

SPLINE_CONV = Companion(
    "torch_spline_conv", "1.2.2", {"": {**names_of(spline_conv, splines)}, "basis": names_of(splines)}
)

_SPARSE = {
    "": {
        **names_of(select, arithmetic, sampling, plain),
        "__narrow_diag__": select.narrow_diag,
        "SparseStorage": storage.SparseStorage,
        "SparseTensor": SparseTensor,
    },
    "tensor": {"SparseTensor": SparseTensor},
    "storage": {"SparseStorage": storage.SparseStorage, "get_layout": storage.get_layout},
    "matmul": {name: getattr(arithmetic, name) for name in ("matmul", "spmm", "spspmm")},
    "cat": {"cat": select.cat},
}

SPARSE = Companion(
    "torch_sparse",
    "0.6.18",
    _SPARSE,
    operators={
        f"torch_sparse.{name}": function
        for name, function in {
            **sampling.spmm_operators(),
            "ego_k_hop_sample_adj": sampling.ego_k_hop_sample_adj,
            "hetero_neighbor_sample": sampling.old_hetero_neighbor_sample,
            "hgt_sample": sampling.hgt_sample,
            "ind2ptr": storage.ind2ptr,
            "neighbor_sample": sampling.old_neighbor_sample,
            "partition": sampling.old_partition,
            "ptr2ind": storage.ptr2ind,
            "random_walk": subgraph.random_walk,
        }.items()
    },
    told={
        "SparseStorage": storage.SparseStorage,
        "SparseTensor": SparseTensor,
        "WITH_TORCH_SPARSE": True,
    },
)

COMPANIONS = (PYG_LIB, SCATTER, CLUSTER, SPLINE_CONV, SPARSE)
