/* A sweep, node after node. Each number of a state is a chain of its own, so threads share the numbers of a row, and
   none waits for another. The results depend neither on how they share nor on the blocks. */
typedef struct {
    void *const *in;                     /* what the programs read */
    real *const *states;                 /* [nodes, SIZE] each: at first those before the sweep */
    real *const *pending;                /* the same of nodes of one rank, until all of them are known */
    const real *const *answers;          /* SIZE numbers each: what a node becomes for which PyTorch was asked */
    real *received;                      /* SIZE numbers: what such a node has received */
    const index_t *indptr, *indices, *edge_ids;
    const int64_t *order, *spans;
    int64_t count;
} Args;

/* Some numbers of one node, with their sums in registers; whether PyTorch must be asked. */
static inline __attribute__((always_inline)) int update(
    const Args *restrict a, const int64_t row, const int64_t first, const int width, real *const *into, const int64_t at)
{
    BASES
    const int64_t begin = a->indptr[row], end = a->indptr[row + 1], count = end - begin;
    real sum[BLOCK];
    int doubt = 0;
    for (int c = 0; c < width; c++) sum[c] = IDENTITY;
    for (int64_t slot = begin; slot < end; slot++) {
        const int64_t neighbour = a->indices[slot], edge = a->edge_ids[slot];
        (void)neighbour; (void)edge;
        __asm__ volatile(""); /* GCC would take several edges at once, and gather their numbers one by one */
        EDGE
    }
    (void)count;
    ROW
    return doubt;
}

static int64_t walk(const Args *a, const int64_t first, const int64_t end, int64_t k, int answered)
{
    for (; k < a->count; k++) {
        const int64_t row = a->order[k];
        const int64_t start = a->spans ? a->spans[2 * k] : k, stop = a->spans ? a->spans[2 * k + 1] : k + 1;
        const int alone = stop - start == 1;
        real *const *into = alone ? a->states : a->pending;
        const int64_t at = (alone ? row : k - start) * SIZE;
        int doubt = 0;
        if (answered) {
            for (int s = 0; s < STATES; s++)
                memcpy(into[s] + at + first, a->answers[s] + first, (end - first) * sizeof(real));
            answered = 0;
        } else {
            for (int64_t c = first; c < end; c += BLOCK) {
                if (end - c >= BLOCK) doubt |= update(a, row, c, BLOCK, into, at);
                else doubt |= update(a, row, c, (int)(end - c), into, at);
            }
        }
        if (doubt) return k;
        if (alone || k + 1 < stop) continue;
        for (int64_t j = start; j < stop; j++)
            for (int s = 0; s < STATES; s++)
                memcpy(a->states[s] + a->order[j] * SIZE + first, a->pending[s] + (j - start) * SIZE + first,
                       (end - first) * sizeof(real));
    }
    return k;
}

/* `at` is where each part of a row begins, and in the end where it stopped: at a node for which PyTorch is asked. */
void kernel(const Args *a, int64_t *at, const uint8_t *answered, int64_t parts, int64_t width, int threads)
{
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
    for (int64_t part = 0; part < parts; part++) {
        const int64_t first = part * width, end = first + width < SIZE ? first + width : SIZE;
        at[part] = walk(a, first, end, at[part], answered[part]);
    }
}
