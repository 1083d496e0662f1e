/* A sum over all bytes of a tensor: it changes if an entry is changed, moved or exchanged.

   Each block of words is hashed by NH (Black et al., 1999), sum of (low + key) * (high + key'), whose keys are
   fixed random numbers; the hashes of blocks are mixed with their places and added, in any order. */

#include <stdint.h>
#include <string.h>

#define BLOCK 256
#define GOLDEN 0x9E3779B97F4A7C15ull

static uint64_t keys[BLOCK];

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

__attribute__((constructor)) static void make_keys(void)
{
    for (uint64_t k = 0; k < BLOCK; k++)
        keys[k] = mix((k + 1) * GOLDEN);
}

static uint64_t hash(const uint64_t *words)
{
    uint64_t total = 0;
    for (int k = 0; k < BLOCK; k++) {
        uint64_t word = words[k], key = keys[k];
        total += (uint64_t)(uint32_t)(word + key) * (uint32_t)((word >> 32) + (key >> 32));
    }
    return total;
}

uint64_t checksum(const unsigned char *bytes, int64_t count, int64_t threads)
{
    const int64_t size = BLOCK * sizeof(uint64_t), whole = count / size, left = count - whole * size;
    uint64_t total = mix((uint64_t)count);
#pragma omp parallel for reduction(+ : total) num_threads(threads) if (threads > 1)
    for (int64_t block = 0; block < whole; block++)
        total += mix(hash((const uint64_t *)(bytes + block * size)) + (uint64_t)(block + 1) * GOLDEN);
    if (left) {
        uint64_t last[BLOCK] = {0};
        memcpy(last, bytes + whole * size, (size_t)left);
        total += mix(hash(last) + (uint64_t)(whole + 1) * GOLDEN);
    }
    return total;
}
