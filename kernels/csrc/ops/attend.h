// A unit of attention, tile by tile of its keys. The tiles of all its kv heads follow one another, as they do in memory:
// a head's keys, its values, the next head's keys. A thread then reads long stretches, which the processor sees coming.
#pragma once

#include <algorithm>

#include "llmrt_cpu.h"
#include "ops/alibi.h"
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

// Tile i of a unit: those of its kv heads with the first keys, then those with the next.
template <class Tile>
inline Tile tile_at(const llmrt_paged_attention_args& a, const AttentionUnit& unit, int64_t first_key, int64_t i) {
  const int64_t head = i % unit.kv_heads;
  Tile tile;
  tile.begin = first_key + i / unit.kv_heads * kKeyTile;
  tile.first = std::max<int64_t>(unit.begin_key - tile.begin, 0);
  tile.count = std::min(kKeyTile, unit.end_key - tile.begin);
  tile.row = head * unit.queries * group_of(a);
  tile.find(a.cache, unit.blocks, unit.first_head + head);
  return tile;
}

// What the queries that were loaded see of the unit's keys. While a tile is computed the next one is asked for: the
// processor's own prefetcher stops at the end of a page, and while there is no product it has nothing to follow.
template <class Cache>
inline void attend(const llmrt_paged_attention_args& a, const AttentionUnit& unit, AttentionScratch& s) {
  using Tile = typename Cache::Tile;
  const int64_t rows = unit.queries * group_of(a), first_key = unit.begin_key / kKeyTile * kKeyTile;
  const int64_t tiles = (unit.end_key - first_key + kKeyTile - 1) / kKeyTile * unit.kv_heads;
  s.begin();
  Tile next = tile_at<Tile>(a, unit, first_key, 0);
  for (int64_t i = 0; i < tiles; ++i) {
    const Tile tile = next;
    if (i + 1 < tiles) next = tile_at<Tile>(a, unit, first_key, i + 1);
    Cache::score(a, tile, next, s, rows);
    cap_scores<Cache>(a, tile, s, rows);
    add_distances(a, unit, tile, s, rows);
    hide_unseen(a, unit, tile, s);
    find_highest(tile, s, rows);
    settle(tile, s, rows, a.cache.head_dim);
    Cache::soften(a, tile, next, s, rows);
    Cache::mix(a, tile, next, s, rows);
  }
}

}  // namespace llmrt::LLMRT_ISA
