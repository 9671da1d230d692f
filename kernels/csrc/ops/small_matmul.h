// C += A B for a few rows and any multiple of 16 columns: the two products of attention.
#pragma once

#include <cstdint>

namespace llmrt::LLMRT_ISA {

// One tile of kRows rows and kVectors x 16 columns. A [rows, depth], B [depth, columns], C [rows, columns], with the
// distance between rows of each.
template <int kRows, int kVectors>
inline void matmul_tile(const float* a, int64_t a_stride, const float* b, int64_t b_stride, float* c, int64_t c_stride,
                        int64_t depth) {
  Float acc[kRows][kVectors];
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVectors; ++v) acc[r][v] = load(c + r * c_stride + 16 * v);
  for (int64_t k = 0; k < depth; ++k) {
    Float columns[kVectors];
    for (int v = 0; v < kVectors; ++v) columns[v] = load(b + k * b_stride + 16 * v);
    for (int r = 0; r < kRows; ++r) {
      const Float x = set1(a[r * a_stride + k]);
      for (int v = 0; v < kVectors; ++v) acc[r][v] = fma(x, columns[v], acc[r][v]);
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVectors; ++v) store(c + r * c_stride + 16 * v, acc[r][v]);
}

// All rows and columns; the number of columns is a multiple of 16.
inline void matmul_add(const float* a, int64_t a_stride, const float* b, int64_t b_stride, float* c, int64_t c_stride,
                       int64_t rows, int64_t depth, int64_t columns) {
  constexpr int kVectors = kMatmulVectors;
  for (int64_t j = 0; j < columns;) {
    const bool wide = columns - j >= 16 * kVectors;
    int64_t r = 0;
    if (wide) {
      for (; r + kMatmulRows <= rows; r += kMatmulRows)
        matmul_tile<kMatmulRows, kVectors>(a + r * a_stride, a_stride, b + j, b_stride, c + r * c_stride + j, c_stride,
                                           depth);
      for (; r < rows; ++r)
        matmul_tile<1, kVectors>(a + r * a_stride, a_stride, b + j, b_stride, c + r * c_stride + j, c_stride, depth);
      j += 16 * kVectors;
    } else {
      for (; r < rows; ++r)
        matmul_tile<1, 1>(a + r * a_stride, a_stride, b + j, b_stride, c + r * c_stride + j, c_stride, depth);
      j += 16;
    }
  }
}

}  // namespace llmrt::LLMRT_ISA
