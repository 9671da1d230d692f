// Sixteen lanes as one AVX-512 register; VNNI's dot product of unsigned and signed bytes.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace llmrt::LLMRT_ISA {

using Float = __m512;   // 16 floats
using Int = __m512i;    // 16 int32
using Bytes = __m512i;  // 64 bytes

// Tokens that one tile of the matrix product keeps in registers.
constexpr int kTileTokens = 8;
// The same where there are many: tokens, and blocks of 16 rows.
constexpr int kWideTokens = 6, kWideBlocks = 2;
// Whether a tile of GGUF's types reads a strip a turn rather than 32 columns, for which it takes more registers.
constexpr bool kWholeStrips = true;
// Whether a line of codes takes so few instructions that weights are asked for sparsely: see Ask.
constexpr bool kFewInstructions = true;
// Those whose sums are floats, two of them a token.
constexpr int kFloatTokens = 8;
// The same for the products of attention: rows, and vectors of 16 columns.
constexpr int kMatmulRows = 6;
constexpr int kMatmulVectors = 4;
// The same for those on bytes, queries with keys and weights with values.
constexpr int kScoreRows = 8, kScoreVectors = 2;
constexpr int kMixRows = 4, kMixVectors = 4;

inline Float set1(float x) { return _mm512_set1_ps(x); }
inline Float load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, Float x) { _mm512_storeu_ps(p, x); }
inline Float add(Float a, Float b) { return _mm512_add_ps(a, b); }
inline Float sub(Float a, Float b) { return _mm512_sub_ps(a, b); }
inline Float mul(Float a, Float b) { return _mm512_mul_ps(a, b); }
inline Float div(Float a, Float b) { return _mm512_div_ps(a, b); }
inline Float max(Float a, Float b) { return _mm512_max_ps(a, b); }
inline Float min(Float a, Float b) { return _mm512_min_ps(a, b); }
inline Float abs(Float a) { return _mm512_abs_ps(a); }
inline Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }    // a b + c
inline Float fnma(Float a, Float b, Float c) { return _mm512_fnmadd_ps(a, b, c); }  // c - a b
inline float sum(Float a) { return _mm512_reduce_add_ps(a); }
// Lane i is x[i] folded by `fold`, that is add or max.
template <class Fold>
inline Float fold_lanes(const Float (&x)[16], Fold fold) {
  Float pairs[8], fours[4], eights[2];
  for (int i = 0; i < 8; ++i)
    pairs[i] = fold(_mm512_unpacklo_ps(x[2 * i], x[2 * i + 1]), _mm512_unpackhi_ps(x[2 * i], x[2 * i + 1]));
  for (int i = 0; i < 4; ++i) {
    const __m512d a = _mm512_castps_pd(pairs[2 * i]), b = _mm512_castps_pd(pairs[2 * i + 1]);
    fours[i] = fold(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
  }
  const auto halves = [&](Float a, Float b) {
    return fold(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  };
  for (int i = 0; i < 2; ++i) eights[i] = halves(fours[2 * i], fours[2 * i + 1]);
  return halves(eights[0], eights[1]);
}
inline float max(Float a) { return _mm512_reduce_max_ps(a); }
// Lane j of x[i] becomes lane i of x[j].
inline void transpose(Float (&x)[16]) {
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    const __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(x[i], x[i + 1]));
    const __m512d b = _mm512_castps_pd(_mm512_unpacklo_ps(x[i + 2], x[i + 3]));
    const __m512d c = _mm512_castps_pd(_mm512_unpackhi_ps(x[i], x[i + 1]));
    const __m512d d = _mm512_castps_pd(_mm512_unpackhi_ps(x[i + 2], x[i + 3]));
    x[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), x[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
    x[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(c, d)), x[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(c, d));
  }
  // Quarter q of x[i + j] now holds four rows of column 4 q + j.
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const Float even = _mm512_shuffle_f32x4(x[j], x[4 + j], 0x88), odd = _mm512_shuffle_f32x4(x[j], x[4 + j], 0xdd);
    const Float later_even = _mm512_shuffle_f32x4(x[8 + j], x[12 + j], 0x88);
    const Float later_odd = _mm512_shuffle_f32x4(x[8 + j], x[12 + j], 0xdd);
    x[j] = _mm512_shuffle_f32x4(even, later_even, 0x88), x[8 + j] = _mm512_shuffle_f32x4(even, later_even, 0xdd);
    x[4 + j] = _mm512_shuffle_f32x4(odd, later_odd, 0x88), x[12 + j] = _mm512_shuffle_f32x4(odd, later_odd, 0xdd);
  }
}

inline Int iset1(int32_t x) { return _mm512_set1_epi32(x); }
inline Int iadd(Int a, Int b) { return _mm512_add_epi32(a, b); }
inline Float to_float(Int a) { return _mm512_cvtepi32_ps(a); }
inline Int to_int(Float a) { return _mm512_cvtps_epi32(a); }  // to nearest
inline Float as_float(Int a) { return _mm512_castsi512_ps(a); }
// x - floor(x), and p 2^floor(x).
inline Float fraction(Float x) { return _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
inline Float scale_exp2(Float p, Float x) { return _mm512_scalef_ps(p, x); }
inline Int shift_left(Int a, int bits) { return _mm512_slli_epi32(a, bits); }
inline Int load_ints(const void* p) { return _mm512_loadu_si512(p); }
inline Int mask(Int a, int32_t bits) { return _mm512_and_si512(a, _mm512_set1_epi32(bits)); }
inline int32_t isum(Int a) { return _mm512_reduce_add_epi32(a); }
inline void store_int8(int8_t* p, Int a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(a));
}

inline void store_uint8(uint8_t* p, Int a) {  // of values that are 0..255
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a));
}

inline Float load_fp16(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline void store_fp16(uint16_t* p, Float x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
inline Float load_uint8(const uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
inline Float load_int8(const uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
inline Float load_bf16(const uint16_t* p) {
  return as_float(
      shift_left(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16));
}
inline void store_bf16(uint16_t* p, Float x) {  // to nearest even
  const Int bits = _mm512_castps_si512(x);
  const Int odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const Int rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
}

inline void prefetch(const void* p) { __builtin_prefetch(p); }
inline Bytes load_bytes(const uint8_t* p) { return _mm512_loadu_si512(p); }
inline void store_bytes(uint8_t* p, Bytes b) { _mm512_storeu_si512(p, b); }
inline Bytes low_nibbles(Bytes b) { return _mm512_and_si512(b, _mm512_set1_epi8(15)); }
inline Bytes high_nibbles(Bytes b) { return _mm512_and_si512(_mm512_srli_epi16(b, 4), _mm512_set1_epi8(15)); }
// The bits of `mask` of each byte, once it is moved to the left, or to the right where `left` is below 0.
inline __m512i moved(__m512i b, int left) { return left < 0 ? _mm512_srli_epi16(b, -left) : _mm512_slli_epi16(b, left); }
inline Bytes some_bits(Bytes b, int left, int mask) {
  return _mm512_and_si512(moved(b, left), _mm512_set1_epi8(static_cast<char>(mask)));
}
// The same with those of `low` beside them.
inline Bytes with_bits(Bytes low, Bytes b, int left, int mask) {
  return _mm512_ternarylogic_epi32(low, moved(b, left), _mm512_set1_epi8(static_cast<char>(mask)), 0xf8);  // a | (b & c)
}
// The number of a table of sixteen at each of `places`.
inline Bytes look_up(const uint8_t* table, Bytes places) {
  const __m128i numbers = _mm_load_si128(reinterpret_cast<const __m128i*>(table));
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(numbers), places);
}

// Four bytes, the same for every lane.
inline __m512i same_four(const void* x) {
  int32_t four;
  std::memcpy(&four, x, 4);
  return _mm512_set1_epi32(four);
}

// Written as an instruction: of the intrinsic GCC 12 copies every sum before and after, three instructions for one, and
// how far the processor runs ahead of its loads is counted in instructions.
inline Int add_dots(Int acc, __m512i unsigned_bytes, __m512i signed_bytes) {
  asm("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(unsigned_bytes), "v"(signed_bytes));
  return acc;
}

// acc[i] += sum over c of w[4i + c] x[c]: the bytes of w unsigned, those of x signed and the same for every lane.
inline Int dot4(Int acc, Bytes w, const int8_t* x) { return add_dots(acc, w, same_four(x)); }
// The same with the bytes of w signed and those of x unsigned.
inline Int dot4_signed(Int acc, Bytes w, const uint8_t* x) { return add_dots(acc, same_four(x), w); }
// The same as dot4 with the bytes of w below 128.
inline Int dot4_small(Int acc, Bytes w, const int8_t* x) { return dot4(acc, w, x); }

}  // namespace llmrt::LLMRT_ISA
