// Functions of sixteen lanes that no instruction set has.
#pragma once

namespace llmrt::LLMRT_ISA {

// 2^x for x <= 127, 0 below -126: 2^n times the Taylor polynomial of 2^r in |r| <= 1/2 (error below 2e-7 of the value).
inline Float exp2(Float x) {
  const Float clamped = max(min(x, set1(127.0f)), set1(-127.0f));
  const Int n = to_int(clamped);
  const Float r = sub(clamped, to_float(n));
  Float p = set1(1.5403530e-4f);
  p = fma(p, r, set1(1.3333558e-3f));
  p = fma(p, r, set1(9.6181291e-3f));
  p = fma(p, r, set1(5.5504109e-2f));
  p = fma(p, r, set1(2.4022651e-1f));
  p = fma(p, r, set1(6.9314718e-1f));
  p = fma(p, r, set1(1.0f));
  return mul(p, as_float(shift_left(iadd(n, iset1(127)), 23)));
}

constexpr float kLog2E = 1.44269504f;

inline Float exp(Float x) { return exp2(mul(x, set1(kLog2E))); }

}  // namespace llmrt::LLMRT_ISA
