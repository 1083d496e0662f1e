/* Random walks. The next node waits for two reads from far memory, the row's place and one of its entries, so a
   thread keeps LANES walks under way: while one waits, the others go on, and what each will read is prefetched.
   Random numbers are a function of (seed, walk, number of draws so far), so any thread may compute a walk. */
#include <stdint.h>
#include <stdlib.h>

typedef int32_t index_t; /* int64_t where the numbers need it */

/* An edge of a weighted row (Walker, 1977): take `own` where a fraction of 2^32 is below the threshold, else the
   other. */
typedef struct { index_t threshold, own, other; } alias_t;

#define LANES 128
#define GOLDEN 0x9e3779b97f4a7c15ull

static inline uint64_t mix(uint64_t z) /* SplitMix64 (Steele et al., 2014) */
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static inline uint64_t key_of(uint64_t seed, int64_t walk) { return mix(seed + (uint64_t)(walk + 1) * GOLDEN); }

/* Each step: probability of an edge proportional to its weight. */
void walk_first_order(
    const index_t *indptr, const index_t *indices, const alias_t *aliases, const int64_t *start, int64_t num_walks,
    int64_t length, uint64_t seed, int64_t *walks, int64_t threads)
{
    const int64_t groups = (num_walks + LANES - 1) / LANES;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (threads > 1)
    for (int64_t group = 0; group < groups; group++) {
        const int64_t first = group * LANES;
        const int lanes = num_walks - first < LANES ? (int)(num_walks - first) : LANES;
        int64_t node[LANES], slot[LANES];
        uint32_t fraction[LANES];
        uint64_t key[LANES];
        for (int k = 0; k < lanes; k++) {
            node[k] = start[first + k];
            key[k] = key_of(seed, first + k);
            walks[(first + k) * (length + 1)] = node[k];
            __builtin_prefetch(indptr + node[k]);
        }
        for (int64_t step = 1; step <= length; step++) {
            for (int k = 0; k < lanes; k++) {
                const int64_t begin = indptr[node[k]];
                const uint64_t degree = (uint64_t)(indptr[node[k] + 1] - begin);
                const uint64_t place = (mix(key[k] + (uint64_t)step * GOLDEN) >> 32) * degree;
                const int64_t at = begin + (int64_t)(place >> 32); /* of an empty row, where it would begin */
                slot[k] = degree ? at : -1;
                fraction[k] = (uint32_t)place;
                const int64_t ahead = degree ? slot[k] : 0; /* of a graph without edges there is no address */
                if (aliases) __builtin_prefetch(aliases + ahead);
                else __builtin_prefetch(indices + ahead);
            }
            for (int k = 0; k < lanes; k++) {
                if (slot[k] >= 0) {
                    const int64_t at = slot[k];
                    if (!aliases) node[k] = indices[at];
                    else node[k] = fraction[k] < (uint32_t)aliases[at].threshold ? aliases[at].own : aliases[at].other;
                }
                __builtin_prefetch(indptr + node[k]);
                walks[(first + k) * (length + 1) + step] = node[k];
            }
        }
    }
}

/* A hash table of each row's neighbours, so that one read tells whether there is an edge t -> x. A row of d entries has
   2d places from 2 * begin on. A place is empty (-1) or holds an entry: at its hash, or at the next free place. */
static inline int64_t first_place(int64_t node, int64_t degree)
{
    return (int64_t)(((uint64_t)((uint32_t)node * 0x9e3779b1u) * (uint64_t)(2 * degree)) >> 32);
}

void make_links(const index_t *indptr, const index_t *indices, int64_t num_rows, index_t *links, int64_t threads)
{
#pragma omp parallel for schedule(dynamic, 256) num_threads(threads) if (threads > 1)
    for (int64_t row = 0; row < num_rows; row++) {
        const int64_t begin = indptr[row], degree = indptr[row + 1] - begin;
        index_t *places = links + 2 * begin;
        for (int64_t k = 0; k < 2 * degree; k++) places[k] = -1;
        for (int64_t k = 0; k < degree; k++) {
            const index_t node = indices[begin + k];
            int64_t at = first_place(node, degree);
            while (places[at] >= 0 && places[at] != node) at = at + 1 < 2 * degree ? at + 1 : 0;
            places[at] = node;
        }
    }
}

/* The state of a second-order walk. */
typedef struct {
    uint64_t key, draws;
    int64_t walk, step, node, before;    /* `before` < 0: none */
    int64_t begin, degree;               /* the row of `node` */
    int64_t before_begin, before_degree; /* the row of `before` */
    int64_t slot, candidate, place;
    uint32_t fraction, chance;
} walker_t;

/* node2vec (Grover and Leskovec, 2016): an edge v -> x of a walk that came from t is taken with a probability
   proportional to its weight times 1/p if x is t, 1 if t -> x is an edge too, else 1/q. By rejection (Yang et al.,
   2019): x is drawn by weight alone and kept with a probability proportional to that factor: `back`, `near` and `far`
   are these probabilities times 2^32. If 1/p is larger than the other factors, its excess over them is drawn separately:
   `extra` is the excess in numbers of edges, and this share of the draws returns to t at once.

   Each pass over the walks does one operation for all walks that need it, and lists the walks for the next pass without
   a branch that the processor would have to predict. */
void walk_second_order(
    const index_t *indptr, const index_t *indices, const alias_t *aliases, const int64_t *start, int64_t num_walks,
    int64_t length, uint64_t seed, const index_t *links, uint64_t back, uint64_t near, uint64_t far, double extra,
    int64_t *walks, int64_t threads)
{
    const uint64_t surely = near < far ? near : far, possibly = near < far ? far : near;
    const int64_t share = 16 * LANES, shares = (num_walks + share - 1) / share;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (threads > 1)
    for (int64_t part = 0; part < shares; part++) {
        int64_t next = part * share;
        const int64_t last = next + share < num_walks ? next + share : num_walks;
        walker_t lane[LANES];
        int moved[LANES], drawing[LANES], drawn[LANES], asking[LANES], accepted[LANES];
        int to_move = 0, to_draw = 0;
        for (int k = 0; k < LANES; k++) {
            lane[k].step = length + 1; /* finished: the lane takes the next walk */
            moved[to_move++] = k;
        }
        while (to_move + to_draw > 0) {
            int rows = 0;
            for (int i = 0; i < to_move; i++) { /* a finished walk makes room for another */
                walker_t *one = lane + moved[i];
                if (one->step > length) {
                    if (next >= last) continue;
                    *one = (walker_t){.walk = next, .key = key_of(seed, next), .node = start[next], .before = -1};
                    walks[next * (length + 1)] = one->node;
                    one->step = 1;
                    __builtin_prefetch(indptr + one->node);
                    next++;
                }
                moved[rows++] = moved[i];
            }
            to_move = 0;
            for (int i = 0; i < rows; i++) {
                walker_t *one = lane + moved[i];
                one->begin = indptr[one->node];
                one->degree = indptr[one->node + 1] - one->begin;
                if (one->degree == 0) /* where no edge leads on, the walk stays */
                    while (one->step <= length) walks[one->walk * (length + 1) + one->step++] = one->node;
                if (one->step > length) moved[to_move++] = moved[i];
                else drawing[to_draw++] = moved[i];
            }
            int candidates = 0, kept = 0, asked = 0;
            for (int i = 0; i < to_draw; i++) {
                walker_t *one = lane + drawing[i];
                int returns = 0;
                if (extra > 0 && one->before >= 0) {
                    const uint64_t draw = mix(one->key + ++one->draws * GOLDEN);
                    returns = draw >> 32 < (uint64_t)(extra / ((double)one->degree + extra) * 4294967296.0);
                    one->candidate = one->before;
                }
                const uint64_t draw = mix(one->key + (one->draws + 1) * GOLDEN);
                const uint64_t place = (draw >> 32) * (uint64_t)one->degree;
                one->draws += !returns;
                one->slot = one->begin + (int64_t)(place >> 32);
                one->fraction = (uint32_t)place;
                one->chance = (uint32_t)draw;
                if (aliases) __builtin_prefetch(aliases + one->slot);
                else __builtin_prefetch(indices + one->slot);
                accepted[kept] = drawn[candidates] = drawing[i];
                kept += returns;
                candidates += !returns;
            }
            to_draw = 0;
            for (int i = 0; i < candidates; i++) {
                walker_t *one = lane + drawn[i];
                if (!aliases) one->candidate = indices[one->slot];
                else {
                    const alias_t *at = aliases + one->slot;
                    one->candidate = one->fraction < (uint32_t)at->threshold ? at->own : at->other;
                }
                const int free = one->before < 0 | one->degree == 1, returns = one->candidate == one->before;
                const int accept = free | (one->chance < (returns ? back : surely));
                const int ask = !accept & !returns & (one->chance < possibly);
                one->place = first_place(one->candidate, one->before_degree);
                if (ask) __builtin_prefetch(links + 2 * one->before_begin + one->place);
                accepted[kept] = asking[asked] = drawing[to_draw] = drawn[i];
                kept += accept;
                asked += ask;
                to_draw += !accept & !ask;
            }
            for (int i = 0; i < asked; i++) {
                walker_t *one = lane + asking[i];
                const index_t *places = links + 2 * one->before_begin;
                while (places[one->place] >= 0 && places[one->place] != one->candidate)
                    one->place = one->place + 1 < 2 * one->before_degree ? one->place + 1 : 0;
                const int accept = one->chance < (places[one->place] < 0 ? far : near);
                accepted[kept] = drawing[to_draw] = asking[i];
                kept += accept;
                to_draw += !accept;
            }
            for (int i = 0; i < kept; i++) {
                walker_t *one = lane + accepted[i];
                walks[one->walk * (length + 1) + one->step++] = one->candidate;
                one->before = one->node;
                one->before_begin = one->begin;
                one->before_degree = one->degree;
                one->node = one->candidate;
                __builtin_prefetch(indptr + one->node);
                moved[to_move++] = accepted[i];
            }
        }
    }
}

/* Alias tables of weighted rows, by Vose's method (1991). Every row's sum must be positive. 1 if malloc fails. */
int64_t make_aliases(
    const index_t *indptr, const index_t *indices, const double *weights, int64_t num_rows, alias_t *aliases)
{
    int64_t widest = 0;
    for (int64_t row = 0; row < num_rows; row++)
        if (indptr[row + 1] - indptr[row] > widest) widest = indptr[row + 1] - indptr[row];
    double *share = malloc((size_t)widest * sizeof(double) + 1);
    int64_t *stack = malloc((size_t)widest * sizeof(int64_t) + 1); /* the small from below, the large from above */
    if (!share || !stack) {
        free(share);
        free(stack);
        return 1;
    }
    for (int64_t row = 0; row < num_rows; row++) {
        const int64_t begin = indptr[row], degree = indptr[row + 1] - begin;
        int64_t small = 0, large = degree;
        double sum = 0;
        for (int64_t k = 0; k < degree; k++) sum += weights[begin + k];
        for (int64_t k = 0; k < degree; k++) {
            share[k] = weights[begin + k] / sum * (double)degree;
            if (share[k] < 1) stack[small++] = k;
            else stack[--large] = k;
            aliases[begin + k] = (alias_t){0, indices[begin + k], indices[begin + k]};
        }
        while (small > 0 && large < degree) {
            const int64_t less = stack[--small], more = stack[large];
            aliases[begin + less].threshold = (index_t)(uint32_t)(share[less] * 4294967296.0);
            aliases[begin + less].other = indices[begin + more];
            share[more] -= 1 - share[less];
            if (share[more] < 1) {
                large++;
                stack[small++] = more;
            }
        }
    }
    free(share);
    free(stack);
    return 0;
}
