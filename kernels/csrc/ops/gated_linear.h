// The first half of SwiGLU (https://arxiv.org/abs/2002.05202): y = g / (1 + e^-g) u, g = x Wg^T, u = x Wu^T, quantized
// for the product that follows. A unit of work is one group of y; its rows of both matrices stand together in memory.
#pragma once

#include <algorithm>

#include "llmrt_cpu.h"
#include "ops/math.h"
#include "ops/product.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

inline Float silu(Float x) { return div(x, add(set1(1.0f), exp(sub(set1(0.0f), x)))); }

inline void gated_linear(const llmrt_gated_linear_args& a, Context& context) {
  const int64_t size = a.weight.rows / 2;
  context.share(groups_of(a.y), 1, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      const int64_t first = g * a.y.group, count = std::min(a.y.group, size - first);
      for_tiles(a.tokens, [&]<int kTokens>(int64_t token) {
        float values[kTokens][kMaxGroup];
        for (int64_t i = 0; i < count; i += 16) {
          Float gate[kTokens];
          product(a.x, token, a.weight, 2 * first + i, gate);
          for (int t = 0; t < kTokens; ++t) store(values[t] + i, silu(gate[t]));
        }
        for (int64_t i = 0; i < count; i += 16) {
          Float up[kTokens];
          product(a.x, token, a.weight, 2 * first + count + i, up);
          for (int t = 0; t < kTokens; ++t) store(values[t] + i, mul(load(values[t] + i), up[t]));
        }
        for (int t = 0; t < kTokens; ++t) quantize_group(values[t], count, a.y, token + t, g);
      });
    }
  });
}

}  // namespace llmrt::LLMRT_ISA
