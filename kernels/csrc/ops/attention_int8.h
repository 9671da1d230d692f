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
#include "ops/product.h"

namespace llmrt::LLMRT_ISA {

struct Int8Attention {
  using Value = uint8_t;
  static constexpr int64_t kRun = 16;  // a tile's first key is a multiple of it
  using Tile = KeyTile<kRun>;
  using Addresses = Runs<Value, kRun>;

  static void prepare(const llmrt_paged_attention_args& a, AttentionScratch& s, int64_t rows, int64_t rows_of_head) {
    const int64_t dim = a.cache.head_dim;
    s.q_codes.resize(rows * dim);
    s.q_scales.resize(rows);
    s.q_sums.resize(rows);
    s.weights.resize(rows_of_head * kKeyTile);
    s.weight_scales.resize((rows_of_head + 15) / 16 * 16);
    s.value_scales.resize(kKeyTile);
    for (int64_t r = 0; r < rows; ++r)
      quantize_values(s.q.data() + r * dim, dim, s.q_codes.data() + r * dim, s.q_scales[r], s.q_sums[r]);
  }

  static void score(const llmrt_paged_attention_args& a, const Tile& tile, AttentionScratch& s, int64_t rows) {
    const Addresses keys(a.cache.k, tile);
    for_tiles<kScoreVectors>(tile.columns() / 16, [&]<int kVectors>(int64_t run) {
      const float* scales[kVectors];
      for (int v = 0; v < kVectors; ++v) scales[v] = a.cache.k_scales + tile.scales[run + v];
      for_tiles<kScoreRows>(rows, [&]<int kRows>(int64_t row) {
        score_block<kRows, kVectors>(keys.at + run, scales, s, tile.row + row, a.cache.head_dim,
                                     s.scores.data() + row * kKeyTile + 16 * run);
      });
    });
  }

  // Weights of a tile from its scores.
  static void soften(const llmrt_paged_attention_args& a, const AttentionUnit& unit, const Tile& tile,
                     AttentionScratch& s, int64_t rows) {
    const int64_t columns = tile.columns();
    for (int64_t j = 0; j < columns; j += 16) store(s.value_scales.data() + j, load(a.cache.v_scales + tile.scales[j / 16]));
    // Slots that nobody wrote may hold any scale.
    const int64_t first = std::max<int64_t>(unit.begin_key - tile.begin, 0);
    std::fill_n(s.value_scales.data(), first, 0.0f);
    std::fill(s.value_scales.begin() + tile.count, s.value_scales.begin() + columns, 0.0f);
    for (int64_t r = 0; r < rows; r += 16) {
      const int64_t count = std::min<int64_t>(16, rows - r);
      Float largest[16];
      for (int64_t i = 0; i < 16; ++i) largest[i] = i < count ? weigh(s, r + i, tile.row + r + i, columns) : set1(0.0f);
      const Float most = max(maxima(largest), set1(kTiny));
      float inverse[16];
      store(inverse, div(set1(255.0f), most));
      store(s.weight_scales.data() + r, mul(most, set1(1.0f / 255.0f)));
      for (int64_t i = 0; i < count; ++i) round_weights(s, r + i, inverse[i], columns);
    }
  }

  static void mix(const llmrt_paged_attention_args& a, const Tile& tile, AttentionScratch& s, int64_t rows) {
    const int64_t dim = a.cache.head_dim, runs = tile.columns() / 16;
    const Addresses values(a.cache.v, tile);
    for_tiles<kMixVectors>(dim / 16, [&]<int kVectors>(int64_t vector) {
      for_tiles<kMixRows>(rows, [&]<int kRows>(int64_t row) {
        mix_block<kRows, kVectors>(values.at, runs, s, row, s.out.data() + (tile.row + row) * dim + 16 * vector, dim,
                                   16 * vector);
      });
    });
  }

 private:
  static constexpr float kTiny = 1e-35f;  // of which 255 / kTiny is finite

  // Turns the scores of a row, the r-th of its kv head, into weights times the values' scales; returns the largest of
  // each lane.
  static Float weigh(AttentionScratch& s, int64_t r, int64_t row, int64_t columns) {
    float *scores = s.scores.data() + r * kKeyTile, *sums = s.sums.data() + 16 * row;
    const Float most = set1(s.most[row]);
    Float sum = load(sums), largest = set1(0.0f);
    for (int64_t j = 0; j < columns; j += 16) {
      const Float weight = exp2_roughly(sub(load(scores + j), most));
      const Float scaled = mul(weight, load(s.value_scales.data() + j));
      store(scores + j, scaled);
      sum = add(sum, weight);
      largest = max(largest, scaled);
    }
    store(sums, sum);
    return largest;
  }

  static void round_weights(AttentionScratch& s, int64_t r, float inverse, int64_t columns) {
    const float* weights = s.scores.data() + r * kKeyTile;
    uint8_t* bytes = s.weights.data() + r * kKeyTile;
    for (int64_t j = 0; j < columns; j += 16) store_uint8(bytes + j, to_int(mul(load(weights + j), set1(inverse))));
  }

  // Scores of kRows rows from `row` on with kVectors runs of keys.
  template <int kRows, int kVectors>
  [[gnu::noinline]] static void score_block(const Value* const* keys, const float* const* scales,
                                            const AttentionScratch& s, int64_t row, int64_t dim, float* scores) {
    const int8_t* q = s.q_codes.data() + row * dim;
    Int acc[kRows][kVectors];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) acc[r][v] = iset1(-128 * s.q_sums[row + r]);
    for (int64_t i = 0; i < dim; i += 4) {
      Bytes line[kVectors];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) line[v] = load_bytes(keys[v] + 16 * i);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) acc[r][v] = dot4(acc[r][v], line[v], q + r * dim + i);
    }
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const Float scale = load(scales[v]);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r)
        store(scores + r * kKeyTile + 16 * v, mul(to_float(acc[r][v]), mul(scale, set1(s.q_scales[row + r]))));
    }
  }

  // Adds the weighted values' dimensions `from` and on, kVectors times sixteen, to kRows rows from `row` on.
  template <int kRows, int kVectors>
  [[gnu::noinline]] static void mix_block(const Value* const* values, int64_t runs, const AttentionScratch& s,
                                          int64_t row, float* out, int64_t dim, int64_t from) {
    const uint8_t* weights = s.weights.data() + row * kKeyTile;
    Int acc[kRows][kVectors];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) acc[r][v] = iset1(0);
    for (int64_t run = 0; run < runs; ++run) {
      const uint8_t* lines = values[run] + 4 * from;
      for (int64_t quad = 0; quad < 4; ++quad) {
        Bytes line[kVectors];
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) line[v] = load_bytes(lines + 64 * v);
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
          for (int v = 0; v < kVectors; ++v) acc[r][v] = dot4_signed(acc[r][v], line[v], weights + r * kKeyTile);
        lines += 4 * dim, weights += 4;
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const Float scale = set1(s.weight_scales[row + r]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v)
        store(out + r * dim + 16 * v, fma(to_float(acc[r][v]), scale, load(out + r * dim + 16 * v)));
    }
  }
};

}  // namespace llmrt::LLMRT_ISA
