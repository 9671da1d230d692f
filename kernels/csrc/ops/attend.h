// A unit of attention, tile by tile of its keys. The tiles of all its kv heads follow one another, as they do in memory:
// a head's keys, its values, the next head's keys. A thread then reads long stretches, which the processor sees coming.
#pragma once

#include <algorithm>

#include "llmrt_cpu.h"
#include "ops/attention_unit.h"

namespace llmrt::LLMRT_ISA {

// The row of q and out [T H, D] that row r of a unit stands for.
inline int64_t row_of(const llmrt_paged_attention_args& a, const AttentionUnit& unit, int64_t r) {
  const int64_t group = group_of(a), rows = unit.queries * group;
  const int64_t head = (unit.first_head + r / rows) * group + r % group;
  return (unit.first_query + r % rows / group) * a.heads + head;
}

template <class Cache>
inline void load_queries(const llmrt_paged_attention_args& a, const AttentionUnit& unit, AttentionScratch& s) {
  const int64_t dim = a.cache.head_dim, rows_of_head = unit.queries * group_of(a), rows = unit.kv_heads * rows_of_head;
  const Float scale = set1(a.scale * kLog2E);
  s.prepare(rows, dim, rows_of_head);
  for (int64_t r = 0; r < rows; ++r) {
    const float* q = a.q + row_of(a, unit, r) * dim;
    for (int64_t i = 0; i < dim; i += 16) store(s.q.data() + r * dim + i, mul(load(q + i), scale));
  }
  Cache::prepare(a, s, rows, rows_of_head);
}

// The tile of `head`, counted in the unit, whose keys begin at `begin`.
template <class Tile>
inline Tile tile_at(const llmrt_paged_attention_args& a, const AttentionUnit& unit, int64_t begin, int64_t head) {
  Tile tile;
  tile.begin = begin;
  tile.count = std::min(kKeyTile, unit.end_key - begin);
  tile.row = head * unit.queries * group_of(a);
  tile.find(a.cache, unit.blocks, unit.first_head + head);
  return tile;
}

// What the queries that were loaded see of the unit's keys.
template <class Cache>
inline void attend(const llmrt_paged_attention_args& a, const AttentionUnit& unit, AttentionScratch& s) {
  const int64_t rows = unit.queries * group_of(a);
  s.begin();
  for (int64_t begin = unit.begin_key / Cache::kRun * Cache::kRun; begin < unit.end_key; begin += kKeyTile)
    for (int64_t head = 0; head < unit.kv_heads; ++head) {
      const auto tile = tile_at<typename Cache::Tile>(a, unit, begin, head);
      Cache::score(a, tile, s, rows);
      cap_scores(a, tile, s, rows);
      hide_unseen(a, unit, tile, s);
      settle(tile, s, rows, a.cache.head_dim);
      Cache::soften(a, unit, tile, s, rows);
      Cache::mix(a, tile, s, rows);
    }
  s.end();
}

}  // namespace llmrt::LLMRT_ISA
