// y = x W^T + bias + residual; a unit of work is a panel of W, 16 rows or as many as a tile has.
#pragma once

#include <algorithm>

#include "llmrt_cpu.h"
#include "ops/product.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

// The 16 columns from `row` on of y's row `token`; those past its end are left out.
inline void write_result(const llmrt_linear_args& a, int64_t token, int64_t row, Float result) {
  const int64_t rows = a.weight.rows, at = token * rows + row;
  if (row + 16 <= rows) return store(a.y + at, a.residual ? add(result, load(a.residual + at)) : result);
  float values[16];
  store(values, result);
  for (int64_t i = 0; row + i < rows; ++i) a.y[at + i] = values[i] + (a.residual ? a.residual[at + i] : 0.0f);
}

// Blocks [begin, end) of 16 rows, for all tokens.
inline void linear_panel(const llmrt_linear_args& a, int64_t begin, int64_t end) {
  const Panel panel(a.x, a.weight, begin * 16, end - begin, 0, a.tokens);
  for_token_tiles(0, a.tokens, [&]<int kTokens, int kBlocks>(int64_t token) {
    const auto tile = [&]<int kNow>(int64_t block) {
      Float result[kNow][kTokens];
      product<kNow>(a.x, token, panel, block * 16, result);
      for (int b = 0; b < kNow; ++b)
        for (int t = 0; t < kTokens; ++t) write_result(a, token + t, (block + b) * 16, result[b][t]);
    };
    for_tiles<kBlocks>(end, tile, begin);
  });
}

inline void linear(const llmrt_linear_args& a, Context& context) {
  const int64_t blocks = (a.weight.rows + 15) / 16, panel = are_many(a.tokens) ? kWideBlocks : 1;
  context.share(blocks, panel, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; block += panel) linear_panel(a, block, std::min(end, block + panel));
  });
}

}  // namespace llmrt::LLMRT_ISA
