/* Random numbers by counter: a number follows from a key, its node and its place in the node's row, so any thread may
   draw any part of them. The same numbers as in mpnn/step/draws.py. */

#include <stdint.h>

#define CHUNK 4096

typedef float real;

static inline uint32_t mix(uint32_t x)
{
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}

static inline uint32_t of_node(int64_t node, uint32_t key) { return mix((uint32_t)node * 0x9e3779b1u ^ key); }
static inline uint32_t of_lane(int64_t lane) { return mix((uint32_t)lane * 0x85ebca77u + 1u); }

/* 24 or 53 bits, times the unit of such numbers: nothing is rounded. */
static inline float number_float(uint32_t high) { return (float)(int32_t)(high >> 8) * 0x1p-24f; }
static inline double number_double(uint32_t high)
{
    const uint32_t low = mix(high ^ 0x68e31da4u);
    return ((double)(int32_t)(high >> 5) * 0x1p26 + (double)(int32_t)(low >> 6)) * 0x1p-53;
}
#define number(high) _Generic((real)0, float: number_float, double: number_double)(high)

/* `lanes` numbers for each of `nodes` nodes; `hashes` has room for one of each lane. */
void uniforms(real *restrict out, uint32_t *restrict hashes, int64_t nodes, int64_t lanes, uint32_t key, int64_t threads)
{
    const int by_node = lanes < 16; /* the longer of the two loops is the inner one */
    const int64_t length = by_node ? nodes : lanes, pieces = (length + CHUNK - 1) / CHUNK;
    const int64_t tasks = by_node ? pieces : pieces * nodes;
    for (int64_t lane = 0; lane < lanes; lane++) hashes[lane] = of_lane(lane);
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t task = 0; task < tasks; task++) {
        const int64_t start = task % pieces * CHUNK, end = start + CHUNK < length ? start + CHUNK : length;
        if (by_node) {
            for (int64_t lane = 0; lane < lanes; lane++) {
                const uint32_t hash = hashes[lane];
                for (int64_t node = start; node < end; node++)
                    out[node * lanes + lane] = number(mix(of_node(node, key) ^ hash));
            }
        } else {
            const int64_t node = task / pieces;
            const uint32_t hash = of_node(node, key);
            for (int64_t lane = start; lane < end; lane++) out[node * lanes + lane] = number(mix(hash ^ hashes[lane]));
        }
    }
}
