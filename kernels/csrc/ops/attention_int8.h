// A tile of int8 keys and values: both products of attention on bytes.
//
//   score[r, j] = sq[r] sk[j] (sum over d of q8[r, d] k8[j, d]) + log2 sv[j]   q8, k8 rounded with a scale for each row
//   out[r, d]  += sw[r] (sum over j of w8[r, j] v8[j, d])                      w8 = round(2^score[r, j] / sw[r])
//
// The values' scales sv are taken into the weights before those are rounded to 0..255, with a scale sw for each row and
// tile (https://arxiv.org/abs/2410.02367 rounds them to 127 steps for a whole row).
//
// The next tile is asked for at an even pace, in the order of memory: half of its keys between the scores, the others
// between the weights, its values between those that are mixed. What is asked for faster than it comes is not asked for:
// processors drop prefetches when too many are under way.
#pragma once

#include <algorithm>

#include "ops/attention_unit.h"

namespace llmrt::LLMRT_ISA {

struct Int8Attention {
  using Value = uint8_t;
  static constexpr int64_t kRun = 16;
  using Tile = KeyTile<kRun>;
  using Addresses = Runs<Value, kRun>;

  static void prepare(const llmrt_paged_attention_args& a, AttentionScratch& s, int64_t rows, int64_t rows_of_head) {
    const int64_t dim = a.cache.head_dim;
    s.q_codes.resize(rows * dim);
    s.q_scales.resize(rows);
    s.q_sums.resize(rows);
    s.weights.resize(rows_of_head * kKeyTile);
    s.weight_scales.resize(whole_sixteens(rows_of_head));
    s.tops.resize(whole_sixteens(rows_of_head));
    s.value_scales.resize(kKeyTile);
    s.value_logs.resize(kKeyTile);
    for (int64_t r = 0; r < rows; ++r)
      quantize_values(s.q.data() + r * dim, dim, s.q_codes.data() + r * dim, s.q_scales[r], s.q_sums[r]);
  }

  // Scores, in which a value's scale counts: they are the logarithms of weights times scales.
  static void score(const llmrt_paged_attention_args& a, const Tile& tile, const Tile& next, AttentionScratch& s,
                    int64_t rows) {
    read_value_scales(a, tile, s);
    ask_for_scales(a, next);
    const Addresses keys(a.cache.k, tile), ahead(a.cache.k, next);
    for_tiles<kScoreVectors>(tile.columns() / 16, [&]<int kVectors>(int64_t run) {
      const float* scales[kVectors];
      for (int v = 0; v < kVectors; ++v) scales[v] = a.cache.k_scales + tile.scales[run + v];
      for_tiles<kScoreRows>(rows, [&]<int kRows>(int64_t row) {
        const Value* asked = row == 0 ? ahead.at[run / 2] + run % 2 * 8 * a.cache.head_dim : nullptr;
        score_block<kRows, kVectors>(keys.at + run, asked, scales, s.value_logs.data() + 16 * run, s, tile.row + row,
                                     a.cache.head_dim, s.scores.data() + row * kKeyTile + 16 * run);
      });
    });
  }

  static Float value_logs(const AttentionScratch& s, int64_t key) { return load(s.value_logs.data() + key); }

  // Weights of a tile from its scores.
  static void soften(const llmrt_paged_attention_args& a, const Tile& tile, const Tile& next, AttentionScratch& s,
                     int64_t rows) {
    const int64_t dim = a.cache.head_dim, lines = (dim / 4 + rows - 1) / rows;  // of a run of keys, asked for in a row
    const Addresses ahead(a.cache.k, next);
    invert_value_scales(tile, s);
    for (int64_t r = 0; r < rows; r += 16) {
      // Of a row that sees none of these keys, no score is near this.
      const Float top = sub(max(load(s.highest.data() + r), set1(kNoneSeen)), set1(kLog2Of255));
      store(s.tops.data() + r, top);
      store(s.weight_scales.data() + r, exp2(sub(top, load(s.most.data() + tile.row + r))));
    }
    for (int64_t r = 0; r < rows; ++r) {
      ask_for_keys(ahead, r * lines, std::min((r + 1) * lines, dim / 4));
      weigh(s, r, s.sums.data() + (tile.row + r) * (dim + 16) + dim, tile.columns());
    }
  }

  static void mix(const llmrt_paged_attention_args& a, const Tile& tile, const Tile& next, AttentionScratch& s,
                  int64_t rows) {
    const int64_t dim = a.cache.head_dim, runs = tile.columns() / 16;
    const Addresses values(a.cache.v, tile), ahead(a.cache.v, next);
    const bool alone = rows <= kMixRows;
    for_tiles<kMixVectors>(dim / 16, [&]<int kVectors>(int64_t vector) {
      for_tiles<kMixRows>(rows, [&]<int kRows>(int64_t row) {
        float* out = s.sums.data() + (tile.row + row) * (dim + 16) + 16 * vector;
        // Two blocks of rows ask for half of the vectors each.
        const bool first = row == 0, second = row == kMixRows || alone;
        mix_block<kRows, kVectors>(values.at, ahead.at, first, second, runs, s, row, out, dim, 16 * vector);
      });
    });
  }

 private:
  static constexpr float kTiny = 1e-30f;  // a value's scale at least, for it has a logarithm and a reciprocal
  static constexpr float kLog2Of255 = 7.99435344f;

  static void ask_for_scales(const llmrt_paged_attention_args& a, const Tile& next) {
    for (const int64_t run : next.scales) {
      ask_for_line(a.cache.k_scales + run);
      ask_for_line(a.cache.v_scales + run);
    }
  }

  // Lines [begin, end) of each run of the second half of a tile's keys.
  static void ask_for_keys(const Addresses& keys, int64_t begin, int64_t end) {
    for (int64_t run = Tile::kRuns / 2; run < Tile::kRuns; ++run)
      for (int64_t line = begin; line < end; ++line) ask_for_line(keys.at[run] + 64 * line);
  }

  static void read_value_scales(const llmrt_paged_attention_args& a, const Tile& tile, AttentionScratch& s) {
    for (int64_t j = 0; j < tile.columns(); j += 16) {
      float* scales = s.value_scales.data() + j;
      store(scales, max(load(a.cache.v_scales + tile.scales[j / 16]), set1(kTiny)));
      store(s.value_logs.data() + j, log2_roughly(scales));
    }
  }

  static void invert_value_scales(const Tile& tile, AttentionScratch& s) {
    float* scales = s.value_scales.data();
    // Slots that nobody wrote may hold any scale.
    std::fill(scales, scales + tile.first, 1.0f);
    std::fill(scales + tile.count, scales + tile.columns(), 1.0f);
    for (int64_t j = 0; j < tile.columns(); j += 16) store(scales + j, div(set1(1.0f), load(scales + j)));
  }

  // Turns the scores of a kv head's r-th row into bytes, and adds the weights, without the values' scales, to `sums`.
  static void weigh(AttentionScratch& s, int64_t r, float* sums, int64_t columns) {
    const float* scores = s.scores.data() + r * kKeyTile;
    uint8_t* bytes = s.weights.data() + r * kKeyTile;
    const Float top = set1(s.tops[r]);
    Float sum = set1(0.0f);
    for (int64_t j = 0; j < columns; j += 16) {
      const Float weight = exp2_roughly(sub(load(scores + j), top));
      store_uint8(bytes + j, to_int(weight));
      sum = fma(weight, load(s.value_scales.data() + j), sum);
    }
    store(sums, fma(sum, set1(s.weight_scales[r]), load(sums)));
  }

  // Scores of kRows rows from `row` on with kVectors runs of keys, asking for half as many bytes from `asked` on.
  template <int kRows, int kVectors>
  [[gnu::noinline]] static void score_block(const Value* const* keys, const Value* asked,
                                            const float* const* scales, const float* logs, const AttentionScratch& s,
                                            int64_t row, int64_t dim, float* scores) {
    const int8_t* q = s.q_codes.data() + row * dim;
    Int acc[kRows][kVectors];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) acc[r][v] = iset1(-128 * s.q_sums[row + r]);
    for (int64_t i = 0; i < dim; i += 4) {
      Bytes line[kVectors];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        if (asked != nullptr && v % 2 == 0) ask_for_line(asked + 8 * kVectors * i + 32 * v);
        line[v] = load_bytes(keys[v] + 16 * i);
      }
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) acc[r][v] = dot4(acc[r][v], line[v], q + r * dim + i);
    }
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const Float scale = load(scales[v]), log = load(logs + 16 * v);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r)
        store(scores + r * kKeyTile + 16 * v, fma(mul(to_float(acc[r][v]), scale), set1(s.q_scales[row + r]), log));
    }
  }

  // Adds the weighted values' dimensions `from` and on, kVectors times sixteen, to kRows rows from `row` on, asking for
  // the first half of the vectors that are `ahead`, the second, or both.
  template <int kRows, int kVectors>
  [[gnu::noinline]] static void mix_block(const Value* const* values, const Value* const* ahead, bool first,
                                          bool second, int64_t runs, const AttentionScratch& s, int64_t row, float* out,
                                          int64_t dim, int64_t from) {
    const uint8_t* weights = s.weights.data() + row * kKeyTile;
    Int acc[kRows][kVectors];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) acc[r][v] = iset1(0);
    for (int64_t run = 0; run < runs; ++run) {
      const uint8_t *lines = values[run] + 4 * from, *next = ahead[run] + 4 * from;
      for (int64_t quad = 0; quad < 4; ++quad) {
        Bytes line[kVectors];
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) {
          if (v < (kVectors + 1) / 2 ? first : second) ask_for_line(next + 64 * v);
          line[v] = load_bytes(lines + 64 * v);
        }
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
          for (int v = 0; v < kVectors; ++v) acc[r][v] = dot4_signed(acc[r][v], line[v], weights + r * kKeyTile);
        lines += 4 * dim, next += 4 * dim, weights += 4;
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const Float scale = set1(s.weight_scales[row + r]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v)
        store(out + r * (dim + 16) + 16 * v, fma(to_float(acc[r][v]), scale, load(out + r * (dim + 16) + 16 * v)));
    }
  }
};

}  // namespace llmrt::LLMRT_ISA
