// Sixteen lanes as four NEON registers. With FEAT_I8MM the dot product of unsigned and signed bytes is an instruction;
// with FEAT_DotProd alone both sides are signed, so an unsigned byte u is taken as (u - 128) + 128: u - 128 fits, and
// 128 times the sum of the other four bytes is one more dot product.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

namespace llmrt::LLMRT_ISA {

struct Float {
  float32x4_t v[4];
};
struct Int {
  int32x4_t v[4];
};
struct Bytes {
  uint8x16_t v[4];
};

constexpr int kTileTokens = 4;
constexpr int kWideTokens = kTileTokens, kWideBlocks = 1;  // many tokens have the same tiles
constexpr bool kWholeStrips = false;
constexpr bool kFewInstructions = false;
constexpr int kFloatTokens = 2;
constexpr int kMatmulRows = 5;
constexpr int kMatmulVectors = 1;
constexpr int kScoreRows = 4, kScoreVectors = 1;
constexpr int kMixRows = 4, kMixVectors = 1;

template <class Out, class Body>
inline Out quarters(Body body) {
  return {{body(0), body(1), body(2), body(3)}};
}

inline Float set1(float x) {
  const float32x4_t all = vdupq_n_f32(x);
  return {{all, all, all, all}};
}
inline Float load(const float* p) {
  return quarters<Float>([&](int i) { return vld1q_f32(p + 4 * i); });
}
inline void store(float* p, Float x) {
  for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, x.v[i]);
}
inline Float add(Float a, Float b) {
  return quarters<Float>([&](int i) { return vaddq_f32(a.v[i], b.v[i]); });
}
inline Float sub(Float a, Float b) {
  return quarters<Float>([&](int i) { return vsubq_f32(a.v[i], b.v[i]); });
}
inline Float mul(Float a, Float b) {
  return quarters<Float>([&](int i) { return vmulq_f32(a.v[i], b.v[i]); });
}
inline Float div(Float a, Float b) {
  return quarters<Float>([&](int i) { return vdivq_f32(a.v[i], b.v[i]); });
}
inline Float max(Float a, Float b) {
  return quarters<Float>([&](int i) { return vmaxq_f32(a.v[i], b.v[i]); });
}
inline Float min(Float a, Float b) {
  return quarters<Float>([&](int i) { return vminq_f32(a.v[i], b.v[i]); });
}
inline Float abs(Float a) {
  return quarters<Float>([&](int i) { return vabsq_f32(a.v[i]); });
}
inline Float fma(Float a, Float b, Float c) {  // a b + c
  return quarters<Float>([&](int i) { return vfmaq_f32(c.v[i], a.v[i], b.v[i]); });
}
inline Float fnma(Float a, Float b, Float c) {  // c - a b
  return quarters<Float>([&](int i) { return vfmsq_f32(c.v[i], a.v[i], b.v[i]); });
}
inline float sum(Float a) { return vaddvq_f32(vaddq_f32(vaddq_f32(a.v[0], a.v[1]), vaddq_f32(a.v[2], a.v[3]))); }
// Lane i is x[i] folded by `fold`, that is add or max.
template <class Fold>
inline Float fold_lanes(const Float (&x)[16], Fold fold) {
  const auto of = [&](float32x4_t a, float32x4_t b) { return fold(Float{{a, a, a, a}}, Float{{b, b, b, b}}).v[0]; };
  const auto four = [&](int i) { return of(of(x[i].v[0], x[i].v[1]), of(x[i].v[2], x[i].v[3])); };
  const auto pairs = [&](float32x4_t a, float32x4_t b) { return of(vuzp1q_f32(a, b), vuzp2q_f32(a, b)); };
  return quarters<Float>([&](int i) {
    return pairs(pairs(four(4 * i), four(4 * i + 1)), pairs(four(4 * i + 2), four(4 * i + 3)));
  });
}
inline float max(Float a) { return vmaxvq_f32(vmaxq_f32(vmaxq_f32(a.v[0], a.v[1]), vmaxq_f32(a.v[2], a.v[3]))); }

// Lane j of x[i] becomes lane i of x[j].
inline void transpose(Float (&x)[16]) {
  Float out[16];
#pragma GCC unroll 16
  for (int i = 0; i < 4; ++i)
#pragma GCC unroll 16
    for (int q = 0; q < 4; ++q) {
      const float32x4x2_t a = vtrnq_f32(x[4 * i].v[q], x[4 * i + 1].v[q]), b = vtrnq_f32(x[4 * i + 2].v[q], x[4 * i + 3].v[q]);
#pragma GCC unroll 16
      for (int j = 0; j < 2; ++j) {
        out[4 * q + j].v[i] = vcombine_f32(vget_low_f32(a.val[j]), vget_low_f32(b.val[j]));
        out[4 * q + 2 + j].v[i] = vcombine_f32(vget_high_f32(a.val[j]), vget_high_f32(b.val[j]));
      }
    }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) x[i] = out[i];
}

inline Int iset1(int32_t x) {
  const int32x4_t all = vdupq_n_s32(x);
  return {{all, all, all, all}};
}
inline Int iadd(Int a, Int b) {
  return quarters<Int>([&](int i) { return vaddq_s32(a.v[i], b.v[i]); });
}
inline Float to_float(Int a) {
  return quarters<Float>([&](int i) { return vcvtq_f32_s32(a.v[i]); });
}
inline Int to_int(Float a) {  // to nearest
  return quarters<Int>([&](int i) { return vcvtnq_s32_f32(a.v[i]); });
}
inline Float as_float(Int a) {
  return quarters<Float>([&](int i) { return vreinterpretq_f32_s32(a.v[i]); });
}
inline Int shift_left(Int a, int bits) {
  const int32x4_t by = vdupq_n_s32(bits);
  return quarters<Int>([&](int i) { return vshlq_s32(a.v[i], by); });
}
inline Int load_ints(const void* p) {
  return quarters<Int>([&](int i) { return vld1q_s32(static_cast<const int32_t*>(p) + 4 * i); });
}
inline Int mask(Int a, int32_t bits) {
  return quarters<Int>([&](int i) { return vandq_s32(a.v[i], vdupq_n_s32(bits)); });
}
inline Float floor(Float a) {
  return quarters<Float>([&](int i) { return vrndmq_f32(a.v[i]); });
}
inline int32_t isum(Int a) {
  return vaddvq_s32(vaddq_s32(vaddq_s32(a.v[0], a.v[1]), vaddq_s32(a.v[2], a.v[3])));
}
inline int16x8_t narrow(int32x4_t low, int32x4_t high) { return vcombine_s16(vqmovn_s32(low), vqmovn_s32(high)); }
inline void store_int8(int8_t* p, Int a) {
  vst1q_s8(p, vcombine_s8(vqmovn_s16(narrow(a.v[0], a.v[1])), vqmovn_s16(narrow(a.v[2], a.v[3]))));
}

inline void store_uint8(uint8_t* p, Int a) {  // of values that are 0..255
  vst1q_u8(p, vcombine_u8(vqmovun_s16(narrow(a.v[0], a.v[1])), vqmovun_s16(narrow(a.v[2], a.v[3]))));
}

inline Float load_fp16(const uint16_t* p) {
  return quarters<Float>([&](int i) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))); });
}
inline void store_fp16(uint16_t* p, Float x) {
  for (int i = 0; i < 4; ++i) vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(x.v[i])));
}
inline Float load_uint8(const uint8_t* p) {
  const uint8x16_t bytes = vld1q_u8(p);
  const uint16x8_t low = vmovl_u8(vget_low_u8(bytes)), high = vmovl_u8(vget_high_u8(bytes));
  return {{vcvtq_f32_u32(vmovl_u16(vget_low_u16(low))), vcvtq_f32_u32(vmovl_u16(vget_high_u16(low))),
           vcvtq_f32_u32(vmovl_u16(vget_low_u16(high))), vcvtq_f32_u32(vmovl_u16(vget_high_u16(high)))}};
}
inline Float load_int8(const uint8_t* p) {
  const int8x16_t bytes = vreinterpretq_s8_u8(vld1q_u8(p));
  const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_s8(vget_high_s8(bytes));
  return {{vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
           vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(high)))}};
}
inline Float load_bf16(const uint16_t* p) {
  return quarters<Float>([&](int i) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16)); });
}
inline void store_bf16(uint16_t* p, Float x) {  // to nearest even
  for (int i = 0; i < 4; ++i) {
    const uint32x4_t bits = vreinterpretq_u32_f32(x.v[i]);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    vst1_u16(p + 4 * i, vshrn_n_u32(vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff))), 16));
  }
}

inline void prefetch(const void* p) { __builtin_prefetch(p); }
inline Bytes load_bytes(const uint8_t* p) {
  return quarters<Bytes>([&](int i) { return vld1q_u8(p + 16 * i); });
}
inline void store_bytes(uint8_t* p, Bytes b) {
  for (int i = 0; i < 4; ++i) vst1q_u8(p + 16 * i, b.v[i]);
}
inline Bytes low_nibbles(Bytes b) {
  return quarters<Bytes>([&](int i) { return vandq_u8(b.v[i], vdupq_n_u8(15)); });
}
inline Bytes high_nibbles(Bytes b) {
  return quarters<Bytes>([&](int i) { return vshrq_n_u8(b.v[i], 4); });
}
// The bits of `mask` of each byte, once it is moved to the left, or to the right where `left` is below 0.
inline Bytes some_bits(Bytes b, int left, int mask) {
  const int8x16_t distance = vdupq_n_s8(static_cast<int8_t>(left));
  const uint8x16_t bits = vdupq_n_u8(static_cast<uint8_t>(mask));
  return quarters<Bytes>([&](int i) { return vandq_u8(vshlq_u8(b.v[i], distance), bits); });
}
// The same with those of `low` beside them.
inline Bytes with_bits(Bytes low, Bytes b, int left, int mask) {
  b = some_bits(b, left, mask);
  return quarters<Bytes>([&](int i) { return vorrq_u8(low.v[i], b.v[i]); });
}
// The number of a table of sixteen at each of `places`.
inline Bytes look_up(const uint8_t* table, Bytes places) {
  const uint8x16_t numbers = vld1q_u8(table);
  return quarters<Bytes>([&](int i) { return vqtbl1q_u8(numbers, places.v[i]); });
}

// Four bytes, the same for every lane.
inline int8x16_t same_four(const void* x) {
  int32_t four;
  std::memcpy(&four, x, 4);
  return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

// With the bytes of w below 128, which are the same numbers signed and unsigned.
inline Int dot4_small(Int acc, Bytes w, const int8_t* x) {
  const int8x16_t all = same_four(x);
  return quarters<Int>([&](int i) { return vdotq_s32(acc.v[i], vreinterpretq_s8_u8(w.v[i]), all); });
}

#if defined(__ARM_FEATURE_MATMUL_INT8)

// acc[i] += sum over c of w[4i + c] x[c]: the bytes of w unsigned, those of x signed and the same for every lane.
inline Int dot4(Int acc, Bytes w, const int8_t* x) {
  const int8x16_t all = same_four(x);
  return quarters<Int>([&](int i) { return vusdotq_s32(acc.v[i], w.v[i], all); });
}
// The same with the bytes of w signed and those of x unsigned.
inline Int dot4_signed(Int acc, Bytes w, const uint8_t* x) {
  const uint8x16_t all = vreinterpretq_u8_s8(same_four(x));
  return quarters<Int>([&](int i) { return vusdotq_s32(acc.v[i], all, vreinterpretq_s8_u8(w.v[i])); });
}

#else

inline int8x16_t less_128(uint8x16_t bytes) {  // u ^ 128 is u - 128 as a signed byte
  return vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(128)));
}

inline Int dot4(Int acc, Bytes w, const int8_t* x) {
  const int8x16_t all = same_four(x);
  const int32x4_t offset = vshlq_n_s32(vdotq_s32(vdupq_n_s32(0), all, vdupq_n_s8(1)), 7);
  return quarters<Int>([&](int i) { return vdotq_s32(vaddq_s32(acc.v[i], offset), less_128(w.v[i]), all); });
}
// What depends on w alone the compiler computes once for all rows of a tile.
inline Int dot4_signed(Int acc, Bytes w, const uint8_t* x) {
  const int8x16_t all = less_128(vreinterpretq_u8_s8(same_four(x)));
  return quarters<Int>([&](int i) {
    const int8x16_t bytes = vreinterpretq_s8_u8(w.v[i]);
    const int32x4_t offset = vshlq_n_s32(vdotq_s32(vdupq_n_s32(0), bytes, vdupq_n_s8(1)), 7);
    return vdotq_s32(vaddq_s32(acc.v[i], offset), bytes, all);
  });
}

#endif

// x - floor(x), and p 2^floor(x), where that is a number, 0 where it is too small to be a normal one.
inline Float fraction(Float x) { return sub(x, floor(x)); }
inline Float scale_exp2(Float p, Float x) {
  const Int exponent = iadd(to_int(floor(max(min(x, set1(127.0f)), set1(-127.0f)))), iset1(127));
  return mul(p, as_float(shift_left(exponent, 23)));
}

}  // namespace llmrt::LLMRT_ISA
