// LayerNorm, written for the product that follows; shared among threads as RMSNorm is.
#pragma once

#include <cmath>

#include "llmrt_cpu.h"
#include "ops/activations.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

inline float mean_of(const float* x, int64_t size) {
  Float total = set1(0.0f);
  for (int64_t i = 0; i < size; i += 16) total = add(total, load(x + i));
  return sum(total) / static_cast<float>(size);
}

inline float inverse_deviation(const float* x, int64_t size, float mean, float eps) {
  Float squares = set1(0.0f);
  for (int64_t i = 0; i < size; i += 16) {
    const Float off = sub(load(x + i), set1(mean));
    squares = fma(off, off, squares);
  }
  return 1.0f / std::sqrt(sum(squares) / static_cast<float>(size) + eps);
}

// (x - mean) * scale * weight + bias of token t's columns from i on, for whoever writes tokens one after the other.
template <class Args>
inline auto layer_normed(const Args& a) {
  return [&a, row = int64_t{-1}, mean = set1(0.0f), scale = set1(0.0f)](int64_t t, int64_t i) mutable {
    const float* x = a.x + t * a.size;
    if (t != row) {
      row = t;
      const float middle = mean_of(x, a.size);
      mean = set1(middle);
      scale = set1(inverse_deviation(x, a.size, middle, a.eps));
    }
    return fma(mul(sub(load(x + i), mean), scale), load(a.weight + i), load(a.bias + i));
  };
}

inline void layer_norm(const llmrt_layer_norm_args& a, Context& context) {
  write_rows(a.y, a.tokens, a.size, context, layer_normed(a));
}

}  // namespace llmrt::LLMRT_ISA
