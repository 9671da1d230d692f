// Rounding to int8 codes: x = scale code, scale = largest / 127.
#pragma once

#include <algorithm>

#include "llmrt_cpu.h"

namespace llmrt::LLMRT_ISA {

inline float largest_of(const float* x, int64_t size) {
  Float most = abs(load(x));
  for (int64_t i = 16; i < size; i += 16) most = max(most, abs(load(x + i)));
  return max(most);
}

// Codes of the `count` values at x, a multiple of 16, their scale, and the sums of the codes.
inline void quantize_values(const float* x, int64_t count, int8_t* codes, float& scale, llmrt_sums& sums) {
  const float largest = largest_of(x, count);
  const Float inverse = set1(largest > 0 ? 127.0f / largest : 0.0f);
  Int total = iset1(0);
  for (int64_t i = 0; i < count; i += 16) {
    const Int code = to_int(mul(load(x + i), inverse));
    store_int8(codes + i, code);
    total = iadd(total, code);
    if (i == 0) sums.q6_k[0] = -32 * isum(total);
  }
  scale = largest / 127.0f;
  sums.all = isum(total);
  sums.q6_k[1] = -32 * sums.all - sums.q6_k[0];
}

}  // namespace llmrt::LLMRT_ISA
