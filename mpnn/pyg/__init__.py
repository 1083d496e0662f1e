"""PyTorch Geometric's compiled companions, without wheels.

PyTorch Geometric asks for `pyg_lib`, `torch_scatter` and their kin for its samplers, clusters and some
reductions. `mpnn.pyg.enable()` puts packages of these names, with the same functions on the kernels of this
package, into the running process, wherever the real one is not installed.

>>> with mpnn.pyg.enabled():
...     import torch_scatter
...
...     torch_scatter.scatter_max(torch.tensor([3.0, 5.0, 4.0]), torch.tensor([0, 1, 1]))
(tensor([3., 5.]), tensor([0, 1]))
"""

from __future__ import annotations

from mpnn.pyg.install import companions, enable, enabled

__all__ = ["companions", "enable", "enabled"]
