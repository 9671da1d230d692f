// How a GGUF file keeps a row of each of its types: blocks of columns, of which a form says where their words, the scale d
// and perhaps an m lie, what codes the words hold, and what integers a strip has (see llmrt_matrix). Codes are four columns a
// word, a byte each. Formulas: ggml-quants.c of https://github.com/ggml-org/llama.cpp.
#pragma once

#include <cstdint>
#include <cstring>

#include "llmrt_cpu.h"

namespace llmrt::LLMRT_ISA::gguf {

using Word = uint32_t[16];  // one of each of 16 rows

// Bits of every byte.
constexpr uint32_t each_byte(uint32_t bits) { return 0x01010101 * bits; }

// The low halves of bytes, and then the high ones.
inline void nibbles(const Word* packed, int count, Word* codes) {
  for (int i = 0; i < count; ++i)
    for (int r = 0; r < 16; ++r) {
      codes[i][r] = packed[i][r] & each_byte(15);
      codes[count + i][r] = packed[i][r] >> 4 & each_byte(15);
    }
}

// Adds bits of codes: a byte of the eight words has kBits each of `turns` values that are 32 columns apart, to be put at
// kPlace.
template <int kBits, int kPlace>
inline void add_bits(const Word* packed, int turns, Word* codes) {
  for (int i = 0; i < turns; ++i)
    for (int j = 0; j < 8; ++j)
      for (int r = 0; r < 16; ++r)
        codes[8 * i + j][r] |= (packed[j][r] >> kBits * i & each_byte((1 << kBits) - 1)) << kPlace;
}

// Two bits of each of 256 columns.
inline void two_bits(const Word* packed, Word* codes) {
  for (int i = 0; i < 64; ++i)
    for (int r = 0; r < 16; ++r) codes[i][r] = packed[i / 32 * 8 + i % 8][r] >> i / 8 % 4 * 2 & each_byte(3);
}

struct Form {
  static constexpr bool kAffine = false;
  static constexpr int kScaleAt = 0, kOffsetAt = 0;
  static constexpr int kUpper = 0;   // bits of a code in lines of their own
  static constexpr int kStrip = 0;   // columns whose integers stand together, 0 for no integers
  static void integers(const Word*, Word*) {}
  static Float offset(Float, Float m) { return m; }
};

template <int kAt>
struct Nibbles : Form {
  static constexpr int kColumns = 32, kBytes = kAt + 16, kWordsAt = kAt, kWords = 4, kLower = 4;
  static void codes(const Word* words, Word* codes) { nibbles(words, 4, codes); }
};

using Q4_0 = Nibbles<2>;    // d q[16]: w = d (q - 8)
using IQ4_NL = Nibbles<2>;  // d q[16]: w = d value[q]

struct Q4_1 : Nibbles<4> {  // d m q[16]: w = d q + m
  static constexpr bool kAffine = true;
  static constexpr int kOffsetAt = 2;
  static Float offset(Float d, Float m) { return add(m, mul(set1(8), d)); }
};

template <int kAt>
struct FiveBits : Form {
  static constexpr int kColumns = 32, kBytes = kAt + 20, kWordsAt = kAt, kWords = 5, kLower = 4, kUpper = 1;
  static void codes(const Word* words, Word* codes) {
    nibbles(words + 1, 4, codes);
    for (int j = 0; j < 8; ++j)
      for (int r = 0; r < 16; ++r) {
        const uint32_t bits = words[0][r] >> 4 * j & 15;
        codes[j][r] |= (bits * 0x00204081 & each_byte(1)) << 4;  // one to each byte
      }
  }
};

using Q5_0 = FiveBits<2>;  // d qh[4] q[16]: w = d (q - 16)

struct Q5_1 : FiveBits<4> {  // d m qh[4] q[16]: w = d q + m
  static constexpr bool kAffine = true;
  static constexpr int kOffsetAt = 2;
};

struct Q8_0 : Form {  // d q[32]: w = d q, q int8
  static constexpr int kColumns = 32, kBytes = 34, kWordsAt = 2, kWords = 8, kLower = 8;
  static void codes(const Word* words, Word* codes) {
    for (int j = 0; j < 8; ++j)
      for (int r = 0; r < 16; ++r) codes[j][r] = words[j][r] ^ each_byte(128);
  }
};

struct Q2_K : Form {  // sz[16] q[64] d m: w = d s q - m z, an s and a z for 16 values
  static constexpr bool kAffine = true;
  static constexpr int kColumns = 256, kBytes = 84, kScaleAt = 80, kOffsetAt = 82, kWordsAt = 0, kWords = 20;
  static constexpr int kLower = 2, kStrip = 64;
  static Float offset(Float, Float m) { return sub(set1(0), m); }
  static void codes(const Word* words, Word* codes) { two_bits(words + 4, codes); }
  static void integers(const Word* words, Word* integers) { std::memcpy(integers, words, 4 * sizeof(Word)); }
};

struct Q3_K : Form {  // qh[32] q[64] s[12] d: w = d (s - 32) (q + 4 qh - 4), an s for 16 values
  static constexpr int kColumns = 256, kBytes = 110, kScaleAt = 108, kWordsAt = 0, kWords = 27;
  static constexpr int kLower = 2, kUpper = 1, kStrip = 64;
  static void codes(const Word* words, Word* codes) {
    two_bits(words + 8, codes);
    add_bits<1, 2>(words, 8, codes);
  }
  static void integers(const Word* words, Word* integers) {
    const Word* s = words + 24;
    for (int t = 0; t < 4; ++t)
      for (int r = 0; r < 16; ++r) {
        const uint32_t low = s[t % 2][r] >> t / 2 * 4 & each_byte(15), high = s[2][r] >> 2 * t & each_byte(3);
        integers[t][r] = ((low | high << 4) + each_byte(128 - 32)) ^ each_byte(128);
      }
  }
};

template <int kBits>
struct WithMinima : Form {  // d m sz[12] and codes: w = d s q - m z
  static constexpr bool kAffine = true;
  static constexpr int kColumns = 256, kOffsetAt = 2, kWordsAt = 4, kWords = 3 + 8 * kBits, kBytes = 4 + 4 * kWords;
  static constexpr int kLower = 4, kUpper = kBits - 4, kStrip = 64;
  static Float offset(Float, Float m) { return sub(set1(0), m); }
  static void codes(const Word* words, Word* codes) {
    for (int i = 0; i < 4; ++i) nibbles(words + kWords - 32 + 8 * i, 8, codes + 16 * i);
    if constexpr (kUpper != 0) add_bits<1, 4>(words + 3, 8, codes);
  }
  static void integers(const Word* words, Word* integers) {  // s z s z
    for (int t = 0; t < 4; ++t)
      for (int r = 0; r < 16; ++r) {
        const uint32_t first = words[0][r], second = words[1][r], third = words[2][r];
        const uint32_t s = t < 2 ? first & each_byte(63) : (third & each_byte(15)) | (first >> 2 & each_byte(48));
        const uint32_t z = t < 2 ? second & each_byte(63) : (third >> 4 & each_byte(15)) | (second >> 2 & each_byte(48));
        const uint32_t s2 = s >> t % 2 * 16, z2 = z >> t % 2 * 16;
        integers[t][r] = (s2 & 0xff) | (z2 & 0xff) << 8 | (s2 & 0xff00) << 8 | (z2 & 0xff00) << 16;
      }
  }
};

using Q4_K = WithMinima<4>;  // q[128]
using Q5_K = WithMinima<5>;  // qh[32] q[128]

struct Q6_K : Form {  // q[128] qh[64] s[16] d: w = d s (q - 32), an s for 16 values
  static constexpr int kColumns = 256, kBytes = 210, kScaleAt = 208, kWordsAt = 0, kWords = 52;
  static constexpr int kLower = 4, kUpper = 2, kStrip = 64;
  static void codes(const Word* words, Word* codes) {
    for (int half = 0; half < 2; ++half) {
      nibbles(words + 16 * half, 16, codes + 32 * half);
      add_bits<2, 4>(words + 32 + 8 * half, 4, codes + 32 * half);
    }
  }
  static void integers(const Word* words, Word* integers) { std::memcpy(integers, words + 48, 4 * sizeof(Word)); }
};

struct IQ4_XS : Form {  // d sh[2] sl[4] q[128]: w = d (s - 32) value[q], an s for 32 values
  static constexpr int kColumns = 256, kBytes = 136, kWordsAt = 0, kWords = 34, kLower = 4, kStrip = 128;
  static void codes(const Word* words, Word* codes) {
    for (int i = 0; i < 8; ++i) nibbles(words + 2 + 4 * i, 4, codes + 8 * i);
  }
  static void integers(const Word* words, Word* integers) {
    for (int r = 0; r < 16; ++r) {
      integers[0][r] = integers[1][r] = 0;
      for (int i = 0; i < 8; ++i) {
        const uint32_t s = (words[1][r] >> 4 * i & 15) | (words[0][r] >> (16 + 2 * i) & 3) << 4;
        integers[i / 4][r] |= ((s - 32) & 0xff) << i % 4 * 8;
      }
    }
  }
};

}  // namespace llmrt::LLMRT_ISA::gguf
