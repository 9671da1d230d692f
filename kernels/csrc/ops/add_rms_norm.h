// RMSNorm with the residual stream added on the way; a row is one thread's.
#pragma once

#include <cmath>

#include "llmrt_cpu.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

inline void add_rms_norm(const llmrt_add_rms_norm_args& a, Context& context) {
  context.share(a.tokens, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t at = t * a.size;
      Float squares = set1(0.0f);
      for (int64_t i = 0; i < a.size; i += 16) {
        const Float x = load(a.x + at + i);
        const Float total = a.residual ? add(x, load(a.residual + at + i)) : x;
        store(a.total + at + i, total);
        squares = fma(total, total, squares);
      }
      const Float scale = set1(1.0f / std::sqrt(sum(squares) / static_cast<float>(a.size) + a.eps));
      for (int64_t i = 0; i < a.size; i += 16)
        store(a.normed + at + i, mul(mul(load(a.total + at + i), scale), load(a.weight + i)));
    }
  });
}

}  // namespace llmrt::LLMRT_ISA
