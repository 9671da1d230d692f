// Attention over pages, exact softmax by running maximum and sum (https://arxiv.org/abs/2205.14135).
//
// A prompt's unit of work is one kv head and some of the queries. A request with a single query is cut along its keys
// instead, in chunks at fixed positions whose pieces are joined after a barrier: its result does not depend on what is
// computed beside it.
#pragma once

#include <algorithm>
#include <type_traits>
#include <utility>

#include "llmrt_cpu.h"
#include "ops/attend.h"
#include "ops/attention_float.h"
#include "ops/attention_int8.h"
#include "ops/activations.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

constexpr int64_t kUnitRows = 64;    // rows of a unit of a prompt: its queries times the heads of the group
constexpr int64_t kChunkKeys = 256;  // keys of a piece of a single-query request, at least
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
  return queries > 1 ? (queries + unit_queries(a) - 1) / unit_queries(a) : 0;
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

// ---- Single queries

// The chunks of a single-query request: `keys` each, from key first * keys on. As few keys as kMaxPieces allow.
struct Chunks {
  int64_t keys = kChunkKeys, first = 0, count = 0;

  Chunks(const llmrt_paged_attention_args& a, int64_t b) {
    if (queries_of(a, b) != 1) return;
    const AttentionUnit unit = unit_of(a, b, 0, 1);
    while ((unit.end_key - unit.begin_key) / keys + 2 > kMaxPieces) keys *= 2;
    first = unit.begin_key / keys;
    count = (unit.end_key + keys - 1) / keys - first;
  }
};

// What the chunks of one head add up to: `out` [chunks, D], and for each what it is relative to and the sum of weights.
struct Pieces {
  float *out, *most, *total;
  Pieces(const llmrt_paged_attention_args& a, int64_t b, int64_t head)
      : out(a.partial + (b * a.heads + head) * a.max_pieces * (a.cache.head_dim + 2)),
        most(out + a.max_pieces * a.cache.head_dim),
        total(most + a.max_pieces) {}
};

// Pieces [begin, end) of a request, for some of its kv heads.
template <class Cache>
inline void attend_chunks(const llmrt_paged_attention_args& a, int64_t b, int64_t first_head, int64_t kv_heads,
                          int64_t begin, int64_t end, AttentionScratch& s) {
  const int64_t dim = a.cache.head_dim;
  const Chunks chunks(a, b);
  AttentionUnit unit = unit_of(a, b, 0, 1);
  unit.first_head = first_head;
  unit.kv_heads = kv_heads;
  load_queries<Cache>(a, unit, s);
  const int64_t from = unit.begin_key, to = unit.end_key;
  for (int64_t piece = begin; piece < end; ++piece) {
    unit.begin_key = std::max(from, (chunks.first + piece) * chunks.keys);
    unit.end_key = std::min(to, (chunks.first + piece + 1) * chunks.keys);
    attend<Cache>(a, unit, s);
    for (int64_t r = 0; r < kv_heads * group_of(a); ++r) {
      const Pieces pieces(a, b, first_head * group_of(a) + r);
      std::copy_n(s.out.data() + r * dim, dim, pieces.out + piece * dim);
      pieces.most[piece] = s.most[r];
      pieces.total[piece] = s.total[r];
    }
  }
}

// A thread has a stretch of chunks, and takes all kv heads of one together, for they are neighbours in memory. Where
// chunks are few they are shared out head by head.
template <class Cache>
inline void attend_singles(const llmrt_paged_attention_args& a, Context& context, AttentionScratch& s) {
  int64_t total = 0;
  for (int64_t b = 0; b < a.requests; ++b) total += Chunks(a, b).count;
  const int64_t parts = total < 8 * context.threads ? a.cache.kv_heads : 1, together = a.cache.kv_heads / parts;
  context.share(total * parts, 1, [&](int64_t begin, int64_t end) {
    int64_t before = 0;  // parts of the requests so far; those of a request are sorted by head, then by chunk
    for (int64_t b = 0; b < a.requests && before < end; ++b) {
      const int64_t count = Chunks(a, b).count;
      for (int64_t part = 0; part < parts; ++part, before += count) {
        const int64_t first = std::max<int64_t>(begin - before, 0), last = std::min(end - before, count);
        if (first < last) attend_chunks<Cache>(a, b, part * together, together, first, last, s);
      }
    }
  });
}

// Joins the pieces of one head of a single-query request, in the order of its keys.
inline void join_pieces(const llmrt_paged_attention_args& a, int64_t b, int64_t head) {
  const int64_t dim = a.cache.head_dim, count = Chunks(a, b).count;
  const Pieces pieces(a, b, head);
  std::fill(pieces.most + count, pieces.most + (count + 15) / 16 * 16, kUnseen);
  Float highest = load(pieces.most);
  for (int64_t c = 16; c < count; c += 16) highest = max(highest, load(pieces.most + c));
  const Float most = set1(max(highest));
  for (int64_t c = 0; c < count; c += 16) store(pieces.most + c, exp2(sub(load(pieces.most + c), most)));
  float total = 0;
  for (int64_t c = 0; c < count; ++c) total += pieces.most[c] * pieces.total[c];
  float* out = a.out + (a.cu_seqlens_q[b] * a.heads + head) * dim;
  std::fill_n(out, dim, 0.0f);
  matmul_add(pieces.most, a.max_pieces, pieces.out, dim, out, dim, 1, count, dim);
  for (int64_t i = 0; i < dim; i += 16) store(out + i, mul(load(out + i), set1(1.0f / total)));
}

inline void paged_attention(const llmrt_paged_attention_args& a, Context& context) {
  static thread_local AttentionScratch scratch;
  with_cache(a.cache.dtype, [&](auto type) {
    using C = decltype(type);
    using Cache = std::conditional_t<C::kInt8, Int8Attention, FloatAttention<C>>;
    if (a.tokens > a.requests) {
      attend_prompts<Cache>(a, context, scratch);
      context.barrier();
    }
    attend_singles<Cache>(a, context, scratch);
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
