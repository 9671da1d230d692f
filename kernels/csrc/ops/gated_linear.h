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
  for_token_tiles(token, end, [&]<int kTokens, int kBlocks>(int64_t at) {
    float values[kTokens][kMaxGroup];
    for_tiles<kBlocks>(count / 16, [&]<int kNow>(int64_t block) {
      Float gate[kNow][kTokens];
      product<kNow>(x, at, panel, row + 16 * block, gate);
      add_delta<kNow>(delta, 2 * size, at, first + 16 * block, gate);
      for (int b = 0; b < kNow; ++b)
        for (int t = 0; t < kTokens; ++t) store(values[t] + 16 * (block + b), gate[b][t]);
    });
    for (float* gate : values) activate(gate, count, activation);
    for_tiles<kBlocks>(count / 16, [&]<int kNow>(int64_t block) {
      Float up[kNow][kTokens];
      product<kNow>(x, at, panel, row + count + 16 * block, up);
      add_delta<kNow>(delta, 2 * size, at, size + first + 16 * block, up);
      for (int b = 0; b < kNow; ++b)
        for (int t = 0; t < kTokens; ++t) {
          float* value = values[t] + 16 * (block + b);
          store(value, mul(load(value), up[b][t]));
        }
    });
    for (int t = 0; t < kTokens; ++t) write_group(values[t], count, y, at + t, g);
  });
}

inline void gated_linear(const llmrt_gated_linear_args& a, Context& context) {
  context.share(groups_of(a.y), 1, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g)
      gated_group(a.x, a.weight, 0, a.weight.rows / 2, a.y, g, 0, a.tokens, a.activation, a.delta);
  });
}

}  // namespace llmrt::LLMRT_ISA
