// y = x W^T + bias + residual; a unit of work is 16 rows of W.
#pragma once

#include <algorithm>

#include "llmrt_cpu.h"
#include "ops/product.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

inline void linear(const llmrt_linear_args& a, Context& context) {
  const int64_t rows = a.weight.rows, blocks = (rows + 15) / 16;
  context.share(blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin * 16; row < std::min(end * 16, rows); row += 16) {
      for_tiles(a.tokens, [&]<int kTokens>(int64_t token) {
        Float result[kTokens];
        product(a.x, token, a.weight, row, result);
        for (int t = 0; t < kTokens; ++t) {
          const int64_t at = (token + t) * rows + row;
          if (row + 16 <= rows) {
            store(a.y + at, a.residual ? add(result[t], load(a.residual + at)) : result[t]);
            continue;
          }
          float values[16];
          store(values, result[t]);
          for (int64_t i = 0; row + i < rows; ++i) a.y[at + i] = values[i] + (a.residual ? a.residual[at + i] : 0.0f);
        }
      });
    }
  });
}

}  // namespace llmrt::LLMRT_ISA
