/* aᵀ b for tall matrices a [n, p] and b [n, q]: the gradient of a linear map's weight.

   A task is a range of rows with its own sum; the sums are added in order afterwards, so the number of threads
   changes no bit. Within a task a tile of TALL columns of a and WIDE vectors of b is summed in registers, over as
   many rows at a time as the first levels of cache hold. */
#include <stdint.h>

typedef float real;

#ifdef __AVX512F__
enum { BYTES = 64, TALL = 6 };
#else
enum { BYTES = 32, TALL = 3 };
#endif
enum { LANES = BYTES / sizeof(real), WIDE = 4, ROWS_AT_ONCE = 256 };
typedef real vector __attribute__((vector_size(BYTES), aligned(sizeof(real)), may_alias));

static inline __attribute__((always_inline)) void tile(
    const real *a, const real *b, int64_t rows, int64_t p, int64_t q, real *out, const int tall, const int wide)
{
    vector sum[6][WIDE];
    for (int i = 0; i < tall; i++)
        for (int j = 0; j < wide; j++) sum[i][j] = *(vector *)(out + i * q + j * LANES);
    for (int64_t k = 0; k < rows; k++) {
        vector row[WIDE];
        for (int j = 0; j < wide; j++) row[j] = *(const vector *)(b + k * q + j * LANES);
        for (int i = 0; i < tall; i++)
            for (int j = 0; j < wide; j++) sum[i][j] += a[k * p + i] * row[j];
    }
    for (int i = 0; i < tall; i++)
        for (int j = 0; j < wide; j++) *(vector *)(out + i * q + j * LANES) = sum[i][j];
}

static inline __attribute__((always_inline)) void band(
    const real *a, const real *b, int64_t rows, int64_t p, int64_t q, real *out, const int wide)
{
    int64_t i = 0;
    for (; i + TALL <= p; i += TALL) tile(a + i, b, rows, p, q, out + i * q, TALL, wide);
    switch (p - i) { /* a compile-time constant in each case, so that the sums stay in registers */
    case 5: tile(a + i, b, rows, p, q, out + i * q, 5, wide); break;
    case 4: tile(a + i, b, rows, p, q, out + i * q, 4, wide); break;
    case 3: tile(a + i, b, rows, p, q, out + i * q, 3, wide); break;
    case 2: tile(a + i, b, rows, p, q, out + i * q, 2, wide); break;
    case 1: tile(a + i, b, rows, p, q, out + i * q, 1, wide); break;
    }
}

/* The last columns, in a vector padded with zeros. */
static void rest(const real *a, const real *b, int64_t rows, int64_t p, int64_t q, real *out, const int columns)
{
    real padded[ROWS_AT_ONCE * LANES], sums[TALL * LANES];
    for (int64_t k = 0; k < rows; k++)
        for (int j = 0; j < LANES; j++) padded[k * LANES + j] = j < columns ? b[k * q + j] : 0;
    for (int64_t i = 0; i < p; i += TALL) {
        const int tall = p - i < TALL ? (int)(p - i) : TALL;
        for (int r = 0; r < tall; r++)
            for (int j = 0; j < LANES; j++) sums[r * LANES + j] = j < columns ? out[(i + r) * q + j] : 0;
        if (tall == TALL)
            tile(a + i, padded, rows, p, LANES, sums, TALL, 1);
        else
            for (int r = 0; r < tall; r++) tile(a + i + r, padded, rows, p, LANES, sums + r * LANES, 1, 1);
        for (int r = 0; r < tall; r++)
            for (int j = 0; j < columns; j++) out[(i + r) * q + j] = sums[r * LANES + j];
    }
}

void gram(const real *a, const real *b, real *sums, int64_t n, int64_t p, int64_t q, int64_t task_rows, int threads)
{
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t start = 0; start < n; start += task_rows) {
        real *out = sums + start / task_rows * p * q;
        for (int64_t i = 0; i < p * q; i++) out[i] = 0;
        const int64_t end = start + task_rows < n ? start + task_rows : n;
        for (int64_t k = start; k < end; k += ROWS_AT_ONCE) {
            const int64_t rows = end - k < ROWS_AT_ONCE ? end - k : ROWS_AT_ONCE;
            const real *left = a + k * p, *right = b + k * q;
            int64_t j = 0;
            for (; j + WIDE * LANES <= q; j += WIDE * LANES) band(left, right + j, rows, p, q, out + j, WIDE);
            for (; j + LANES <= q; j += LANES) band(left, right + j, rows, p, q, out + j, 1);
            if (j < q) rest(left, right + j, rows, p, q, out + j, (int)(q - j));
        }
    }
}
