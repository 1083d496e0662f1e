/* Sampled neighbourhoods: which edges of each row are drawn, and the numbers of the nodes that they lead to. Random
   numbers are a function of (seed, place of the row, number of the draw), so any thread may draw any row. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

typedef int32_t index_t; /* int64_t where the caller's are */

#define GOLDEN 0x9e3779b97f4a7c15ull
#define AHEAD 16 /* rows or entries that are on their way from memory */
#define FEW 32   /* draws among which a repeat is looked for one by one */

static inline uint64_t mix(uint64_t z) /* SplitMix64 (Steele et al., 2014) */
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static inline uint64_t draw_of(uint64_t key, int64_t number) { return mix(key + (uint64_t)(number + 1) * GOLDEN); }

static inline int64_t below(uint64_t draw, int64_t bound)
{
    return (int64_t)(((unsigned __int128)draw * (uint64_t)bound) >> 64);
}

static inline double fraction(uint64_t draw) { return ((double)(draw >> 11) + 0.5) * 0x1p-53; }

/* The first entry of a row, begin .. end - 1, that is later than `limit`. */
static inline int64_t first_later(
    const index_t *indices, const int64_t *time, int64_t of_edges, int64_t limit, int64_t begin, int64_t end)
{
    while (begin < end) {
        const int64_t middle = begin + (end - begin) / 2;
        if (limit < time[of_edges ? middle : indices[middle]]) end = middle;
        else begin = middle + 1;
    }
    return begin;
}

/* For each node the entries that may be drawn, `begin` and `width`, and in `offsets` how many are drawn before it.
   With `time` only those that are not later than the node's `limit`; with `last` the latest of these.
   Returns 0, or 1 + a node that is out of range, or -1 - a node whose entries are not in the order of time. */
int64_t plan_rows(
    const index_t *indptr, const index_t *indices, int64_t num_rows, int64_t num_entries, const int64_t *nodes,
    int64_t num_nodes, int64_t count, int64_t replace, const int64_t *time, int64_t of_edges, const int64_t *limit,
    int64_t last, int64_t *begin, int64_t *width, int64_t *offsets)
{
    int64_t total = 0;
    for (int64_t i = 0; i < num_nodes; i++) {
        if (i + AHEAD < num_nodes) {
            const int64_t soon = nodes[i + AHEAD];
            if (soon >= 0 && soon < num_rows) __builtin_prefetch(indptr + soon);
        }
        const int64_t node = nodes[i];
        offsets[i] = total;
        if (node < 0 || node >= num_rows) return 1 + i;
        int64_t from = indptr[node], to = indptr[node + 1];
        if (from < 0 || to < from || to > num_entries) return 1 + i;
        if (time && to > from && count) {
            to = first_later(indices, time, of_edges, limit[i], from, to);
            if (last && count >= 0 && to - count > from) from = to - count;
            if (to - from > 1) {
                const int64_t a = of_edges ? from : indices[from], b = of_edges ? to - 1 : indices[to - 1];
                if (time[a] > time[b]) return -1 - i;
            }
        }
        const int64_t size = to - from;
        begin[i] = from;
        width[i] = size;
        total += !size ? 0 : count < 0 ? size : replace ? count : count < size ? count : size;
    }
    offsets[num_nodes] = total;
    return 0;
}

/* `number` of `width` places without repeats, each set alike (Floyd; Bentley, 1987). */
static int choose(int64_t begin, int64_t width, int64_t number, uint64_t key, int64_t *slots)
{
    int64_t *places = NULL, room = 0;
    if (number > FEW) {
        for (room = 4 * FEW; room < 2 * number; room *= 2) {}
        places = malloc(room * sizeof *places);
        if (!places) return 1;
        for (int64_t k = 0; k < room; k++) places[k] = -1;
    }
    for (int64_t k = 0; k < number; k++) {
        const int64_t bound = width - number + k + 1;
        int64_t chosen = below(draw_of(key, k), bound);
        for (int again = 0; again < 2; again++) {
            int repeated = 0;
            if (!places) {
                for (int64_t j = 0; j < k; j++) repeated |= slots[j] == begin + chosen;
            } else {
                int64_t at = (int64_t)(((uint64_t)chosen * GOLDEN) >> 32) & (room - 1);
                while (places[at] >= 0 && places[at] != chosen) at = (at + 1) & (room - 1);
                repeated = places[at] == chosen;
                places[at] = chosen;
            }
            if (!repeated) break;
            chosen = bound - 1; /* which was out of reach of the draws before */
        }
        slots[k] = begin + chosen;
    }
    free(places);
    return 0;
}

/* `number` of the places without repeats, by weight: those with the largest log(u) / w (Efraimidis and Spirakis,
   2006), which a heap keeps with the smallest of them at its root. */
static int choose_weighted(
    const double *weights, int64_t begin, int64_t width, int64_t number, uint64_t key, int64_t *slots)
{
    double *heap = malloc(number * sizeof *heap);
    if (!heap) return 1;
    for (int64_t k = 0; k < width; k++) {
        const double weight = weights[begin + k];
        const double priority = weight > 0 ? log(fraction(draw_of(key, k))) / weight : -INFINITY;
        int64_t at;
        if (k < number) {
            for (at = k; at > 0 && heap[(at - 1) / 2] > priority; at = (at - 1) / 2) {
                heap[at] = heap[(at - 1) / 2];
                slots[at] = slots[(at - 1) / 2];
            }
        } else {
            if (priority <= heap[0]) continue;
            for (at = 0; 2 * at + 1 < number;) {
                int64_t child = 2 * at + 1;
                if (child + 1 < number && heap[child + 1] < heap[child]) child++;
                if (heap[child] >= priority) break;
                heap[at] = heap[child];
                slots[at] = slots[child];
                at = child;
            }
        }
        heap[at] = priority;
        slots[at] = begin + k;
    }
    free(heap);
    return 0;
}

/* `number` of the places with repeats, by weight. */
static int choose_again(
    const double *weights, int64_t begin, int64_t width, int64_t number, uint64_t key, int64_t *slots)
{
    double *sums = malloc(width * sizeof *sums), total = 0;
    if (!sums) return 1;
    for (int64_t k = 0; k < width; k++) sums[k] = total += weights[begin + k];
    for (int64_t k = 0; k < number; k++) {
        const double target = fraction(draw_of(key, k)) * total;
        int64_t low = 0, high = width - 1;
        while (low < high) {
            const int64_t middle = (low + high) / 2;
            if (sums[middle] > target) high = middle;
            else low = middle + 1;
        }
        slots[k] = begin + low;
    }
    free(sums);
    return 0;
}

/* The entries that are drawn of each row, with the row's place and the node at the other end; of example b, node v is
   b * stride + v. Returns 0, 1 if malloc fails, or 2 + the place of a row whose weights are no weights. */
int64_t draw_entries(
    const index_t *indices, const int64_t *begin, const int64_t *width, const int64_t *offsets, int64_t num_nodes,
    int64_t count, int64_t replace, const double *weights, uint64_t seed, const int64_t *example, int64_t stride,
    int64_t first, int64_t *slots, int64_t *rows, int64_t *ends, int64_t threads)
{
    int64_t failed = 0;
#pragma omp parallel for schedule(static) num_threads(threads) reduction(max : failed) if (threads > 1)
    for (int64_t i = 0; i < num_nodes; i++) {
        if (i + AHEAD < num_nodes) __builtin_prefetch(indices + begin[i + AHEAD]);
        const int64_t number = offsets[i + 1] - offsets[i];
        int64_t *mine = slots + offsets[i];
        if (!number) continue;
        const uint64_t key = mix(seed + (uint64_t)(i + 1) * GOLDEN);
        if (count < 0 || (!replace && number == width[i])) {
            for (int64_t k = 0; k < number; k++) mine[k] = begin[i] + k;
        } else if (weights) {
            double total = 0, least = 0;
            for (int64_t k = 0; k < width[i]; k++) {
                const double weight = weights[begin[i] + k];
                total += weight;
                least = weight < least ? weight : least;
            }
            int bad = !(total > 0 && total < INFINITY && least >= 0);
            if (!bad) {
                if (replace) failed |= choose_again(weights, begin[i], width[i], number, key, mine);
                else failed |= choose_weighted(weights, begin[i], width[i], number, key, mine);
            } else {
                failed = failed > 2 + i ? failed : 2 + i;
                for (int64_t k = 0; k < number; k++) mine[k] = begin[i];
            }
        } else if (replace) {
            for (int64_t k = 0; k < number; k++) mine[k] = begin[i] + below(draw_of(key, k), width[i]);
        } else {
            failed |= choose(begin[i], width[i], number, key, mine);
        }
        if (failed == 1) continue;
        for (int64_t k = 0; k < number; k++) {
            rows[offsets[i] + k] = first + i;
            ends[offsets[i] + k] = (example ? example[i] * stride : 0) + (int64_t)indices[mine[k]];
        }
    }
    return failed;
}

/* A hash table of `room` places, a power of two: (key, number), with key -1 where it is empty. */
typedef struct { int64_t key, number; } place_t;

static inline place_t *find(place_t *table, int64_t room, int shift, int64_t key)
{
    int64_t at = (int64_t)(((uint64_t)key * GOLDEN) >> shift);
    while (table[at].key >= 0 && table[at].key != key) at = (at + 1) & (room - 1);
    return table + at;
}

static inline int shift_of(int64_t room) { return 64 - __builtin_ctzll((uint64_t)room); }

/* Number the keys that are new in the order in which they come, from `next` on, and write them to `fresh`. Returns how
   many are. `every` numbers also those that are repeated, as the nodes are that are asked for. */
int64_t number_keys(
    place_t *table, int64_t room, const int64_t *keys, int64_t num_keys, int64_t next, int64_t every, int64_t *numbers,
    int64_t *fresh)
{
    const int shift = shift_of(room);
    int64_t found = 0;
    for (int64_t k = 0; k < num_keys; k++) {
        if (k + AHEAD < num_keys) __builtin_prefetch(table + (((uint64_t)keys[k + AHEAD] * GOLDEN) >> shift));
        place_t *at = find(table, room, shift, keys[k]);
        if (at->key < 0) {
            *at = (place_t){keys[k], next + (every ? k : found)};
            if (fresh) fresh[found] = keys[k];
            found++;
        }
        if (numbers) numbers[k] = at->number;
    }
    return found;
}

/* The numbers of keys, -1 of one that has none. */
void numbers_of(
    place_t *table, int64_t room, const int64_t *keys, int64_t num_keys, int64_t *numbers, int64_t threads)
{
    const int shift = shift_of(room);
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (int64_t k = 0; k < num_keys; k++) {
        if (k + AHEAD < num_keys) __builtin_prefetch(table + (((uint64_t)keys[k + AHEAD] * GOLDEN) >> shift));
        const place_t *at = find(table, room, shift, keys[k]);
        numbers[k] = at->key < 0 ? -1 : at->number;
    }
}

/* The same table with more room. */
void move_table(const place_t *table, int64_t room, place_t *larger, int64_t larger_room)
{
    const int shift = shift_of(larger_room);
    for (int64_t k = 0; k < room; k++)
        if (table[k].key >= 0) *find(larger, larger_room, shift, table[k].key) = table[k];
}
