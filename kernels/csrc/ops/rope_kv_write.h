// The second half of `rotary_linear` for models that normalise all heads of a token at once, which takes the whole
// product. A unit of work is one token.
#pragma once

#include <algorithm>
#include <vector>

#include "llmrt_cpu.h"
#include "ops/finished_head.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

inline void normalize_heads(const float* x, const float* weight, int64_t size, float eps, float* y) {
  std::copy_n(x, size, y);
  normalize(y, weight, size, set1(0.0f), set1(inverse_rms(x, size, eps)));
}

inline void rope_kv_write(const llmrt_rope_kv_write_args& a, Context& context) {
  static thread_local std::vector<float> heads;
  const int64_t dim = a.cache.head_dim, kv_heads = a.cache.kv_heads, count = a.heads + 2 * kv_heads;
  const int64_t queries = a.heads * dim, keys = kv_heads * dim;
  context.share(a.tokens, 1, [&](int64_t begin, int64_t end) {
    heads.resize(count * dim);
    for (int64_t t = begin; t < end; ++t) {
      const float* x = a.qkv + t * count * dim;
      normalize_heads(x, a.q_norm, queries, a.norm_eps, heads.data());
      normalize_heads(x + queries, a.k_norm, keys, a.norm_eps, heads.data() + queries);
      std::copy_n(x + queries + keys, keys, heads.data() + queries + keys);
      for (int64_t head = 0; head < count; ++head) finish_head(a, head, t, heads.data() + head * dim);
    }
  });
}

}  // namespace llmrt::LLMRT_ISA
