// Choosing codes and scales for a weight, and packing them as `linear` reads them: w = scale * code, code stored + zero.
//
// Scale of a group: the value of largest magnitude is sent to each of a few codes at the low end of the range, so that
// all of it is used. For the codes l that follow, the best scale under the columns' importance v is
// sum(v x l) / sum(v l^2)  and takes  sum(v x l)^2 / sum(v l^2)  off the error sum(v (x - scale l)^2); the candidate
// that takes most is kept, and its scale is fitted once more to the codes that it leads to.
//
// Feedback: with directions U [K, R] of the weight's inputs, the error made so far,  d = sum (w - scale l) U  over the
// columns done, is made good by the columns to come: column k is rounded from  w_k + d . correction_k.  See
// llmrt/quant/feedback.py for what the correction is. Sixteen rows are computed side by side, one in each lane.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "llmrt_cpu.h"
#include "ops/cache.h"
#include "ops/codes.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

// `targets` are the codes that the largest magnitude is sent to.
template <int kBits>
struct Search;
template <>
struct Search<4> {
  static constexpr float kLow = -8, kHigh = 7, targets[] = {-7.25f, -7.75f, -8.25f, -8.75f, -9.25f};
};
template <>
struct Search<8> {
  static constexpr float kLow = -128, kHigh = 127, targets[] = {-128.0f, -127.0f, -126.0f, -125.0f};
};

template <int kBits>
inline Float nearest_code(Float x) {
  return to_float(to_int(max(min(x, set1(Search<kBits>::kHigh)), set1(Search<kBits>::kLow))));
}

// sum(v x l) and sum(v l^2) for the codes l of x * inverse, in each lane. x [group][16].
struct Fit {
  float xl[16], ll[16];
};

template <int kBits>
inline Fit fit(const float* x, const float* importance, int group, const float* inverse) {
  const Float factor = load(inverse);
  Float xl = set1(0.0f), ll = set1(0.0f);
  for (int j = 0; j < group; ++j) {
    const Float value = load(x + 16 * j), l = nearest_code<kBits>(mul(value, factor));
    const Float weighted = mul(l, set1(importance[j]));
    xl = fma(weighted, value, xl);
    ll = fma(weighted, l, ll);
  }
  Fit out;
  store(out.xl, xl);
  store(out.ll, ll);
  return out;
}

inline void invert(const float* scales, float* inverse) {
  for (int r = 0; r < 16; ++r) inverse[r] = scales[r] == 0 ? 0.0f : 1.0f / scales[r];
}

template <int kBits>
inline void search_scales(const float* x, const float* importance, int group, float* scales) {
  Float high = set1(0.0f), low = set1(0.0f);
  for (int j = 0; j < group; ++j) {
    high = max(high, load(x + 16 * j));
    low = min(low, load(x + 16 * j));
  }
  float most[16], least[16], inverse[16], gain[16];
  store(most, high);
  store(least, low);
  std::fill_n(gain, 16, 0.0f);
  std::fill_n(scales, 16, 0.0f);
  for (const float target : Search<kBits>::targets) {
    for (int r = 0; r < 16; ++r) {
      const float extreme = most[r] > -least[r] ? most[r] : least[r];
      inverse[r] = extreme == 0 ? 0.0f : target / extreme;
    }
    const Fit tried = fit<kBits>(x, importance, group, inverse);
    for (int r = 0; r < 16; ++r) {
      if (tried.ll[r] <= 0) continue;
      const float scale = tried.xl[r] / tried.ll[r];
      if (scale * tried.xl[r] > gain[r]) {
        gain[r] = scale * tried.xl[r];
        scales[r] = scale;
      }
    }
  }
  invert(scales, inverse);
  const Fit refit = fit<kBits>(x, importance, group, inverse);
  for (int r = 0; r < 16; ++r)
    if (refit.ll[r] > 0) scales[r] = refit.xl[r] / refit.ll[r];
}

// x + d . correction, with d [rank][16].
inline Float corrected(Float x, const float* drift, const float* correction, int64_t rank) {
  Float sums[4] = {x, set1(0.0f), set1(0.0f), set1(0.0f)};  // four, so that none waits for the one before
  for (int64_t i = 0; i < rank; ++i) sums[i % 4] = fma(load(drift + 16 * i), set1(correction[i]), sums[i % 4]);
  return add(add(sums[0], sums[1]), add(sums[2], sums[3]));
}

// `count` values of the weight from number `start` on, at most a group.
template <class Type>
inline void widen(const void* weight, int64_t start, int64_t count, float* out) {
  using Value = typename Type::Value;
  const Value* values = static_cast<const Value*>(weight) + start;
  int64_t j = 0;
  for (; j + 16 <= count; j += 16) {
    prefetch(values + count + j);  // the next group's: sixteen rows are more streams than the processor follows
    store(out + j, Type::read(values + j));
  }
  if (j == count) return;
  Value rest[16] = {};
  std::copy(values + j, values + count, rest);
  store(out + j, Type::read(rest));
}

inline void load_values(const llmrt_quantize_args& a, int64_t start, int64_t count, float* out) {
  switch (a.dtype) {
    case LLMRT_BF16: return widen<Bf16>(a.weight, start, count, out);
    case LLMRT_FP16: return widen<Fp16>(a.weight, start, count, out);
    default: return widen<Fp32>(a.weight, start, count, out);
  }
}

// Columns of 16 rows, [group][16]; what lies outside the weight is zero.
inline void load_columns(const llmrt_quantize_args& a, int64_t block, int64_t column, int64_t valid, float* x) {
  std::fill_n(x, 16 * a.group, 0.0f);
  const int64_t rows = std::min<int64_t>(16, a.rows - block * 16);
  for (int64_t r = 0; r < rows; ++r) {
    float row[kMaxGroup];
    load_values(a, (block * 16 + r) * a.columns + column, valid, row);
    for (int64_t j = 0; j < valid; ++j) x[16 * j + r] = row[j];
  }
}

template <int kBits>
inline void store_codes(uint8_t* lines, int j, Float code) {
  constexpr int kColumns = kBits == 4 ? 8 : 4;  // in a line
  float values[16];
  store(values, add(code, set1(-Search<kBits>::kLow)));
  uint8_t* line = lines + j / kColumns * 64 + j % 4;
  for (int r = 0; r < 16; ++r) {
    const auto value = static_cast<uint8_t>(values[r]);
    line[4 * r] = j % kColumns < 4 ? value : static_cast<uint8_t>(line[4 * r] | value << 4);
  }
}

// One block of 16 rows, group after group. `drift` [rank][16] is scratch.
template <int kBits>
inline void quantize_block(const llmrt_quantize_args& a, int64_t block, float* drift) {
  const int64_t groups = a.packed_columns / a.group, rank = a.rank;
  std::fill_n(drift, 16 * rank, 0.0f);
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t column = g * a.group, valid = std::clamp<int64_t>(a.columns - column, 0, a.group);
    float x[kMaxGroup * 16], targets[kMaxGroup * 16], importance[kMaxGroup], scales[16], inverse[16];
    load_columns(a, block, column, valid, x);
    std::fill_n(importance, a.group, 1.0f);
    if (a.importance != nullptr) std::copy_n(a.importance + column, valid, importance);
    std::copy_n(x, 16 * a.group, targets);
    if (rank > 0)
      for (int64_t j = 0; j < valid; ++j)
        store(targets + 16 * j, corrected(load(x + 16 * j), drift, a.correction + (column + j) * rank, rank));
    search_scales<kBits>(targets, importance, a.group, scales);
    uint16_t* stored = a.scales + (block * groups + g) * 16;
    store_fp16(stored, load(scales));
    const Float scale = load_fp16(stored);
    store(scales, scale);
    invert(scales, inverse);
    const Float factor = load(inverse);
    uint8_t* lines = a.data + (block * a.packed_columns + column) * 2 * kBits;
    for (int j = 0; j < a.group; ++j) {
      const bool steered = rank > 0 && j < valid;
      const Float value = load(x + 16 * j);
      const Float target = steered ? corrected(value, drift, a.correction + (column + j) * rank, rank) : value;
      const Float code = nearest_code<kBits>(mul(target, factor));
      store_codes<kBits>(lines, j, code);
      if (!steered) continue;
      const Float error = fnma(code, scale, value);
      const float* direction = a.directions + (column + j) * rank;
      for (int64_t i = 0; i < rank; ++i)
        store(drift + 16 * i, fma(error, set1(direction[i]), load(drift + 16 * i)));
    }
  }
}

inline void quantize(const llmrt_quantize_args& a, Context& context) {
  context.share((a.rows + 15) / 16, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> drift(16 * a.rank);
    for (int64_t block = begin; block < end; ++block)
      a.bits == 4 ? quantize_block<4>(a, block, drift.data()) : quantize_block<8>(a, block, drift.data());
  });
}

}  // namespace llmrt::LLMRT_ISA
