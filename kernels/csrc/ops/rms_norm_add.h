// RMSNorm of what is added to the residual stream. A unit of work is one token.
#pragma once

#include "llmrt_cpu.h"
#include "ops/rms_norm.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

inline void rms_norm_add(const llmrt_rms_norm_add_args& a, Context& context) {
  context.share(a.tokens, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t row = t * a.size;
      const Float scale = set1(inverse_rms(a.x + row, a.size, a.eps));
      for (int64_t i = 0; i < a.size; i += 16)
        store(a.y + row + i, fma(mul(load(a.x + row + i), scale), load(a.weight + i), load(a.residual + row + i)));
    }
  });
}

}  // namespace llmrt::LLMRT_ISA
