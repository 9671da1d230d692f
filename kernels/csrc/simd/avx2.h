// AVX2: byte products by way of 16-bit sums of two. Those of a small byte and another cannot overflow; of any two they can,
// so that the unsigned byte's nibbles are multiplied apart.
#pragma once

#include "simd/ymm.h"

namespace llmrt::LLMRT_ISA {

constexpr int kTileTokens = 4;
constexpr int kWideTokens = kTileTokens, kWideBlocks = 1;  // many tokens have the same tiles
constexpr bool kWholeStrips = false;
constexpr bool kFewInstructions = false;
constexpr int kFloatTokens = 3;
constexpr int kMatmulRows = 3;
constexpr int kMatmulVectors = 2;
constexpr int kScoreRows = 4, kScoreVectors = 1;
constexpr int kMixRows = 4, kMixVectors = 1;

// acc + factor times the sums of four products, each of a byte below 128 and a signed one.
inline __m256i dot4_of(__m256i acc, __m256i small, __m256i signed_bytes, int16_t factor) {
  const __m256i twos = _mm256_maddubs_epi16(small, signed_bytes);
  return _mm256_add_epi32(acc, _mm256_madd_epi16(twos, _mm256_set1_epi16(factor)));
}

// acc[i] += sum over c of w[4i + c] x[c]: the bytes of w below 128, those of x signed and the same for every lane.
inline Int dot4_small(Int acc, Bytes w, const int8_t* x) {
  const __m256i all = _mm256_set1_epi32(four_bytes(x));
  return {dot4_of(acc.a, w.a, all, 1), dot4_of(acc.b, w.b, all, 1)};
}
// The same with the bytes of w unsigned.
inline Int dot4(Int acc, Bytes w, const int8_t* x) {
  const __m256i all = _mm256_set1_epi32(four_bytes(x));
  const Bytes low = low_nibbles(w), high = high_nibbles(w);
  return {dot4_of(dot4_of(acc.a, low.a, all, 1), high.a, all, 16),
          dot4_of(dot4_of(acc.b, low.b, all, 1), high.b, all, 16)};
}
// The same with the bytes of w signed and those of x unsigned.
inline Int dot4_signed(Int acc, Bytes w, const uint8_t* x) {
  const int32_t four = four_bytes(x);
  const __m256i low = _mm256_set1_epi32(four & 0x0f0f0f0f), high = _mm256_set1_epi32((four >> 4) & 0x0f0f0f0f);
  return {dot4_of(dot4_of(acc.a, low, w.a, 1), high, w.a, 16), dot4_of(dot4_of(acc.b, low, w.b, 1), high, w.b, 16)};
}

}  // namespace llmrt::LLMRT_ISA
