// Activations to int8, a scale for each group: x = scale code, scale = largest / 127.
#pragma once

#include <algorithm>

#include "llmrt_cpu.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

constexpr int64_t kMaxGroup = 64;

inline int64_t groups_of(const llmrt_codes& y) { return y.columns / y.group; }
inline int64_t stride_of(const llmrt_codes& y) { return y.columns + 64; }

inline float largest_of(const float* x, int64_t size) {
  Float most = abs(load(x));
  for (int64_t i = 16; i < size; i += 16) most = max(most, abs(load(x + i)));
  return max(most);
}

// Codes of the `count` values at x, a multiple of 16, their scale, and the sum of the codes.
inline void quantize_values(const float* x, int64_t count, int8_t* codes, float& scale, int32_t& sum) {
  const float largest = largest_of(x, count);
  const Float inverse = set1(largest > 0 ? 127.0f / largest : 0.0f);
  Int total = iset1(0);
  for (int64_t i = 0; i < count; i += 16) {
    const Int code = to_int(mul(load(x + i), inverse));
    store_int8(codes + i, code);
    total = iadd(total, code);
  }
  scale = largest / 127.0f;
  sum = isum(total);
}

// Group g of token t from `count` values at x, a multiple of 16; what is missing to a whole group counts as zero.
inline void quantize_group(const float* x, int64_t count, const llmrt_codes& y, int64_t t, int64_t g) {
  int8_t* codes = y.codes + t * stride_of(y) + g * y.group;
  const int64_t at = t * groups_of(y) + g;
  quantize_values(x, count, codes, y.scales[at], y.sums[at]);
  std::fill(codes + count, codes + y.group, int8_t{0});
}

// Quantizes what `value(t, i)` gives for the sixteen columns from i on, for all tokens; `size` is a multiple of 16.
template <class Value>
inline void quantize_rows(const llmrt_codes& y, int64_t tokens, int64_t size, Context& context, Value value) {
  const int64_t groups = groups_of(y), total = tokens * groups;
  context.share(total, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t t = i / groups, g = i % groups, count = std::min(y.group, size - g * y.group);
      float values[kMaxGroup];
      for (int64_t j = 0; j < count; j += 16) store(values + j, value(t, g * y.group + j));
      quantize_group(values, count, y, t, g);
    }
  });
}

inline void quantize_rows(const llmrt_quantize_rows_args& a, Context& context) {
  quantize_rows(a.y, a.tokens, a.size, context, [&](int64_t t, int64_t i) { return load(a.x + t * a.size + i); });
}

}  // namespace llmrt::LLMRT_ISA
