// Pages of keys and values of each type: writing one token's, and where a token's are.
#pragma once

#include <algorithm>
#include <cmath>

#include "llmrt_cpu.h"
#include "ops/codes.h"
#include "ops/floats.h"

namespace llmrt::LLMRT_ISA {

// Values before those of head `head` in block `block`; one token of it has D of them.
inline int64_t page_of(const llmrt_cache& c, int64_t block, int64_t head) {
  return (block * c.kv_heads + head) * c.page_stride;
}

inline int64_t scale_of(const llmrt_cache& c, int64_t slot, int64_t head) {
  return (slot / c.block_size * c.kv_heads + head) * c.scale_stride + slot % c.block_size;
}

// A float type: a token's D values stand together.
template <class Type>
struct FloatCache : Type {
  using Value = typename Type::Value;
  static constexpr bool kInt8 = false;
  static void write_key(const llmrt_cache& c, int64_t slot, int64_t head, const float* x) { put(c, c.k, slot, head, x); }
  static void write_value(const llmrt_cache& c, int64_t slot, int64_t head, const float* x) { put(c, c.v, slot, head, x); }

 private:
  static void put(const llmrt_cache& c, void* pages, int64_t slot, int64_t head, const float* x) {
    Value* to = static_cast<Value*>(pages) + page_of(c, slot / c.block_size, head) + slot % c.block_size * c.head_dim;
    for (int64_t i = 0; i < c.head_dim; i += 16) Type::write(to + i, load(x + i));
  }
};

// int8 with a scale for each token and head, laid out for byte products: see llmrt_cache.
struct Int8Cache {
  static constexpr bool kInt8 = true;
  static void write_key(const llmrt_cache& c, int64_t slot, int64_t head, const float* x) {
    const int64_t offset = slot % c.block_size;
    auto* to = static_cast<uint8_t*>(c.k) + page_of(c, slot / c.block_size, head) + offset / 16 * 16 * c.head_dim +
               offset % 16 * 4;
    const float inverse = write_scale(c, c.k_scales, slot, head, x);
    for (int64_t i = 0; i < c.head_dim; ++i)
      to[i / 4 * 64 + i % 4] = static_cast<uint8_t>(128 + std::lrintf(x[i] * inverse));
  }
  static void write_value(const llmrt_cache& c, int64_t slot, int64_t head, const float* x) {
    const int64_t offset = slot % c.block_size;
    auto* to = static_cast<int8_t*>(c.v) + page_of(c, slot / c.block_size, head) + offset / 4 * 4 * c.head_dim +
               offset % 4;
    const float inverse = write_scale(c, c.v_scales, slot, head, x);
    for (int64_t i = 0; i < c.head_dim; ++i) to[4 * i] = static_cast<int8_t>(std::lrintf(x[i] * inverse));
  }

 private:
  static float write_scale(const llmrt_cache& c, float* scales, int64_t slot, int64_t head, const float* x) {
    const float largest = largest_of(x, c.head_dim);
    scales[scale_of(c, slot, head)] = largest / 127.0f;
    return largest > 0 ? 127.0f / largest : 0.0f;
  }
};

// Calls `body` with the type's way of storing.
template <class Body>
inline void with_cache(int64_t dtype, Body body) {
  if (dtype == LLMRT_FP32) body(FloatCache<Fp32>{});
  if (dtype == LLMRT_BF16) body(FloatCache<Bf16>{});
  if (dtype == LLMRT_FP16) body(FloatCache<Fp16>{});
  if (dtype == LLMRT_INT8) body(Int8Cache{});
}

}  // namespace llmrt::LLMRT_ISA
