// The C ABI of llmrt's CPU kernels.
//
// A call is a function and the address of its arguments. llmrt_run executes a list of calls on the thread pool, one
// after the other: its threads enter every call, take their shares, and meet at its end. A list that is kept and run
// again is a tape: it is to the CPU what a captured graph is to a GPU. Arguments are plain structs that the caller
// owns; pointers in them must stay valid as long as the list is run.
//
// Letters in shapes: T tokens, B requests, H query heads, KVH key/value heads, D head dimension, N rows and K columns
// of a weight, G values that share a scale, E experts. Tensors are contiguous, activations fp32, indices int64.
#pragma once

#include <cstdint>

#include "llmrt_layouts.h"

#define LLMRT_EXPORT extern "C" __attribute__((visibility("default")))

namespace llmrt {
class Context;
}

using llmrt_function = void (*)(const void* args, llmrt::Context& context);

struct llmrt_call {
  llmrt_function function;
  const void* args;
};

// out[t] = row token_ids[t] of a table laid out as a matrix.
struct llmrt_embedding_args {
  const int64_t* token_ids;
  llmrt_matrix table;
  float* out;
  int64_t tokens;
  int64_t columns;      // K of the table
  int64_t out_columns;  // values of a row that are wanted
  int64_t group;
};

// y = x / sqrt(mean(x^2) + eps) * weight. x [T, N].
struct llmrt_rms_norm_args {
  const float* x;
  const float* weight;
  llmrt_activations y;
  int64_t tokens;
  int64_t size;
  float eps;
};

// y = (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias. x [T, N].
struct llmrt_layer_norm_args {
  const float* x;
  const float* weight;
  const float* bias;
  llmrt_activations y;
  int64_t tokens;
  int64_t size;
  float eps;
};

// y = residual + x / sqrt(mean(x^2) + eps) * weight. x, residual, y [T, N], N a multiple of 16.
struct llmrt_rms_norm_add_args {
  const float* x;
  const float* weight;
  const float* residual;
  float* y;
  int64_t tokens;
  int64_t size;
  float eps;
};

// y[t] = x[t] + table[index[t]]. x, y [T, N], table [P, N], N a multiple of 16.
struct llmrt_add_rows_args {
  const float* x;
  const float* table;
  const int64_t* index;
  float* y;
  int64_t tokens;
  int64_t size;
};

// y = residual + factor x. x, residual, y [T, N], N a multiple of 16.
struct llmrt_add_scaled_args {
  const float* x;
  const float* residual;
  float* y;
  int64_t tokens;
  int64_t size;
  float factor;
};

// y = (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias, of fp32. x, y [T, N], N a multiple of 16.
struct llmrt_stream_norm_args {
  const float* x;
  const float* weight;
  const float* bias;
  float* y;
  int64_t tokens;
  int64_t size;
  float eps;
};

// y = factor x where it is, then y = cap tanh(y / cap) if the cap is not 0.
struct llmrt_scale_args {
  float* y;
  int64_t count;
  float factor;
  float cap;
};

// y = x [T, N].
struct llmrt_round_rows_args {
  const float* x;
  llmrt_activations y;
  int64_t tokens;
  int64_t size;
};

// y[t, n] = sum_k x[t, k] w[n, k] + bias[n] + residual[t, n], the last two if there are any. y, residual [T, N].
struct llmrt_linear_args {
  llmrt_activations x;
  llmrt_weight weight;
  const float* residual;
  float* y;
  int64_t tokens;
};

enum llmrt_activation : int64_t { LLMRT_SILU = 0, LLMRT_RELU = 1, LLMRT_GELU = 2, LLMRT_GELU_TANH = 3 };

// y [T, I] = activation(x Wg^T) * (x Wu^T). `weight` [2 I, K] has, for each group of y, its rows of Wg and then
// those of Wu. `delta` [T, 2 I], if there is one, is added to the products: all of Wg's, then all of Wu's.
struct llmrt_gated_linear_args {
  llmrt_activations x;
  llmrt_weight weight;
  llmrt_activations y;
  int64_t tokens;
  int64_t activation;
  const float* delta;
};

// y [T, I] = activation(x W^T + bias + delta), I a multiple of 16; `delta` [T, I] may be null.
struct llmrt_activated_linear_args {
  llmrt_activations x;
  llmrt_weight weight;
  llmrt_activations y;
  int64_t tokens;
  int64_t activation;
  const float* delta;
};

// The product with W [(H + 2 KVH) D, K]; queries and keys rotated (half-split RoPE), keys and values written to the
// cache. q [T, H, D]; cos_sin [P, 2, D/2]. If there are norms [D], heads of queries and keys are normalised before that,
// by LayerNorm without a bias and norms [H, D] and [KVH, D] if `centred`.
// `delta` [T, (H + 2 KVH) D], if there is one, is added to the product.
struct llmrt_rotary_linear_args {
  llmrt_activations x;
  llmrt_weight weight;
  const int64_t* positions;
  const float* cos_sin;
  const int64_t* slot_mapping;
  llmrt_cache cache;
  float* q;
  int64_t tokens;
  int64_t heads;
  const float* q_norm;
  const float* k_norm;
  float norm_eps;
  int64_t centred;
  const float* delta;
};

// The same of a product [T, (H + 2 KVH) D] that is known, all heads of a token's queries and all of its keys normalised
// at once: q_norm [H D], k_norm [KVH D].
struct llmrt_rope_kv_write_args {
  const float* qkv;
  const int64_t* positions;
  const float* cos_sin;
  const int64_t* slot_mapping;
  llmrt_cache cache;
  float* q;
  int64_t tokens;
  int64_t heads;
  const float* q_norm;
  const float* k_norm;
  float norm_eps;
};

// What an adapter adds to the outputs of a product from `start` on: b (a x), a [R, K] and b [N, R] of floats, R and N
// multiples of 16.
struct llmrt_low_rank {
  llmrt_matrix a;
  llmrt_matrix b;
  int64_t start;
};
struct llmrt_adapter {
  llmrt_low_rank pieces[kMaxPieces];
  int64_t num_pieces;
};

// y[t] = residual[t] + what its adapter adds. residual (or null for zeros), y [T, N]; adapters [T], where one that the
// table does not have adds nothing. `wide` is room for [T, K] in fp32, `shrunk` for [kMaxPieces, T, max_rank + 16]; no rank is above `max_rank`.
struct llmrt_lora_args {
  llmrt_activations x;
  const int64_t* adapters;
  const llmrt_adapter* table;
  int64_t num_adapters;
  int64_t max_rank;
  llmrt_activations wide;
  float* shrunk;
  const float* residual;
  float* y;
  int64_t tokens;
  int64_t rows;  // N
};

// The choices of a mixture of experts, k for each token: pairs of a token and an expert, which get rows of their own,
// sorted by expert and then by token, so that an expert's tokens stand together.
struct llmrt_routing {
  float* weights;    // [T, k]
  int64_t* experts;  // [T, k], the likeliest first
  int64_t* rows;     // [T, k], where the pair is among the T k sorted ones
  int64_t* starts;   // [E + 1], the first row of each expert; the last is T k
  int64_t tokens;
  int64_t num_experts;
  int64_t num_active;  // k
};

// Fills `routing` with the k largest of softmax(x router^T), divided by their sum if `renormalize`, and y with the tokens
// of the pairs. router [E, N]; y [T k, N].
struct llmrt_route_args {
  llmrt_activations x;
  const float* router;
  llmrt_routing routing;
  llmrt_activations y;
  int64_t size;  // N, a multiple of 16
  int64_t renormalize;
};

// y[t] is multiplied by sigmoid(x[t] . gate) where it is. x [T, N], N a multiple of 16; y of the type of x.
struct llmrt_gate_rows_args {
  llmrt_activations x;
  const float* gate;
  llmrt_activations y;
  int64_t tokens;
  int64_t size;  // N
};

// llmrt_gated_linear of each pair with its expert's matrix. `weight` has those of all experts, one above the other; each
// has whole blocks. x, y: sorted pairs.
struct llmrt_expert_gated_linear_args {
  llmrt_activations x;
  llmrt_weight weight;
  llmrt_routing routing;
  llmrt_activations y;
};

// y[t] = residual[t] + the sum over its choices of weight times the product of the pair with its expert's matrix [N, K].
// x: sorted pairs; `products` [T k, N] is for those; residual, y [T, N]; N is a multiple of 16.
struct llmrt_expert_linear_args {
  llmrt_activations x;
  llmrt_weight weight;
  llmrt_routing routing;
  float* products;
  const float* residual;
  float* y;
};

// How attention is cut into work. What `partial` below must have room for follows from these.
enum llmrt_attention_cuts : int64_t {
  LLMRT_FEW_QUERIES = 16,   // of a request whose chunks are computed side by side, at most
  LLMRT_CHUNK_KEYS = 1024,  // of a chunk, at least
  LLMRT_MOST_CHUNKS = 32    // of a query
};

// Causal grouped-query attention over pages; see the reference for the formula. q, out [T, H, D]; block_table
// [B, table_width]; cu_seqlens_q [B+1]; seq_lens [B]. `partial` [queries, H, max_pieces (D + 17)] holds the pieces of all
// queries of requests that have LLMRT_FEW_QUERIES or less, one for each chunk of keys. y is `out` as the product that
// follows takes it.
struct llmrt_paged_attention_args {
  const float* q;
  llmrt_cache cache;
  const int64_t* block_table;
  const int64_t* cu_seqlens_q;
  const int64_t* seq_lens;
  float* out;
  float* partial;
  llmrt_activations y;
  int64_t tokens;
  int64_t requests;
  int64_t table_width;
  int64_t heads;
  int64_t max_pieces;      // of the longest table: its chunks of LLMRT_CHUNK_KEYS, or LLMRT_MOST_CHUNKS; and one
  int64_t sliding_window;  // 0 for none
  float scale;
  float cap;  // makes cap tanh(s / cap) of a score s; 0 for none
  const float* slopes;  // [H], of ALiBi: a score with the key at j has slope (j - position) added; null for none
};

// out[t] = the index of the largest of x[t], the first of equals. x [T, N]; finds [T, N / 4096 rounded up].
struct llmrt_argmax_args {
  const float* x;
  int64_t* finds;
  int64_t* out;
  int64_t tokens;
  int64_t size;
};

// out[t] = a token drawn from the logits x[t]: number draws[t] of the stream of seeds[t]. A temperature of 0 takes the
// likeliest; top_k 0, top_p 1 and min_p 0 leave all in. x [T, N]; all others [T].
struct llmrt_sample_args {
  const float* x;
  const float* temperature;
  const int32_t* top_k;
  const float* top_p;
  const float* min_p;
  const int64_t* seeds;
  const int64_t* draws;
  int64_t* out;
  int64_t tokens;
  int64_t size;
};

// Quantizes weight [rows, columns] into `data` and `scales`, laid out as for llmrt_linear_args with columns padded to
// `packed_columns`, a multiple of the group; every zero is 8 (bits 4) or 128 (bits 8). `importance` [columns] weighs
// errors, null for all alike. `directions` and `correction` [columns, rank] carry the error of columns done over to
// those that follow; null, with rank 0, for none. Groups have at most 64 values.
struct llmrt_quantize_args {
  const void* weight;  // of `dtype`
  const float* importance;
  const float* directions;
  const float* correction;
  uint8_t* data;
  uint16_t* scales;
  int64_t rows;
  int64_t columns;
  int64_t packed_columns;
  int64_t rank;
  int64_t dtype;
  int32_t bits;
  int32_t group;
};

// Types of a GGUF file, by the numbers that it has for them.
enum llmrt_gguf_type : int64_t {
  LLMRT_GGUF_Q4_0 = 2, LLMRT_GGUF_Q4_1 = 3, LLMRT_GGUF_Q5_0 = 6, LLMRT_GGUF_Q5_1 = 7, LLMRT_GGUF_Q8_0 = 8,
  LLMRT_GGUF_Q2_K = 10, LLMRT_GGUF_Q3_K = 11, LLMRT_GGUF_Q4_K = 12, LLMRT_GGUF_Q5_K = 13, LLMRT_GGUF_Q6_K = 14,
  LLMRT_GGUF_IQ4_NL = 20, LLMRT_GGUF_IQ4_XS = 23
};

// A matrix out of a GGUF file, where row i of K columns lies at rows[i], laid out as llmrt_matrix: as int4 or int8 if its
// type is in blocks of 32 columns, else as the form of the type's name. `offsets` are those of types that have some.
struct llmrt_repack_args {
  const uint8_t* const* rows;  // [N], whole blocks
  uint8_t* data;
  uint16_t* scales;
  uint16_t* offsets;
  int64_t blocks;  // N / 16
  int64_t columns;
  int64_t type;
};

// Reads `bytes` of memory once, for measuring, and asks for each `ahead` bytes early if that is not 0. sums [threads]
// hold something made of what was read.
struct llmrt_read_memory_args {
  const uint8_t* data;
  int64_t bytes;
  int64_t ahead;
  int64_t* sums;
};

// Every thread multiplies 16 lanes `chains` `turns` times, for measuring: four pairs of bytes in each lane (LLMRT_INT8),
// two of bf16, or one of fp32. `chains` (6 or 12) sums are independent of each other: few registers hold no more than 6,
// long latencies want 12. sums [threads] as above.
struct llmrt_multiply_args {
  int64_t turns;
  int64_t chains;
  int64_t dtype;
  int64_t* sums;
};

// Runs the calls on all threads; returns when the last is done. Not reentrant: one caller at a time.
LLMRT_EXPORT void llmrt_run(const llmrt_call* calls, int64_t count);

// The implementation of an op for the chosen instruction set, or null if there is no such op.
LLMRT_EXPORT llmrt_function llmrt_find(const char* op);

// Chooses an instruction set by name; null takes the best that the processor has. Returns the name chosen, or null
// if this build or this processor lacks the one asked for.
LLMRT_EXPORT const char* llmrt_choose_isa(const char* name);

// The instruction sets that this build and this processor share, best first, separated by commas.
LLMRT_EXPORT const char* llmrt_available_isas();

// Sets the number of threads, the caller among them.
LLMRT_EXPORT void llmrt_set_threads(int32_t threads);
