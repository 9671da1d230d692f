// Pairs of bf16 in the lanes of an Int, the first in the lower half.
#pragma once

#include <cstdint>
#include <cstring>

namespace llmrt::LLMRT_ISA {

// Whether there is an instruction for it. Other products are not compiled then: see isa/avx512_bf16.cpp.
#if defined(__AVX512BF16__)
constexpr bool kOnlyBf16 = true;
#else
constexpr bool kOnlyBf16 = false;
#endif

// The first or the second of each pair.
inline Float half_of(Int pairs, int i) {
  return as_float(i == 0 ? shift_left(pairs, 16) : mask(pairs, static_cast<int32_t>(0xffff0000)));
}

// A pair, the same for every lane.
inline Int same_two(const uint16_t* x) {
  int32_t two;
  std::memcpy(&two, x, 4);
  return iset1(two);
}

// acc[i] += sum over c of w[2i + c] x[c]. The instruction takes numbers below 2^-126 for zero.
inline Float dot2(Float acc, Int w, const uint16_t* x) {
  const Int two = same_two(x);
#if defined(__AVX512BF16__)
  return _mm512_dpbf16_ps(acc, reinterpret_cast<__m512bh>(w), reinterpret_cast<__m512bh>(two));
#else
  return fma(half_of(w, 1), half_of(two, 1), fma(half_of(w, 0), half_of(two, 0), acc));
#endif
}

}  // namespace llmrt::LLMRT_ISA
