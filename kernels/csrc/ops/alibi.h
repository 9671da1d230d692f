// ALiBi (https://arxiv.org/abs/2108.12409): a score has the slope of its head times the key's distance added.
#pragma once

#include "ops/attention_unit.h"

namespace llmrt::LLMRT_ISA {

// Scores are in units of log2, and so the slopes must be.
template <class Tile>
inline void add_distances(const llmrt_paged_attention_args& a, const AttentionUnit& unit, const Tile& tile,
                          AttentionScratch& s, int64_t rows) {
  if (a.slopes == nullptr) return;
  static constexpr float kLanes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const int64_t group = group_of(a), first_head = (unit.first_head + tile.row / rows) * group;
  for (int64_t r = 0; r < rows; ++r) {
    const Float slope = set1(a.slopes[first_head + r % group] * kLog2E);
    const int64_t position = unit.first_position + r / group;
    float* scores = s.scores.data() + r * kKeyTile;
    for (int64_t j = 0; j < tile.columns(); j += 16) {
      const Float distances = add(set1(static_cast<float>(tile.begin + j - position)), load(kLanes));
      store(scores + j, fma(distances, slope, load(scores + j)));
    }
  }
}

}  // namespace llmrt::LLMRT_ISA
