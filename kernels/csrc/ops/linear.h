// y = x W^T + b with packed int4 or int8 weights and activations quantized to int8, a scale for each group of G:
//
//   y[t, n] = sum over groups g of  sx[t, g] sw[n, g] (sum over k in g of x8[t, k] code[n, k]  -  zero[n, g] sum8[t, g])
//
// The inner sums are exact integers, and the groups are added in order, so a token's result does not depend on how many
// tokens are computed beside it. A tile keeps kTileTokens x kTileBlocks x 16 results in registers; a weight is read once
// for each kTileTokens tokens.
#pragma once

#include <algorithm>

#include "llmrt_cpu.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

// Quantizes one group of one token; values past `valid` count as zero.
inline void quantize_group(const float* x, int64_t valid, int group, int8_t* codes, float* scale, int32_t* sum) {
  float padded[64];
  if (valid < group) {
    for (int i = 0; i < group; ++i) padded[i] = i < valid ? x[i] : 0.0f;
    x = padded;
  }
  Float most = abs(load(x));
  for (int i = 16; i < group; i += 16) most = max(most, abs(load(x + i)));
  const float largest = max(most);
  const Float inverse = set1(largest > 0 ? 127.0f / largest : 0.0f);
  Int total = iset1(0);
  for (int i = 0; i < group; i += 16) {
    const Int code = to_int(mul(load(x + i), inverse));
    store_int8(codes + i, code);
    total = iadd(total, code);
  }
  *scale = largest / 127.0f;
  *sum = isum(total);
}

inline void quantize_activations(const llmrt_linear_args& a, Context& context) {
  const int64_t groups = a.columns / a.group, total = a.tokens * groups;
  context.share(total, std::max<int64_t>(16, total / (4 * context.threads)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t token = i / groups, column = i % groups * a.group;
      quantize_group(a.x + token * a.x_stride + column, a.x_columns - column, a.group, a.codes + i * a.group,
                     a.code_scales + i, a.code_sums + i);
    }
  });
}

// How the codes of each width are read: `kLines` lines of 64 bytes hold 8 columns of 16 rows.
template <int kBits>
struct Codes;

template <>
struct Codes<4> {
  static constexpr int kBytesPerColumn = 8;  // for 16 rows
  static constexpr float kZero = 8;
  template <int kTokens, int kBlocks>
  static void multiply(const uint8_t* const (&w)[kBlocks], const int8_t* const (&x)[kTokens],
                       Int (&acc)[kTokens][kBlocks]) {
    for (int b = 0; b < kBlocks; ++b) {
      const Bytes line = load_bytes(w[b]);
      const Bytes low = low_nibbles(line), high = high_nibbles(line);
      for (int t = 0; t < kTokens; ++t) {
        acc[t][b] = dot4_nibbles(acc[t][b], low, x[t]);
        acc[t][b] = dot4_nibbles(acc[t][b], high, x[t] + 4);
      }
    }
  }
};

template <>
struct Codes<8> {
  static constexpr int kBytesPerColumn = 16;
  static constexpr float kZero = 128;
  template <int kTokens, int kBlocks>
  static void multiply(const uint8_t* const (&w)[kBlocks], const int8_t* const (&x)[kTokens],
                       Int (&acc)[kTokens][kBlocks]) {
    for (int b = 0; b < kBlocks; ++b) {
      const Bytes first = load_bytes(w[b]), second = load_bytes(w[b] + 64);
      for (int t = 0; t < kTokens; ++t) {
        acc[t][b] = dot4(acc[t][b], first, x[t]);
        acc[t][b] = dot4(acc[t][b], second, x[t] + 4);
      }
    }
  }
};

// One tile: tokens `token`.., blocks of 16 rows `block`...
template <int kBits, int kTokens, int kBlocks, bool kZeros>
inline void linear_tile(const llmrt_linear_args& a, int64_t token, int64_t block) {
  const int64_t groups = a.columns / a.group;
  Float result[kTokens][kBlocks];
  for (auto& row : result)
    for (Float& r : row) r = set1(0.0f);
  for (int64_t g = 0; g < groups; ++g) {
    const uint8_t* w[kBlocks];
    const int8_t* x[kTokens];
    for (int b = 0; b < kBlocks; ++b)
      w[b] = a.data + ((block + b) * a.columns + g * a.group) * Codes<kBits>::kBytesPerColumn;
    for (int t = 0; t < kTokens; ++t) x[t] = a.codes + (token + t) * a.columns + g * a.group;
    Int acc[kTokens][kBlocks];
    for (auto& row : acc)
      for (Int& i : row) i = iset1(0);
    for (int k = 0; k < a.group; k += 8) {
      Codes<kBits>::template multiply<kTokens, kBlocks>(w, x, acc);
      for (int b = 0; b < kBlocks; ++b) w[b] += 8 * Codes<kBits>::kBytesPerColumn;
      for (int t = 0; t < kTokens; ++t) x[t] += 8;
    }
    for (int b = 0; b < kBlocks; ++b) {
      const int64_t at = ((block + b) * groups + g) * 16;
      const Float scale = load_fp16(a.scales + at);
      const Float zero = kZeros ? load_uint8(a.zeros + at) : set1(Codes<kBits>::kZero);
      for (int t = 0; t < kTokens; ++t) {
        const int64_t i = (token + t) * groups + g;
        const Float dot = fnma(zero, set1(static_cast<float>(a.code_sums[i])), to_float(acc[t][b]));
        result[t][b] = fma(dot, mul(scale, set1(a.code_scales[i])), result[t][b]);
      }
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    for (int b = 0; b < kBlocks; ++b) {
      const int64_t row = (block + b) * 16;
      float* y = a.y + (token + t) * a.y_stride + row;
      float values[16];
      store(values, result[t][b]);
      const int64_t valid = std::min<int64_t>(16, a.rows - row);
      for (int64_t i = 0; i < valid; ++i) y[i] = values[i] + (a.bias ? a.bias[row + i] : 0.0f);
    }
  }
}

// All tokens for kBlocks blocks: whole tiles, then the tokens that are left.
template <int kBits, int kBlocks, bool kZeros, int kTokens = kTileTokens>
inline void linear_tokens(const llmrt_linear_args& a, int64_t token, int64_t block) {
  for (; token + kTokens <= a.tokens; token += kTokens) linear_tile<kBits, kTokens, kBlocks, kZeros>(a, token, block);
  if constexpr (kTokens > 1) linear_tokens<kBits, kBlocks, kZeros, kTokens - 1>(a, token, block);
}

template <int kBits, bool kZeros>
inline void linear_blocks(const llmrt_linear_args& a, Context& context) {
  const int64_t blocks = (a.rows + 15) / 16, units = (blocks + kTileBlocks - 1) / kTileBlocks;
  context.share(units, std::max<int64_t>(1, units / (8 * context.threads)), [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t block = unit * kTileBlocks;
      if (block + kTileBlocks <= blocks)
        linear_tokens<kBits, kTileBlocks, kZeros>(a, 0, block);
      else
        linear_tokens<kBits, 1, kZeros>(a, 0, block);
    }
  });
}

inline void linear(const llmrt_linear_args& a, Context& context) {
  quantize_activations(a, context);
  context.barrier();
  if (a.bits == 8)
    linear_blocks<8, false>(a, context);
  else if (a.zeros)
    linear_blocks<4, true>(a, context);
  else
    linear_blocks<4, false>(a, context);
}

}  // namespace llmrt::LLMRT_ISA
