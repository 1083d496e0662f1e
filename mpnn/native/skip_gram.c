/* Skip-gram with negative sampling, by stochastic gradient, one pair after the other, as word2vec does it.

   Nodes are dealt out to `parts`. A pair belongs to the block (part of its node, part of its context), and its
   negatives are drawn from the context's part; so blocks with no part in common touch no row in common, and `parts`
   of them run at the same time without locks (Zhu et al., 2019). Within a block the order is fixed: the result does
   not depend on the number of threads. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#define CHANNELS 128 /* of a vector; set before compilation */
#define MOST_NEGATIVES 63
#define GOLDEN 0x9e3779b97f4a7c15ull
#define SAMPLED 64 /* the loss of one pair in 64 is computed */

typedef struct { int32_t node, context; } pair_t;
typedef struct { int32_t threshold, own, other; } alias_t; /* see walks.c */

static inline uint64_t mix(uint64_t z) /* SplitMix64 (Steele et al., 2014) */
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* The reach of a position to both sides, drawn from 1 to `window`, so that near positions are paired more often. */
static inline int64_t reach(uint64_t seed, int64_t position, int64_t window)
{
    return 1 + (int64_t)(((mix(seed + (uint64_t)position * GOLDEN) >> 32) * (uint64_t)window) >> 32);
}

static inline int64_t block_of(int64_t node, int64_t context, int64_t parts)
{
    return node % parts * parts + context % parts;
}

/* The pairs of all walks, by block. Call it first with pairs = NULL: this writes to `places` [ranges, parts * parts] the
   number of pairs of each range of walks in each block. Turn these into the place at which each range begins to write,
   and call it again. */
void make_pairs(
    const int64_t *walks, int64_t num_walks, int64_t width, int64_t window, uint64_t seed, int64_t parts,
    int64_t ranges, int64_t *places, pair_t *pairs, int64_t threads)
{
    const int64_t share = (num_walks + ranges - 1) / ranges;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (threads > 1)
    for (int64_t range = 0; range < ranges; range++) {
        const int64_t last = (range + 1) * share < num_walks ? (range + 1) * share : num_walks;
        int64_t *place = places + range * parts * parts;
        for (int64_t w = range * share; w < last; w++) {
            const int64_t *walk = walks + w * width;
            for (int64_t i = 0; i < width; i++) {
                const int64_t far = reach(seed, w * width + i, window);
                const int64_t from = i > far ? i - far : 0, to = i + far < width ? i + far : width - 1;
                for (int64_t j = from; j <= to; j++) {
                    if (j == i) continue;
                    const int64_t at = place[block_of(walk[i], walk[j], parts)]++;
                    if (pairs) pairs[at] = (pair_t){(int32_t)walk[i], (int32_t)walk[j]};
                }
            }
        }
    }
}

/* 1 / (1 + exp(-z)), to seven digits; exp by its series around the nearest power of two. */
static inline float sigmoid(float z)
{
    float t = z * -1.44269504f;
    t = t < -30 ? -30 : t > 30 ? 30 : t;
    const float whole = (float)(int32_t)(t == t ? t + (t < 0 ? -0.5f : 0.5f) : 0), x = (t - whole) * 0.693147181f;
    const float series =
        1 + x * (1 + x * (0.5f + x * (1 / 6.f + x * (1 / 24.f + x * (1 / 120.f + x * (1 / 720.f))))));
    union { int32_t bits; float power; } two = {.bits = ((int32_t)whole + 127) << 23};
    return 1 / (1 + series * two.power);
}

static double train_block(
    const pair_t *pairs, int64_t count, const alias_t *aliases, int64_t num_nodes, int64_t negatives, float *nodes,
    float *contexts, float rate, float last_rate, uint64_t key)
{
    const int rows = (int)negatives + 1;
    const float step = count > 1 ? (last_rate - rate) / (float)(count - 1) : 0;
    double loss = 0;
    for (int64_t k = 0; k < count; k++) {
        float *node = nodes + (int64_t)pairs[k].node * CHANNELS, *row[MOST_NEGATIVES + 1];
        float score[MOST_NEGATIVES + 1], change[CHANNELS], wanted[MOST_NEGATIVES + 1];
        row[0] = contexts + (int64_t)pairs[k].context * CHANNELS;
        wanted[0] = 1;
        for (int j = 1; j < rows; j++) {
            const uint64_t place = (mix(key += GOLDEN) >> 32) * (uint64_t)num_nodes;
            const alias_t *one = aliases + (place >> 32);
            const int32_t drawn = (uint32_t)place < (uint32_t)one->threshold ? one->own : one->other;
            row[j] = contexts + (int64_t)drawn * CHANNELS;
            wanted[j] = drawn == pairs[k].context ? -1 : 0; /* the context itself is no negative */
        }
        for (int j = 0; j < rows; j++) {
            float sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int c = 0; c < CHANNELS; c++) sum += node[c] * row[j][c];
            score[j] = sum;
        }
        if (k % SAMPLED == 0)
            for (int j = 0; j < rows; j++)
                if (wanted[j] >= 0) loss += log1pf(expf(wanted[j] > 0 ? -score[j] : score[j]));
        const float now = rate + step * (float)k;
        for (int j = 0; j < rows; j++) score[j] = wanted[j] < 0 ? 0 : now * (wanted[j] - sigmoid(score[j]));
#pragma omp simd
        for (int c = 0; c < CHANNELS; c++) change[c] = 0;
        for (int j = 0; j < rows; j++) {
            const float by = score[j];
            float *other = row[j];
#pragma omp simd
            for (int c = 0; c < CHANNELS; c++) {
                change[c] += by * other[c];
                other[c] += by * node[c];
            }
        }
#pragma omp simd
        for (int c = 0; c < CHANNELS; c++) node[c] += change[c];
    }
    return loss;
}

/* Train on the pairs of block b, `bounds[b] .. bounds[b + 1]`, for all blocks. The negatives of part b are drawn from
   the entries `part_ptr[b] .. part_ptr[b + 1]` of the alias table. Returns the loss summed over the sampled pairs, and
   writes their number to `*sampled`. */
double train(
    const pair_t *pairs, const int64_t *bounds, int64_t parts, const int64_t *part_ptr, const alias_t *aliases,
    int64_t negatives, float *nodes, float *contexts, float rate, float last_rate, uint64_t seed, int64_t *sampled,
    int64_t threads)
{
    double *losses = calloc((size_t)(parts * parts), sizeof(double)), loss = 0;
    if (!losses) return -1;
    *sampled = 0;
    for (int64_t turn = 0; turn < parts; turn++) {
        const float from = rate + (last_rate - rate) * (float)turn / (float)parts;
        const float to = rate + (last_rate - rate) * (float)(turn + 1) / (float)parts;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (threads > 1)
        for (int64_t part = 0; part < parts; part++) {
            const int64_t other = (part + turn) % parts, block = part * parts + other;
            losses[block] = train_block(
                pairs + bounds[block], bounds[block + 1] - bounds[block], aliases + part_ptr[other],
                part_ptr[other + 1] - part_ptr[other], negatives, nodes, contexts, from, to,
                mix(seed + (uint64_t)block * GOLDEN));
        }
    }
    for (int64_t block = 0; block < parts * parts; block++) {
        loss += losses[block];
        *sampled += (bounds[block + 1] - bounds[block] + SAMPLED - 1) / SAMPLED;
    }
    free(losses);
    return loss;
}
