// What adapters add to a product (https://arxiv.org/abs/2106.09685): y[t] = residual[t] + B (A x[t]), A and B those of
// the token's adapter. Tokens are taken adapter by adapter, so that a matrix is read once for all of its tokens; a unit
// of work is 16 rows of one.
#pragma once

#include <algorithm>
#include <vector>

#include "llmrt_cpu.h"
#include "ops/activations.h"
#include "ops/product.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

inline bool is_adapted(const llmrt_lora_args& a, int64_t t) {
  return a.adapters[t] >= 0 && a.adapters[t] < a.num_adapters;
}

// The tokens that have an adapter, sorted by it; those of adapter i stand from starts[i] to starts[i + 1].
struct Adapted {
  std::vector<int64_t> tokens, starts, next;

  void sort(const llmrt_lora_args& a) {
    starts.assign(a.num_adapters + 1, 0);
    for (int64_t t = 0; t < a.tokens; ++t)
      if (is_adapted(a, t)) ++starts[a.adapters[t] + 1];
    for (int64_t i = 0; i < a.num_adapters; ++i) starts[i + 1] += starts[i];
    tokens.resize(starts.back());
    next = starts;
    for (int64_t t = 0; t < a.tokens; ++t)
      if (is_adapted(a, t)) tokens[next[a.adapters[t]]++] = t;
  }
};

// Shares the blocks of 16 rows of one matrix of each piece, calling body(adapter, piece's number, block).
template <class Body>
inline void share_blocks(const llmrt_lora_args& a, const Adapted& adapted, llmrt_matrix llmrt_low_rank::* matrix,
                         int64_t grain, Context& context, Body body) {
  const auto for_pieces = [&](auto visit) {
    for (int64_t i = 0; i < a.num_adapters; ++i)
      if (adapted.starts[i] < adapted.starts[i + 1])
        for (int64_t p = 0; p < a.table[i].num_pieces; ++p) visit(i, p, (a.table[i].pieces[p].*matrix).rows / 16);
  };
  int64_t total = 0;
  for_pieces([&](int64_t, int64_t, int64_t blocks) { total += blocks; });
  context.share(total, grain, [&](int64_t begin, int64_t end) {
    int64_t first = 0;  // of the piece, among all
    for_pieces([&](int64_t i, int64_t p, int64_t blocks) {
      for (int64_t at = std::max(begin, first); at < std::min(end, first + blocks); ++at) body(i, p, at - first);
      first += blocks;
    });
  });
}

// A x of the tokens of one adapter, [tokens, R].
inline llmrt_activations shrunk_by(const llmrt_lora_args& a, const Adapted& adapted, int64_t adapter, int64_t piece) {
  float* values = a.shrunk + (piece * a.tokens + adapted.starts[adapter]) * (a.max_rank + 16);
  return {values, nullptr, nullptr, nullptr, a.table[adapter].pieces[piece].a.rows, 16, LLMRT_FP32};
}

inline llmrt_weight weight_of(const llmrt_matrix& matrix) { return {{matrix}, 1, matrix.rows, nullptr}; }

// y begins as the residual; `wide` gets the rows of x that have an adapter, in their order.
inline void begin_lora(const llmrt_lora_args& a, const Adapted& adapted, Context& context) {
  const int64_t total = a.tokens + static_cast<int64_t>(adapted.tokens.size());
  context.share(total, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (i >= a.tokens) {
        const int64_t row = i - a.tokens;
        read_row(a.x, adapted.tokens[row], a.wide.columns, row_of<float>(a.wide, row));
      } else if (a.residual == nullptr) {
        std::fill_n(a.y + i * a.rows, a.rows, 0.0f);
      } else {
        std::copy_n(a.residual + i * a.rows, a.rows, a.y + i * a.rows);
      }
    }
  });
}

inline void lora(const llmrt_lora_args& a, Context& context) {
  static thread_local Adapted adapted;
  adapted.sort(a);
  begin_lora(a, adapted, context);
  context.barrier();
  share_blocks(a, adapted, &llmrt_low_rank::a, 1, context, [&](int64_t i, int64_t p, int64_t block) {
    const llmrt_activations h = shrunk_by(a, adapted, i, p);
    const llmrt_weight weight = weight_of(a.table[i].pieces[p].a);
    const int64_t first = adapted.starts[i];
    const Panel panel(a.wide, weight, 16 * block, 1, first, adapted.starts[i + 1]);
    panel.for_tiles_of_tokens([&](int64_t row, int64_t rows) {
      panel.multiply(row, rows, 16 * block, 1, row_of<float>(h, row - first) + 16 * block, stride_of<float>(h));
    });
  });
  context.barrier();
  share_blocks(a, adapted, &llmrt_low_rank::b, 8, context, [&](int64_t i, int64_t p, int64_t block) {
    const llmrt_activations h = shrunk_by(a, adapted, i, p);
    const llmrt_low_rank& piece = a.table[i].pieces[p];
    const llmrt_weight weight = weight_of(piece.b);
    const int64_t* tokens = adapted.tokens.data() + adapted.starts[i];
    const Panel panel(h, weight, 16 * block, 1, 0, adapted.starts[i + 1] - adapted.starts[i]);
    panel.for_tiles_of_tokens([&](int64_t row, int64_t rows) {
      float results[kMostTokens][16];
      panel.multiply(row, rows, 16 * block, 1, results[0], 16);
      for (int64_t t = 0; t < rows; ++t) {
        float* y = a.y + tokens[row + t] * a.rows + piece.start + 16 * block;
        store(y, add(load(y), load(results[t])));
      }
    });
  });
}

}  // namespace llmrt::LLMRT_ISA
