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
  const Panel panel(a.x, a.weight, first, count / 16, 0, a.tokens);
  for_token_tiles(0, a.tokens, [&]<int kTokens, int kBlocks>(int64_t token) {
    float values[kTokens][kMaxGroup];
    for_tiles<kBlocks>(count / 16, [&]<int kNow>(int64_t block) {
      Float result[kNow][kTokens];
      product<kNow>(a.x, token, panel, first + 16 * block, result);
      add_delta<kNow>(a.delta, a.weight.rows, token, first + 16 * block, result);
      for (int b = 0; b < kNow; ++b)
        for (int t = 0; t < kTokens; ++t) store(values[t] + 16 * (block + b), result[b][t]);
    });
    for (float* row : values) activate(row, count, a.activation);
    for (int t = 0; t < kTokens; ++t) write_group(values[t], count, a.y, token + t, g);
  });
}

inline void activated_linear(const llmrt_activated_linear_args& a, Context& context) {
  context.share(groups_of(a.y), 1, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) activated_group(a, g);
  });
}

}  // namespace llmrt::LLMRT_ISA
