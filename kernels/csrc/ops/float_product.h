// x W^T with weights as they were stored, bf16, fp16 or fp32, and activations in fp32 or rounded to bf16. All are exact in
// fp32, and so are the products of two bf16; sums are fp32.
//
// A token has two sums, of columns that take turns, whatever is computed beside it: its result is always the same, and one
// token alone does not wait for each addition.
#pragma once

#include <type_traits>

#include "llmrt_cpu.h"
#include "ops/activations.h"
#include "ops/stream.h"
#include "simd/bf16.h"

namespace llmrt::LLMRT_ISA {

// One of two columns of 16 rows.
template <class Weight>
struct Columns {
  static constexpr int64_t kBytes = 2 * 16 * sizeof(typename Weight::Value);
  static Float read(const uint8_t* w, int i) {
    return Weight::read(reinterpret_cast<const typename Weight::Value*>(w) + 16 * i);
  }
};

template <>
struct Columns<Bf16> {
  static constexpr int64_t kBytes = 64;
  static Float read(const uint8_t* w, int i) { return half_of(load_ints(w), i); }
};

// What the next kCount columns add to sum `i` of a token; the other sum's values begin kApart from this one's.
template <class Activation, class Weight>
struct Products {
  static constexpr int64_t kCount = 2, kApart = 1, kBytes = Columns<Weight>::kBytes;
  Products(const uint8_t* w, int i) : column(Columns<Weight>::read(w, i)) {}
  Float add(Float sum, const float* x) const { return fma(column, set1(*x), sum); }
  Float column;
};

template <class Weight>
struct Products<Bf16, Weight> {
  static constexpr int64_t kCount = 2, kApart = 0, kBytes = Columns<Weight>::kBytes;
  Products(const uint8_t* w, int i) : column(Columns<Weight>::read(w, i)), i(i) {}
  Float add(Float sum, const uint16_t* x) const { return fma(column, half_of(same_two(x), i), sum); }
  Float column;
  int i;
};

// The same by dot products.
struct PairProducts {
  static constexpr int64_t kCount = 4, kApart = 2, kBytes = 128;
  PairProducts(const uint8_t* w, int i) : pairs(load_ints(w + 64 * i)) {}
  Float add(Float sum, const uint16_t* x) const { return dot2(sum, pairs, x); }
  Int pairs;
};

// kTokens tokens from `token` on, the 16 rows of `block`. The first sums of all tokens come before the second ones, so that
// few columns are in registers at a time, and all are one array, for GCC 12 keeps an array of arrays in memory, too. Nor may it
// know where the second sums' values begin: it takes a register for each token's there, and keeps pairs of bf16 in registers.
template <class Activation, class Weight, int kTokens>
[[gnu::noinline]] void float_tile(const llmrt_activations& x, int64_t token, const llmrt_matrix& matrix, int64_t block,
                                  Float* result) {
  using P = std::conditional_t<kOnlyBf16, PairProducts, Products<Activation, Weight>>;
  using Value = typename Activation::Value;
  const int64_t columns = x.columns, stride = stride_of<Value>(x);
  const uint8_t* w = matrix.data + block * columns / P::kCount * P::kBytes;
  const Value *values = row_of<Value>(x, token), *others = values + P::kApart;
  asm("" : "+r"(others));
  Float sums[2 * kTokens];
  for (Float& sum : sums) sum = set1(0.0f);
  constexpr Ask kAsk = !kOnlyBf16 ? Ask::kNear : ask_for<kTokens, 2, 4>();
  constexpr int64_t kPeriod = kAsk == Ask::kSparsely ? kSparse / P::kBytes * P::kCount : 1;
  for (int64_t k = 0; k < columns; k += P::kCount, w += P::kBytes, values += P::kCount, others += P::kCount) {
    if (k % kPeriod == 0) ask_ahead<kAsk>(w, P::kBytes);
    const P first(w, 0);
    for (int t = 0; t < kTokens; ++t) sums[t] = first.add(sums[t], values + t * stride);
    asm("" : "+r"(w));  // else Clang reads both columns of bf16 first, and keeps sums in memory for them
    const P second(w, 1);
    for (int t = 0; t < kTokens; ++t) sums[kTokens + t] = second.add(sums[kTokens + t], others + t * stride);
  }
  for (int t = 0; t < kTokens; ++t) result[t] = add(sums[t], sums[kTokens + t]);
}

}  // namespace llmrt::LLMRT_ISA
