/* Pairs of neighbours (Dhillon et al., 2007): nodes are visited in the given order, and one that is free is paired with
   a free neighbour, the one of the largest weight, or without weights any. A cluster is named by its smaller node. */
#include <stdint.h>

typedef int32_t index_t; /* int64_t where the caller's are */

void match(
    const index_t *indptr, const index_t *indices, const double *weights, const int64_t *order, int64_t num_nodes,
    int64_t *cluster)
{
    for (int64_t i = 0; i < num_nodes; i++) cluster[i] = -1;
    for (int64_t i = 0; i < num_nodes; i++) {
        const int64_t node = order[i];
        if (cluster[node] >= 0) continue;
        int64_t partner = node;
        double most = 0;
        for (int64_t slot = indptr[node]; slot < indptr[node + 1]; slot++) {
            const int64_t other = indices[slot];
            if (other == node || cluster[other] >= 0) continue;
            if (!weights) {
                partner = other;
                break;
            }
            if (partner == node || weights[slot] >= most) {
                partner = other;
                most = weights[slot];
            }
        }
        cluster[node] = cluster[partner] = node < partner ? node : partner;
    }
}
