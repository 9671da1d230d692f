// What this processor can do at most, to compare kernels with: bytes read from memory, and products.
#pragma once

#include "llmrt_cpu.h"
#include "simd/bf16.h"
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
        total[s] = dot4_small(total[s], load_bytes(line), kOnes);
      }
    for (const Int& x : total) a.sums[context.thread] += isum(x);
  });
}

// What a dot-product instruction does to a line of 64 bytes and the operand of all lanes.
struct ByteDots {
  static constexpr uint8_t kLow = 0;  // of the bytes that are multiplied
  using Sum = Int;
  static Sum zero() { return iset1(0); }
  static Sum add(Sum sum, const uint8_t* line, const uint8_t* x) {
    return dot4_small(sum, load_bytes(line), reinterpret_cast<const int8_t*>(x));
  }
  static int64_t total(Sum sum) { return isum(sum); }
};
struct FloatSums {
  static constexpr uint8_t kLow = 0x30;  // floats that neither vanish nor grow
  using Sum = Float;
  static Sum zero() { return set1(0.0f); }
  static int64_t total(Sum sum) { return llmrt::LLMRT_ISA::sum(sum) > 0.0f; }
};
struct Bf16Dots : FloatSums {
  static Sum add(Sum sum, const uint8_t* line, const uint8_t* x) {
    return dot2(sum, load_ints(line), reinterpret_cast<const uint16_t*>(x));
  }
};
struct Fp32Products : FloatSums {
  static Sum add(Sum sum, const uint8_t* line, const uint8_t* x) {
    return fma(load(reinterpret_cast<const float*>(line)), set1(*reinterpret_cast<const float*>(x)), sum);
  }
};

// One line of 64 bytes a turn, times kChains operands: sums that do not wait for each other.
template <class Dots, int kChains>
inline int64_t multiply_lines(int64_t turns) {
  constexpr int64_t kLines = 16;
  alignas(64) uint8_t w[kLines * 64];
  alignas(64) uint8_t x[4 * kChains];
  for (int64_t i = 0; i < kLines * 64; ++i) w[i] = static_cast<uint8_t>(Dots::kLow + i % 16);
  for (int i = 0; i < 4 * kChains; ++i) x[i] = static_cast<uint8_t>(Dots::kLow + i % 13);  // no two chains alike
  typename Dots::Sum sums[kChains];
  for (auto& sum : sums) sum = Dots::zero();
  for (int64_t i = 0; i < turns; ++i)
    for (int c = 0; c < kChains; ++c) sums[c] = Dots::add(sums[c], w + i % kLines * 64, x + 4 * c);
  int64_t total = 0;
  for (const auto& sum : sums) total += Dots::total(sum);
  return total;
}

template <class Dots>
inline int64_t multiply_chains(const llmrt_multiply_args& a) {
  return a.chains == 6 ? multiply_lines<Dots, 6>(a.turns) : multiply_lines<Dots, 12>(a.turns);
}

inline void multiply(const llmrt_multiply_args& a, Context& context) {
  int64_t& sum = a.sums[context.thread];
  if (a.dtype == LLMRT_INT8) sum = multiply_chains<ByteDots>(a);
  if (a.dtype == LLMRT_BF16) sum = multiply_chains<Bf16Dots>(a);
  if (a.dtype == LLMRT_FP32) sum = multiply_chains<Fp32Products>(a);
}

}  // namespace llmrt::LLMRT_ISA
