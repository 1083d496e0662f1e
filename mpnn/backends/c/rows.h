/* A task is a range of rows, {-1, first row, last row, 0}, or a part of a heavy row, {part, row, first slot,
   last slot}. The tasks depend on the graph alone, never on the number of threads, and so do the sums. */
typedef struct {
    const index_t *indptr, *indices, *edge_ids;
    const int64_t *tasks, *heavy;
    int64_t num_edges, num_tasks, num_heavy, heavy_degree;
} Rows;

void kernel(
    void *const *in, void *const *out, const Rows *rows, State *parts, real *all, uint32_t seed, int threads)
{
    const Args args = {in, out, rows->indptr, rows->indices, rows->edge_ids, rows->num_edges, seed}, *a = &args;
    const index_t *indptr = rows->indptr;
    const int64_t num_tasks = rows->num_tasks, heavy_degree = rows->heavy_degree;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t task = 0; task < num_tasks; task++) {
        const int64_t *t = rows->tasks + 4 * task;
        real *mine = all + task * ALL;
        FILL(mine, ALL, 0);
        if (t[0] >= 0) {
            start(parts + t[0]);
            edges(a, parts + t[0], mine, t[1], t[2], t[3]);
            continue;
        }
        for (int64_t row = t[1]; row < t[2]; row++) {
            const int64_t begin = indptr[row], end = indptr[row + 1];
            if (end - begin > heavy_degree) continue;
            State state;
            start(&state);
            edges(a, &state, mine, row, begin, end);
            finish(a, &state, row, end - begin);
        }
    }
    /* {row, first part, last part}: the parts of a heavy row, in their order */
    for (int64_t k = 0; k < rows->num_heavy; k++) {
        const int64_t *h = rows->heavy + 3 * k;
        for (int64_t part = h[1] + 1; part < h[2]; part++) combine(parts + h[1], parts + part);
        finish(a, parts + h[1], h[0], indptr[h[0] + 1] - indptr[h[0]]);
    }
    if (num_tasks == 0) FILL(all, ALL, 0);
    for (int64_t task = 1; task < num_tasks; task++)
        for (int i = 0; i < ALL; i++) all[i] += all[task * ALL + i];
    finish_all(a, all);
}

int64_t state_bytes(void) { return sizeof(State); }
