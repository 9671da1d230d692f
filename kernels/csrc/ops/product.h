// x W^T with packed int4 or int8 weights and int8 activations, the core of every op with a weight:
//
//   y[t, n] = sum over groups g of  sx[t, g] sw[n, g] (sum over k in g of x8[t, k] code[n, k]  -  zero sum8[t, g])
//
// The inner sums are exact integers that start at the correction for the zero, and the groups are added in order, so a
// token's result does not depend on how many tokens are computed beside it. A tile keeps kTileTokens x 16 results in
// registers. It is one block of rows wide, so that a weight is one stream of memory: two streams side by side read a
// third slower.
#pragma once

#include <utility>

#include "llmrt_cpu.h"
#include "ops/codes.h"

namespace llmrt::LLMRT_ISA {

// Several tokens keep the processor too busy to run ahead of its loads, so weights are asked for this many bytes early.
constexpr int64_t kAhead = 4096;

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
template <int kBits, int kTokens>
inline void product_tile(const llmrt_codes& codes, int64_t token, const llmrt_matrix& matrix, int64_t block,
                         Float (&result)[kTokens]) {
  using C = Codes<kBits>;
  const int64_t groups = groups_of(codes), stride = stride_of(codes);
  const uint8_t* w = matrix.data + block * codes.columns * C::kBytesPerColumn;
  const uint16_t* scales = matrix.scales + block * groups * 16;
  const int8_t* x = codes.codes + token * stride;
  const float* x_scales = codes.scales + token * groups;
  const int32_t* x_sums = codes.sums + token * groups;
  for (Float& r : result) r = set1(0.0f);
  for (int64_t g = 0; g < groups; ++g) {
    Int acc[kTokens];
    for (int t = 0; t < kTokens; ++t) acc[t] = iset1(-C::kZero * x_sums[t * groups + g]);
    for (int64_t k = 0; k < codes.group; k += 8, w += 8 * C::kBytesPerColumn, x += 8) {
      for (int line = 0; line < 8 * C::kBytesPerColumn; line += 64) prefetch(w + line + kAhead);
      Bytes first, second;
      C::read(w, first, second);
      for (int t = 0; t < kTokens; ++t) acc[t] = C::dot(acc[t], first, x + t * stride);
      for (int t = 0; t < kTokens; ++t) acc[t] = C::dot(acc[t], second, x + t * stride + 4);
    }
    const Float scale = load_fp16(scales + g * 16);
    for (int t = 0; t < kTokens; ++t)
      result[t] = fma(to_float(acc[t]), mul(scale, set1(x_scales[t * groups + g])), result[t]);
  }
}

// The piece that holds row `row`, which is the first of a block; `row` becomes its place there.
inline const llmrt_matrix& piece_of(const llmrt_weight& weight, int64_t& row) {
  const llmrt_matrix* piece = weight.pieces;
  while (row >= piece->rows) row -= (piece++)->rows;
  return *piece;
}

// Results of kTokens tokens for the 16 rows from `row` on, bias included. Rows past the weight's last are 0.
template <int kTokens>
inline void product(const llmrt_codes& x, int64_t token, const llmrt_weight& weight, int64_t row,
                    Float (&result)[kTokens]) {
  int64_t at = row;
  const llmrt_matrix& piece = piece_of(weight, at);
  if (piece.bits == 8)
    product_tile<8>(x, token, piece, at / 16, result);
  else
    product_tile<4>(x, token, piece, at / 16, result);
  if (weight.bias == nullptr) return;
  float bias[16] = {};
  for (int64_t i = 0; i < 16 && row + i < weight.rows; ++i) bias[i] = weight.bias[row + i];
  for (Float& r : result) r = add(r, load(bias));
}

// Calls body.operator()<kTokens>(first token) for tiles that cover all tokens: whole ones, then what is left.
template <int kTokens = kTileTokens, class Body>
inline void for_tiles(int64_t tokens, Body&& body, int64_t token = 0) {
  for (; token + kTokens <= tokens; token += kTokens) body.template operator()<kTokens>(token);
  if constexpr (kTokens > 1) for_tiles<kTokens - 1>(tokens, std::forward<Body>(body), token);
}

}  // namespace llmrt::LLMRT_ISA
