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
#include "processor.h"

namespace llmrt::LLMRT_ISA {

// How the codes of each width are read: 8 columns of 16 rows as two halves of four columns.
template <int kBits>
struct Codes;

template <>
struct Codes<4> {
  static constexpr int kBytesPerColumn = 8;  // for 16 rows
  static constexpr int kQuick = 1, kFast = 2;  // tokens: see ask_for
  static constexpr int32_t kZero = 8;
  static void read(const uint8_t* w, Bytes& first, Bytes& second) {
    const Bytes line = load_bytes(w);
    first = low_nibbles(line);
    second = high_nibbles(line);
  }
  static Int dot(Int acc, Bytes w, const int8_t* x) { return dot4_small(acc, w, x); }
};

template <>
struct Codes<8> {
  static constexpr int kBytesPerColumn = 16;
  static constexpr int kQuick = 2, kFast = 6;
  static constexpr int32_t kZero = 128;
  static void read(const uint8_t* w, Bytes& first, Bytes& second) {
    first = load_bytes(w);
    second = load_bytes(w + 64);
  }
  static Int dot(Int acc, Bytes w, const int8_t* x) { return dot4(acc, w, x); }
};

// Four bits each that stand for the numbers of a table, as those of GGUF's IQ4 types.
struct Table {
  alignas(16) static constexpr uint8_t kNumbers[16] = {1,   24,  45,  63,  79,  93,  106, 118,
                                                       129, 141, 153, 166, 181, 197, 217, 241};
  static constexpr int32_t kZero = 128;
  static void read(const uint8_t* w, Bytes& first, Bytes& second) {
    Codes<4>::read(w, first, second);
    first = look_up(kNumbers, first);
    second = look_up(kNumbers, second);
  }
  static Int dot(Int acc, Bytes w, const int8_t* x) { return dot4(acc, w, x); }
};

// A row's code of kBits for column k of `lines`, as llmrt_matrix draws them.
template <int kBits>
inline int code_in(const uint8_t* lines, int64_t row, int64_t k) {
  constexpr int64_t kColumns = 32 / kBits;  // of a line
  const int byte = lines[k / kColumns * 64 + 4 * row + k % 4];
  return byte >> k % kColumns / 4 * kBits & ((1 << kBits) - 1);
}

// Adds a group's sum `acc` of products of codes.
template <bool kAffine>
inline Float add_group(Float total, Int acc, Float scale, Float offset, float x_scale, int32_t x_sum) {
  if constexpr (kAffine) return fma(fma(offset, to_float(iset1(x_sum)), mul(scale, to_float(acc))), set1(x_scale), total);
  return fma(to_float(acc), mul(scale, set1(x_scale)), total);
}

// kTokens tokens from `token` on, kBlocks blocks of 16 rows from `block` on.
template <int kBits, bool kAffine, Ask kAsk, int kBlocks, int kTokens>
inline void codes_tile(const llmrt_activations& codes, int64_t token, const llmrt_matrix& matrix, int64_t block,
                       Float (*result)[kTokens]) {
  using C = Codes<kBits>;
  const int64_t groups = groups_of(codes), stride = stride_of<int8_t>(codes);
  const int64_t next_block = codes.columns * C::kBytesPerColumn;
  const uint8_t* w = matrix.data + block * next_block;
  const int8_t* x = row_of<int8_t>(codes, token);
  const float* x_scales = codes.scales + token * groups;
  const int32_t* x_sums = codes.sums + token * groups;
  // Sums of a token stand together. Loops are not nested, or GCC 12 keeps them in memory where registers are 256 bits.
  constexpr int kSums = kTokens * kBlocks;
  Float total[kSums];
  for (Float& sum : total) sum = set1(0.0f);
  for (int64_t g = 0; g < groups; ++g) {
    Int acc[kSums];
    for (int i = 0; i < kSums; ++i) acc[i] = iset1(-C::kZero * x_sums[i / kBlocks * groups + g]);
    if constexpr (kAsk == Ask::kSparsely) ask_ahead<kAsk>(w, codes.group * C::kBytesPerColumn);
    for (int64_t k = 0; k < codes.group; k += 8, w += 8 * C::kBytesPerColumn, x += 8) {
      Bytes first[kBlocks], second[kBlocks];
      for (int b = 0; b < kBlocks; ++b) {
        if constexpr (kAsk != Ask::kSparsely) ask_ahead<kAsk>(w + b * next_block, 8 * C::kBytesPerColumn);
        C::read(w + b * next_block, first[b], second[b]);
      }
      for (int i = 0; i < kSums; ++i) acc[i] = C::dot(acc[i], first[i % kBlocks], x + i / kBlocks * stride);
      for (int i = 0; i < kSums; ++i) acc[i] = C::dot(acc[i], second[i % kBlocks], x + i / kBlocks * stride + 4);
    }
    Float scales[kBlocks], offsets[kBlocks];
    for (int b = 0; b < kBlocks; ++b) {
      const int64_t of_group = ((block + b) * groups + g) * 16;
      scales[b] = load_fp16(matrix.scales + of_group);
      if constexpr (kAffine) offsets[b] = load_fp16(matrix.offsets + of_group);
    }
    for (int i = 0; i < kSums; ++i) {
      const int64_t at = i / kBlocks * groups + g;
      total[i] = add_group<kAffine>(total[i], acc[i], scales[i % kBlocks], offsets[i % kBlocks], x_scales[at],
                                    x_sums[at]);
    }
  }
  for (int i = 0; i < kSums; ++i) result[i % kBlocks][i / kBlocks] = total[i];
}

// The same, with offsets if the weight has them.
template <int kBits, int kBlocks, int kTokens>
inline void codes_tiles(const llmrt_activations& codes, int64_t token, const llmrt_matrix& matrix, int64_t block,
                        Float (*result)[kTokens]) {
  using C = Codes<kBits>;
  const auto tile = [&]<Ask kAsk>() {
    matrix.offsets == nullptr ? codes_tile<kBits, false, kAsk, kBlocks>(codes, token, matrix, block, result)
                              : codes_tile<kBits, true, kAsk, kBlocks>(codes, token, matrix, block, result);
  };
  // Between short groups there are too many instructions.
  if constexpr (kFewInstructions && kBlocks == 1 && kTokens <= C::kQuick)
    if (codes.group * C::kBytesPerColumn >= kSparse && can_be_led()) return tile.template operator()<Ask::kSparsely>();
  tile.template operator()<ask_for<kTokens, 0, C::kFast>()>();
}

}  // namespace llmrt::LLMRT_ISA
