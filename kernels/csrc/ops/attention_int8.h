// A tile of int8 keys and values: both products of attention on bytes.
//
//   score[r, j] = sq[r] sk[j] (sum over d of q8[r, d] k8[j, d])           q8, k8 rounded with a scale for each row
//   out[r, d]  += sw[r] (sum over j of w8[r, j] v8[j, d])                 w8 = round(weight[r, j] sv[j] / sw[r])
//
// The values' scales are taken into the weights before those are rounded to 0..255, with a scale sw for each row and
// tile (https://arxiv.org/abs/2410.02367 rounds them to 127 steps for a whole row).
#pragma once

#include <algorithm>

#include "ops/attention_unit.h"
#include "ops/cache.h"
#include "ops/product.h"

namespace llmrt::LLMRT_ISA {

struct Int8Tile {
  static constexpr int64_t kValueBytes = 1;
  static constexpr int64_t kAlign = 16;  // of a tile's first key

  static void prepare(const llmrt_paged_attention_args& a, AttentionScratch& s, int64_t rows) {
    const int64_t dim = a.cache.head_dim;
    s.q_codes.resize(rows * dim);
    s.q_scales.resize(rows);
    s.q_sums.resize(rows);
    s.weights.resize(rows * kKeyTile);
    s.weight_scales.resize(rows);
    s.value_scales.resize(kKeyTile);
    for (int64_t r = 0; r < rows; ++r)
      quantize_values(s.q.data() + r * dim, dim, s.q_codes.data() + r * dim, s.q_scales[r], s.q_sums[r]);
  }

  static void score(const llmrt_paged_attention_args& a, const AttentionUnit& unit, AttentionScratch& s, int64_t rows,
                    int64_t begin, int64_t count) {
    const int64_t dim = a.cache.head_dim, size = a.cache.block_size;
    for (int64_t j = 0; j < count; j += 16) {
      const int64_t block = unit.blocks[(begin + j) / size], offset = (begin + j) % size;
      const auto* keys = static_cast<const uint8_t*>(a.cache.k) + page_of(a.cache, block, unit.kv_head) + offset * dim;
      const int64_t scales = scale_of(a.cache, block * size + offset, unit.kv_head);
      const Float k_scale = load(a.cache.k_scales + scales);
      store(s.value_scales.data() + j, load(a.cache.v_scales + scales));
      for_tiles(rows, [&]<int kRows>(int64_t row) {
        Int acc[kRows];
        for (int r = 0; r < kRows; ++r) acc[r] = iset1(-128 * s.q_sums[row + r]);
        const int8_t* q = s.q_codes.data() + row * dim;
        for (int64_t i = 0; i < dim; i += 4) {
          const Bytes line = load_bytes(keys + 16 * i);
          for (int r = 0; r < kRows; ++r) acc[r] = dot4(acc[r], line, q + r * dim + i);
        }
        for (int r = 0; r < kRows; ++r)
          store(s.scores.data() + (row + r) * kKeyTile + j, mul(to_float(acc[r]), mul(k_scale, set1(s.q_scales[row + r]))));
      });
    }
  }

  static void soften(AttentionScratch& s, int64_t r, Visible keys, int64_t dim) {
    float* scores = s.scores.data() + r * kKeyTile;
    uint8_t* weights = s.weights.data() + r * kKeyTile;
    s.weight_scales[r] = 0.0f;
    if (!soften_row(scores, keys, s.most[r], s.total[r], s.out.data() + r * dim, dim)) {
      std::fill_n(weights, kKeyTile, uint8_t{0});
      return;
    }
    const int64_t end = (keys.last + 15) / 16 * 16;
    Float most = set1(0.0f);
    for (int64_t j = 0; j < end; j += 16) {
      const Float scaled = mul(load(scores + j), load(s.value_scales.data() + j));
      store(scores + j, scaled);
      most = max(most, scaled);
    }
    // Slots that nobody wrote may hold any scale.
    std::fill(scores, scores + keys.first, 0.0f);
    std::fill(scores + keys.last, scores + end, 0.0f);
    if (keys.first > 0 || keys.last < end) {
      most = set1(0.0f);
      for (int64_t j = 0; j < end; j += 16) most = max(most, load(scores + j));
    }
    const float largest = max(most);
    const Float inverse = set1(largest > 0 ? 255.0f / largest : 0.0f);
    for (int64_t j = 0; j < end; j += 16) store_uint8(weights + j, to_int(mul(load(scores + j), inverse)));
    std::fill(weights + end, weights + kKeyTile, uint8_t{0});
    s.weight_scales[r] = largest / 255.0f;
  }

  static void mix(const llmrt_paged_attention_args& a, const AttentionUnit& unit, AttentionScratch& s, int64_t rows,
                  int64_t begin, int64_t count) {
    const int64_t dim = a.cache.head_dim, size = a.cache.block_size, quads = (count + 3) / 4;
    const int8_t* values[kKeyTile / 4];
    for (int64_t i = 0; i < quads; ++i) {
      const int64_t p = begin + 4 * i;
      values[i] = static_cast<const int8_t*>(a.cache.v) + page_of(a.cache, unit.blocks[p / size], unit.kv_head) +
                  p % size * dim;
    }
    for_tiles(rows, [&]<int kRows>(int64_t row) {
      const uint8_t* weights = s.weights.data() + row * kKeyTile;
      for (int64_t d = 0; d < dim; d += 16) {
        Int acc[kRows];
        for (Int& x : acc) x = iset1(0);
        for (int64_t i = 0; i < quads; ++i) {
          const Bytes line = load_bytes(reinterpret_cast<const uint8_t*>(values[i] + 4 * d));
          for (int r = 0; r < kRows; ++r) acc[r] = dot4_signed(acc[r], line, weights + r * kKeyTile + 4 * i);
        }
        for (int r = 0; r < kRows; ++r) {
          float* out = s.out.data() + (row + r) * dim + d;
          store(out, fma(to_float(acc[r]), set1(s.weight_scales[row + r]), load(out)));
        }
      }
    });
  }
};

}  // namespace llmrt::LLMRT_ISA
