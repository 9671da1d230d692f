// A gate for whole rows of activations: of int8 ones it scales the scales alone.
#pragma once

#include <cmath>
#include <vector>

#include "llmrt_cpu.h"
#include "ops/activations.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

template <class Type>
inline void scale_floats(const llmrt_activations& y, int64_t t, float factor) {
  auto* row = row_of<typename Type::Value>(y, t);
  for (int64_t i = 0; i < y.columns; i += 16) Type::write(row + i, mul(Type::read(row + i), set1(factor)));
}

inline void scale_row(const llmrt_activations& y, int64_t t, float factor) {
  if (y.dtype == LLMRT_INT8)
    for (int64_t g = 0; g < groups_of(y); ++g) y.scales[t * groups_of(y) + g] *= factor;
  if (y.dtype == LLMRT_BF16) scale_floats<Bf16>(y, t, factor);
  if (y.dtype == LLMRT_FP32) scale_floats<Fp32>(y, t, factor);
}

inline void gate_rows(const llmrt_gate_rows_args& a, Context& context) {
  context.share(a.tokens, 1, [&](int64_t begin, int64_t end) {
    static thread_local std::vector<float> x;
    x.resize(a.size);
    for (int64_t t = begin; t < end; ++t) {
      read_row(a.x, t, a.size, x.data());
      Float total = set1(0.0f);
      for (int64_t i = 0; i < a.size; i += 16) total = fma(load(x.data() + i), load(a.gate + i), total);
      scale_row(a.y, t, 1.0f / (1.0f + std::exp(-sum(total))));
    }
  });
}

}  // namespace llmrt::LLMRT_ISA
