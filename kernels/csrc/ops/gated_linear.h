// The first half of a gated MLP (https://arxiv.org/abs/2002.05202): y = activation(g) u, g = x Wg^T, u = x Wu^T, written
// for the product that follows. A unit of work is one group of y; its rows of both matrices stand together in memory.
#pragma once

#include <algorithm>

#include "llmrt_cpu.h"
#include "ops/activation.h"
#include "ops/product.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

// Group g of y for tokens [token, end); both matrices of `size` rows begin at row `first_row` of the weight.
inline void gated_group(const llmrt_activations& x, const llmrt_weight& weight, int64_t first_row, int64_t size,
                        const llmrt_activations& y, int64_t g, int64_t token, int64_t end,
                        int64_t activation = LLMRT_SILU, const float* delta = nullptr) {
  const int64_t first = g * y.group, count = std::min(y.group, size - first), row = first_row + 2 * first;
  const Panel panel(x, weight, row, count / 8, token, end);
  panel.for_tiles_of_tokens([&](int64_t at, int64_t tokens) {
    float gates[kMostTokens][kMaxGroup], ups[kMostTokens][kMaxGroup];
    panel.multiply(at, tokens, row, count / 16, gates[0], kMaxGroup);
    add_delta(delta, 2 * size, at, tokens, first, count, gates[0], kMaxGroup);
    for (int64_t t = 0; t < tokens; ++t) activate(gates[t], count, activation);
    panel.multiply(at, tokens, row + count, count / 16, ups[0], kMaxGroup);
    add_delta(delta, 2 * size, at, tokens, size + first, count, ups[0], kMaxGroup);
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t i = 0; i < count; i += 16) store(gates[t] + i, mul(load(gates[t] + i), load(ups[t] + i)));
      write_group(gates[t], count, y, at + t, g);
    }
  });
}

inline void gated_linear(const llmrt_gated_linear_args& a, Context& context) {
  context.share(groups_of(a.y), 1, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g)
      gated_group(a.x, a.weight, 0, a.weight.rows / 2, a.y, g, 0, a.tokens, a.activation, a.delta);
  });
}

}  // namespace llmrt::LLMRT_ISA
