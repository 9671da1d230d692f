// How GGUF's types lie in a block of 16 rows: codes and the integers beside them, as llmrt_matrix draws them.
#pragma once

#include "llmrt_cpu.h"
#include "ops/codes_product.h"

namespace llmrt::LLMRT_ISA {

// Columns of a group of activations.
constexpr int64_t kInnerColumns = 32;

// Of the codes of a group of activations, as llmrt_activations has them.
struct Sums {
  const int32_t *all, *q6_k;
};

// The at-th 32 columns of a row, and which of their strip's they are.
struct Group {
  int64_t at;
  int in_strip;
};

// 32 columns of a block of rows, of which a strip has some: where the lower and the upper bits of their codes and their
// integers are, which strips of 32 columns have none of. A code is read times 2^kShift. Always inlined, for tiles are large
// and a call in the innermost loop takes longer than the products.
template <int kLowBits, int kUpperBits, int kStripGroups = 2, int kShift = 0>
struct Strip {
  static constexpr int kGroups = kStripGroups;
  static constexpr int kLowLines = kLowBits, kUpperLines = kUpperBits;  // of 32 columns
  static constexpr int kIntegerLines = kGroups > 1;
  static constexpr int kLines = kGroups * (kLowLines + kUpperLines) + kIntegerLines;
  static constexpr int64_t kOuterColumns = kIntegerLines ? 256 : kInnerColumns;  // of d and m
  static constexpr int kParts = 1;  // of the 32 columns, each with an s
  static constexpr bool kAffine = false;
  static constexpr float kSumUnit = 1;  // how many times the sum of codes an offset's sum is

  // Those of the block at `w`.
  [[gnu::always_inline]] Strip(const uint8_t* w, Group g) : strip(w + (g.at - g.in_strip) / kGroups * kLines * 64) {
    low = strip + g.in_strip * kLowLines * 64;
    upper = strip + (kGroups * kLowLines + g.in_strip * kUpperLines) * 64;
    integers = strip + (kLines - 1) * 64 + g.in_strip * (64 / kGroups);
  }

  // The codes of the line-th 8 columns of the block that lies `from` bytes on, as two halves of four columns.
  [[gnu::always_inline]] void read(int64_t from, int line, Bytes& first, Bytes& second) const {
    constexpr int kLow = ((1 << kLowBits) - 1) << kShift, kFirstUpper = kShift + kLowBits;
    if constexpr (kLowBits == 4) {
      Codes<4>::read(low + from + 64 * line, first, second);
    } else {
      const int right = line % 2 * 4;
      const Bytes bits = load_bytes(low + from + 64 * (line / 2));
      first = some_bits(bits, kShift - right, kLow);
      second = some_bits(bits, kShift - right - kLowBits, kLow);
    }
    if constexpr (kUpperBits > 0) {
      constexpr int kUpper = ((1 << kUpperBits) - 1) << kFirstUpper, kEights = 4 / kUpperBits;
      const int left = kFirstUpper - line % kEights * 2 * kUpperBits;
      const Bytes bits = load_bytes(upper + from + 64 * (line / kEights));
      first = with_bits(first, bits, left, kUpper);
      second = with_bits(second, bits, left - kUpperBits, kUpper);
    }
  }
  static Int dot(Int acc, Bytes w, const int8_t* x) { return dot4_small(acc, w, x); }

  // The code of a row for the k-th of the columns.
  int code(int64_t row, int64_t k) const {
    const int bits = code_in<kLowBits>(low, row, k);
    if constexpr (kUpperBits == 0) return bits << kShift;
    else return (bits | code_in<kUpperBits>(upper, row, k) << kLowBits) << kShift;
  }

  const uint8_t *strip, *low, *upper, *integers;
};

// Of a block of 16 rows of so many columns.
template <class Form>
inline int64_t block_bytes(int64_t columns) {
  return columns / kInnerColumns * Form::kLines * 64 / Form::kGroups;
}

// With an s and a z for 32 columns, or d and m for as many; no zero.
template <int kUpperBits, int kGroups>
struct Affine : Strip<4, kUpperBits, kGroups> {
  using Unpacked = Affine<0, 2>;  // the form that multiplies as this one does once its codes are bytes
  using Strip<4, kUpperBits, kGroups>::Strip;
  static constexpr bool kAffine = true;
  static int32_t first_sum(Sums, int) { return 0; }
  static int32_t offset_sum(Sums sums, int) { return *sums.all; }
  [[gnu::always_inline]] Float scale(int64_t from, int) const {
    return this->kIntegerLines ? load_uint8(this->integers + from) : set1(1.0f);
  }
  [[gnu::always_inline]] Float offset(int64_t from, int) const {
    return this->kIntegerLines ? load_uint8(this->integers + from + 16) : set1(1.0f);
  }
  int code_at(int64_t row, int64_t k) const { return this->code(row, k); }
};
using Q4K = Affine<0, 2>;
using Q5K = Affine<1, 2>;
using Q5_1 = Affine<1, 1>;

// With a d for 32 columns, and the zero 16.
struct Q5_0 : Strip<4, 1, 1> {
  using Unpacked = Q5_0;
  using Strip::Strip;
  static int32_t first_sum(Sums sums, int) { return -16 * *sums.all; }
  [[gnu::always_inline]] Float scale(int64_t, int) const { return set1(1.0f); }
  int code_at(int64_t row, int64_t k) const { return code(row, k) - 16; }
};

// With a signed s for 16 columns, and the zero 32.
template <int kLowBits, int kUpperBits, int kShift>
struct Symmetric : Strip<kLowBits, kUpperBits, 2, kShift> {
  using Unpacked = Symmetric<4, 2, 0>;
  using Strip<kLowBits, kUpperBits, 2, kShift>::Strip;
  static constexpr int kParts = 2;
  static int32_t first_sum(Sums sums, int part) { return sums.q6_k[part]; }
  [[gnu::always_inline]] Float scale(int64_t from, int part) const {
    const Float s = load_int8(this->integers + from + 16 * part);
    return kShift == 0 ? s : mul(s, set1(1.0f / (1 << kShift)));
  }
  int code_at(int64_t row, int64_t k) const { return this->code(row, k) - 32; }
};
using Q6K = Symmetric<4, 2, 0>;
using Q3K = Symmetric<2, 1, 3>;  // whose zero is 4, and 32 of codes times 8

// With an s and a z for 16 columns, the halves of a byte. Its z count the sums that are there, which are -32 times as large.
struct Q2K : Strip<2, 0> {
  using Unpacked = Q2K;
  using Strip::Strip;
  static constexpr int kParts = 2;
  static constexpr bool kAffine = true;
  static constexpr float kSumUnit = -32;
  static int32_t first_sum(Sums, int) { return 0; }
  static int32_t offset_sum(Sums sums, int part) { return sums.q6_k[part]; }
  [[gnu::always_inline]] Float sixteenths(int64_t from, int part) const {
    return mul(load_uint8(integers + from + 16 * part), set1(1.0f / 16));
  }
  [[gnu::always_inline]] Float scale(int64_t from, int part) const {
    return mul(fraction(sixteenths(from, part)), set1(16.0f));
  }
  [[gnu::always_inline]] Float offset(int64_t from, int part) const {
    const Float both = sixteenths(from, part);
    return mul(sub(both, fraction(both)), set1(1 / kSumUnit));
  }
  int code_at(int64_t row, int64_t k) const { return code(row, k); }
};

// With a signed s, or a d, for 32 columns. Codes are places in a table of numbers.
template <int kGroups>
struct Tabled : Strip<4, 0, kGroups> {
  using Unpacked = Tabled<4>;
  using Strip<4, 0, kGroups>::Strip;
  static int32_t first_sum(Sums sums, int) { return -Table::kZero * *sums.all; }
  [[gnu::always_inline]] void read(int64_t from, int line, Bytes& first, Bytes& second) const {
    Table::read(this->low + from + 64 * line, first, second);
  }
  static Int dot(Int acc, Bytes w, const int8_t* x) { return Table::dot(acc, w, x); }
  [[gnu::always_inline]] Float scale(int64_t from, int) const {
    return this->kIntegerLines ? load_int8(this->integers + from) : set1(1.0f);
  }
  int code_at(int64_t row, int64_t k) const { return Table::kNumbers[this->code(row, k)] - Table::kZero; }
};
using IQ4XS = Tabled<4>;
using IQ4NL = Tabled<1>;

// Calls body.operator()<Form>() for the form that `dtype` is; whether it is one.
template <class Body>
[[gnu::always_inline]] inline bool with_form(int64_t dtype, Body&& body) {
  if (dtype == LLMRT_Q4_K) body.template operator()<Q4K>();
  else if (dtype == LLMRT_Q5_K) body.template operator()<Q5K>();
  else if (dtype == LLMRT_Q6_K) body.template operator()<Q6K>();
  else if (dtype == LLMRT_Q3_K) body.template operator()<Q3K>();
  else if (dtype == LLMRT_Q2_K) body.template operator()<Q2K>();
  else if (dtype == LLMRT_IQ4_XS) body.template operator()<IQ4XS>();
  else if (dtype == LLMRT_IQ4_NL) body.template operator()<IQ4NL>();
  else if (dtype == LLMRT_Q5_0) body.template operator()<Q5_0>();
  else if (dtype == LLMRT_Q5_1) body.template operator()<Q5_1>();
  else return false;
  return true;
}

}  // namespace llmrt::LLMRT_ISA
