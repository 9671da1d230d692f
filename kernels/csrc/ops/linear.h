// y = x W^T + bias + residual; a unit of work is a panel of W, 16 rows or as many as a tile has.
#pragma once

#include <algorithm>

#include "llmrt_cpu.h"
#include "ops/product.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

// The `count` columns from `row` on of y's row `token`, from the whole blocks at `results`.
inline void write_results(const llmrt_linear_args& a, int64_t token, int64_t row, int64_t count, const float* results) {
  const int64_t at = token * a.weight.rows + row;
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const Float result = load(results + i);
    store(a.y + at + i, a.residual ? add(result, load(a.residual + at + i)) : result);
  }
  for (; i < count; ++i) a.y[at + i] = results[i] + (a.residual ? a.residual[at + i] : 0.0f);
}

// Blocks [begin, end) of 16 rows, as many as a tile has at most, for all tokens.
inline void linear_panel(const llmrt_linear_args& a, int64_t begin, int64_t end) {
  const int64_t row = begin * 16, count = std::min(end * 16, a.weight.rows) - row;
  const Panel panel(a.x, a.weight, row, end - begin, 0, a.tokens);
  panel.for_tiles_of_tokens([&](int64_t token, int64_t tokens) {
    float results[kMostTokens][16 * kWideBlocks];
    panel.multiply(token, tokens, row, end - begin, results[0], 16 * kWideBlocks);
    for (int64_t t = 0; t < tokens; ++t) write_results(a, token + t, row, count, results[t]);
  });
}

inline void linear(const llmrt_linear_args& a, Context& context) {
  const int64_t blocks = (a.weight.rows + 15) / 16, panel = are_many(a.tokens) ? kWideBlocks : 1;
  context.share(blocks, panel, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; block += panel) linear_panel(a, block, std::min(end, block + panel));
  });
}

}  // namespace llmrt::LLMRT_ISA
