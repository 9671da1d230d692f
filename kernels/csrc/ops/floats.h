// Float types: sixteen of each to fp32 lanes and back, rounded to nearest even.
#pragma once

#include "llmrt_cpu.h"

namespace llmrt::LLMRT_ISA {

struct Fp32 {
  using Value = float;
  static Float read(const Value* p) { return load(p); }
  static void write(Value* p, Float x) { store(p, x); }
};
struct Bf16 {
  using Value = uint16_t;
  static Float read(const Value* p) { return load_bf16(p); }
  static void write(Value* p, Float x) { store_bf16(p, x); }
};
struct Fp16 {
  using Value = uint16_t;
  static Float read(const Value* p) { return load_fp16(p); }
  static void write(Value* p, Float x) { store_fp16(p, x); }
};

}  // namespace llmrt::LLMRT_ISA
