// RMSNorm, written for the product that follows. Every thread sums the squares of the rows that it has a part of, so
// that one row is shared without a meeting in between.
#pragma once

#include <cmath>

#include "llmrt_cpu.h"
#include "ops/activations.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

inline float inverse_rms(const float* x, int64_t size, float eps) {
  Float squares = set1(0.0f);
  for (int64_t i = 0; i < size; i += 16) squares = fma(load(x + i), load(x + i), squares);
  return 1.0f / std::sqrt(sum(squares) / static_cast<float>(size) + eps);
}

inline void rms_norm(const llmrt_rms_norm_args& a, Context& context) {
  int64_t row = -1;
  Float scale = set1(0.0f);
  write_rows(a.y, a.tokens, a.size, context, [&](int64_t t, int64_t i) {
    const float* x = a.x + t * a.size;
    if (t != row) {
      row = t;
      scale = set1(inverse_rms(x, a.size, a.eps));
    }
    return mul(mul(load(x + i), scale), load(a.weight + i));
  });
}

}  // namespace llmrt::LLMRT_ISA
