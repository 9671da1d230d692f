// Pairs of bf16 in the lanes of an Int, the first in the lower half.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace llmrt::LLMRT_ISA {

// Whether there is an instruction for it. Other products are not compiled then: see isa/avx512_bf16.cpp.
#if defined(__AVX512BF16__)
constexpr bool kOnlyBf16 = true;
#else
constexpr bool kOnlyBf16 = false;
#endif

inline Float first_bf16(Int pairs) { return as_float(shift_left(pairs, 16)); }
inline Float second_bf16(Int pairs) { return as_float(mask(pairs, static_cast<int32_t>(0xffff0000))); }

// acc[i] += sum over c of w[2i + c] x[c]. The instruction takes numbers below 2^-126 for zero.
inline Float dot2(Float acc, Int w, const uint16_t* x) {
  uint32_t two;
  std::memcpy(&two, x, 4);
#if defined(__AVX512BF16__)
  return _mm512_dpbf16_ps(acc, reinterpret_cast<__m512bh>(w), reinterpret_cast<__m512bh>(_mm512_set1_epi32(two)));
#else
  acc = fma(first_bf16(w), set1(std::bit_cast<float>(two << 16)), acc);
  return fma(second_bf16(w), set1(std::bit_cast<float>(two & 0xffff0000u)), acc);
#endif
}

}  // namespace llmrt::LLMRT_ISA
