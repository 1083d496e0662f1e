/* The work of an LSTM on a directed acyclic graph between its matrix products, for the nodes of one level; the loops
   over channels vectorise. Nodes are numbered level by level, edges by their destination; `first` is the first node with
   an incoming edge, and it and all nodes after it are inner nodes. The thread that owns a node gathers the node's sums
   over edges, forward and backward, so threads share no sum. */

#include <stdint.h>
#include <string.h>

typedef float real;

#define DOUBLE (sizeof(real) == 8)

/* e^x - 1 without a branch or a call: 2^n (e^r - 1) + (2^n - 1) with |r| <= ln 2 / 2; small x keep their digits. */
static inline real expm1_of(real x)
{
    static const double factorial[] = {1, 1, 2, 6, 24, 120, 720, 5040, 40320, 362880, 3628800, 39916800, 479001600, 6227020800};
    const real limit = DOUBLE ? 700 : 87, shift = DOUBLE ? (real)6755399441055744.0 : (real)12582912;
    const real y = x < -limit ? -limit : x > limit ? limit : x;
    const real n = (y * (real)1.4426950408889634 + shift) - shift;
    const real r = DOUBLE ? (y - n * (real)6.93147180369123816490e-01) - n * (real)1.90821492927058770002e-10
                          : (y - n * (real)0.693359375) + n * (real)2.12194440e-4;
    real p = 0;
    for (int k = DOUBLE ? 13 : 7; k > 0; k--) p = p * r + (real)(1 / factorial[k]);
    real scale;
    if (DOUBLE) {
        const uint64_t bits = (uint64_t)((int64_t)(n == n ? n : 0) + 1023) << 52;
        memcpy(&scale, &bits, sizeof(real));
    } else {
        const uint32_t bits = (uint32_t)((int32_t)(n == n ? n : 0) + 127) << 23;
        memcpy(&scale, &bits, sizeof(real));
    }
    return scale * (p * r) + (scale - 1);
}

static inline real sigmoid(real x) { return 1 / (2 + expm1_of(-x)); }

static inline real tanh_of(real x)
{
    const real e = expm1_of(-2 * x);
    return -e / (2 + e);
}

typedef struct {
    int64_t width, first;
    const int64_t *in_ptr, *src;            /* edges e of node n: in_ptr[n] <= e < in_ptr[n + 1] */
    const int64_t *out_ptr, *out_edge, *dst; /* those that leave n: out_edge[k], out_ptr[n] <= k < out_ptr[n + 1] */
    real *gates;                             /* i, g, o side by side; before `forward`, what they are functions of */
    real *forget;                            /* of an edge; before `forward`, U_f h_j */
    const real *x_f;                         /* from `first` on */
    real *h, *c, *tanh_c;
    real *h_sum, *h_src;                     /* of a node, Σ_j h_j; of an edge j -> i, h_j */
    /* Gradients: of h and c, the part from the edges included; of the gates before sigmoid and tanh. */
    const real *d_h;
    real *d_c, *d_gates, *d_forget, *d_x_f;
    const real *d_h_sum, *d_h_src;
} Tree;

/* The states of nodes begin <= n < end; and h_sum and h_src of the next level, end <= n < next. */
void forward(const Tree *t, int64_t begin, int64_t end, int64_t next, int64_t threads)
{
    const int64_t width = t->width;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static)
        for (int64_t n = begin; n < end; n++) {
            real *restrict i = t->gates + 3 * n * width, *restrict g = i + width, *restrict o = g + width;
            real *restrict c = t->c + n * width, *restrict tanh_c = t->tanh_c + n * width, *restrict h = t->h + n * width;
            for (int64_t k = 0; k < width; k++) {
                i[k] = sigmoid(i[k]);
                g[k] = tanh_of(g[k]);
                o[k] = sigmoid(o[k]);
                c[k] = i[k] * g[k];
            }
            for (int64_t e = t->in_ptr[n]; e < t->in_ptr[n + 1]; e++) {
                real *restrict f = t->forget + e * width;
                const real *restrict x_f = t->x_f + (n - t->first) * width, *restrict c_j = t->c + t->src[e] * width;
                for (int64_t k = 0; k < width; k++) {
                    f[k] = sigmoid(f[k] + x_f[k]);
                    c[k] += f[k] * c_j[k];
                }
            }
            for (int64_t k = 0; k < width; k++) {
                tanh_c[k] = tanh_of(c[k]);
                h[k] = o[k] * tanh_c[k];
            }
        }
#pragma omp for schedule(static)
        for (int64_t n = end; n < next; n++) {
            real *restrict h_sum = t->h_sum + n * width;
            for (int64_t k = 0; k < width; k++) h_sum[k] = 0;
            for (int64_t e = t->in_ptr[n]; e < t->in_ptr[n + 1]; e++) {
                const real *restrict h_j = t->h + t->src[e] * width;
                real *restrict from = t->h_src + e * width;
                for (int64_t k = 0; k < width; k++) {
                    from[k] = h_j[k];
                    h_sum[k] += h_j[k];
                }
            }
        }
    }
}

/* The gradients of the gates of nodes begin <= n < end, from those of their states. */
void backward(const Tree *t, int64_t begin, int64_t end, int64_t threads)
{
    const int64_t width = t->width;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t n = begin; n < end; n++) {
        const real *restrict i = t->gates + 3 * n * width, *restrict g = i + width, *restrict o = g + width;
        const real *restrict tanh_c = t->tanh_c + n * width;
        real *restrict d_i = t->d_gates + 3 * n * width, *restrict d_g = d_i + width;
        real *restrict d_h = d_g + width; /* the gradient of o at the end */
        real *restrict d_c = t->d_c + n * width;
        memcpy(d_h, t->d_h + n * width, width * sizeof(real));
        for (int64_t k = t->out_ptr[n]; k < t->out_ptr[n + 1]; k++) {
            const int64_t e = t->out_edge[k], receiver = t->dst[e];
            const real *restrict f = t->forget + e * width, *restrict d_receiver = t->d_c + receiver * width;
            const real *restrict d_h_sum = t->d_h_sum + receiver * width;
            const real *restrict d_from = t->d_h_src + e * width;
            for (int64_t l = 0; l < width; l++) {
                d_h[l] += d_h_sum[l] + d_from[l];
                d_c[l] += d_receiver[l] * f[l];
            }
        }
        for (int64_t k = 0; k < width; k++) {
            const real at_c = d_c[k] + d_h[k] * o[k] * (1 - tanh_c[k] * tanh_c[k]);
            d_c[k] = at_c;
            d_i[k] = at_c * g[k] * i[k] * (1 - i[k]);
            d_g[k] = at_c * i[k] * (1 - g[k] * g[k]);
            d_h[k] = d_h[k] * tanh_c[k] * o[k] * (1 - o[k]);
        }
        if (n < t->first) continue;
        real *restrict d_x_f = t->d_x_f + (n - t->first) * width;
        for (int64_t k = 0; k < width; k++) d_x_f[k] = 0;
        for (int64_t e = t->in_ptr[n]; e < t->in_ptr[n + 1]; e++) {
            const real *restrict f = t->forget + e * width, *restrict c_j = t->c + t->src[e] * width;
            real *restrict d_f = t->d_forget + e * width;
            for (int64_t k = 0; k < width; k++) {
                d_f[k] = d_c[k] * c_j[k] * f[k] * (1 - f[k]);
                d_x_f[k] += d_f[k];
            }
        }
    }
}
