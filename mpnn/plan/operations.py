"""The names of ATen's operations, by what they do; `mpnn.plan.decompositions` has those made of others."""

from __future__ import annotations

# The element-by-element operations that kernels have; `mpnn.backends.point` writes them.
POINT = frozenset([
    "add", "sub", "mul", "div", "div_floor", "div_trunc", "fmod", "remainder", "neg", "abs", "exp",
    "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal", "square", "relu",
    "sigmoid", "tanh", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "asinh",
    "acosh", "atanh", "erf", "erfc", "hypot", "floor", "ceil", "round", "trunc", "sign", "sgn",
    "copysign", "pow", "maximum", "minimum", "fmax", "fmin", "where", "masked_fill", "float", "gt",
    "ge", "lt", "le", "eq", "ne", "isnan", "isinf", "logical_and", "logical_or", "logical_xor",
    "logical_not", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "bfloat16", "float16",
])  # fmt: skip
# Those of ATen: besides the above what becomes one or several of them, or nothing.
POINTWISE = POINT | frozenset([
    "rsub", "clamp", "clamp_min", "clamp_max", "clone", "alias", "detach", "_to_copy", "lift_fresh_copy",
])  # fmt: skip
COPIES = frozenset(["clone", "alias", "detach", "_to_copy", "lift_fresh_copy"])
VIEWS = frozenset([
    "view", "_unsafe_view", "reshape", "unsqueeze", "squeeze", "expand", "permute", "transpose", "t",
    "select", "slice", "alias", "detach", "lift_fresh_copy",
])  # fmt: skip
TRANSPOSITIONS = frozenset(["permute", "transpose", "t"])
REDUCTIONS = frozenset(["sum", "mean", "amax", "amin", "any", "linalg_vector_norm"])
PRODUCTS = frozenset(["mm", "addmm", "bmm"])
