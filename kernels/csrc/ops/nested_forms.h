// How the K-quants lie in a block of 16 rows: codes and the integers beside them, as llmrt_matrix draws them.
#pragma once

#include "llmrt_cpu.h"
#include "ops/codes_product.h"

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

}  // namespace llmrt::LLMRT_ISA
