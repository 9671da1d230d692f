// AVX-VNNI, the dot product of unsigned and signed bytes on 256 bits, for processors without AVX-512. Without its VEX
// encoding the same source uses AVX-512VL's, so that it can be tested on processors that have only that.
#pragma once

#include "simd/ymm.h"

namespace llmrt::LLMRT_ISA {

constexpr int kTileTokens = 5;
constexpr int kWideTokens = kTileTokens, kWideBlocks = 1;  // many tokens have the same tiles
constexpr bool kWholeStrips = false;
constexpr bool kFewInstructions = false;
constexpr int kFloatTokens = 3;
constexpr int kMatmulRows = 3;
constexpr int kMatmulVectors = 2;
constexpr int kScoreRows = 3, kScoreVectors = 2;
constexpr int kMixRows = 3, kMixVectors = 2;

// Written as an instruction: of the intrinsic GCC 12 copies every sum before and after.
inline __m256i dot4_of(__m256i acc, __m256i unsigned_bytes, __m256i signed_bytes) {
#if defined(__AVXVNNI__)
  asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(unsigned_bytes), "x"(signed_bytes));
#else
  asm("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(unsigned_bytes), "v"(signed_bytes));
#endif
  return acc;
}

// acc[i] += sum over c of w[4i + c] x[c]: the bytes of w unsigned, those of x signed and the same for every lane.
inline Int dot4(Int acc, Bytes w, const int8_t* x) {
  const __m256i all = _mm256_set1_epi32(four_bytes(x));
  return {dot4_of(acc.a, w.a, all), dot4_of(acc.b, w.b, all)};
}
// The same with the bytes of w signed and those of x unsigned.
inline Int dot4_signed(Int acc, Bytes w, const uint8_t* x) {
  const __m256i all = _mm256_set1_epi32(four_bytes(x));
  return {dot4_of(acc.a, all, w.a), dot4_of(acc.b, all, w.b)};
}
// The same as dot4 with the bytes of w below 128.
inline Int dot4_small(Int acc, Bytes w, const int8_t* x) { return dot4(acc, w, x); }

}  // namespace llmrt::LLMRT_ISA
