// x W^T with GGUF's types whose scales are integers times a scale for 256 columns: see llmrt_matrix. With d and m
// those of 256 columns, s and z those of a part p that shares them,
//
//   with a z  y[t, n] = sum over p of  sx[t, p] (d s[n, p] sum over k in p of x8[t, k] code[n, k]  +  m z[n, p] sum8[t, p])
//   without   y[t, n] = sum over p of  sx[t, p] d s[n, p] (sum over k in p of x8[t, k] code[n, k]  -  zero sum8[t, p])
//
// d s and m z are exact in fp32. Parts are added in order, as groups are in codes_product.h.
#pragma once

#include "llmrt_cpu.h"
#include "ops/activations.h"
#include "ops/codes_product.h"
#include "ops/nested_forms.h"
#include "ops/stream.h"

namespace llmrt::LLMRT_ISA {

// kTokens tokens from `token` on, kBlocks blocks of 16 rows from `block` on.
template <class Form, int kBlocks, int kTokens>
inline void nested_tile(const llmrt_activations& codes, int64_t token, const llmrt_matrix& matrix, int64_t block,
                        Float (*result)[kTokens]) {
  const int64_t groups = groups_of(codes), stride = stride_of<int8_t>(codes);
  const int64_t next_block = block_bytes<Form>(codes.columns), outer = codes.columns / kOuterColumns * 16;
  const uint8_t* w = matrix.data + block * next_block;
  const int8_t* x = row_of<int8_t>(codes, token);
  const float* x_scales = codes.scales + token * groups;
  const int32_t *x_sums = codes.sums + token * groups, *q6_k = codes.q6_k + 2 * token * groups;
  constexpr int kSums = kTokens * kBlocks, kPartLines = 4 / Form::kParts, kEights = 4 / Form::kLowLines;
  Float total[kSums];
  for (Float& sum : total) sum = set1(0.0f);
  for (int64_t g = 0; g < groups; ++g) {
    const Form form(w, g);
    const auto sums_of = [&](int t) { return Sums{x_sums + t * groups + g, q6_k + 2 * (t * groups + g)}; };
    for (int b = 0; b < kBlocks; ++b) {
      ask_ahead(form.upper + b * next_block, Form::kUpperLines * 64);
      ask_ahead(form.integers + b * next_block, 64);
    }
#pragma GCC unroll 2
    for (int part = 0; part < Form::kParts; ++part) {
      Int acc[kSums];
      for (int i = 0; i < kSums; ++i) acc[i] = iset1(Form::first_sum(sums_of(i / kBlocks), part));
#pragma GCC unroll 4
      for (int line = 0; line < kPartLines; ++line, x += 8) {
        Bytes first[kBlocks], second[kBlocks];
        for (int b = 0; b < kBlocks; ++b) {
          const int at = part * kPartLines + line;
          if (at % kEights == 0) ask_ahead(form.low + b * next_block + at / kEights * 64, 64);
          form.read(b * next_block, at, first[b], second[b]);
        }
        for (int i = 0; i < kSums; ++i) acc[i] = Form::dot(acc[i], first[i % kBlocks], x + i / kBlocks * stride);
        for (int i = 0; i < kSums; ++i) acc[i] = Form::dot(acc[i], second[i % kBlocks], x + i / kBlocks * stride + 4);
      }
      Float scales[kBlocks], offsets[kBlocks];
      for (int b = 0; b < kBlocks; ++b) {
        const int64_t at = (block + b) * outer + g / 8 * 16;
        scales[b] = mul(load_fp16(matrix.scales + at), form.scale(b * next_block, part));
        if constexpr (Form::kAffine) offsets[b] = mul(load_fp16(matrix.offsets + at), form.offset(b * next_block, part));
      }
      for (int i = 0; i < kSums; ++i) {
        int32_t x_sum = 0;
        if constexpr (Form::kAffine) x_sum = Form::offset_sum(sums_of(i / kBlocks), part);
        total[i] = add_group<Form::kAffine>(total[i], acc[i], scales[i % kBlocks], offsets[i % kBlocks],
                                            x_scales[i / kBlocks * groups + g], x_sum);
      }
    }
  }
  for (int i = 0; i < kSums; ++i) result[i % kBlocks][i / kBlocks] = total[i];
}

}  // namespace llmrt::LLMRT_ISA
