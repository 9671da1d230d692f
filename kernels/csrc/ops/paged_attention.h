// Attention over pages, exact softmax by running maximum and sum (https://arxiv.org/abs/2205.14135).
//
// A prompt's unit of work is one kv head and some of the queries. A request with few queries is cut along its keys
// instead, in chunks whose pieces are joined after a barrier. Where they are cut depends on a query's position alone, so
// its result is the same bits alone and beside the queries after it, as when drafts of them are verified.
#pragma once

#include <algorithm>
#include <type_traits>
#include <vector>

#include "llmrt_cpu.h"
#include "ops/attend.h"
#include "ops/attention_float.h"
#include "ops/attention_int8.h"
#include "ops/activations.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

constexpr int64_t kUnitRows = 64;    // rows of a unit of a prompt: its queries times the heads of the group
constexpr int64_t kFewQueries = 16;  // of a request that is no prompt, at most
constexpr int64_t kChunkKeys = 256;  // keys of a piece of a query, at least
constexpr int64_t kMaxPieces = 64;

inline int64_t unit_queries(const llmrt_paged_attention_args& a) { return std::max<int64_t>(1, kUnitRows / group_of(a)); }

inline int64_t queries_of(const llmrt_paged_attention_args& a, int64_t b) {
  return a.cu_seqlens_q[b + 1] - a.cu_seqlens_q[b];
}

// Some queries of a request and all the keys that they see, for all kv heads.
inline AttentionUnit unit_of(const llmrt_paged_attention_args& a, int64_t b, int64_t from, int64_t queries) {
  const int64_t position = a.seq_lens[b] - queries_of(a, b) + from;
  const int64_t begin = a.sliding_window ? std::max<int64_t>(0, position - a.sliding_window + 1) : 0;
  return {.blocks = a.block_table + b * a.table_width,
          .first_head = 0,
          .kv_heads = a.cache.kv_heads,
          .first_query = a.cu_seqlens_q[b] + from,
          .queries = queries,
          .first_position = position,
          .begin_key = begin,
          .end_key = position + queries};
}

// ---- Prompts

inline int64_t units_of(const llmrt_paged_attention_args& a, int64_t b) {
  const int64_t queries = queries_of(a, b);
  return queries > kFewQueries ? (queries + unit_queries(a) - 1) / unit_queries(a) : 0;
}

template <class Cache>
inline void attend_queries(const llmrt_paged_attention_args& a, int64_t b, int64_t kv_head, int64_t tile,
                           AttentionScratch& s) {
  const int64_t dim = a.cache.head_dim, group = group_of(a), from = tile * unit_queries(a);
  AttentionUnit unit = unit_of(a, b, from, std::min(unit_queries(a), queries_of(a, b) - from));
  unit.first_head = kv_head;
  unit.kv_heads = 1;
  load_queries<Cache>(a, unit, s);
  attend<Cache>(a, unit, s);
  for (int64_t r = 0; r < unit.queries * group; ++r) {
    float* out = a.out + row_of(a, unit, r) * dim;
    const Float inverse = set1(1.0f / s.total[r]);
    for (int64_t i = 0; i < dim; i += 16) store(out + i, mul(load(s.out.data() + r * dim + i), inverse));
  }
}

template <class Cache>
inline void attend_prompts(const llmrt_paged_attention_args& a, Context& context, AttentionScratch& s) {
  const int64_t kv_heads = a.cache.kv_heads;
  int64_t total = 0;
  for (int64_t b = 0; b < a.requests; ++b) total += units_of(a, b) * kv_heads;
  context.deal(total, [&](int64_t at) {
    int64_t b = 0;
    while (at >= units_of(a, b) * kv_heads) at -= units_of(a, b++) * kv_heads;
    // The longest units, the last queries of a prompt, come first, so that no thread ends long after the others.
    attend_queries<Cache>(a, b, at % kv_heads, units_of(a, b) - 1 - at / kv_heads, s);
  });
}

// ---- Few queries

// The chunks of keys that a query sees: `keys` each, from key first * keys on. As few keys as kMaxPieces allow.
struct Chunks {
  int64_t keys = kChunkKeys, first, count;

  Chunks(int64_t begin_key, int64_t end_key) {
    while ((end_key - begin_key) / keys + 2 > kMaxPieces) keys *= 2;
    first = begin_key / keys;
    count = (end_key + keys - 1) / keys - first;
  }
};

// What the chunks of one head of a query add up to: `out` [chunks, D], and for each what it is relative to and the sum of
// weights.
struct Pieces {
  float *out, *most, *total;
  Pieces(const llmrt_paged_attention_args& a, int64_t query, int64_t head)
      : out(a.partial + (query * a.heads + head) * a.max_pieces * (a.cache.head_dim + 2)),
        most(out + a.max_pieces * a.cache.head_dim),
        total(most + a.max_pieces) {}
};

// The queries of all requests with few, and the same as walks over keys: neighbours whose chunks are of the same size see
// them together, so that a key is read once.
struct FewQueries {
  struct Query {
    int64_t row;  // of q, in tokens
    Chunks chunks;
  };
  struct Walk {
    AttentionUnit unit;
    Chunks chunks;
    int64_t first;  // of its queries
  };
  std::vector<Query> queries;
  std::vector<Walk> walks;

  void find(const llmrt_paged_attention_args& a) {
    queries.clear();
    walks.clear();
    for (int64_t b = 0; b < a.requests; ++b)
      for (int64_t i = 0; i < queries_of(a, b) && queries_of(a, b) <= kFewQueries; ++i) add(unit_of(a, b, i, 1), i == 0);
  }

 private:
  void add(const AttentionUnit& unit, bool first_of_request) {
    const Chunks own(unit.begin_key, unit.end_key);
    if (first_of_request || walks.back().chunks.keys != own.keys) {
      walks.push_back({unit, own, static_cast<int64_t>(queries.size())});
      walks.back().unit.alone = true;
    } else {
      Walk& walk = walks.back();
      ++walk.unit.queries;
      walk.unit.end_key = unit.end_key;
      walk.chunks.count = own.first + own.count - walk.chunks.first;
    }
    queries.push_back({unit.first_query, own});
  }
};

inline void keep_pieces(const llmrt_paged_attention_args& a, const FewQueries& few, const FewQueries::Walk& walk,
                        const AttentionUnit& unit, int64_t chunk, const AttentionScratch& s) {
  const int64_t dim = a.cache.head_dim, group = group_of(a), rows = unit.queries * group;
  for (int64_t r = 0; r < unit.kv_heads * rows; ++r) {
    const int64_t query = walk.first + r % rows / group, head = (unit.first_head + r / rows) * group + r % group;
    const Chunks& own = few.queries[query].chunks;
    const int64_t piece = walk.chunks.first + chunk - own.first;
    if (piece < 0 || piece >= own.count) continue;
    const Pieces pieces(a, query, head);
    std::copy_n(s.out.data() + r * dim, dim, pieces.out + piece * dim);
    pieces.most[piece] = s.most[r];
    pieces.total[piece] = s.total[r];
  }
}

// Chunks [begin, end) of a walk, for some of its kv heads.
template <class Cache>
inline void attend_chunks(const llmrt_paged_attention_args& a, const FewQueries& few, const FewQueries::Walk& walk,
                          int64_t first_head, int64_t kv_heads, int64_t begin, int64_t end, AttentionScratch& s) {
  AttentionUnit unit = walk.unit;
  unit.first_head = first_head;
  unit.kv_heads = kv_heads;
  load_queries<Cache>(a, unit, s);
  for (int64_t chunk = begin; chunk < end; ++chunk) {
    const int64_t from = (walk.chunks.first + chunk) * walk.chunks.keys;
    unit.begin_key = std::max(walk.unit.begin_key, from);
    unit.end_key = std::min(walk.unit.end_key, from + walk.chunks.keys);
    attend<Cache>(a, unit, s);
    keep_pieces(a, few, walk, unit, chunk, s);
  }
}

// A thread has a stretch of chunks, and takes all kv heads of one together, for they are neighbours in memory. Where
// chunks are few they are shared out head by head.
template <class Cache>
inline void attend_walks(const llmrt_paged_attention_args& a, const FewQueries& few, Context& context,
                         AttentionScratch& s) {
  int64_t total = 0;
  for (const auto& walk : few.walks) total += walk.chunks.count;
  const int64_t parts = total < 8 * context.threads ? a.cache.kv_heads : 1, together = a.cache.kv_heads / parts;
  context.share(total * parts, 1, [&](int64_t begin, int64_t end) {
    int64_t before = 0;  // parts of the walks so far; those of a walk are sorted by head, then by chunk
    for (const auto& walk : few.walks) {
      if (before >= end) break;
      for (int64_t part = 0; part < parts; ++part, before += walk.chunks.count) {
        const int64_t first = std::max<int64_t>(begin - before, 0), last = std::min(end - before, walk.chunks.count);
        if (first < last) attend_chunks<Cache>(a, few, walk, part * together, together, first, last, s);
      }
    }
  });
}

// Joins the pieces of one head of a query, in the order of its keys.
inline void join_pieces(const llmrt_paged_attention_args& a, const FewQueries& few, int64_t query, int64_t head) {
  const int64_t dim = a.cache.head_dim, count = few.queries[query].chunks.count;
  const Pieces pieces(a, query, head);
  std::fill(pieces.most + count, pieces.most + (count + 15) / 16 * 16, kUnseen);
  Float highest = load(pieces.most);
  for (int64_t c = 16; c < count; c += 16) highest = max(highest, load(pieces.most + c));
  const Float most = set1(max(highest));
  for (int64_t c = 0; c < count; c += 16) store(pieces.most + c, exp2(sub(load(pieces.most + c), most)));
  float total = 0;
  for (int64_t c = 0; c < count; ++c) total += pieces.most[c] * pieces.total[c];
  float* out = a.out + (few.queries[query].row * a.heads + head) * dim;
  std::fill_n(out, dim, 0.0f);
  matmul_add(pieces.most, a.max_pieces, pieces.out, dim, out, dim, 1, count, dim);
  for (int64_t i = 0; i < dim; i += 16) store(out + i, mul(load(out + i), set1(1.0f / total)));
}

inline void paged_attention(const llmrt_paged_attention_args& a, Context& context) {
  static thread_local AttentionScratch scratch;
  static thread_local FewQueries few;
  few.find(a);
  const auto few_queries = static_cast<int64_t>(few.queries.size());
  with_cache(a.cache.dtype, [&](auto type) {
    using C = decltype(type);
    using Cache = std::conditional_t<C::kInt8, Int8Attention, FloatAttention<C>>;
    if (a.tokens > few_queries) {
      attend_prompts<Cache>(a, context, scratch);
      context.barrier();
    }
    attend_walks<Cache>(a, few, context, scratch);
  });
  context.barrier();
  context.share(few_queries * a.heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) join_pieces(a, few, i / a.heads, i % a.heads);
  });
  context.barrier();
  const int64_t size = a.heads * a.cache.head_dim;
  write_rows(a.y, a.tokens, size, context, [&](int64_t t, int64_t i) { return load(a.out + t * size + i); });
}

}  // namespace llmrt::LLMRT_ISA
