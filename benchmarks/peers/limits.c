/* What the processor can do at most: bytes read a second, and multiply-adds of 8 bit integers a second. */
#include <stddef.h>
#include <stdint.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* The sum of n 64 bit words, in eight chains. */
uint64_t read_words(const uint64_t *words, size_t n) {
    uint64_t sums[8] = {0};
    for (size_t i = 0; i + 64 <= n; i += 64)
        for (size_t j = 0; j < 64; j++) sums[j % 8] += words[i + j];
    return sums[0] + sums[1] + sums[2] + sums[3] + sums[4] + sums[5] + sums[6] + sums[7];
}

/* Runs `rounds` rounds of dot products of bytes in registers; returns the operations of one round, 0 if unknown. */
#if defined(__AVX512VNNI__)
typedef __m512i vector;
#define LANES 16
#define DOT(sum, a, b) _mm512_dpbusd_epi32(sum, a, b)
#define SET(x) _mm512_set1_epi32(x)
#elif defined(__AVXVNNI__)
typedef __m256i vector;
#define LANES 8
#define DOT(sum, a, b) _mm256_dpbusd_avx_epi32(sum, a, b)
#define SET(x) _mm256_set1_epi32(x)
#endif

#ifdef LANES
int64_t dot_bytes(int64_t rounds, int32_t seed) {
    vector sums[16], a = SET(seed), b = SET(seed + 1);
    for (int i = 0; i < 16; i++) sums[i] = SET(i);
    for (int64_t round = 0; round < rounds; round++) {
        for (int i = 0; i < 16; i++) sums[i] = DOT(sums[i], a, b);
        __asm__ volatile("" : "+x"(a), "+x"(b)); /* or the loop is folded */
    }
    volatile vector kept = SET(0);
    for (int i = 0; i < 16; i++) kept = DOT(kept, sums[i], b);
    return 16 * LANES * 4 * 2;
}
#else
int64_t dot_bytes(int64_t rounds, int32_t seed) {
    (void)rounds, (void)seed;
    return 0;
}
#endif
