// The residual stream, fp32 [T, N] with N a multiple of 16: what is added to it besides products, and its own norm.
#pragma once

#include "llmrt_cpu.h"
#include "ops/layer_norm.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

// Writes what `value(t, i)` gives for the sixteen columns from i on; a unit of work is one token.
template <class Value>
inline void write_stream(float* y, int64_t tokens, int64_t size, Context& context, Value value) {
  context.share(tokens, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      for (int64_t i = 0; i < size; i += 16) store(y + t * size + i, value(t, i));
  });
}

inline void add_rows(const llmrt_add_rows_args& a, Context& context) {
  write_stream(a.y, a.tokens, a.size, context, [&](int64_t t, int64_t i) {
    return add(load(a.x + t * a.size + i), load(a.table + a.index[t] * a.size + i));
  });
}

inline void add_scaled(const llmrt_add_scaled_args& a, Context& context) {
  const Float factor = set1(a.factor);
  write_stream(a.y, a.tokens, a.size, context, [&](int64_t t, int64_t i) {
    return fma(load(a.x + t * a.size + i), factor, load(a.residual + t * a.size + i));
  });
}

inline void stream_norm(const llmrt_stream_norm_args& a, Context& context) {
  write_stream(a.y, a.tokens, a.size, context, layer_normed(a));
}

}  // namespace llmrt::LLMRT_ISA
