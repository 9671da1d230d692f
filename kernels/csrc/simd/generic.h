// Sixteen lanes as an array, in plain C++: for processors without a header of their own, and to test the others by.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

namespace llmrt::LLMRT_ISA {

constexpr int kLanes = 16;
struct Float {
  float v[kLanes];
};
struct Int {
  int32_t v[kLanes];
};
struct Bytes {
  uint8_t v[64];
};

constexpr int kTileTokens = 1;
constexpr int kWideTokens = kTileTokens, kWideBlocks = 1;  // many tokens have the same tiles
constexpr bool kWholeStrips = false;
constexpr bool kFewInstructions = false;
constexpr int kFloatTokens = 1;
constexpr int kMatmulRows = 3;
constexpr int kMatmulVectors = 2;
constexpr int kScoreRows = 1, kScoreVectors = 1;
constexpr int kMixRows = 1, kMixVectors = 1;

template <class Out, class Body>
inline Out lanes(Body body) {
  Out out;
  for (int i = 0; i < kLanes; ++i) out.v[i] = body(i);
  return out;
}

inline Float set1(float x) {
  return lanes<Float>([&](int) { return x; });
}
inline Float load(const float* p) {
  return lanes<Float>([&](int i) { return p[i]; });
}
inline void store(float* p, Float x) {
  for (int i = 0; i < kLanes; ++i) p[i] = x.v[i];
}
inline Float add(Float a, Float b) {
  return lanes<Float>([&](int i) { return a.v[i] + b.v[i]; });
}
inline Float sub(Float a, Float b) {
  return lanes<Float>([&](int i) { return a.v[i] - b.v[i]; });
}
inline Float mul(Float a, Float b) {
  return lanes<Float>([&](int i) { return a.v[i] * b.v[i]; });
}
inline Float div(Float a, Float b) {
  return lanes<Float>([&](int i) { return a.v[i] / b.v[i]; });
}
inline Float max(Float a, Float b) {
  return lanes<Float>([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
inline Float min(Float a, Float b) {
  return lanes<Float>([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
inline Float abs(Float a) {
  return lanes<Float>([&](int i) { return std::fabs(a.v[i]); });
}
inline Float fma(Float a, Float b, Float c) { return add(mul(a, b), c); }
inline Float fnma(Float a, Float b, Float c) { return sub(c, mul(a, b)); }
inline float sum(Float a) {
  float total = 0;
  for (float x : a.v) total += x;
  return total;
}
inline float max(Float a) {
  float most = a.v[0];
  for (float x : a.v) most = x > most ? x : most;
  return most;
}

// Lane i is x[i] folded by `fold`, that is add or max.
template <class Fold>
inline Float fold_lanes(const Float (&x)[kLanes], Fold fold) {
  return lanes<Float>([&](int i) {
    float folded = x[i].v[0];
    for (int j = 1; j < kLanes; ++j) folded = fold(set1(folded), set1(x[i].v[j])).v[0];
    return folded;
  });
}

// Lane j of x[i] becomes lane i of x[j].
inline void transpose(Float (&x)[kLanes]) {
  for (int i = 0; i < kLanes; ++i)
    for (int j = 0; j < i; ++j) std::swap(x[i].v[j], x[j].v[i]);
}

inline Int iset1(int32_t x) {
  return lanes<Int>([&](int) { return x; });
}
inline Int iadd(Int a, Int b) {
  return lanes<Int>([&](int i) { return a.v[i] + b.v[i]; });
}
inline Float to_float(Int a) {
  return lanes<Float>([&](int i) { return static_cast<float>(a.v[i]); });
}
inline Int to_int(Float a) {
  return lanes<Int>([&](int i) { return static_cast<int32_t>(std::nearbyint(a.v[i])); });
}
inline Float as_float(Int a) {
  return lanes<Float>([&](int i) { return std::bit_cast<float>(a.v[i]); });
}
inline Int shift_left(Int a, int bits) {
  return lanes<Int>([&](int i) { return static_cast<int32_t>(static_cast<uint32_t>(a.v[i]) << bits); });
}
inline Int load_ints(const void* p) {
  Int out;
  std::memcpy(out.v, p, 64);
  return out;
}
inline Int mask(Int a, int32_t bits) {
  return lanes<Int>([&](int i) { return a.v[i] & bits; });
}
inline Float floor(Float a) {
  return lanes<Float>([&](int i) { return std::floor(a.v[i]); });
}
inline int32_t isum(Int a) {
  int32_t total = 0;
  for (int32_t x : a.v) total += x;
  return total;
}
inline void store_int8(int8_t* p, Int a) {
  for (int i = 0; i < kLanes; ++i) p[i] = static_cast<int8_t>(a.v[i] > 127 ? 127 : a.v[i] < -128 ? -128 : a.v[i]);
}

inline void store_uint8(uint8_t* p, Int a) {  // of values that are 0..255
  for (int i = 0; i < kLanes; ++i) p[i] = static_cast<uint8_t>(a.v[i]);
}

inline float widen_fp16(uint16_t h) {
  const uint32_t sign = (h & 0x8000u) << 16, exponent = (h >> 10) & 31, mantissa = h & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) {
    const float tiny = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -tiny : tiny;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}
inline uint16_t narrow_fp16(float x) {  // to nearest even
  const uint32_t bits = std::bit_cast<uint32_t>(x), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);
  if (magnitude < 0x38800000u) {
    const float scaled = std::bit_cast<float>(magnitude) * 0x1p24f;
    return static_cast<uint16_t>(sign | static_cast<uint32_t>(std::nearbyint(scaled)));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}
inline Float load_fp16(const uint16_t* p) {
  return lanes<Float>([&](int i) { return widen_fp16(p[i]); });
}
inline void store_fp16(uint16_t* p, Float x) {
  for (int i = 0; i < kLanes; ++i) p[i] = narrow_fp16(x.v[i]);
}
inline Float load_uint8(const uint8_t* p) {
  return lanes<Float>([&](int i) { return static_cast<float>(p[i]); });
}
inline Float load_int8(const uint8_t* p) {
  return lanes<Float>([&](int i) { return static_cast<float>(static_cast<int8_t>(p[i])); });
}
inline Float load_bf16(const uint16_t* p) {
  return lanes<Float>([&](int i) { return std::bit_cast<float>(static_cast<uint32_t>(p[i]) << 16); });
}
inline void store_bf16(uint16_t* p, Float x) {  // to nearest even
  for (int i = 0; i < kLanes; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(x.v[i]);
    p[i] = static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16);
  }
}

inline void prefetch(const void* p) { __builtin_prefetch(p); }
inline Bytes load_bytes(const uint8_t* p) {
  Bytes out;
  for (int i = 0; i < 64; ++i) out.v[i] = p[i];
  return out;
}
inline void store_bytes(uint8_t* p, Bytes b) { std::memcpy(p, b.v, 64); }
inline Bytes low_nibbles(Bytes b) {
  for (uint8_t& x : b.v) x &= 15;
  return b;
}
inline Bytes high_nibbles(Bytes b) {
  for (uint8_t& x : b.v) x >>= 4;
  return b;
}
// The bits of `mask` of each byte, once it is moved to the left, or to the right where `left` is below 0.
inline Bytes some_bits(Bytes b, int left, int mask) {
  for (uint8_t& x : b.v) x = static_cast<uint8_t>((left < 0 ? x >> -left : x << left) & mask);
  return b;
}
// The same with those of `low` beside them.
inline Bytes with_bits(Bytes low, Bytes b, int left, int mask) {
  b = some_bits(b, left, mask);
  for (int i = 0; i < 64; ++i) b.v[i] |= low.v[i];
  return b;
}
// The number of a table of sixteen at each of `places`.
inline Bytes look_up(const uint8_t* table, Bytes places) {
  for (uint8_t& x : places.v) x = table[x];
  return places;
}
inline Int dot4(Int acc, Bytes w, const int8_t* x) {
  return lanes<Int>([&](int i) {
    const uint8_t* four = w.v + 4 * i;
    return acc.v[i] + four[0] * x[0] + four[1] * x[1] + four[2] * x[2] + four[3] * x[3];
  });
}
inline Int dot4_signed(Int acc, Bytes w, const uint8_t* x) {
  return lanes<Int>([&](int i) {
    const uint8_t* four = w.v + 4 * i;
    int32_t total = acc.v[i];
    for (int c = 0; c < 4; ++c) total += static_cast<int8_t>(four[c]) * x[c];
    return total;
  });
}
// The same as dot4 with the bytes of w below 128.
inline Int dot4_small(Int acc, Bytes w, const int8_t* x) { return dot4(acc, w, x); }

// x - floor(x), and p 2^floor(x), where that is a number, 0 where it is too small to be a normal one.
inline Float fraction(Float x) { return sub(x, floor(x)); }
inline Float scale_exp2(Float p, Float x) {
  const Int exponent = iadd(to_int(floor(max(min(x, set1(127.0f)), set1(-127.0f)))), iset1(127));
  return mul(p, as_float(shift_left(exponent, 23)));
}

}  // namespace llmrt::LLMRT_ISA
