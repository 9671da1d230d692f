// Queries, keys and values of new tokens: the product, a norm of each head of queries and keys if there is one, RoPE on
// both, and keys and values into the cache. A unit of work is one head.
#pragma once

#include <vector>

#include "llmrt_cpu.h"
#include "ops/finished_head.h"
#include "ops/product.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

inline void normalize_head(const llmrt_rotary_linear_args& a, int64_t head, float* x) {
  const int64_t dim = a.cache.head_dim, key = head - a.heads;
  if (a.q_norm == nullptr || key >= a.cache.kv_heads) return;
  const float* weight = key < 0 ? a.q_norm : a.k_norm;
  if (!a.centred) return normalize(x, weight, dim, set1(0.0f), set1(inverse_rms(x, dim, a.norm_eps)));
  const float mean = mean_of(x, dim);
  normalize(x, weight + (key < 0 ? head : key) * dim, dim, set1(mean), set1(inverse_deviation(x, dim, mean, a.norm_eps)));
}

inline void rotary_linear(const llmrt_rotary_linear_args& a, Context& context) {
  static thread_local std::vector<float> values;  // [tokens of a tile, D]
  const int64_t dim = a.cache.head_dim;
  context.share(a.heads + 2 * a.cache.kv_heads, 1, [&](int64_t begin, int64_t end) {
    values.resize(kMostTokens * dim);
    for (int64_t head = begin; head < end; ++head) {
      const Panel panel(a.x, a.weight, head * dim, dim / 16, 0, a.tokens);
      panel.for_tiles_of_tokens([&](int64_t token, int64_t tokens) {
        panel.multiply(token, tokens, head * dim, dim / 16, values.data(), dim);
        add_delta(a.delta, a.weight.rows, token, tokens, head * dim, dim, values.data(), dim);
        for (int64_t t = 0; t < tokens; ++t) {
          normalize_head(a, head, values.data() + t * dim);
          finish_head(a, head, token + t, values.data() + t * dim);
        }
      });
    }
  });
}

}  // namespace llmrt::LLMRT_ISA
