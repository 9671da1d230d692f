// A weight as a stream of memory.
#pragma once

#include <cstdint>

namespace llmrt::LLMRT_ISA {

// Several tokens keep the processor too busy to run ahead of its loads, so weights are asked for this many bytes early.
constexpr int64_t kAhead = 4096;

inline void ask_ahead(const uint8_t* w, int64_t bytes) {
  asm volatile("");  // else GCC 12 takes who only asks for one without effect, and drops the calls
  for (int64_t line = 0; line < bytes; line += 64) prefetch(w + line + kAhead);
}

}  // namespace llmrt::LLMRT_ISA
