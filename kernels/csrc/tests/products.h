// Random problems of the ops with a weight, and what they give: see compare_isas.cpp.
#pragma once

#include <cstring>
#include <iterator>
#include <vector>

#include "tests/problems.h"

namespace problems {

template <class Args>
inline void run(const char* op, const Args& args) {
  const llmrt_call call{llmrt_find(op), &args};
  llmrt_run(&call, 1);
}

// How many numbers are not the same bits: tokens have to be so alone and in a batch.
inline Values differences(const Values& together, const Values& alone) {
  float count = 0;
  for (size_t i = 0; i < alone.size(); ++i) count += std::memcmp(&together[i], &alone[i], 4) != 0;
  return {count};
}

inline Results linear(Random& random, const Kind& kind, int64_t columns) {
  const int64_t tokens = 1 + below(random, 19);
  Activations x = Activations::random(random, tokens, columns, kind.group, kind.activations);
  const Weight weight(random, {16 * (1 + below(random, 3)), 1 + below(random, 50)}, columns, kind, random() % 2);
  const Values residual = normal(random, tokens * weight.args.rows, 10);
  const bool adds = random() % 2;
  Values y(residual.size()), alone(residual.size());
  run("linear", llmrt_linear_args{x.args(), weight.args, adds ? residual.data() : nullptr, y.data(), tokens});
  for (int64_t t = 0; t < tokens; ++t) {
    const int64_t at = t * weight.args.rows;
    run("linear", llmrt_linear_args{x.args(t), weight.args, adds ? &residual[at] : nullptr, &alone[at], 1});
  }
  return {y, differences(y, alone)};
}

inline Results linear(Random& random, int64_t activations) {
  return linear(random, Kind::of(activations, random), 16 * (1 + below(random, 20)));
}

inline Results nested_linear(Random& random) { return linear(random, Kind::nested(), 256 * (1 + below(random, 3))); }

template <int64_t kDtype>
inline Results linear_of(Random& random) { return linear(random, kDtype); }

inline Results lora(Random& random) {
  const int64_t tokens = 1 + below(random, 19), columns = 16 * (1 + below(random, 20)), rows = 16 * (1 + below(random, 9));
  const int64_t num_adapters = 3, max_rank = 48;
  Activations x = Activations::random(random, tokens, columns, 32, one_of<int64_t>(random, {LLMRT_INT8, LLMRT_BF16}));
  std::vector<Weight> matrices;
  std::vector<llmrt_adapter> table(num_adapters);
  matrices.reserve(2 * num_adapters);
  for (llmrt_adapter& adapter : table) {
    const int64_t rank = 16 * (1 + below(random, 3));
    const Kind kind = Kind::of(LLMRT_FP32, random);
    const llmrt_matrix a = matrices.emplace_back(random, std::vector{rank}, columns, kind, false).args.pieces[0];
    const llmrt_matrix b = matrices.emplace_back(random, std::vector{rows}, rank, kind, false).args.pieces[0];
    adapter = {{{a, b, 0}}, 1};
  }
  std::vector<int64_t> adapters(tokens);
  for (int64_t& adapter : adapters) adapter = below(random, num_adapters + 1) - 1;
  Activations wide(tokens, columns, 16, LLMRT_FP32);
  Values shrunk(kMaxPieces * tokens * (max_rank + 16)), y(tokens * rows);
  const Values residual = normal(random, tokens * rows);
  run("lora", llmrt_lora_args{x.args(), adapters.data(), table.data(), num_adapters, max_rank, wide.args(), shrunk.data(),
                              random() % 2 ? residual.data() : nullptr, y.data(), tokens, rows});
  return {y};
}

inline Results embedding(Random& random, int64_t columns, int64_t group, int64_t dtype) {
  const int64_t rows = 1 + below(random, 60), packed = (columns + group - 1) / group * group, tokens = 5;
  const auto data = Weight::numbers(random, (rows + 15) / 16 * 16 * packed, dtype);
  const int64_t groups = (rows + 15) / 16 * 16 * packed / group;
  const auto scales = half_scales(random, groups), offsets = half_offsets(random, groups);
  const bool affine = has_offsets(random, dtype);
  const llmrt_matrix table{data.data(), scales.data(), affine ? offsets.data() : nullptr, rows, dtype};
  std::vector<int64_t> ids(tokens);
  for (int64_t& id : ids) id = below(random, rows);
  Values out(tokens * columns);
  run("embedding", llmrt_embedding_args{ids.data(), table, out.data(), tokens, packed, columns, group});
  return {out};
}

inline Results embedding(Random& random) {
  return embedding(random, 16 * (1 + below(random, 10)), one_of(random, {32, 64}),
                   one_of<int64_t>(random, {LLMRT_INT4, LLMRT_INT8, LLMRT_FP32, LLMRT_BF16, LLMRT_FP16}));
}

inline Results nested_embedding(Random& random) {
  return embedding(random, 256 * (1 + below(random, 3)), 32, kNested[below(random, std::size(kNested))].dtype);
}

// A product and its activation; with a gate for each of its results there are twice as many rows.
template <class Args>
Results activated(const char* op, int64_t halves, Random& random) {
  const int64_t tokens = 1 + below(random, 19), columns = 16 * (1 + below(random, 8));
  const int64_t size = 16 * (1 + below(random, 12));
  const Kind kind = Kind::random(random);
  Activations x = Activations::random(random, tokens, columns, kind.group, kind.activations);
  Activations y(tokens, size, kind.group, kind.activations);
  for (float& s : x.scales) s *= 0.01f;
  const Weight weight(random, {halves * size}, columns, kind, random() % 2);
  const int64_t activation = below(random, 4);
  const Values added = normal(random, tokens * halves * size);
  const float* delta = random() % 2 ? added.data() : nullptr;
  run(op, Args{x.args(), weight.args, y.args(), tokens, activation, delta});
  return y.results();
}

inline Results gated_linear(Random& random) { return activated<llmrt_gated_linear_args>("gated_linear", 2, random); }
inline Results activated_linear(Random& random) {
  return activated<llmrt_activated_linear_args>("activated_linear", 1, random);
}

inline Results gate_rows(Random& random) {
  const int64_t tokens = 1 + below(random, 9), columns = 16 * (1 + below(random, 8)), size = 16 * (1 + below(random, 8));
  const Kind kind = Kind::random(random);
  Activations x = Activations::random(random, tokens, columns, kind.group, kind.activations);
  Activations y = Activations::random(random, tokens, size, kind.group, kind.activations);
  const Values gate = normal(random, columns, 0.01f);
  run("gate_rows", llmrt_gate_rows_args{x.args(), gate.data(), y.args(), tokens, columns});
  return y.results();
}

}  // namespace problems
