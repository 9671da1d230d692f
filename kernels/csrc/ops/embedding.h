// Rows of a table that is laid out for the matrix product: a row's values stand apart, a few in each line of 64 bytes.
#pragma once

#include <algorithm>
#include <cmath>

#include "llmrt_cpu.h"
#include "ops/codes_product.h"
#include "ops/float_product.h"
#include "ops/nested_product.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

template <int kBits>
inline void codes_row(const llmrt_embedding_args& a, int64_t id, float* out) {
  const int64_t block = id / 16, row = id % 16, groups = a.columns / a.group;
  const uint8_t* lines = a.table.data + block * a.columns * Codes<kBits>::kBytesPerColumn;
  for (int64_t g = 0; g * a.group < a.out_columns; ++g) {
    float scales[16], offsets[16] = {};
    store(scales, load_fp16(a.table.scales + (block * groups + g) * 16));
    if (a.table.offsets != nullptr) store(offsets, load_fp16(a.table.offsets + (block * groups + g) * 16));
    const int64_t end_column = std::min<int64_t>((g + 1) * a.group, a.out_columns);
    for (int64_t k = g * a.group; k < end_column; ++k)
      out[k] = std::fma(scales[row], static_cast<float>(code_in<kBits>(lines, row, k) - Codes<kBits>::kZero), offsets[row]);
  }
}

template <class Form>
inline void nested_row(const llmrt_embedding_args& a, int64_t id, float* out) {
  const int64_t block = id / 16, row = id % 16, columns = kInnerColumns / Form::kParts;
  for (int64_t g = 0; g * kInnerColumns < a.out_columns; ++g) {
    const Form form(a.table.data + block * block_bytes<Form>(a.columns), Group{g, static_cast<int>(g % Form::kGroups)});
    const int64_t outer = (block * a.columns + g * kInnerColumns) / Form::kOuterColumns * 16;
    for (int part = 0; part < Form::kParts; ++part) {
      float scales[16], offsets[16] = {};
      store(scales, mul(load_fp16(a.table.scales + outer), form.scale(0, part)));
      if constexpr (Form::kAffine) {
        const Float offset = mul(load_fp16(a.table.offsets + outer), form.offset(0, part));
        store(offsets, mul(offset, set1(Form::kSumUnit)));
      }
      for (int64_t k = part * columns; k < (part + 1) * columns; ++k)
        out[g * kInnerColumns + k] = std::fma(scales[row], static_cast<float>(form.code_at(row, k)), offsets[row]);
    }
  }
}

template <class Weight>
inline void float_row(const llmrt_embedding_args& a, int64_t id, float* out) {
  using C = Columns<Weight>;
  const uint8_t* lines = a.table.data + id / 16 * (a.columns / 2) * C::kBytes;
  for (int64_t k = 0; k < a.out_columns; k += 2, lines += C::kBytes) {
    float first[16], second[16];
    store(first, C::read(lines, 0));
    store(second, C::read(lines, 1));
    out[k] = first[id % 16];
    out[k + 1] = second[id % 16];
  }
}

inline void embedding(const llmrt_embedding_args& a, Context& context) {
  context.share(a.tokens, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float* out = a.out + t * a.out_columns;
      if (a.table.dtype == LLMRT_INT4) codes_row<4>(a, a.token_ids[t], out);
      if (a.table.dtype == LLMRT_INT8) codes_row<8>(a, a.token_ids[t], out);
      with_form(a.table.dtype, [&]<class Form>() { nested_row<Form>(a, a.token_ids[t], out); });
      if (a.table.dtype == LLMRT_BF16) float_row<Bf16>(a, a.token_ids[t], out);
      if (a.table.dtype == LLMRT_FP16) float_row<Fp16>(a, a.token_ids[t], out);
      if (a.table.dtype == LLMRT_FP32) float_row<Fp32>(a, a.token_ids[t], out);
    }
  });
}

}  // namespace llmrt::LLMRT_ISA
