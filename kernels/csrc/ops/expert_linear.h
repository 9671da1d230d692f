// Both halves of the experts' SwiGLU over pairs that are sorted by expert. A unit of work is some outputs of one expert
// for all of its pairs, so that a weight is read once and experts without pairs are not read.
#pragma once

#include <algorithm>

#include "llmrt_cpu.h"
#include "ops/gated_linear.h"
#include "ops/product.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

inline bool has_pairs(const llmrt_routing& r, int64_t expert) { return r.starts[expert] < r.starts[expert + 1]; }

// Calls body(expert, part) for each of the `parts` of every expert that has pairs. Experts differ in their pairs, so each
// thread has a stretch of every expert, and an eighth of each is left for whoever is done first.
template <class Body>
inline void share_experts(const llmrt_routing& r, int64_t parts, Context& context, Body body) {
  const int64_t own = parts * 7 / 8 / context.threads, shared = context.threads * own, left = parts - shared;
  int64_t busy = 0;
  for (int64_t e = 0; e < r.num_experts; ++e) {
    if (!has_pairs(r, e)) continue;
    ++busy;
    for (int64_t i = 0; i < own; ++i) body(e, context.thread * own + i);
  }
  context.deal(busy * left, [&](int64_t at) {
    int64_t e = 0;
    for (int64_t passed = at / left;; ++e)
      if (has_pairs(r, e) && passed-- == 0) break;
    body(e, shared + at % left);
  });
}

inline void expert_gated_linear(const llmrt_expert_gated_linear_args& a, Context& context) {
  const int64_t rows = a.weight.rows / a.routing.num_experts;
  share_experts(a.routing, groups_of(a.y), context, [&](int64_t e, int64_t g) {
    gated_group(a.x, a.weight, e * rows, rows / 2, a.y, g, a.routing.starts[e], a.routing.starts[e + 1]);
  });
}

// The order of a token's sum is that of its choices, so it does not depend on what is computed beside it.
inline void sum_choices(const llmrt_expert_linear_args& a, int64_t size, Context& context) {
  const int64_t k = a.routing.num_active, blocks = size / 16;
  context.share(a.routing.tokens * blocks, 16, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      const int64_t t = at / blocks, i = at % blocks * 16;
      Float total = load(a.residual + t * size + i);
      for (int64_t p = t * k; p < (t + 1) * k; ++p)
        total = fma(set1(a.routing.weights[p]), load(a.products + a.routing.rows[p] * size + i), total);
      store(a.y + t * size + i, total);
    }
  });
}

inline void expert_linear(const llmrt_expert_linear_args& a, Context& context) {
  const int64_t size = a.weight.rows / a.routing.num_experts;
  const int64_t blocks = size / 16, panels = (blocks + kWideBlocks - 1) / kWideBlocks;
  share_experts(a.routing, panels, context, [&](int64_t e, int64_t part) {
    const int64_t first = part * kWideBlocks, end = std::min(blocks, first + kWideBlocks);
    const int64_t pairs = a.routing.starts[e], next = a.routing.starts[e + 1];
    const Panel panel(a.x, a.weight, e * size + first * 16, end - first, pairs, next);
    panel.for_tiles_of_tokens([&](int64_t pair, int64_t count) {
      panel.multiply(pair, count, e * size + first * 16, end - first, a.products + pair * size + first * 16, size);
    });
  });
  context.barrier();
  sum_choices(a, size, context);
}

}  // namespace llmrt::LLMRT_ISA
