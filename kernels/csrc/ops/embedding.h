// Rows of an int8 table that is packed for the matrix product: 4 values of a row in each line of 64 bytes.
#pragma once

#include <algorithm>

#include "llmrt_cpu.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

inline void embedding(const llmrt_embedding_args& a, Context& context) {
  context.share(a.tokens, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t block = a.token_ids[t] / 16, row = a.token_ids[t] % 16, groups = a.columns / a.group;
      const uint8_t* lines = a.data + block * a.columns * 16 + 4 * row;
      for (int64_t g = 0; g * a.group < a.out_columns; ++g) {
        float scales[16];
        store(scales, load_fp16(a.scales + (block * groups + g) * 16));
        const int64_t end_column = std::min<int64_t>((g + 1) * a.group, a.out_columns);
        for (int64_t k = g * a.group; k < end_column; ++k)
          a.out[t * a.out_columns + k] = scales[row] * (lines[k / 4 * 64 + k % 4] - 128);
      }
    }
  });
}

}  // namespace llmrt::LLMRT_ISA
