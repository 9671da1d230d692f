// A weight as a stream of memory, which is asked for early: else arithmetic and reading would take turns.
#pragma once

#include <cstdint>

namespace llmrt::LLMRT_ISA {

// Asks for a line into the second cache: few lines can be on their way to the first one at a time, too few for as long as
// memory takes, and from the second they come as fast as they are multiplied. What asks is always inlined, for GCC 12 takes a
// function that does nothing else for one without effect, and drops its calls.
[[gnu::always_inline]] inline void ask_for_line(const void* p) { __builtin_prefetch(p, 0, 2); }

// How a weight's lines are asked for. The processor itself fetches those that are read in order into the second cache, but not
// past the end of a page.
enum class Ask {
  // One line in eight, into the second cache, which leads the processor over the ends of pages. All else is left to it, which
  // is fastest where it has so few instructions for a line that it comes to later ones long before it needs them.
  kSparsely,
  kNear,  // all lines, into the first cache: where it does not come so far
  kFar,   // all lines, into the second cache: where tokens are many, or lines are not read in order
};
constexpr int64_t kSparse = 512;  // bytes

// For tiles of kTokens tokens, of which kQuick are multiplied by few instructions, and kFast as fast as lines come from the
// second cache.
template <int kTokens, int kQuick, int kFast>
constexpr Ask ask_for() {
  return kTokens <= kQuick ? Ask::kSparsely : kTokens <= kFast ? Ask::kNear : Ask::kFar;
}

// Asks for bytes as far behind those at `w`.
template <Ask kAsk>
[[gnu::always_inline]] inline void ask_ahead(const uint8_t* w, int64_t bytes) {
  asm volatile("");  // else GCC 12 asks for all that a turn of a loop asks for at its beginning
  for (int64_t at = 0; at < bytes; at += kAsk == Ask::kSparsely ? kSparse : 64)
    kAsk == Ask::kNear ? __builtin_prefetch(w + at + 4096) : ask_for_line(w + at + 8192);
}

}  // namespace llmrt::LLMRT_ISA
