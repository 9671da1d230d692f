// x W^T, the core of every op with a weight. A tile keeps kTileTokens x 16 results in registers. It is one block of rows
// wide, so that a weight is one stream of memory: two streams side by side read a third slower. With many tokens a weight is
// read from the caches, and loads there are what bounds: then tiles are kWideTokens x 16 kWideBlocks, which loads less.
#pragma once

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "llmrt_cpu.h"
#include "ops/codes_product.h"
#include "ops/float_product.h"
#include "ops/nested_product.h"

namespace llmrt::LLMRT_ISA {

// The piece that holds row `row`, which is the first of a block; `row` becomes its place there.
inline const llmrt_matrix& piece_of(const llmrt_weight& weight, int64_t& row) {
  const llmrt_matrix* piece = weight.pieces;
  while (row >= piece->rows) row -= (piece++)->rows;
  return *piece;
}

constexpr int kMostTokens = std::max(kTileTokens, kWideTokens);  // of a tile

// Most tiles of so many tokens find their weights in the cache, where it counts how little a product has to do for each.
inline bool are_many(int64_t tokens) { return tokens > 2 * kTileTokens; }

// Whole blocks of rows, from `row` on, for the tokens from `first` to `end`. Where those are many, the first tile of them
// unpacks GGUF's types for the others, as it reads. A thread has one panel at a time.
class Panel {
 public:
  Panel(const llmrt_activations& x, const llmrt_weight& weight, int64_t row, int64_t blocks, int64_t first, int64_t end)
      : x(x), weight(weight), row_(row), first_(first), end_(end),
        block_lines_(x.columns / kInnerColumns * kMostUnpackedLines) {
    if (x.dtype != LLMRT_INT8 || !has_many()) return;
    static thread_local std::vector<Line> memory;
    memory.resize(std::max<size_t>(memory.size(), blocks * block_lines_));
    unpacked_ = memory.data();
  }

  // Calls body(first token, tokens) for tiles that cover all tokens: whole ones, then what is left.
  template <class Body>
  void for_tiles_of_tokens(Body body) const {
    const int64_t tokens = has_many() ? kWideTokens : kTileTokens;
    const int64_t most = x.dtype == LLMRT_INT8 ? tokens : std::min<int64_t>(tokens, kFloatTokens);
    for (int64_t token = first_; token < end_; token += most) body(token, std::min(most, end_ - token));
  }

  // Results of one tile's tokens for `blocks` blocks of 16 rows from `row` on, bias included, to `out`, whose rows are
  // `stride` apart. Rows past the weight's last are 0.
  void multiply(int64_t token, int64_t tokens, int64_t row, int64_t blocks, float* out, int64_t stride) const;

  // Calls body with the rows of such a type from `row` on as a tile of kTokens tokens is to read them. Few tokens have
  // tiles of one block.
  template <int kBlocks, int kTokens, class Form, class Body>
  void read(const StoredRows<Form>& stored, int64_t row, int64_t token, Body&& body) const {
    if constexpr (kBlocks == 1)
      if (unpacked_ == nullptr) return body(stored);
    const UnpackedRows<typename Form::Unpacked> unpacked{block_lines_ * 64, unpacked_[(row - row_) / 16 * block_lines_].bytes};
    if constexpr (kTokens == kWideTokens)
      if (token == first_) return body(UnpackingRows<Form>{stored, unpacked});
    if constexpr (kTokens <= kWideTokens) body(unpacked);
  }

  const llmrt_activations& x;
  const llmrt_weight& weight;

 private:
  struct alignas(64) Line {
    uint8_t bytes[64];
  };
  bool has_many() const { return are_many(end_ - first_); }

  const int64_t row_, first_, end_, block_lines_;
  Line* unpacked_ = nullptr;
};

// The types that go together: int8 with all of codes, bf16 with bf16, fp32 with every float type.
template <int kBlocks, int kTokens>
inline void product_tile(const llmrt_activations& x, int64_t token, const llmrt_matrix& matrix, int64_t block,
                         Float (*result)[kTokens]) {
  if (matrix.dtype == LLMRT_INT4) return codes_tiles<4, kBlocks>(x, token, matrix, block, result);
  if (matrix.dtype == LLMRT_INT8) return codes_tiles<8, kBlocks>(x, token, matrix, block, result);
  if constexpr (kTokens <= kFloatTokens)
    for (int b = 0; b < kBlocks; ++b) {
      if (matrix.dtype == LLMRT_FP32) float_tile<Fp32, Fp32, kTokens>(x, token, matrix, block + b, result[b]);
      if (matrix.dtype == LLMRT_FP16) float_tile<Fp32, Fp16, kTokens>(x, token, matrix, block + b, result[b]);
      if (matrix.dtype == LLMRT_BF16)
        x.dtype == LLMRT_BF16 ? float_tile<Bf16, Bf16, kTokens>(x, token, matrix, block + b, result[b])
                              : float_tile<Fp32, Bf16, kTokens>(x, token, matrix, block + b, result[b]);
    }
}

// Of kTokens tokens from `token` on, kBlocks blocks of rows from `row` on, as Panel::multiply has them.
template <int kBlocks, int kTokens>
[[gnu::noinline]] void product(const Panel& panel, int64_t token, int64_t row, float* out, int64_t stride) {
  const llmrt_activations& x = panel.x;
  const llmrt_weight& weight = panel.weight;
  int64_t at = row;
  const llmrt_matrix& piece = piece_of(weight, at);
  if constexpr (kBlocks > 1)
    if (at + 16 * (kBlocks - 1) >= piece.rows) {  // the blocks are of two pieces
      for (int b = 0; b < kBlocks; ++b) product<1, kTokens>(panel, token, row + 16 * b, out + 16 * b, stride);
      return;
    }
  Float result[kBlocks][kTokens];
  if constexpr (kOnlyBf16) {
    for (int b = 0; b < kBlocks; ++b) float_tile<Bf16, Bf16, kTokens>(x, token, piece, at / 16 + b, result[b]);
  } else {
    const bool nested = with_form(piece.dtype, [&]<class Form>() {
      panel.read<kBlocks, kTokens>(StoredRows<Form>(piece, x.columns, at / 16), row, token, [&](const auto& rows) {
        nested_tile<kBlocks>(x, token, rows, result);
      });
    });
    if (!nested) product_tile<kBlocks>(x, token, piece, at / 16, result);
  }
  for (int b = 0; b < kBlocks; ++b) {
    if (weight.bias != nullptr) {
      float bias[16] = {};
      for (int64_t i = 0, from = row + 16 * b; i < 16 && from + i < weight.rows; ++i) bias[i] = weight.bias[from + i];
      for (Float& r : result[b]) r = add(r, load(bias));
    }
    for (int t = 0; t < kTokens; ++t) store(out + t * stride + 16 * b, result[b][t]);
  }
}

using Product = void (*)(const Panel&, int64_t token, int64_t row, float* out, int64_t stride);

// Those of 1, 2 and so on tokens.
template <int kBlocks, int... kBefore>
constexpr std::array<Product, sizeof...(kBefore)> products(std::integer_sequence<int, kBefore...>) {
  return {product<kBlocks, kBefore + 1>...};
}

// The tiles are compiled once, not for each op: of an op nothing is of a tile's size.
inline void Panel::multiply(int64_t token, int64_t tokens, int64_t row, int64_t blocks, float* out, int64_t stride) const {
  static constexpr auto kNarrow = products<1>(std::make_integer_sequence<int, kMostTokens>{});
  static constexpr auto kWide = products<kWideBlocks>(std::make_integer_sequence<int, kWideTokens>{});
  int64_t b = 0;
  if (has_many())
    for (; b + kWideBlocks <= blocks; b += kWideBlocks) kWide[tokens - 1](*this, token, row + 16 * b, out + 16 * b, stride);
  for (; b < blocks; ++b) kNarrow[tokens - 1](*this, token, row + 16 * b, out + 16 * b, stride);
}

// Adds `count` columns, whole blocks of 16, from `column` on of `delta` [T, columns], if there is one.
inline void add_delta(const float* delta, int64_t columns, int64_t token, int64_t tokens, int64_t column, int64_t count,
                      float* out, int64_t stride) {
  if (delta == nullptr) return;
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t i = 0; i < count; i += 16) {
      float* at = out + t * stride + i;
      store(at, add(load(at), load(delta + (token + t) * columns + column + i)));
    }
}

}  // namespace llmrt::LLMRT_ISA
