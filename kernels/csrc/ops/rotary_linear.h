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

template <class C>
inline void rotary_linear_of(const llmrt_rotary_linear_args& a, Context& context) {
  static thread_local std::vector<float> values;  // [tokens of a tile, D]
  const int64_t dim = a.cache.head_dim;
  context.share(a.heads + 2 * a.cache.kv_heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t head = begin; head < end; ++head) {
      const Panel panel(a.x, a.weight, head * dim, dim / 16, 0, a.tokens);
      for_token_tiles(0, a.tokens, [&]<int kTokens, int kBlocks>(int64_t token) {
        values.resize(kTokens * dim);
        for_tiles<kBlocks>(dim / 16, [&]<int kNow>(int64_t block) {
          Float result[kNow][kTokens];
          const int64_t row = head * dim + 16 * block;
          product<kNow>(a.x, token, panel, row, result);
          add_delta<kNow>(a.delta, a.weight.rows, token, row, result);
          for (int b = 0; b < kNow; ++b)
            for (int t = 0; t < kTokens; ++t) store(values.data() + t * dim + 16 * (block + b), result[b][t]);
        });
        for (int t = 0; t < kTokens; ++t) {
          normalize_head(a, head, values.data() + t * dim);
          finish_head<C>(a, head, token + t, values.data() + t * dim);
        }
      });
    }
  });
}

inline void rotary_linear(const llmrt_rotary_linear_args& a, Context& context) {
  with_cache(a.cache.dtype, [&](auto cache) { rotary_linear_of<decltype(cache)>(a, context); });
}

}  // namespace llmrt::LLMRT_ISA
