// What one thread does of an attention at a time: a request, a kv head, some of its queries, a range of its keys.
//
//   rows    [query, head of the group], so that a key is read once for all of them
//   scores  [rows, kKeyTile] in units of log2, then their weights 2^(score - most)
//   out     [rows, D], the sum of weighted values, to be divided by `total` at the end
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "llmrt_cpu.h"
#include "ops/math.h"

namespace llmrt::LLMRT_ISA {

constexpr int64_t kKeyTile = 128;  // keys whose scores are held at a time
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

struct AttentionUnit {
  const int64_t* blocks;
  int64_t kv_head;
  int64_t first_query, queries;  // rows of q
  int64_t first_position;        // of the first of them
  int64_t begin_key, end_key;
};

// One thread's working memory, kept from call to call. What follows `total` is for one type of cache alone.
struct AttentionScratch {
  std::vector<float> q, out, scores, most, total;
  std::vector<float> keys, keys_as_columns, values;                // floats
  std::vector<int8_t> q_codes;                                     // int8
  std::vector<float> q_scales, weight_scales, value_scales;
  std::vector<int32_t> q_sums;
  std::vector<uint8_t> weights;

  void prepare(int64_t rows, int64_t dim) {
    q.resize(rows * dim);
    out.assign(rows * dim, 0.0f);
    scores.resize(rows * kKeyTile);
    most.assign(rows, kMinusInfinity);
    total.assign(rows, 0.0f);
  }
};

// The keys of a tile that a row sees: [first, last), both relative to the tile's first key.
struct Visible {
  int64_t first, last;
};

inline Visible visible_keys(const llmrt_paged_attention_args& a, int64_t position, int64_t begin, int64_t count) {
  const int64_t first_key = a.sliding_window ? position - a.sliding_window + 1 : 0;
  const int64_t first = std::clamp<int64_t>(first_key - begin, 0, count);
  return {first, std::clamp<int64_t>(position + 1 - begin, first, count)};
}

// Turns a row of scores into weights, those of keys that are not visible into 0, and rescales what the row has so far.
// Returns whether any key is visible.
inline bool soften_row(float* scores, Visible keys, float& most, float& total, float* out, int64_t dim) {
  if (keys.first == keys.last) return false;
  std::fill(scores, scores + keys.first, kMinusInfinity);
  std::fill(scores + keys.last, scores + (keys.last + 15) / 16 * 16, kMinusInfinity);
  const int64_t end = (keys.last + 15) / 16 * 16;
  Float highest = load(scores);
  for (int64_t j = 16; j < end; j += 16) highest = max(highest, load(scores + j));
  const float new_most = std::max(most, max(highest));
  Float added = set1(0.0f);
  for (int64_t j = 0; j < end; j += 16) {
    const Float weight = exp2(sub(load(scores + j), set1(new_most)));
    store(scores + j, weight);
    added = add(added, weight);
  }
  std::fill(scores, scores + keys.first, 0.0f);
  std::fill(scores + keys.last, scores + kKeyTile, 0.0f);
  if (new_most != most) {
    const Float keep = set1(std::exp2(most - new_most));
    total *= std::exp2(most - new_most);
    for (int64_t i = 0; i < dim; i += 16) store(out + i, mul(load(out + i), keep));
    most = new_most;
  }
  total += sum(added);
  return true;
}

}  // namespace llmrt::LLMRT_ISA
