// What one thread does of an attention at a time: a request, some of its kv heads and queries, a range of its keys.
//
//   rows    [kv head, query, head of the group], so that a key is read once for all the rows of its kv head
//   scores  of the rows of a kv head with a tile's keys, in units of log2; then their weights
//   sums    [rows, D + 16], of weighted values, to be divided by the sum of weights, whose lanes follow
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "llmrt_cpu.h"
#include "ops/cache.h"
#include "ops/math.h"
#include "ops/stream.h"

namespace llmrt::LLMRT_ISA {

constexpr int64_t kKeyTile = 64;  // keys that are multiplied at a time: a page of the usual size
// The score of a key that a row does not see, and the largest score of a row that has seen none: the first is so far
// below the second that its weight vanishes, and both are finite, so that they have a difference.
constexpr float kUnseen = -1e30f, kNoneSeen = -5e29f;
// How much higher than the score that a row's weights are relative to another may be before they are made relative to it.
constexpr float kSlack = 16.0f;

struct AttentionUnit {
  const int64_t* blocks;
  int64_t first_head, kv_heads;  // kv heads
  int64_t first_query, queries;  // rows of q
  int64_t first_position;        // of the first of them
  int64_t begin_key, end_key;
};

// Calls body.operator()<kSize>(first) for tiles that cover [first, count): whole ones, then what is left.
template <int kSize, class Body>
inline void for_tiles(int64_t count, Body&& body, int64_t first = 0) {
  for (; first + kSize <= count; first += kSize) body.template operator()<kSize>(first);
  if constexpr (kSize > 1) for_tiles<kSize - 1>(count, std::forward<Body>(body), first);
}

inline int64_t whole_sixteens(int64_t n) { return (n + 15) / 16 * 16; }

// One thread's working memory, kept from call to call. What follows `joined` is for one type of cache alone.
struct AttentionScratch {
  std::vector<float> q, sums;
  std::vector<float> scores;                 // [rows of a kv head, kKeyTile]
  std::vector<float> highest;                // of each of them, its highest score
  std::vector<float> most;                   // of each row, the score that its weights are relative to
  std::vector<float> joined, joined_most;    // of the chunks before, in prompts
  std::vector<float> key_columns;            // floats
  std::vector<int8_t> q_codes;               // int8
  std::vector<float> q_scales, weight_scales, tops, value_scales, value_logs;
  std::vector<int32_t> q_sums;
  std::vector<uint8_t> weights;

  void prepare(int64_t rows, int64_t dim, int64_t rows_of_head) {
    q.resize(rows * dim);
    sums.resize(rows * (dim + 16));
    scores.resize(rows_of_head * kKeyTile);
    highest.resize(whole_sixteens(rows_of_head));
    most.resize(rows + 15);  // for sixteen to be read from any of them on
  }

  void begin() {
    std::fill(sums.begin(), sums.end(), 0.0f);
    std::fill(most.begin(), most.end(), kNoneSeen);
  }
};

inline int64_t group_of(const llmrt_paged_attention_args& a) { return a.heads / a.cache.kv_heads; }

// Keys of one kv head, up to `count`, of which those before `first` may be in no page of the request. Where runs of kRun of
// them stand is in `values` and `scales`, counted from the beginning of the pages and of their scales. Past the last these
// repeat the first, so that whole sixteens of keys can be read.
template <int64_t kRun>
struct KeyTile {
  static constexpr int64_t kRuns = kKeyTile / kRun;

  int64_t begin, first, count;
  int64_t row;  // the first of its kv head
  int64_t values[kRuns], scales[kRuns];

  int64_t columns() const { return whole_sixteens(count); }

  void find(const llmrt_cache& c, const int64_t* blocks, int64_t head) {
    int64_t i = 0;
    for (int64_t p = begin; p < begin + count;) {
      const int64_t block = blocks[p / c.block_size], offset = p % c.block_size;
      const int64_t page = page_of(c, block, head), of_scales = scale_of(c, block * c.block_size, head);
      const int64_t end = std::min(c.block_size, offset + begin + count - p);
      for (int64_t at = offset; at < end; at += kRun, ++i) {
        values[i] = page + at * c.head_dim;
        scales[i] = of_scales + at;
      }
      p += end - offset;
    }
    std::fill(values + i, values + kRuns, values[0]);
    std::fill(scales + i, scales + kRuns, scales[0]);
  }
};

// The addresses of a tile's runs of keys, or of values.
template <class T, int64_t kRun>
struct Runs {
  const T* at[KeyTile<kRun>::kRuns];

  Runs(const void* pages, const KeyTile<kRun>& tile) {
    for (int64_t i = 0; i < KeyTile<kRun>::kRuns; ++i) at[i] = static_cast<const T*>(pages) + tile.values[i];
  }
};

// Scores are in units of log2, and so the cap must be. What the cache's values add to them is not capped.
template <class Cache>
inline void cap_scores(const llmrt_paged_attention_args& a, const typename Cache::Tile& tile, AttentionScratch& s,
                       int64_t rows) {
  if (a.cap == 0) return;
  for (int64_t r = 0; r < rows; ++r) {
    float* scores = s.scores.data() + r * kKeyTile;
    for (int64_t j = 0; j < tile.columns(); j += 16) {
      const Float log = Cache::value_logs(s, j);
      store(scores + j, add(capped(sub(load(scores + j), log), a.cap * kLog2E), log));
    }
  }
}

// Puts the keys of a tile that a row does not see at kUnseen.
template <class Tile>
inline void hide_unseen(const llmrt_paged_attention_args& a, const AttentionUnit& unit, const Tile& tile,
                        AttentionScratch& s) {
  const int64_t group = group_of(a), columns = tile.columns();
  for (int64_t i = 0; i < unit.queries; ++i) {
    const int64_t position = unit.first_position + i, seen = a.sliding_window ? position - a.sliding_window + 1 : 0;
    const int64_t first = std::clamp<int64_t>(std::max(seen, unit.begin_key) - tile.begin, 0, columns);
    const int64_t last = std::clamp<int64_t>(std::min(position + 1, unit.end_key) - tile.begin, first, columns);
    if (first == 0 && last == columns) continue;
    for (int64_t r = i * group; r < (i + 1) * group; ++r) {
      float* scores = s.scores.data() + r * kKeyTile;
      std::fill(scores, scores + first, kUnseen);
      std::fill(scores + last, scores + columns, kUnseen);
    }
  }
}

// Each row's highest score, sixteen rows at a time.
template <class Tile>
inline void find_highest(const Tile& tile, AttentionScratch& s, int64_t rows) {
  for (int64_t r = 0; r < rows; r += 16) {
    Float highest[16];
    for (int64_t i = 0; i < 16; ++i) {
      highest[i] = set1(kUnseen);
      if (r + i >= rows) continue;
      const float* scores = s.scores.data() + (r + i) * kKeyTile;
      for (int64_t j = 0; j < tile.columns(); j += 16) highest[i] = max(highest[i], load(scores + j));
    }
    store(s.highest.data() + r, maxima(highest));
  }
}

// Makes what a row has so far relative to the tile's highest score, where that is much higher. Each row decides by its
// own scores, so its result does not depend on those beside it; that none has any is seen for all of them at once.
template <class Tile>
inline void settle(const Tile& tile, AttentionScratch& s, int64_t rows, int64_t dim) {
  float *highest = s.highest.data(), *most = s.most.data() + tile.row;
  Float excess = set1(kUnseen);
  for (int64_t r = 0; r < rows; r += 16) excess = max(excess, sub(load(highest + r), load(most + r)));
  if (max(excess) <= kSlack) return;
  for (int64_t r = 0; r < rows; ++r) {
    if (highest[r] - most[r] <= kSlack) continue;
    const float before = most[r];
    most[r] = highest[r];
    if (before == kNoneSeen) continue;  // sums are 0
    const Float keep = exp2(set1(before - highest[r]));
    float* sums = s.sums.data() + (tile.row + r) * (dim + 16);
    for (int64_t i = 0; i < dim + 16; i += 16) store(sums + i, mul(load(sums + i), keep));
  }
}

}  // namespace llmrt::LLMRT_ISA
