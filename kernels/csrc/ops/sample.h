// A token drawn for each row: temperature, then top_k, top_p and min_p, which cut the tail, and one draw from what is
// left. Nothing is sorted: where the tail begins is found from the bits of the weights, ten at a time.
#pragma once

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include "llmrt_cpu.h"
#include "ops/math.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

constexpr float kColdest = 1e-30f;     // what is colder is the same
constexpr int64_t kSumStretch = 1024;  // weights that are added up before they are added to what came before

struct Weights {
  float* values;  // up to `likeliest`, with zeros behind the end up to a multiple of 16
  int64_t size;
  float likeliest;  // what `exp2` makes of 0

  int64_t padded() const { return (size + 15) / 16 * 16; }
};

inline double sum_of(const float* values, int64_t count) {
  Float total = set1(0.0f);
  for (int64_t i = 0; i < count; i += 16) total = add(total, load(values + i));
  return sum(total);
}

inline double sum_of(const Weights& w) {
  double total = 0;
  for (int64_t i = 0; i < w.padded(); i += kSumStretch) total += sum_of(w.values + i, std::min(kSumStretch, w.padded() - i));
  return total;
}

// exp((x - max x) / temperature). What is not a number cannot be drawn.
inline Weights weights_of(const float* x, int64_t size, float temperature) {
  constexpr float kNever = -std::numeric_limits<float>::infinity(), kMost = std::numeric_limits<float>::max();
  static thread_local std::vector<float> values;
  values.assign((size + 15) / 16 * 16, kNever);
  for (int64_t i = 0; i < size; ++i) values[i] = x[i] > kNever ? std::min(x[i], kMost) : kNever;
  const Weights w{values.data(), size, max(exp2(set1(0.0f)))};
  Float most = load(w.values);
  for (int64_t i = 16; i < w.padded(); i += 16) most = max(most, load(w.values + i));
  const Float likeliest = set1(std::max(max(most), -kMost)), factor = set1(kLog2E / std::max(temperature, kColdest));
  for (int64_t i = 0; i < w.padded(); i += 16)
    store(w.values + i, exp2(max(mul(sub(load(w.values + i), likeliest), factor), set1(-200.0f))));
  return w;
}

// Those of `w` that are at least `least`.
inline std::span<const float> candidates(const Weights& w, float least) {
  static thread_local std::vector<float> values;
  if (static_cast<int64_t>(values.size()) < w.size) values.resize(w.size);
  int64_t count = 0;
  for (int64_t i = 0; i < w.size; ++i) {
    values[count] = w.values[i];
    count += w.values[i] >= least;
  }
  return {values.data(), static_cast<size_t>(count)};
}

// The largest number that those of `weights` which are not smaller reach `target` with, added up as `measure` has them; 0 if
// none does.
template <class Measure>
inline float border(std::span<const float> weights, double target, Measure measure) {
  static thread_local std::vector<double> buckets;
  uint32_t prefix = 0;
  double above = 0;
  for (const int shift : {20, 10, 0}) {
    buckets.assign(1024, 0);
    for (const float weight : weights) {
      const uint32_t bits = std::bit_cast<uint32_t>(weight);
      if (bits >> shift >> 10 == prefix) buckets[bits >> shift & 1023] += measure(weight);
    }
    uint32_t bucket = 1023;
    while (bucket > 0 && above + buckets[bucket] < target) above += buckets[bucket--];
    prefix = prefix << 10 | bucket;
  }
  return std::bit_cast<float>(prefix);
}

// What the `k` likeliest are not below: so many sixteens have a weight that is not. 0 where there are fewer sixteens.
inline float below_top(const Weights& w, int64_t k) {
  static thread_local std::vector<float> most;
  most.clear();
  for (int64_t i = 0; i < w.padded(); i += 16) most.push_back(max(load(w.values + i)));
  if (k > static_cast<int64_t>(most.size())) return 0.0f;
  std::nth_element(most.begin(), most.begin() + (k - 1), most.end(), std::greater<float>());
  return most[k - 1];
}

// The likeliest stays, wherever the border is.
inline void cut_below(const Weights& w, float border) {
  border = std::min(border, w.likeliest);
  for (int64_t i = 0; i < w.size; ++i) w.values[i] = w.values[i] >= border ? w.values[i] : 0.0f;
}

inline void cut_tail(const Weights& w, int32_t top_k, float top_p, float min_p) {
  if (top_k > 0 && top_k < w.size)
    cut_below(w, border(candidates(w, below_top(w, top_k)), top_k, [](float) { return 1.0; }));
  if (top_p < 1) {
    const double total = sum_of(w);
    // All that are smaller have less together than the likeliest need not have.
    const double least = 0.5 * (1 - top_p) * total / w.size;
    const auto likely = candidates(w, static_cast<float>(least));
    cut_below(w, border(likely, top_p * total, [](float weight) { return double{weight}; }));
  }
  if (min_p > 0) cut_below(w, min_p * w.likeliest);
}

// Number `index` of the stream of `seed`, in [0, 1): SplitMix64 (doi 10.1145/2714064.2660195).
inline uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

inline double uniform(uint64_t seed, uint64_t index) {
  return static_cast<double>(mixed(mixed(seed) + index * 0x9E3779B97F4A7C15) >> 11) / (1ull << 53);
}

// The first index at which more than the part `u` of all weights is reached.
inline int64_t draw(const Weights& w, double u) {
  const double target = u * sum_of(w);
  double reached = 0;
  int64_t start = 0, last = 0;
  for (double here; start + kSumStretch < w.padded(); start += kSumStretch, reached += here)
    if (reached + (here = sum_of(w.values + start, kSumStretch)) > target) break;
  for (int64_t i = start; i < std::min(start + kSumStretch, w.size); ++i) {
    if (w.values[i] == 0) continue;
    reached += w.values[i];
    last = i;
    if (reached > target) break;
  }
  return last;
}

inline int64_t sampled(const llmrt_sample_args& a, int64_t t) {
  const float* x = a.x + t * a.size;
  if (!(a.temperature[t] > 0)) return std::max_element(x, x + a.size) - x;
  const Weights w = weights_of(x, a.size, a.temperature[t]);
  cut_tail(w, a.top_k[t], a.top_p[t], a.min_p[t]);
  return draw(w, uniform(a.seeds[t], a.draws[t]));
}

inline void sample(const llmrt_sample_args& a, Context& context) {
  context.share(a.tokens, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) a.out[t] = sampled(a, t);
  });
}

}  // namespace llmrt::LLMRT_ISA
