"""The companions: for each package of PyTorch Geometric's which functions stand behind its names."""

from __future__ import annotations

from mpnn.pyg.companion import Companion, names_of
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

COMPANIONS = (SCATTER,)
