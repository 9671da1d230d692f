// The gate of SwiGLU: y = gate / (1 + e^-gate) * up.
#pragma once

#include <algorithm>

#include "llmrt_cpu.h"
#include "ops/math.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

inline void silu_mul(const llmrt_silu_mul_args& a, Context& context) {
  const int64_t vectors = a.size / 16, total = a.tokens * vectors;
  context.share(total, std::max<int64_t>(16, total / (4 * context.threads)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t token = i / vectors, column = i % vectors * 16;
      const float* row = a.gate_up + token * 2 * a.size + column;
      const Float gate = load(row), up = load(row + a.size);
      const Float sigmoid = div(set1(1.0f), add(set1(1.0f), exp(sub(set1(0.0f), gate))));
      store(a.y + token * a.size + column, mul(mul(gate, sigmoid), up));
    }
  });
}

}  // namespace llmrt::LLMRT_ISA
