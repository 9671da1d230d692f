// What an MLP does between its products.
#pragma once

#include "llmrt_cpu.h"
#include "ops/math.h"

namespace llmrt::LLMRT_ISA {

inline Float sigmoid(Float x) { return div(set1(1.0f), add(set1(1.0f), exp(sub(set1(0.0f), max(x, set1(-80.0f)))))); }

inline Float silu(Float x) { return div(x, add(set1(1.0f), exp(sub(set1(0.0f), x)))); }

// x Phi(x) with Phi(x) = (1 + tanh(u)) / 2, which is sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3).
inline Float gelu_tanh(Float x) {
  const Float cubic = fma(mul(mul(x, x), x), set1(0.044715f), x);
  return mul(x, sigmoid(mul(cubic, set1(1.5957691216f))));
}

// x Phi(x) = max(x, 0) - |x| erfc(|x| / sqrt 2) / 2, erfc by Abramowitz and Stegun 7.1.26: off by 1.5e-7 at most.
inline Float gelu(Float x) {
  const Float size = abs(x), z = mul(size, set1(0.70710678f));
  const Float t = div(set1(1.0f), fma(z, set1(0.3275911f), set1(1.0f)));
  Float p = set1(1.061405429f);
  for (float c : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f}) p = fma(p, t, set1(c));
  const Float tail = mul(mul(p, t), exp(max(set1(-80.0f), sub(set1(0.0f), mul(z, z)))));
  return fnma(mul(size, set1(0.5f)), tail, max(x, set1(0.0f)));
}

template <class Function>
inline void apply(float* x, int64_t count, Function function) {
  for (int64_t i = 0; i < count; i += 16) store(x + i, function(load(x + i)));
}

// Activates `count` values, a multiple of 16, where they are. A function that takes sixteen lanes in two registers has them
// by way of memory, in pieces that a processor cannot read back at once.
inline void activate(float* x, int64_t count, int64_t activation) {
  if (activation == LLMRT_RELU) return apply(x, count, [](Float v) { return max(v, set1(0.0f)); });
  if (activation == LLMRT_GELU) return apply(x, count, gelu);
  if (activation == LLMRT_GELU_TANH) return apply(x, count, gelu_tanh);
  apply(x, count, silu);
}

}  // namespace llmrt::LLMRT_ISA
