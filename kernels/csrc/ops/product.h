// x W^T, the core of every op with a weight. A tile keeps kTileTokens x 16 results in registers. It is one block of rows
// wide, so that a weight is one stream of memory: two streams side by side read a third slower. With many tokens a weight is
// read from the caches, and loads there are what bounds: then tiles are kWideTokens x 16 kWideBlocks, which loads less.
#pragma once

#include <algorithm>
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

// Most tiles of so many tokens find their weights in the cache, where it counts how little a product has to do for each.
inline bool are_many(int64_t tokens) { return tokens > 2 * kTileTokens; }

// Whole blocks of rows, from `row` on, for the tokens from `first` to `end`. Where those are many, the first tile of them
// unpacks GGUF's types for the others, as it reads. A thread has one panel at a time.
class Panel {
 public:
  Panel(const llmrt_activations& x, const llmrt_weight& weight, int64_t row, int64_t blocks, int64_t first, int64_t end)
      : weight(weight), row_(row), first_(first), block_lines_(x.columns / kInnerColumns * kMostUnpackedLines) {
    if (x.dtype != LLMRT_INT8 || !are_many(end - first)) return;
    static thread_local std::vector<Line> memory;
    memory.resize(std::max<size_t>(memory.size(), blocks * block_lines_));
    unpacked_ = memory.data();
  }

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

  const llmrt_weight& weight;

 private:
  struct alignas(64) Line {
    uint8_t bytes[64];
  };
  const int64_t row_, first_, block_lines_;
  Line* unpacked_ = nullptr;
};

// The types that go together: int8 with all of codes, bf16 with bf16, fp32 with every float type.
template <int kBlocks, int kTokens>
inline void product_tile(const llmrt_activations& x, int64_t token, const llmrt_matrix& matrix, int64_t block,
                         Float (*result)[kTokens]) {
  if (matrix.dtype == LLMRT_INT4) return codes_tiles<4, kBlocks>(x, token, matrix, block, result);
  if (matrix.dtype == LLMRT_INT8) return codes_tiles<8, kBlocks>(x, token, matrix, block, result);
  for (int b = 0; b < kBlocks; ++b) {
    if (matrix.dtype == LLMRT_FP32) float_tiles<Fp32, Fp32, kTokens>(x, token, matrix, block + b, result[b]);
    if (matrix.dtype == LLMRT_FP16) float_tiles<Fp32, Fp16, kTokens>(x, token, matrix, block + b, result[b]);
    if (matrix.dtype == LLMRT_BF16)
      x.dtype == LLMRT_BF16 ? float_tiles<Bf16, Bf16, kTokens>(x, token, matrix, block + b, result[b])
                            : float_tiles<Fp32, Bf16, kTokens>(x, token, matrix, block + b, result[b]);
  }
}

// Results of kTokens tokens for kBlocks blocks of 16 rows from `row` on, bias included. Rows past the weight's last are 0.
template <int kBlocks, int kTokens>
inline void product(const llmrt_activations& x, int64_t token, const Panel& panel, int64_t row,
                    Float (*result)[kTokens]) {
  const llmrt_weight& weight = panel.weight;
  int64_t at = row;
  const llmrt_matrix& piece = piece_of(weight, at);
  if (kBlocks > 1 && at + 16 * (kBlocks - 1) >= piece.rows) {  // the blocks are of two pieces
    for (int b = 0; b < kBlocks; ++b) product<1>(x, token, panel, row + 16 * b, result + b);
    return;
  }
  const bool nested = with_form(piece.dtype, [&]<class Form>() {
    panel.read<kBlocks, kTokens>(StoredRows<Form>(piece, x.columns, at / 16), row, token, [&](const auto& rows) {
      nested_tile<kBlocks>(x, token, rows, result);
    });
  });
  if (!nested) product_tile<kBlocks>(x, token, piece, at / 16, result);
  if (weight.bias == nullptr) return;
  for (int b = 0; b < kBlocks; ++b) {
    float bias[16] = {};
    for (int64_t i = 0, from = row + 16 * b; i < 16 && from + i < weight.rows; ++i) bias[i] = weight.bias[from + i];
    for (Float& r : result[b]) r = add(r, load(bias));
  }
}

// Adds the columns from `column` on, 16 a block, of `delta` [T, columns], if there is one.
template <int kBlocks, int kTokens>
inline void add_delta(const float* delta, int64_t columns, int64_t token, int64_t column, Float (*result)[kTokens]) {
  if (delta == nullptr) return;
  for (int b = 0; b < kBlocks; ++b)
    for (int t = 0; t < kTokens; ++t)
      result[b][t] = add(result[b][t], load(delta + (token + t) * columns + column + 16 * b));
}

// Calls body.operator()<kTokens>(first token) for tiles that cover all tokens: whole ones, then what is left.
template <int kTokens = kTileTokens, class Body>
inline void for_tiles(int64_t tokens, Body&& body, int64_t token = 0) {
  for (; token + kTokens <= tokens; token += kTokens) body.template operator()<kTokens>(token);
  if constexpr (kTokens > 1) for_tiles<kTokens - 1>(tokens, std::forward<Body>(body), token);
}

// Calls body.operator()<kTokens, kBlocks>(first token) for tiles of the tokens [token, end); kBlocks blocks of rows are to
// be computed at a time.
template <class Body>
inline void for_token_tiles(int64_t token, int64_t end, Body&& body) {
  if (are_many(end - token))
    for_tiles<kWideTokens>(end, [&]<int kTokens>(int64_t t) { body.template operator()<kTokens, kWideBlocks>(t); }, token);
  else
    for_tiles<kTileTokens>(end, [&]<int kTokens>(int64_t t) { body.template operator()<kTokens, 1>(t); }, token);
}

}  // namespace llmrt::LLMRT_ISA
