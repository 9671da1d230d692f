// Blocks of 16 rows of GGUF's types as a tile reads them: as they are stored, unpacked, or stored and unpacked meanwhile. Each
// gives, of the g-th 32 columns of the tile's b-th block, a line of codes as two halves of four columns, and what the sum of
// a part and that of the activations are multiplied by. Always inlined, for they are read in the innermost loop.
#pragma once

#include "llmrt_cpu.h"
#include "ops/nested_forms.h"
#include "ops/stream.h"

namespace llmrt::LLMRT_ISA {

// From `block` of a matrix on.
template <class OfForm>
struct StoredRows {
  using Form = OfForm;
  static constexpr int kGroups = Form::kGroups;
  StoredRows(const llmrt_matrix& matrix, int64_t columns, int64_t block)
      : next_block(block_bytes<Form>(columns)), next_scales(columns / Form::kOuterColumns * 16),
        data(matrix.data + block * next_block), scales(matrix.scales + block * next_scales),
        offsets(Form::kAffine ? matrix.offsets + block * next_scales : nullptr) {}

  [[gnu::always_inline]] void read(Group g, int b, int line, Bytes& first, Bytes& second) const {
    const Form form(data + b * next_block, g);
    constexpr int kSteps = 4 * Form::kGroups;  // of a strip, whose lines are asked for in order and at an even pace
    const int step = 4 * g.in_strip + line, begin = Form::kLines * step / kSteps;
    ask_ahead<Ask::kFar>(form.strip + 64 * begin, 64 * (Form::kLines * (step + 1) / kSteps - begin));
    form.read(0, line, first, second);
  }
  [[gnu::always_inline]] Float scale(Group g, int b, int part) const {
    const Form form(data + b * next_block, g);
    return mul(load_fp16(scales + b * next_scales + outer(g.at)), form.scale(0, part));
  }
  [[gnu::always_inline]] Float offset(Group g, int b, int part) const {
    const Form form(data + b * next_block, g);
    return mul(load_fp16(offsets + b * next_scales + outer(g.at)), form.offset(0, part));
  }

  static int64_t outer(int64_t g) { return g * kInnerColumns / Form::kOuterColumns * 16; }

  int64_t next_block, next_scales;
  const uint8_t* data;
  const uint16_t *scales, *offsets;
};

// Eight lines of codes, as int8's, and in fp32 the scale of each part and its offset.
template <class OfForm>
struct UnpackedRows {
  using Form = OfForm;
  static constexpr int kGroups = 1;
  static constexpr int64_t kLines = 8 + Form::kParts * (1 + Form::kAffine);

  [[gnu::always_inline]] void read(Group g, int b, int line, Bytes& first, Bytes& second) const {
    first = load_bytes(at(g.at, b, 2 * line));
    second = load_bytes(at(g.at, b, 2 * line + 1));
  }
  [[gnu::always_inline]] Float scale(Group g, int b, int part) const { return load(factor(g.at, b, part)); }
  [[gnu::always_inline]] Float offset(Group g, int b, int part) const { return load(factor(g.at, b, Form::kParts + part)); }
  [[gnu::always_inline]] float* factor(int64_t g, int b, int i) const {
    return reinterpret_cast<float*>(at(g, b, 8 + i));
  }
  [[gnu::always_inline]] uint8_t* at(int64_t g, int b, int line) const {
    return data + b * next_block + (g * kLines + line) * 64;
  }

  int64_t next_block;
  uint8_t* data;
};
constexpr int64_t kMostUnpackedLines = 12;  // of 32 columns

// Those of `from`, which are written to `to` as they are read.
template <class OfForm>
struct UnpackingRows {
  using Form = OfForm;
  static constexpr int kGroups = Form::kGroups;
  [[gnu::always_inline]] void read(Group g, int b, int line, Bytes& first, Bytes& second) const {
    from.read(g, b, line, first, second);
    store_bytes(to.at(g.at, b, 2 * line), first);
    store_bytes(to.at(g.at, b, 2 * line + 1), second);
  }
  [[gnu::always_inline]] Float scale(Group g, int b, int part) const {
    const Float scale = from.scale(g, b, part);
    store(to.factor(g.at, b, part), scale);
    return scale;
  }
  [[gnu::always_inline]] Float offset(Group g, int b, int part) const {
    const Float offset = from.offset(g, b, part);
    store(to.factor(g.at, b, Form::kParts + part), offset);
    return offset;
  }

  StoredRows<Form> from;
  UnpackedRows<typename Form::Unpacked> to;
};

}  // namespace llmrt::LLMRT_ISA
