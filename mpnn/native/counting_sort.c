/* Sort edges by row, stably, in two passes. Each thread owns a range of edges and, in every row, the places after
   those of the previous threads, so the result does not depend on the number of threads. */
#include <stdint.h>
#include <stdlib.h>

typedef int32_t index_t; /* int64_t where the numbers need it */

int64_t counting_sort(
    const int64_t *rows, const int64_t *columns, int64_t num_edges, int64_t num_rows, index_t *indptr,
    index_t *indices, index_t *edge_ids, int64_t threads)
{
    index_t *places = calloc((size_t)threads * num_rows + 1, sizeof(index_t));
    if (!places) return 1;
    const int64_t share = (num_edges + threads - 1) / threads;
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t t = 0; t < threads; t++) {
        const int64_t last = (t + 1) * share < num_edges ? (t + 1) * share : num_edges;
        index_t *mine = places + t * num_rows;
        for (int64_t e = t * share; e < last; e++) mine[rows[e]]++;
    }
    index_t next = 0;
    for (int64_t row = 0; row < num_rows; row++) {
        indptr[row] = next;
        for (int64_t t = 0; t < threads; t++) {
            const index_t count = places[t * num_rows + row];
            places[t * num_rows + row] = next;
            next += count;
        }
    }
    indptr[num_rows] = next;
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t t = 0; t < threads; t++) {
        const int64_t last = (t + 1) * share < num_edges ? (t + 1) * share : num_edges;
        index_t *mine = places + t * num_rows;
        for (int64_t e = t * share; e < last; e++) {
            const index_t slot = mine[rows[e]]++;
            indices[slot] = (index_t)columns[e];
            edge_ids[slot] = (index_t)e;
        }
    }
    free(places);
    return 0;
}
