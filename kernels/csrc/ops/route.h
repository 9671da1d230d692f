// Which experts each token goes to: p = softmax(x W_router^T) in fp32, the k largest, ties to the lower index, each
// divided by the sum of the k (https://arxiv.org/abs/2401.04088) unless the model takes them as they are.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "llmrt_cpu.h"
#include "ops/activations.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

inline void router_logits(const llmrt_route_args& a, int64_t t, std::vector<float>& logits) {
  static thread_local std::vector<float> x;
  x.resize(a.size);
  read_row(a.x, t, a.size, x.data());
  for (size_t e = 0; e < logits.size(); ++e) {
    Float total = set1(0.0f);
    const float* row = a.router + e * a.size;
    for (int64_t i = 0; i < a.size; i += 16) total = fma(load(x.data() + i), load(row + i), total);
    logits[e] = sum(total);
  }
}

// Each p stands as its ratio to the largest, so the sum divides it by that of the k or by that of all.
inline void choose_experts(const llmrt_route_args& a, int64_t t) {
  static thread_local std::vector<float> logits;
  logits.resize(a.routing.num_experts);
  router_logits(a, t, logits);
  const int64_t k = a.routing.num_active;
  int64_t* experts = a.routing.experts + t * k;
  float* weights = a.routing.weights + t * k;
  for (int64_t c = 0; c < k; ++c) {
    const auto taken = [&](int64_t e) { return std::find(experts, experts + c, e) != experts + c; };
    int64_t best = 0;
    while (taken(best)) ++best;
    for (int64_t e = best + 1; e < a.routing.num_experts; ++e)
      if (!taken(e) && logits[e] > logits[best]) best = e;
    experts[c] = best;
    weights[c] = std::exp(logits[best] - logits[experts[0]]);
  }
  float total = 0;
  if (a.renormalize)
    for (int64_t c = 0; c < k; ++c) total += weights[c];
  else
    for (float logit : logits) total += std::exp(logit - logits[experts[0]]);
  for (int64_t c = 0; c < k; ++c) weights[c] /= total;
}

inline void sort_by_expert(const llmrt_routing& r) {
  static thread_local std::vector<int64_t> next;
  const int64_t pairs = r.tokens * r.num_active;
  std::fill_n(r.starts, r.num_experts + 1, 0);
  for (int64_t p = 0; p < pairs; ++p) ++r.starts[r.experts[p] + 1];
  for (int64_t e = 0; e < r.num_experts; ++e) r.starts[e + 1] += r.starts[e];
  next.assign(r.starts, r.starts + r.num_experts);
  for (int64_t p = 0; p < pairs; ++p) r.rows[p] = next[r.experts[p]]++;
}

inline void route(const llmrt_route_args& a, Context& context) {
  const llmrt_routing& r = a.routing;
  context.share(r.tokens, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) choose_experts(a, t);
  });
  context.barrier();
  if (context.thread == 0) sort_by_expert(r);
  context.barrier();
  context.share(r.tokens * r.num_active, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) copy_row(a.x, p / r.num_active, a.y, r.rows[p]);
  });
}

}  // namespace llmrt::LLMRT_ISA
