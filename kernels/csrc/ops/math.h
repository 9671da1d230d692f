// Functions of sixteen lanes that no instruction set has.
#pragma once

namespace llmrt::LLMRT_ISA {

// Lane i is the largest of the lanes of x[i].
inline Float maxima(const Float (&x)[16]) {
  return fold_lanes(x, [](Float a, Float b) { return max(a, b); });
}

// 2^x is 2^floor(x) times a polynomial of the fraction, of the least relative error on [0, 1): 7.5e-8 of the value with
// five powers. x at most 127; 0 below -126. Called, it would have its lanes by way of memory where they are two registers.
[[gnu::always_inline]] inline Float exp2(Float x) {
  const Float r = fraction(x);
  Float p = set1(0.0018775767f);
  p = fma(p, r, set1(0.0089893397f));
  p = fma(p, r, set1(0.055826318f));
  p = fma(p, r, set1(0.24015361f));
  p = fma(p, r, set1(0.69315308f));
  p = fma(p, r, set1(0.99999994f));
  return scale_exp2(p, x);
}

// The same with three powers, off by 7.5e-5 of the value at most: for weights that are rounded to bytes.
inline Float exp2_roughly(Float x) {
  const Float r = fraction(x);
  Float p = set1(0.078024521f);
  p = fma(p, r, set1(0.22606716f));
  p = fma(p, r, set1(0.69583356f));
  p = fma(p, r, set1(0.9999252f));
  return scale_exp2(p, x);
}

// log2 of sixteen positive floats of normal size, off by 1.2e-4 at most. Bits of a float, read as a number, are
// 2^23 (127 + exponent + fraction); what the fraction f lacks to log2(1 + f) is 0 at both ends.
inline Float log2_roughly(const float* x) {
  const Float y = mul(to_float(load_ints(x)), set1(0x1p-23f)), f = fraction(y);
  const Float p = fma(fma(set1(0.08213059f), f, set1(-0.23905811f)), f, set1(0.43872571f));
  return fma(mul(f, sub(set1(1.0f), f)), p, sub(y, set1(127.0f)));
}

constexpr float kLog2E = 1.44269504f;

inline Float exp(Float x) { return exp2(mul(x, set1(kLog2E))); }

// Off by 1e-7 at most.
inline Float tanh(Float x) {
  const Float bounded = max(set1(-20.0f), min(x, set1(20.0f)));
  return sub(set1(1.0f), div(set1(2.0f), add(set1(1.0f), exp(add(bounded, bounded)))));
}

// c tanh(x / c).
inline Float capped(Float x, float cap) { return mul(set1(cap), tanh(mul(x, set1(1.0f / cap)))); }

}  // namespace llmrt::LLMRT_ISA
