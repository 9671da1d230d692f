// x W^T with int4 or int8 weights and int8 activations:
//
//   y[t, n] = sum over groups g of  sx[t, g] sw[n, g] (sum over k in g of x8[t, k] code[n, k]  -  zero sum8[t, g])
//
// and for weights with offsets  + sx[t, g] offset[n, g] sum8[t, g].  The inner sums are exact integers that start at the
// correction for the zero, and the groups are added in order, so a token's result does not depend on how many tokens are
// computed beside it.
#pragma once

#include "llmrt_cpu.h"
#include "ops/activations.h"
#include "ops/stream.h"

namespace llmrt::LLMRT_ISA {

// How the codes of each width are read: 8 columns of 16 rows as two halves of four columns.
template <int kBits>
struct Codes;

template <>
struct Codes<4> {
  static constexpr int kBytesPerColumn = 8;  // for 16 rows
  static constexpr int32_t kZero = 8;
  static void read(const uint8_t* w, Bytes& first, Bytes& second) {
    const Bytes line = load_bytes(w);
    first = low_nibbles(line);
    second = high_nibbles(line);
  }
  static Int dot(Int acc, Bytes w, const int8_t* x) { return dot4_nibbles(acc, w, x); }
};

template <>
struct Codes<8> {
  static constexpr int kBytesPerColumn = 16;
  static constexpr int32_t kZero = 128;
  static void read(const uint8_t* w, Bytes& first, Bytes& second) {
    first = load_bytes(w);
    second = load_bytes(w + 64);
  }
  static Int dot(Int acc, Bytes w, const int8_t* x) { return dot4(acc, w, x); }
};

// kTokens tokens from `token` on, the 16 rows of `block`.
template <int kBits, bool kAffine, int kTokens>
inline void codes_tile(const llmrt_activations& codes, int64_t token, const llmrt_matrix& matrix, int64_t block,
                         Float (&result)[kTokens]) {
  using C = Codes<kBits>;
  const int64_t groups = groups_of(codes), stride = stride_of<int8_t>(codes);
  const uint8_t* w = matrix.data + block * codes.columns * C::kBytesPerColumn;
  const uint16_t* scales = matrix.scales + block * groups * 16;
  const int8_t* x = row_of<int8_t>(codes, token);
  const float* x_scales = codes.scales + token * groups;
  const int32_t* x_sums = codes.sums + token * groups;
  for (Float& r : result) r = set1(0.0f);
  for (int64_t g = 0; g < groups; ++g) {
    Int acc[kTokens];
    for (int t = 0; t < kTokens; ++t) acc[t] = iset1(-C::kZero * x_sums[t * groups + g]);
    for (int64_t k = 0; k < codes.group; k += 8, w += 8 * C::kBytesPerColumn, x += 8) {
      ask_ahead(w, 8 * C::kBytesPerColumn);
      Bytes first, second;
      C::read(w, first, second);
      for (int t = 0; t < kTokens; ++t) acc[t] = C::dot(acc[t], first, x + t * stride);
      for (int t = 0; t < kTokens; ++t) acc[t] = C::dot(acc[t], second, x + t * stride + 4);
    }
    const Float scale = load_fp16(scales + g * 16);
    if constexpr (kAffine) {
      const Float offset = load_fp16(matrix.offsets + (block * groups + g) * 16);
      for (int t = 0; t < kTokens; ++t) {
        const int64_t at = t * groups + g;
        const Float sum = fma(offset, to_float(iset1(x_sums[at])), mul(scale, to_float(acc[t])));
        result[t] = fma(sum, set1(x_scales[at]), result[t]);
      }
    } else {
      for (int t = 0; t < kTokens; ++t)
        result[t] = fma(to_float(acc[t]), mul(scale, set1(x_scales[t * groups + g])), result[t]);
    }
  }
}

// The same, with offsets if the weight has them.
template <int kBits, int kTokens>
inline void codes_tiles(const llmrt_activations& codes, int64_t token, const llmrt_matrix& matrix, int64_t block,
                        Float (&result)[kTokens]) {
  matrix.offsets == nullptr ? codes_tile<kBits, false>(codes, token, matrix, block, result)
                            : codes_tile<kBits, true>(codes, token, matrix, block, result);
}

}  // namespace llmrt::LLMRT_ISA
