// Choosing codes and scales for a weight, and packing them as `linear` reads them. Symmetric, w = scale (code - zero).
//
// bits 8   scale = largest / 127, codes rounded to nearest.
// bits 4   scale search. With e the group's value of largest magnitude, codes l = round(-(8 + d) / e * x), cut to
//          -8..7, are tried for kCandidates values of d around 0, so that -8 is used too. For given codes the best
//          scale under weights v is  sum(v x l) / sum(v l^2)  and takes  sum(v x l)^2 / sum(v l^2)  off the error
//          sum(v (x - scale l)^2); the candidate that takes most is kept. v = x^2: what is large matters more.
#pragma once

#include <algorithm>
#include <cmath>

#include "llmrt_cpu.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

constexpr int kCandidates = 19;
constexpr float kCandidateStep = 0.1f;

inline Float rounded(Float x, float low, float high) {
  return to_float(to_int(max(min(x, set1(high)), set1(low))));
}

inline float search_scale(const float* x, int group) {
  float extreme = 0;
  for (int i = 0; i < group; ++i)
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  if (extreme == 0) return 0;
  float best_gain = -1, best_scale = 0;
  for (int c = 0; c < kCandidates; ++c) {
    const Float inverse = set1(-(8.0f + kCandidateStep * static_cast<float>(c - kCandidates / 2)) / extreme);
    Float xl = set1(0.0f), ll = set1(0.0f);
    for (int i = 0; i < group; i += 16) {
      const Float value = mul(load(x + i), set1(1.0f / extreme));  // in -1..1, so that no square overflows
      const Float l = rounded(mul(load(x + i), inverse), -8, 7);
      const Float weighted = mul(mul(value, value), l);
      xl = fma(weighted, value, xl);
      ll = fma(weighted, l, ll);
    }
    const float numerator = sum(xl), denominator = sum(ll);
    if (denominator > 0 && numerator * numerator > best_gain * denominator) {
      best_gain = numerator * numerator / denominator;
      best_scale = numerator / denominator * extreme;
    }
  }
  return best_scale;
}

inline float largest_scale(const float* x, int group) {
  Float most = abs(load(x));
  for (int i = 16; i < group; i += 16) most = max(most, abs(load(x + i)));
  return max(most) / 127.0f;
}

// Codes of one group of 16 rows, [16][group], and its scales.
inline void quantize_group_of_rows(const llmrt_quantize_args& a, int64_t block, int64_t g, uint8_t* codes) {
  const int64_t column = g * a.group, groups = a.packed_columns / a.group;
  const float low = a.bits == 4 ? -8 : -127, high = a.bits == 4 ? 7 : 127, zero = a.bits == 4 ? 8 : 128;
  float rows[16][64], scales[16];
  for (int r = 0; r < 16; ++r) {
    const int64_t row = block * 16 + r;
    const int64_t valid = row < a.rows ? std::clamp<int64_t>(a.columns - column, 0, a.group) : 0;
    std::fill_n(rows[r], a.group, 0.0f);
    std::copy_n(a.weight + row * a.columns + column, valid, rows[r]);
    scales[r] = a.bits == 4 ? search_scale(rows[r], a.group) : largest_scale(rows[r], a.group);
  }
  uint16_t* stored = a.scales + (block * groups + g) * 16;
  store_fp16(stored, load(scales));
  store(scales, load_fp16(stored));
  for (int r = 0; r < 16; ++r) {
    const Float inverse = set1(scales[r] == 0 ? 0.0f : 1.0f / scales[r]);
    for (int i = 0; i < a.group; i += 16) {
      float values[16];
      store(values, add(rounded(mul(load(rows[r] + i), inverse), low, high), set1(zero)));
      for (int j = 0; j < 16; ++j) codes[r * a.group + i + j] = static_cast<uint8_t>(values[j]);
    }
  }
}

inline void quantize(const llmrt_quantize_args& a, Context& context) {
  const int64_t groups = a.packed_columns / a.group;
  context.share((a.rows + 15) / 16, 1, [&](int64_t begin, int64_t end) {
    uint8_t codes[16 * 64];
    for (int64_t block = begin; block < end; ++block) {
      for (int64_t g = 0; g < groups; ++g) {
        quantize_group_of_rows(a, block, g, codes);
        const int step = a.bits == 4 ? 8 : 4;  // columns in a line
        uint8_t* line = a.data + (block * a.packed_columns + g * a.group) / step * 64;
        for (int k = 0; k < a.group; k += step, line += 64)
          for (int i = 0; i < 64; ++i) {
            const uint8_t* from = codes + i / 4 * a.group + k + i % 4;
            line[i] = a.bits == 4 ? static_cast<uint8_t>(from[0] | from[4] << 4) : from[0];
          }
      }
    }
  });
}

}  // namespace llmrt::LLMRT_ISA
