"""The functions of this folder as methods and operators of `SparseTensor`."""

from __future__ import annotations

from mpnn.pyg.sparse import arithmetic, sampling, select
from mpnn.pyg.sparse.tensor import SparseTensor

for _module in (arithmetic, sampling, select):
    for _name in _module.__all__:
        if _name != "cat":
            setattr(SparseTensor, _name, getattr(_module, _name))

for _name, _function in {
    "spmm": arithmetic.spmm,
    "spspmm": arithmetic.spspmm,
    "__narrow_diag__": select.narrow_diag,
    "__getitem__": select.getitem,
    "__add__": arithmetic.add,
    "__radd__": arithmetic.add,
    "__iadd__": arithmetic.add_,
    "__mul__": arithmetic.mul,
    "__rmul__": arithmetic.mul,
    "__imul__": arithmetic.mul_,
    "__matmul__": arithmetic.matmul,
}.items():
    setattr(SparseTensor, _name, _function)

__all__ = ["SparseTensor"]
