// Rotate queries and keys, store keys and values: y1 = x1 cos - x2 sin, y2 = x2 cos + x1 sin, halves x1 and x2.
#pragma once

#include "llmrt_cpu.h"
#include "ops/cache.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

template <class Write>
inline void rotate_head(const float* x, const float* cos_sin, int64_t half, Write write) {
  for (int64_t i = 0; i < half; i += 16) {
    const Float x1 = load(x + i), x2 = load(x + half + i), cos = load(cos_sin + i), sin = load(cos_sin + half + i);
    write(i, fnma(x2, sin, mul(x1, cos)));
    write(half + i, fma(x1, sin, mul(x2, cos)));
  }
}

template <class C>
inline void rope_kv_write_token(const llmrt_rope_kv_write_args& a, int64_t t) {
  const int64_t dim = a.head_dim, half = dim / 2;
  const float* heads = a.qkv + t * (a.heads + 2 * a.kv_heads) * dim;
  const float* cos_sin = a.cos_sin + a.positions[t] * dim;
  for (int64_t h = 0; h < a.heads; ++h) {
    float* q = a.q + (t * a.heads + h) * dim;
    rotate_head(heads + h * dim, cos_sin, half, [&](int64_t i, Float y) { store(q + i, y); });
  }
  const int64_t block = a.slot_mapping[t] / a.block_size, offset = a.slot_mapping[t] % a.block_size;
  for (int64_t h = 0; h < a.kv_heads; ++h) {
    const int64_t at = ((block * a.kv_heads + h) * a.block_size + offset) * dim;
    auto* k = static_cast<typename C::Value*>(a.k_cache) + at;
    auto* v = static_cast<typename C::Value*>(a.v_cache) + at;
    rotate_head(heads + (a.heads + h) * dim, cos_sin, half, [&](int64_t i, Float y) { C::write(k + i, y); });
    const float* values = heads + (a.heads + a.kv_heads + h) * dim;
    for (int64_t i = 0; i < dim; i += 16) C::write(v + i, load(values + i));
  }
}

inline void rope_kv_write(const llmrt_rope_kv_write_args& a, Context& context) {
  with_cache(a.cache_dtype, [&](auto cache) {
    context.share(a.tokens, 1, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) rope_kv_write_token<decltype(cache)>(a, t);
    });
  });
}

}  // namespace llmrt::LLMRT_ISA
