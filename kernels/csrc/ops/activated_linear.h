// The first half of an MLP without a gate, written for the product that follows. A unit of work is one group of y.
#pragma once

#include <algorithm>

#include "llmrt_cpu.h"
#include "ops/activation.h"
#include "ops/activations.h"
#include "ops/product.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

inline void activated_group(const llmrt_activated_linear_args& a, int64_t g) {
  const int64_t first = g * a.y.group, count = std::min(a.y.group, a.weight.rows - first);
  for_tiles(a.tokens, [&]<int kTokens>(int64_t token) {
    float values[kTokens][kMaxGroup];
    for (int64_t i = 0; i < count; i += 16) {
      Float result[kTokens];
      product(a.x, token, a.weight, first + i, result);
      add_delta(a.delta, a.weight.rows, token, first + i, result);
      for (int t = 0; t < kTokens; ++t) store(values[t] + i, activated(result[t], a.activation));
    }
    for (int t = 0; t < kTokens; ++t) write_group(values[t], count, a.y, token + t, g);
  });
}

inline void activated_linear(const llmrt_activated_linear_args& a, Context& context) {
  context.share(groups_of(a.y), 1, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) activated_group(a, g);
  });
}

}  // namespace llmrt::LLMRT_ISA
