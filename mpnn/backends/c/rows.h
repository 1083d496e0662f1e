/* A task is a range of rows, {-1, first row, last row, 0}, or a part of a heavy row, {part, row, first slot,
   last slot}. The tasks depend on the graph alone, never on the number of threads, and so do the sums. */
void kernel(
    void *const *in, void *const *out, const index_t *indptr, const index_t *indices, const index_t *edge_ids,
    int64_t num_edges, const int64_t *tasks, int64_t num_tasks, const int64_t *heavy, int64_t num_heavy, int64_t heavy_degree,
    State *parts, real *all, uint32_t seed, int threads)
{
    const Args args = {in, out, indptr, indices, edge_ids, num_edges, seed}, *a = &args;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t task = 0; task < num_tasks; task++) {
        const int64_t *t = tasks + 4 * task;
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
    for (int64_t k = 0; k < num_heavy; k++) {
        const int64_t *h = heavy + 3 * k;
        for (int64_t part = h[1] + 1; part < h[2]; part++) combine(parts + h[1], parts + part);
        finish(a, parts + h[1], h[0], indptr[h[0] + 1] - indptr[h[0]]);
    }
    if (num_tasks == 0) FILL(all, ALL, 0);
    for (int64_t task = 1; task < num_tasks; task++)
        for (int i = 0; i < ALL; i++) all[i] += all[task * ALL + i];
    finish_all(a, all);
}

int64_t state_bytes(void) { return sizeof(State); }
