// Functions of sixteen lanes that no instruction set has.
#pragma once

namespace llmrt::LLMRT_ISA {

// e^x for x <= 88, 0 below -87: 2^n times a polynomial in the rest (Cephes expf; error below 2 units in the last place).
inline Float exp(Float x) {
  const Float clamped = max(min(x, set1(88.0f)), set1(-87.0f));
  const Int n = to_int(mul(clamped, set1(1.44269504f)));
  const Float whole = to_float(n);
  const Float r = fnma(whole, set1(-2.12194440e-4f), fnma(whole, set1(0.693359375f), clamped));
  Float p = set1(1.9875691500e-4f);
  p = fma(p, r, set1(1.3981999507e-3f));
  p = fma(p, r, set1(8.3334519073e-3f));
  p = fma(p, r, set1(4.1665795894e-2f));
  p = fma(p, r, set1(1.6666665459e-1f));
  p = fma(p, r, set1(5.0000001201e-1f));
  p = add(fma(mul(p, r), r, r), set1(1.0f));
  return mul(p, as_float(shift_left(iadd(n, iset1(127)), 23)));
}

}  // namespace llmrt::LLMRT_ISA
