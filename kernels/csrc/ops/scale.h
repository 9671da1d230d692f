// Numbers multiplied, and bent to stay below a cap.
#pragma once

#include <algorithm>

#include "llmrt_cpu.h"
#include "ops/math.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

inline Float scaled(const llmrt_scale_args& a, Float x) {
  const Float y = mul(x, set1(a.factor));
  return a.cap > 0 ? capped(y, a.cap) : y;
}

inline void scale(const llmrt_scale_args& a, Context& context) {
  context.share((a.count + 15) / 16, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = 16 * begin; i < 16 * end; i += 16) {
      if (i + 16 <= a.count) {
        store(a.y + i, scaled(a, load(a.y + i)));
        continue;
      }
      float rest[16] = {};
      std::copy(a.y + i, a.y + a.count, rest);
      store(rest, scaled(a, load(rest)));
      std::copy_n(rest, a.count - i, a.y + i);
    }
  });
}

}  // namespace llmrt::LLMRT_ISA
