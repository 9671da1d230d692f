// How attention is cut into work: walks of some queries over chunks of keys.
//
// What the chunks give is joined in the order of keys, whoever computed them, and where they are cut depends on a query's
// position alone. So a token's result is the same bits in a prompt, in any part of it, and as a single token.
#pragma once

#include <algorithm>
#include <vector>

#include "llmrt_cpu.h"
#include "ops/attention_unit.h"

namespace llmrt::LLMRT_ISA {

constexpr int64_t kUnitRows = 64;  // rows of a walk of a prompt: its queries times the heads of the group

// Neighbouring queries of a request whose chunks are of the same size. They see all keys of the unit between them.
struct Walk {
  AttentionUnit unit;  // with all kv heads
  int64_t chunk_keys, chunks;

  // Chunk i of some of the kv heads.
  AttentionUnit chunk(int64_t i, int64_t first_head, int64_t kv_heads) const {
    const int64_t from = (unit.begin_key / chunk_keys + i) * chunk_keys;
    AttentionUnit part = unit;
    part.first_head = first_head;
    part.kv_heads = kv_heads;
    part.begin_key = std::max(unit.begin_key, from);
    part.end_key = std::min(unit.end_key, from + chunk_keys);
    return part;
  }
};

struct Walks {
  struct Query {
    int64_t row, chunks;  // of q, in tokens
  };
  std::vector<Walk> prompts;   // of requests with more than LLMRT_FEW_QUERIES
  std::vector<Walk> few;       // of the others
  std::vector<Query> queries;  // of those

  void find(const llmrt_paged_attention_args& a) {
    prompts.clear(), few.clear(), queries.clear();
    for (int64_t b = 0; b < a.requests; ++b) {
      const int64_t count = a.cu_seqlens_q[b + 1] - a.cu_seqlens_q[b];
      if (count > LLMRT_FEW_QUERIES) add(a, b, count, std::max<int64_t>(1, kUnitRows / group_of(a)), prompts);
      else add(a, b, count, LLMRT_FEW_QUERIES, few);
    }
    for (const Walk& walk : few)
      for (int64_t i = 0; i < walk.unit.queries; ++i) queries.push_back({walk.unit.first_query + i, walk.chunks});
  }

 private:
  // As few keys as LLMRT_MOST_CHUNKS allow.
  static int64_t chunk_keys_of(const AttentionUnit& query) {
    int64_t keys = LLMRT_CHUNK_KEYS;
    while ((query.end_key - query.begin_key) / keys + 2 > LLMRT_MOST_CHUNKS) keys *= 2;
    return keys;
  }

  static AttentionUnit unit_of(const llmrt_paged_attention_args& a, int64_t b, int64_t from, int64_t queries) {
    const int64_t position = a.seq_lens[b] - (a.cu_seqlens_q[b + 1] - a.cu_seqlens_q[b]) + from;
    return {.blocks = a.block_table + b * a.table_width,
            .first_head = 0,
            .kv_heads = a.cache.kv_heads,
            .first_query = a.cu_seqlens_q[b] + from,
            .queries = queries,
            .first_position = position,
            .begin_key = a.sliding_window ? std::max<int64_t>(0, position - a.sliding_window + 1) : 0,
            .end_key = position + queries};
  }

  // Walks of `most` queries, fewer where chunks become larger.
  static void add(const llmrt_paged_attention_args& a, int64_t b, int64_t queries, int64_t most, std::vector<Walk>& to) {
    for (int64_t from = 0, count; from < queries; from += count) {
      const int64_t keys = chunk_keys_of(unit_of(a, b, from, 1));
      count = std::min(most, queries - from);
      while (chunk_keys_of(unit_of(a, b, from + count - 1, 1)) != keys) --count;
      const AttentionUnit unit = unit_of(a, b, from, count);
      to.push_back({unit, keys, (unit.end_key + keys - 1) / keys - unit.begin_key / keys});
    }
  }
};

}  // namespace llmrt::LLMRT_ISA
