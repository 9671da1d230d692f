// x W^T with weights as they were stored, bf16, fp16 or fp32, and activations in fp32 or rounded to bf16. All are exact in
// fp32, and so are the products of two bf16; sums are fp32.
//
// A token has two sums, of columns that take turns, whatever is computed beside it: its result is always the same, and one
// token alone does not wait for each addition.
#pragma once

#include <algorithm>

#include "llmrt_cpu.h"
#include "ops/activations.h"
#include "ops/stream.h"
#include "simd/bf16.h"

namespace llmrt::LLMRT_ISA {

// Two columns of 16 rows.
template <class Weight>
struct Columns {
  static constexpr int64_t kBytes = 2 * 16 * sizeof(typename Weight::Value);
  explicit Columns(const uint8_t* w)
      : first(Weight::read(reinterpret_cast<const typename Weight::Value*>(w))),
        second(Weight::read(reinterpret_cast<const typename Weight::Value*>(w) + 16)) {}
  Float first, second;
};

template <>
struct Columns<Bf16> {
  static constexpr int64_t kBytes = 64;
  explicit Columns(const uint8_t* w) : first(first_bf16(load_ints(w))), second(second_bf16(load_ints(w))) {}
  Float first, second;
};

// The next kCount columns, and adding their products with a token's values to its sums.
template <class Activation, class Weight>
struct Multiplier : Columns<Weight> {
  static constexpr int64_t kCount = 2, kBytes = Columns<Weight>::kBytes;
  using Columns<Weight>::Columns;
  void add(Float (&sums)[2], const float* x) const {
    sums[0] = fma(this->first, set1(x[0]), sums[0]);
    sums[1] = fma(this->second, set1(x[1]), sums[1]);
  }
};

template <>
struct Multiplier<Bf16, Bf16> {
  static constexpr int64_t kCount = 4, kBytes = 128;
  explicit Multiplier(const uint8_t* w) : first(load_ints(w)), second(load_ints(w + 64)) {}
  void add(Float (&sums)[2], const uint16_t* x) const {
    sums[0] = dot2(sums[0], first, x);
    sums[1] = dot2(sums[1], second, x + 2);
  }
  Int first, second;
};

// kTokens tokens from `token` on, the 16 rows of `block`.
template <class Activation, class Weight, int kTokens>
[[gnu::noinline]] void float_tile(const llmrt_activations& x, int64_t token, const llmrt_matrix& matrix, int64_t block,
                       Float* result) {
  using M = Multiplier<Activation, Weight>;
  using Value = typename Activation::Value;
  const int64_t columns = x.columns, stride = stride_of<Value>(x);
  const uint8_t* w = matrix.data + block * columns / M::kCount * M::kBytes;
  const Value* values = row_of<Value>(x, token);
  Float sums[kTokens][2];
  for (auto& two : sums) two[0] = two[1] = set1(0.0f);
  for (int64_t k = 0; k < columns; k += M::kCount, w += M::kBytes, values += M::kCount) {
    ask_ahead<false>(w, M::kBytes);
    const M multiplier(w);
    for (int t = 0; t < kTokens; ++t) multiplier.add(sums[t], values + t * stride);
  }
  for (int t = 0; t < kTokens; ++t) result[t] = add(sums[t][0], sums[t][1]);
}

// The same in tiles whose sums the registers hold.
template <class Activation, class Weight, int kTokens>
inline void float_tiles(const llmrt_activations& x, int64_t token, const llmrt_matrix& matrix, int64_t block,
                        Float* result) {
  constexpr int kNow = std::min(kTokens, kFloatTokens);
  float_tile<Activation, Weight, kNow>(x, token, matrix, block, result);
  if constexpr (kTokens > kNow)
    float_tiles<Activation, Weight, kTokens - kNow>(x, token + kNow, matrix, block, result + kNow);
}

}  // namespace llmrt::LLMRT_ISA
