// Queries, keys and values of new tokens: the product, RMSNorm of queries and keys if there is one, RoPE (y1 = x1 cos - x2 sin, y2 = x2 cos + x1 sin on halves x1
// and x2) on queries and keys, and keys and values into the cache. A unit of work is one head.
#pragma once

#include <algorithm>
#include <vector>

#include "llmrt_cpu.h"
#include "ops/cache.h"
#include "ops/product.h"
#include "ops/rms_norm.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

inline void rotate(float* head, const float* cos_sin, int64_t half) {
  for (int64_t i = 0; i < half; i += 16) {
    const Float x1 = load(head + i), x2 = load(head + half + i), cos = load(cos_sin + i), sin = load(cos_sin + half + i);
    store(head + i, fnma(x2, sin, mul(x1, cos)));
    store(head + half + i, fma(x1, sin, mul(x2, cos)));
  }
}

inline void normalize(float* head, const float* weight, int64_t dim, float eps) {
  if (weight == nullptr) return;
  const Float scale = set1(inverse_rms(head, dim, eps));
  for (int64_t i = 0; i < dim; i += 16) store(head + i, mul(mul(load(head + i), scale), load(weight + i)));
}

template <class C>
inline void rotary_linear_of(const llmrt_rotary_linear_args& a, Context& context) {
  static thread_local std::vector<float> values;  // [tokens of a tile, D]
  const int64_t dim = a.cache.head_dim, kv_heads = a.cache.kv_heads;
  context.share(a.heads + 2 * kv_heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t head = begin; head < end; ++head) {
      for_tiles(a.tokens, [&]<int kTokens>(int64_t token) {
        values.resize(kTokens * dim);
        for (int64_t i = 0; i < dim; i += 16) {
          Float result[kTokens];
          product(a.x, token, a.weight, head * dim + i, result);
          add_delta(a.delta, a.weight.rows, token, head * dim + i, result);
          for (int t = 0; t < kTokens; ++t) store(values.data() + t * dim + i, result[t]);
        }
        for (int t = 0; t < kTokens; ++t) {
          const int64_t at = token + t;
          float* row = values.data() + t * dim;
          if (head < a.heads + kv_heads) normalize(row, head < a.heads ? a.q_norm : a.k_norm, dim, a.norm_eps);
          if (head < a.heads + kv_heads) rotate(row, a.cos_sin + a.positions[at] * dim, dim / 2);
          if (head < a.heads)
            std::copy_n(row, dim, a.q + (at * a.heads + head) * dim);
          else if (head < a.heads + kv_heads)
            C::write_key(a.cache, a.slot_mapping[at], head - a.heads, row);
          else
            C::write_value(a.cache, a.slot_mapping[at], head - a.heads - kv_heads, row);
        }
      });
    }
  });
}

inline void rotary_linear(const llmrt_rotary_linear_args& a, Context& context) {
  with_cache(a.cache.dtype, [&](auto cache) { rotary_linear_of<decltype(cache)>(a, context); });
}

}  // namespace llmrt::LLMRT_ISA
