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
  panel.for_tiles_of_tokens([&](int64_t token, int64_t tokens) {
    float values[kMostTokens][kMaxGroup];
    panel.multiply(token, tokens, first, count / 16, values[0], kMaxGroup);
    add_delta(a.delta, a.weight.rows, token, tokens, first, count, values[0], kMaxGroup);
    for (int64_t t = 0; t < tokens; ++t) {
      activate(values[t], count, a.activation);
      write_group(values[t], count, a.y, token + t, g);
    }
  });
}

inline void activated_linear(const llmrt_activated_linear_args& a, Context& context) {
  context.share(groups_of(a.y), 1, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) activated_group(a, g);
  });
}

}  // namespace llmrt::LLMRT_ISA
