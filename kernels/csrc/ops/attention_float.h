// A tile of keys and values that are stored as floats: scores and mixing by fp32 products.
#pragma once

#include <algorithm>

#include "ops/attention_unit.h"

namespace llmrt::LLMRT_ISA {

template <int kRows, int kVectors>
inline void score_tile(const float* columns, const float* q, int64_t dim, float* scores) {
  Float acc[kRows][kVectors];
  for (auto& row : acc)
    for (Float& x : row) x = set1(0.0f);
  for (int64_t i = 0; i < dim; ++i) {
    Float keys[kVectors];
    for (int v = 0; v < kVectors; ++v) keys[v] = load(columns + i * kKeyTile + 16 * v);
    for (int r = 0; r < kRows; ++r) {
      const Float x = set1(q[r * dim + i]);
      for (int v = 0; v < kVectors; ++v) acc[r][v] = fma(x, keys[v], acc[r][v]);
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVectors; ++v) store(scores + r * kKeyTile + 16 * v, acc[r][v]);
}

template <class C>
struct FloatAttention {
  using Value = typename C::Value;
  static constexpr int64_t kRun = 1;
  using Tile = KeyTile<kRun>;
  using Addresses = Runs<Value, kRun>;

  static void prepare(const llmrt_paged_attention_args& a, AttentionScratch& s, int64_t, int64_t) {
    s.key_columns.resize(kKeyTile * a.cache.head_dim);
  }

  // A score adds its products one after the other, so it is the same bits whatever rows stand beside it.
  static void score(const llmrt_paged_attention_args& a, const Tile& tile, const Tile& next, AttentionScratch& s,
                    int64_t rows) {
    const int64_t dim = a.cache.head_dim;
    turn_keys(a, tile, next, s);
    for_tiles<kMatmulVectors>(tile.columns() / 16, [&]<int kVectors>(int64_t vector) {
      for_tiles<kMatmulRows>(rows, [&]<int kRows>(int64_t row) {
        score_tile<kRows, kVectors>(s.key_columns.data() + 16 * vector, s.q.data() + (tile.row + row) * dim, dim,
                                    s.scores.data() + row * kKeyTile + 16 * vector);
      });
    });
  }

  static Float value_logs(const AttentionScratch&, int64_t) { return set1(0.0f); }

  static void soften(const llmrt_paged_attention_args& a, const Tile& tile, const Tile&, AttentionScratch& s,
                     int64_t rows) {
    const int64_t dim = a.cache.head_dim;
    for (int64_t r = 0; r < rows; ++r) {
      float *scores = s.scores.data() + r * kKeyTile, *sums = s.sums.data() + (tile.row + r) * (dim + 16) + dim;
      const Float most = set1(s.most[tile.row + r]);
      Float sum = load(sums);
      for (int64_t j = 0; j < tile.columns(); j += 16) {
        const Float weight = exp2(sub(load(scores + j), most));
        store(scores + j, weight);
        sum = add(sum, weight);
      }
      store(sums, sum);
    }
  }

  // sums += weights V.
  static void mix(const llmrt_paged_attention_args& a, const Tile& tile, const Tile& next, AttentionScratch& s,
                  int64_t rows) {
    const int64_t dim = a.cache.head_dim;
    const Addresses values(a.cache.v, tile), ahead(a.cache.v, next);
    for_tiles<kMatmulVectors>(dim / 16, [&]<int kVectors>(int64_t vector) {
      for_tiles<kMatmulRows>(rows, [&]<int kRows>(int64_t row) {
        mix_tile<kRows, kVectors>(values, row == 0 ? &ahead : nullptr, tile.first, tile.count, s.scores.data() + row * kKeyTile,
                                  s.sums.data() + (tile.row + row) * (dim + 16) + 16 * vector, dim + 16, 16 * vector);
      });
    });
  }

 private:
  // Asks for sixteen numbers, once a line.
  static void ask_for(const Value* x, int64_t i) {
    if (i * sizeof(Value) % 64 == 0) ask_for_line(x + i);
  }

  // The tile's keys as columns [D, kKeyTile], asking for the next tile's.
  static void turn_keys(const llmrt_paged_attention_args& a, const Tile& tile, const Tile& next, AttentionScratch& s) {
    const int64_t dim = a.cache.head_dim;
    const Addresses keys(a.cache.k, tile), ahead(a.cache.k, next);
    for (int64_t j = 0; j < tile.columns(); j += 16)
      for (int64_t i = 0; i < dim; i += 16) {
        Float block[16];
        for (int k = 0; k < 16; ++k) ask_for(ahead.at[j + k], i);
#pragma GCC unroll 16
        for (int k = 0; k < 16; ++k) block[k] = C::read(keys.at[j + k] + i);
        transpose(block);
#pragma GCC unroll 16
        for (int k = 0; k < 16; ++k) store(s.key_columns.data() + (i + k) * kKeyTile + j, block[k]);
      }
  }

  template <int kRows, int kVectors>
  static void mix_tile(const Addresses& values, const Addresses* ahead, int64_t first, int64_t count, const float* weights, float* out,
                       int64_t out_stride, int64_t from) {
    Float acc[kRows][kVectors];
    for (int r = 0; r < kRows; ++r)
      for (int v = 0; v < kVectors; ++v) acc[r][v] = load(out + r * out_stride + 16 * v);
    for (int64_t j = first; j < count; ++j) {
      for (int v = 0; v < kVectors && ahead != nullptr; ++v) ask_for(ahead->at[j], from + 16 * v);
      Float x[kVectors];
      for (int v = 0; v < kVectors; ++v) x[v] = C::read(values.at[j] + from + 16 * v);
      for (int r = 0; r < kRows; ++r) {
        const Float weight = set1(weights[r * kKeyTile + j]);
        for (int v = 0; v < kVectors; ++v) acc[r][v] = fma(weight, x[v], acc[r][v]);
      }
    }
    for (int r = 0; r < kRows; ++r)
      for (int v = 0; v < kVectors; ++v) store(out + r * out_stride + 16 * v, acc[r][v]);
  }
};

}  // namespace llmrt::LLMRT_ISA
