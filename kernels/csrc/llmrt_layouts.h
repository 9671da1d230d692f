// How activations, weights, keys and values lie in memory. Letters in shapes are those of llmrt_cpu.h.
#pragma once

#include <cstdint>

enum llmrt_dtype : int64_t {
  LLMRT_FP32 = 0, LLMRT_BF16 = 1, LLMRT_FP16 = 2, LLMRT_INT8 = 3, LLMRT_INT4 = 4, LLMRT_Q4_K = 5, LLMRT_Q6_K = 6,
  LLMRT_Q5_K = 7, LLMRT_Q3_K = 8, LLMRT_Q2_K = 9, LLMRT_IQ4_XS = 10, LLMRT_IQ4_NL = 11, LLMRT_Q5_0 = 12,
  LLMRT_Q5_1 = 13,
  LLMRT_NUM_DTYPES
};

// Activations [T, K] as a product takes them: int8 codes, x = scale code, a scale for each G values, padded to whole
// groups, for quantized weights; fp32 or bf16 for others, with 16 for G and neither scales nor sums.
struct llmrt_activations {
  void* values;    // [T, K], and 64 bytes more a row: rows 4096 bytes apart would meet at the same places of the first cache
  float* scales;   // [T, K/G]
  int32_t* sums;   // [T, K/G], of the codes of a group
  int32_t* q6_k;   // [T, K/G, 2], -32 times the sums of a group's first 16 codes and of the others, for forms that need them
  int64_t columns; // K, a multiple of G
  int64_t group;   // G
  int64_t dtype;
};

// A matrix in blocks of 16 rows. Codes of b bits lie in lines of 64 bytes: byte 4i+c of line h has row i's for k =
// 32/b h + 4j+c from bit b j on. Quantized, w = scale (code - zero) with the zero 8 (int4) or 128 (int8), or + offset:
//
//   int4     data [N/16, K/8, 64], k = 8h+c in the low and 8h+4+c in the high nibble
//   int8     data [N/16, K/4, 64], k = 4h+c
//   scales [N/16, K/G, 16] fp16, and offsets, or null
//
// or as GGUF's types, with activations in groups of 32. A strip is the lines of 64 columns: those of lower bits, those of
// upper bits, and one with bytes of 16 rows each, the integers s and z that a part's scale and offset are times:
//
//   q4_k     data [N/16, K/64, 8+0+1, 64]: s, z of 32 columns, s, z of the others; w = scale s code + offset z
//   q5_k     data [N/16, K/64, 8+2+1, 64], likewise
//   q6_k     data [N/16, K/64, 8+4+1, 64]: s, signed, of each 16 columns; w = scale s (code - 32)
//   q3_k     data [N/16, K/64, 4+2+1, 64], likewise; w = scale s (code - 4)
//   q2_k     data [N/16, K/64, 4+0+1, 64]: s + 16 z of each 16 columns; w = scale s code + offset z
//   iq4_xs   data [N/16, K/128, 16+0+1, 64], strips of 128 columns: s, signed, of each 32; w = scale s table[code]
//   scales [N/16, K/256, 16] fp16, and the offsets of those with a z
//
// or as its types without such integers, in strips of 32 columns:
//
//   iq4_nl   data [N/16, K/32, 4+0, 64]; w = scale table[code]
//   q5_0     data [N/16, K/32, 4+1, 64]; w = scale (code - 16)
//   q5_1     data [N/16, K/32, 4+1, 64]; w = scale code + offset
//   scales [N/16, K/32, 16] fp16, and q5_1's offsets
//
// or as it was stored, without scales:
//
//   bf16        data [N/16, K/2, 16, 2]: value 2i+c of line j is row i's for k = 2j+c
//   fp16, fp32  data [N/16, K, 16]: value i of line k is row i's
struct llmrt_matrix {
  const uint8_t* data;
  const uint16_t* scales;
  const uint16_t* offsets;
  int64_t rows;
  int64_t dtype;
};

// Matrices one above the other, of widths that may differ; all but the last have a multiple of 16 rows.
constexpr int kMaxPieces = 4;
struct llmrt_weight {
  llmrt_matrix pieces[kMaxPieces];
  int64_t num_pieces;
  int64_t rows;
  const float* bias;  // [rows] or null
};

// How keys and values are stored. Floats: both [blocks, KVH, block_size, D]. int8: a page [block_size, D] is
//
//   keys    [block_size/16, D/4, 16, 4] uint8: the packed matrix of 16 rows above, code = round(k / scale) + 128
//   values  [block_size/4, D/16, 16, 4] int8: 4 neighbouring tokens' values of a dimension stand together
//   scales  [blocks, KVH, block_size] fp32 of each
//
// Pages of keys and of values may stand apart, or alternate in memory, so that a head's keys and values are neighbours:
// from one head's page to the next it is `page_stride` values, and `scale_stride` scales.
struct llmrt_cache {
  void* k;
  void* v;
  float* k_scales;
  float* v_scales;
  int64_t kv_heads;
  int64_t head_dim;
  int64_t block_size;
  int64_t dtype;
  int64_t page_stride;
  int64_t scale_stride;
};
