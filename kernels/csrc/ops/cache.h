// Sixteen values to and from a KV cache of any type.
#pragma once

#include "llmrt_cpu.h"

namespace llmrt::LLMRT_ISA {

template <int32_t kType>
struct Cache;

template <>
struct Cache<LLMRT_FP32> {
  using Value = float;
  static Float read(const Value* p) { return load(p); }
  static void write(Value* p, Float x) { store(p, x); }
};

template <>
struct Cache<LLMRT_BF16> {
  using Value = uint16_t;
  static Float read(const Value* p) { return load_bf16(p); }
  static void write(Value* p, Float x) { store_bf16(p, x); }
};

template <>
struct Cache<LLMRT_FP16> {
  using Value = uint16_t;
  static Float read(const Value* p) { return load_fp16(p); }
  static void write(Value* p, Float x) { store_fp16(p, x); }
};

// Calls `body` with the Cache of the type.
template <class Body>
inline void with_cache(int32_t type, Body body) {
  if (type == LLMRT_FP32) body(Cache<LLMRT_FP32>{});
  if (type == LLMRT_BF16) body(Cache<LLMRT_BF16>{});
  if (type == LLMRT_FP16) body(Cache<LLMRT_FP16>{});
}

}  // namespace llmrt::LLMRT_ISA
