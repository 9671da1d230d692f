// What this processor can do at most, to compare kernels with: bytes read from memory, and products of bytes.
#pragma once

#include "llmrt_cpu.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

inline void read_memory(const llmrt_read_memory_args& a, Context& context) {
  constexpr int64_t kGrain = 1 << 10, kStreams = 4;  // lines of 64 bytes
  constexpr int8_t kOnes[4] = {1, 1, 1, 1};
  context.share(a.bytes / 64, kGrain, [&](int64_t begin, int64_t end) {
    Int total[kStreams];
    for (Int& x : total) x = iset1(0);
    for (int64_t i = begin; i + kStreams <= end; i += kStreams)
      for (int64_t s = 0; s < kStreams; ++s) {
        const uint8_t* line = a.data + (i + s) * 64;
        if (a.ahead > 0) prefetch(line + a.ahead);
        total[s] = dot4_nibbles(total[s], load_bytes(line), kOnes);
      }
    for (const Int& x : total) a.sums[context.thread] += isum(x);
  });
}

// One line of 64 bytes a turn, times kChains operands: sums that do not wait for each other.
template <int kChains>
inline int64_t multiply_lines(int64_t turns) {
  constexpr int64_t kLines = 16;
  alignas(64) uint8_t w[kLines * 64];
  alignas(64) int8_t x[4 * kChains];
  for (int64_t i = 0; i < kLines * 64; ++i) w[i] = static_cast<uint8_t>(i % 16);
  for (int i = 0; i < 4 * kChains; ++i) x[i] = static_cast<int8_t>(i % 13 - 6);  // no two chains alike
  Int acc[kChains];
  for (Int& sum : acc) sum = iset1(0);
  for (int64_t i = 0; i < turns; ++i) {
    const Bytes line = load_bytes(w + i % kLines * 64);
    for (int c = 0; c < kChains; ++c) acc[c] = dot4_nibbles(acc[c], line, x + 4 * c);
  }
  int64_t total = 0;
  for (const Int& sum : acc) total += isum(sum);
  return total;
}

inline void multiply_bytes(const llmrt_multiply_bytes_args& a, Context& context) {
  a.sums[context.thread] = a.chains == 6 ? multiply_lines<6>(a.turns) : multiply_lines<12>(a.turns);
}

}  // namespace llmrt::LLMRT_ISA
