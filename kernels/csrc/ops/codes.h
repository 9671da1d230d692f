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

// Codes of the `count` values at x, a multiple of 16, their scale, and the sum of the codes. Returns that of the first 16.
inline int32_t quantize_values(const float* x, int64_t count, int8_t* codes, float& scale, int32_t& sum) {
  const float largest = largest_of(x, count);
  const Float inverse = set1(largest > 0 ? 127.0f / largest : 0.0f);
  int32_t first = 0;
  Int total = iset1(0);
  for (int64_t i = 0; i < count; i += 16) {
    const Int code = to_int(mul(load(x + i), inverse));
    store_int8(codes + i, code);
    total = iadd(total, code);
    if (i == 0) first = isum(total);
  }
  scale = largest / 127.0f;
  sum = isum(total);
  return first;
}

}  // namespace llmrt::LLMRT_ISA
