// x W^T with GGUF's K-quants, whose scales are integers times a scale for 256 columns: see llmrt_matrix. With d and m those
// of 256 columns, s and z those of a part p that shares them,
//
//   q4_k   y[t, n] = sum over p of  sx[t, p] (d s[n, p] sum over k in p of x8[t, k] code[n, k]  +  m z[n, p] sum8[t, p])
//   q6_k   y[t, n] = sum over p of  sx[t, p] d s[n, p] (sum over k in p of x8[t, k] code[n, k]  -  32 sum8[t, p])
//
// d s and m z are exact in fp32. Parts are added in order, as groups are in codes_product.h.
#pragma once

#include "llmrt_cpu.h"
#include "ops/activations.h"
#include "ops/codes_product.h"
#include "ops/stream.h"

namespace llmrt::LLMRT_ISA {

// Columns of a group of activations, and of d and m.
constexpr int64_t kInnerColumns = 32, kOuterColumns = 256;

// 32 columns of a block of rows, half a strip: where its nibbles, upper bits and integers are. Always inlined, for tiles
// are large and a call in the innermost loop takes longer than the products.
struct HalfStrip {
  const uint8_t *nibbles, *upper, *integers;
};

// Of the block at `w`, the g-th, of strips of kLines.
template <int kLines>
[[gnu::always_inline]] inline HalfStrip half_strip(const uint8_t* w, int64_t g) {
  const uint8_t* strip = w + g / 2 * kLines * 64;
  return {strip + g % 2 * 4 * 64, strip + (8 + g % 2 * 2) * 64, strip + (kLines - 1) * 64 + g % 2 * 32};
}

struct Q4K : HalfStrip {
  static constexpr int kLines = 9, kUpperLines = 0;
  static constexpr int kParts = 1;  // of the 32 columns, each with an s
  static constexpr bool kAffine = true;
  static int32_t first_sum(const int32_t*, int) { return 0; }
  [[gnu::always_inline]] void read(int64_t from, int line, Bytes& first, Bytes& second) const {
    Codes<4>::read(nibbles + from + 64 * line, first, second);
  }
  [[gnu::always_inline]] Float scale(int64_t from, int) const { return load_uint8(integers + from); }
  [[gnu::always_inline]] Float offset(int64_t from) const { return load_uint8(integers + from + 16); }
  float code_at(int64_t row, int64_t k) const { return nibble_at(nibbles + 4 * row, k); }
};

struct Q6K : HalfStrip {
  static constexpr int kLines = 13, kUpperLines = 2;
  static constexpr int kParts = 2;
  static constexpr bool kAffine = false;
  static int32_t first_sum(const int32_t* q6_k, int part) { return q6_k[part]; }
  [[gnu::always_inline]] void read(int64_t from, int line, Bytes& first, Bytes& second) const {
    Codes<4>::read(nibbles + from + 64 * line, first, second);
    const Bytes bits = load_bytes(upper + from + 64 * (line / 2));
    first = with_upper(first, bits, line % 2 * 2);
    second = with_upper(second, bits, line % 2 * 2 + 1);
  }
  [[gnu::always_inline]] Float scale(int64_t from, int part) const { return load_int8(integers + from + 16 * part); }
  float code_at(int64_t row, int64_t k) const {
    const int bits = upper[4 * row + k / 16 * 64 + k % 4] >> (k % 16 / 4 * 2) & 3;
    return nibble_at(nibbles + 4 * row, k) + static_cast<float>(16 * bits - 32);
  }
};

// kTokens tokens from `token` on, kBlocks blocks of 16 rows from `block` on.
template <class Form, int kBlocks, int kTokens>
inline void nested_tile(const llmrt_activations& codes, int64_t token, const llmrt_matrix& matrix, int64_t block,
                        Float (*result)[kTokens]) {
  const int64_t groups = groups_of(codes), stride = stride_of<int8_t>(codes);
  const int64_t next_block = codes.columns * Form::kLines, outer = codes.columns / kOuterColumns * 16;
  const uint8_t* w = matrix.data + block * next_block;
  const int8_t* x = row_of<int8_t>(codes, token);
  const float* x_scales = codes.scales + token * groups;
  const int32_t *x_sums = codes.sums + token * groups, *q6_k = codes.q6_k + 2 * token * groups;
  constexpr int kSums = kTokens * kBlocks, kPartLines = 4 / Form::kParts;
  Float total[kSums];
  for (Float& sum : total) sum = set1(0.0f);
  for (int64_t g = 0; g < groups; ++g) {
    const Form form{half_strip<Form::kLines>(w, g)};
    for (int b = 0; b < kBlocks; ++b) {
      ask_ahead(form.upper + b * next_block, Form::kUpperLines * 64);
      ask_ahead(form.integers + b * next_block, 64);
    }
#pragma GCC unroll 2
    for (int part = 0; part < Form::kParts; ++part) {
      Int acc[kSums];
      for (int i = 0; i < kSums; ++i) acc[i] = iset1(Form::first_sum(q6_k + 2 * (i / kBlocks * groups + g), part));
#pragma GCC unroll 4
      for (int line = 0; line < kPartLines; ++line, x += 8) {
        Bytes first[kBlocks], second[kBlocks];
        for (int b = 0; b < kBlocks; ++b) {
          ask_ahead(form.nibbles + b * next_block + (part * kPartLines + line) * 64, 64);
          form.read(b * next_block, part * kPartLines + line, first[b], second[b]);
        }
        for (int i = 0; i < kSums; ++i) acc[i] = dot4_small(acc[i], first[i % kBlocks], x + i / kBlocks * stride);
        for (int i = 0; i < kSums; ++i) acc[i] = dot4_small(acc[i], second[i % kBlocks], x + i / kBlocks * stride + 4);
      }
      Float scales[kBlocks], offsets[kBlocks];
      for (int b = 0; b < kBlocks; ++b) {
        const int64_t at = (block + b) * outer + g / 8 * 16;
        scales[b] = mul(load_fp16(matrix.scales + at), form.scale(b * next_block, part));
        if constexpr (Form::kAffine) offsets[b] = mul(load_fp16(matrix.offsets + at), form.offset(b * next_block));
      }
      for (int i = 0; i < kSums; ++i) {
        const int64_t at = i / kBlocks * groups + g;
        total[i] = add_group<Form::kAffine>(total[i], acc[i], scales[i % kBlocks], offsets[i % kBlocks], x_scales[at],
                                            x_sums[at]);
      }
    }
  }
  for (int i = 0; i < kSums; ++i) result[i % kBlocks][i / kBlocks] = total[i];
}

}  // namespace llmrt::LLMRT_ISA
