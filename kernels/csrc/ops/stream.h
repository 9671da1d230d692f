// A weight as a stream of memory, which is asked for early: else arithmetic and reading would take turns.
#pragma once

#include <cstdint>

namespace llmrt::LLMRT_ISA {

// Asks for a line into the second cache: few lines can be on their way to the first one at a time, too few for as long as
// memory takes, and from the second they come as fast as they are multiplied.
inline void ask_for_line(const void* p) { __builtin_prefetch(p, 0, 2); }

// Asks for bytes as far behind those at `w`, into the first cache, or from farther on into the second one. The first serves
// where the processor fetches lines into the second itself: those that are read in order, as fast as memory gives them.
template <bool kFar>
inline void ask_ahead(const uint8_t* w, int64_t bytes) {
  asm volatile("");  // else GCC 12 takes who only asks for one without effect, and drops the calls
  for (int64_t line = 0; line < bytes; line += 64) kFar ? ask_for_line(w + line + 8192) : prefetch(w + line + 4096);
}

}  // namespace llmrt::LLMRT_ISA
