#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PREFETCH(pointer, bytes) \
    for (size_t line = 0; line < (bytes) && line < 1024; line += 64) __builtin_prefetch((const char *)(pointer) + line)
#define FILL(array, size, value) for (int fill = 0; fill < (size); fill++) (array)[fill] = (value)

/* Half precision is for storage: every number is computed in float. */
typedef struct { uint16_t bits; } bfloat16;

static inline float from_bfloat16(bfloat16 x)
{
    const uint32_t bits = (uint32_t)x.bits << 16;
    float y;
    memcpy(&y, &bits, 4);
    return y;
}

static inline bfloat16 to_bfloat16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if (x != x) return (bfloat16){0x7fc0};
    return (bfloat16){(uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)}; /* to nearest, ties to even */
}

#define LOAD(x) _Generic((x), bfloat16: from_bfloat16(*(const bfloat16 *)&(x)), default: (real)_Generic((x), bfloat16: 0, default: (x)))
#define STORE(x, y) \
    do { \
        const real stored = (y); \
        _Generic(&(x), bfloat16 *: (void)(*(bfloat16 *)&(x) = to_bfloat16((float)stored)), \
                 default: (void)(*_Generic(&(x), bfloat16 *: (real *)0, default: &(x)) = stored)); \
    } while (0)

/* exp without a branch or a call, so that loops over it vectorise: 2^n e^r with |r| <= ln 2 / 2. */
static inline float exp_float(float x)
{
    const float shift = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    const float y = x < -104.0f ? -104.0f : x > 89.0f ? 89.0f : x;
    const float n = (y * 1.44269504f + shift) - shift;
    const float r = (y - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    /* The scale in two factors reaches the subnormal numbers and overflows to infinity. */
    const int32_t whole = (int32_t)(n == n ? n : 0), half = whole >> 1;
    const uint32_t first = (uint32_t)(half + 127) << 23, second = (uint32_t)(whole - half + 127) << 23;
    float a, b;
    memcpy(&a, &first, 4);
    memcpy(&b, &second, 4);
    return p * a * b;
}

static inline double exp_double(double x)
{
    const double shift = 6755399441055744.0; /* 1.5 * 2^52 */
    const double y = x < -746.0 ? -746.0 : x > 710.0 ? 710.0 : x;
    const double n = (y * 1.4426950408889634 + shift) - shift;
    const double r = (y - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
    double p = 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    const int64_t whole = (int64_t)(n == n ? n : 0), half = whole >> 1;
    const uint64_t first = (uint64_t)(half + 1023) << 52, second = (uint64_t)(whole - half + 1023) << 52;
    double a, b;
    memcpy(&a, &first, 8);
    memcpy(&b, &second, 8);
    return p * a * b;
}

/* A power of two, at most 1 / count: softmax weights that are scaled by it sum up to 1 at most, so that no sum of
   weighted values is beyond the largest of them. The division by their total takes it out again, to the same bits. */
static inline real share_of(int64_t count)
{
    return count > 0 ? (real)1 / (real)((uint64_t)1 << (63 - __builtin_clzll(2 * (uint64_t)count - 1))) : 1;
}

/* Dropout by counter: which of 2^32 numbers an edge and a lane draw decides; the same as in dropout.py. */
static inline uint32_t mix(uint32_t x)
{
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}

#define kept(seed, edge, lane, threshold, scale) \
    (mix(mix((edge) * 0x9e3779b1u ^ (seed)) ^ (uint32_t)(lane) * 0x85ebca77u) < (threshold) ? 0 : (real)(scale))

/* Division with a rest of the divisor's sign, as PyTorch does it. */
static inline real remainder_of(real a, real b)
{
    const real rest = R(fmod)(a, b);
    return rest != 0 && (b < 0) != (rest < 0) ? rest + b : rest;
}

static inline real div_floor(real a, real b)
{
    if (b == 0) return a / b;
    const real rest = R(fmod)(a, b);
    const real whole = (a - rest) / b - (rest != 0 && (b < 0) != (rest < 0));
    const real down = R(floor)(whole);
    return whole == 0 ? R(copysign)(0, a / b) : down + (whole - down > (real)0.5);
}

#define real_exp(x) _Generic((real)0, float: exp_float, double: exp_double)(x)
