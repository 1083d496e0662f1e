/* Dropout by counter: a number is kept or not by a hash of the seed and its place, so no mask is stored and the backward
   pass draws the same mask. PyTorch's generator draws one number after the other; this loop draws sixteen at a time. */

#include <stdint.h>

#define ROW 1024

typedef float real;

static inline uint32_t mix(uint32_t x)
{
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}

static inline void drop_row(const real *restrict in, real *restrict out, int64_t length, uint32_t row, uint32_t threshold,
                            real scale)
{
    for (int64_t lane = 0; lane < length; lane++)
        out[lane] = mix(row ^ ((uint32_t)lane * 0x85ebca77u)) >= threshold ? in[lane] * scale : 0;
}

void dropout(const real *in, real *out, int64_t count, uint32_t seed, uint32_t threshold, double scale, int64_t threads)
{
    int64_t rows = (count + ROW - 1) / ROW;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t r = 0; r < rows; r++) {
        int64_t start = r * ROW, length = count - start < ROW ? count - start : ROW;
        drop_row(in + start, out + start, length, mix((uint32_t)r * 0x9e3779b1u ^ seed), threshold, (real)scale);
    }
}
