// What becomes of a head of queries, keys or values once its product is known: its norm, RoPE (y1 = x1 cos - x2 sin,
// y2 = x2 cos + x1 sin on halves x1 and x2) on queries and keys, and its place in `q` or in the cache.
#pragma once

#include <algorithm>

#include "llmrt_cpu.h"
#include "ops/cache.h"
#include "ops/layer_norm.h"
#include "ops/rms_norm.h"

namespace llmrt::LLMRT_ISA {

inline void rotate(float* head, const float* cos_sin, int64_t half) {
  for (int64_t i = 0; i < half; i += 16) {
    const Float x1 = load(head + i), x2 = load(head + half + i), cos = load(cos_sin + i), sin = load(cos_sin + half + i);
    store(head + i, fnma(x2, sin, mul(x1, cos)));
    store(head + half + i, fma(x1, sin, mul(x2, cos)));
  }
}

// (x - mean) * scale * weight.
inline void normalize(float* head, const float* weight, int64_t dim, Float mean, Float scale) {
  for (int64_t i = 0; i < dim; i += 16) store(head + i, mul(mul(sub(load(head + i), mean), scale), load(weight + i)));
}

// Rotates head `head` of token `t`, one of queries, then keys, then values, and puts it where it belongs.
template <class Args>
inline void finish_head(const Args& a, int64_t head, int64_t t, float* x) {
  const int64_t dim = a.cache.head_dim, kv_heads = a.cache.kv_heads, keys = a.heads, values = a.heads + kv_heads;
  if (head < values) rotate(x, a.cos_sin + a.positions[t] * dim, dim / 2);
  if (head < keys) {
    std::copy_n(x, dim, a.q + (t * a.heads + head) * dim);
    return;
  }
  with_cache(a.cache.dtype, [&](auto type) {
    using C = decltype(type);
    head < values ? C::write_key(a.cache, a.slot_mapping[t], head - keys, x)
                  : C::write_value(a.cache, a.slot_mapping[t], head - values, x);
  });
}

}  // namespace llmrt::LLMRT_ISA
