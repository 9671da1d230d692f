// Attention over pages, exact softmax by running maximum and sum (https://arxiv.org/abs/2205.14135).
//
// A unit of work is one request, one kv head and some of its queries. A request with a single query is cut along its
// keys instead, in chunks at fixed positions whose pieces are joined after a barrier: its result does not depend on
// what is computed beside it.
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "llmrt_cpu.h"
#include "ops/attention_float.h"
#include "ops/attention_int8.h"
#include "ops/activations.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

constexpr int64_t kUnitRows = 64;    // rows of a unit of a prompt: its queries times the heads of the group
constexpr int64_t kChunkKeys = 512;  // keys of a unit of a single-query request

inline int64_t group_of(const llmrt_paged_attention_args& a) { return a.heads / a.cache.kv_heads; }
inline int64_t unit_queries(const llmrt_paged_attention_args& a) { return std::max<int64_t>(1, kUnitRows / group_of(a)); }

// Asks for a tile's keys (or values): pages lie in no order, so the processor does not see what comes next.
template <class Tile>
inline void ask_for_keys(const llmrt_paged_attention_args& a, const void* pages, const AttentionUnit& unit, int64_t begin,
                         int64_t end) {
  const int64_t token = a.cache.head_dim * Tile::kValueBytes, size = a.cache.block_size;
  end = std::min(end, begin + kKeyTile);
  for (int64_t p = begin; p < end; p = (p / size + 1) * size) {
    const auto* page = static_cast<const char*>(pages) +
                       page_of(a.cache, unit.blocks[p / size], unit.kv_head) * Tile::kValueBytes;
    const int64_t last = std::min((p / size + 1) * size, end) - p / size * size;
    for (int64_t at = p % size * token; at < last * token; at += 64) prefetch(page + at);
  }
}

template <class Tile>
inline void attend(const llmrt_paged_attention_args& a, const AttentionUnit& unit, AttentionScratch& s) {
  const int64_t dim = a.cache.head_dim, group = group_of(a), rows = unit.queries * group;
  s.prepare(rows, dim);
  const Float scale = set1(a.scale * kLog2E);
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t head = unit.kv_head * group + r % group;
    const float* q = a.q + ((unit.first_query + r / group) * a.heads + head) * dim;
    for (int64_t i = 0; i < dim; i += 16) store(s.q.data() + r * dim + i, mul(load(q + i), scale));
  }
  Tile::prepare(a, s, rows);
  for (int64_t begin = unit.begin_key / Tile::kAlign * Tile::kAlign; begin < unit.end_key; begin += kKeyTile) {
    const int64_t count = std::min(kKeyTile, unit.end_key - begin), next = begin + kKeyTile;
    ask_for_keys<Tile>(a, a.cache.v, unit, begin, unit.end_key);
    ask_for_keys<Tile>(a, a.cache.k, unit, next, unit.end_key);
    Tile::score(a, unit, s, rows, begin, count);
    for (int64_t r = 0; r < rows; ++r) {
      Visible keys = visible_keys(a, unit.first_position + r / group, begin, count);
      keys.first = std::clamp(unit.begin_key - begin, keys.first, keys.last);
      Tile::soften(s, r, keys, dim);
    }
    Tile::mix(a, unit, s, rows, begin, count);
  }
}

inline AttentionUnit unit_of(const llmrt_paged_attention_args& a, int64_t b, int64_t kv_head, int64_t from,
                             int64_t queries) {
  const int64_t first = a.cu_seqlens_q[b], all = a.cu_seqlens_q[b + 1] - first;
  const int64_t position = a.seq_lens[b] - all + from;
  const int64_t begin = a.sliding_window ? std::max<int64_t>(0, position - a.sliding_window + 1) : 0;
  return {a.block_table + b * a.table_width, kv_head, first + from, queries, position, begin, position + queries};
}

inline int64_t queries_of(const llmrt_paged_attention_args& a, int64_t b) {
  return a.cu_seqlens_q[b + 1] - a.cu_seqlens_q[b];
}

// The chunks of a single-query request that hold keys it sees: [first, last).
inline std::pair<int64_t, int64_t> chunks_of(const llmrt_paged_attention_args& a, int64_t b) {
  const AttentionUnit unit = unit_of(a, b, 0, 0, 1);
  return {unit.begin_key / kChunkKeys, (unit.end_key + kChunkKeys - 1) / kChunkKeys};
}

inline float* partial_of(const llmrt_paged_attention_args& a, int64_t b, int64_t kv_head, int64_t chunk) {
  const int64_t size = group_of(a) * (a.cache.head_dim + 2);
  return a.partial + ((b * a.cache.kv_heads + kv_head) * a.max_chunks + chunk) * size;
}

// A piece: for each row its out, most and total.
template <class Tile>
inline void attend_chunk(const llmrt_paged_attention_args& a, int64_t b, int64_t kv_head, int64_t chunk,
                         AttentionScratch& s) {
  const int64_t dim = a.cache.head_dim;
  AttentionUnit unit = unit_of(a, b, kv_head, 0, 1);
  unit.begin_key = std::max(unit.begin_key, chunk * kChunkKeys);
  unit.end_key = std::min(unit.end_key, (chunk + 1) * kChunkKeys);
  attend<Tile>(a, unit, s);
  float* piece = partial_of(a, b, kv_head, chunk - chunks_of(a, b).first);
  for (int64_t r = 0; r < group_of(a); ++r, piece += dim + 2) {
    std::copy_n(s.out.data() + r * dim, dim, piece);
    piece[dim] = s.most[r];
    piece[dim + 1] = s.total[r];
  }
}

template <class Tile>
inline void attend_queries(const llmrt_paged_attention_args& a, int64_t b, int64_t kv_head, int64_t tile,
                           AttentionScratch& s) {
  const int64_t dim = a.cache.head_dim, group = group_of(a), from = tile * unit_queries(a);
  const int64_t queries = std::min(unit_queries(a), queries_of(a, b) - from);
  const AttentionUnit unit = unit_of(a, b, kv_head, from, queries);
  attend<Tile>(a, unit, s);
  for (int64_t r = 0; r < queries * group; ++r) {
    float* out = a.out + ((unit.first_query + r / group) * a.heads + kv_head * group + r % group) * dim;
    const Float inverse = set1(1.0f / s.total[r]);
    for (int64_t i = 0; i < dim; i += 16) store(out + i, mul(load(s.out.data() + r * dim + i), inverse));
  }
}

inline int64_t units_of(const llmrt_paged_attention_args& a, int64_t b) {
  const int64_t queries = queries_of(a, b);
  if (queries > 1) return (queries + unit_queries(a) - 1) / unit_queries(a);
  const auto [first, last] = chunks_of(a, b);
  return last - first;
}

// Joins the pieces of one head of a single-query request, in the order of its keys.
inline void join_pieces(const llmrt_paged_attention_args& a, int64_t b, int64_t head) {
  const int64_t dim = a.cache.head_dim, group = group_of(a), pieces = units_of(a, b);
  const auto piece = [&](int64_t chunk) {
    return partial_of(a, b, head / group, chunk) + head % group * (dim + 2);
  };
  float most = kMinusInfinity, total = 0;
  for (int64_t c = 0; c < pieces; ++c) most = std::max(most, piece(c)[dim]);
  float* out = a.out + (a.cu_seqlens_q[b] * a.heads + head) * dim;
  std::fill_n(out, dim, 0.0f);
  for (int64_t c = 0; c < pieces; ++c) {
    const float weight = std::exp2(piece(c)[dim] - most);
    total += weight * piece(c)[dim + 1];
    for (int64_t i = 0; i < dim; i += 16) store(out + i, fma(load(piece(c) + i), set1(weight), load(out + i)));
  }
  for (int64_t i = 0; i < dim; i += 16) store(out + i, mul(load(out + i), set1(1.0f / total)));
}

template <class Tile>
inline void attend_all(const llmrt_paged_attention_args& a, Context& context) {
  static thread_local AttentionScratch scratch;
  const int64_t kv_heads = a.cache.kv_heads;
  int64_t total = 0;
  for (int64_t b = 0; b < a.requests; ++b) total += units_of(a, b) * kv_heads;
  context.deal(total, [&](int64_t at) {
    int64_t b = 0;
    while (at >= units_of(a, b) * kv_heads) at -= units_of(a, b++) * kv_heads;
    // The longest units, the last queries of a prompt, come first, so that no thread ends long after the others.
    const int64_t unit = units_of(a, b) - 1 - at / kv_heads, kv_head = at % kv_heads;
    if (queries_of(a, b) > 1)
      attend_queries<Tile>(a, b, kv_head, unit, scratch);
    else
      attend_chunk<Tile>(a, b, kv_head, unit + chunks_of(a, b).first, scratch);
  });
}

inline void paged_attention(const llmrt_paged_attention_args& a, Context& context) {
  with_cache(a.cache.dtype, [&](auto cache) {
    using C = decltype(cache);
    if constexpr (C::kInt8)
      attend_all<Int8Tile>(a, context);
    else
      attend_all<FloatTile<C>>(a, context);
  });
  context.barrier();
  context.share(a.requests * a.heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      if (queries_of(a, i / a.heads) == 1) join_pieces(a, i / a.heads, i % a.heads);
  });
  context.barrier();
  const int64_t size = a.heads * a.cache.head_dim;
  write_rows(a.y, a.tokens, size, context, [&](int64_t t, int64_t i) { return load(a.out + t * size + i); });
}

}  // namespace llmrt::LLMRT_ISA
