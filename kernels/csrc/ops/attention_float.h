// A tile of keys and values that are stored as floats: scores and mixing by fp32 products.
#pragma once

#include <algorithm>

#include "ops/attention_unit.h"
#include "ops/product.h"
#include "ops/small_matmul.h"

namespace llmrt::LLMRT_ISA {

constexpr int64_t kFewRows = 8;  // up to here, turning keys into columns costs more than it saves

template <class C>
struct FloatAttention {
  using Value = typename C::Value;
  static constexpr int64_t kRun = 1;
  using Tile = KeyTile<kRun>;
  using Addresses = Runs<Value, kRun>;

  static void prepare(const llmrt_paged_attention_args& a, AttentionScratch& s, int64_t, int64_t) {
    s.keys.resize(kKeyTile * a.cache.head_dim);
    s.keys_as_columns.resize(kKeyTile * a.cache.head_dim);
  }

  static void score(const llmrt_paged_attention_args& a, const AttentionUnit& unit, const Tile& tile, const Tile&,
                    AttentionScratch& s, int64_t rows) {
    const Addresses keys(a.cache.k, tile);
    if ((unit.alone ? group_of(a) : rows) > kFewRows) return score_columns(a, tile, keys, s, rows);
    for_tiles<4>(rows, [&]<int kRows>(int64_t row) {
      constexpr int kKeys = kRows > 2 ? 4 : 16 / kRows;
      for (int64_t j = 0; j < tile.columns(); j += kKeys) score_keys<kRows, kKeys>(a, tile, keys, s, row, j);
    });
  }

  static Float value_logs(const AttentionScratch&, int64_t) { return set1(0.0f); }

  static void soften(const Tile& tile, AttentionScratch& s, int64_t rows) {
    for (int64_t r = 0; r < rows; ++r) {
      float *scores = s.scores.data() + r * kKeyTile, *sums = s.sums.data() + 16 * (tile.row + r);
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

  // out [rows, D] += weights V.
  static void mix(const llmrt_paged_attention_args& a, const Tile& tile, const Tile&, AttentionScratch& s,
                  int64_t rows) {
    const int64_t dim = a.cache.head_dim;
    const Addresses values(a.cache.v, tile);
    for_tiles<kMatmulVectors>(dim / 16, [&]<int kVectors>(int64_t vector) {
      for_tiles<kMatmulRows>(rows, [&]<int kRows>(int64_t row) {
        mix_tile<kRows, kVectors>(values, tile.first, tile.count, s.scores.data() + row * kKeyTile,
                                  s.out.data() + (tile.row + row) * dim + 16 * vector, dim, 16 * vector);
      });
    });
  }

 private:
  // Scores of kRows rows and kKeys keys from `key` on: sixteen dot products at most, added up side by side.
  template <int kRows, int kKeys>
  static void score_keys(const llmrt_paged_attention_args& a, const Tile& tile, const Addresses& keys,
                         AttentionScratch& s, int64_t row, int64_t key) {
    const int64_t dim = a.cache.head_dim;
    const float* q = s.q.data() + (tile.row + row) * dim;
    Float acc[16];
    for (Float& x : acc) x = set1(0.0f);
    for (int64_t i = 0; i < dim; i += 16) {
      Float rows[kRows];
      for (int r = 0; r < kRows; ++r) rows[r] = load(q + r * dim + i);
      for (int k = 0; k < kKeys; ++k) {
        const Float x = C::read(keys.at[key + k] + i);
        for (int r = 0; r < kRows; ++r) acc[r * kKeys + k] = fma(x, rows[r], acc[r * kKeys + k]);
      }
    }
    float results[16];
    store(results, sums(acc));
    for (int r = 0; r < kRows; ++r)
      std::copy_n(results + r * kKeys, kKeys, s.scores.data() + (row + r) * kKeyTile + key);
  }

  static void score_columns(const llmrt_paged_attention_args& a, const Tile& tile, const Addresses& keys,
                            AttentionScratch& s, int64_t rows) {
    const int64_t dim = a.cache.head_dim, columns = tile.columns();
    for (int64_t j = 0; j < columns; ++j)
      for (int64_t i = 0; i < dim; i += 16) store(s.keys.data() + j * dim + i, C::read(keys.at[j] + i));
    for (int64_t j = 0; j < columns; ++j)
      for (int64_t i = 0; i < dim; ++i) s.keys_as_columns[i * kKeyTile + j] = s.keys[j * dim + i];
    float* scores = s.scores.data();
    for (int64_t r = 0; r < rows; ++r) std::fill_n(scores + r * kKeyTile, columns, 0.0f);
    matmul_add(s.q.data() + tile.row * dim, dim, s.keys_as_columns.data(), kKeyTile, scores, kKeyTile, rows, dim, columns);
  }

  template <int kRows, int kVectors>
  static void mix_tile(const Addresses& values, int64_t first, int64_t count, const float* weights, float* out,
                       int64_t dim, int64_t from) {
    Float acc[kRows][kVectors];
    for (int r = 0; r < kRows; ++r)
      for (int v = 0; v < kVectors; ++v) acc[r][v] = load(out + r * dim + 16 * v);
    for (int64_t j = first; j < count; ++j) {
      Float x[kVectors];
      for (int v = 0; v < kVectors; ++v) x[v] = C::read(values.at[j] + from + 16 * v);
      for (int r = 0; r < kRows; ++r) {
        const Float weight = set1(weights[r * kKeyTile + j]);
        for (int v = 0; v < kVectors; ++v) acc[r][v] = fma(weight, x[v], acc[r][v]);
      }
    }
    for (int r = 0; r < kRows; ++r)
      for (int v = 0; v < kVectors; ++v) store(out + r * dim + 16 * v, acc[r][v]);
  }
};

}  // namespace llmrt::LLMRT_ISA
