// Every op of every instruction set that this processor has against the generic one, on random shapes.
#include <cstdio>
#include <sstream>
#include <string>

#include "tests/problems.h"
#include "tests/products.h"

namespace {

using namespace problems;

constexpr int kProblems = 4;  // of each op

Results joined(Results first, Results second) {
  for (Values& values : second) first.push_back(std::move(values));
  return first;
}

Results round_rows(Random& random) {
  const int64_t tokens = 1 + below(random, 9), size = 16 * (1 + below(random, 20));
  const Values x = normal(random, tokens * size, 3);
  const Kind kind = Kind::random(random);
  Activations y(tokens, size, kind.group, kind.activations);
  run("round_rows", llmrt_round_rows_args{x.data(), y.args(), tokens, size});
  return y.results();
}

Results rms_norm(Random& random) {
  const int64_t tokens = 1 + below(random, 9), size = 16 * (1 + below(random, 20));
  const Values x = normal(random, tokens * size, 3), weight = normal(random, size);
  const Kind kind = Kind::random(random);
  Activations y(tokens, size, kind.group, kind.activations);
  run("rms_norm", llmrt_rms_norm_args{x.data(), weight.data(), y.args(), tokens, size, 1e-5f});
  return y.results();
}

Results layer_norm(Random& random) {
  const int64_t tokens = 1 + below(random, 9), size = 16 * (1 + below(random, 20));
  const Values x = normal(random, tokens * size, 3), weight = normal(random, size), bias = normal(random, size);
  const Kind kind = Kind::random(random);
  Activations y(tokens, size, kind.group, kind.activations);
  run("layer_norm", llmrt_layer_norm_args{x.data(), weight.data(), bias.data(), y.args(), tokens, size, 1e-5f});
  return y.results();
}

Results rms_norm_add(Random& random) {
  const int64_t tokens = 1 + below(random, 9), size = 16 * (1 + below(random, 20));
  const Values x = normal(random, tokens * size, 3), weight = normal(random, size), residual = normal(random, tokens * size);
  Values y(tokens * size);
  run("rms_norm_add", llmrt_rms_norm_add_args{x.data(), weight.data(), residual.data(), y.data(), tokens, size, 1e-5f});
  return {y};
}

Results add_rows(Random& random) {
  const int64_t tokens = 1 + below(random, 9), size = 16 * (1 + below(random, 20)), rows = 7;
  const Values x = normal(random, tokens * size), table = normal(random, rows * size);
  std::vector<int64_t> index(tokens);
  for (int64_t& row : index) row = below(random, rows);
  Values y(tokens * size);
  run("add_rows", llmrt_add_rows_args{x.data(), table.data(), index.data(), y.data(), tokens, size});
  return {y};
}

Results add_scaled(Random& random) {
  const int64_t tokens = 1 + below(random, 9), size = 16 * (1 + below(random, 20));
  const Values x = normal(random, tokens * size), residual = normal(random, tokens * size);
  Values y(tokens * size);
  run("add_scaled", llmrt_add_scaled_args{x.data(), residual.data(), y.data(), tokens, size, 0.22f});
  return {y};
}

Results stream_norm(Random& random) {
  const int64_t tokens = 1 + below(random, 9), size = 16 * (1 + below(random, 20));
  const Values x = normal(random, tokens * size, 3), weight = normal(random, size), bias = normal(random, size);
  Values y(tokens * size);
  run("stream_norm", llmrt_stream_norm_args{x.data(), weight.data(), bias.data(), y.data(), tokens, size, 1e-5f});
  return {y};
}

Results scale(Random& random) {
  Values y = normal(random, 1 + below(random, 900), 30);
  run("scale", llmrt_scale_args{y.data(), static_cast<int64_t>(y.size()), 0.7f, one_of(random, {0.0f, 20.0f})});
  return {y};
}

Results rotary_linear(Random& random, int64_t dtype) {
  const int64_t kv_heads = 1 + below(random, 3), heads = kv_heads * (1 + below(random, 3));
  const int64_t dim = 32 * (1 + below(random, 4)), block_size = one_of(random, {16, 64}), blocks = 5;
  const int64_t tokens = 1 + below(random, 19), columns = 16 * (1 + below(random, 8));
  const Kind kind = Kind::random(random);
  Activations x = Activations::random(random, tokens, columns, kind.group, kind.activations);
  const Weight weight(random, {(heads + kv_heads) * dim, kv_heads * dim}, columns, kind, random() % 2);
  Cache cache(random, dtype, blocks, kv_heads, dim, block_size);
  std::vector<int64_t> positions(tokens), slots(blocks * block_size);
  for (int64_t& position : positions) position = below(random, 40);
  std::iota(slots.begin(), slots.end(), 0);
  std::shuffle(slots.begin(), slots.end(), random);
  const Values cos_sin = normal(random, 40 * dim);
  const Values norms = normal(random, (heads + kv_heads) * dim);
  const float* norm = random() % 2 ? norms.data() : nullptr;
  const int64_t centred = random() % 2;
  const Values added = normal(random, tokens * (heads + 2 * kv_heads) * dim);
  const float* delta = random() % 2 ? added.data() : nullptr;
  Values q(tokens * heads * dim);
  run("rotary_linear", llmrt_rotary_linear_args{x.args(), weight.args, positions.data(), cos_sin.data(), slots.data(),
                                                cache.args, q.data(), tokens, heads, norm,
                                                norm ? norm + (centred ? heads : 1) * dim : norm, 1e-5f, centred,
                                                delta});
  const Values product = normal(random, tokens * (heads + 2 * kv_heads) * dim);
  Values q_of_rows(q.size());
  run("rope_kv_write", llmrt_rope_kv_write_args{product.data(), positions.data(), cos_sin.data(), slots.data() + tokens,
                                                cache.args, q_of_rows.data(), tokens, heads, norms.data(),
                                                norms.data() + heads * dim, 1e-5f});
  return joined({q, q_of_rows}, cache.results());
}

Results paged_attention(Random& random, int64_t dtype) {
  const int64_t kv_heads = 1 + below(random, 3), heads = kv_heads * (1 + below(random, 6));
  const int64_t dim = 16 * (1 + below(random, 8)), block_size = one_of(random, {16, 64});
  const std::vector<int64_t> fresh{1, 1, 5, 9, 70, 1}, lengths{1, 1100, 5, 77, 130, 40};
  const auto requests = static_cast<int64_t>(fresh.size());
  const int64_t width = (1100 + block_size - 1) / block_size, blocks = requests * width;
  std::vector<int64_t> table(blocks), starts{0};
  std::iota(table.begin(), table.end(), 0);
  std::shuffle(table.begin(), table.end(), random);
  for (int64_t count : fresh) starts.push_back(starts.back() + count);
  const int64_t tokens = starts.back(), max_pieces = 16;
  const Values q = normal(random, tokens * heads * dim);
  const Cache cache(random, dtype, blocks, kv_heads, dim, block_size);
  const int64_t window = one_of<int64_t>(random, {0, 5, 50});
  const float cap = one_of(random, {0.0f, 2.0f});
  const Values slopes = normal(random, heads);
  const float* slope = random() % 2 ? slopes.data() : nullptr;
  Values out(q.size()), alone(q.size()), partial(tokens * max_pieces * heads * (dim + 17));
  Activations y(tokens, heads * dim, 32);
  const auto attend = [&](int64_t row, int64_t b, const int64_t* from, const int64_t* lens, Values& to, int64_t rows,
                          int64_t count) {
    run("paged_attention", llmrt_paged_attention_args{&q[row * heads * dim], cache.args, &table[b * width], from, lens,
                                                      &to[row * heads * dim], partial.data(), y.args(row), rows, count,
                                                      width, heads, max_pieces, window, 0.1f, cap, slope});
  };
  attend(0, 0, starts.data(), lengths.data(), out, tokens, requests);
  const Results rounded = y.results();
  const int64_t one[] = {0, 1};
  alone = out;
  for (int64_t b = 0; b < requests; ++b)
    for (int64_t i = 0; i < fresh[b] && fresh[b] < 16; ++i) {
      const int64_t length = lengths[b] - fresh[b] + i + 1;
      attend(starts[b] + i, b, one, &length, alone, 1, 1);
    }
  return joined({out, differences(out, alone)}, rounded);
}

Results argmax(Random& random) {
  const int64_t tokens = 1 + below(random, 5), size = 1 + below(random, 9000);
  const Values x = normal(random, tokens * size);
  std::vector<int64_t> finds(tokens * ((size + 4095) / 4096)), out(tokens);
  run("argmax", llmrt_argmax_args{x.data(), finds.data(), out.data(), tokens, size});
  return {Values(out.begin(), out.end())};
}

Results sample(Random& random) {
  const int64_t tokens = 1 + below(random, 5), size = 1 + below(random, 9000);
  const Values x = normal(random, tokens * size, 3);
  Values temperature(tokens), top_p(tokens), min_p(tokens);
  std::vector<int32_t> top_k(tokens);
  std::vector<int64_t> seeds(tokens), draws(tokens), out(tokens);
  for (int64_t t = 0; t < tokens; ++t) {
    temperature[t] = one_of(random, {0.0f, 0.7f, 9.0f});
    top_p[t] = one_of(random, {0.5f, 0.95f, 1.0f});
    min_p[t] = one_of(random, {0.0f, 0.1f});
    top_k[t] = one_of(random, {0, 1, 40});
    seeds[t] = below(random, 1000);
    draws[t] = below(random, 1000);
  }
  run("sample", llmrt_sample_args{x.data(), temperature.data(), top_k.data(), top_p.data(), min_p.data(), seeds.data(),
                                  draws.data(), out.data(), tokens, size});
  return {Values(out.begin(), out.end())};
}

Results quantize(Random& random) {
  const int32_t bits = one_of(random, {4, 8}), group = one_of(random, {32, 64});
  const int64_t rows = 1 + below(random, 50), columns = 1 + below(random, 200);
  const int64_t blocks = (rows + 15) / 16, packed = (columns + group - 1) / group * group;
  const Values weight = normal(random, rows * columns);
  std::vector<uint8_t> data(blocks * packed * 2 * bits);
  std::vector<uint16_t> scales(blocks * packed / group * 16);
  run("quantize", llmrt_quantize_args{weight.data(), nullptr, nullptr, nullptr, data.data(), scales.data(), rows, columns,
                                      packed, 0, LLMRT_FP32, bits, group});
  Values wide;
  for (uint16_t s : scales) wide.push_back(from_half(s));
  return {Values(data.begin(), data.end()), wide};
}

struct FileType {
  llmrt_gguf_type type;
  int64_t columns, bytes, lines, numbers_at;  // d and m, or what is beside d
};

Results repack(Random& random, const FileType& t) {
  const int64_t blocks = 1 + below(random, 4), groups = 1 + below(random, 5), count = 16 * blocks * groups;
  auto stored = bytes(random, count * t.bytes);
  for (int64_t i = 0; i < count; ++i) std::memcpy(&stored[i * t.bytes + t.numbers_at], half_scales(random, 2).data(), 4);
  std::vector<const uint8_t*> rows(16 * blocks);
  for (const uint8_t*& row : rows) row = &stored[below(random, 16 * blocks) * groups * t.bytes];
  std::vector<uint8_t> data(blocks * groups * t.lines * 64);
  std::vector<uint16_t> scales(count), offsets(count);
  run("repack", llmrt_repack_args{rows.data(), data.data(), scales.data(), offsets.data(), blocks, groups * t.columns, t.type});
  return {Values(data.begin(), data.end()), Values(scales.begin(), scales.end()), Values(offsets.begin(), offsets.end())};
}

Results repack(Random& random) {
  Results all;
  for (const FileType& type : {FileType{LLMRT_GGUF_Q4_0, 32, 18, 4, 0}, {LLMRT_GGUF_Q4_1, 32, 20, 4, 0},
                               {LLMRT_GGUF_Q5_0, 32, 22, 5, 0}, {LLMRT_GGUF_Q5_1, 32, 24, 5, 0},
                               {LLMRT_GGUF_Q8_0, 32, 34, 8, 0}, {LLMRT_GGUF_IQ4_NL, 32, 18, 4, 0},
                               {LLMRT_GGUF_Q2_K, 256, 84, 20, 80}, {LLMRT_GGUF_Q3_K, 256, 110, 28, 106},
                               {LLMRT_GGUF_Q4_K, 256, 144, 36, 0}, {LLMRT_GGUF_Q5_K, 256, 176, 44, 0},
                               {LLMRT_GGUF_Q6_K, 256, 210, 52, 206}, {LLMRT_GGUF_IQ4_XS, 256, 136, 34, 0}})
    all = joined(std::move(all), repack(random, type));
  return all;
}

Results read_memory(Random& random) {
  auto data = bytes(random, 64 * 5000);
  for (uint8_t& x : data) x &= 15;
  int64_t sums[3] = {};
  run("read_memory", llmrt_read_memory_args{data.data(), static_cast<int64_t>(data.size()), 1024, sums});
  return {{static_cast<float>(sums[0] + sums[1] + sums[2])}};
}

Results multiply(Random& random) {
  int64_t sums[3] = {};
  run("multiply", llmrt_multiply_args{1000 + below(random, 99), one_of<int64_t>(random, {6, 12}),
                                      one_of<int64_t>(random, {LLMRT_INT8, LLMRT_BF16, LLMRT_FP32}), sums});
  return {Values(sums, sums + 3)};
}

template <int64_t kDtype>
Results rotary_linear_of(Random& random) { return rotary_linear(random, kDtype); }
template <int64_t kDtype>
Results paged_attention_of(Random& random) { return paged_attention(random, kDtype); }

// Where results are rounded to codes, sums in another order may move some by a step.
struct Case {
  const char* name;
  double tolerance;
  Results (*results)(Random&);
};
constexpr Case kCases[] = {
    {"round_rows", 1e-6, round_rows},
    {"rms_norm", 2e-3, rms_norm},
    {"layer_norm", 2e-3, layer_norm},
    {"rms_norm_add", 2e-6, rms_norm_add},
    {"add_rows", 0, add_rows},
    {"add_scaled", 2e-6, add_scaled},
    {"stream_norm", 2e-6, stream_norm},
    {"scale", 2e-6, scale},
    {"linear int8", 2e-6, linear_of<LLMRT_INT8>},
    {"linear nested", 2e-6, nested_linear},
    {"linear bf16", 2e-6, linear_of<LLMRT_BF16>},
    {"linear fp32", 2e-6, linear_of<LLMRT_FP32>},
    {"lora", 2e-6, lora},
    {"embedding", 0, embedding},
    {"embedding nested", 0, nested_embedding},
    {"gated_linear", 2e-3, gated_linear},
    {"activated_linear", 2e-3, activated_linear},
    {"gate_rows", 1e-4, gate_rows},
    {"rotary_linear fp32", 2e-6, rotary_linear_of<LLMRT_FP32>},
    {"rotary_linear bf16", 1e-4, rotary_linear_of<LLMRT_BF16>},
    {"rotary_linear fp16", 1e-5, rotary_linear_of<LLMRT_FP16>},
    {"rotary_linear int8", 1e-3, rotary_linear_of<LLMRT_INT8>},
    {"paged_attention fp32", 2e-3, paged_attention_of<LLMRT_FP32>},
    {"paged_attention bf16", 2e-3, paged_attention_of<LLMRT_BF16>},
    {"paged_attention fp16", 2e-3, paged_attention_of<LLMRT_FP16>},
    {"paged_attention int8", 5e-3, paged_attention_of<LLMRT_INT8>},
    {"argmax", 0, argmax},
    {"sample", 0, sample},
    {"quantize", 2e-2, quantize},
    {"repack", 0, repack},
    {"read_memory", 0, read_memory},
    {"multiply", 0, multiply},
};

// The largest relative error of any result.
double error(const Results& actual, const Results& expected) {
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    double off = 0, size = 1e-30;
    for (size_t j = 0; j < expected[i].size(); ++j) {
      off += std::pow(static_cast<double>(actual[i][j]) - expected[i][j], 2);
      size += std::pow(static_cast<double>(expected[i][j]), 2);
    }
    if (!(std::sqrt(off / size) <= worst)) worst = std::sqrt(off / size);
  }
  return worst;
}

bool compare(const std::string& isa, const Case& c) {
  double worst = 0;
  for (unsigned seed = 0; seed < kProblems; ++seed) {
    Random first(seed), second(seed);
    llmrt_choose_isa("generic");
    const Results expected = c.results(first);
    llmrt_choose_isa(isa.c_str());
    const double found = error(c.results(second), expected);
    if (!(found <= worst)) worst = found;
  }
  const bool good = worst <= c.tolerance;
  std::printf("%-14s %-22s %.1e %s\n", isa.c_str(), c.name, worst, good ? "" : "TOO FAR");
  return good;
}

}  // namespace

int main() {
  llmrt_set_threads(3);
  bool good = true;
  std::istringstream isas(llmrt_available_isas());
  for (std::string isa; std::getline(isas, isa, ',');)
    if (isa != "generic")
      for (const Case& c : kCases) good = compare(isa, c) && good;
  return good ? 0 : 1;
}
