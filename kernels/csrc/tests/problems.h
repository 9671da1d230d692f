// Random operands for the ops of the C ABI, and their results as plain numbers.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "llmrt_cpu.h"

namespace problems {

using Random = std::mt19937;
using Values = std::vector<float>;
using Results = std::vector<Values>;

inline int64_t below(Random& random, int64_t end) { return static_cast<int64_t>(random() % end); }

template <class T>
T one_of(Random& random, std::initializer_list<T> choices) {
  return choices.begin()[below(random, static_cast<int64_t>(choices.size()))];
}

inline Values normal(Random& random, int64_t count, float scale = 1) {
  std::normal_distribution<float> distribution(0, scale);
  Values out(count);
  for (float& x : out) x = distribution(random);
  return out;
}

inline std::vector<uint8_t> bytes(Random& random, int64_t count) {
  std::vector<uint8_t> out(count);
  for (uint8_t& x : out) x = static_cast<uint8_t>(random());
  return out;
}

// fp16 numbers from 2^-7 to 2^-4.
inline std::vector<uint16_t> half_scales(Random& random, int64_t count) {
  std::vector<uint16_t> out(count);
  for (uint16_t& x : out) x = static_cast<uint16_t>(0x2000 + below(random, 0x0c00));
  return out;
}

// The same with either sign.
inline std::vector<uint16_t> half_offsets(Random& random, int64_t count) {
  std::vector<uint16_t> out = half_scales(random, count);
  for (uint16_t& x : out) x |= static_cast<uint16_t>(random() % 2 << 15);
  return out;
}

inline float from_half(uint16_t h) {
  const int exponent = h >> 10 & 31, mantissa = h & 1023;
  const float magnitude = std::ldexp(static_cast<float>(exponent ? 1024 + mantissa : mantissa), std::max(exponent, 1) - 25);
  return h & 0x8000 ? -magnitude : magnitude;
}

// bf16 numbers, or any other type's upper halves.
inline std::vector<uint16_t> upper_halves(const Values& values) {
  std::vector<uint16_t> out(values.size());
  for (size_t i = 0; i < values.size(); ++i)
    std::memcpy(&out[i], reinterpret_cast<const uint8_t*>(&values[i]) + 2, 2);
  return out;
}

// What goes into a product: int8 codes of groups of 32 or 64, or floats.
struct Activations {
  Activations(int64_t tokens, int64_t size, int64_t group, int64_t dtype = LLMRT_INT8)
      : tokens(tokens), groups((size + group - 1) / group), group(group), size(size), dtype(dtype),
        values(tokens * stride()), scales(tokens * groups), sums(tokens * groups), q6_k(2 * tokens * groups) {}

  static Activations random(Random& random, int64_t tokens, int64_t size, int64_t group, int64_t dtype = LLMRT_INT8) {
    Activations x(tokens, size, group, dtype);
    if (dtype != LLMRT_INT8) return x.filled(normal(random, tokens * size));
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t k = 0; k < x.groups * group; ++k) {
        const auto code = static_cast<int8_t>(k < size ? below(random, 255) - 127 : 0);
        x.values[t * x.stride() + k] = static_cast<uint8_t>(code);
        const int64_t g = t * x.groups + k / group;
        x.sums[g] += code;
        x.q6_k[2 * g + (k % group >= 16)] -= 32 * code;
      }
    for (float& s : x.scales) s = 0.001f * static_cast<float>(1 + below(random, 1000));
    return x;
  }

  Activations& filled(const Values& numbers) {
    const std::vector<uint16_t> halves = upper_halves(numbers);
    const auto* from = dtype == LLMRT_BF16 ? reinterpret_cast<const uint8_t*>(halves.data())
                                           : reinterpret_cast<const uint8_t*>(numbers.data());
    for (int64_t t = 0; t < tokens; ++t) std::memcpy(&values[t * stride()], from + t * size * width(), size * width());
    return *this;
  }

  int64_t width() const { return dtype == LLMRT_INT8 ? 1 : dtype == LLMRT_BF16 ? 2 : 4; }
  int64_t stride() const { return groups * group * width() + 64; }
  // From a token on.
  llmrt_activations args(int64_t token = 0) {
    const int64_t at = token * groups;
    return {&values[token * stride()], &scales[at], &sums[at], &q6_k[2 * at], groups * group, group, dtype};
  }

  // What is meant, and scales and sums if there are any.
  Results results() const {
    Values meant;
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t k = 0; k < size; ++k) meant.push_back(value(t, k));
    if (dtype != LLMRT_INT8) return {meant};
    return {meant, scales, Values(sums.begin(), sums.end()), Values(q6_k.begin(), q6_k.end())};
  }

  float value(int64_t t, int64_t k) const {
    const uint8_t* at = &values[t * stride() + k * width()];
    if (dtype == LLMRT_INT8) return scales[t * groups + k / group] * static_cast<float>(static_cast<int8_t>(*at));
    float wide = 0;
    std::memcpy(reinterpret_cast<uint8_t*>(&wide) + 4 - width(), at, width());
    return wide;
  }

  int64_t tokens, groups, group, size, dtype;
  std::vector<uint8_t> values;
  Values scales;
  std::vector<int32_t> sums, q6_k;
};

// GGUF's types: the lines of a strip, its columns, and whether there are offsets.
struct Nested {
  int64_t dtype, lines, columns;
  bool affine;
};
constexpr Nested kNested[] = {{LLMRT_Q4_K, 9, 64, true},  {LLMRT_Q5_K, 11, 64, true}, {LLMRT_Q6_K, 13, 64, false},
                              {LLMRT_Q3_K, 7, 64, false}, {LLMRT_Q2_K, 5, 64, true},  {LLMRT_IQ4_XS, 17, 128, false},
                              {LLMRT_IQ4_NL, 4, 32, false}, {LLMRT_Q5_0, 5, 32, false}, {LLMRT_Q5_1, 5, 32, true}};
inline const Nested* nested_of(int64_t dtype) {
  for (const Nested& form : kNested)
    if (form.dtype == dtype) return &form;
  return nullptr;
}

// Whether a matrix has offsets, where both may be.
inline bool has_offsets(Random& random, int64_t dtype) {
  const Nested* form = nested_of(dtype);
  return form == nullptr ? random() % 2 : form->affine;
}

// The types that go together, and the group of each.
struct Kind {
  int64_t activations, group;
  std::vector<int64_t> weights;
  static Kind of(int64_t activations, Random& random) {
    if (activations == LLMRT_FP32) return {LLMRT_FP32, 16, {LLMRT_FP32, LLMRT_BF16, LLMRT_FP16}};
    if (activations == LLMRT_BF16) return {LLMRT_BF16, 16, {LLMRT_BF16}};
    return {LLMRT_INT8, one_of(random, {32, 64}), {LLMRT_INT4, LLMRT_INT8}};
  }
  // For columns that are a multiple of 256.
  static Kind nested() {
    Kind kind{LLMRT_INT8, 32, {LLMRT_INT4, LLMRT_INT8}};
    for (const Nested& form : kNested) kind.weights.push_back(form.dtype);
    return kind;
  }
  static Kind random(Random& random) {
    return of(one_of<int64_t>(random, {LLMRT_FP32, LLMRT_BF16, LLMRT_INT8}), random);
  }
};

struct Weight {
  Weight(Random& random, std::vector<int64_t> rows, int64_t columns, const Kind& kind, bool has_bias) {
    const int64_t groups = (columns + kind.group - 1) / kind.group;
    args.num_pieces = static_cast<int64_t>(rows.size());
    args.rows = std::accumulate(rows.begin(), rows.end(), int64_t{0});
    data.reserve(kMaxPieces), scales.reserve(kMaxPieces), offsets.reserve(kMaxPieces);
    for (size_t i = 0; i < rows.size(); ++i) {
      const int64_t dtype = kind.weights[below(random, static_cast<int64_t>(kind.weights.size()))];
      const int64_t blocks = (rows[i] + 15) / 16;
      data.push_back(numbers(random, blocks * 16 * groups * kind.group, dtype));
      data[i].resize(data[i].size() + 4096);  // weights are asked for ahead of their use
      scales.push_back(half_scales(random, blocks * groups * 16));
      offsets.push_back(half_offsets(random, blocks * groups * 16));
      const bool affine = has_offsets(random, dtype);
      args.pieces[i] = {data[i].data(), scales[i].data(), affine ? offsets[i].data() : nullptr, rows[i], dtype};
    }
    bias = normal(random, args.rows);
    args.bias = has_bias ? bias.data() : nullptr;
  }

  static std::vector<uint8_t> numbers(Random& random, int64_t count, int64_t dtype) {
    if (dtype == LLMRT_INT4) return bytes(random, count / 2);
    if (const Nested* form = nested_of(dtype)) return bytes(random, count / form->columns * 4 * form->lines);
    if (dtype == LLMRT_INT8) return bytes(random, count);
    const Values values = normal(random, count);
    const std::vector<uint16_t> halves = dtype == LLMRT_FP16 ? half_scales(random, count) : upper_halves(values);
    const auto* from = dtype == LLMRT_FP32 ? reinterpret_cast<const uint8_t*>(values.data())
                                           : reinterpret_cast<const uint8_t*>(halves.data());
    return {from, from + count * (dtype == LLMRT_FP32 ? 4 : 2)};
  }

  llmrt_weight args{};
  std::vector<std::vector<uint8_t>> data;
  std::vector<std::vector<uint16_t>> scales, offsets;
  Values bias;
};

struct Cache {
  Cache(Random& random, int64_t dtype, int64_t blocks, int64_t kv_heads, int64_t head_dim, int64_t block_size) {
    // Pages one after the other, or with as much between two.
    const int64_t scale_stride = block_size * one_of(random, {1, 2}), page_stride = scale_stride * head_dim;
    const int64_t slots = blocks * kv_heads * scale_stride, size = slots * head_dim;
    for (auto* pages : {&k, &v}) *pages = random_pages(random, dtype, size);
    for (auto* scales : {&k_scales, &v_scales}) {
      *scales = normal(random, slots, 0.01f);
      for (float& s : *scales) s = std::fabs(s);
    }
    args = {k.data(), v.data(), k_scales.data(), v_scales.data(), kv_heads, head_dim, block_size, dtype,
            page_stride, scale_stride};
  }

  static std::vector<uint8_t> random_pages(Random& random, int64_t dtype, int64_t size) {
    if (dtype == LLMRT_INT8) return bytes(random, size);
    const Values values = normal(random, size);
    const int64_t width = dtype == LLMRT_FP32 ? 4 : 2;
    std::vector<uint8_t> out(size * width);
    for (int64_t i = 0; i < size; ++i) {
      const auto half = static_cast<uint16_t>(0x3000 + below(random, 0x0c00) + (values[i] < 0 ? 0x8000 : 0));
      const auto* from = reinterpret_cast<const uint8_t*>(&values[i]);
      if (dtype == LLMRT_FP16) std::memcpy(&out[2 * i], &half, 2);
      else std::memcpy(&out[width * i], from + 4 - width, width);  // bf16 is the upper half
    }
    return out;
  }

  Results results() const {
    return {numbers(k), numbers(v), k_scales, v_scales};
  }

  Values numbers(const std::vector<uint8_t>& pages) const {
    if (args.dtype == LLMRT_INT8) return Values(pages.begin(), pages.end());
    const size_t width = args.dtype == LLMRT_FP32 ? 4 : 2;
    Values out;
    for (size_t i = 0; i < pages.size(); i += width) {
      uint16_t half;
      float wide = 0;
      std::memcpy(&half, &pages[i], 2);
      std::memcpy(reinterpret_cast<uint8_t*>(&wide) + 4 - width, &pages[i], width);
      out.push_back(args.dtype == LLMRT_FP16 ? from_half(half) : wide);
    }
    return out;
  }

  llmrt_cache args;
  std::vector<uint8_t> k, v;
  Values k_scales, v_scales;
};

}  // namespace problems
