// The index of the largest of each row's values, the first of equals. A row is cut between the threads, whose finds are
// compared by the thread that the row falls to.
#pragma once

#include <algorithm>

#include "llmrt_cpu.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

constexpr int64_t kStretch = 4096;  // values that one find is made of

inline void argmax(const llmrt_argmax_args& a, Context& context) {
  const int64_t stretches = (a.size + kStretch - 1) / kStretch;
  context.share(a.tokens * stretches, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % stretches * kStretch, last = std::min(first + kStretch, a.size);
      const float* row = a.x + i / stretches * a.size;
      float most = row[first];
      int64_t j = first;
      for (; j + 16 <= last; j += 16) {
        const float here = max(load(row + j));
        most = here > most ? here : most;
      }
      for (; j < last; ++j) most = row[j] > most ? row[j] : most;
      a.finds[i] = std::find(row + first, row + last - 1, most) - row;
    }
  });
  context.barrier();
  context.share(a.tokens, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* row = a.x + t * a.size;
      const int64_t* finds = a.finds + t * stretches;
      a.out[t] = *std::max_element(finds, finds + stretches, [&](int64_t i, int64_t j) { return row[i] < row[j]; });
    }
  });
}

}  // namespace llmrt::LLMRT_ISA
