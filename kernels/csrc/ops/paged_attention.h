// Attention over pages, exact softmax by running maximum and sum (https://arxiv.org/abs/2205.14135).
//
// A prompt's unit of work is one kv head and a walk over all chunks of keys. The chunks of requests with few queries are
// computed side by side instead, and joined after a barrier.
#pragma once

#include <algorithm>
#include <type_traits>

#include "llmrt_cpu.h"
#include "ops/activations.h"
#include "ops/attend.h"
#include "ops/attention_float.h"
#include "ops/attention_int8.h"
#include "ops/attention_walks.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

// Adds to a row of sums [D + 16], which is relative to `most`, that of the next chunk. A chunk of which the row sees
// nothing changes no bit.
inline void join(float* sums, float& most, const float* next, float next_most, int64_t size) {
  const float excess = next_most - most;
  Float weight = set1(1.0f);
  if (excess > kSlack) {
    const Float keep = exp2(set1(-excess));
    for (int64_t i = 0; i < size; i += 16) store(sums + i, mul(load(sums + i), keep));
    most = next_most;
  } else {
    weight = exp2(set1(excess));
  }
  for (int64_t i = 0; i < size; i += 16) store(sums + i, fma(load(next + i), weight, load(sums + i)));
}

inline void write_quotient(const float* sums, int64_t dim, float* out) {
  const Float inverse = set1(1.0f / sum(load(sums + dim)));
  for (int64_t i = 0; i < dim; i += 16) store(out + i, mul(load(sums + i), inverse));
}

// How attention is computed on one type of cache.
struct OnCache {
  void (*load_queries)(const llmrt_paged_attention_args&, const AttentionUnit&, AttentionScratch&);
  void (*attend)(const llmrt_paged_attention_args&, const AttentionUnit&, AttentionScratch&);
};

inline OnCache on_cache(int64_t dtype) {
  OnCache on;
  with_cache(dtype, [&](auto type) {
    using C = decltype(type);
    using Attention = std::conditional_t<C::kInt8, Int8Attention, FloatAttention<C>>;
    on = {load_queries<Attention>, attend<Attention>};
  });
  return on;
}

// ---- Prompts

inline void attend_prompt(const llmrt_paged_attention_args& a, const OnCache& on, const Walk& walk, int64_t kv_head,
                          AttentionScratch& s) {
  const int64_t dim = a.cache.head_dim, size = dim + 16, rows = walk.unit.queries * group_of(a);
  on.load_queries(a, walk.chunk(0, kv_head, 1), s);
  s.joined.assign(rows * size, 0.0f);
  s.joined_most.assign(rows, kNoneSeen);
  for (int64_t i = 0; i < walk.chunks; ++i) {
    on.attend(a, walk.chunk(i, kv_head, 1), s);
    for (int64_t r = 0; r < rows; ++r)
      join(s.joined.data() + r * size, s.joined_most[r], s.sums.data() + r * size, s.most[r], size);
  }
  for (int64_t r = 0; r < rows; ++r)
    write_quotient(s.joined.data() + r * size, dim, a.out + row_of(a, walk.chunk(0, kv_head, 1), r) * dim);
}

// The longest walks, the last queries of a prompt, come first, so that no thread ends long after the others.
inline void attend_prompts(const llmrt_paged_attention_args& a, const OnCache& on, const Walks& walks, Context& context,
                           AttentionScratch& s) {
  const int64_t kv_heads = a.cache.kv_heads, count = static_cast<int64_t>(walks.prompts.size());
  context.deal(count * kv_heads, [&](int64_t at) {
    attend_prompt(a, on, walks.prompts[count - 1 - at / kv_heads], at % kv_heads, s);
  });
}

// ---- Few queries

// What the chunks of one head of a query add up to: `sums` [chunks, D + 16], and for each what it is relative to.
struct Pieces {
  float *sums, *most;
  Pieces(const llmrt_paged_attention_args& a, int64_t query, int64_t head)
      : sums(a.partial + (query * a.heads + head) * a.max_pieces * (a.cache.head_dim + 17)),
        most(sums + a.max_pieces * (a.cache.head_dim + 16)) {}
};

// Chunks [begin, end) of a walk, for some of its kv heads; `first` is its first query.
inline void attend_chunks(const llmrt_paged_attention_args& a, const OnCache& on, const Walk& walk, int64_t first,
                          int64_t first_head, int64_t kv_heads, int64_t begin, int64_t end, AttentionScratch& s) {
  const int64_t size = a.cache.head_dim + 16, group = group_of(a), rows = walk.unit.queries * group;
  on.load_queries(a, walk.chunk(begin, first_head, kv_heads), s);
  for (int64_t chunk = begin; chunk < end; ++chunk) {
    on.attend(a, walk.chunk(chunk, first_head, kv_heads), s);
    for (int64_t r = 0; r < kv_heads * rows; ++r) {
      const Pieces pieces(a, first + r % rows / group, (first_head + r / rows) * group + r % group);
      std::copy_n(s.sums.data() + r * size, size, pieces.sums + chunk * size);
      pieces.most[chunk] = s.most[r];
    }
  }
}

// A thread has a stretch of chunks, and takes all kv heads of one together, for they are neighbours in memory. Where
// chunks are few they are shared out head by head.
inline void attend_few(const llmrt_paged_attention_args& a, const OnCache& on, const Walks& walks, Context& context,
                       AttentionScratch& s) {
  int64_t total = 0;
  for (const Walk& walk : walks.few) total += walk.chunks;
  const int64_t parts = total < 8 * context.threads ? a.cache.kv_heads : 1, together = a.cache.kv_heads / parts;
  context.share(total * parts, 1, [&](int64_t begin, int64_t end) {
    int64_t before = 0, query = 0;  // parts and queries of the walks so far; parts are sorted by head, then by chunk
    for (const Walk& walk : walks.few) {
      if (before >= end) break;
      for (int64_t part = 0; part < parts; ++part, before += walk.chunks) {
        const int64_t first = std::max<int64_t>(begin - before, 0), last = std::min(end - before, walk.chunks);
        if (first < last) attend_chunks(a, on, walk, query, part * together, together, first, last, s);
      }
      query += walk.unit.queries;
    }
  });
}

// Joins the pieces of one head of a query, the first with the rest.
inline void join_pieces(const llmrt_paged_attention_args& a, const Walks& walks, int64_t query, int64_t head) {
  const int64_t dim = a.cache.head_dim, size = dim + 16;
  const auto [row, chunks] = walks.queries[query];
  const Pieces pieces(a, query, head);
  for (int64_t c = 1; c < chunks; ++c)
    join(pieces.sums, pieces.most[0], pieces.sums + c * size, pieces.most[c], size);
  write_quotient(pieces.sums, dim, a.out + (row * a.heads + head) * dim);
}

inline void paged_attention(const llmrt_paged_attention_args& a, Context& context) {
  static thread_local AttentionScratch scratch;
  static thread_local Walks walks;
  walks.find(a);
  const OnCache on = on_cache(a.cache.dtype);
  if (!walks.prompts.empty()) {
    attend_prompts(a, on, walks, context, scratch);
    context.barrier();
  }
  attend_few(a, on, walks, context, scratch);
  context.barrier();
  context.share(static_cast<int64_t>(walks.queries.size()) * a.heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) join_pieces(a, walks, i / a.heads, i % a.heads);
  });
  context.barrier();
  const int64_t size = a.heads * a.cache.head_dim;
  write_rows(a.y, a.tokens, size, context, [&](int64_t t, int64_t i) { return load(a.out + t * size + i); });
}

}  // namespace llmrt::LLMRT_ISA
