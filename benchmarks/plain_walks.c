/* Random walks as one writes them first: one walk after the other, each step when the one before is done. */
#include <stdint.h>

static inline uint64_t draw(uint64_t *state) /* SplitMix64 */
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

void uniform(
    const int32_t *indptr, const int32_t *indices, const int64_t *start, int64_t num_walks, int64_t length,
    double p, double q, int64_t *walks, int64_t threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t w = 0; w < num_walks; w++) {
        uint64_t state = (uint64_t)w * 0x2545f4914f6cdd1dull;
        int64_t v = start[w];
        walks[w * (length + 1)] = v;
        for (int64_t step = 1; step <= length; step++) {
            const int64_t begin = indptr[v], degree = indptr[v + 1] - begin;
            if (degree) v = indices[begin + (int64_t)(((draw(&state) >> 32) * (uint64_t)degree) >> 32)];
            walks[w * (length + 1) + step] = v;
        }
    }
}

static int linked(const int32_t *indptr, const int32_t *indices, int64_t t, int64_t x)
{
    int64_t low = indptr[t], high = indptr[t + 1];
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (indices[middle] < x) low = middle + 1;
        else high = middle;
    }
    return low < indptr[t + 1] && indices[low] == x;
}

/* node2vec by rejection; rows are sorted. */
void node2vec(
    const int32_t *indptr, const int32_t *indices, const int64_t *start, int64_t num_walks, int64_t length,
    double p, double q, int64_t *walks, int64_t threads)
{
    double most = 1 / p > 1 ? 1 / p : 1;
    if (1 / q > most) most = 1 / q;
    const double back = 1 / p / most, near = 1 / most, far = 1 / q / most;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t w = 0; w < num_walks; w++) {
        uint64_t state = (uint64_t)w * 0x2545f4914f6cdd1dull;
        int64_t v = start[w], t = -1;
        walks[w * (length + 1)] = v;
        for (int64_t step = 1; step <= length; step++) {
            const int64_t begin = indptr[v], degree = indptr[v + 1] - begin;
            int64_t x = v;
            while (degree) {
                const uint64_t random = draw(&state);
                const double chance = (double)(uint32_t)random / 4294967296.0;
                x = indices[begin + (int64_t)(((random >> 32) * (uint64_t)degree) >> 32)];
                if (t < 0 || degree == 1) break;
                if (x == t) {
                    if (chance < back) break;
                } else if (chance < (linked(indptr, indices, t, x) ? near : far)) break;
            }
            t = v;
            v = x;
            walks[w * (length + 1) + step] = v;
        }
    }
}
