# mypy: disable-error-code="untyped-decorator,no-untyped-def,no-any-return"
"""Functions that the generated kernels call: Triton lacks them, or has them only on a GPU."""

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
    """Compute tanh by expm1, which keeps the digits of a small x."""
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
def copysign(x, y):
    """The size of x with the sign of y."""
    negative = (y < 0) | ((y == 0) & (1.0 / y < 0))
    return tl.where(negative, -tl.abs(x), tl.abs(x))


@triton.jit
def trunc(x):
    """Round towards zero."""
    return tl.where(x < 0, tl.ceil(x), tl.floor(x))


@triton.jit
def round_to_even(x):
    """Round to the nearest whole number; halves to an even one."""
    low = tl.floor(x)
    part = x - low
    even = tl.floor(low * 0.5) * 2.0 == low
    return tl.where((part < 0.5) | ((part == 0.5) & even), low, tl.where(x == x, low + 1.0, x))


@triton.jit
def fmod(a, b):
    """The remainder of a division, with the sign of a."""
    rest = tl.fma(-trunc(a / b), b, a)
    # If the quotient was rounded across an integer, the remainder has the wrong sign or is too large.
    rest = tl.where((rest != 0) & ((rest < 0) != (a < 0)), rest + copysign(b, a), rest)
    return tl.where(tl.abs(rest) >= tl.abs(b), rest - copysign(b, a), rest)


@triton.jit
def remainder(a, b):
    """The remainder of a division, with the sign of b, as in PyTorch."""
    rest = fmod(a, b)
    return tl.where((rest != 0) & ((b < 0) != (rest < 0)), rest + b, rest)


@triton.jit
def div_floor(a, b):
    """The quotient rounded down, as in PyTorch."""
    rest = fmod(a, b)
    whole = (a - rest) / b
    whole = tl.where((rest != 0) & ((b < 0) != (rest < 0)), whole - 1.0, whole)
    down = tl.floor(whole)
    return tl.where(b == 0, a / b, tl.where(whole - down > 0.5, down + 1.0, down))


@triton.jit
def atan(x):
    """Compute atan: the angle is halved twice, then a series of 12 terms has the digits of float64."""
    size = tl.abs(x)
    t = tl.where(size > 1, 1.0 / size, size)
    t = t / (1.0 + tl.sqrt(1.0 + t * t))
    t = t / (1.0 + tl.sqrt(1.0 + t * t))
    s = t * t
    series = t * 0.0 + 1.0 / 23
    for k in tl.static_range(11):
        series = 1.0 / (21 - 2 * k) - s * series
    angle = 4.0 * t * series
    angle = tl.where(size > 1, 1.5707963267948966 - angle, angle)
    return tl.where(x < 0, -angle, angle)


@triton.jit
def asin(x):
    """Compute asin by atan; NaN where |x| > 1."""
    return atan(x / tl.sqrt((1.0 - x) * (1.0 + x)))


@triton.jit
def acos(x):
    """Compute acos by atan, without cancellation near 1."""
    return 2.0 * atan(tl.sqrt((1.0 - x) / (1.0 + x)))


@triton.jit
def atan2(y, x):
    """The angle of the point (x, y)."""
    angle = atan(tl.abs(y) / tl.abs(x))
    angle = tl.where((x == 0) & (y == 0), 0.0, angle)
    return copysign(tl.where(x < 0, 3.141592653589793 - angle, angle), y)


@triton.jit
def asinh(x):
    """Compute asinh by log1p, which keeps the digits of a small x."""
    size = tl.abs(x)
    value = log1p(size + size * size / (1.0 + tl.sqrt(size * size + 1.0)))
    return tl.where(x < 0, -value, value)


@triton.jit
def acosh(x):
    """Compute acosh by log1p, which keeps the digits near 1."""
    t = x - 1.0
    return log1p(t + tl.sqrt(t * (t + 2.0)))


@triton.jit
def hypot(x, y):
    """The length of (x, y), without squares that overflow."""
    long = tl.maximum(tl.abs(x), tl.abs(y))
    short = tl.minimum(tl.abs(x), tl.abs(y))
    ratio = tl.where(long == 0, 0.0, tl.where(short == long, 1.0, short / long))
    return long * tl.sqrt(1.0 + ratio * ratio)


@triton.jit
def mix(x):
    """A bijection of 32 bits with little bias (Wellons, "lowbias32")."""
    x = (x ^ (x >> 16)) * 0x7FEB352D
    x = (x ^ (x >> 15)) * 0x846CA68B
    return x ^ (x >> 16)


@triton.jit
def kept(seed, stream, edge, lane, threshold, scale):
    """The factor of dropout, 0 or `scale`, by counter, as in mpnn/plan/dropout.py."""
    of_edge = mix((edge.to(tl.uint32) * 0x9E3779B1) ^ (seed.to(tl.uint32) + stream))
    drawn = mix(of_edge ^ (lane.to(tl.uint32) * 0x85EBCA77))
    return tl.where(drawn.to(tl.int64) < threshold, 0.0, scale)


@triton.jit
def rescale(old, new):
    """The factor that turns a sum of exp(score - old) into a sum of exp(score - new)."""
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
