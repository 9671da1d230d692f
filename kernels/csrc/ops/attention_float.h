// A tile of keys and values that are stored as floats: scores and mixing by fp32 products.
#pragma once

#include <algorithm>

#include "ops/attention_unit.h"
#include "ops/cache.h"
#include "ops/small_matmul.h"

namespace llmrt::LLMRT_ISA {

constexpr int64_t kFewRows = 8;  // up to here, turning keys into columns costs more than it saves

template <class C>
struct FloatTile {
  static constexpr int64_t kValueBytes = sizeof(typename C::Value);
  static constexpr int64_t kAlign = 1;  // of a tile's first key

  static void prepare(const llmrt_paged_attention_args& a, AttentionScratch& s, int64_t) {
    const int64_t size = kKeyTile * a.cache.head_dim;
    s.keys.resize(size);
    s.keys_as_columns.resize(size);
    s.values.resize(size);
  }

  // scores [rows, kKeyTile] = q K^T for `count` keys from `begin` on.
  static void score(const llmrt_paged_attention_args& a, const AttentionUnit& unit, AttentionScratch& s, int64_t rows,
                    int64_t begin, int64_t count) {
    const int64_t dim = a.cache.head_dim;
    gather(a, a.cache.k, unit, begin, count, s.keys.data());
    if (rows <= kFewRows) {
      for (int64_t j = 0; j < count; ++j)
        for (int64_t r = 0; r < rows; ++r)
          s.scores[r * kKeyTile + j] = dot(s.q.data() + r * dim, s.keys.data() + j * dim, dim);
      return;
    }
    const int64_t columns = (count + 15) / 16 * 16;
    std::fill(s.keys.begin() + count * dim, s.keys.begin() + columns * dim, 0.0f);
    for (int64_t j = 0; j < columns; ++j)
      for (int64_t i = 0; i < dim; ++i) s.keys_as_columns[i * kKeyTile + j] = s.keys[j * dim + i];
    for (int64_t r = 0; r < rows; ++r) std::fill_n(s.scores.data() + r * kKeyTile, columns, 0.0f);
    matmul_add(s.q.data(), dim, s.keys_as_columns.data(), kKeyTile, s.scores.data(), kKeyTile, rows, dim, columns);
  }

  // out [rows, D] += weights V.
  static void mix(const llmrt_paged_attention_args& a, const AttentionUnit& unit, AttentionScratch& s, int64_t rows,
                  int64_t begin, int64_t count) {
    const int64_t dim = a.cache.head_dim;
    gather(a, a.cache.v, unit, begin, count, s.values.data());
    matmul_add(s.scores.data(), kKeyTile, s.values.data(), dim, s.out.data(), dim, rows, count, dim);
  }

  static void soften(AttentionScratch& s, int64_t r, Visible keys, int64_t dim) {
    float* scores = s.scores.data() + r * kKeyTile;
    if (!soften_row(scores, keys, s.most[r], s.total[r], s.out.data() + r * dim, dim))
      std::fill_n(scores, kKeyTile, 0.0f);
  }

 private:
  // Copies keys (or values) to fp32 rows.
  static void gather(const llmrt_paged_attention_args& a, const void* pages, const AttentionUnit& unit, int64_t begin,
                     int64_t count, float* rows) {
    const int64_t dim = a.cache.head_dim, size = a.cache.block_size;
    for (int64_t p = begin; p < begin + count; ++p, rows += dim) {
      const auto* from = static_cast<const typename C::Value*>(pages) +
                         page_of(a.cache, unit.blocks[p / size], unit.kv_head) + p % size * dim;
      for (int64_t i = 0; i < dim; i += 16) store(rows + i, C::read(from + i));
    }
  }

  static float dot(const float* x, const float* y, int64_t size) {
    Float total = set1(0.0f);
    for (int64_t i = 0; i < size; i += 16) total = fma(load(x + i), load(y + i), total);
    return sum(total);
  }
};

}  // namespace llmrt::LLMRT_ISA
