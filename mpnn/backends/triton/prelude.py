# mypy: disable-error-code="untyped-decorator,no-untyped-def,no-any-return"
"""What the generated kernels call: functions that Triton lacks, or has only where there is a GPU."""

# Triton reads the source of these functions and has its own types; annotations of Python's would mislead it.

import triton
import triton.language as tl


@triton.jit
def expm1(x):
    """exp(x) - 1 without cancellation (Kahan): the error of exp divides out against that of log."""
    u = tl.exp(x)
    near = (u - 1.0) * x / tl.where(u == 1.0, 1.0, tl.log(u))
    return tl.where(u == 1.0, x, tl.where(tl.abs(x) < 0.5, near, u - 1.0))


@triton.jit
def log1p(x):
    """log(1 + x) without cancellation (Kahan)."""
    u = x + 1.0
    near = tl.log(u) * x / tl.where(u == 1.0, 1.0, u - 1.0)
    return tl.where(u == 1.0, x, tl.where(tl.abs(x) < 0.5, near, tl.log(u)))


@triton.jit
def tanh(x):
    """By expm1, which keeps the digits of a small x."""
    m = expm1(-2.0 * tl.abs(x))
    return tl.where(x < 0, m, -m) / (m + 2.0)


@triton.jit
def power(x, y):
    """Raise x to the power y, a negative x where y is whole; in float64, for the digits of y log x."""
    base = x.to(tl.float64)
    exponent = y.to(tl.float64)
    whole = tl.floor(exponent) == exponent
    odd = whole & (tl.floor(exponent * 0.5) * 2.0 != exponent)
    size = tl.where(exponent == 0, 1.0, tl.exp(exponent * tl.log(tl.abs(base))))
    signed = tl.where(base < 0, tl.where(whole, tl.where(odd, -size, size), float("nan")), size)
    return signed.to(x.dtype)


@triton.jit
def sign(x):
    """-1, 0 or 1."""
    return ((x > 0).to(tl.int32) - (x < 0).to(tl.int32)).to(x.dtype)


@triton.jit
def mix(x):
    """A bijection of 32 bits with little bias (Wellons, "lowbias32")."""
    x = (x ^ (x >> 16)) * 0x7FEB352D
    x = (x ^ (x >> 15)) * 0x846CA68B
    return x ^ (x >> 16)


@triton.jit
def kept(seed, stream, edge, lane, threshold, scale):
    """What dropout multiplies a number with: 0 or `scale`, by counter; as in mpnn/plan/dropout.py."""
    of_edge = mix((edge.to(tl.uint32) * 0x9E3779B1) ^ (seed.to(tl.uint32) + stream))
    drawn = mix(of_edge ^ (lane.to(tl.uint32) * 0x85EBCA77))
    return tl.where(drawn.to(tl.int64) < threshold, 0.0, scale)


@triton.jit
def rescale(old, new):
    """What a sum of exp(score - old) is multiplied with to be one of exp(score - new)."""
    return tl.where(old == new, 1.0, tl.exp(old - new))


@triton.jit
def largest(x):
    """The maximum over the slots of a row; a NaN wins, as in PyTorch."""
    unordered = tl.max((x != x).to(tl.int32), 1, keep_dims=True) > 0
    best = tl.max(tl.where(x == x, x, float("-inf")), 1, keep_dims=True)
    return tl.where(unordered, float("nan"), best)


@triton.jit
def smallest(x):
    """The minimum over the slots of a row; a NaN wins, as in PyTorch."""
    unordered = tl.max((x != x).to(tl.int32), 1, keep_dims=True) > 0
    best = tl.min(tl.where(x == x, x, float("inf")), 1, keep_dims=True)
    return tl.where(unordered, float("nan"), best)
