// Attention over pages, exact softmax by running maximum and sum (https://arxiv.org/abs/2205.14135).
//
// A unit of work is one request, one kv head and some of its queries; the heads of a group are its rows together, so
// that a key is read once for them. A request with a single query is cut along its keys instead, in chunks at fixed
// positions whose pieces are joined after a barrier: its result does not depend on what is computed beside it.
//
//   rows    [query, head of the group]      scores [rows, kKeyTile]      out [rows, D]
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "llmrt_cpu.h"
#include "ops/cache.h"
#include "ops/math.h"
#include "ops/small_matmul.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

constexpr int64_t kQueryTile = 32;   // queries of a prompt in a unit
constexpr int64_t kChunkKeys = 256;  // keys of a unit of a single-query request
constexpr int64_t kKeyTile = 64;     // keys whose scores are held at a time
constexpr int64_t kFewRows = 8;      // up to here, turning keys into columns costs more than it saves
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

struct AttentionUnit {
  const int64_t* blocks;
  int64_t kv_head;
  int64_t first_query, queries;    // rows of q
  int64_t first_position;          // of the first of them
  int64_t begin_key, end_key;
};

// One thread's working memory, kept from call to call.
struct AttentionScratch {
  std::vector<float> q, out, scores, most, total, keys, keys_as_columns, values;

  void prepare(int64_t rows, int64_t dim) {
    q.resize(rows * dim);
    out.assign(rows * dim, 0.0f);
    scores.resize(rows * kKeyTile);
    most.assign(rows, kMinusInfinity);
    total.assign(rows, 0.0f);
    keys.resize(kKeyTile * dim);
    keys_as_columns.resize(kKeyTile * dim);
    values.resize(kKeyTile * dim);
  }
};

// Copies `count` keys (or values) from position `begin` on to fp32 rows.
template <class C>
inline void gather_rows(const llmrt_paged_attention_args& a, const void* cache, const AttentionUnit& unit,
                        int64_t begin, int64_t count, float* rows) {
  for (int64_t p = begin; p < begin + count; ++p, rows += a.head_dim) {
    const int64_t page = unit.blocks[p / a.block_size] * a.kv_heads + unit.kv_head;
    const auto* from =
        static_cast<const typename C::Value*>(cache) + (page * a.block_size + p % a.block_size) * a.head_dim;
    for (int64_t i = 0; i < a.head_dim; i += 16) store(rows + i, C::read(from + i));
  }
}

inline float dot(const float* x, const float* y, int64_t size) {
  Float total = set1(0.0f);
  for (int64_t i = 0; i < size; i += 16) total = fma(load(x + i), load(y + i), total);
  return sum(total);
}

// scores [rows, kKeyTile] = q K^T for `count` keys.
inline void score_keys(AttentionScratch& s, int64_t rows, int64_t count, int64_t dim) {
  if (rows <= kFewRows) {
    for (int64_t j = 0; j < count; ++j)
      for (int64_t r = 0; r < rows; ++r)
        s.scores[r * kKeyTile + j] = dot(s.q.data() + r * dim, s.keys.data() + j * dim, dim);
    return;
  }
  for (int64_t j = 0; j < count; ++j)
    for (int64_t i = 0; i < dim; ++i) s.keys_as_columns[i * kKeyTile + j] = s.keys[j * dim + i];
  std::fill(s.scores.begin(), s.scores.end(), 0.0f);
  matmul_add(s.q.data(), dim, s.keys_as_columns.data(), kKeyTile, s.scores.data(), kKeyTile, rows, dim, kKeyTile);
}

// Turns a row of scores into e^(score - most), keys outside [first, last) into 0, and rescales what the row has so far.
inline void soften_row(float* scores, int64_t first, int64_t last, float& most, float& total, float* out, int64_t dim) {
  for (int64_t j = 0; j < first; ++j) scores[j] = kMinusInfinity;
  for (int64_t j = last; j < kKeyTile; ++j) scores[j] = kMinusInfinity;
  Float highest = load(scores);
  for (int64_t j = 16; j < kKeyTile; j += 16) highest = max(highest, load(scores + j));
  const float new_most = std::max(most, max(highest));
  if (new_most == kMinusInfinity) {  // no key of this tile is visible
    std::fill(scores, scores + kKeyTile, 0.0f);
    return;
  }
  Float added = set1(0.0f);
  for (int64_t j = 0; j < kKeyTile; j += 16) {
    store(scores + j, exp(sub(load(scores + j), set1(new_most))));
  }
  for (int64_t j = 0; j < first; ++j) scores[j] = 0.0f;
  for (int64_t j = last; j < kKeyTile; ++j) scores[j] = 0.0f;
  for (int64_t j = 0; j < kKeyTile; j += 16) added = add(added, load(scores + j));
  const float shrink = std::exp(most - new_most);  // 0 at the start, when most is -infinity
  if (shrink != 1.0f)
    for (int64_t i = 0; i < dim; i += 16) store(out + i, mul(load(out + i), set1(shrink)));
  total = total * shrink + sum(added);
  most = new_most;
}

template <class C>
inline void attend(const llmrt_paged_attention_args& a, const AttentionUnit& unit, AttentionScratch& s) {
  const int64_t dim = a.head_dim, group = a.heads / a.kv_heads, rows = unit.queries * group;
  s.prepare(rows, dim);
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t head = unit.kv_head * group + r % group;
    const float* q = a.q + ((unit.first_query + r / group) * a.heads + head) * dim;
    for (int64_t i = 0; i < dim; i += 16) store(s.q.data() + r * dim + i, mul(load(q + i), set1(a.scale)));
  }
  for (int64_t begin = unit.begin_key; begin < unit.end_key; begin += kKeyTile) {
    const int64_t count = std::min(kKeyTile, unit.end_key - begin);
    gather_rows<C>(a, a.k_cache, unit, begin, count, s.keys.data());
    gather_rows<C>(a, a.v_cache, unit, begin, count, s.values.data());
    score_keys(s, rows, count, dim);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t position = unit.first_position + r / group;
      const int64_t first_key = a.sliding_window ? position - a.sliding_window + 1 : 0;
      const int64_t first = std::clamp<int64_t>(first_key - begin, 0, count);
      const int64_t last = std::clamp<int64_t>(position + 1 - begin, first, count);
      soften_row(s.scores.data() + r * kKeyTile, first, last, s.most[r], s.total[r], s.out.data() + r * dim, dim);
    }
    matmul_add(s.scores.data(), kKeyTile, s.values.data(), dim, s.out.data(), dim, rows, count, dim);
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
  const int64_t size = a.heads / a.kv_heads * (a.head_dim + 2);
  return a.partial + ((b * a.kv_heads + kv_head) * a.max_chunks + chunk) * size;
}

// A piece: for each row its out, most and total.
template <class C>
inline void attend_chunk(const llmrt_paged_attention_args& a, int64_t b, int64_t kv_head, int64_t chunk,
                         AttentionScratch& s) {
  AttentionUnit unit = unit_of(a, b, kv_head, 0, 1);
  unit.begin_key = std::max(unit.begin_key, chunk * kChunkKeys);
  unit.end_key = std::min(unit.end_key, (chunk + 1) * kChunkKeys);
  attend<C>(a, unit, s);
  float* piece = partial_of(a, b, kv_head, chunk - chunks_of(a, b).first);
  for (int64_t r = 0; r < a.heads / a.kv_heads; ++r, piece += a.head_dim + 2) {
    std::copy_n(s.out.data() + r * a.head_dim, a.head_dim, piece);
    piece[a.head_dim] = s.most[r];
    piece[a.head_dim + 1] = s.total[r];
  }
}

template <class C>
inline void attend_queries(const llmrt_paged_attention_args& a, int64_t b, int64_t kv_head, int64_t tile,
                           AttentionScratch& s) {
  const int64_t from = tile * kQueryTile, queries = std::min(kQueryTile, queries_of(a, b) - from);
  const AttentionUnit unit = unit_of(a, b, kv_head, from, queries);
  attend<C>(a, unit, s);
  const int64_t group = a.heads / a.kv_heads;
  for (int64_t r = 0; r < queries * group; ++r) {
    float* out = a.out + ((unit.first_query + r / group) * a.heads + kv_head * group + r % group) * a.head_dim;
    const Float inverse = set1(1.0f / s.total[r]);
    for (int64_t i = 0; i < a.head_dim; i += 16) store(out + i, mul(load(s.out.data() + r * a.head_dim + i), inverse));
  }
}

inline int64_t units_of(const llmrt_paged_attention_args& a, int64_t b) {
  const int64_t queries = queries_of(a, b);
  if (queries > 1) return (queries + kQueryTile - 1) / kQueryTile;
  const auto [first, last] = chunks_of(a, b);
  return last - first;
}

// Joins the pieces of one head of a single-query request, in the order of its keys.
inline void join_pieces(const llmrt_paged_attention_args& a, int64_t b, int64_t head) {
  const int64_t dim = a.head_dim, group = a.heads / a.kv_heads, pieces = units_of(a, b);
  const auto piece = [&](int64_t chunk) {
    return partial_of(a, b, head / group, chunk) + head % group * (dim + 2);
  };
  float most = kMinusInfinity, total = 0;
  for (int64_t c = 0; c < pieces; ++c) most = std::max(most, piece(c)[dim]);
  float* out = a.out + (a.cu_seqlens_q[b] * a.heads + head) * dim;
  std::fill_n(out, dim, 0.0f);
  for (int64_t c = 0; c < pieces; ++c) {
    const float weight = std::exp(piece(c)[dim] - most);
    total += weight * piece(c)[dim + 1];
    for (int64_t i = 0; i < dim; i += 16) store(out + i, fma(load(piece(c) + i), set1(weight), load(out + i)));
  }
  for (int64_t i = 0; i < dim; i += 16) store(out + i, mul(load(out + i), set1(1.0f / total)));
}

template <class C>
inline void paged_attention_of(const llmrt_paged_attention_args& a, Context& context) {
  static thread_local AttentionScratch scratch;
  int64_t total = 0;
  for (int64_t b = 0; b < a.requests; ++b) total += units_of(a, b) * a.kv_heads;
  context.share(total, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      int64_t b = 0, at = i;
      while (at >= units_of(a, b) * a.kv_heads) at -= units_of(a, b++) * a.kv_heads;
      // The longest units, the last queries of a prompt, come first, so that no thread ends long after the others.
      const int64_t unit = units_of(a, b) - 1 - at / a.kv_heads, kv_head = at % a.kv_heads;
      if (queries_of(a, b) > 1)
        attend_queries<C>(a, b, kv_head, unit, scratch);
      else
        attend_chunk<C>(a, b, kv_head, unit + chunks_of(a, b).first, scratch);
    }
  });
  context.barrier();
  context.share(a.requests * a.heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      if (queries_of(a, i / a.heads) == 1) join_pieces(a, i / a.heads, i % a.heads);
  });
}

inline void paged_attention(const llmrt_paged_attention_args& a, Context& context) {
  with_cache(a.cache_dtype, [&](auto cache) { paged_attention_of<decltype(cache)>(a, context); });
}

}  // namespace llmrt::LLMRT_ISA
