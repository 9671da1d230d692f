// Sixteen lanes as two registers of 256 bits: all that processors with AVX2 have in common.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace llmrt::LLMRT_ISA {

struct Float {
  __m256 a, b;
};
struct Int {
  __m256i a, b;
};
struct Bytes {
  __m256i a, b;
};

// Of activations: what every lane is multiplied with.
inline int32_t four_bytes(const void* x) {
  int32_t four;
  std::memcpy(&four, x, 4);
  return four;
}

inline Float set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline Float load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void store(float* p, Float x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
inline Float add(Float x, Float y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline Float sub(Float x, Float y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline Float mul(Float x, Float y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline Float div(Float x, Float y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline Float max(Float x, Float y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline Float min(Float x, Float y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline Float abs(Float x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
inline Float fma(Float x, Float y, Float z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
inline Float fnma(Float x, Float y, Float z) {
  return {_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)};
}
inline float sum(Float x) {
  const __m256 eight = _mm256_add_ps(x.a, x.b);
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
// Lane i is x[i] folded by `fold`, that is add or max.
template <class Fold>
inline Float fold_lanes(const Float (&x)[16], Fold fold) {
  __m256 twos[8], fours[4];
  const auto of = [&](__m256 low, __m256 high) { return fold(Float{low, low}, Float{high, high}).a; };
  const auto eight = [&](int i) { return of(x[i].a, x[i].b); };
  for (int i = 0; i < 8; ++i) {
    const __m256 a = eight(2 * i), b = eight(2 * i + 1);
    twos[i] = of(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
  }
  for (int i = 0; i < 4; ++i) {
    const __m256d a = _mm256_castps_pd(twos[2 * i]), b = _mm256_castps_pd(twos[2 * i + 1]);
    fours[i] = of(_mm256_castpd_ps(_mm256_unpacklo_pd(a, b)), _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)));
  }
  const auto half = [&](int i) {
    return of(_mm256_permute2f128_ps(fours[i], fours[i + 1], 0x20), _mm256_permute2f128_ps(fours[i], fours[i + 1], 0x31));
  };
  return {half(0), half(2)};
}
inline float max(Float x) {
  const __m256 eight = _mm256_max_ps(x.a, x.b);
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

inline void transpose(__m256 (&x)[8]) {
  __m256 t[8];
#pragma GCC unroll 16
  for (int i = 0; i < 8; i += 4) {
    const __m256d a = _mm256_castps_pd(_mm256_unpacklo_ps(x[i], x[i + 1]));
    const __m256d b = _mm256_castps_pd(_mm256_unpacklo_ps(x[i + 2], x[i + 3]));
    const __m256d c = _mm256_castps_pd(_mm256_unpackhi_ps(x[i], x[i + 1]));
    const __m256d d = _mm256_castps_pd(_mm256_unpackhi_ps(x[i + 2], x[i + 3]));
    t[i] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b)), t[i + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, b));
    t[i + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(c, d)), t[i + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(c, d));
  }
#pragma GCC unroll 16
  for (int j = 0; j < 4; ++j) {
    x[j] = _mm256_permute2f128_ps(t[j], t[4 + j], 0x20);
    x[4 + j] = _mm256_permute2f128_ps(t[j], t[4 + j], 0x31);
  }
}
// Lane j of x[i] becomes lane i of x[j].
inline void transpose(Float (&x)[16]) {
  __m256 quarters[2][2][8];  // by rows, then by lanes
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) quarters[i / 8][0][i % 8] = x[i].a, quarters[i / 8][1][i % 8] = x[i].b;
#pragma GCC unroll 16
  for (auto& halves : quarters)
#pragma GCC unroll 16
    for (auto& quarter : halves) transpose(quarter);
#pragma GCC unroll 16
  for (int j = 0; j < 16; ++j) x[j] = {quarters[0][j / 8][j % 8], quarters[1][j / 8][j % 8]};
}

inline Int iset1(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
inline Int iadd(Int x, Int y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
inline Float to_float(Int x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
inline Int to_int(Float x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
inline Float as_float(Int x) { return {_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)}; }
inline Int shift_left(Int x, int bits) { return {_mm256_slli_epi32(x.a, bits), _mm256_slli_epi32(x.b, bits)}; }
inline Int load_ints(const void* p) {
  const auto* q = static_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(q), _mm256_loadu_si256(q + 1)};
}
inline Int mask(Int x, int32_t bits) {
  const __m256i all = _mm256_set1_epi32(bits);
  return {_mm256_and_si256(x.a, all), _mm256_and_si256(x.b, all)};
}
inline Float floor(Float x) { return {_mm256_floor_ps(x.a), _mm256_floor_ps(x.b)}; }
inline int32_t isum(Int x) {
  const __m256i eight = _mm256_add_epi32(x.a, x.b);
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}
inline __m128i narrow(__m256i x) {  // 8 int32 -> 8 int16
  const __m256i packed = _mm256_packs_epi32(x, x);
  return _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
}
inline void store_int8(int8_t* p, Int x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(narrow(x.a), narrow(x.b)));
}

inline void store_uint8(uint8_t* p, Int x) {  // of values that are 0..255
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(narrow(x.a), narrow(x.b)));
}

inline Float load_fp16(const uint16_t* p) {
  const auto* q = reinterpret_cast<const __m128i*>(p);
  return {_mm256_cvtph_ps(_mm_loadu_si128(q)), _mm256_cvtph_ps(_mm_loadu_si128(q + 1))};
}
inline void store_fp16(uint16_t* p, Float x) {
  auto* q = reinterpret_cast<__m128i*>(p);
  _mm_storeu_si128(q, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT));
  _mm_storeu_si128(q + 1, _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT));
}
inline Float load_uint8(const uint8_t* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return to_float(Int{_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8))});
}
inline Float load_int8(const uint8_t* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return to_float(Int{_mm256_cvtepi8_epi32(bytes), _mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8))});
}
inline Float load_bf16(const uint16_t* p) {
  const auto* q = reinterpret_cast<const __m128i*>(p);
  const Int wide{_mm256_cvtepu16_epi32(_mm_loadu_si128(q)), _mm256_cvtepu16_epi32(_mm_loadu_si128(q + 1))};
  return as_float(shift_left(wide, 16));
}
inline __m128i round_bf16(__m256 x) {  // to nearest even
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i top = _mm256_srli_epi32(rounded, 16);
  return _mm256_castsi256_si128(_mm256_permute4x64_epi64(_mm256_packus_epi32(top, top), 0x08));
}
inline void store_bf16(uint16_t* p, Float x) {
  auto* q = reinterpret_cast<__m128i*>(p);
  _mm_storeu_si128(q, round_bf16(x.a));
  _mm_storeu_si128(q + 1, round_bf16(x.b));
}

inline void prefetch(const void* p) { __builtin_prefetch(p); }
inline Bytes load_bytes(const uint8_t* p) {
  const auto* q = reinterpret_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(q), _mm256_loadu_si256(q + 1)};
}
inline void store_bytes(uint8_t* p, Bytes b) {
  auto* q = reinterpret_cast<__m256i*>(p);
  _mm256_storeu_si256(q, b.a);
  _mm256_storeu_si256(q + 1, b.b);
}
inline Bytes low_nibbles(Bytes w) {
  const __m256i mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(w.a, mask), _mm256_and_si256(w.b, mask)};
}
inline Bytes high_nibbles(Bytes w) {
  return low_nibbles({_mm256_srli_epi16(w.a, 4), _mm256_srli_epi16(w.b, 4)});
}
// The bits of `mask` of each byte, once it is moved to the left, or to the right where `left` is below 0.
inline __m256i some_bits(__m256i b, int left, int mask) {
  const __m256i moved = left < 0 ? _mm256_srli_epi16(b, -left) : _mm256_slli_epi16(b, left);
  return _mm256_and_si256(moved, _mm256_set1_epi8(static_cast<char>(mask)));
}
inline Bytes some_bits(Bytes b, int left, int mask) { return {some_bits(b.a, left, mask), some_bits(b.b, left, mask)}; }
// The same with those of `low` beside them.
inline Bytes with_bits(Bytes low, Bytes b, int left, int mask) {
  const Bytes bits = some_bits(b, left, mask);
  return {_mm256_or_si256(low.a, bits.a), _mm256_or_si256(low.b, bits.b)};
}
// The number of a table of sixteen at each of `places`.
inline Bytes look_up(const uint8_t* table, Bytes places) {
  const __m256i numbers = _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(table)));
  return {_mm256_shuffle_epi8(numbers, places.a), _mm256_shuffle_epi8(numbers, places.b)};
}

// x - floor(x), and p 2^floor(x), where that is a number, 0 where it is too small to be a normal one.
inline Float fraction(Float x) { return sub(x, floor(x)); }
inline Float scale_exp2(Float p, Float x) {
  const Int exponent = iadd(to_int(floor(max(min(x, set1(127.0f)), set1(-127.0f)))), iset1(127));
  return mul(p, as_float(shift_left(exponent, 23)));
}

}  // namespace llmrt::LLMRT_ISA
