// x W^T with GGUF's types that lie in strips, most with scales that are integers times one for 256 columns: see llmrt_matrix.
// With d and m those of 256 columns, s and z those of a part p, one or two in 32 columns g that share sx, or 1 where d and m
// are a part's own,
//
//   with a z  y[t, n] = sum over g of  sx[t, g] sum over p in g of  (d s[n, p] sum over k in p of x8[t, k] code[n, k]
//                                                                    + m z[n, p] sum8[t, p])
//   without   y[t, n] = sum over g of  sx[t, g] sum over p in g of  d s[n, p] (sum over k in p of x8[t, k] code[n, k]
//                                                                              - zero sum8[t, p])
//
// d s and m z are exact in fp32. Parts and groups are added in order, as in codes_product.h.
#pragma once

#include "llmrt_cpu.h"
#include "ops/activations.h"
#include "ops/nested_rows.h"

namespace llmrt::LLMRT_ISA {

// kTokens tokens from `token` on, kBlocks blocks of 16 rows.
template <int kBlocks, class Rows, int kTokens>
[[gnu::noinline]] void nested_tile(const llmrt_activations& codes, int64_t token, const Rows& rows,
                                   Float (*result)[kTokens]) {
  using Form = typename Rows::Form;
  const int64_t groups = groups_of(codes), stride = stride_of<int8_t>(codes);
  const int8_t* x = row_of<int8_t>(codes, token);
  const float* x_scales = codes.scales + token * groups;
  const int32_t *x_sums = codes.sums + token * groups, *q6_k = codes.q6_k + 2 * token * groups;
  constexpr int kSums = kTokens * kBlocks, kPartLines = 4 / Form::kParts;
  Float total[kSums];
  for (Float& sum : total) sum = set1(0.0f);
  // Always inlined, or GCC 12 keeps the sums in memory where registers are 256 bits.
  const auto add_group = [&](Group group) __attribute__((always_inline)) {
    const int64_t g = group.at;
    const auto sums_of = [&](int t) { return Sums{x_sums + t * groups + g, q6_k + 2 * (t * groups + g)}; };
    Float scaled[kSums];
#pragma GCC unroll 2
    for (int part = 0; part < Form::kParts; ++part) {
      Int acc[kSums];
      for (int i = 0; i < kSums; ++i) acc[i] = iset1(Form::first_sum(sums_of(i / kBlocks), part));
#pragma GCC unroll 4
      for (int line = part * kPartLines; line < (part + 1) * kPartLines; ++line, x += 8) {
        Bytes first[kBlocks], second[kBlocks];
        for (int b = 0; b < kBlocks; ++b) rows.read(group, b, line, first[b], second[b]);
        for (int i = 0; i < kSums; ++i) acc[i] = Form::dot(acc[i], first[i % kBlocks], x + i / kBlocks * stride);
        for (int i = 0; i < kSums; ++i) acc[i] = Form::dot(acc[i], second[i % kBlocks], x + i / kBlocks * stride + 4);
      }
      Float scales[kBlocks];
      for (int b = 0; b < kBlocks; ++b) scales[b] = rows.scale(group, b, part);
      for (int i = 0; i < kSums; ++i) {
        const Float sum = to_float(acc[i]), scale = scales[i % kBlocks];
        scaled[i] = part == 0 ? mul(scale, sum) : fma(scale, sum, scaled[i]);
      }
      if constexpr (Form::kAffine) {
        Float offsets[kBlocks];
        for (int b = 0; b < kBlocks; ++b) offsets[b] = rows.offset(group, b, part);
        for (int i = 0; i < kSums; ++i) {
          const Float x_sum = to_float(iset1(Form::offset_sum(sums_of(i / kBlocks), part)));
          scaled[i] = fma(offsets[i % kBlocks], x_sum, scaled[i]);
        }
      }
    }
    for (int i = 0; i < kSums; ++i) total[i] = fma(scaled[i], set1(x_scales[i / kBlocks * groups + g]), total[i]);
  };
  if constexpr (kWholeStrips) {  // what a load reads is as far from the last turn's each time, and its place is a constant
    for (int64_t at = 0; at < groups; at += Rows::kGroups)
#pragma GCC unroll 4
      for (int in_strip = 0; in_strip < Rows::kGroups; ++in_strip) add_group(Group{at + in_strip, in_strip});
  } else {
    for (int64_t at = 0; at < groups; ++at) add_group(Group{at, static_cast<int>(at % Rows::kGroups)});
  }
  for (int i = 0; i < kSums; ++i) result[i % kBlocks][i / kBlocks] = total[i];
}

}  // namespace llmrt::LLMRT_ISA
