// Rows of a GGUF file, as they lie there, into blocks of 16: codes, scales and offsets are the file's.
#pragma once

#include <cstring>

#include "llmrt_cpu.h"
#include "ops/gguf_forms.h"
#include "thread_pool.h"

namespace llmrt::LLMRT_ISA {

// kBits of codes, from bit kFrom of each byte on, in lines.
template <int kBits, int kFrom = 0>
inline void put_lines(const gguf::Word* codes, int64_t columns, gguf::Word*& lines) {
  constexpr int kWords = 8 / kBits;
  for (int64_t h = 0; h < columns * kBits / 32; ++h, codes += kWords, ++lines)
    for (int r = 0; r < 16; ++r) {
      uint32_t line = 0;
      for (int j = 0; j < kWords; ++j) line |= (codes[j][r] >> kFrom & gguf::each_byte((1 << kBits) - 1)) << kBits * j;
      (*lines)[r] = line;
    }
}

// The first bytes of 16 rows, their second, and so on.
inline void put_integers(const gguf::Word& integers, gguf::Word*& lines) {
  auto* bytes = reinterpret_cast<uint8_t*>(*lines++);
  for (int i = 0; i < 4; ++i)
    for (int r = 0; r < 16; ++r) bytes[16 * i + r] = static_cast<uint8_t>(integers[r] >> 8 * i);
}

template <class Form>
inline void put_block(const gguf::Word* words, gguf::Word* lines) {
  gguf::Word codes[Form::kColumns / 4], integers[4];
  Form::codes(words, codes);
  Form::integers(words, integers);
  constexpr int kColumns = Form::kStrip == 0 ? Form::kColumns : Form::kStrip;
  for (int strip = 0; strip < Form::kColumns / kColumns; ++strip) {
    const gguf::Word* here = codes + strip * kColumns / 4;
    put_lines<Form::kLower>(here, kColumns, lines);
    if constexpr (Form::kUpper != 0) put_lines<Form::kUpper, Form::kLower>(here, kColumns, lines);
    if constexpr (Form::kStrip != 0) put_integers(integers[strip], lines);
  }
}

inline uint16_t half_at(const uint8_t* p) {
  uint16_t half;
  std::memcpy(&half, p, sizeof half);
  return half;
}

template <class Form>
inline void repack_rows(const llmrt_repack_args& a, int64_t block) {
  constexpr int kStrips = Form::kStrip == 0 ? 0 : Form::kColumns / Form::kStrip;
  constexpr int kLines = Form::kColumns * (Form::kLower + Form::kUpper) / 32 + kStrips;
  const int64_t groups = a.columns / Form::kColumns;
  for (int64_t g = 0; g < groups; ++g) {
    gguf::Word words[Form::kWords], lines[kLines];
    uint16_t d[16], m[16];
    for (int r = 0; r < 16; ++r) {
      const uint8_t* from = a.rows[16 * block + r] + g * Form::kBytes;
      uint32_t row[Form::kWords];
      std::memcpy(row, from + Form::kWordsAt, sizeof row);
      for (int i = 0; i < Form::kWords; ++i) words[i][r] = row[i];
      d[r] = half_at(from + Form::kScaleAt);
      m[r] = half_at(from + Form::kOffsetAt);
    }
    put_block<Form>(words, lines);
    const int64_t at = block * groups + g;
    std::memcpy(a.data + at * sizeof lines, lines, sizeof lines);
    std::memcpy(a.scales + 16 * at, d, sizeof d);
    if constexpr (Form::kAffine) store_fp16(a.offsets + 16 * at, Form::offset(load_fp16(d), load_fp16(m)));
  }
}

template <class Form>
inline void repack_as(const llmrt_repack_args& a, Context& context) {
  context.share(a.blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) repack_rows<Form>(a, block);
  });
}

inline void repack(const llmrt_repack_args& a, Context& context) {
  switch (a.type) {
    case LLMRT_GGUF_Q4_0: return repack_as<gguf::Q4_0>(a, context);
    case LLMRT_GGUF_Q4_1: return repack_as<gguf::Q4_1>(a, context);
    case LLMRT_GGUF_Q5_0: return repack_as<gguf::Q5_0>(a, context);
    case LLMRT_GGUF_Q5_1: return repack_as<gguf::Q5_1>(a, context);
    case LLMRT_GGUF_Q8_0: return repack_as<gguf::Q8_0>(a, context);
    case LLMRT_GGUF_Q2_K: return repack_as<gguf::Q2_K>(a, context);
    case LLMRT_GGUF_Q3_K: return repack_as<gguf::Q3_K>(a, context);
    case LLMRT_GGUF_Q4_K: return repack_as<gguf::Q4_K>(a, context);
    case LLMRT_GGUF_Q5_K: return repack_as<gguf::Q5_K>(a, context);
    case LLMRT_GGUF_Q6_K: return repack_as<gguf::Q6_K>(a, context);
    case LLMRT_GGUF_IQ4_NL: return repack_as<gguf::IQ4_NL>(a, context);
    case LLMRT_GGUF_IQ4_XS: return repack_as<gguf::IQ4_XS>(a, context);
  }
}

}  // namespace llmrt::LLMRT_ISA
