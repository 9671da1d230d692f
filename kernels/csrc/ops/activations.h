// Activations on their way into a product: rows of int8 codes, bf16 or fp32, written a group at a time.
#pragma once

#include <algorithm>
#include <cstring>

#include "llmrt_cpu.h"
#include "ops/codes.h"
#include "ops/floats.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

constexpr int64_t kMaxGroup = 64;

inline int64_t groups_of(const llmrt_activations& y) { return y.columns / y.group; }
inline int64_t bytes_of(const llmrt_activations& y) {
  return y.columns * (y.dtype == LLMRT_INT8 ? 1 : y.dtype == LLMRT_BF16 ? 2 : 4);
}

// Row t, and how many values lie between the beginnings of two rows.
template <class Value>
inline Value* row_of(const llmrt_activations& y, int64_t t) {
  return reinterpret_cast<Value*>(static_cast<char*>(y.values) + t * (bytes_of(y) + 64));
}
template <class Value>
inline int64_t stride_of(const llmrt_activations& y) {
  return y.columns + 64 / static_cast<int64_t>(sizeof(Value));
}

// What is missing to a whole group counts as zero.
inline void write_codes(const float* x, int64_t count, const llmrt_activations& y, int64_t t, int64_t g) {
  int8_t* codes = row_of<int8_t>(y, t) + g * y.group;
  const int64_t at = t * groups_of(y) + g;
  const int32_t first = quantize_values(x, count, codes, y.scales[at], y.sums[at]);
  y.q6_k[2 * at] = -32 * first;
  y.q6_k[2 * at + 1] = -32 * (y.sums[at] - first);
  std::fill(codes + count, codes + y.group, int8_t{0});
}

template <class Type>
inline void write_floats(const float* x, int64_t count, const llmrt_activations& y, int64_t t, int64_t g) {
  auto* to = row_of<typename Type::Value>(y, t) + g * y.group;
  for (int64_t i = 0; i < count; i += 16) Type::write(to + i, load(x + i));
}

// Group g of token t from `count` values at x, a multiple of 16.
inline void write_group(const float* x, int64_t count, const llmrt_activations& y, int64_t t, int64_t g) {
  if (y.dtype == LLMRT_INT8) write_codes(x, count, y, t, g);
  if (y.dtype == LLMRT_BF16) write_floats<Bf16>(x, count, y, t, g);
  if (y.dtype == LLMRT_FP32) write_floats<Fp32>(x, count, y, t, g);
}

// Writes what `value(t, i)` gives for the sixteen columns from i on, for all tokens; `size` is a multiple of 16.
template <class Value>
inline void write_rows(const llmrt_activations& y, int64_t tokens, int64_t size, Context& context, Value value) {
  const int64_t groups = groups_of(y), total = tokens * groups;
  context.share(total, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t t = i / groups, g = i % groups, count = std::min(y.group, size - g * y.group);
      float values[kMaxGroup];
      for (int64_t j = 0; j < count; j += 16) store(values + j, value(t, g * y.group + j));
      write_group(values, count, y, t, g);
    }
  });
}

// The first `size` values of row t, a multiple of 16.
inline void read_row(const llmrt_activations& x, int64_t t, int64_t size, float* values) {
  if (x.dtype == LLMRT_INT8) {
    const float* scales = x.scales + t * groups_of(x);
    const int8_t* codes = row_of<int8_t>(x, t);
    for (int64_t i = 0; i < size; ++scales)
      for (const int64_t end = std::min(size, i + x.group); i < end; ++i) values[i] = *scales * static_cast<float>(codes[i]);
    return;
  }
  for (int64_t i = 0; i < size; i += 16)
    store(values + i, x.dtype == LLMRT_BF16 ? Bf16::read(row_of<uint16_t>(x, t) + i) : load(row_of<float>(x, t) + i));
}

inline void copy_row(const llmrt_activations& x, int64_t from, const llmrt_activations& y, int64_t to) {
  std::memcpy(row_of<char>(y, to), row_of<char>(x, from), bytes_of(x));
  if (x.dtype != LLMRT_INT8) return;
  std::copy_n(x.scales + from * groups_of(x), groups_of(x), y.scales + to * groups_of(y));
  std::copy_n(x.sums + from * groups_of(x), groups_of(x), y.sums + to * groups_of(y));
  std::copy_n(x.q6_k + from * 2 * groups_of(x), 2 * groups_of(x), y.q6_k + to * 2 * groups_of(y));
}

inline void round_rows(const llmrt_round_rows_args& a, Context& context) {
  write_rows(a.y, a.tokens, a.size, context, [&](int64_t t, int64_t i) { return load(a.x + t * a.size + i); });
}

}  // namespace llmrt::LLMRT_ISA
